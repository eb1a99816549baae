package honesty

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"nbdbench/internal/conf"
	"nbdbench/internal/text"
)

// The bounds of a record and of the protocol.
const (
	MaxLine  = 512     // bytes of a line, with its end
	MaxUnits = 1 << 20 // of a session: 4 GiB
	// MaxVersion bounds what a unit counts to.
	MaxVersion = 1<<63 - 1
)

// recordHeader begins a record's file.
const recordHeader = "nbdbench-honesty-record 1"

// Method is how a write was made durable.
type Method uint8

// The methods.
const (
	FUA   Method = iota // a FUA write
	Flush               // a write and a FLUSH
	methods
)

func (m Method) String() string { return [...]string{"fua", "flush"}[m] }

// MarshalText is String.
func (m Method) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (m *Method) UnmarshalText(b []byte) (err error) {
	*m, err = parseMethod(string(b))
	return err
}

func parseMethod(s string) (Method, error) {
	for m := range methods {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("expected fua or flush, got %q", text.Line(s))
}

// event is a line of a record.
type event struct {
	at     int64 // ns since 1970, by the listener's clock; 0 on the wire
	kind   string
	start  start
	unit   uint64
	number uint64 // version
	method Method
}

// start begins a session.
type start struct {
	session Session
	units   uint64
	device  string // as its writer named it
}

// The kinds of events.
const (
	kindStart   = "start"
	kindIntent  = "intent"
	kindPromise = "promise"
	kindStop    = "stop"
)

// append adds the event as the wire has it, without its time and the line's end.
func (e *event) append(b []byte) []byte {
	b = append(b, e.kind...)
	switch e.kind {
	case kindStart:
		return fmt.Appendf(b, " %016x %d %d %s", uint64(e.start.session), e.start.units, sectorSize, text.Line(e.start.device))
	case kindIntent:
		return fmt.Appendf(b, " %d %d", e.unit, e.number)
	case kindPromise:
		return fmt.Appendf(b, " %d %d %s", e.unit, e.number, e.method)
	}
	return b
}

// parseEvent reads an event as the wire has it. What is wrong is at a word, from 0.
func parseEvent(line string) (e event, word int, err error) {
	kind, rest, _ := strings.Cut(line, " ")
	e.kind = kind
	fields := strings.SplitN(rest, " ", 4)
	number := func(i int, most uint64) uint64 {
		if err != nil {
			return 0
		}
		if i >= len(fields) {
			word, err = i+1, errors.New("expected a number, got the end of the line")
			return 0
		}
		n, e := strconv.ParseUint(fields[i], 10, 64)
		if e != nil || n > most {
			word, err = i+1, fmt.Errorf("expected a number up to %d, got %q", most, text.Line(fields[i]))
		}
		return n
	}
	switch kind {
	case kindStop:
		if rest != "" {
			return e, 1, errors.New("expected the end of the line")
		}
	case kindStart:
		return parseStart(e, fields)
	case kindIntent, kindPromise:
		e.unit, e.number = number(0, MaxUnits-1), number(1, MaxVersion)
		want := 2
		if kind == kindPromise {
			if want = 3; err == nil && len(fields) >= want {
				if e.method, err = parseMethod(fields[2]); err != nil {
					return e, 3, err
				}
			}
		}
		if err == nil && len(fields) != want {
			return e, min(len(fields), want) + 1, fmt.Errorf("expected %d words after %s, got %d", want, kind, len(fields))
		}
	default:
		return e, 0, fmt.Errorf("expected start, intent, promise or stop, got %q", text.Line(kind))
	}
	return e, word, err
}

func parseStart(e event, fields []string) (event, int, error) {
	if len(fields) != 4 {
		return e, len(fields), errors.New("expected start SESSION UNITS SECTOR DEVICE")
	}
	s, err := ParseSession(fields[0])
	if err != nil {
		return e, 1, err
	}
	n, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil || n == 0 || n > MaxUnits {
		return e, 2, fmt.Errorf("expected 1 to %d units, got %q", MaxUnits, text.Line(fields[1]))
	}
	if fields[2] != strconv.Itoa(sectorSize) {
		return e, 3, fmt.Errorf("expected sectors of %d bytes, got %q", sectorSize, text.Line(fields[2]))
	}
	e.start = start{s, n, fields[3]}
	return e, 0, nil
}

// state is what is known of a unit.
type state struct {
	promised uint64 // the version that must be there at least; 0 is the session's first
	intended uint64 // the version that may be there at most
	at       int64  // when the last promise was stored
	method   Method // of the last promise
	any      bool   // a promise was made after the first version
}

// session is what a record has of one session.
type session struct {
	start
	began, last int64 // of its first and last line
	stopped     bool  // the writer ended by itself
	units       []state
	intents     uint64
	promises    [methods]uint64
}

func newSession(e *event) *session {
	return &session{start: e.start, began: e.at, last: e.at, units: make([]state, e.start.units)}
}

// add takes the session's next event.
func (s *session) add(e *event) error {
	if s.last = max(s.last, e.at); e.kind == kindStop {
		s.stopped = true
		return nil
	}
	if e.unit >= uint64(len(s.units)) {
		return fmt.Errorf("expected a unit below %d, got %d", len(s.units), e.unit)
	}
	u := &s.units[e.unit]
	switch e.kind {
	case kindIntent:
		if e.number <= u.intended {
			return fmt.Errorf("expected a version above %d, got %d", u.intended, e.number)
		}
		u.intended = e.number
		s.intents++
	case kindPromise:
		if e.number > u.intended || e.number <= u.promised {
			return fmt.Errorf("expected a version above %d and up to %d, which was intended, got %d", u.promised, u.intended, e.number)
		}
		*u = state{e.number, u.intended, e.at, e.method, true}
		s.promises[e.method]++
	}
	return nil
}

// readRecord reads a record from a source of lines, which ends with io.EOF, and returns
// the session, or the last one if that is 0; nil if there is none. name is that of
// errors, which have a line and a column.
func readRecord(name string, next func() (string, error), which Session) (*session, error) {
	var last, current *session
	for n := 1; ; n++ {
		line, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		at := func(column int, err error) error {
			return &conf.Error{File: name, Line: n, Column: column, Msg: err.Error()}
		}
		switch {
		case err != nil:
			return nil, at(1, err)
		case n == 1 && line != recordHeader:
			return nil, at(1, fmt.Errorf("expected %q, got %q", recordHeader, text.Line(line)))
		case n == 1:
			continue
		}
		e, column, err := parseLine(line)
		switch {
		case err != nil:
			return nil, at(column, err)
		case e.kind == kindStart:
			if current = nil; which == 0 || e.start.session == which {
				current = newSession(&e)
				last = current
			}
		case current != nil:
			if err := current.add(&e); err != nil {
				return nil, at(1, err)
			}
		}
	}
	return last, nil
}

// lines is the source of a file's lines.
func lines(r io.Reader) func() (string, error) {
	in := bufio.NewReaderSize(r, MaxLine)
	return func() (string, error) { return readLine(in) }
}

// parseLine reads a line of a record, with its time. What is wrong is at a column, from 1.
func parseLine(line string) (event, int, error) {
	stamp, rest, ok := strings.Cut(line, " ")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || !ok || at < 0 {
		return event{}, 1, fmt.Errorf("expected a time in nanoseconds, got %q", text.Line(stamp))
	}
	e, word, err := parseEvent(rest)
	if err != nil {
		column := len(stamp) + 2
		for ; word > 0; word-- {
			next := strings.IndexByte(line[column-1:], ' ')
			if next < 0 {
				column = len(line) + 1
				break
			}
			column += next + 1
		}
		return event{}, column, err
	}
	e.at = at
	return e, 0, nil
}

// readLine reads a line of at most MaxLine bytes, without its end. A last line without
// an end was cut off as it was stored, and is not there.
func readLine(r *bufio.Reader) (string, error) {
	b, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("expected lines of at most %d bytes", MaxLine)
	case err != nil:
		return "", err
	}
	return string(b[:len(b)-1]), nil
}

// when is an instant of the listener's clock.
func when(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// ParseMethods reads methods with commas between them.
func ParseMethods(s string) (out []Method, err error) {
	for _, word := range strings.Split(s, ",") {
		m, err := parseMethod(word)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, m) {
			return nil, fmt.Errorf("%s is there twice", m)
		}
		out = append(out, m)
	}
	return out, nil
}

// ParseSession reads a session of 16 hexadecimal digits; nothing is 0.
func ParseSession(s string) (Session, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("expected 16 hexadecimal digits, got %q", text.Line(s))
	}
	return Session(n), nil
}
