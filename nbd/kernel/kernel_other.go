//go:build !linux

package kernel

import (
	"context"
	"os"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// Attachment is an export that the kernel has, which is on Linux only.
type Attachment struct {
	Path    string // /dev/nbdN
	Netlink bool   // it was attached so, and outlives this process
	Export  nbd.ExportInfo
}

// Attach is for Linux only.
func Attach(context.Context, socket.URI, Config) (*Attachment, error) {
	return nil, NeedsLinux("/dev/nbdN")
}

// Detach is for Linux only.
func (a *Attachment) Detach() error { return NeedsLinux("/dev/nbdN") }

// Gone is for Linux only.
func (a *Attachment) Gone(context.Context) error { return NeedsLinux("/dev/nbdN") }

// InUse is for Linux only.
func (a *Attachment) InUse() string { return "" }

// Detach is for Linux only.
func Detach(string, bool) error { return NeedsLinux("/dev/nbdN") }

// Load is for Linux only.
func Load() error { return NeedsLinux("/dev/nbdN") }

// Probe is for Linux only.
func Probe() (State, error) { return Absent, NeedsLinux("/dev/nbdN") }

// Permitted is for Linux only.
func Permitted() error { return NeedsLinux("/dev/nbdN") }

// Disk is a block device file as a devices.Device, which is on Linux only.
type Disk struct{ devices.Device }

// OpenDisk is for Linux only.
func OpenDisk(string, *sim.Real, DiskConfig) (*Disk, error) {
	return nil, NeedsLinux("a block device as a target")
}

// Close is for Linux only.
func (d *Disk) Close() error { return os.ErrClosed }
