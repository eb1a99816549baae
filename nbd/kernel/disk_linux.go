package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/internal/aio"
	"nbdbench/sim"
)

// The bounds of a Disk.
const (
	DefaultDepth = 128     // requests in the kernel at a time; nbd's own is 128 a connection
	MaxPayload   = 1 << 20 // bytes in one READ or WRITE

	// drain is how long Close waits.
	drain = 2 * DefaultTimeout
)

// Disk is a block device file as a devices.Device, on an aio.Engine. It bypasses
// the page cache.
type Disk struct {
	file   *os.File
	info   devices.Info
	engine *aio.Engine
}

// OpenDisk opens the block device at path, of which the requests are on real's
// loop.
func OpenDisk(path string, real *sim.Real, c DiskConfig) (*Disk, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Depth == 0 {
		c.Depth = DefaultDepth
	}
	mode := os.O_RDWR
	if c.ReadOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode|unix.O_DIRECT|unix.O_EXCL, 0)
	if err != nil {
		return nil, diskError(path, err)
	}
	d := &Disk{file: f}
	if d.info, err = describe(f, path, c.ReadOnly); err == nil {
		d.engine, err = aio.New(f, real, aio.Config{Depth: c.Depth, MaxPayload: MaxPayload, Slow: d.rangeCommand, Drain: drain})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return d, nil
}

// diskError explains why a device could not be opened.
func diskError(path string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s is mounted or otherwise in use: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return &Missing{"not permitted to open " + path, "run it as root", nil}
	}
	return err
}

// describe is what the kernel says of the device. FLUSH and FUA can always be
// asked for; what is sent for them is the kernel's choice, see WriteCache.
func describe(f *os.File, path string, readOnly bool) (devices.Info, error) {
	size, err := deviceSize(f)
	if err != nil {
		return devices.Info{}, err
	}
	block, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil {
		return devices.Info{}, os.NewSyscallError("BLKSSZGET", err)
	}
	info := devices.Info{
		Size: size, LogicalBlock: uint32(block), AtomicUnit: uint32(block), MinIO: uint32(block), PreferredIO: 4096,
		MaxPayload: MaxPayload, CanFlush: true, FUA: devices.FUANative, CanZero: true,
		CanTrim: queue(path, "discard_max_bytes") > 0, MultiConn: true,
		Rotational: queue(path, "rotational") == 1, ReadOnly: readOnly,
	}
	if cache, _ := WriteCache(path); cache {
		info.Cache = devices.CacheVolatile
	}
	return info, nil
}

// Info describes the device.
func (d *Disk) Info() devices.Info { return d.info }

// Submit takes a request. What the kernel would refuse it refuses later, with
// the kernel's errno.
func (d *Disk) Submit(r *devices.Request) { d.engine.Submit(r) }

// rangeCommand discards or zeroes. The ioctls have no FUA, so a flush follows.
func (d *Disk) rangeCommand(r *devices.Request) error {
	var err error
	switch r.Op {
	case devices.OpTrim:
		err = rangeIoctl(d.file, ioctlDiscard, r.Offset, r.Length)
	case devices.OpWriteZeroes:
		err = rangeIoctl(d.file, ioctlZeroOut, r.Offset, r.Length)
	default:
		err = unix.EINVAL
	}
	if err == nil && r.Flags&devices.FUA != 0 {
		err = unix.Fdatasync(int(d.file.Fd()))
	}
	return err
}

// Close waits for what is in flight, which ends at the latest with the device's
// timeout, and closes the file. Not for the loop's owner.
func (d *Disk) Close() error { return errors.Join(d.engine.Close(), d.file.Close()) }
