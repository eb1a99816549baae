package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// DiffSchema names the format of a comparison of two documents.
const DiffSchema = "nbdbench/compare/v1"

// Diff is what changed from one document to another.
type Diff struct {
	Schema string    `json:"schema"`
	Rows   []DiffRow `json:"rows"`
	// Only names the cells that one of the documents does not have.
	Only []string `json:"only"`
}

// DiffRow is one metric of one cell. Ratio is new/old: below 1, new is faster.
type DiffRow struct {
	Cell   string  `json:"cell"`
	Metric string  `json:"metric"`
	Old    int64   `json:"old"`
	New    int64   `json:"new"`
	Ratio  float64 `json:"ratio"`
	CI95   *Ratio  `json:"ci95"`
	Exact  bool    `json:"exact"`
	// P is null where no run of one has the seed of a run of the other.
	P       *float64 `json:"p_adjusted"`
	Verdict string   `json:"verdict"`
}

// Compare says what changed between two documents, cell by cell, by the rules
// of a document's own comparisons. Runs are paired by seed; cells whose runs
// have no seed in common are resampled independently and have no p-value.
func Compare(before, after *Run) *Diff {
	d := &Diff{Schema: DiffSchema, Rows: []DiffRow{}, Only: []string{}}
	f := newInference(before.Seed)
	for _, x := range before.Cells {
		if after.cell(x.ID) == nil {
			d.Only = append(d.Only, x.ID)
		}
	}
	for _, y := range after.Cells {
		if before.cell(y.ID) == nil {
			d.Only = append(d.Only, y.ID)
		}
	}
	for m := range numMetrics {
		d.add(f, before, after, m)
	}
	return d
}

func (r *Run) cell(id string) *Cell {
	if i := slices.IndexFunc(r.Cells, func(c *Cell) bool { return c.ID == id }); i >= 0 {
		return r.Cells[i]
	}
	return nil
}

// add appends one family: a metric of every cell that both have.
func (d *Diff) add(f *inference, before, after *Run, m metric) {
	var family []float64
	first := len(d.Rows)
	for _, x := range before.Cells {
		y := after.cell(x.ID)
		if y == nil || !x.usable() || !y.usable() || x.told(m) == nil || y.told(m) == nil {
			continue
		}
		e, paired := f.compare(y, x, m), true
		if e == nil {
			e, paired = f.unpaired(y, x, m), false
		}
		if e == nil {
			continue
		}
		row := DiffRow{Cell: x.ID, Metric: metricNames[m], Old: *x.told(m), New: *y.told(m), Ratio: e.ratio, CI95: e.span, Exact: e.exact, Verdict: e.verdict()}
		if paired {
			row.P = new(e.p)
			family = append(family, e.p)
		}
		d.Rows = append(d.Rows, row)
	}
	adjusted := holm(family)
	for i := range d.Rows[first:] {
		if p := d.Rows[first+i].P; p != nil {
			*p, adjusted = adjusted[0], adjusted[1:]
		}
	}
}

// unpaired is the effect of being a rather than b where no runs pair: each side
// is resampled by draws of its own.
func (f *inference) unpaired(a, b *Cell, m metric) *effect {
	x, y := a.sampleOf(a.seeds()), b.sampleOf(b.seeds())
	if x.boot == nil || y.boot == nil || x.boot.n == 0 || y.boot.n == 0 || y.boot.point(m) <= 0 || x.boot.point(m) <= 0 {
		return nil
	}
	e := &effect{ratio: x.boot.point(m) / y.boot.point(m)}
	n := min(x.boot.n, y.boot.n)
	if x.constant(m) && y.constant(m) {
		e.exact, e.span = true, &Ratio{e.ratio, e.ratio}
		return e
	}
	if n < minRuns {
		return e
	}
	other := newInference(f.seed.Sub("unpaired", 0))
	top := x.boot.resampled(other.weightsFor(x.boot.n), m)
	bottom := y.boot.resampled(f.weightsFor(y.boot.n), m)
	for i := range top {
		top[i] /= bottom[i]
	}
	if lo, hi, ok := interval95(top, n); ok {
		e.span = &Ratio{lo, hi}
	}
	return e
}

// Regressed lists the rows of a metric whose interval lies wholly above
// 1+limit: what is slower by more than the limit beyond doubt.
func (d *Diff) Regressed(metric string, limit float64) []DiffRow {
	var out []DiffRow
	for _, r := range d.Rows {
		if r.Metric == metric && r.CI95 != nil && r.CI95[0] > 1+limit {
			out = append(out, r)
		}
	}
	return out
}

// WriteJSON writes the comparison as JSON.
func (d *Diff) WriteJSON(w io.Writer) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("comparison: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Table is the comparison as a table, grouped by metric.
func (d *Diff) Table() *Table {
	everywhere := InText | InPage | InData
	t := &Table{Columns: []Column{
		{Key: "metric", Title: "metric", Place: InPage | InData},
		{Key: "cell", Title: "cell", Place: everywhere},
		{Key: "old_ns", Title: "old", Right: true, Place: everywhere},
		{Key: "new_ns", Title: "new", Right: true, Place: everywhere},
		{Key: "ratio", Title: "new/old", Right: true, Place: everywhere},
		{Key: "ratio_low", Place: InData},
		{Key: "ratio_high", Place: InData},
		{Key: "p_adjusted", Title: "p adj.", Right: true, Drop: 1, Place: everywhere},
		{Key: "verdict", Title: "verdict", Place: everywhere},
	}}
	for _, r := range d.Rows {
		t.Rows = append(t.Rows, Row{Group: r.Metric, Values: r.values()})
	}
	t.Notes = []string{fmt.Sprintf("Intervals are 95%% over runs, paired by seed; they cover seeds, not model error. Verdicts go by them and a margin of %.0f%%.", 100*Margin)}
	for _, c := range d.Only {
		t.Notes = append(t.Notes, c+": in one of the runs only")
	}
	return t
}

func (r *DiffRow) values() []Value {
	ratio, low, high, p := Value{significant(r.Ratio), r.Ratio}, Value{}, Value{}, none
	if r.CI95 != nil {
		low, high = Value{Data: r.CI95[0]}, Value{Data: r.CI95[1]}
		if r.Exact {
			ratio.Text += " exact"
		} else {
			ratio.Text = formatEstimate(r.Ratio, r.CI95[0], r.CI95[1]) + " " + formatSpan(r.CI95[0], r.CI95[1])
		}
	}
	if r.P != nil {
		p = Value{fmt.Sprintf("%.2g", *r.P), *r.P}
	}
	return []Value{
		{r.Metric, r.Metric},
		{r.Cell, r.Cell},
		{formatNS(r.Old), r.Old},
		{formatNS(r.New), r.New},
		ratio,
		low,
		high,
		p,
		{r.Verdict, r.Verdict},
	}
}
