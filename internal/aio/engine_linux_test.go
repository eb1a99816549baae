package aio

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/sim"
)

// rig is an engine on a file of 1 MiB with O_DIRECT.
type rig struct {
	t    *testing.T
	real *sim.Real
	*Engine
}

func newRig(t *testing.T, c Config) *rig {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
	if err != nil {
		t.Skipf("no O_DIRECT here: %v", err)
	}
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	c.Drain = time.Minute
	e, err := New(f, real, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, err := range []error{e.Close(), real.Close(), f.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return &rig{t, real, e}
}

type countdown struct{ left int }

func (c *countdown) Done(*devices.Request) { c.left-- }

// do submits the requests together and waits for all.
func (x *rig) do(rs ...*devices.Request) {
	x.t.Helper()
	n := &countdown{len(rs)}
	x.real.Do(func() {
		for _, r := range rs {
			r.Completer = n
			x.Submit(r)
		}
	})
	if err := x.real.RunWhile(x.t.Context(), func() bool { return n.left > 0 }); err != nil {
		x.t.Fatal(err)
	}
}

func request(op devices.Op, f devices.Flags, off uint64, b []byte) *devices.Request {
	return &devices.Request{Op: op, Flags: f, Offset: off, Length: uint64(len(b)), Payload: devices.Payload{Bytes: b}}
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	x := newRig(t, Config{Depth: 4, MaxPayload: 1 << 16})
	var writes, reads []*devices.Request
	for i := range 64 { // many more than are in the kernel at a time
		flags := devices.Flags(0)
		if i%2 == 0 {
			flags = devices.FUA
		}
		writes = append(writes, request(devices.OpWrite, flags, uint64(i)*4096, bytes.Repeat([]byte{byte(i + 1)}, 4096)))
		reads = append(reads, request(devices.OpRead, 0, uint64(i)*4096, make([]byte, 4096)))
	}
	x.do(writes...)
	x.do(request(devices.OpFlush, 0, 0, nil))
	x.do(reads...)
	for i, r := range reads {
		if r.Errno != devices.OK || writes[i].Errno != devices.OK || !bytes.Equal(r.Bytes, writes[i].Bytes) {
			t.Errorf("%v: %v, then %v: got %d, want %d", writes[i], writes[i].Errno, r.Errno, r.Bytes[0], i+1)
		}
	}
}

func TestStampsComeBackAsVersions(t *testing.T) {
	x := newRig(t, Config{Depth: 1, MaxPayload: 1 << 16})
	x.do(&devices.Request{Op: devices.OpWrite, Length: 4096, Payload: devices.Payload{Stamp: 77}})
	r := &devices.Request{Op: devices.OpRead, Length: 4096, Payload: devices.Payload{Versions: make([]devices.Stamp, 8)}}
	x.do(r)
	for i, v := range r.Versions {
		if v != 77 {
			t.Errorf("sector %d: got version %d, want 77", i, v)
		}
	}
}

func TestWhatTheKernelRefusesHasItsErrno(t *testing.T) {
	x := newRig(t, Config{Depth: 2, MaxPayload: 8192, Slow: func(r *devices.Request) error {
		if r.Op == devices.OpTrim {
			return nil
		}
		return unix.ENOSPC
	}})
	for _, c := range []struct {
		name string
		r    *devices.Request
		want devices.Errno
	}{
		{"longer than the bound", request(devices.OpRead, 0, 0, make([]byte, 16384)), devices.EINVAL},
		{"empty", request(devices.OpWrite, 0, 0, nil), devices.EINVAL},
		{"not aligned", request(devices.OpWrite, 0, 1, make([]byte, 4096)), devices.EINVAL},
		{"past the end", request(devices.OpRead, 0, 1<<20-4096, make([]byte, 8192)), devices.EIO},
		{"slow", &devices.Request{Op: devices.OpTrim, Length: 4096}, devices.OK},
		{"slow and refused", &devices.Request{Op: devices.OpWriteZeroes, Length: 4096}, devices.ENOSPC},
	} {
		if x.do(c.r); c.r.Errno != c.want {
			t.Errorf("%s: got %v, want %v", c.name, c.r.Errno, c.want)
		}
	}
}

func TestBoundsThatCannotBeHadAreRefused(t *testing.T) {
	good := Config{Depth: 1, MaxPayload: 4096, Drain: time.Second}
	for name, change := range map[string]func(*Config){
		"no depth": func(c *Config) { c.Depth = 0 }, "too deep": func(c *Config) { c.Depth = MaxDepth + 1 },
		"no payload": func(c *Config) { c.MaxPayload = 0 }, "no drain": func(c *Config) { c.Drain = 0 },
	} {
		c := good
		if change(&c); c.Validate() == nil {
			t.Errorf("%s: %+v is accepted", name, c)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkWrite4K(b *testing.B) {
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "file"), os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
	if err != nil {
		b.Skip(err)
	}
	defer f.Close()
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		b.Fatal(err)
	}
	e, err := New(f, real, Config{Depth: 8, MaxPayload: 1 << 16, Drain: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	x := &rig{nil, real, e}
	r := request(devices.OpWrite, 0, 0, make([]byte, 4096))
	n := &countdown{}
	r.Completer = n
	b.ReportAllocs()
	for b.Loop() {
		n.left = 1
		real.Do(func() { x.Submit(r) })
		if err := real.RunWhile(b.Context(), func() bool { return n.left > 0 }); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		b.Error(err)
	}
	_ = real.Close()
}
