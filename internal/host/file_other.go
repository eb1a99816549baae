//go:build !linux

package host

import (
	"errors"
	"os"
)

// Datasync has the data of f on the disk.
func Datasync(f *os.File) error { return f.Sync() }

// WriteDurable writes b and syncs all of f, and says how many bytes of b it wrote.
func WriteDurable(f *os.File, b []byte, off int64) (n int, err error) {
	if n, err = f.WriteAt(b, off); err == nil {
		err = f.Sync()
	}
	return n, err
}

// PunchHole is for Linux only.
func PunchHole(*os.File, int64, int64) error { return errors.ErrUnsupported }
