package results

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

const (
	overTimeHeight = 120
	// leastIntervals is the fewest that make a line.
	leastIntervals = 3
	// The grid of the heat map; a cell of it is one box.
	heatColumns = 60
	heatRows    = 24
)

// overTime is the figure of one device: the latencies of the first run of each cell by
// when the commits were due, as lines of percentiles, over a heat map where every commit
// was kept.
func (r *Run) overTime(device string, groups []*group) *chart.Chart {
	var shown []*Cell
	for _, c := range cellsOf(groups) {
		if len(c.runs) > 0 && len(c.runs[0].Intervals) >= leastIntervals {
			shown = append(shown, c)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	line := func(m overTimeLine) *draw.LineStyle { s := m.style(chart.Ink); return &s }
	fr := chart.Frame{
		Title:    device + ": latency over the first run",
		Subtitle: subtitle(nounIn(groups).many+" by when they were due", groups),
		Footer:   r.footer("Each interval is of the " + nounIn(groups).many + " that were due in it; its percentiles are good to 3%. Boxes, where all were stored (--raw): the darker, the more."),
		Keys:     []chart.Key{{Name: "p50", Line: line(lineP50)}, {Name: "p99", Line: line(lineP99)}, {Name: "slowest", Line: line(lineMax)}},
	}
	rows := (len(shown) + 1) / 2
	return fr.Chart(fileName("overtime", device), vg.Length(rows*overTimeHeight), func(c draw.Canvas) {
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, cell := range shown {
			for _, k := range cell.runs[0].Raw {
				lo = min(lo, chart.Log10(float64(k.Acked-k.Due)))
			}
			for _, v := range cell.runs[0].Intervals {
				if v.Count > 0 {
					lo, hi = min(lo, chart.Log10(float64(v.P50))), max(hi, chart.Log10(float64(v.Max)))
				}
			}
		}
		lo, hi = chart.Padded(lo, hi, 0.06)
		for i, p := range chart.Panels(c, len(shown), 2, 16, 8) {
			shown[i].drawOverTime(p, lo, hi)
		}
	})
}

// overTimeLine is one of the lines, and how it is drawn.
type overTimeLine int

const (
	lineP50 overTimeLine = iota
	lineP99
	lineMax
	numLines
)

func (l overTimeLine) style(c color.Color) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: [numLines]vg.Length{1.5, 1, 0.7}[l], Dashes: [numLines][]vg.Length{nil, {4, 2}, {1, 2}}[l]}
}

func (l overTimeLine) of(v *Interval) float64 {
	return float64([numLines]int64{int64(v.P50), int64(v.P99), int64(v.Max)}[l])
}

func (c *Cell) drawOverTime(to draw.Canvas, lo, hi float64) {
	title := chart.Bold(chart.SmallSize, chart.Ink)
	to = chart.DrawText(to, title, chart.Shorten(title, c.Workload+", "+c.Strategy, to.Max.X-to.Min.X), 1)
	run := c.runs[0]
	last := &run.Intervals[len(run.Intervals)-1]
	ticks := chart.LogTicks(lo, hi)
	x := chart.Scale{Lo: 0, Hi: (last.Start + last.Width).Seconds(), From: to.Min.X + labelWidth(ticks) + 5, To: to.Max.X - 4}
	y := chart.Scale{Lo: lo, Hi: hi, From: to.Min.Y + 14, To: to.Max.Y - 3}
	run.drawHeat(to, x, y, lookOf(c.Strategy).color)
	drawTimeAxis(to, x, y, ticks)
	drawSeconds(to, x, y)
	for l := range numLines {
		var line []vg.Point
		for i := range run.Intervals {
			v := &run.Intervals[i]
			if v.Count == 0 {
				continue
			}
			at := y.At(chart.Log10(l.of(v)))
			line = append(line, vg.Point{X: x.At(v.Start.Seconds()), Y: at}, vg.Point{X: x.At((v.Start + v.Width).Seconds()), Y: at})
		}
		to.StrokeLines(l.style(lookOf(c.Strategy).color), line)
	}
}

// drawSeconds draws the axis of time.
func drawSeconds(c draw.Canvas, x, y chart.Scale) {
	label := chart.Centred(chart.Letter(chart.SmallSize, chart.Faint))
	step := math.Pow10(int(math.Floor(math.Log10(x.Hi))))
	if x.Hi/step < 3 {
		step /= 2
	}
	for i := 0; float64(i)*step <= x.Hi*0.97; i++ {
		v := math.Round(float64(i)*step*1e6) / 1e6
		c.StrokeLine2(draw.LineStyle{Color: chart.Rule, Width: 0.5}, x.At(v), y.From, x.At(v), y.From-2)
		c.FillText(label, vg.Point{X: x.At(v), Y: y.From - 3}, strconv.FormatFloat(v, 'f', -1, 64)+" s")
	}
	c.StrokeLine2(draw.LineStyle{Color: chart.Faint, Width: 0.7}, x.From, y.From, x.To, y.From)
}

// drawHeat draws how many commits had which latency when, if every commit was kept.
func (r *RunResult) drawHeat(c draw.Canvas, x, y chart.Scale, ink color.RGBA) {
	if len(r.Raw) == 0 {
		return
	}
	var count [heatColumns][heatRows]int
	most := 0
	for _, k := range r.Raw {
		i := min(int(k.Due.Seconds()/x.Hi*heatColumns), heatColumns-1)
		j := int((chart.Log10(float64(k.Acked-k.Due)) - y.Lo) / (y.Hi - y.Lo) * heatRows)
		if i < 0 || j < 0 || j >= heatRows {
			continue
		}
		count[i][j]++
		most = max(most, count[i][j])
	}
	for i := range count {
		for j, n := range count[i] {
			if n == 0 {
				continue
			}
			shade := 0x20 + int(0x90*math.Log1p(float64(n))/math.Log1p(float64(most)))
			fill := color.NRGBA{ink.R, ink.G, ink.B, uint8(shade)}
			edge := func(s chart.Scale, k, of int) vg.Length { return s.From + vg.Length(k)*(s.To-s.From)/vg.Length(of) }
			c.FillPolygon(fill, chart.Corners(vg.Rectangle{
				Min: vg.Point{X: edge(x, i, heatColumns), Y: edge(y, j, heatRows)},
				Max: vg.Point{X: edge(x, i+1, heatColumns), Y: edge(y, j+1, heatRows)},
			}))
		}
	}
}
