// Package host is a device over the host's storage: a block device or partition, a
// regular file, or a scratch file in a directory.
//
//	s, err := host.Open("/dev/nvme1n1", host.Config{Direct: true})
//	d, err := s.Device(real)
//	d.Submit(request)
//	...
//	err = errors.Join(d.Close(), s.Close())
//
// FUA is RWF_DSYNC, FLUSH is fdatasync. TRIM and WRITE_ZEROES are fallocate of a file
// and BLKDISCARD and BLKZEROOUT of a block device; FUA on them is followed by
// fdatasync. BLOCK_STATUS of a file is SEEK_DATA and SEEK_HOLE; a block device says
// that all is allocated.
//
// # Direct and buffered
//
// With [Config].Direct requests go past the page cache by internal/aio: FUA is one
// REQ_FUA write where the queue has FUA, and a write and a FLUSH where it does not
// ([Disk].FUA). The smallest request is what statx(STATX_DIOALIGN) says. Otherwise
// requests go through the page cache by blocking calls on worker threads, and any
// byte range will do; RWF_DSYNC on a block device is then a write and a FLUSH, always.
//
// # Who else uses it
//
// Storage that is opened for writing is refused with an [InUse] that names the holder
// if it is mounted, swap, held by another block device (device mapper, LVM, md, a loop
// device), below the root file system, locked by QEMU or opened for writing by another
// process. A block device is claimed by O_EXCL, and all storage by QEMU's locks, until
// Close. Processes of other users are seen by root alone.
//
// The package works on Linux. Elsewhere Open returns a [Missing].
//
// This package is a real-time shell: it blocks in system calls on threads of its own.
package host
