// Package atomicfile writes files whole or not at all: a reader, or a crash, finds
// the old file, or none, or the new one.
package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Write writes a file whole or not at all, and to the disk. The directory's entry
// for it is not synced.
func Write(path string, write func(io.Writer) error) error {
	return WriteSteps(path, write, func(string) {})
}

// WriteSteps is Write that calls step after each of its steps, so that a test can
// kill the process there.
func WriteSteps(path string, write func(io.Writer) error, step func(string)) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	step("made a file for " + filepath.Base(path))
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = errors.Join(write(f), f.Chmod(0o644), f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	step("wrote " + filepath.Base(path))
	err = os.Rename(f.Name(), path)
	step("named " + filepath.Base(path))
	return err
}
