package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/internal/units"
	"nbdbench/nbd/kernel"
	"nbdbench/sim"
)

// recording is a history that can be switched on and off. Numbers and time
// begin with the first event that it hears.
type recording struct {
	on    bool
	log   history.Log
	first history.Event
}

func (r *recording) Observe(e *history.Event) {
	if !r.on {
		return
	}
	if len(r.log.Events) == 0 {
		r.first = *e
	}
	v := *e
	v.Seq -= r.first.Seq - 1
	v.Time -= r.first.Time
	if v.Kind == history.Done {
		if v.Of < r.first.Seq {
			return // its beginning was not heard
		}
		v.Of -= r.first.Seq - 1
	}
	r.log.Observe(&v)
}

// scenarios are what an application does, of which the traffic is recorded.
var scenarios = []struct {
	name, what string
	do         func(dir string) error
}{
	{"overwrite", "8 KiB of a file that is there, fsync", func(dir string) error {
		return synced(filepath.Join(dir, "old"), os.O_WRONLY, 16<<10, bytes.Repeat([]byte("b"), 8<<10))
	}},
	{"create", "a new file of 8 KiB, fsync", func(dir string) error {
		return synced(filepath.Join(dir, "new"), os.O_WRONLY|os.O_CREATE, 0, bytes.Repeat([]byte("c"), 8<<10))
	}},
}

func TestGuestTraceOfOneFsync(t *testing.T) {
	guestOnly(t)
	for _, f := range fileSystems {
		f.load(t)
		for name, log := range trace(t, f) {
			t.Logf("%s, %s: %s", f.name, name, strings.Join(describe(log), "; "))
			var text bytes.Buffer
			if err := log.Write(&text); err != nil {
				t.Fatal(err)
			}
			if _, err := history.Read(bytes.NewReader(text.Bytes())); err != nil {
				t.Fatalf("what was written cannot be read: %v", err)
			}
			handFile(f.name+"-"+name+".log", text.Bytes())
		}
	}
}

// traceSize is that of a disk on which things are where they are on a large one.
const traceSize = 16 << 30

// trace records what the file system asks of its device in each scenario, one
// after the other. The device takes no time: nothing depends on it.
func trace(t *testing.T, f fileSystem) map[string]*history.Log {
	t.Helper()
	r := &recording{}
	d := serve(t, export{
		device: "ram", size: traceSize, strategy: "pass", advertise: &layer.Advertised{Flush: true, FUA: true},
		wire: func(loop *sim.Loop, served devices.Device) devices.Device { return history.NewTap(served, loop, r) },
	})
	a := d.attach(kernel.Config{})
	sh(t, append(f.make, a.Path)...)
	prepare := func(dir string) {
		if err := synced(filepath.Join(dir, "old"), os.O_WRONLY|os.O_CREATE, 0, bytes.Repeat([]byte("a"), 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	logs := map[string]*history.Log{}
	err := errors.Join(f.mount(t, a.Path, prepare), f.mount(t, a.Path, func(dir string) {
		// What the mount has left to do is done now, and not in the record.
		warm := synced(filepath.Join(dir, "warm"), os.O_WRONLY|os.O_CREATE, 0, []byte("warm"))
		if _, err := os.ReadFile(filepath.Join(dir, "old")); errors.Join(err, warm) != nil {
			t.Fatal(err, warm)
		}
		for _, s := range scenarios {
			unix.Sync()
			d.real.Do(func() { r.on, r.log = true, history.Log{} })
			if err := s.do(dir); err != nil {
				t.Fatal(err)
			}
			d.real.Do(func() {
				r.on = false
				logs[s.name] = &history.Log{Events: r.log.Events}
			})
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Detach(); err != nil {
		t.Fatal(err)
	}
	return logs
}

// requests visits the requests of a history, in groups that were in flight
// together.
func requests(log *history.Log, visit func(group []history.Event)) {
	inFlight := 0
	var group []history.Event
	for _, e := range log.Events {
		if e.Kind == history.Done {
			inFlight--
			continue
		}
		if inFlight == 0 && group != nil {
			visit(group)
			group = nil
		}
		inFlight++
		group = append(group, e)
	}
	if group != nil {
		visit(group)
	}
}

// word is a request without its place.
func word(op devices.Op, fua bool, length uint64) string {
	s := strings.ToUpper(op.String())
	if fua {
		s += "+FUA"
	}
	if op != devices.OpFlush {
		s += fmt.Sprintf(" %v", units.Size(length))
	}
	return s
}

// describe is a line for each group of requests that were in flight together.
func describe(log *history.Log) (lines []string) {
	requests(log, func(group []history.Event) {
		var words []string
		for _, e := range group {
			s := word(e.Op, e.Flags&devices.FUA != 0, e.Length)
			if e.Op != devices.OpFlush {
				s += fmt.Sprintf(" at %.1f MiB", float64(e.Offset)/(1<<20))
			}
			words = append(words, s)
		}
		lines = append(lines, strings.Join(words, ", "))
	})
	return lines
}

// skeleton is what makes a history durable: its writes, flushes and FUA writes in
// their order, with writes that follow each other as one.
func skeleton(log *history.Log) (out []string) {
	requests(log, func(group []history.Event) {
		for _, e := range group {
			s, _, _ := strings.Cut(word(e.Op, e.Flags&devices.FUA != 0, e.Length), " ")
			if len(out) == 0 || out[len(out)-1] != s {
				out = append(out, s)
			}
		}
	})
	return out
}
