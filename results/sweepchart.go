package results

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

const (
	sweepHeight = 230 // of a row of panels
	// maxSweepRows is how many lines of one axis, of other values on the other axes, a
	// figure shows.
	maxSweepRows = 6
	sweepFoot    = 30 // room for the labels of a panel's lower axis, and its name
)

// sweepCharts are the figures of a sweep: for each axis, device and workload the
// latency and the rate along the axis, and for two axes a map of winners.
func (r *Run) sweepCharts() (out []*chart.Chart) {
	axes := r.axes()
	for i := range axes {
		a := &axes[i]
		if len(a.values) < 2 {
			continue
		}
		lines := r.linesAlong(a)
		for from := 0; from < len(lines); {
			to := from + 1
			for to < len(lines) && lines[to].of() == lines[from].of() {
				to++
			}
			if c := r.sweepChart(lines[from:to]); c != nil {
				out = append(out, c)
			}
			from = to
		}
	}
	if len(axes) == 2 && len(axes[0].values) > 1 && len(axes[1].values) > 1 {
		out = append(out, r.maps(axes)...)
	}
	return out
}

// of is the device and the workload of a line.
func (l *axisLine) of() [2]string { return [2]string{l.groups[0].device, l.groups[0].workload} }

// sweepChart is the figure of one device and workload along one axis, a row of panels
// for each line; nil where nothing was measured.
func (r *Run) sweepChart(lines []*axisLine) *chart.Chart {
	var shown []*axisLine
	var groups []*group
	for _, l := range lines {
		if slices.ContainsFunc(l.groups, func(g *group) bool { return slices.ContainsFunc(g.cells, (*Cell).usable) }) && len(shown) < maxSweepRows {
			shown, groups = append(shown, l), append(groups, l.groups...)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	first := shown[0]
	device, workload := first.groups[0].device, first.groups[0].workload
	title := device + ", " + workload
	if len(lines) == 1 {
		c := first.crossover(r)
		title += ": " + c.found(first.scale != nil)
	} else {
		title += " by " + axisName(first.name)
	}
	fr := chart.Frame{
		Title: title, Subtitle: subtitle(shortMetric(metricNames[r.decide()])+" of "+nounIn(groups).article()+", and "+nounIn(groups).many+" a second, by "+axisName(first.name), groups),
		Footer: r.footer("Marks are what was measured; a wide line has others on it. Bands: 95% intervals over runs; they cover seeds, not model error." + unsustainedNote(groups) + omittedNote(len(shown), len(lines))),
		Keys:   strategyKeys(usableOf(groups)),
	}
	return fr.Chart(fileName("sweep", first.name, device, workload), vg.Length(len(shown)*sweepHeight), func(c draw.Canvas) { r.drawSweep(c, shown) })
}

// usableOf are the groups with their usable cells.
func usableOf(groups []*group) (out []*group) {
	for _, g := range groups {
		one := *g
		one.cells = slices.DeleteFunc(slices.Clone(g.cells), func(c *Cell) bool { return !c.usable() })
		out = append(out, &one)
	}
	return out
}

func unsustainedNote(groups []*group) string {
	if slices.ContainsFunc(cellsOf(groups), func(c *Cell) bool { return c.Status == StatusUnsustained }) {
		return " Hollow marks: the device does not keep up with the rate; latency, which grows with the run, is not shown there."
	}
	return ""
}

func omittedNote(shown, all int) string {
	if shown == all {
		return ""
	}
	return fmt.Sprintf(" %d of %d lines are shown.", shown, all)
}

// trace is one strategy along an axis, in one panel: y is the logarithm of what is
// shown.
type trace struct {
	look   look
	x      []float64
	y      []float64
	lo, hi []float64 // NaN where there is no interval
	hollow []bool
}

// place is where values of the axis stand on it.
type place struct {
	at  map[string]float64
	log bool
}

// places puts numbers where they belong, on a logarithmic scale where they are evener
// there, and others side by side.
func (a *axis) places() place {
	p := place{at: map[string]float64{}}
	p.log = a.multiplies()
	for i, v := range a.values {
		switch {
		case a.scale == nil:
			p.at[v] = float64(i)
		case p.log:
			p.at[v] = math.Log10(a.scale[i])
		default:
			p.at[v] = a.scale[i]
		}
	}
	return p
}

// multiplies reports whether the steps from value to value are more alike as factors
// than as differences.
func (a *axis) multiplies() bool {
	sorted := slices.Sorted(slices.Values(a.scale))
	if len(sorted) < 2 || sorted[0] <= 0 {
		return false
	}
	if len(sorted) == 2 {
		return sorted[1] >= 4*sorted[0]
	}
	var steps, factors []float64
	for i, v := range sorted[1:] {
		steps, factors = append(steps, v-sorted[i]), append(factors, math.Log(v/sorted[i]))
	}
	uneven := func(x []float64) float64 { s := summed(x); return math.Sqrt(s.variance) / s.mean }
	return uneven(factors) < uneven(steps)
}

// traces are those of the line's strategies. Value reads a cell; ok is false where it has
// nothing to show.
func (l *axisLine) traces(p place, value func(c *Cell) (v float64, span *Ratio, ok bool)) (out []*trace) {
	var names []string
	for _, g := range l.groups {
		for _, c := range g.cells {
			if !c.usable() && c.Status != StatusUnsustained {
				continue
			}
			v, span, ok := value(c)
			if !ok || v <= 0 {
				continue
			}
			i := slices.Index(names, c.Strategy)
			if i < 0 {
				i = len(names)
				names, out = append(names, c.Strategy), append(out, &trace{look: lookOf(c.Strategy)})
			}
			lo, hi := math.NaN(), math.NaN()
			if span != nil && span[0] > 0 {
				lo, hi = math.Log10(span[0]), math.Log10(span[1])
			}
			t := out[i]
			t.x, t.y = append(t.x, p.at[c.At.On(l.name)]), append(t.y, math.Log10(v))
			t.lo, t.hi, t.hollow = append(t.lo, lo), append(t.hi, hi), append(t.hollow, c.Status == StatusUnsustained)
		}
	}
	return out
}

// latencyOf is the metric that decides, in ns. That of a cell that does not keep up
// grows with its run, and is nothing to show.
func latencyOf(m metric) func(c *Cell) (float64, *Ratio, bool) {
	return func(c *Cell) (float64, *Ratio, bool) {
		v := c.at(m)
		if v == nil || c.Status == StatusUnsustained {
			return 0, nil, false
		}
		if c.CI95 == nil {
			return float64(*v), nil, true
		}
		s := [numMetrics]*Span{c.CI95.Mean, c.CI95.P50, c.CI95.P90, c.CI95.P99}[m]
		if s == nil {
			return float64(*v), nil, true
		}
		return float64(*v), &Ratio{float64(s[0]), float64(s[1])}, true
	}
}

// commitRate is the commits that were done a second.
func commitRate(c *Cell) (float64, *Ratio, bool) {
	if c.Rates == nil {
		return 0, nil, false
	}
	get := func(r *Rates) float64 { return r.Commits }
	return c.Rates.Commits, c.RateInterval(get), true
}

// drawSweep draws a row of panels for each line: latency left, rate right.
func (r *Run) drawSweep(c draw.Canvas, lines []*axisLine) {
	p := lines[0].places()
	m := r.decide()
	var left, right [][]*trace
	for _, l := range lines {
		left, right = append(left, l.traces(p, latencyOf(m))), append(right, l.traces(p, commitRate))
	}
	l0, l1 := traceRange(left)
	r0, r1 := traceRange(right)
	parts := chart.Panels(c, 2*len(lines), 2, 18, 14)
	for i, l := range lines {
		where := ""
		if len(l.at) > 0 {
			where = l.at.String() + ": "
		}
		latency := panel{axisLine: l, place: p, traces: left[i], lo: l0, hi: l1, ticks: chart.LogTicks(l0, l1), title: where + shortMetric(metricNames[m]) + " of " + nounIn(l.groups).article()}
		latency.draw(parts[2*i])
		rate := panel{axisLine: l, place: p, traces: right[i], lo: r0, hi: r1, ticks: chart.CountTicks(r0, r1), title: nounIn(l.groups).many + " a second", asked: l.name == axisRate && l.scale != nil}
		rate.draw(parts[2*i+1])
	}
}

// axisRate is the axis of which the panel of rates shows what was asked.
const axisRate = "rate"

// traceRange is common to the panels of a column, so that they compare.
func traceRange(all [][]*trace) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, traces := range all {
		for _, t := range traces {
			for i, y := range t.y {
				lo, hi = min(lo, y), max(hi, y)
				if !math.IsNaN(t.lo[i]) {
					lo, hi = min(lo, t.lo[i]), max(hi, t.hi[i])
				}
			}
		}
	}
	if math.IsInf(lo, 1) {
		return 0, 1
	}
	return chart.Padded(lo, hi, 0.06)
}

// panel is one panel along an axis.
type panel struct {
	*axisLine
	place  place
	traces []*trace
	lo, hi float64
	ticks  []chart.Tick
	title  string
	asked  bool // draw what was asked, which is the axis itself
}

func (p *panel) draw(c draw.Canvas) {
	c = chart.DrawText(c, chart.Bold(chart.TextSize, chart.Ink), p.title, 1)
	c.Max.Y -= 2
	x0, x1 := math.Inf(1), math.Inf(-1)
	for _, at := range p.place.at {
		x0, x1 = min(x0, at), max(x1, at)
	}
	x0, x1 = chart.Padded(x0, x1, 0.05)
	x := chart.Scale{Lo: x0, Hi: x1, From: c.Min.X + labelWidth(p.ticks) + 5, To: c.Max.X}
	y := chart.Scale{Lo: p.lo, Hi: p.hi, From: c.Min.Y + sweepFoot, To: c.Max.Y - 4}
	drawTimeAxis(c, x, y, p.ticks)
	p.drawAxis(c, x, y)
	if p.asked {
		p.drawAsked(c, x, y)
	}
	for _, t := range p.traces {
		t.drawBand(c, x, y)
	}
	for i, t := range p.traces {
		t.drawLine(c, x, y, p.traces[i+1:])
	}
}

// sameLine is how near two values are, on the scale of log10, whose marks are one.
const sameLine = 0.01

// hiddenBy reports whether the marks from one to another, of the trace's own, are under
// those of another trace.
func (t *trace) hiddenBy(o *trace, from, to int) bool {
	for i := from; i <= to; i++ {
		k := slices.Index(o.x, t.x[i])
		if k < 0 || math.Abs(o.y[k]-t.y[i]) > sameLine {
			return false
		}
	}
	return true
}

// mostWide is how many lines over another one make it wider.
const mostWide = 2

// over is how many traces are on the trace's own marks, as the width that they need.
func (t *trace) over(later []*trace, from, to int) (n vg.Length) {
	for _, o := range later {
		if n < mostWide && t.hiddenBy(o, from, to) {
			n++
		}
	}
	return n
}

// drawAxis draws the lower axis, with a tick at each value that was measured.
func (p *panel) drawAxis(c draw.Canvas, x, y chart.Scale) {
	small := chart.Letter(chart.SmallSize, chart.Faint)
	style := chart.Centred(small)
	values := slices.SortedStableFunc(slices.Values(p.values), func(a, b string) int { return cmp.Compare(p.place.at[a], p.place.at[b]) })
	taken := vg.Length(math.Inf(-1))
	for _, v := range values {
		at, label := x.At(p.place.at[v]), p.tickLabel(v)
		c.StrokeLine2(draw.LineStyle{Color: chart.Rule, Width: 0.5}, at, y.From, at, y.To)
		half := small.Width(label) / 2
		if at-half < taken+3 {
			continue
		}
		c.FillText(style, vg.Point{X: at, Y: y.From - 3}, label)
		taken = at + half
	}
	c.StrokeLine2(draw.LineStyle{Color: chart.Faint, Width: 0.7}, x.From, y.From, x.To, y.From)
	c.FillText(style, vg.Point{X: (x.From + x.To) / 2, Y: y.From - 15}, p.axisTitle())
}

// tickLabel is a value of the axis without what all share.
func (p *panel) tickLabel(value string) string {
	if p.scale != nil {
		value, _, _ = strings.Cut(value, ",") // of links of one bandwidth, the latency
		value = strings.TrimSuffix(value, perSecond)
	}
	return value
}

func (p *panel) axisTitle() string {
	name := axisName(p.name)
	_, bandwidth, isLink := strings.Cut(p.values[0], ",")
	switch {
	case p.scale != nil && isLink:
		name += ", one way, of " + bandwidth
	case p.scale != nil && strings.HasSuffix(p.values[0], perSecond):
		name += " a second"
	}
	return name
}

// askedSteps is how many parts the line of what was asked has.
const askedSteps = 200

// drawAsked draws where what was done is what was asked.
func (p *panel) drawAsked(c draw.Canvas, x, y chart.Scale) {
	var points []vg.Point
	for i := range askedSteps + 1 {
		at := x.Lo + (x.Hi-x.Lo)*float64(i)/askedSteps
		asked := at
		if !p.place.log {
			asked = math.Log10(max(at, 1e-9))
		}
		if asked >= y.Lo && asked <= y.Hi {
			points = append(points, vg.Point{X: x.At(at), Y: y.At(asked)})
		}
	}
	if len(points) < 2 {
		return
	}
	c.StrokeLines(draw.LineStyle{Color: chart.Grey, Width: 0.8, Dashes: []vg.Length{1, 2}}, points)
	end := points[len(points)-1]
	c.FillText(chart.Aligned(chart.Letter(chart.SmallSize-1, chart.Faint), draw.XRight, draw.YTop), vg.Point{X: end.X - 4, Y: end.Y}, "as asked")
}

func (t *trace) drawBand(c draw.Canvas, x, y chart.Scale) {
	var upper, lower []vg.Point
	fill := func() {
		if len(upper) > 1 {
			slices.Reverse(lower)
			c.FillPolygon(chart.Translucent(t.look.color), slices.Concat(upper, lower))
		}
		upper, lower = nil, nil
	}
	for i := range t.x {
		if math.IsNaN(t.lo[i]) {
			fill()
			continue
		}
		upper = append(upper, vg.Point{X: x.At(t.x[i]), Y: y.At(t.hi[i])})
		lower = append(lower, vg.Point{X: x.At(t.x[i]), Y: y.At(t.lo[i])})
	}
	fill()
}

const sweepRadius = 2.4

// drawLine draws the line and its marks, wider where later traces are on them.
func (t *trace) drawLine(c draw.Canvas, x, y chart.Scale, later []*trace) {
	var points []vg.Point
	for i := range t.x {
		points = append(points, vg.Point{X: x.At(t.x[i]), Y: y.At(t.y[i])})
	}
	if len(points) > 1 {
		c.StrokeLines(t.look.line(1.6), points)
	}
	for i := range max(len(points)-1, 0) {
		if n := t.over(later, i, i+1); n > 0 {
			c.StrokeLines(t.look.line(1.6+1.4*n), points[i:i+2])
		}
	}
	for i, p := range points {
		radius := sweepRadius + 0.7*t.over(later, i, i)
		c.DrawGlyph(draw.GlyphStyle{Color: chart.Paper, Radius: radius, Shape: draw.CircleGlyph{}}, p)
		shape := draw.GlyphDrawer(draw.CircleGlyph{})
		if t.hollow[i] {
			shape = draw.RingGlyph{}
		}
		c.DrawGlyph(draw.GlyphStyle{Color: t.look.color, Radius: radius, Shape: shape}, p)
	}
}
