package trace

import "time"

// iolog reads fio's trace, versions 2 and 3:
//
//	fio version 2 iolog          fio version 3 iolog
//	/dev/sda add                 302 /dev/sda add
//	/dev/sda open                1027 /dev/sda open
//	/dev/sda write 0 4096        1046 /dev/sda write 0 4096
//	/dev/sda wait 1500 0         1967 /dev/sda sync 0 0
//
// Version 3 has times in microseconds, as fio 3.33 writes them. In version 2 a wait
// says when the next request is sent, in microseconds since the wait before it.
type iolog struct {
	version int
	now     time.Duration
}

func (p *iolog) ends([]byte) bool { return false }

func (p *iolog) parse(line []byte, out *event) (bool, *columnError) {
	if p.version == 0 {
		switch string(line) {
		case "fio version 2 iolog":
			p.version = 2
		case "fio version 3 iolog":
			p.version = 3
		default:
			return false, wrong(0, "expected fio version 2 iolog, or 3, got %q", clip(line))
		}
		return false, nil
	}
	c := cursor{line: line}
	if p.version == 3 {
		w, at := c.word()
		t, ok := ticks(w, 1e3)
		switch {
		case len(w) == 0:
			return false, nil
		case !ok:
			return false, wrong(at, "expected a time in microseconds, got %q", clip(w))
		}
		p.now = t
	}
	file, _ := c.word()
	if len(file) == 0 {
		return false, nil
	}
	out.At, out.source = p.now, file
	return p.action(&c, out)
}

func (p *iolog) action(c *cursor, out *event) (bool, *columnError) {
	w, at := c.word()
	switch string(w) {
	case "add", "open", "close":
		return false, nil
	case "read":
		out.Op = Read
	case "write":
		out.Op = Write
	case "trim":
		out.Op = Trim
	case "sync", "datasync", "sync_file_range":
		if string(w) == "sync_file_range" {
			return false, wrong(at, "expected no sync_file_range: NBD has no such command")
		}
		out.Op = Flush
		return true, nil
	case "wait":
		return p.wait(c, at)
	default:
		return false, wrong(at, "expected add, open, close, read, write, trim, sync, datasync or wait, got %q", clip(w))
	}
	w, at = c.word()
	n, ok := decimal(w)
	if !ok {
		return false, wrong(at, "expected an offset in bytes, got %q", clip(w))
	}
	w, at = c.word()
	length, ok := decimal(w)
	if !ok || length == 0 {
		return false, wrong(at, "expected a length in bytes, got %q", clip(w))
	}
	out.Offset, out.Length = n, length
	return true, nil
}

func (p *iolog) wait(c *cursor, at int) (bool, *columnError) {
	if p.version == 3 {
		return false, wrong(at, "expected no wait in version 3, which has times")
	}
	w, at := c.word()
	t, ok := ticks(w, 1e3)
	if !ok || p.now+t > maxSeconds*time.Second {
		return false, wrong(at, "expected a time in microseconds, got %q", clip(w))
	}
	p.now += t
	return false, nil
}
