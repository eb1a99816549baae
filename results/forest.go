package results

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

const (
	forestRow  = 14
	ratioWidth = 118 // of a value with its interval
	// pageDevices is how many devices are in one figure of those that have a row for
	// each strategy on each device; more are in further figures.
	pageDevices = 12
	maxName     = 150 // width of a name, in points
)

// forest are the figures of one workload's ratios: each strategy against the baseline
// of its device, with the interval, on a logarithmic axis.
func (r *Run) forest(workload string, groups []*group) (out []*chart.Chart) {
	var shown []*group
	for _, g := range groups {
		if len(r.ratios(g)) > 0 {
			shown = append(shown, g)
		}
	}
	for first := 0; first < len(shown); first += pageDevices {
		out = append(out, r.forestPage(workload, shown[first:min(first+pageDevices, len(shown))], first > 0))
	}
	return out
}

// ratios are the comparisons of a group by the metric that decides.
func (r *Run) ratios(g *group) (out []*Comparison) {
	for _, c := range g.cells {
		if x := r.ComparisonOf(c); x != nil && x.Ratio > 0 {
			out = append(out, x)
		}
	}
	return out
}

func (r *Run) forestPage(workload string, groups []*group, further bool) *chart.Chart {
	rows := 0
	for _, g := range groups {
		rows += 1 + len(r.ratios(g))
	}
	what := shortMetric(metricNames[r.decide()])
	fr := chart.Frame{
		Title:    fmt.Sprintf("%s: %s of each strategy, as a multiple of the baseline's", workload, what),
		Subtitle: subtitle("left of 1 is faster", groups),
		Footer:   fmt.Sprintf("Bars: 95%% intervals of the ratio, of all of the table at once. Grey band: within %.0f%%.", 100*Margin),
	}
	if nounIn(groups) != operationNoun {
		fr.Footer += " Hollow: not durable."
	}
	fr.Footer = r.footer(fr.Footer)
	if further {
		fr.Title += ", further devices"
	}
	return fr.Chart(fileName("ratios", workload), vg.Length(rows*forestRow+dotFoot+4), func(c draw.Canvas) { r.drawForest(c, groups) })
}

func (r *Run) drawForest(c draw.Canvas, groups []*group) {
	lo, hi, names := 0.0, 0.0, vg.Length(0)
	style := chart.Letter(chart.TextSize, chart.Ink)
	for _, g := range groups {
		names = max(names, chart.Bold(chart.TextSize, chart.Ink).Width(g.device))
		for _, x := range r.ratios(g) {
			names = max(names, style.Width(x.A)+8)
			lo, hi = min(lo, math.Log10(x.Ratio)), max(hi, math.Log10(x.Ratio))
			if x.CI95 != nil && x.CI95[0] > 0 {
				lo, hi = min(lo, math.Log10(x.CI95[0])), max(hi, math.Log10(x.CI95[1]))
			}
		}
	}
	lo, hi = chart.Padded(lo, hi, 0.06)
	names = min(names, maxName)
	x := chart.Scale{Lo: lo, Hi: hi, From: c.Min.X + names + 10, To: c.Max.X - ratioWidth}
	y := chart.Scale{Lo: 0, Hi: 1, From: c.Min.Y + dotFoot, To: c.Max.Y}
	drawRatioAxis(c, x, y)
	at := y.To
	for _, g := range groups {
		bold := chart.Rightward(chart.Bold(chart.TextSize, chart.Ink))
		c.FillText(bold, vg.Point{X: c.Min.X, Y: at - forestRow/2}, chart.Shorten(bold, g.device, names))
		at -= forestRow
		for _, x2 := range r.ratios(g) {
			at -= forestRow
			drawRatio(c, x, at+forestRow/2, g, x2, names)
		}
	}
}

func drawRatioAxis(c draw.Canvas, x, y chart.Scale) {
	band := []vg.Point{
		{X: x.At(-math.Log10(1 + Margin)), Y: y.From},
		{X: x.At(math.Log10(1 + Margin)), Y: y.From},
		{X: x.At(math.Log10(1 + Margin)), Y: y.To},
		{X: x.At(-math.Log10(1 + Margin)), Y: y.To},
	}
	c.FillPolygon(chart.Rule, band)
	s := chart.Centred(chart.Letter(chart.SmallSize, chart.Faint))
	free := x.From - 20 // of labels
	for _, t := range chart.CountTicks(x.Lo, x.Hi) {
		if t.Label == "" {
			continue
		}
		at, half := x.At(t.At), s.Width(t.Label+"x")/2
		c.StrokeLine2(draw.LineStyle{Color: chart.Rule, Width: 0.5}, at, y.From, at, y.To)
		if at-half > free {
			c.FillText(s, vg.Point{X: at, Y: y.From - 3}, t.Label+"x")
			free = at + half + 3
		}
	}
	c.StrokeLine2(draw.LineStyle{Color: chart.Ink, Width: 0.7}, x.At(0), y.From, x.At(0), y.To)
	c.StrokeLine2(draw.LineStyle{Color: chart.Faint, Width: 0.7}, x.From, y.From, x.To, y.From)
}

// drawRatio draws one row: name, interval, mark and value.
func drawRatio(c draw.Canvas, x chart.Scale, y vg.Length, g *group, r *Comparison, names vg.Length) {
	l := lookOf(r.A)
	ink, safe := chart.Ink, true
	for _, cell := range g.cells {
		if cell.Strategy == r.A && !cell.safe() {
			ink, safe = chart.Grey, false
		}
	}
	text := chart.Letter(chart.TextSize, ink)
	c.FillText(chart.Rightward(text), vg.Point{X: c.Min.X + 8, Y: y}, chart.Shorten(text, r.A, names))
	value := significant(r.Ratio) + "x"
	if r.CI95 != nil && r.CI95[0] > 0 && !r.Exact {
		line := draw.LineStyle{Color: l.color, Width: 1}
		lo, hi := x.At(math.Log10(r.CI95[0])), x.At(math.Log10(r.CI95[1]))
		c.StrokeLine2(line, lo, y, hi, y)
		value = formatEstimate(r.Ratio, r.CI95[0], r.CI95[1]) + "x " + formatSpan(r.CI95[0], r.CI95[1])
	}
	at := vg.Point{X: x.At(math.Log10(r.Ratio)), Y: y}
	if safe {
		c.DrawGlyph(draw.GlyphStyle{Color: l.color, Radius: dotRadius, Shape: draw.CircleGlyph{}}, at)
	} else {
		c.DrawGlyph(draw.GlyphStyle{Color: l.color, Radius: dotRadius, Shape: draw.RingGlyph{}}, at)
	}
	c.FillText(chart.Leftward(text), vg.Point{X: c.Max.X, Y: y}, value)
}
