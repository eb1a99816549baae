package host

import (
	"errors"
	"fmt"

	"nbdbench/internal/text"
	"nbdbench/internal/units"
)

// The bounds of a device over the host's storage.
const (
	DefaultDepth   = 128     // requests in the kernel at a time
	DirectPayload  = 1 << 20 // bytes in one READ or WRITE past the page cache
	DefaultScratch = 1 << 30 // bytes of a scratch file
)

// Kind is what the storage is.
type Kind uint8

// The kinds of storage.
const (
	File    Kind = iota // a regular file
	Block               // a block device or a partition
	Scratch             // a file in a directory, without a name, that is gone at Close
)

func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Block:
		return "block device"
	case Scratch:
		return "scratch file"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Config is how storage is opened. The zero value is all of it through the page cache.
type Config struct {
	// Size bounds how much is used, in bytes from the beginning on; 0 is all, and
	// DefaultScratch of a scratch file.
	Size     uint64
	Direct   bool // past the page cache
	ReadOnly bool
	Depth    int // requests in the kernel at a time; others wait; 0 is DefaultDepth
}

// Disk is what the kernel says of the disk that is under the storage. Strings are the
// disk's own words.
type Disk struct {
	Name       string // of the kernel: "nvme1n1"; empty where there is no disk, as under tmpfs
	Model      string // empty where the disk has none
	Serial     string // likewise
	FileSystem string // of a file: "ext4"; empty of a block device
	WriteCache bool   // the queue has a volatile write cache; without one the kernel sends no FLUSH
	FUA        bool   // the queue has FUA; without it the kernel sends a write and a FLUSH
	Rotational bool
}

// InUse says who else uses the storage.
type InUse struct {
	Path   string
	Holder string // "/dev/sda1 is mounted at /boot"
}

func (e *InUse) Error() string {
	return fmt.Sprintf("%s is in use: %s", text.Line(e.Path), text.Line(e.Holder))
}

// Missing is what this machine lacks.
type Missing struct {
	What string
	Err  error // the kernel's word, if any
}

func (m *Missing) Error() string {
	if m.Err != nil {
		return fmt.Sprintf("%s: %v", m.What, m.Err)
	}
	return m.What
}

// Unwrap returns the kernel's word.
func (m *Missing) Unwrap() error { return m.Err }

// ErrUnfit is what errors about the storage's own form are: not a file or a block
// device, too small, or shorter than asked for.
var ErrUnfit = errors.New("storage")

// unfit says what is wrong with the storage at path.
func unfit(path, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrUnfit, text.Line(path), fmt.Sprintf(format, args...))
}

// Describe names the storage as a person knows it: model, serial number and size where
// there are any.
func (s *Storage) Describe() string {
	size := units.Size(s.Size()).String()
	switch d := s.Disk(); {
	case s.Kind() == Scratch:
		return fmt.Sprintf("a scratch file of %s in %s", size, text.Line(s.Path()))
	case s.Kind() == File:
		return fmt.Sprintf("the file %s, %s", text.Line(s.Path()), size)
	default:
		model, serial := d.Model, d.Serial
		if model == "" {
			model = "no model name"
		}
		if serial == "" {
			serial = "none"
		}
		return fmt.Sprintf("%s (%s, serial number %s, %s)", text.Line(s.Path()), text.Line(model), text.Line(serial), size)
	}
}
