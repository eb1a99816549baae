package aio

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The commands of an iocb (include/uapi/linux/aio_abi.h).
const (
	opRead      = 0
	opWrite     = 1
	opDataFsync = 3
)

// iocb is struct iocb of a little-endian machine.
type iocb struct {
	data    uint64 // comes back in the event
	_       uint32
	rwFlags uint32
	opcode  uint16
	_       int16
	fd      uint32
	buf     uint64
	bytes   uint64
	offset  int64
	_       uint64
	_, _    uint32
}

// ioEvent is struct io_event.
type ioEvent struct {
	data   uint64
	object uint64
	result int64 // bytes, or a negative errno
	_      int64
}

// kernelContext is an asynchronous I/O context of the kernel.
type kernelContext struct{ id uintptr }

func newContext(depth int) (*kernelContext, error) {
	k := new(kernelContext)
	_, _, e := unix.Syscall(unix.SYS_IO_SETUP, uintptr(depth), uintptr(unsafe.Pointer(&k.id)), 0)
	if e != 0 {
		return nil, os.NewSyscallError("io_setup", e)
	}
	return k, nil
}

// submit hands over one request. The kernel has copied the iocb when it returns;
// the buffer is its own until the event.
func (k *kernelContext) submit(cb *iocb) error {
	list := [1]*iocb{cb}
	_, _, e := unix.Syscall(unix.SYS_IO_SUBMIT, k.id, 1, uintptr(unsafe.Pointer(&list)))
	if e != 0 {
		return e
	}
	return nil
}

// wait blocks until there is at least one event.
func (k *kernelContext) wait(events []ioEvent) (int, error) {
	n, _, e := unix.Syscall6(unix.SYS_IO_GETEVENTS, k.id, 1, uintptr(len(events)), uintptr(unsafe.Pointer(&events[0])), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// destroy waits for what is in flight and ends the context.
func (k *kernelContext) destroy() error {
	_, _, e := unix.Syscall(unix.SYS_IO_DESTROY, k.id, 0, 0)
	if e != 0 {
		return os.NewSyscallError("io_destroy", e)
	}
	return nil
}
