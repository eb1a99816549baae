package serve

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/sim"
)

// watchedLog is the file of a log, of which it is known what was synced.
type watchedLog struct {
	*os.File
	synced int64 // bytes
	err    error // of the next sync
}

// Sync makes durable what is there.
func (w *watchedLog) Sync() error {
	if w.err != nil {
		return w.err
	}
	info, err := w.Stat()
	w.synced = info.Size()
	return err
}

// deviceOf is a device with the files of the configuration.
func deviceOf(t *testing.T, c *Config) *device {
	t.Helper()
	c.Strategy, c.Size = "pass", 1<<20
	l, err := newDevice(c, "", sim.NewLoop(), nil)
	if err == nil {
		err = l.record()
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// answer is a client that keeps the error of what it asked last.
type answer struct{ done bool }

// Done is the reply.
func (d *answer) Done(*devices.Request) { d.done = true }

// asked submits r and runs until its reply.
func asked(l *device, r *devices.Request) devices.Errno {
	var d answer
	r.Completer = &d
	(&client{l, l.fence}).Submit(r)
	l.loop.RunWhile(func() bool { return !d.done })
	return r.Errno
}

func aWrite(flags devices.Flags) *devices.Request {
	r := &devices.Request{Op: devices.OpWrite, Flags: flags, Length: 4096}
	r.Bytes = bytes.Repeat([]byte{1}, 4096)
	return r
}

// With --image-sync the logs too are on the host's disk before FUA and FLUSH are
// acknowledged; what cannot be brought there is not.
func TestALogIsOnTheDiskBeforeAPromise(t *testing.T) {
	for _, flag := range []string{"log", "log-writes"} {
		f, err := os.Create(filepath.Join(t.TempDir(), flag))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w := &watchedLog{File: f}
		c := &Config{Device: "ram", ImageSync: true}
		if flag == "log" {
			c.Log = w
		} else {
			c.LogWrites = w
		}
		l := deviceOf(t, c)
		for _, r := range []*devices.Request{aWrite(0), aWrite(devices.FUA), aWrite(0), {Op: devices.OpFlush}} {
			before := w.synced
			if e := asked(l, r); e != devices.OK {
				t.Fatal(e)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if promise := promises(r); promise && (w.synced != info.Size() || w.synced == before) || !promise && w.synced != before {
				t.Errorf("--%s: %v: %d bytes are synced of %d, %d before", flag, r, w.synced, info.Size(), before)
			}
		}
		w.err = errors.New("the disk is gone")
		for _, r := range []*devices.Request{aWrite(devices.FUA), aWrite(0), {Op: devices.OpFlush}} {
			if e := asked(l, r); e != devices.EIO {
				t.Errorf("--%s: %v: %v, want EIO", flag, r, e)
			}
		}
		if e := asked(l, &devices.Request{Op: devices.OpRead, Length: 512, Payload: devices.Payload{Bytes: make([]byte, 512)}}); e != devices.OK {
			t.Errorf("--%s: a read: %v", flag, e)
		}
		l.end(false)
		if err := l.close(); err == nil || !strings.Contains(err.Error(), "--"+flag+": the disk is gone") {
			t.Errorf("--%s: closing: %v", flag, err)
		}
	}
}

// Each reply to a write is in the file of --log before the client has it.
func TestEachReplyToAWriteIsInTheLogBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := deviceOf(t, &Config{Device: "nvme-990pro", Files: Files{Log: f}})
	for n := range 10 {
		if e := asked(l, aWrite(0)); e != devices.OK {
			t.Fatal(e)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := history.Read(bytes.NewReader(text))
		if err != nil || len(h.Events) != 2*(n+1) {
			t.Fatalf("%d events after %d writes, %v", len(h.Events), n+1, err)
		}
	}
}

// A range that the host failed to store cannot be read; others can.
func TestAReadOfWhatWasNotStoredFails(t *testing.T) {
	l := deviceOf(t, &Config{Device: "ram", Files: Files{Image: filepath.Join(t.TempDir(), "image")}})
	if e := asked(l, aWrite(0)); e != devices.OK {
		t.Fatal(e)
	}
	var talk strings.Builder
	l.events = newEventLog(&talk, "", false)
	l.file.Write(8192, 1<<62, drive.Content{Zero: true}) // past any file's end
	read := func(off uint64) devices.Errno {
		r := &devices.Request{Op: devices.OpRead, Offset: off, Length: 4096}
		r.Bytes = make([]byte, 4096)
		return asked(l, r)
	}
	for off, want := range map[uint64]devices.Errno{0: devices.OK, 4096: devices.OK, 8192: devices.EIO, 16384: devices.EIO} {
		if got := read(off); got != want {
			t.Errorf("a read at %d: %v, want %v", off, got, want)
		}
	}
	if e := asked(l, aWrite(0)); e != devices.EIO || strings.Count(talk.String(), "writes get EIO from now on") != 1 {
		t.Errorf("a write: %v, %q", e, talk.String())
	}
	l.end(false)
	if err := l.close(); err == nil || !strings.Contains(err.Error(), "--image: image:") {
		t.Errorf("closing: %v", err)
	}
}

// Without logs nothing is allocated for a request, and with --log neither.
func TestARequestAllocatesNothing(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, files := range map[string]Files{"none": {}, "--log": {Log: null}} {
		l := deviceOf(t, &Config{Device: "ram", Files: files})
		r, d := aWrite(devices.FUA), &answer{}
		c := &client{l, l.fence}
		if n := testing.AllocsPerRun(1000, func() {
			r.Completer = d
			c.Submit(r)
			for l.loop.Step() {
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for a write", name, n)
		}
	}
}
