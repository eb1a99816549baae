// Package fusefile serves a device as one regular file of a FUSE file system, for a
// loop device on it: the way into a kernel that has no nbd module.
//
// The file is opened with direct I/O, so that the kernel caches nothing of it and many
// requests are in progress at a time. READ and WRITE are requests of the device; FSYNC
// is FLUSH. It has to be implemented: after one ENOSYS the kernel drops every FSYNC, and
// with it every FLUSH of the loop device, without an error. The FUSE requests FLUSH and
// RELEASE come when a descriptor is closed and reach no device. FALLOCATE is
// WRITE_ZEROES, also for a hole: the loop driver sends the same request for a discard
// and for zeros that may be discarded, and the latter have to read as zeros.
//
// FUA does not get this far. The loop driver has no such command: the block layer makes
// a write and a FLUSH of it.
//
// The package is for Linux.
package fusefile
