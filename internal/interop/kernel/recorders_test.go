package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/nbd/kernel"
	"nbdbench/sim"
)

// servedDisk is an NBD device that takes FLUSH and FUA and no time: nothing depends on
// it.
type servedDisk struct {
	*disk
	recording
	attached *kernel.Attachment
	all      [][]history.Event
}

func newServedDisk(t *testing.T) recorder {
	r := &servedDisk{}
	r.disk = serve(t, export{
		device: "ram", size: traceSize, strategy: "pass", advertise: &layer.Advertised{Flush: true, FUA: true},
		wire: func(loop *sim.Loop, served devices.Device) devices.Device {
			return history.NewTap(served, loop, &r.recording)
		},
	})
	r.attached = r.attach(kernel.Config{})
	return r
}

func (r *servedDisk) path() string  { return r.attached.Path }
func (r *servedDisk) about() string { return "an NBD device with FLUSH and FUA" }
func (r *servedDisk) close() error  { return r.attached.Detach() }
func (r *servedDisk) begin()        { r.real.Do(func() { r.on, r.log = true, history.Log{} }) }

func (r *servedDisk) end() {
	r.real.Do(func() {
		r.on = false
		r.all = append(r.all, r.log.Events)
	})
}

func (r *servedDisk) records() ([][]history.Event, error) { return r.all, nil }

// tracedDisk is a loop device, of which the kernel traces what is submitted to it
// (Documentation/trace/ftrace.rst, block/blktrace.c).
type tracedDisk struct {
	loop, trace string // the device, and an instance of tracefs
	err         error
}

// traceKiB is the kernel's buffer on each processor.
const traceKiB = 16 << 10

func newTracedDisk(t *testing.T) recorder {
	t.Helper()
	const tracefs = "/sys/kernel/tracing"
	if _, err := os.Stat(tracefs + "/instances"); err != nil {
		sh(t, "mount", "-t", "tracefs", "tracefs", tracefs)
	}
	file := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, traceSize)); err != nil {
		t.Fatal(err)
	}
	d := &tracedDisk{loop: strings.TrimSpace(sh(t, "losetup", "--sector-size", "4096", "-f", "--show", file)), trace: fmt.Sprintf("%s/instances/nbdbench%d", tracefs, os.Getpid())}
	t.Cleanup(func() { sh(t, "losetup", "-d", d.loop) })
	var stat unix.Stat_t
	if err := errors.Join(unix.Stat(d.loop, &stat), os.Mkdir(d.trace, 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(d.trace); err != nil {
			t.Error(err)
		}
	})
	number := uint64(unix.Major(stat.Rdev))<<20 | uint64(unix.Minor(stat.Rdev)) // as the kernel has it
	const event = "events/block/block_bio_queue/"
	d.set("buffer_size_kb", strconv.Itoa(traceKiB))
	d.set("trace_clock", "counter")
	d.set(event+"filter", fmt.Sprintf("dev == %d", number))
	d.set(event+"enable", "1")
	if d.err != nil {
		t.Fatal(d.err)
	}
	return d
}

// set writes a file of tracefs, and notes an error.
func (d *tracedDisk) set(name, value string) {
	d.err = errors.Join(d.err, os.WriteFile(filepath.Join(d.trace, name), []byte(value), 0o600))
}

func (d *tracedDisk) path() string  { return d.loop }
func (d *tracedDisk) about() string { return "a loop device with sectors of 4 KiB" }
func (d *tracedDisk) close() error  { return d.err }
func (d *tracedDisk) begin()        { d.set("trace_marker", "begin") }
func (d *tracedDisk) end()          { d.set("trace_marker", "end") }

func (d *tracedDisk) records() (all [][]history.Event, err error) {
	f, err := os.Open(filepath.Join(d.trace, "trace"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var events []history.Event
	on := false
	s := bufio.NewScanner(f)
	for s.Scan() {
		switch line := s.Text(); {
		case strings.HasSuffix(line, "tracing_mark_write: begin"):
			on, events = true, nil
		case strings.HasSuffix(line, "tracing_mark_write: end"):
			on, all = false, append(all, events)
		case on:
			if events, err = traced(events, line); err != nil {
				return nil, err
			}
		}
	}
	return all, s.Err()
}

// traced appends what a line of the trace says was submitted: a bio with PREFLUSH is a
// FLUSH before its write. A write that goes on where the last one ended is one with it,
// as in the block layer's plug.
func traced(events []history.Event, line string) ([]history.Event, error) {
	_, text, ok := strings.Cut(line, "block_bio_queue: ")
	if !ok {
		return events, nil
	}
	var device, flags string
	var sector, count uint64
	if _, err := fmt.Sscanf(text, "%s %s %d + %d", &device, &flags, &sector, &count); err != nil {
		return nil, fmt.Errorf("expected a line of block_bio_queue, got %q: %w", line, err)
	}
	rest, preflush := strings.CutPrefix(flags, "F")
	if preflush {
		events = append(events, history.Event{Op: devices.OpFlush})
	}
	if count == 0 || rest == "" {
		return events, nil
	}
	e := history.Event{Op: devices.OpRead, Offset: sector * 512, Length: count * 512}
	switch {
	case strings.HasPrefix(rest, "WZ"):
		e.Op = devices.OpWriteZeroes
	case rest[0] == 'W':
		e.Op = devices.OpWrite
	case rest[0] == 'D':
		e.Op = devices.OpTrim
	}
	if strings.Contains(rest[1:], "F") {
		e.Flags = devices.FUA
	}
	if n := len(events); n > 0 && e.Flags == 0 {
		if last := &events[n-1]; last.Op == e.Op && last.Flags == 0 && last.Offset+last.Length == e.Offset {
			last.Length += e.Length
			return events, nil
		}
	}
	return append(events, e), nil
}

func TestTracedBiosAreTheRequestsOfANBDDevice(t *testing.T) {
	var events []history.Event
	var err error
	for _, line := range []string{
		"sqlite3-807 [001] ..... 2: block_bio_queue: 7,0 WS 266264 + 24 [sqlite3]",
		"jbd2/loop0-8-787 [000] ..... 3: block_bio_queue: 7,0 WSM 2097328 + 8 [jbd2/loop0-8]",
		"jbd2/loop0-8-787 [000] ..... 4: block_bio_queue: 7,0 WSM 2097336 + 8 [jbd2/loop0-8]",
		"jbd2/loop0-8-787 [000] ..... 9: block_bio_queue: 7,0 FWFSM 2097376 + 8 [jbd2/loop0-8]",
		"sqlite3-807 [001] ..... 11: block_bio_queue: 7,0 FWS 0 + 0 [sqlite3]",
	} {
		if events, err = traced(events, line); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range events {
		got = append(got, word(e.Op, e.Flags&devices.FUA != 0, e.Length))
	}
	if want := "WRITE 12KiB, WRITE 8KiB, FLUSH, WRITE+FUA 4KiB, FLUSH"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, ", "), want)
	}
}
