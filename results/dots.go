package results

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

const (
	dotRow   = 17
	dotGroup = 20 // a device's name
	dotGap   = 6  // between devices
	dotHead  = 14 // above the axes
	dotFoot  = 18 // below

	dotRadius = 3.2
)

// dots is the figure of one workload: p50 and p99 of every strategy on every
// device, with their intervals and what a power cut lost.
func (r *Run) dots(workload string, groups []*group) *chart.Chart {
	groups = slices.DeleteFunc(slices.Clone(groups), func(g *group) bool {
		return !slices.ContainsFunc(g.cells, func(c *Cell) bool { return c.Commit.P50 != nil })
	})
	if len(groups) == 0 {
		return nil
	}
	rows := 0
	for _, g := range groups {
		rows += len(g.cells)
	}
	full := draw.GlyphStyle{Color: chart.Ink, Radius: dotRadius, Shape: draw.CircleGlyph{}}
	box := draw.GlyphStyle{Color: chart.Ink, Radius: dotRadius, Shape: draw.SquareGlyph{}}
	footer := nounIn(groups).title() + " latency from when it was due. Bars: 95% intervals over runs, where wider than the mark; they cover seeds, not model error. The pale line from p50 to p99 is no interval."
	if showsLosses(groups) {
		footer += " Lost: acknowledged commits lost by a power cut, on average."
	}
	fr := chart.Frame{
		Title:    workload + ": " + r.findings(groups, func(g *group) string { return g.device }),
		Subtitle: subtitle("p50 and p99", groups),
		Footer:   r.footer(footer + r.absent(groups)),
		Keys:     []chart.Key{{Name: "p50", Glyph: &full}, {Name: "p99", Glyph: &box}},
	}
	body := vg.Length(rows*dotRow + len(groups)*(dotGroup+dotGap) + dotHead + dotFoot)
	return fr.Chart(fileName("latency", workload), body, func(c draw.Canvas) { drawDots(c, groups) })
}

// maxAbsent bounds how many cells without a result a figure names.
const maxAbsent = 4

// absent names the cells of the groups that have no row, since they have no result.
func (r *Run) absent(groups []*group) string {
	var out []string
	for _, c := range r.Cells {
		if !c.usable() && slices.ContainsFunc(groups, func(g *group) bool { return g.device == c.Device && g.workload == c.Workload }) {
			out = append(out, c.Device+" "+c.Strategy+" ("+c.Status+")")
		}
	}
	if n := len(out); n > maxAbsent {
		out = append(out[:maxAbsent], fmt.Sprintf("%d more", n-maxAbsent))
	}
	if out == nil {
		return ""
	}
	return " Without a result: " + join(out) + "."
}

// findings says who wins where, those with the same outcome together.
func (r *Run) findings(groups []*group, where func(*group) string) string {
	var outcomes []string
	places := map[string][]string{}
	for _, g := range groups {
		o := r.outcome(g)
		if places[o] == nil {
			outcomes = append(outcomes, o)
		}
		places[o] = append(places[o], where(g))
	}
	for i, o := range outcomes {
		outcomes[i] = o + " on " + join(places[o])
	}
	return strings.Join(outcomes, "; ")
}

func (r *Run) outcome(g *group) string {
	v := r.verdictOn(g)
	switch {
	case v == nil:
		return "no verdict"
	case v.Winner != "":
		return v.Winner + " wins"
	case len(v.Tied) > 3:
		return fmt.Sprintf("%d strategies %s", len(v.Tied), tieVerb(v.Outcome))
	case len(v.Tied) > 0:
		return join(v.Tied) + " " + tieVerb(v.Outcome)
	}
	return "nothing is safe"
}

func drawDots(c draw.Canvas, groups []*group) {
	names, losses := dotColumns(groups)
	lo, hi := dotRange(groups)
	x := chart.Scale{Lo: lo, Hi: hi, From: c.Min.X + names + 10, To: c.Max.X - losses - 12}
	y := chart.Scale{Lo: 0, Hi: 1, From: c.Min.Y + dotFoot, To: c.Max.Y - dotHead}
	drawDotAxis(c, x, y)
	if showsLosses(groups) {
		c.FillText(chart.Aligned(chart.Letter(chart.SmallSize, chart.Faint), draw.XRight, draw.YBottom), vg.Point{X: c.Max.X, Y: y.To + 1}, lossTitle)
	}
	at := y.To
	for _, g := range groups {
		c.FillText(chart.Rightward(chart.Bold(chart.TextSize, chart.Ink)), vg.Point{X: c.Min.X, Y: at - dotGroup/2}, chart.Shorten(chart.Bold(chart.TextSize, chart.Ink), g.device, names))
		at -= dotGroup
		for _, cell := range g.cells {
			at -= dotRow
			cell.drawDot(c, x, at+dotRow/2)
		}
		at -= dotGap
	}
}

const lossTitle = "lost in a power cut"

// showsLosses reports whether the chart says what power cuts lost: of loads with
// commits.
func showsLosses(groups []*group) bool { return nounIn(groups) != operationNoun }

// dotColumns are the widths of the names at the left and the losses at the right.
func dotColumns(groups []*group) (names, losses vg.Length) {
	s := chart.Letter(chart.TextSize, chart.Ink)
	if showsLosses(groups) {
		losses = chart.Letter(chart.SmallSize, chart.Ink).Width(lossTitle)
	}
	for _, c := range cellsOf(groups) {
		names = max(names, s.Width(dotName(c)))
		losses = max(losses, s.Width(dotLoss(c)))
	}
	for _, g := range groups {
		names = max(names, chart.Bold(chart.TextSize, chart.Ink).Width(g.device))
	}
	return min(names, maxName), losses
}

func dotName(c *Cell) string {
	if !c.safe() {
		return c.Strategy + " (not durable)"
	}
	return c.Strategy
}

func dotLoss(c *Cell) string {
	if c.NoCommits {
		return ""
	}
	if !c.Durability.Measured() {
		return "not measured"
	}
	if c.Durability.CommitsLost == 0 && c.Durability.CommitsAtRisk > 0 {
		return "0, " + formatAverage(c.Durability.CommitsAtRisk, c.Durability.Cuts) + " at risk"
	}
	return formatAverage(c.Durability.CommitsLost, c.Durability.Cuts)
}

func dotRange(groups []*group) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	see := func(v int64) { lo, hi = min(lo, chart.Log10(float64(v))), max(hi, chart.Log10(float64(v))) }
	for _, c := range cellsOf(groups) {
		for _, v := range []*int64{c.Commit.P50, c.Commit.P99} {
			if v != nil {
				see(*v)
			}
		}
		if c.CI95 == nil {
			continue
		}
		for _, s := range []*Span{c.CI95.P50, c.CI95.P99} {
			if s != nil {
				see(s[0])
				see(s[1])
			}
		}
	}
	return chart.Padded(lo, hi, 0.06)
}

func drawDotAxis(c draw.Canvas, x, y chart.Scale) {
	s := chart.Centred(chart.Letter(chart.SmallSize, chart.Faint))
	for _, t := range chart.LogTicks(x.Lo, x.Hi) {
		at := x.At(t.At)
		if t.Label == "" {
			c.StrokeLine2(draw.LineStyle{Color: chart.Rule, Width: 0.5}, at, y.From, at, y.From+3)
			continue
		}
		c.StrokeLine2(draw.LineStyle{Color: chart.Rule, Width: 0.5}, at, y.From, at, y.To)
		c.FillText(s, vg.Point{X: at, Y: y.From - 3}, t.Label)
	}
	c.StrokeLine2(draw.LineStyle{Color: chart.Faint, Width: 0.7}, x.From, y.From, x.To, y.From)
}

func (c *Cell) drawDot(to draw.Canvas, x chart.Scale, y vg.Length) {
	l := lookOf(c.Strategy)
	ci := c.CI95
	if ci == nil {
		ci = new(CI95)
	}
	text := chart.Ink
	if !c.safe() {
		text = chart.Grey
	}
	to.FillText(chart.Rightward(chart.Letter(chart.TextSize, text)), vg.Point{X: to.Min.X + 8, Y: y}, dotName(c))
	to.FillText(chart.Leftward(chart.Letter(chart.TextSize, text)), vg.Point{X: to.Max.X, Y: y}, dotLoss(c))
	if c.Commit.P50 != nil && c.Commit.P99 != nil {
		thin := draw.LineStyle{Color: chart.Translucent(l.color), Width: 2}
		to.StrokeLine2(thin, x.At(chart.Log10(float64(*c.Commit.P50))), y, x.At(chart.Log10(float64(*c.Commit.P99))), y)
	}
	drawMark(to, x, y, c.Commit.P99, ci.P99, l, draw.SquareGlyph{})
	drawMark(to, x, y, c.Commit.P50, ci.P50, l, draw.CircleGlyph{})
}

// drawMark draws one percentile over its interval.
func drawMark(c draw.Canvas, x chart.Scale, y vg.Length, v *int64, s *Span, l look, shape draw.GlyphDrawer) {
	if v == nil {
		return
	}
	if s != nil {
		line := draw.LineStyle{Color: l.color, Width: 1}
		lo, hi := x.At(chart.Log10(float64(s[0]))), x.At(chart.Log10(float64(s[1])))
		c.StrokeLine2(line, lo, y, hi, y)
		if hi-lo > 2*dotRadius { // else the mark covers it
			c.StrokeLine2(line, lo, y-5, lo, y+5)
			c.StrokeLine2(line, hi, y-5, hi, y+5)
		}
	}
	c.DrawGlyph(draw.GlyphStyle{Color: chart.Paper, Radius: dotRadius, Shape: draw.CircleGlyph{}}, vg.Point{X: x.At(chart.Log10(float64(*v))), Y: y})
	c.DrawGlyph(draw.GlyphStyle{Color: l.color, Radius: dotRadius, Shape: shape}, vg.Point{X: x.At(chart.Log10(float64(*v))), Y: y})
}
