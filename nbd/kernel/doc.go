// Package kernel attaches an NBD export to the Linux kernel as /dev/nbdN, and detaches
// it.
//
//	if err := kernel.Load(); err != nil { ... }          // nbd.ko
//	a, err := kernel.Attach(ctx, uri, kernel.Config{})   // /dev/nbd0
//	disk, err := kernel.OpenDisk(a.Path, real, kernel.DiskConfig{})
//	...
//	err = errors.Join(disk.Close(), a.Detach())
//
// This package connects and negotiates; the kernel takes over the sockets at the start
// of transmission, by generic netlink, or by the older ioctls if the kernel has no
// netlink family. With netlink the kernel holds the sockets, and no thread remains in
// this process. With the ioctls a thread stays inside NBD_DO_IT as long as the device
// is attached.
//
// # Missing capabilities
//
// If the machine lacks something, the error is a [Missing]: what is missing, and the
// command that fixes it. A container has the host's kernel and usually not its modules.
//
// # The device
//
// A [Disk] is a devices.Device over a block device file, with Linux native
// asynchronous I/O and O_DIRECT: FUA is RWF_DSYNC, FLUSH is fdatasync. What the
// kernel sends for them depends on what the export advertises
// (drivers/block/nbd.c, block/blk-flush.c): WRITE with FUA; WRITE and then
// FLUSH; or, without SEND_FLUSH, only WRITE, whatever else is advertised.
//
// internal/aio says why it is asynchronous. What is sent is tried on a real kernel in
// internal/interop/kernel.
//
// # No hung devices
//
// By default the kernel waits forever for a server that has disappeared, and processes
// that access the device sleep uninterruptibly. A device is therefore never attached
// without a timeout: a request without a reply for [Config].Timeout fails; with several
// connections it is first sent on another one. If attaching fails after the kernel has
// the sockets, the device is disconnected before the error is returned.
//
// This package is a real-time package: it blocks in system calls on its own threads.
package kernel
