// Package aio carries out requests on an open file by Linux's native asynchronous
// I/O (io_submit(2)).
//
//	e, err := aio.New(f, real, aio.Config{Depth: 128, MaxPayload: 1 << 20})
//	e.Submit(request)
//	...
//	err = e.Close()
//
// READ and WRITE are IOCB_CMD_PREAD and PWRITE, FUA is RWF_DSYNC, FLUSH is
// IOCB_CMD_FDSYNC. Asynchronous, because pwritev2 with RWF_DSYNC on a block device
// ends in generic_write_sync, which sends a FLUSH after the write whether FUA was
// set or not. An asynchronous write is REQ_FUA and nothing more where the queue has
// FUA, and a write and a FLUSH where it does not.
//
// The file has to be open with O_DIRECT: io_submit(2) on a buffered file blocks
// until the request is done.
//
// This package is a real-time shell: it blocks in system calls on threads of its
// own.
package aio
