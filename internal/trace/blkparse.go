package trace

import (
	"bytes"
	"fmt"
)

// blkparse reads the default text of blkparse(1), such as
//
//	8,0    3        1     0.000000000   697  Q   W 223490 + 8 [kjournald]
//
// of which it takes the lines of one action. C FN has no "+ 8".
type blkparse struct {
	action byte
}

func newBlkparse(action string) *blkparse {
	p := &blkparse{'Q'}
	if action != "" {
		p.action = action[0]
	}
	return p
}

// ends: the summary of each CPU comes after the last line.
func (p *blkparse) ends(line []byte) bool {
	return bytes.HasPrefix(line, []byte("CPU")) || bytes.HasPrefix(line, []byte("Total ("))
}

func (p *blkparse) parse(line []byte, out *event) (bool, *columnError) {
	c := cursor{line: line}
	device, at := c.word()
	if len(device) == 0 {
		return false, nil
	}
	major, minor, ok := bytes.Cut(device, []byte(","))
	if _, a := decimal(major); !a || !ok {
		return false, wrong(at, "expected MAJOR,MINOR, got %q", clip(device))
	}
	if _, b := decimal(minor); !b {
		return false, wrong(at, "expected MAJOR,MINOR, got %q", clip(device))
	}
	for _, what := range []string{"a CPU", "a number of the event"} {
		if w, at := c.word(); !number(w) {
			return false, wrong(at, "expected %s, got %q", what, clip(w))
		}
	}
	w, at := c.word()
	if out.At, ok = seconds(w); !ok {
		return false, wrong(at, "expected a time in seconds, got %q", clip(w))
	}
	if w, at := c.word(); !number(w) {
		return false, wrong(at, "expected a process, got %q", clip(w))
	}
	action, at := c.word()
	if len(action) == 0 {
		return false, wrong(at, "expected an action such as Q, D or C, got the end of the line")
	}
	if len(action) != 1 || action[0] != p.action {
		return false, nil
	}
	out.source = device
	flags, at := c.word()
	if bad := p.rwbs(flags, at, out); bad != nil {
		return false, bad
	}
	return p.where(&c, out)
}

func number(b []byte) bool {
	_, ok := decimal(b)
	return ok
}

// rwbs reads blktrace's letters: F before the operation is a preflush, after it FUA.
func (p *blkparse) rwbs(w []byte, at int, out *event) *columnError {
	rest := w
	if len(rest) > 0 && rest[0] == 'F' {
		out.preflush, rest = true, rest[1:]
	}
	if len(rest) == 0 {
		return wrong(at, "expected an operation such as R, W, D or FN, got %q", clip(w))
	}
	switch rest[0] {
	case 'R':
		out.Op = Read
	case 'W':
		out.Op = Write
	case 'D':
		out.Op = Trim
	case 'N':
		out.Op = Flush
	default:
		return wrong(at, "expected an operation such as R, W, D or FN, got %q", clip(w))
	}
	for _, f := range rest[1:] {
		switch f {
		case 'F':
			out.FUA = true
		case 'A', 'S', 'M', 'B', 'E', 'P':
		case 'Z':
			out.Op = WriteZeroes
		default:
			return wrong(at, "expected flags F, A, S, M, B or E after the operation, got %q", clip(w))
		}
	}
	return nil
}

// where reads SECTOR + COUNT. A flush without data is one of that alone.
func (p *blkparse) where(c *cursor, out *event) (bool, *columnError) {
	w, at := c.word()
	start, ok := sectors(w)
	empty := len(w) == 0 || w[0] == '['
	if !ok && !empty {
		return false, wrong(at, "expected a sector, got %q", clip(w))
	}
	plus, at := c.word()
	if empty || len(plus) != 1 || plus[0] != '+' {
		if !empty && len(plus) > 0 && plus[0] != '[' && plus[0] != '(' {
			return false, wrong(at, "expected + COUNT, got %q", clip(plus))
		}
		return p.bare(out), nil
	}
	w, at = c.word()
	length, ok := sectors(w)
	if !ok {
		return false, wrong(at, "expected a number of sectors, got %q", clip(w))
	}
	if length == 0 || out.Op == Flush {
		return p.bare(out), nil
	}
	out.Offset, out.Length = start, length
	return true, nil
}

// bare is an event without data: a flush if it has F, else nothing.
func (p *blkparse) bare(out *event) bool {
	flush := out.preflush
	out.Record = Record{At: out.At, Op: Flush}
	out.preflush = false
	return flush
}

// ParseAction checks an action of blkparse.
func ParseAction(s string) error {
	switch s {
	case "Q", "D", "C", "":
		return nil
	}
	return fmt.Errorf("expected Q (queued), D (sent to the drive) or C (completed), got %q", s)
}
