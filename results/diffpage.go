package results

import (
	"fmt"
	"io"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

// What the two documents of a comparison are called, as strategies are elsewhere.
const (
	oldRun = "old"
	newRun = "new"
)

// panelsOfDiff is how many cells are in one figure of a comparison.
const panelsOfDiff = 8

// WriteHTML writes the comparison as one file that needs nothing else, with the
// percentile spectra of both runs in every cell. The lines of head name the runs.
func (d *Diff) WriteHTML(w io.Writer, head []string) error {
	t := d.Table()
	p := page{
		Title: "nbdbench: what changed", Head: append(head, d.Differences...),
		TableTitle: "Changes", Caption: "Each metric of each cell that both runs have. The ratio is new/old: below 1, the new run is faster.",
		Notes: t.Notes, Columns: pageColumns(t)[1:], // the metric is each group's name
		Footer: "Made from the two run directories.",
	}
	groups := pageGroups(t)
	for i := range groups {
		for k := range groups[i].Rows {
			row := &groups[i].Rows[k]
			row.Values = row.Values[1:]
		}
	}
	p.Many = len(t.Rows) > manyGroups*int(numMetrics)
	p.setGroups(groups, func(g *pageGroup) string { return g.Name })
	for _, pair := range d.pairs {
		if curves := pair.explored(); curves != nil && len(p.Explorer.Groups) < maxExplored {
			p.Explorer.Groups = append(p.Explorer.Groups, exploredGroup{Name: pair.id, Curves: curves})
		}
	}
	if err := p.addCharts(d.charts()); err != nil {
		return err
	}
	return p.write(w)
}

func (p *pair) explored() (out []exploredCurve) {
	for _, c := range p.both() {
		if curve, ok := c.explored(c.Strategy); ok {
			out = append(out, curve)
		}
	}
	return out
}

// both are the pair's cells with the names of the documents as their strategies.
func (p *pair) both() []*Cell {
	x, y := *p.before, *p.after
	x.Strategy, y.Strategy = oldRun, newRun
	return []*Cell{&x, &y}
}

// charts are the spectra of all pairs, some cells in each.
func (d *Diff) charts() (out []*chart.Chart) {
	for i := 0; i < len(d.pairs); i += panelsOfDiff {
		if c := d.chart(len(out)+1, d.pairs[i:min(i+panelsOfDiff, len(d.pairs))]); c != nil {
			out = append(out, c)
		}
	}
	return out
}

func (d *Diff) chart(number int, pairs []pair) *chart.Chart {
	var titles []string
	var all [][]*curve
	for _, p := range pairs {
		var curves []*curve
		for _, c := range p.both() {
			if v := newCurve(c); v != nil && c.usable() {
				curves = append(curves, v)
			}
		}
		if curves != nil {
			titles, all = append(titles, p.id), append(all, curves)
		}
	}
	if all == nil {
		return nil
	}
	var keys []chart.Key
	for _, name := range []string{oldRun, newRun} {
		line := lookOf(name).line(2)
		keys = append(keys, chart.Key{Name: name, Line: &line})
	}
	fr := chart.Frame{
		Title:    fmt.Sprintf("Latency in both runs: %s", cellNames(titles)),
		Subtitle: "by percentile",
		Footer:   "Bands: 95% intervals over runs; they cover seeds, not model error.", Keys: keys,
	}
	rows := (len(all) + 1) / 2
	return fr.Chart(fmt.Sprintf("compared-%d", number), vg.Length(rows*spectrumHeight), func(c draw.Canvas) {
		x0, x1, y0, y1 := ranges(all)
		for i, p := range chart.Panels(c, len(all), 2, 18, 16) {
			style := chart.Bold(chart.TextSize+0.5, chart.Ink)
			p = chart.DrawText(p, style, titles[i], 2)
			drawCurves(p, all[i], [4]float64{x0, x1, y0, y1}, all[i][0].cell.noun())
		}
	})
}

// cellNames is the first and the last of several.
func cellNames(ids []string) string {
	if len(ids) == 1 {
		return ids[0]
	}
	return ids[0] + " to " + ids[len(ids)-1]
}
