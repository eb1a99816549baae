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

// Attachment is an export that the kernel has, which is on Linux alone.
type Attachment struct {
	Path    string // /dev/nbdN
	Netlink bool   // it was attached so, and outlives this process
	Export  nbd.ExportInfo
}

// Attach is for Linux alone.
func Attach(context.Context, socket.URI, Config) (*Attachment, error) {
	return nil, NeedsLinux("/dev/nbdN")
}

// Detach is for Linux alone.
func (a *Attachment) Detach() error { return NeedsLinux("/dev/nbdN") }

// Gone is for Linux alone.
func (a *Attachment) Gone(context.Context) error { return NeedsLinux("/dev/nbdN") }

// InUse is for Linux alone.
func (a *Attachment) InUse() string { return "" }

// Detach is for Linux alone.
func Detach(string, bool) error { return NeedsLinux("/dev/nbdN") }

// Load is for Linux alone.
func Load() error { return NeedsLinux("/dev/nbdN") }

// Probe is for Linux alone.
func Probe() (State, error) { return Absent, NeedsLinux("/dev/nbdN") }

// Permitted is for Linux alone.
func Permitted() error { return NeedsLinux("/dev/nbdN") }

// Disk is a block device file as a devices.Device, which is on Linux alone.
type Disk struct{ devices.Device }

// OpenDisk is for Linux alone.
func OpenDisk(string, *sim.Real, DiskConfig) (*Disk, error) {
	return nil, NeedsLinux("a block device as a target")
}

// Close is for Linux alone.
func (d *Disk) Close() error { return os.ErrClosed }
