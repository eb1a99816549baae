package kernel

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls of any block device (include/uapi/linux/fs.h).
const (
	ioctlDiscard = 0x1277 // BLKDISCARD
	ioctlZeroOut = 0x127f // BLKZEROOUT
)

func deviceSize(f *os.File) (n uint64, err error) {
	return n, pointerIoctl(f, unix.BLKGETSIZE64, unsafe.Pointer(&n))
}

// rangeIoctl asks for something to be done to n bytes at off.
func rangeIoctl(f *os.File, request uint, off, n uint64) error {
	span := [2]uint64{off, n}
	return pointerIoctl(f, request, unsafe.Pointer(&span))
}

func pointerIoctl(f *os.File, request uint, p unsafe.Pointer) error {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(p))
	if e != 0 {
		return os.NewSyscallError("ioctl", e)
	}
	return nil
}
