package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"nbdbench/internal/text"
	"nbdbench/results/table"
)

// DiffSchema names the format of a comparison of two documents.
const DiffSchema = "nbdbench/compare/v1"

// Diff is what changed from one document to another.
type Diff struct {
	Schema string `json:"schema"`
	// Differences say, one in each sentence, in what else than their results the two
	// documents differ: program, plan, profiles, host.
	Differences []string  `json:"differences"`
	Rows        []DiffRow `json:"rows"`
	// OnlyOld and OnlyNew are the ids of cells that the other document does not have.
	OnlyOld []string `json:"only_old"`
	OnlyNew []string `json:"only_new"`

	pairs []pair
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
	// Reason is why there is no interval; empty if there is one.
	Reason string `json:"reason,omitempty"`
}

// Compare says what changed between two documents, cell by cell, by the rules
// of a document's own comparisons. Runs are paired by seed; cells whose runs
// have no seed in common are compared unpaired. Runs in real time share no noise,
// whatever their seeds, and are compared unpaired too. The intervals of one metric
// hold at once.
func Compare(before, after *Run) *Diff {
	return compareBy(before, after, func(c *Cell) string { return c.ID })
}

// CompareDevices is Compare of two documents of one device each: a cell's device does
// not count in finding the cell of the other document.
func CompareDevices(before, after *Run) (*Diff, error) {
	for _, r := range []*Run{before, after} {
		for _, c := range r.Cells {
			if c.Device != r.Cells[0].Device {
				return nil, fmt.Errorf("%s and %s: expected a run of one device", r.Cells[0].Device, c.Device)
			}
		}
	}
	return compareBy(before, after, func(c *Cell) string {
		_, rest, _ := strings.Cut(c.ID, "/") // Device may be a longer name, with a path
		return rest
	}), nil
}

// compareBy pairs the cells that have the same id.
func compareBy(before, after *Run, id func(*Cell) string) *Diff {
	d := &Diff{Schema: DiffSchema, Differences: differences(before, after), Rows: []DiffRow{}, OnlyOld: []string{}, OnlyNew: []string{}}
	theirs := map[string]*Cell{}
	for _, y := range after.Cells {
		theirs[id(y)] = y
	}
	var pairs []pair
	for _, x := range before.Cells {
		if y := theirs[id(x)]; y != nil {
			pairs = append(pairs, pair{id(x), x, y})
			delete(theirs, id(x))
		} else {
			d.OnlyOld = append(d.OnlyOld, x.ID)
		}
	}
	for _, y := range after.Cells {
		if theirs[id(y)] != nil {
			d.OnlyNew = append(d.OnlyNew, y.ID)
		}
	}
	d.pairs = pairs
	for m := range numMetrics {
		d.add(pairs, m)
	}
	return d
}

// pair is a cell that both documents have, under the id that they share.
type pair struct {
	id            string
	before, after *Cell
}

// add appends one family: a metric of every cell that both have.
func (d *Diff) add(all []pair, m metric) {
	pairs := slices.DeleteFunc(slices.Clone(all), func(p pair) bool {
		return !p.before.usable() || !p.after.usable() || p.before.at(m) == nil || p.after.at(m) == nil
	})
	for _, p := range pairs {
		x, y := p.before, p.after
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
		var why string
		if unfit := x.unfit(m); unfit != "" {
			why = "old " + unfit
		} else if unfit := y.unfit(m); unfit != "" {
			why = "new " + unfit
		}
		if why != "" {
			e.span, e.exact = nil, false
		}
		d.Rows = append(d.Rows, DiffRow{Cell: p.id, Metric: x.metricName(m), Old: *x.at(m), New: *y.at(m), Ratio: e.ratio, CI95: e.span, Exact: e.exact, Verdict: e.verdict(), Reason: why})
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

// NotExcluded lists the rows of a metric of which an increase by more than the limit
// is possible, but not certain: those without an interval, and those whose interval
// ends beyond 1+limit and begins within it.
func (d *Diff) NotExcluded(metric string, limit float64) []DiffRow {
	var out []DiffRow
	for _, r := range d.Rows {
		if r.Metric == metric && (r.CI95 == nil || r.CI95[0] <= 1+limit && r.CI95[1] > 1+limit) {
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
func (d *Diff) Table() *table.Table {
	t := &table.Table{Columns: []table.Column{
		{Key: "metric", Title: "metric", Place: table.InPage | table.InData},
		{Key: "cell", Title: "cell", Place: everywhere},
		{Key: "old_ns", Title: "old", Right: true, Drop: 1, Place: everywhere},
		{Key: "new_ns", Title: "new", Right: true, Drop: 2, Place: everywhere},
		{Key: "ratio", Title: "new/old", Right: true, Shorten: 3, Cut: "[", Place: everywhere},
		{Key: "ratio_low", Place: table.InData},
		{Key: "ratio_high", Place: table.InData},
		{Key: "p_adjusted", Place: table.InData},
		{Key: "verdict", Title: "verdict", Place: everywhere},
	}}
	for _, r := range d.Rows {
		t.Rows = append(t.Rows, table.Row{Group: r.Metric, Values: r.values()})
	}
	t.Notes = []string{fmt.Sprintf("Intervals are 95%% over runs, all of one metric at once; they cover seeds, not model error. Verdicts go by them and a margin of %.0f%%.", 100*Margin)}
	for _, r := range d.Rows {
		note := fmt.Sprintf("%s: without an interval: %s", r.Cell, r.Reason)
		if r.Reason != "" && !slices.Contains(t.Notes, note) {
			t.Notes = append(t.Notes, note)
		}
	}
	for _, c := range d.OnlyOld {
		t.Notes = append(t.Notes, c+": in the old run only")
	}
	for _, c := range d.OnlyNew {
		t.Notes = append(t.Notes, c+": in the new run only")
	}
	return t
}

func (r *DiffRow) values() []table.Value {
	ratio, low, high := table.Value{Text: significant(r.Ratio), Data: r.Ratio}, table.Value{}, table.Value{}
	if r.CI95 != nil {
		low, high = table.Value{Data: r.CI95[0]}, table.Value{Data: r.CI95[1]}
		if r.Exact {
			ratio.Text += " exact"
		} else {
			ratio.Text = formatEstimate(r.Ratio, r.CI95[0], r.CI95[1]) + " " + formatSpan(r.CI95[0], r.CI95[1])
		}
	}
	return []table.Value{
		textValue(r.Metric),
		textValue(r.Cell),
		{Text: formatNS(r.Old), Data: r.Old},
		{Text: formatNS(r.New), Data: r.New},
		ratio,
		low,
		high,
		{},
		textValue(r.Verdict),
	}
}
