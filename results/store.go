package results

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"nbdbench/internal/input"
	"nbdbench/internal/text"
)

// The files of a run directory.
const (
	FileRun       = "run.json"
	FileLog       = "latency.hlog"
	FileIntervals = "intervals.csv"
	FileReport    = "report.html"
	DirCharts     = "charts"
)

// The bounds of a run directory's files that are read: more than the most cells
// and runs come to.
const (
	MaxDocument = 1 << 30
	MaxLog      = 4 << 30
)

// A FileError is a stored file that cannot be used.
type FileError struct {
	Path         string
	Line, Column int // from 1; 0 where no place is known
	Err          error
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s:%d:%d: %v", e.Path, e.Line, e.Column, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// WriteIntervals writes the runs' interval series as CSV. It is written once,
// from the runs themselves: a document that was read back does not have it.
func (r *Run) WriteIntervals(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"cell", "run", "start_ns", "width_ns", nounOf(r.Cells).many, "p50_ns", "p99_ns", "max_ns"}}
	for _, c := range r.Cells {
		for i, run := range c.runs {
			for _, v := range run.Intervals {
				rows = append(rows, v.row(c.ID, i))
			}
		}
	}
	return out.WriteAll(rows)
}

// row leaves latencies empty where no commit was due.
func (v *Interval) row(cell string, run int) []string {
	num := func(x int64) string { return strconv.FormatInt(x, 10) }
	row := []string{text.Cell(cell), strconv.Itoa(run), num(int64(v.Start)), num(int64(v.Width)), num(v.Count), "", "", ""}
	if v.Count > 0 {
		row[5], row[6], row[7] = num(int64(v.P50)), num(int64(v.P99)), num(int64(v.Max))
	}
	return row
}

// Load reads a run directory back: the document and its histograms. An error
// names the file and the place in it.
func Load(dir string) (*Run, error) {
	r, err := ReadDocument(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileLog)
	log, err := input.Open(path, MaxLog)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if err := r.readLog(log); err != nil {
		return nil, &FileError{Path: path, Err: err}
	}
	return r, nil
}

// Decode reads a run document strictly: an unknown key or a value that cannot
// be is an error, a *FileError with its line and column where there is one.
func Decode(doc []byte) (*Run, error) {
	var r Run
	doc = bytes.TrimPrefix(doc, []byte(input.BOM))
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, placed(doc, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, at(doc, int(d.InputOffset()), errors.New("want nothing after the document"))
	}
	for _, c := range r.Cells {
		if c != nil {
			c.restore()
		}
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.locateProfiles(doc); err != nil {
		return nil, err
	}
	return &r, nil
}

var unknownField = regexp.MustCompile(`unknown field ("[^"]*")`)

// placed finds where in the text a decoding error lies.
func placed(text []byte, err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return at(text, int(e.Offset)-1, err)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return at(text, int(e.Offset)-1, fmt.Errorf("%s: want %v, got %s", e.Field, e.Type, e.Value))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return at(text, len(text), errors.New("the document ends too early"))
	}
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		if i := bytes.Index(text, []byte(m[1])); i >= 0 {
			return at(text, i, fmt.Errorf("unknown key %s", m[1]))
		}
	}
	return err
}

// at makes an error of the place at offset.
func at(text []byte, offset int, err error) *FileError {
	before := text[:min(max(offset, 0), len(text))]
	return &FileError{
		Line:   bytes.Count(before, []byte("\n")) + 1,
		Column: len(before) - bytes.LastIndexByte(before, '\n'),
		Err:    err,
	}
}

var statuses = []string{StatusOK, StatusPartial, StatusUnsustained, StatusUnsupported, StatusInvalid}

// check tests what the types cannot say.
func (r *Run) check() error {
	if r.Schema != Schema {
		return fmt.Errorf("schema: want %q, got %q", Schema, r.Schema)
	}
	if err := r.FindMax.check(); err != nil {
		return fmt.Errorf("find_max.%w", err)
	}
	seen := map[string]bool{}
	for i, c := range r.Cells {
		if c == nil {
			return fmt.Errorf("cells[%d]: want an object, got null", i)
		}
		if seen[c.ID] {
			return fmt.Errorf("cells[%d].id: %q is there twice", i, c.ID)
		}
		seen[c.ID] = true
		if err := c.check(); err != nil {
			return fmt.Errorf("cells[%d].%w", i, err)
		}
	}
	return nil
}

func (c *Cell) check() error {
	for key, name := range map[string]string{"id": c.ID, "device": c.Device, "workload": c.Workload, "strategy": c.Strategy, "clock": c.Clock, "link": c.Link} {
		if text.Line(name) != name {
			return fmt.Errorf("%s: want a name without control characters, got %q", key, name)
		}
	}
	if err := c.At.check(); err != nil {
		return err
	}
	if !slices.Contains(statuses, c.Status) {
		return fmt.Errorf("status: want one of %q, got %q", statuses, c.Status)
	}
	if c.Runs != len(c.PerRun) {
		return fmt.Errorf("runs: is %d, but per_run has %d", c.Runs, len(c.PerRun))
	}
	if err := c.Commit.check(); err != nil {
		return fmt.Errorf("commit.%w", err)
	}
	if c.Runs > 0 && (c.Commit == nil || c.Wire == nil || c.Errors == nil || c.Ops == nil) {
		return errors.New("commit, ops, wire, errors: want them where there are runs")
	}
	var commits int64
	for i := range c.PerRun {
		p := &c.PerRun[i]
		if p.Commit == nil {
			return fmt.Errorf("per_run[%d].commit: want an object, got null", i)
		}
		if err := p.Commit.check(); err != nil {
			return fmt.Errorf("per_run[%d].commit.%w", i, err)
		}
		commits += p.Commit.Count
	}
	if c.Commit != nil && commits != c.Commit.Count {
		return fmt.Errorf("commit.count: is %d, but the runs have %d", c.Commit.Count, commits)
	}
	return c.checkBreakdown()
}

func (c *Cell) checkBreakdown() error {
	if c.BreakdownNS == nil {
		return nil
	}
	var sum int64
	for _, v := range c.BreakdownNS.values() {
		sum += v
	}
	if c.Commit == nil || c.Commit.Mean == nil || sum != *c.Commit.Mean {
		return fmt.Errorf("breakdown_ns: sums to %d, which is not commit.mean_ns", sum)
	}
	return nil
}

func (l *Latency) check() error {
	if l == nil {
		return nil
	}
	if l.Count < 0 {
		return fmt.Errorf("count: want 0 or more, got %d", l.Count)
	}
	if l.Count > 0 && (l.Mean == nil || l.Min == nil || l.Max == nil) {
		return fmt.Errorf("mean_ns, min_ns, max_ns: want numbers, since count is %d", l.Count)
	}
	return nil
}
