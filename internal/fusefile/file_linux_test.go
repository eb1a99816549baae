package fusefile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// mounted is a device of 1 MiB as a file, or a skip where that is not permitted.
func mounted(t *testing.T) (*nbdtest.RAM, *File, int) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil || os.Geteuid() != 0 {
		t.Skipf("mounting FUSE needs root and /dev/fuse: %v", err)
	} else if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	loop := sim.NewLoop()
	device := nbdtest.NewRAM(loop, 1<<20)
	device.Log = true
	real, err := sim.NewReal(loop)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f, err := Mount(Config{Dir: dir, Device: device, Real: real})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(filepath.Join(dir, Name), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Close(fd) // of a test that has closed it: an error without weight
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := real.Close(); err != nil {
			t.Error(err)
		}
	})
	return device, f, fd
}

// TestAFileIsTheDevice: what is written arrives as it is, past every cache, and a hole
// reads as zeros.
func TestAFileIsTheDevice(t *testing.T) {
	device, f, fd := mounted(t)
	data := bytes.Repeat([]byte("nbd!"), 96<<10/4)
	if n, err := unix.Pwrite(fd, data, 64<<10); err != nil || n != len(data) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if !bytes.Equal(device.Data[64<<10:160<<10], data) {
		t.Error("the device does not have what was written")
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 64<<10, 4096); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8192)
	if n, err := unix.Pread(fd, got, 64<<10); err != nil || n != len(got) {
		t.Fatalf("read %d, %v", n, err)
	}
	if !bytes.Equal(got, append(make([]byte, 4096), data[:4096]...)) {
		t.Error("expected zeros in the hole, and then what was written")
	}
	if n, err := unix.Pread(fd, got, 1<<20-512); err != nil || n != 512 {
		t.Errorf("the last sector: %d bytes, %v, expected 512", n, err)
	}
	if err := unix.Ftruncate(fd, 4096); err == nil {
		t.Error("the disk was cut short, expected an error")
	}
	if c := f.Counts(); c.Writes != 1 || c.Zeroes != 1 {
		t.Errorf("%+v", c)
	}
}

// TestFsyncIsFlush: each time; and closing a descriptor is none.
func TestFsyncIsFlush(t *testing.T) {
	device, f, fd := mounted(t)
	for range 3 {
		if err := unix.Fsync(fd); err != nil {
			t.Fatal(err)
		}
	}
	other, err := unix.Dup(fd)
	if err == nil {
		err = unix.Close(other)
	}
	if err != nil {
		t.Fatal(err)
	}
	flushes := 0
	for _, r := range device.Seen {
		if r.Op == devices.OpFlush {
			flushes++
		}
	}
	if flushes != 3 || f.Counts().Flushes != 3 {
		t.Errorf("the device got %d flushes, and %d are counted, expected 3", flushes, f.Counts().Flushes)
	}
}

// TestErrorsOfTheDeviceArrive: a write that failed is no success.
func TestErrorsOfTheDeviceArrive(t *testing.T) {
	device, _, fd := mounted(t)
	for errno, want := range map[devices.Errno]error{devices.EIO: unix.EIO, devices.ENOSPC: unix.ENOSPC, devices.ESHUTDOWN: unix.EIO} {
		device.Errno = errno
		if _, err := unix.Pwrite(fd, make([]byte, 512), 0); err != want {
			t.Errorf("%v arrives as %v, expected %v", errno, err, want)
		}
	}
}
