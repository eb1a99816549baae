package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"nbdbench/internal/text"
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
	// P is null: the interval alone decides.
	P       *float64 `json:"p_adjusted"`
	Verdict string   `json:"verdict"`
}

// Compare says what changed between two documents, cell by cell, by the rules
// of a document's own comparisons. Runs are paired by seed; cells whose runs
// have no seed in common are compared unpaired. Runs in real time share no noise,
// whatever their seeds, and are compared unpaired too. The intervals of one metric
// hold at once.
func Compare(before, after *Run) *Diff {
	d := &Diff{Schema: DiffSchema, Rows: []DiffRow{}, Only: []string{}}
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
		d.add(before, after, m)
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
func (d *Diff) add(before, after *Run, m metric) {
	var pairs [][2]*Cell
	for _, x := range before.Cells {
		if y := after.cell(x.ID); y != nil && x.usable() && y.usable() && x.at(m) != nil && y.at(m) != nil {
			pairs = append(pairs, [2]*Cell{x, y})
		}
	}
	for _, p := range pairs {
		x, y := p[0], p[1]
		var e *effect
		if x.Clock == "virtual" && y.Clock == "virtual" {
			e = compare(y, x, m, len(pairs))
		}
		if e == nil {
			e = effectOf(y.figures(m, y.seeds()), x.figures(m, x.seeds()), false, len(pairs))
		}
		if e == nil {
			continue
		}
		if x.unfit(m) != "" || y.unfit(m) != "" {
			e.span, e.exact = nil, false
		}
		d.Rows = append(d.Rows, DiffRow{Cell: x.ID, Metric: metricNames[m], Old: *x.at(m), New: *y.at(m), Ratio: e.ratio, CI95: e.span, Exact: e.exact, Verdict: e.verdict()})
	}
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
	_, err := w.Write(text.EscapeJSON(b.Bytes()))
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
		{Key: "p_adjusted", Place: InData},
		{Key: "verdict", Title: "verdict", Place: everywhere},
	}}
	for _, r := range d.Rows {
		t.Rows = append(t.Rows, Row{Group: r.Metric, Values: r.values()})
	}
	t.Notes = []string{fmt.Sprintf("Intervals are 95%% over runs, all of one metric at once; they cover seeds, not model error. Verdicts go by them and a margin of %.0f%%.", 100*Margin)}
	for _, c := range d.Only {
		t.Notes = append(t.Notes, c+": in one of the runs only")
	}
	return t
}

func (r *DiffRow) values() []Value {
	ratio, low, high := Value{significant(r.Ratio), r.Ratio}, Value{}, Value{}
	if r.CI95 != nil {
		low, high = Value{Data: r.CI95[0]}, Value{Data: r.CI95[1]}
		if r.Exact {
			ratio.Text += " exact"
		} else {
			ratio.Text = formatEstimate(r.Ratio, r.CI95[0], r.CI95[1]) + " " + formatSpan(r.CI95[0], r.CI95[1])
		}
	}
	return []Value{
		{r.Metric, r.Metric},
		{r.Cell, r.Cell},
		{formatNS(r.Old), r.Old},
		{formatNS(r.New), r.New},
		ratio,
		low,
		high,
		{},
		{r.Verdict, r.Verdict},
	}
}
