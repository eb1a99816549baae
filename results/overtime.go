package results

import (
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

const (
	overTimeHeight = 120
	// leastIntervals is the fewest that make a line.
	leastIntervals = 3
	heatRows       = 48 // of boxes, one above the other, in each interval
)

// overTime is the figure of one device: the latencies of the first run of each cell by
// when the commits were due, as lines of percentiles, over a heat map.
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
		Footer:   r.footer("Each interval is of the " + nounIn(groups).many + " that were due in it; its percentiles are good to 3%. Boxes: the darker, the more of them had that latency then."),
		Keys:     []chart.Key{{Name: "p50", Line: line(lineP50)}, {Name: "p99", Line: line(lineP99)}, {Name: "slowest", Line: line(lineMax)}},
	}
	rows := (len(shown) + 1) / 2
	return fr.Chart(fileName("overtime", device), vg.Length(rows*overTimeHeight), func(c draw.Canvas) {
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, cell := range shown {
			for _, v := range cell.runs[0].Intervals {
				if v.Count > 0 {
					lo, hi = min(lo, chart.Log10(float64(v.P50))), max(hi, chart.Log10(float64(v.Max)))
				}
				if len(v.Latencies) > 0 {
					lo = min(lo, chart.Log10(float64(v.Latencies[0].Latency)))
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

// heatColumn is how many commits of an interval are in each row of boxes.
type heatColumn [heatRows]int64

// heat counts an interval's commits by row; y is the scale of the logarithm of latency.
func (v *Interval) heat(y chart.Scale) (column heatColumn) {
	for _, k := range v.Latencies {
		j := int((chart.Log10(float64(k.Latency)) - y.Lo) / (y.Hi - y.Lo) * heatRows)
		column[min(max(j, 0), heatRows-1)] += int64(k.Count)
	}
	return column
}

// drawHeat draws how many commits had which latency when.
func (r *RunResult) drawHeat(c draw.Canvas, x, y chart.Scale, ink color.RGBA) {
	columns, most := make([]heatColumn, len(r.Intervals)), int64(0)
	for i := range r.Intervals {
		columns[i] = r.Intervals[i].heat(y)
		most = max(most, slices.Max(columns[i][:]))
	}
	row := func(j int) vg.Length { return y.From + vg.Length(j)*(y.To-y.From)/heatRows }
	for i := range r.Intervals {
		v := &r.Intervals[i]
		from, to := x.At(v.Start.Seconds()), x.At((v.Start + v.Width).Seconds())
		for j, n := range columns[i] {
			if n == 0 {
				continue
			}
			shade := 0x20 + int(0x90*math.Log1p(float64(n))/math.Log1p(float64(most)))
			c.FillPolygon(color.NRGBA{ink.R, ink.G, ink.B, uint8(shade)}, chart.Corners(vg.Rectangle{
				Min: vg.Point{X: from, Y: row(j)}, Max: vg.Point{X: to, Y: row(j + 1)},
			}))
		}
	}
}
