// Package kernel gives an NBD export to the Linux kernel as /dev/nbdN, and
// takes it away again.
//
//	if err := kernel.Load(); err != nil { ... }          // nbd.ko
//	a, err := kernel.Attach(ctx, uri, kernel.Config{})   // /dev/nbd0
//	disk, err := kernel.OpenDisk(a.Path, real, kernel.DiskConfig{})
//	...
//	err = errors.Join(disk.Close(), a.Detach())
//
// We connect and negotiate; the kernel takes the sockets over at the beginning
// of transmission, by generic netlink, or by the older ioctls where a kernel
// has no netlink family. With netlink nothing of us need stay: the kernel holds
// the sockets. With the ioctls a thread of ours is inside NBD_DO_IT for as long
// as the device lives.
//
// # What a machine may lack
//
// What cannot be had is a [Missing]: what is missing, and the command that
// fixes it. A container has the host's kernel and mostly not its modules.
//
// # The device
//
// A [Disk] is a devices.Device over a block device file, by Linux's native
// asynchronous I/O with O_DIRECT: FUA is RWF_DSYNC, FLUSH is fdatasync. What the
// kernel makes of them depends on what the export advertises
// (drivers/block/nbd.c, block/blk-flush.c): WRITE with FUA; WRITE and then
// FLUSH; or, without SEND_FLUSH, the bare WRITE, whatever else is advertised.
//
// Asynchronous, because pwritev2 with RWF_DSYNC on a block device ends in
// generic_write_sync, which sends a FLUSH after the write whether FUA was set
// or not. An asynchronous write is REQ_FUA and nothing more. Both are tried on a
// real kernel in internal/interop/kernel.
//
// # Never a hung device
//
// A kernel that waits for a dead server waits forever unless told otherwise, and
// whoever touches the device then sleeps uninterruptibly. So a device is never
// attached without a timeout: a request that gets no reply for [Config].Timeout
// fails, and with several connections goes to another one first. Whatever fails
// after the kernel has the sockets is disconnected before it is reported.
//
// This package is a real-time shell: it blocks in system calls on threads of
// its own.
package kernel
