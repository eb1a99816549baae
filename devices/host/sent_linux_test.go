package host

import (
	"os"
	"path/filepath"
	"testing"

	"nbdbench/devices"
)

func TestATraceIsCountedByTheKernelsLetters(t *testing.T) {
	c := tally{own: []sectors{{2048, 4096}}}
	for _, line := range []string{
		"# tracer: nop",
		" aio-807 [001] ..... 1.0: block_rq_issue: 7,0 WS 4096 () 2048 + 8 be,0,4 [aio]",
		" aio-807 [001] ..... 1.1: block_rq_issue: 7,0 FF 0 () 0 + 0 none,0,0 [aio]",
		" aio-807 [001] ..... 1.2: block_rq_issue: 7,0 WFS 4096 () 4088 + 8 be,0,4 [aio]",
		" aio-807 [001] ..... 1.3: block_rq_issue: 7,0 WFS 8192 () 4088 + 16 be,0,4 [aio]",
		" jbd2-7 [000] ..... 1.4: block_rq_issue: 7,0 WFSM 4096 () 9000 + 8 be,0,4 [jbd2/loop0-8]",
		" aio-807 [001] ..... 1.5: block_rq_issue: 7,0 R 4096 () 2048 + 8 be,0,4 [aio]",
		" aio-807 [001] ..... 1.6: block_rq_issue: 7,0 D 4096 () 2048 + 8 be,0,4 [aio]",
		" aio-807 [001] ..... 1.7: block_rq_requeue: 7,0 WS () 2048 + 8 be,0,4 [0]",
		" aio-807 [001] ..... 1.8: block_rq_issue: 7,0 WS 4096 () 2048 + 8 be,0,4 [aio]",
		" aio-807 [001] ..... 1.9: block_bio_queue: 253,0 FWFS 2048 + 8 [aio]",
		" aio-807 [001] ..... 2.0: block_bio_queue: 253,0 FWS 0 + 0 [aio]",
		" nvme-8 [001] ..... 2.1: block_rq_issue: 259,0 N 512 (02 00 ff) 0 + 1 none,0,0 [nvme]",
	} {
		if err := c.line(line); err != nil {
			t.Fatal(err)
		}
	}
	if want := (Sent{Write: 1, WriteFUA: 2, Flush: 3, Other: 2}); c.sent != want {
		t.Errorf("got %+v, want %+v", c.sent, want)
	}
	for _, line := range []string{"x block_rq_issue: 7,0 WS", "x block_rq_issue: 7,0 WS 4096 () x + 8", "x block_rq_issue: 7,0 WS 4096 () 18446744073709551615 + 8 be"} {
		if c.line(line) == nil {
			t.Errorf("%q is a request", line)
		}
	}
}

// watched is what the kernel sends for f, by its trace and by its sums alone.
func (x *rig) watched(extents Extents, f func()) (traced, summed Sent) {
	x.t.Helper()
	w, err := x.s.Watch(extents)
	if err != nil {
		x.t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			x.t.Error(err)
		}
	}()
	if w.Why() != nil {
		x.t.Skip(w.Why())
	}
	before := x.d.Asked()
	if err := w.Begin(); err != nil {
		x.t.Fatal(err)
	}
	f()
	after, err := w.sums()
	if err != nil {
		x.t.Fatal(err)
	}
	asked := x.d.Asked().Sub(before)
	if traced, err = w.End(asked); err != nil {
		x.t.Fatal(err)
	}
	return traced, w.bySums(after, asked)
}

// commits are durable writes of one strategy, one after another.
func (x *rig) commits(n int, f devices.Flags, flush bool) {
	x.t.Helper()
	data := make([]byte, 4096)
	for i := range n {
		x.must(request(devices.OpWrite, f, uint64(i*3%16)*8192, data))
		if flush {
			x.must(request(devices.OpFlush, 0, 0, nil))
		}
	}
}

func TestWhatALoopDeviceIsSentIsCountedExactly(t *testing.T) {
	const n = 20
	x := newRig(t, loop(t, 8), Config{Direct: true})
	for _, c := range []struct {
		name  string
		flags devices.Flags
		flush bool
		want  Sent
	}{
		{"FUA", devices.FUA, false, Sent{Traced: true, Write: n, Flush: n}},
		{"write and FLUSH", 0, true, Sent{Traced: true, Write: n, Flush: n}},
		{"write", 0, false, Sent{Traced: true, Write: n}},
	} {
		traced, summed := x.watched(Extents{}, func() { x.commits(n, c.flags, c.flush) })
		t.Logf("%s: %+v, by /sys/block %+v", c.name, traced, summed)
		if traced != c.want || summed != (Sent{Write: c.want.Write, Flush: c.want.Flush}) {
			t.Errorf("%s: got %+v and %+v, want %+v", c.name, traced, summed, c.want)
		}
	}
}

func TestWritesOfAFileAreKnownByItsSectors(t *testing.T) {
	const n = 20
	dir, _ := mounted(t, "ext4", 32)
	x := newRig(t, tempFile(t, dir, 1<<20), Config{Direct: true})
	extents, err := x.s.Fill()
	if err != nil {
		t.Fatal(err)
	}
	for name, commits := range map[string]func(){
		"FUA":             func() { x.commits(n, devices.FUA, false) },
		"write and FLUSH": func() { x.commits(n, 0, true) },
	} {
		syncAll(t, dir)
		traced, summed := x.watched(extents, commits)
		t.Logf("%s: %+v, by /sys/block %+v", name, traced, summed)
		if traced.Write != n || traced.WriteFUA != 0 || traced.Flush < n || summed.Write < n || summed.Write > traced.Write+traced.Other {
			t.Errorf("%s: got %+v and %+v, want %d writes and as many flushes", name, traced, summed, n)
		}
	}
	other, _ := x.watched(extents, func() {
		if err := os.WriteFile(dir+"/another", make([]byte, 8192), 0o600); err != nil {
			t.Error(err)
		}
		syncAll(t, dir)
	})
	if other.Write != 0 || other.WriteFUA != 0 || other.Other == 0 {
		t.Errorf("another file is counted as %+v", other)
	}
}

func syncAll(t *testing.T, dir string) {
	t.Helper()
	run(t, "sync", "-f", dir)
}

func TestNothingOfATraceIsLeft(t *testing.T) {
	s, err := Open(loop(t, 8), Config{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, err := s.Watch(Extents{})
	if err != nil {
		t.Fatal(err)
	}
	if w.Why() != nil {
		t.Skip(w.Why())
	}
	dir := w.dir
	if err := os.Remove(dir); err == nil {
		t.Error("an instance in use is removed")
	}
	sweep(filepath.Dir(filepath.Dir(dir)))
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is left", dir)
	}
}
