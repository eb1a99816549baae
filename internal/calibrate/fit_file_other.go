//go:build !linux

package calibrate

import (
	"nbdbench/devices"
	"nbdbench/nbd/kernel"
	"nbdbench/sim"
)

// file is for Linux only: elsewhere there is neither O_DIRECT nor a write with
// RWF_DSYNC.
type file struct{ devices.Device }

func blockSize(string) (uint64, error) { return 0, needsLinux() }

func openFile(string, uint64, *sim.Real, *Measurement) (*file, error) { return nil, needsLinux() }

func needsLinux() error { return kernel.NeedsLinux("measuring a file or a block device") }

func (d *file) close() error { return nil }
