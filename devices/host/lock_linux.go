package host

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// QEMU's locks of an image (block/file-posix.c): a process holds a read lock of one
// byte for each permission that it uses, and for each that it does not share.
const (
	lockUses    = 100
	lockUnshare = 200

	permRead   = 0 // BLK_PERM_CONSISTENT_READ
	permWrite  = 1 // BLK_PERM_WRITE
	permResize = 3 // BLK_PERM_RESIZE
)

// claim takes the locks that QEMU would take, and reports who has others. A scratch
// file has no name for another process to open it by.
func (s *Storage) claim() error {
	if s.kind == Scratch {
		return nil
	}
	uses, unshared := []int64{permRead, permWrite}, []int64{permWrite, permResize}
	if s.config.ReadOnly {
		uses, unshared = []int64{permRead}, nil
	}
	fd := s.file.Fd()
	for _, p := range uses {
		if err := lockByte(fd, lockUses+p); err != nil {
			return s.lockError(err)
		}
	}
	for _, p := range unshared {
		if err := lockByte(fd, lockUnshare+p); err != nil {
			return s.lockError(err)
		}
	}
	for _, p := range uses {
		if err := s.free(lockUnshare + p); err != nil {
			return err
		}
	}
	for _, p := range unshared {
		if err := s.free(lockUses + p); err != nil {
			return err
		}
	}
	return nil
}

// lockByte takes a read lock of one byte, which ends with the open file.
func lockByte(fd uintptr, at int64) error {
	return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart, Start: at, Len: 1})
}

// free reports whether another open file has a lock of this byte.
func (s *Storage) free(at int64) error {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1}
	if err := unix.FcntlFlock(s.file.Fd(), unix.F_OFD_GETLK, &l); err != nil {
		return s.lockError(err)
	}
	if l.Type != unix.F_UNLCK {
		return &InUse{s.path, "QEMU, or another nbdbench, has locked it"}
	}
	return nil
}

// lockError is nil where the file system has no locks.
func (s *Storage) lockError(err error) error {
	if errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return &InUse{s.path, "another program has locked it"}
	}
	return err
}
