package history

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Version is the first line of a log's file.
const Version = "nbdbench/history/v1"

// errTorn is for a file that ends within a record.
var errTorn = errors.New("cut short")

// maxLine bounds a line of a log's file, in bytes.
const maxLine = 256

// Log is a history in memory. It is a Sink.
type Log struct {
	Events []Event
	// Torn, of a log that was read, says where its file was cut short, by a kill of
	// who wrote it: Events are those before. nil is a file that has its end.
	Torn error
}

// Observe appends e.
func (l *Log) Observe(e *Event) { l.Events = append(l.Events, *e) }

// Until is the part of the history up to instant t inclusive. It shares its
// events with l.
func (l *Log) Until(t sim.Time) *Log {
	n := sort.Search(len(l.Events), func(i int) bool { return l.Events[i].Time > t })
	return &Log{Events: l.Events[:n:n]}
}

// Write writes the log in its text format.
func (l *Log) Write(w io.Writer) error {
	enc := NewEncoder(w)
	for i := range l.Events {
		enc.Observe(&l.Events[i])
	}
	return enc.Close()
}

// Read reads a log in its text format, up to a last line that a kill has cut
// short, see Log.Torn. An error of the format is a *FormatError.
func Read(r io.Reader) (*Log, error) {
	d := NewDecoder(r)
	l := new(Log)
	for {
		var e Event
		switch err := d.Next(&e); {
		case err == nil:
			l.Events = append(l.Events, e)
		case err == io.EOF:
			return l, nil
		case errors.Is(err, errTorn) && d.line > 1:
			l.Torn = err
			return l, nil
		default:
			return nil, err
		}
	}
}

// Encoder is a Sink that writes the text format as the events come. The first
// error stops it; Close returns it.
type Encoder struct {
	w    *bufio.Writer
	line []byte
	sync func() error
	err  error
}

// NewEncoder returns an encoder that has written the version.
func NewEncoder(w io.Writer) *Encoder {
	e := &Encoder{w: bufio.NewWriter(w), line: make([]byte, 0, maxLine)}
	_, e.err = e.w.WriteString(Version + "\n")
	return e
}

// Observe writes one event.
func (e *Encoder) Observe(v *Event) {
	if e.err != nil {
		return
	}
	b := e.line[:0]
	switch v.Kind {
	case PowerCut:
		b = appendNumbers(append(b, 'C'), v.Seq, uint64(v.Time))
	case Submit:
		b = appendNumbers(append(b, 'S'), v.Seq, uint64(v.Time), uint64(v.Conn), uint64(v.Stream), v.Txn)
		b = append(append(b, '\t'), v.Op.String()...)
		b = appendNumbers(b, uint64(v.Flags), v.Offset, v.Length, uint64(v.Stamp))
	default:
		b = appendNumbers(append(b, 'D'), v.Seq, uint64(v.Time), v.Of)
		b = append(append(b, '\t'), v.Errno.String()...)
	}
	e.line = append(b, '\n')
	_, e.err = e.w.Write(e.line)
}

// Err is the first error of the writer below. Nothing was written since.
func (e *Encoder) Err() error { return e.err }

// SyncWith has each promise wait for sync, which makes durable what the writer below
// was given.
func (e *Encoder) SyncWith(sync func() error) { e.sync = sync }

// Commit hands what was observed to the writer below, so that a kill leaves it. It
// comes before a reply; promise says that the reply calls something durable.
func (e *Encoder) Commit(promise bool) error {
	if e.Close() == nil && promise && e.sync != nil {
		e.err = e.sync()
	}
	return e.err
}

// Close writes what is buffered. It does not close the writer below.
func (e *Encoder) Close() error {
	if e.err == nil {
		e.err = e.w.Flush()
	}
	return e.err
}

func appendNumbers(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = strconv.AppendUint(append(b, '\t'), n, 10)
	}
	return b
}

// FormatError is what is wrong with a log's file, and where.
type FormatError struct {
	Line int // from 1
	Err  error
}

func (e *FormatError) Error() string { return fmt.Sprintf("history: line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }

// Decoder reads the text format event by event.
type Decoder struct {
	r    *bufio.Reader
	line int
	seq  uint64
	time sim.Time
	open map[uint64]Event // submits without a completion
	err  error
}

// NewDecoder returns a decoder at the start of a file.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{r: bufio.NewReaderSize(r, 64<<10), open: make(map[uint64]Event)}
}

// Next reads the next event into e; io.EOF is the end of a well-formed file. An
// error stays.
func (d *Decoder) Next(e *Event) error {
	if d.err == nil && d.line == 0 {
		d.err = d.header()
	}
	if d.err == nil {
		d.err = d.next(e)
	}
	return d.err
}

func (d *Decoder) header() error {
	line, err := d.read()
	if err == io.EOF || (err == nil && line != Version) {
		err = d.fail("the first line must be %q, got %q", Version, line)
	}
	return err
}

// read returns the next line without its end.
func (d *Decoder) read() (string, error) {
	d.line++
	b, err := d.r.ReadSlice('\n')
	switch {
	case err == io.EOF && len(b) == 0:
		return "", io.EOF
	case err == io.EOF:
		return "", d.fail("%w after %d bytes", errTorn, len(b))
	case errors.Is(err, bufio.ErrBufferFull) || len(b) > maxLine:
		return "", d.fail("longer than %d bytes", maxLine)
	case err != nil:
		return "", &FormatError{d.line, err}
	}
	return string(b[:len(b)-1]), nil
}

func (d *Decoder) fail(format string, args ...any) error {
	return &FormatError{d.line, fmt.Errorf(format, args...)}
}

func (d *Decoder) next(e *Event) error {
	line, err := d.read()
	if err != nil {
		return err
	}
	f := fields{words: strings.Split(line, "\t")}
	switch f.words[0] {
	case "S":
		err = d.submit(&f, e)
	case "D":
		err = d.done(&f, e)
	case "C":
		err = d.powerCut(&f, e)
	default:
		return d.fail("%q is neither S nor D nor C", f.words[0])
	}
	if err == nil {
		err = d.order(e)
	}
	return err
}

func (d *Decoder) submit(f *fields, e *Event) error {
	if !f.count(11) {
		return d.fail("a submit has 11 fields, got %d", len(f.words))
	}
	*e = Event{
		Kind: Submit, Seq: f.number("seq", 64), Time: sim.Time(f.number("time", 63)),
		Conn: uint32(f.number("conn", 32)), Stream: uint32(f.number("stream", 32)), Txn: f.number("txn", 64),
		Op: f.op(), Flags: devices.Flags(f.number("flags", 16)),
		Offset: f.number("offset", 64), Length: f.number("length", 64), Stamp: devices.Stamp(f.number("stamp", 64)),
	}
	switch {
	case f.err != nil:
		return &FormatError{d.line, f.err}
	case e.Length > 1<<63 || e.Offset > 1<<63-e.Length:
		return d.fail("offset %d and length %d end past 2^63", e.Offset, e.Length)
	case e.Stamp > MaxStamp:
		return d.fail("stamp %d is above %d", e.Stamp, MaxStamp)
	}
	d.open[e.Seq] = *e
	return nil
}

func (d *Decoder) done(f *fields, e *Event) error {
	if !f.count(5) {
		return d.fail("a completion has 5 fields, got %d", len(f.words))
	}
	seq, time, of, errno := f.number("seq", 64), f.number("time", 63), f.number("of", 64), f.errno()
	if f.err != nil {
		return &FormatError{d.line, f.err}
	}
	submit, ok := d.open[of]
	if !ok {
		return d.fail("a completion of %d, which is not in progress", of)
	}
	delete(d.open, of)
	*e = submit
	e.Kind, e.Seq, e.Time, e.Of, e.Errno = Done, seq, sim.Time(time), of, errno
	return nil
}

// powerCut reads a power cut, of which no request in progress gets a reply.
func (d *Decoder) powerCut(f *fields, e *Event) error {
	if !f.count(3) {
		return d.fail("a power cut has 3 fields, got %d", len(f.words))
	}
	*e = Event{Kind: PowerCut, Seq: f.number("seq", 64), Time: sim.Time(f.number("time", 63))}
	if f.err != nil {
		return &FormatError{d.line, f.err}
	}
	clear(d.open)
	return nil
}

// order checks that e is later than the one before.
func (d *Decoder) order(e *Event) error {
	switch {
	case e.Seq <= d.seq:
		return d.fail("seq %d comes after %d", e.Seq, d.seq)
	case e.Time < d.time:
		return d.fail("time %d comes after %d", e.Time, d.time)
	}
	d.seq, d.time = e.Seq, e.Time
	return nil
}

// fields are those of a line; the first error stays.
type fields struct {
	words []string
	at    int
	err   error
}

func (f *fields) count(n int) bool { return len(f.words) == n }

func (f *fields) take() string {
	f.at++
	return f.words[f.at]
}

func (f *fields) number(name string, bits int) uint64 {
	word := f.take()
	n, err := strconv.ParseUint(word, 10, bits)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("%s %q is not a number of %d bits", name, word, bits)
	}
	return n
}

var allOps = []devices.Op{
	devices.OpRead, devices.OpWrite, devices.OpFlush, devices.OpTrim,
	devices.OpCache, devices.OpWriteZeroes, devices.OpBlockStatus,
}

func (f *fields) op() devices.Op {
	word := f.take()
	for _, o := range allOps {
		if o.String() == word {
			return o
		}
	}
	if f.err == nil {
		f.err = fmt.Errorf("op %q is unknown", word)
	}
	return 0
}

var allErrnos = []devices.Errno{
	devices.OK, devices.EPERM, devices.EIO, devices.ENOMEM, devices.EINVAL,
	devices.ENOSPC, devices.EOVERFLOW, devices.ENOTSUP, devices.ESHUTDOWN,
}

func (f *fields) errno() devices.Errno {
	word := f.take()
	for _, e := range allErrnos {
		if e.String() == word {
			return e
		}
	}
	if f.err == nil {
		f.err = fmt.Errorf("errno %q is unknown", word)
	}
	return 0
}
