package honesty

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/host"
	"nbdbench/internal/text"
	"nbdbench/internal/units"
	"nbdbench/results/table"
)

// Schema is that of a verdict's JSON.
const Schema = "nbdbench/honesty/v1"

// VerifyConfig says where the record is.
type VerifyConfig struct {
	Server, Token string  // of a listener; or
	Record        string  // a record's file
	Session       Session // 0 is the last one
}

// Verdict is what a drive made of its promises.
type Verdict struct {
	Schema   string    `json:"schema"`
	Device   string    `json:"device"`
	Session  string    `json:"session"`
	Began    time.Time `json:"began"`     // of the record's session, by the listener's clock
	LastLine time.Time `json:"last_line"` // likewise: the power went after it
	Stopped  bool      `json:"stopped"`   // the writer ended by itself: no cut was seen
	Units    uint64    `json:"units"`
	UnitSize int       `json:"unit_bytes"`
	Intents  uint64    `json:"intents"`
	Methods  []*Kept   `json:"methods"`
	// Torn units hold sectors of several versions that may be there.
	Torn int `json:"torn"`
	// InFlight units hold what is of no version, where a write was on its way.
	InFlight int      `json:"damaged_in_flight"`
	Broken   int      `json:"broken"`
	First    []Broken `json:"first_broken"` // at most MaxBroken, by unit
}

// Kept is what became of the units that were promised last by a method.
type Kept struct {
	Method   Method `json:"method"`
	Promises uint64 `json:"promises"` // in the session
	Units    int    `json:"units"`    // of which the last promise was by this method
	Broken   int    `json:"broken"`
	// Ages of broken promises at the record's last line.
	YoungestNS int64 `json:"youngest_broken_ns"`
	OldestNS   int64 `json:"oldest_broken_ns"`
}

// MaxBroken is how many broken promises are listed.
const MaxBroken = 20

// Broken is a broken promise.
type Broken struct {
	Unit     uint64 `json:"unit"`
	Method   Method `json:"method"`
	Promised uint64 `json:"promised_version"`
	Intended uint64 `json:"intended_version"`
	Found    string `json:"found"`
	AgeNS    int64  `json:"age_ns"`
}

// Failed reports whether a promise was broken.
func (v *Verdict) Failed() bool { return v.Broken > 0 }

// Verify reads s, which may be read-only, and judges it by the record.
func Verify(ctx context.Context, s *host.Storage, c VerifyConfig) (*Verdict, error) {
	ses, err := c.session(ctx)
	if err != nil {
		return nil, err
	}
	if s.Size() < ses.bytes() {
		return nil, fmt.Errorf("%s: expected at least %s, which the record's session has, got %s", text.Line(s.Path()), units.Size(ses.bytes()), units.Size(s.Size()))
	}
	v := &Verdict{
		Schema: Schema, Device: ses.device, Session: fmt.Sprintf("%016x", uint64(ses.session)), Began: when(ses.began), LastLine: when(ses.last),
		Stopped: ses.stopped, Units: uint64(len(ses.units)), UnitSize: UnitSize, Intents: ses.intents, First: []Broken{},
	}
	for m := range methods {
		v.Methods = append(v.Methods, &Kept{Method: m, Promises: ses.promises[m]})
	}
	d, err := openDrive(s, verifyDepth)
	if err != nil {
		return nil, err
	}
	err = d.read(ctx, uint64(len(ses.units)), func(unit uint64, b []byte, e devices.Errno) error { return v.judge(ses, unit, b, e) })
	return v, errors.Join(err, d.close())
}

// verifyDepth is how many units are read at a time.
const verifyDepth = 32

func (s *session) bytes() uint64 { return uint64(len(s.units)) * UnitSize }

// read reads all units and has each judged.
func (d *drive) read(ctx context.Context, units uint64, judge func(unit uint64, b []byte, e devices.Errno) error) error {
	for at := uint64(0); at < units && ctx.Err() == nil; {
		n := min(uint64(len(d.buffers)), units-at)
		for i := range n {
			d.batch.requests[i] = devices.Request{
				Op: devices.OpRead, Offset: (at + i) * UnitSize, Length: UnitSize,
				Payload: devices.Payload{Bytes: d.buffers[i]}, Slot: uint32(i), Completer: &d.batch,
			}
		}
		_ = d.do(int(n), func(int) {}) // each unit's own error is judged
		for i := range n {
			if err := judge(at+i, d.buffers[i], d.batch.requests[i].Errno); err != nil {
				return err
			}
		}
		at += n
	}
	return ctx.Err()
}

// session is that of the record.
func (c *VerifyConfig) session(ctx context.Context) (found *session, err error) {
	if c.Record != "" {
		f, err := os.Open(c.Record)
		if err != nil {
			return nil, err
		}
		found, err = readRecord(c.Record, lines(f), c.Session)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	} else if found, err = c.fetch(ctx); err != nil {
		return nil, err
	}
	if found == nil {
		return nil, errors.New("the record has no such session")
	}
	return found, nil
}

// fetch is session from a listener.
func (c *VerifyConfig) fetch(ctx context.Context) (*session, error) {
	conn, err := dial(ctx, c.Server, c.Token, modeRead)
	if err != nil {
		return nil, err
	}
	s, err := readRecord(c.Server, func() (string, error) {
		line, err := conn.line(lineTimeout)
		switch {
		case errors.Is(err, io.EOF):
			return "", io.ErrUnexpectedEOF
		case line == wordEnd:
			return "", io.EOF
		}
		return line, err
	}, c.Session)
	return s, errors.Join(err, conn.Close())
}

// judge adds what a unit holds.
func (v *Verdict) judge(s *session, unit uint64, b []byte, e devices.Errno) error {
	u := &s.units[unit]
	k := v.Methods[u.method]
	if u.any {
		k.Units++
	}
	var found string // the first thing that is wrong
	wrong := func(format string, args ...any) {
		if found == "" {
			found = fmt.Sprintf(format, args...)
		}
	}
	older, invalid := false, e != devices.OK
	var versions []uint64
	if invalid {
		wrong("is unreadable: %v", e)
		b = nil
	}
	for i, c := range decode(b, s.session, unit) {
		switch {
		case b == nil:
		case !c.valid:
			invalid = true
			wrong("is damaged in sector %d", i)
		case c.version > u.intended:
			return fmt.Errorf("unit %d holds version %d, and the record intends no more than %d: it is not this drive's, or not whole", unit, c.version, u.intended)
		case c.version < u.promised:
			if !older {
				found = fmt.Sprintf("holds version %d", c.version)
			}
			older = true
		}
		if c.valid && !slices.Contains(versions, c.version) {
			versions = append(versions, c.version)
		}
	}
	switch {
	case older || invalid && u.intended == u.promised:
		v.broken(s, unit, k, found)
	case invalid:
		v.InFlight++
	case len(versions) > 1:
		v.Torn++
	}
	return nil
}

func (v *Verdict) broken(s *session, unit uint64, k *Kept, found string) {
	u := &s.units[unit]
	if !u.any {
		u.at = s.began // the session's first version is flushed before it begins
	}
	age := s.last - u.at
	v.Broken++
	if k.Broken++; k.Broken == 1 {
		k.YoungestNS = age
	}
	k.YoungestNS, k.OldestNS = min(k.YoungestNS, age), max(k.OldestNS, age)
	if len(v.First) < MaxBroken {
		v.First = append(v.First, Broken{unit, u.method, u.promised, u.intended, found, age})
	}
}

// JSON writes the verdict.
func (v *Verdict) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Text writes a table, and what a reader has to know.
func (v *Verdict) Text(w io.Writer) error { return v.table().Text(w, table.Width) }

// Markdown writes the same for a document.
func (v *Verdict) Markdown(w io.Writer) error { return v.table().Markdown(w) }

func (v *Verdict) table() *table.Table {
	everywhere := table.InText | table.InPage
	t := &table.Table{Notes: v.notes()}
	for i, c := range []string{"made durable by", "promises", "units", "broken", "youngest broken", "oldest broken"} {
		t.Columns = append(t.Columns, table.Column{Key: c, Title: c, Place: everywhere, Right: i > 0})
	}
	for _, k := range v.Methods {
		row := table.Row{Values: []table.Value{
			{Text: k.Method.String()}, {Text: strconv.FormatUint(k.Promises, 10)}, {Text: strconv.Itoa(k.Units)}, {Text: strconv.Itoa(k.Broken)},
		}}
		for _, ns := range []int64{k.YoungestNS, k.OldestNS} {
			v := table.Value{Text: "-"}
			if k.Broken > 0 {
				v.Text = age(ns)
			}
			row.Values = append(row.Values, v)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func age(ns int64) string { return time.Duration(ns).Round(10 * time.Microsecond).String() }

// notes say what the table does not.
func (v *Verdict) notes() []string {
	notes := []string{
		fmt.Sprintf("%s, session %s, %d units of %d bytes. Each last promise was checked: a unit may hold any version from its last promise to its last intent.",
			text.Line(v.Device), v.Session, v.Units, v.UnitSize),
	}
	if v.Broken > 0 {
		b := v.First[0]
		notes = append(notes, fmt.Sprintf("promises broken: %d. The first: unit %d was promised version %d by %s and %s.", v.Broken, b.Unit, b.Promised, b.Method, b.Found))
	} else {
		notes = append(notes, "no promise was broken in this cut. One cut proves little: repeat it.")
	}
	if v.Torn+v.InFlight > 0 {
		notes = append(notes, fmt.Sprintf("%d units are torn between versions, and %d damaged where a write was on its way: no promise was broken by that.", v.Torn, v.InFlight))
	}
	if v.Stopped {
		notes = append(notes, "the writer ended by itself: if the power was not cut while it wrote, this says nothing.")
	}
	return append(notes, "Ages end with the record's last line, by the listener's clock. A reset or a kill tests the host's caches and not the drive's: only a loss of its power does that.")
}
