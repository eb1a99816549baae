package trace

import (
	"bytes"
	"time"
)

// nbdkitLog reads what nbdkit's log filter writes, such as
//
//	2026-11-28 06:16:51.925921 connection=1 Write id=1 offset=0x0 count=0x1000 fua=1 ...
//
// A line with ... before the name is a reply, and is left out.
type nbdkitLog struct {
	byConnection bool // the connection is the source; otherwise all are one
}

func (p *nbdkitLog) ends([]byte) bool { return false }

func (p *nbdkitLog) parse(line []byte, out *event) (bool, *columnError) {
	if len(line) == 0 {
		return false, nil
	}
	c := cursor{line: line}
	date, at := c.word()
	clock, _ := c.word()
	var ok bool
	if out.At, ok = instant(date, clock); !ok {
		return false, wrong(at, "expected a date and a time such as 2026-11-28 06:16:51.925921, got %q", clip(line[at:]))
	}
	w, _ := c.word()
	connection, is := bytes.CutPrefix(w, []byte("connection="))
	if !is {
		return false, nil
	}
	if p.byConnection {
		out.source = connection
	}
	name, _ := c.word()
	switch string(name) {
	case "Read":
		out.Op = Read
	case "Write":
		out.Op = Write
	case "Flush":
		out.Op = Flush
	case "Trim":
		out.Op = Trim
	case "Zero":
		out.Op = WriteZeroes
	default: // a reply, or what is no data command
		return false, nil
	}
	return true, p.values(&c, out)
}

// values reads the NAME=VALUE of a request.
func (p *nbdkitLog) values(c *cursor, out *event) *columnError {
	offset, count := out.Op == Flush, out.Op == Flush
	for {
		w, at := c.word()
		if len(w) == 0 {
			break
		}
		key, value, _ := bytes.Cut(w, []byte("="))
		var ok bool
		switch string(key) {
		case "offset":
			out.Offset, ok = hexadecimal(value)
			offset = true
		case "count":
			out.Length, ok = hexadecimal(value)
			count = true
		case "fua":
			out.FUA, ok = string(value) == "1", string(value) == "0" || string(value) == "1"
		default:
			continue
		}
		if !ok {
			return wrong(at, "expected a number in hexadecimal, or fua=0 or 1, got %q", clip(w))
		}
	}
	if !offset || !count {
		return wrong(len(c.line), "expected offset= and count=")
	}
	return nil
}

// instant reads a date and a time of day, as since 1970.
func instant(date, clock []byte) (time.Duration, bool) {
	if len(date) != 10 || date[4] != '-' || date[7] != '-' || len(clock) < 8 || clock[2] != ':' || clock[5] != ':' {
		return 0, false
	}
	year, a := decimal(date[:4])
	month, b := decimal(date[5:7])
	day, c := decimal(date[8:])
	hour, d := decimal(clock[:2])
	minute, e := decimal(clock[3:5])
	second, f := seconds(clock[6:])
	if !(a && b && c && d && e && f) || year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second >= 61*time.Second {
		return 0, false
	}
	midnight := time.Date(int(year), time.Month(month), int(day), 0, 0, 0, 0, time.UTC).Unix()
	return time.Duration(midnight)*time.Second + time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + second, true
}
