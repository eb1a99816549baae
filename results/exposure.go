package results

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
	"nbdbench/sim"
)

// Exposed is what was at risk at one power cut: acknowledged data that is not
// durable, and commits that the worst legal image would not have.
type Exposed struct {
	At      sim.Duration `json:"at_ns"` // since the window began
	Bytes   int64        `json:"bytes"`
	Commits int64        `json:"commits"`
}

// MaxExposed bounds the instants of a cell that are kept; of more cuts, every
// so many-th is.
const MaxExposed = 64

// Expose takes down what was at risk at a cut. Cuts come in the order of time.
func (d *Durability) Expose(e Exposed) {
	if len(d.Exposure) == 2*MaxExposed {
		for i := range MaxExposed {
			d.Exposure[i] = d.Exposure[2*i+1]
		}
		d.Exposure = d.Exposure[:MaxExposed]
	}
	d.Exposure = append(d.Exposure, e)
}

// thinned is at most MaxExposed of the instants.
func thinned(e []Exposed) []Exposed {
	step := (len(e) + MaxExposed - 1) / MaxExposed
	if step < 2 {
		return e
	}
	var out []Exposed
	for i := step - 1; i < len(e); i += step {
		out = append(out, e[i])
	}
	return out
}

const (
	exposureHeight = 130
	exposureAxis   = 46 // room for the labels of a panel's left axis
	exposureFoot   = 16
)

// exposure is the figure of one device: for each workload bytes and commits at
// risk over time.
func (r *Run) exposure(device string, groups []*group) *chart.Chart {
	var shown []*group
	for _, g := range groups {
		cells := slices.DeleteFunc(slices.Clone(g.cells), func(c *Cell) bool { return c.Durability == nil || len(c.Durability.Exposure) < 2 })
		if len(cells) > 0 {
			one := *g
			one.cells = cells
			shown = append(shown, &one)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	fr := chart.Frame{
		Title:    device + ": " + exposureFinding(shown),
		Subtitle: subtitle("what a power cut could lose, at each of the cuts of the first run", shown),
		Footer:   r.footer("Left: acknowledged bytes that were not durable. Right: commits that the worst legal image does not have. Both axes are logarithmic, with 0 below 1."),
		Keys:     strategyKeys(shown),
	}
	return fr.Chart(fileName("exposure", device), vg.Length(len(shown)*exposureHeight), func(c draw.Canvas) { drawExposure(c, shown) })
}

// exposureFinding says which strategies had commits at risk.
func exposureFinding(groups []*group) string {
	var risky []string
	for _, c := range cellsOf(groups) {
		if c.Durability.CommitsAtRisk > 0 && !slices.Contains(risky, c.Strategy) {
			risky = append(risky, c.Strategy)
		}
	}
	if len(risky) == 0 {
		return "no commit was ever at risk"
	}
	return "commits were at risk under " + join(risky)
}

func drawExposure(c draw.Canvas, groups []*group) {
	parts := chart.Panels(c, 2*len(groups), 2, 14, 8)
	for i, g := range groups {
		drawRisk(parts[2*i], g, g.workload+": bytes at risk", func(e *Exposed) int64 { return e.Bytes })
		drawRisk(parts[2*i+1], g, "commits at risk", func(e *Exposed) int64 { return e.Commits })
	}
}

// drawRisk draws one panel: a step line for each strategy.
func drawRisk(c draw.Canvas, g *group, title string, value func(*Exposed) int64) {
	c = chart.DrawText(c, chart.Bold(chart.TextSize, chart.Ink), title, 1)
	t0, t1, most := math.Inf(1), math.Inf(-1), 1.0
	for _, cell := range g.cells {
		for i := range cell.Durability.Exposure {
			e := &cell.Durability.Exposure[i]
			t0, t1 = min(t0, chart.Log10(float64(e.At))), max(t1, chart.Log10(float64(e.At)))
			most = max(most, level(value(e)))
		}
	}
	t0, t1 = chart.Padded(t0, t1, 0.02)
	x := chart.Scale{Lo: t0, Hi: t1, From: c.Min.X + exposureAxis, To: c.Max.X - 4}
	y := chart.Scale{Lo: -0.15, Hi: math.Ceil(most) + 0.1, From: c.Min.Y + exposureFoot, To: c.Max.Y - 4}
	drawRiskAxes(c, x, y)
	for _, cell := range g.cells {
		points := slices.Clone(cell.Durability.Exposure)
		slices.SortStableFunc(points, func(a, b Exposed) int { return cmp.Compare(a.At, b.At) })
		var line []vg.Point
		for i := range points {
			at := vg.Point{X: x.At(chart.Log10(float64(points[i].At))), Y: y.At(level(value(&points[i])))}
			if n := len(line); n > 0 {
				line = append(line, vg.Point{X: at.X, Y: line[n-1].Y})
			}
			line = append(line, at)
		}
		c.StrokeLines(lookOf(cell.Strategy).line(1.5), line)
	}
}

// level is where a number stands on the axis: 0 at 0, 1 at 1, and a decade
// higher each.
func level(v int64) float64 {
	if v <= 0 {
		return 0
	}
	return 1 + math.Log10(float64(v))
}

func drawRiskAxes(c draw.Canvas, x, y chart.Scale) {
	label := chart.Letter(chart.SmallSize, chart.Faint)
	grid := draw.LineStyle{Color: chart.Rule, Width: 0.5}
	step := max(1, int(math.Ceil(y.Hi/5)))
	for v := 0; float64(v) < y.Hi; v += step {
		at := y.At(float64(v))
		c.StrokeLine2(grid, x.From, at, x.To, at)
		c.FillText(chart.Aligned(label, draw.XRight, draw.YCenter), vg.Point{X: x.From - 4, Y: at}, levelName(v))
	}
	for _, t := range chart.LogTicks(x.Lo, x.Hi) {
		if t.At < x.Lo || t.At > x.Hi {
			continue
		}
		c.StrokeLine2(grid, x.At(t.At), y.From, x.At(t.At), y.To)
		if t.Label != "" {
			c.FillText(chart.Aligned(label, draw.XCenter, draw.YTop), vg.Point{X: x.At(t.At), Y: y.From - 2}, t.Label)
		}
	}
}

// levelName is the number at a level: 0, 1, 10, 100, 1k.
func levelName(v int) string {
	if v == 0 {
		return "0"
	}
	unit := (v - 1) / 3
	return fmt.Sprintf("%.0f%s", math.Pow10((v-1)%3), [...]string{"", "k", "M", "G", "T", "P", "E"}[unit])
}
