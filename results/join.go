package results

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"

	"nbdbench/internal/input"
	"nbdbench/internal/text"
	"nbdbench/sim"
)

// LoadWhole is Load with the interval series and the single commits of the runs, where
// they are stored: all that a run directory has.
func LoadWhole(dir string) (*Run, error) {
	r, err := Load(dir)
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name string
		read func(runs map[runKey]*RunResult, in io.Reader) error
	}{{FileIntervals, readIntervals}, {FileHeat, readHeat}, {FileRaw, readRaw}} {
		path := filepath.Join(filepath.Dir(r.path), part.name)
		f, err := input.Open(path, MaxLog)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = part.read(r.byKey(), f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, &FileError{Path: path, Err: err}
		}
	}
	return r, nil
}

// runKey names a run as CSV does: its cell and its number from 0.
type runKey struct {
	cell string
	run  int
}

func (r *Run) byKey() map[runKey]*RunResult {
	out := map[runKey]*RunResult{}
	for _, c := range r.Cells {
		for i, run := range c.runs {
			out[runKey{text.Cell(c.ID), i}] = run
		}
	}
	return out
}

// eachRow reads CSV with these many columns, of which all but the first are numbers or,
// as far as it goes, empty.
func eachRow(in io.Reader, columns int, runs map[runKey]*RunResult, row func(run *RunResult, n []int64) error) error {
	c := csv.NewReader(in)
	c.FieldsPerRecord, c.ReuseRecord = columns, true
	if _, err := c.Read(); err != nil { // the head
		return err
	}
	n := make([]int64, columns)
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := c.FieldPos(0)
		for i := 1; i < columns; i++ {
			n[i] = 0
			if record[i] == "" {
				continue
			}
			if n[i], err = strconv.ParseInt(record[i], 10, 64); err != nil || n[i] < 0 {
				return fmt.Errorf("line %d, column %d: expected a number, got %q", line, i+1, record[i])
			}
		}
		run := runs[runKey{record[0], int(n[1])}]
		if run == nil {
			return fmt.Errorf("line %d: no run %d of cell %q in run.json", line, n[1], record[0])
		}
		if err := row(run, n); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

func readIntervals(runs map[runKey]*RunResult, in io.Reader) error {
	return eachRow(bufio.NewReader(in), 8, runs, func(run *RunResult, n []int64) error {
		run.Intervals = append(run.Intervals, Interval{
			Start: sim.Duration(n[2]), Width: sim.Duration(n[3]), Count: n[4],
			P50: sim.Duration(n[5]), P99: sim.Duration(n[6]), Max: sim.Duration(n[7]),
		})
		return nil
	})
}

// eachZippedRow is eachRow of a compressed file of five columns.
func eachZippedRow(in io.Reader, runs map[runKey]*RunResult, row func(run *RunResult, n []int64) error) error {
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	bounded := &io.LimitedReader{R: z, N: MaxLog}
	if err := eachRow(bounded, 5, runs, row); err != nil {
		return err
	}
	if bounded.N == 0 {
		return fmt.Errorf("expected at most %d bytes", int64(MaxLog))
	}
	return nil
}

func readRaw(runs map[runKey]*RunResult, in io.Reader) error {
	return eachZippedRow(in, runs, func(run *RunResult, n []int64) error {
		run.Raw = append(run.Raw, RawCommit{sim.Duration(n[2]), sim.Duration(n[3]), sim.Duration(n[4])})
		return nil
	})
}

// Joined is one cell of a Join: where it stands in its document, and what only the
// profile of its device says.
type Joined struct {
	Cell        *Cell
	Parallelism string // CellConfig.Parallelism
}

// Join fills in a document that has a plan, and what is common to all cells, from cells
// of stored documents. Their own figures stay; comparisons and verdicts are computed
// from all of them.
func (r *Run) Join(cells []Joined) {
	for _, j := range cells {
		j.Cell.parallel = j.Parallelism
		r.Partial = r.Partial || j.Cell.Status == StatusPartial
		r.Add(j.Cell)
	}
	r.conclude()
}

// SameMachine reports whether two hosts are, but for what changes from run to run, one.
func (h *Host) SameMachine(o *Host) bool {
	if h == nil || o == nil {
		return h == o
	}
	return h.OS == o.OS && h.Arch == o.Arch && h.Kernel == o.Kernel && h.CPU == o.CPU && h.CPUs == o.CPUs
}
