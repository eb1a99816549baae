// Package input reads the files that a user or another file names.
//
// Such a name may be that of a device, a pipe or a terminal, of a file of any
// length, or of one that the user did not mean. So a file is read only if it is
// regular, which neither blocks nor has an effect, and up to a bound that the
// caller names.
package input

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// BOM is the byte order mark that some editors put before text in UTF-8.
const BOM = "\ufeff"

// Open opens a regular file of at most max bytes for reading. The error is an
// *fs.PathError.
func Open(path string, max int64) (*os.File, error) {
	// The look before the open is for devices on which opening has an effect, the
	// one after it for what has come in its place. O_NONBLOCK is for a pipe.
	info, err := os.Stat(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.Unwrap(err)}
	}
	if err := check(path, info, max); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = check(path, info, max)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Read reads a regular file of at most max bytes.
func Read(path string, max int64) ([]byte, error) {
	f, err := Open(path, max)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, max+1)) // it may grow meanwhile
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(text)) > max {
		return nil, tooLong(path, int64(len(text)), max)
	}
	return text, nil
}

func check(path string, info fs.FileInfo, max int64) error {
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("expected a regular file, got %s", kind(info.Mode()))}
	}
	if info.Size() > max {
		return tooLong(path, info.Size(), max)
	}
	return nil
}

func tooLong(path string, n, max int64) error {
	return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%d bytes: expected at most %d", n, max)}
}

// kind names what is no regular file.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeCharDevice != 0:
		return "a character device"
	case m&fs.ModeDevice != 0:
		return "a block device"
	}
	return "something else"
}
