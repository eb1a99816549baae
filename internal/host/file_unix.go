//go:build unix

package host

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Lock locks f for only this process, or fails at once if another has it.
func Lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// LockShared locks f together with others that do, or fails at once if another has it
// alone.
func LockShared(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) }

// Extent returns the first data of f from off on, and where it ends. The error is
// io.EOF if there is nothing but a hole.
func Extent(f *os.File, off int64) (from, to int64, err error) {
	from, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return 0, 0, io.EOF
	}
	if err != nil {
		return 0, 0, err
	}
	to, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
	return from, to, err
}

// Used returns how many bytes of the disk f takes.
func Used(f *os.File) (uint64, error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return 0, err
	}
	return uint64(s.Blocks) * 512, nil
}

// Zeros returns n zeros that begin on a page and must not be written.
func Zeros(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
}

// SyncDir has the names in a directory on the disk.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) { // a file system that has no such thing
		err = nil
	}
	return errors.Join(err, d.Close())
}
