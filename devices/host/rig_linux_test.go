package host

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

// run runs a program, and fails the test with what it says if that fails.
func run(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", words, err, out)
	}
	return strings.TrimSpace(string(out))
}

// needsRoot skips the test where loop devices cannot be had.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: no loop devices")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("no loop devices: %v", err)
	}
}

func tempFile(t *testing.T, dir string, size int64) string {
	t.Helper()
	name := filepath.Join(dir, "file.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return name
}

// loop is a loop device over a file of so many MiB.
func loop(t *testing.T, mib int64) string {
	t.Helper()
	needsRoot(t)
	out, err := exec.CommandContext(t.Context(), "losetup", "-f", "--show", tempFile(t, t.TempDir(), mib<<20)).CombinedOutput()
	if err != nil {
		t.Skipf("losetup: %v: %s", err, out)
	}
	name := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", name).Run() })
	return name
}

// mounted is a directory with a file system of its own, on a loop device.
func mounted(t *testing.T, fs string, mib int64) (dir, device string) {
	t.Helper()
	if _, err := exec.LookPath("mkfs." + fs); err != nil {
		t.Skip(err)
	}
	device = loop(t, mib)
	if fs == "ext4" {
		run(t, "mkfs.ext4", "-q", "-F", device)
	} else {
		run(t, "mkfs."+fs, "-q", "-f", device)
	}
	dir = t.TempDir()
	run(t, "mount", "-t", fs, device, dir)
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	return dir, device
}

// rig is a device over storage and a way to wait for it.
type rig struct {
	t    *testing.T
	real *sim.Real
	s    *Storage
	d    *Device
}

func newRig(t *testing.T, path string, c Config) *rig {
	t.Helper()
	s, err := Open(path, c)
	if err != nil {
		t.Fatal(err)
	}
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Device(real)
	if err != nil {
		t.Fatal(err)
	}
	x := &rig{t, real, s, d}
	t.Cleanup(x.close)
	return x
}

func (x *rig) close() {
	if x.d.engine == nil {
		return
	}
	for _, err := range []error{x.d.Close(), x.real.Close(), x.s.Close()} {
		if err != nil {
			x.t.Error(err)
		}
	}
}

type countdown struct{ left int }

func (c *countdown) Done(*devices.Request) { c.left-- }

func (x *rig) do(rs ...*devices.Request) {
	x.t.Helper()
	n := &countdown{len(rs)}
	x.real.Do(func() {
		for _, r := range rs {
			r.Completer = n
			x.d.Submit(r)
		}
	})
	if err := x.real.RunWhile(x.t.Context(), func() bool { return n.left > 0 }); err != nil {
		x.t.Fatal(err)
	}
}

func (x *rig) must(r *devices.Request) {
	x.t.Helper()
	if x.do(r); r.Errno != devices.OK {
		x.t.Fatalf("%v: %v", r, r.Errno)
	}
}

func request(op devices.Op, f devices.Flags, off uint64, b []byte) *devices.Request {
	return &devices.Request{Op: op, Flags: f, Offset: off, Length: uint64(len(b)), Payload: devices.Payload{Bytes: b}}
}

func span(op devices.Op, f devices.Flags, off, n uint64) *devices.Request {
	return &devices.Request{Op: op, Flags: f, Offset: off, Length: n}
}

func (x *rig) read(off, n uint64) []byte {
	x.t.Helper()
	r := request(devices.OpRead, 0, off, make([]byte, n))
	x.must(r)
	return r.Bytes
}

// places are all kinds of storage that this machine can have.
func places(t *testing.T, each func(t *testing.T, path string, c Config)) {
	const size = 4 << 20
	for name, place := range map[string]func(t *testing.T) string{
		"file":         func(t *testing.T) string { return tempFile(t, t.TempDir(), size) },
		"directory":    func(t *testing.T) string { return t.TempDir() },
		"block device": func(t *testing.T) string { return loop(t, 4) },
		"xfs":          func(t *testing.T) string { d, _ := mounted(t, "xfs", 320); return tempFile(t, d, size) },
		"btrfs":        func(t *testing.T) string { d, _ := mounted(t, "btrfs", 128); return tempFile(t, d, size) },
		"tmpfs": func(t *testing.T) string {
			dir, err := os.MkdirTemp("/dev/shm", "nbdbench")
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			return tempFile(t, dir, size)
		},
	} {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, direct %v", name, direct), func(t *testing.T) {
				each(t, place(t), Config{Direct: direct, Size: size})
			})
		}
	}
}

func TestStorageHoldsWhatWasWritten(t *testing.T) {
	places(t, func(t *testing.T, path string, c Config) {
		x := newRig(t, path, c)
		if x.d.Info().Size != c.Size || x.d.Info().FUA != devices.FUANative || !x.d.Info().CanFlush {
			t.Fatalf("got %+v", x.d.Info())
		}
		var writes []*devices.Request
		for i := range uint64(300) { // more than are in the kernel at a time
			writes = append(writes, request(devices.OpWrite, devices.Flags(i%2), i*4096, bytes.Repeat([]byte{byte(i%250 + 1)}, 4096)))
		}
		x.do(writes...)
		x.must(span(devices.OpFlush, 0, 0, 0))
		for i, r := range writes {
			if r.Errno != devices.OK || !bytes.Equal(x.read(r.Offset, 4096), r.Bytes) {
				t.Fatalf("write %d: %v, or it is not what was written", i, r.Errno)
			}
		}
		if s := x.d.Stats(); s.Flushes != 1 || s.HostWrittenBytes != 300*4096 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestZeroedRangesReadAsZeros(t *testing.T) {
	places(t, func(t *testing.T, path string, c Config) {
		x := newRig(t, path, c)
		x.must(request(devices.OpWrite, 0, 0, bytes.Repeat([]byte{1}, 1<<20)))
		for i, f := range []devices.Flags{0, devices.NoHole, devices.FUA, devices.NoHole | devices.FUA} {
			at := uint64(i) * 131072
			x.must(span(devices.OpWriteZeroes, f, at+4096, 65536))
			if got := x.read(at+4096, 65536); !bytes.Equal(got, make([]byte, 65536)) {
				t.Errorf("flags %x: not zeros", f)
			}
			if got := x.read(at, 4096); got[4095] != 1 {
				t.Errorf("flags %x: what is before was zeroed too", f)
			}
		}
		fast := span(devices.OpWriteZeroes, devices.FastZero, 524288, 65536)
		if x.do(fast); fast.Errno != devices.OK && fast.Errno != devices.ENOTSUP {
			t.Errorf("fast zeroes: got %v", fast.Errno)
		}
		x.must(span(devices.OpTrim, devices.FUA, 786432, 65536))
		x.must(span(devices.OpTrim, 0, 786433, 100)) // of no whole block
		if got := x.read(720896, 4096); got[0] != 1 {
			t.Error("what was not trimmed is gone")
		}
	})
}

func TestBlockStatusTellsDataFromHoles(t *testing.T) {
	places(t, func(t *testing.T, path string, c Config) {
		x := newRig(t, path, c)
		x.must(request(devices.OpWrite, devices.FUA, 1<<20, bytes.Repeat([]byte{1}, 65536)))
		var b devices.BlockStatus
		b.Reset(64)
		r := span(devices.OpBlockStatus, 0, 0, 2<<20)
		r.Status = &b
		x.must(r)
		hole := devices.StatusHole | devices.StatusZero
		want := []devices.StatusExtent{{Length: 1 << 20, Flags: hole}, {Length: 65536}, {Length: 1<<20 - 65536, Flags: hole}}
		if x.s.Kind() == Block {
			want = []devices.StatusExtent{{Length: 2 << 20}}
		}
		if fmt.Sprint(b.Extents) != fmt.Sprint(want) && !looser(b.Extents, want) {
			t.Errorf("got %v, want %v", b.Extents, want)
		}
	})
}

// looser reports whether got calls allocated what want calls so, and perhaps more: a
// file system may allocate around what is written.
func looser(got, want []devices.StatusExtent) bool {
	return len(got) == len(want) && len(got) == 3 && got[0].Length <= want[0].Length && got[0].Length+got[1].Length >= want[0].Length+want[1].Length &&
		got[0].Flags == want[0].Flags && got[1].Flags == 0
}

func TestWhatIsNotInTheFileIsRefused(t *testing.T) {
	places(t, func(t *testing.T, path string, c Config) {
		x := newRig(t, path, c)
		for _, q := range []struct {
			r    *devices.Request
			want devices.Errno
		}{
			{request(devices.OpWrite, 0, c.Size, make([]byte, 4096)), devices.ENOSPC},
			{request(devices.OpRead, 0, c.Size-4096, make([]byte, 8192)), devices.EINVAL},
			{span(devices.OpWriteZeroes, 0, ^uint64(0)-4095, 8192), devices.EINVAL},
		} {
			if x.do(q.r); q.r.Errno != q.want {
				t.Errorf("%v: got %v, want %v", q.r, q.r.Errno, q.want)
			}
		}
		if x.s.Kind() == File {
			if info, err := os.Stat(path); err != nil || info.Size() != int64(c.Size) {
				t.Errorf("the file has %v bytes, %v", info.Size(), err)
			}
		}
	})
}

func TestReadOnlyStorageIsNotWritten(t *testing.T) {
	places(t, func(t *testing.T, path string, c Config) {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			t.Skip("a scratch file is for writing")
		}
		c.ReadOnly = true
		x := newRig(t, path, c)
		r := request(devices.OpWrite, 0, 0, make([]byte, 4096))
		if x.do(r); r.Errno != devices.EPERM || !x.d.Info().ReadOnly {
			t.Errorf("got %v", r.Errno)
		}
		x.read(0, 4096)
	})
}

func TestAScratchFileLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	x := newRig(t, dir, Config{Size: 1 << 20, Direct: true})
	x.must(request(devices.OpWrite, devices.FUA, 0, make([]byte, 4096)))
	for _, when := range []string{"while it is open", "after it is closed"} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", when, left, err)
		}
		x.close()
	}
}

func TestFilledFilesHaveNoUnwrittenExtents(t *testing.T) {
	places(t, func(t *testing.T, path string, c Config) {
		x := newRig(t, path, c)
		if x.s.Kind() == Block {
			t.Skip("a block device has no extents")
		}
		data := bytes.Repeat([]byte{7}, 65536)
		x.must(request(devices.OpWrite, devices.FUA, 65536, data))
		x.must(span(devices.OpWriteZeroes, devices.NoHole, 1<<20, 65536)) // unwritten, on most
		_, gaps, err := x.s.extents()
		if err != nil || len(gaps) == 0 {
			t.Fatalf("before: %v, %v", gaps, err)
		}
		e, err := x.s.Fill()
		if err != nil {
			t.Fatal(err)
		}
		if _, gaps, err = x.s.extents(); err != nil || len(gaps) > 0 {
			t.Errorf("after: %v, %v", gaps, err)
		}
		if !bytes.Equal(x.read(65536, 65536), data) {
			t.Error("what was written before is not there")
		}
		if n := uint64(0); e.Known {
			for _, x := range e.List {
				n += x.Length
			}
			if n != c.Size {
				t.Errorf("extents of %d bytes, want %d", n, c.Size)
			}
		} else if x.s.Disk().FileSystem != "tmpfs" {
			t.Errorf("%s has no FIEMAP", x.s.Disk().FileSystem)
		}
	})
}
