package host

import (
	"io"
	"os"

	"golang.org/x/sys/windows"
)

// Lock locks f for only this process, or fails at once if another has it.
func Lock(f *os.File) error { return lock(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }

// LockShared locks f together with others that do, or fails at once if another has it
// alone.
func LockShared(f *os.File) error { return lock(f, 0) }

// lock locks a byte beyond the end of every file, so that its content stays readable.
func lock(f *os.File, flags uint32) error {
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	return windows.LockFileEx(windows.Handle(f.Fd()), flags|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
}

// Extent returns all of f from off on: holes are not looked for. The error is io.EOF
// at the end.
func Extent(f *os.File, off int64) (from, to int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if off >= info.Size() {
		return 0, 0, io.EOF
	}
	return off, info.Size(), nil
}

// Used returns the size of f.
func Used(f *os.File) (uint64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return uint64(info.Size()), nil
}

// Zeros returns n zeros that must not be written.
func Zeros(n int) ([]byte, error) { return make([]byte, n), nil }

// SyncDir does nothing: names are on the disk with their file.
func SyncDir(string) error { return nil }
