package trace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"nbdbench/internal/conf"
)

// The bounds of an import.
const (
	MaxLine = 4096    // bytes of one line
	Window  = 1 << 14 // records that lines may be out of the order of time
	MaxGap  = 10 * 365 * 24 * time.Hour
)

// Durable says which writes were durable where the format does not.
type Durable struct {
	All   bool   // each has FUA
	Every uint64 // a flush follows each so many; 0 is none
}

// ParseDurable reads none, all or every:N.
func ParseDurable(s string) (Durable, error) {
	switch n, ok := strings.CutPrefix(s, "every:"); {
	case s == "none":
		return Durable{}, nil
	case s == "all":
		return Durable{All: true}, nil
	case ok:
		if v, err := strconv.ParseUint(n, 10, 32); err == nil && v > 0 {
			return Durable{Every: v}, nil
		}
	}
	return Durable{}, fmt.Errorf("expected none, all or every:N, got %q", s)
}

// Options is how a trace is read.
type Options struct {
	Format  string // one of Formats
	File    string // for errors
	Durable Durable
	// Source takes what is of one source alone: the device MAJOR,MINOR of blkparse,
	// the file of an iolog, the volume of a CSV, the connection of nbdkit's log. Empty
	// is all, and an error if there is more than one.
	Source string
	Action string // of blkparse: Q, D or C; empty is Q
}

// Lacks is what a format cannot carry.
var Lacks = map[string]string{
	"iolog":      "whether a write was durable by itself (sync=dsync leaves no mark), and how long it took",
	"blkparse":   "nothing that matters here; events that the kernel dropped are missing",
	"nbdkit-log": "nothing that matters here",
	"msr":        "flushes and FUA, so whether any write was durable, and trims",
	"alibaba":    "flushes and FUA, so whether any write was durable, trims, and latencies",
	"tencent":    "flushes and FUA, so whether any write was durable, trims, latencies, and times within a second",
	"systor":     "flushes and FUA, so whether any write was durable, and trims",
}

// Silent reports whether the format does not say which writes were durable.
func Silent(format string) bool { return strings.Contains(Lacks[format], "durable") }

// Summary is what an import has seen.
type Summary struct {
	Lines, Records, FUA uint64
	Ops                 [ops]uint64
	Bytes               [ops]uint64
	Skipped             uint64 // lines that are no request, such as the other actions of blkparse
	Late                uint64 // lines that were not in the order of time, and are now
	Span                time.Duration
	End                 uint64 // the highest offset that a request ends at
}

// parser reads a line of a format. It returns no record for a line that is none. A
// flush before or after a write is in the fields.
type parser interface {
	parse(line []byte, out *event) (is bool, err *columnError)
	ends(line []byte) bool // what follows is no longer the trace
}

// event is a line: a request and what flushes around it.
type event struct {
	Record
	preflush bool
	source   []byte
}

// columnError is what is wrong with a line, from that byte on, from 0.
type columnError struct {
	at  int
	msg string
}

func wrong(at int, format string, args ...any) *columnError {
	return &columnError{at, fmt.Sprintf(format, args...)}
}

// Import reads a trace and writes its records in the order of time. The first is at
// 0.
func Import(w *Writer, r io.Reader, o Options) (*Summary, error) {
	i := importer{w: w, o: o, sum: &Summary{}, queue: make([]Record, 0, 2*Window+2)}
	switch o.Format {
	case "iolog":
		i.p = &iolog{}
	case "blkparse":
		i.p = newBlkparse(o.Action)
	case "nbdkit-log":
		i.p = &nbdkitLog{byConnection: o.Source != ""}
	default:
		layout, ok := layouts[o.Format]
		if !ok {
			return nil, fmt.Errorf("expected iolog, blkparse, nbdkit-log, msr, alibaba, tencent or systor, got %q", o.Format)
		}
		i.p = &csv{layout: layout}
	}
	if err := i.lines(r); err != nil {
		return nil, err
	}
	if err := i.flush(len(i.queue)); err != nil {
		return nil, err
	}
	if i.sum.Records == 0 {
		return nil, &conf.Error{File: o.File, Msg: fmt.Sprintf("expected at least one request, got %d lines without any", i.sum.Lines)}
	}
	return i.sum, nil
}

type importer struct {
	w      *Writer
	o      Options
	p      parser
	sum    *Summary
	queue  []Record // in the order of time
	source string
	begun  bool
	first  time.Duration
	latest time.Duration // of the lines
	last   time.Duration // of what was written
	writes uint64        // since the last flush of Durable.Every
}

func (i *importer) lines(r io.Reader) error {
	b := bufio.NewReaderSize(r, MaxLine)
	var e event
	for n := 1; ; n++ {
		line, err := b.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return i.at(n, 0, "expected a line of at most %d bytes", MaxLine)
		case err != nil && err != io.EOF:
			return err
		case len(line) == 0:
			return nil
		}
		line = bytes.TrimRight(line, "\r\n")
		if i.p.ends(line) {
			return nil
		}
		i.sum.Lines++
		e = event{}
		is, bad := i.p.parse(line, &e)
		if bad != nil {
			return i.at(n, bad.at, "%s", bad.msg)
		}
		if !is || i.o.Source != "" && string(e.source) != i.o.Source {
			i.sum.Skipped++
			continue
		}
		if err := i.take(n, &e); err != nil {
			return err
		}
	}
}

func (i *importer) at(line, column int, format string, args ...any) error {
	return &conf.Error{File: i.o.File, Line: line, Column: column + 1, Msg: fmt.Sprintf(format, args...)}
}

// take puts a line's records into the queue.
func (i *importer) take(n int, e *event) error {
	switch {
	case !i.begun:
		i.begun, i.source, i.latest = true, string(e.source), e.At
	case string(e.source) != i.source && i.o.Source == "":
		return i.at(n, 0, "expected one source, or --source to choose: got %q after %q", clip(e.source), clip([]byte(i.source)))
	case e.Offset > MaxOffset || e.Length > MaxOffset-e.Offset:
		return i.at(n, 0, "expected a request within %d bytes", uint64(MaxOffset))
	case e.At-i.latest > MaxGap:
		return i.at(n, 0, "expected a time at most %v after the line before", MaxGap)
	}
	if e.At < i.latest {
		i.sum.Late++
	}
	i.latest = max(i.latest, e.At)
	if i.sum.Records > 0 && e.At < i.first+i.last {
		return i.at(n, 0, "expected lines out of the order of time by at most %d records", Window)
	}
	if e.preflush {
		i.push(Record{At: e.At, Op: Flush})
	}
	e.FUA = e.FUA && e.Op != Read && e.Op != Flush || i.o.Durable.All && e.Op == Write
	i.push(e.Record)
	return i.drain()
}

func clip(b []byte) string { return string(b[:min(len(b), 40)]) }

// push puts a record in its place in the queue, after others of its instant. Lines
// are nearly in order, so that is near the end.
func (i *importer) push(r Record) {
	i.queue = append(i.queue, r)
	at := len(i.queue) - 1
	for ; at > 0 && i.queue[at-1].At > r.At; at-- {
		i.queue[at] = i.queue[at-1]
	}
	i.queue[at] = r
}

// drain writes the earlier half of a queue that is full.
func (i *importer) drain() error {
	if len(i.queue) < 2*Window {
		return nil
	}
	return i.flush(len(i.queue) - Window)
}

// flush writes the n earliest records.
func (i *importer) flush(n int) error {
	for _, r := range i.queue[:n] {
		if i.sum.Records == 0 {
			i.first = r.At
		}
		r.At -= i.first
		i.last = r.At
		if err := i.write(r); err != nil {
			return err
		}
		if r.Op != Write || i.o.Durable.Every == 0 {
			continue
		}
		if i.writes++; i.writes == i.o.Durable.Every {
			i.writes = 0
			if err := i.write(Record{At: r.At, Op: Flush}); err != nil {
				return err
			}
		}
	}
	i.queue = append(i.queue[:0], i.queue[n:]...)
	return nil
}

func (i *importer) write(r Record) error {
	s := i.sum
	s.Records++
	s.Ops[r.Op]++
	s.Bytes[r.Op] += r.Length
	if r.FUA {
		s.FUA++
	}
	s.Span = r.At
	s.End = max(s.End, r.Offset+r.Length)
	return i.w.Write(r)
}

// Report is the summary in words.
func (s *Summary) Report(format string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records over %v:", s.Records, s.Span)
	for o := range ops {
		if s.Ops[o] > 0 {
			fmt.Fprintf(&b, " %d %s", s.Ops[o], o)
			if o == Write && s.FUA > 0 {
				fmt.Fprintf(&b, " (%d with FUA)", s.FUA)
			}
		}
	}
	fmt.Fprintf(&b, "\n%d lines, %d of them without a request, %d out of the order of time; requests end at %d bytes\n", s.Lines, s.Skipped, s.Late, s.End)
	fmt.Fprintf(&b, "the format cannot carry: %s\n", Lacks[format])
	return b.String()
}
