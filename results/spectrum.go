package results

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

const (
	spectrumSteps  = 60 // to a factor of ten in the number of samples beyond
	spectrumHeight = 250
)

// curve is a cell's latencies by how rare they are: x is -log10 of the share of
// samples beyond, y log10 of nanoseconds.
type curve struct {
	cell   *Cell
	x, y   []float64
	bandX  []float64
	lo, hi []float64
	maxX   float64 // of the slowest sample, of which one share in n lies
	maxY   float64
}

// atRank is the k-th smallest sample.
func (d *Distribution) atRank(k int64) float64 {
	var seen int64
	for _, b := range d.buckets {
		if seen += b.count; seen >= k {
			return float64(d.clamp(b.value))
		}
	}
	return float64(d.max)
}

// rankBeyond is the nearest rank of the quantile beyond which a share 10^-x lies.
func rankBeyond(x float64, n int64) int64 {
	return min(max(int64(math.Ceil((1-math.Pow(10, -x))*float64(n)-1e-9)), 1), n)
}

// newCurve reads the curve up to where every run has a sample beyond and all
// together have ten.
func newCurve(c *Cell) *curve {
	d := c.Commits()
	if d.Count() == 0 {
		return nil
	}
	out := &curve{cell: c, maxX: math.Log10(float64(d.n)), maxY: chart.Log10(float64(d.max))}
	fewest := d.n
	for _, r := range c.runs {
		if r.Commit.Count() > 0 {
			fewest = min(fewest, r.Commit.n)
		}
	}
	end := min(math.Log10(float64(d.n)/minBeyond), math.Log10(float64(fewest)))
	for i := 0; float64(i)/spectrumSteps < end; i++ {
		out.add(float64(i) / spectrumSteps)
	}
	if end > 0 {
		out.add(end)
	}
	return out
}

// add adds the point beyond which a share 10^-x lies: a run's value, averaged over
// runs as in the table, and its interval.
func (v *curve) add(x float64) {
	var runs []figure
	for _, r := range v.cell.runs {
		if d := r.Commit; d.Count() > 0 {
			at := d.atRank(rankBeyond(x, d.n))
			runs = append(runs, figure{at, float64(max(bucketFrom(int64(at)), d.min))})
		}
	}
	e := estimateOf(runs, metricP99)
	v.x, v.y = append(v.x, x), append(v.y, chart.Log10(e.value))
	if e.span != nil {
		v.bandX, v.lo, v.hi = append(v.bandX, x), append(v.lo, chart.Log10(e.span[0])), append(v.hi, chart.Log10(e.span[1]))
	}
}

// spectrum is the figure of one device: a panel for each workload.
func (r *Run) spectrum(device string, groups []*group) *chart.Chart {
	var shown []*group
	var all [][]*curve
	for _, g := range groups {
		var curves []*curve
		for _, c := range g.cells {
			if v := newCurve(c); v != nil {
				curves = append(curves, v)
			}
		}
		if len(curves) > 0 {
			shown, all = append(shown, g), append(all, curves)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	ring := draw.GlyphStyle{Color: chart.Ink, Radius: 3, Shape: draw.RingGlyph{}}
	cross := draw.GlyphStyle{Color: chart.Ink, Radius: 3, Shape: draw.CrossGlyph{}}
	fr := chart.Frame{
		Title:    device + ": " + r.findings(shown, func(g *group) string { return g.workload }),
		Subtitle: subtitle("how long "+nounIn(shown).article()+" takes", shown),
		Footer:   r.footer(nounIn(shown).title() + " latency from when it was due. Bands: 95% intervals over runs; they cover seeds, not model error."),
		Keys:     append(curveKeys(shown, all), chart.Key{Name: "10 samples beyond", Glyph: &ring}, chart.Key{Name: "slowest " + nounIn(shown).one, Glyph: &cross}),
	}
	rows := (len(shown) + 1) / 2
	return fr.Chart(fileName("spectrum", device), vg.Length(rows*spectrumHeight), func(c draw.Canvas) { r.drawSpectrum(c, shown, all) })
}

// curveKeys are strategyKeys with one entry for strategies whose lines hide each other:
// native = pass.
func curveKeys(groups []*group, all [][]*curve) []chart.Key {
	keys := strategyKeys(groups)
	var names []string
	for _, c := range cellsOf(groups) {
		if !slices.Contains(names, c.Strategy) {
			names = append(names, c.Strategy)
		}
	}
	gone := map[int]bool{}
	for i, a := range names {
		for k := i + 1; k < len(names); k++ {
			if !gone[i] && !gone[k] && coincide(all, a, names[k]) {
				keys[i].Name += " = " + keys[k].Name
				gone[k] = true
			}
		}
	}
	var out []chart.Key
	for i := range keys {
		if !gone[i] {
			out = append(out, keys[i])
		}
	}
	return out
}

// coincide reports whether the lines of two strategies are the same wherever both are.
func coincide(all [][]*curve, a, b string) bool {
	both := false
	for _, curves := range all {
		i := slices.IndexFunc(curves, func(v *curve) bool { return v.cell.Strategy == a })
		k := slices.IndexFunc(curves, func(v *curve) bool { return v.cell.Strategy == b })
		if i < 0 || k < 0 {
			continue
		}
		if !slices.Equal(curves[i].y, curves[k].y) || curves[i].maxY != curves[k].maxY {
			return false
		}
		both = true
	}
	return both
}

func (r *Run) drawSpectrum(c draw.Canvas, groups []*group, all [][]*curve) {
	x0, x1, y0, y1 := ranges(all)
	style, lines := chart.Bold(chart.TextSize+0.5, chart.Ink), 1
	parts := chart.Panels(c, len(groups), 2, 18, 16)
	for i, p := range parts {
		lines = max(lines, len(chart.BreakText(style, r.panelTitle(groups[i]), p.Max.X-p.Min.X, 2)))
	}
	for i, p := range parts {
		chart.DrawText(p, style, r.panelTitle(groups[i]), lines)
		p.Max.Y -= vg.Length(lines)*style.Font.Size*1.25 + 2 // all begin at one height
		drawCurves(p, all[i], [4]float64{x0, x1, y0, y1}, nounOf(groups[i].cells))
	}
}

func (r *Run) panelTitle(g *group) string { return g.workload + ": " + r.headline(g) }

// ranges are common to the panels of a figure, so that they compare.
func ranges(all [][]*curve) (x0, x1, y0, y1 float64) {
	y0, y1 = math.Inf(1), math.Inf(-1)
	for _, curves := range all {
		for _, v := range curves {
			x1, y1 = max(x1, v.maxX), max(y1, v.maxY)
			for _, y := range v.y {
				y0, y1 = min(y0, y), max(y1, y)
			}
			y0 = min(y0, v.maxY)
		}
	}
	y0, y1 = chart.Padded(y0, y1, 0.06)
	return 0, max(x1, 1) * 1.04, y0, y1
}

// drawCurves draws one panel: axes, bands, lines, marks.
func drawCurves(c draw.Canvas, curves []*curve, r [4]float64, of noun) {
	ticks := chart.LogTicks(r[2], r[3])
	left := labelWidth(ticks) + 5
	x := chart.Scale{Lo: r[0], Hi: r[1], From: c.Min.X + left, To: c.Max.X}
	y := chart.Scale{Lo: r[2], Hi: r[3], From: c.Min.Y + 28, To: c.Max.Y - 4}
	drawTimeAxis(c, x, y, ticks)
	drawNines(c, x, y, of)
	for _, v := range curves {
		v.drawBand(c, x, y)
	}
	for _, v := range curves {
		v.drawLine(c, x, y)
	}
}

func labelWidth(ticks []chart.Tick) (w vg.Length) {
	for _, t := range ticks {
		w = max(w, chart.Letter(chart.SmallSize, chart.Ink).Width(t.Label))
	}
	return w
}

// drawTimeAxis draws the vertical axis of latency with its grid.
func drawTimeAxis(c draw.Canvas, x, y chart.Scale, ticks []chart.Tick) {
	s := chart.Leftward(chart.Letter(chart.SmallSize, chart.Faint))
	for _, t := range ticks {
		at := y.At(t.At)
		if t.Label == "" {
			c.StrokeLine2(draw.LineStyle{Color: chart.Rule, Width: 0.5}, x.From, at, x.From+3, at)
			continue
		}
		c.StrokeLine2(draw.LineStyle{Color: chart.Rule, Width: 0.5}, x.From, at, x.To, at)
		c.FillText(s, vg.Point{X: x.From - 4, Y: at}, t.Label)
	}
}

// drawNines draws the horizontal axis of percentiles.
func drawNines(c draw.Canvas, x, y chart.Scale, of noun) {
	s := chart.Centred(chart.Letter(chart.SmallSize, chart.Faint))
	nines := []chart.Tick{{Label: "0"}, {At: math.Log10(2), Label: "50"}, {At: 1, Label: "90"}, {At: 2, Label: "99"}}
	for n := 3; float64(n) <= x.Hi; n++ {
		nines = append(nines, chart.Tick{At: float64(n), Label: "99." + "99999999"[:n-2]})
	}
	for _, t := range nines {
		if t.At > x.Hi {
			continue
		}
		at := x.At(t.At)
		c.StrokeLine2(draw.LineStyle{Color: chart.Rule, Width: 0.5}, at, y.From, at, y.To)
		c.FillText(s, vg.Point{X: at, Y: y.From - 3}, t.Label)
	}
	c.StrokeLine2(draw.LineStyle{Color: chart.Faint, Width: 0.7}, x.From, y.From, x.To, y.From)
	c.FillText(chart.Centred(chart.Letter(chart.SmallSize, chart.Faint)), vg.Point{X: (x.From + x.To) / 2, Y: y.From - 14}, "percentile of "+of.many)
}

func (v *curve) drawBand(c draw.Canvas, x, y chart.Scale) {
	if len(v.bandX) < 2 {
		return
	}
	var points []vg.Point
	for i := range v.bandX {
		points = append(points, vg.Point{X: x.At(v.bandX[i]), Y: y.At(v.hi[i])})
	}
	for i := len(v.bandX) - 1; i >= 0; i-- {
		points = append(points, vg.Point{X: x.At(v.bandX[i]), Y: y.At(v.lo[i])})
	}
	c.FillPolygon(chart.Translucent(lookOf(v.cell.Strategy).color), points)
}

// drawLine draws steps, so that nothing is invented between two percentiles.
func (v *curve) drawLine(c draw.Canvas, x, y chart.Scale) {
	l := lookOf(v.cell.Strategy)
	var points []vg.Point
	for i := range v.x {
		if i > 0 && v.y[i] != v.y[i-1] {
			points = append(points, vg.Point{X: x.At(v.x[i]), Y: y.At(v.y[i-1])})
		}
		if i == 0 || i == len(v.x)-1 || v.y[i] != v.y[i-1] {
			points = append(points, vg.Point{X: x.At(v.x[i]), Y: y.At(v.y[i])})
		}
	}
	if len(points) > 0 {
		c.StrokeLines(l.line(1.6), points)
		end := points[len(points)-1]
		c.DrawGlyph(draw.GlyphStyle{Color: chart.Paper, Radius: 3, Shape: draw.CircleGlyph{}}, end)
		c.DrawGlyph(draw.GlyphStyle{Color: l.color, Radius: 3, Shape: draw.RingGlyph{}}, end)
	}
	c.DrawGlyph(draw.GlyphStyle{Color: l.color, Radius: 3, Shape: draw.CrossGlyph{}}, vg.Point{X: x.At(v.maxX), Y: y.At(v.maxY)})
}

// percent is a whole percentage.
func percent(part, whole int64) string {
	return fmt.Sprintf("%.0f%%", 100*float64(part)/float64(whole))
}
