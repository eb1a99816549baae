package torture

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"nbdbench/nbd/kernel"
)

// loopTries is how often a loop device is asked for that another program takes first.
const loopTries = 64

// loop is a loop device on a file. The kernel detaches it at its last use.
type loop struct {
	path string
	dev  *os.File
}

// openLoop attaches a file as a loop device with this logical block size, past the page
// cache if direct.
func openLoop(file string, block uint32, direct bool) (*loop, error) {
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer unix.Close(fd) // the loop device keeps the file
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &kernel.Missing{What: "no loop devices (/dev/loop-control)", Fix: "modprobe loop", Err: err}
	}
	defer unix.Close(control)
	config := unix.LoopConfig{Fd: uint32(fd), Size: block}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	if direct {
		config.Info.Flags |= unix.LO_FLAGS_DIRECT_IO
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], file)
	for range loopTries {
		l, err := tryLoop(control, &config)
		if !errors.Is(err, unix.EBUSY) {
			return l, err
		}
	}
	return nil, fmt.Errorf("another program took each of %d loop devices that were free", loopTries)
}

// tryLoop attaches to the device that is free at the moment.
func tryLoop(control int, config *unix.LoopConfig) (*loop, error) {
	n, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("a free loop device: %w", err)
	}
	path := fmt.Sprintf("/dev/loop%d", n)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	dev := os.NewFile(uintptr(fd), path)
	if err := unix.IoctlLoopConfigure(fd, config); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), dev.Close())
	}
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err == nil && config.Info.Flags&^info.Flags != 0 {
		err = fmt.Errorf("%s: expected flags %#x, got %#x: the kernel cannot do direct I/O on the file", path, config.Info.Flags, info.Flags)
	}
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return &loop{path, dev}, nil
}

// sync has the kernel write back what it holds of the device, and send FLUSH.
func (l *loop) sync() error { return l.dev.Sync() }

// close ends our use of the device.
func (l *loop) close() error { return l.dev.Close() }
