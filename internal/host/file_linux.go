package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// Datasync has the data of f on the disk: fdatasync(2).
func Datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// WriteDurable writes a part of b that is on the disk when it returns, by one
// pwritev2(2) with RWF_DSYNC, and says how many bytes that is.
func WriteDurable(f *os.File, b []byte, off int64) (n int, err error) {
	return unix.Pwritev2(int(f.Fd()), [][]byte{b}, off, unix.RWF_DSYNC)
}

// PunchHole frees n bytes of f from off on, which then read as zeros. Where the
// file system has no holes the error is errors.ErrUnsupported.
func PunchHole(f *os.File, off, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}
