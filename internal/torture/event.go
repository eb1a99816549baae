package torture

import (
	"regexp"
	"strconv"
	"strings"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/internal/units"
)

// event is what a cut waits for: --at. The zero value is a moment that the seed chooses.
type event struct {
	kind  string // "flush", "write", "ack", or empty
	nth   uint64 // of them, from 1, after the cut was prepared
	first uint64 // write: the range in bytes that it touches
	end   uint64
	line  *regexp.Regexp // ack
}

// maxNth bounds the number of an event.
const maxNth = 1 << 30

const eventsWanted = "flush:N (when the Nth FLUSH arrives), write:FIRST-END (when a write within these bytes arrives) or ack:REGEXP (when a matching line is acknowledged)"

// parseEvent reads --at.
func parseEvent(text string) (e event, err error) {
	kind, rest, ok := strings.Cut(text, ":")
	e.kind, e.nth = kind, 1
	switch {
	case text == "":
		return event{}, nil
	case kind == "fua":
		return e, conf.At("--at", "expected %s: on this way into the kernel no FUA arrives, got %q", eventsWanted, text)
	case kind == "flush" && ok:
		if e.nth, err = strconv.ParseUint(rest, 10, 64); err != nil || e.nth == 0 || e.nth > maxNth {
			return e, conf.At("--at", "flush: expected a number from 1 to %d, got %q", maxNth, rest)
		}
	case kind == "write" && ok:
		first, end, ok := strings.Cut(rest, "-")
		a, err := units.ParseSize(first)
		b, err2 := units.ParseSize(end)
		if !ok || err != nil || err2 != nil || a >= b {
			return e, conf.At("--at", "write: expected two places in bytes, such as 0-4KiB, got %q", rest)
		}
		e.first, e.end = uint64(a), uint64(b)
	case kind == "ack" && ok:
		if e.line, err = regexp.Compile(rest); err != nil {
			return e, conf.At("--at", "ack: %v", err)
		}
	default:
		return e, conf.At("--at", "expected %s, got %q", eventsWanted, text)
	}
	return e, nil
}

// inDevice reports whether the drive sees the event.
func (e *event) inDevice() bool { return e.kind == "flush" || e.kind == "write" }

// is reports whether a request that arrives is such an event.
func (e *event) is(r *devices.Request) bool {
	switch e.kind {
	case "flush":
		return r.Op == devices.OpFlush
	case "write":
		return r.Op.Modifies() && r.Offset < e.end && r.End() > e.first
	}
	return false
}

// acked reports whether there is a whole line behind the first n bytes that matches.
func (e *event) acked(journal []byte, n int) bool {
	rest := string(journal[min(n, len(journal)):])
	for line := range strings.Lines(rest) {
		if strings.HasSuffix(line, "\n") && e.line.MatchString(strings.TrimSuffix(line, "\n")) {
			return true
		}
	}
	return false
}

// watched is a Device on which one cut waits for an event. It belongs to the loop.
type watched struct {
	devices.Device
	event event
	left  uint64 // events until the cut; 0 is no cut
	cut   func() // takes the image
}

// Submit forwards r, after the cut that waits for it.
func (w *watched) Submit(r *devices.Request) {
	if w.left > 0 && w.event.is(r) {
		if w.left--; w.left == 0 {
			w.cut()
		}
	}
	w.Device.Submit(r)
}
