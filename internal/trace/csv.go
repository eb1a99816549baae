package trace

import (
	"bytes"
	"time"
)

// layout is where a published trace has its fields, from 0.
type layout struct {
	fields                         int
	source, op, offset, length, at int
	header                         string // of a first line that is one
	time                           func(b []byte) (time.Duration, bool)
	unit                           uint64 // of offset and length, in bytes
	read, write                    string // of op; case does not matter
}

// layouts are the published traces that are known.
var layouts = map[string]layout{
	// MSR Cambridge (Narayanan et al., FAST 2008): Timestamp,Hostname,DiskNumber,Type,
	// Offset,Size,ResponseTime; times are those of Windows, in units of 100 ns.
	"msr": {fields: 7, at: 0, source: 2, op: 3, offset: 4, length: 5, header: "Timestamp", unit: 1, read: "read", write: "write", time: filetime},
	// Alibaba (block-traces, 2020): device_id,opcode,offset,length,timestamp in us.
	"alibaba": {fields: 5, source: 0, op: 1, offset: 2, length: 3, at: 4, header: "device_id", unit: 1, read: "r", write: "w", time: tickTime(1000)},
	// Tencent (cloud block storage, 2020): timestamp in s, offset and size in sectors,
	// ioType, volume.
	"tencent": {fields: 5, at: 0, offset: 1, length: 2, op: 3, source: 4, header: "Timestamp", unit: 512, read: "0", write: "1", time: tickTime(1e9)},
	// SYSTOR '17: Timestamp in s, Response, IOType, LUN, Offset, Size.
	"systor": {fields: 6, at: 0, op: 2, source: 3, offset: 4, length: 5, header: "Timestamp", unit: 1, read: "r", write: "w", time: seconds},
}

// IsLayout reports whether there is a layout of that name.
func IsLayout(name string) bool {
	_, ok := layouts[name]
	return ok
}

func tickTime(each uint64) func(b []byte) (time.Duration, bool) {
	return func(b []byte) (time.Duration, bool) { return ticks(b, each) }
}

// filetime reads Windows' time, in units of 100 ns from 1601 on.
func filetime(b []byte) (time.Duration, bool) {
	const epoch = 116444736000000000 // of Unix
	n, ok := decimal(b)
	if !ok || n < epoch || n-epoch > maxSeconds*1e7 {
		return 0, false
	}
	return time.Duration(n-epoch) * 100, true
}

// csv reads one of the layouts.
type csv struct {
	layout
	lines int
}

func (p *csv) ends([]byte) bool { return false }

func (p *csv) parse(line []byte, out *event) (bool, *columnError) {
	p.lines++
	if len(line) == 0 || p.lines == 1 && bytes.HasPrefix(line, []byte(p.header)) {
		return false, nil
	}
	c := cursor{line: line}
	for i := range p.fields {
		f, from := c.field()
		if i < p.fields-1 && c.at == len(line) && (len(line) == 0 || line[len(line)-1] != ',') {
			return false, wrong(len(line), "expected %d fields with commas between, got %d", p.fields, i+1)
		}
		if bad := p.take(i, f, from, out); bad != nil {
			return false, bad
		}
	}
	if c.at < len(line) {
		return false, wrong(c.at, "expected %d fields, got more", p.fields)
	}
	return out.Length > 0, nil
}

func (p *csv) take(i int, f []byte, from int, out *event) *columnError {
	switch i {
	case p.at:
		t, ok := p.time(f)
		if !ok {
			return wrong(from, "expected a time, got %q", clip(f))
		}
		out.At = t
	case p.source:
		out.source = f
	case p.op:
		switch {
		case bytes.EqualFold(f, []byte(p.read)):
			out.Op = Read
		case bytes.EqualFold(f, []byte(p.write)):
			out.Op = Write
		default:
			return wrong(from, "expected %s or %s, got %q", p.read, p.write, clip(f))
		}
	case p.offset, p.length:
		n, ok := decimal(f)
		if !ok || n > MaxOffset/p.unit {
			return wrong(from, "expected a whole number, got %q", clip(f))
		}
		if i == p.offset {
			out.Offset = n * p.unit
		} else {
			out.Length = n * p.unit
		}
	}
	return nil
}
