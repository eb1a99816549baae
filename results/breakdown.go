package results

import (
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

// stageNames and stageColors are in the order of devices.Stage, and all proxies after them.
var (
	stageNames = [numParts]string{
		"client queue", "link", "server", "device queue", "cache", "media (own data)", "flush of others' data", "proxies",
	}
	stageColors = [numParts]color.RGBA{chart.Orange, chart.Sky, chart.Green, chart.Yellow, chart.Blue, chart.Purple, chart.Vermilion, chart.Grey}
)

const (
	barRow   = 24
	barTitle = 22 // a workload's name
	barGap   = 12 // between workloads
)

// breakdown is the figure of one device: for each workload where a commit's
// time goes, as time and as shares.
func (r *Run) breakdown(device string, groups []*group) *chart.Chart {
	rows := 0
	var shown []*group
	for _, g := range groups {
		seen := slices.DeleteFunc(slices.Clone(g.cells), func(c *Cell) bool { return c.BreakdownNS == nil || *c.Commit.Mean == 0 })
		if len(seen) > 0 {
			rows += len(seen)
			shown = append(shown, &group{device: g.device, workload: g.workload, decide: g.decide, cells: seen})
		}
	}
	if len(shown) == 0 {
		return nil
	}
	fr := chart.Frame{
		Title:    device + ": where the time of " + nounIn(shown).article() + " goes",
		Subtitle: subtitle("mean of "+nounIn(shown).article(), shown),
		Footer:   r.footer("Left: mean time of " + nounIn(shown).article() + " along its critical path, linear. Right: the same, each " + nounIn(shown).one + " as 100%."),
		Keys:     stageKeys(shown),
	}
	body := vg.Length(rows*barRow + len(shown)*(barTitle+barGap))
	return fr.Chart(fileName("breakdown", device), body, func(c draw.Canvas) { drawBreakdown(c, shown) })
}

// stageKeys are the stages that take any time.
func stageKeys(groups []*group) []chart.Key {
	var keys []chart.Key
	for i, n := range stageNames {
		if slices.ContainsFunc(cellsOf(groups), func(c *Cell) bool { return c.BreakdownNS.values()[i] > 0 }) {
			keys = append(keys, chart.Key{Name: n, Box: stageColors[i]})
		}
	}
	return keys
}

func drawBreakdown(c draw.Canvas, groups []*group) {
	var names, totals vg.Length
	for _, cell := range cellsOf(groups) {
		names = max(names, chart.Letter(chart.TextSize, chart.Ink).Width(dotName(cell)))
		totals = max(totals, chart.Letter(chart.TextSize, chart.Ink).Width(formatNS(*cell.Commit.Mean)))
	}
	middle := c.Min.X + names + 8 + (c.Max.X-c.Min.X-names)*0.6
	left := chart.Scale{Lo: 0, Hi: 1, From: c.Min.X + names + 8, To: middle - totals - 12}
	right := chart.Scale{Lo: 0, Hi: 1, From: middle, To: c.Max.X}
	at := c.Max.Y
	for _, g := range groups {
		c.FillText(chart.Bold(chart.TextSize+0.5, chart.Ink), vg.Point{X: c.Min.X, Y: at - 4}, g.workload+": "+g.mainCost())
		at -= barTitle
		left.Hi = float64(g.longest())
		for _, cell := range g.cells {
			cell.drawBars(c, left, right, at)
			at -= barRow
		}
		at -= barGap
	}
}

func (g *group) longest() (ns int64) {
	for _, c := range g.cells {
		ns = max(ns, *c.Commit.Mean)
	}
	return ns
}

// mainCost is the finding: which strategies take longest, within the margin,
// and what the slowest spends most of its time on.
func (g *group) mainCost() string {
	slowest := slices.MaxFunc(g.cells, func(a, b *Cell) int { return int(min(max(*a.Commit.Mean-*b.Commit.Mean, -1), 1)) })
	var slow []string
	for _, c := range g.cells {
		if float64(*slowest.Commit.Mean) <= (1+Margin)*float64(*c.Commit.Mean) {
			slow = append(slow, c.Strategy)
		}
	}
	best, v := 0, slowest.BreakdownNS.values()
	for i := range v {
		if v[i] > v[best] {
			best = i
		}
	}
	verb := "take"
	if len(slow) == 1 {
		verb = "takes"
	}
	return fmt.Sprintf("%s %s longest, %s of it %s", join(slow), verb, percent(v[best], *slowest.Commit.Mean), stageNames[best])
}

// drawBars draws a row: the name, the time with its total, the shares.
func (c *Cell) drawBars(to draw.Canvas, left, right chart.Scale, top vg.Length) {
	text := chart.Ink
	if !c.safe() {
		text = chart.Grey
	}
	y := top - barRow/2 + 4
	to.FillText(chart.Leftward(chart.Letter(chart.TextSize, text)), vg.Point{X: left.From - 6, Y: y}, dotName(c))
	end := c.drawStack(to, left, y, 1)
	to.FillText(chart.Rightward(chart.Letter(chart.TextSize, text)), vg.Point{X: end + 4, Y: y}, formatNS(*c.Commit.Mean))
	c.drawStack(to, right, y, float64(*c.Commit.Mean))
}

// drawStack draws the stages end to end, each divided by unit, and names the
// share in those that have room for it where they are shares.
func (c *Cell) drawStack(to draw.Canvas, x chart.Scale, y vg.Length, unit float64) vg.Length {
	s := chart.Aligned(chart.Letter(chart.SmallSize-0.5, chart.Paper), draw.XCenter, draw.YCenter)
	var sum int64
	for i, v := range c.BreakdownNS.values() {
		if v == 0 {
			continue
		}
		from, end := x.At(float64(sum)/unit), x.At(float64(sum+v)/unit)
		sum += v
		to.FillPolygon(stageColors[i], chart.Corners(vg.Rectangle{Min: vg.Point{X: from, Y: y - 7}, Max: vg.Point{X: end, Y: y + 7}}))
		label := percent(v, *c.Commit.Mean)
		if unit != 1 && end-from > s.Width(label)+4 {
			s.Color = readable(stageColors[i])
			to.FillText(s, vg.Point{X: (from + end) / 2, Y: y}, label)
		}
	}
	return x.At(float64(sum) / unit)
}

// readable is black or white, whichever stands out from c.
func readable(c color.RGBA) color.Color {
	if 299*int(c.R)+587*int(c.G)+114*int(c.B) > 128_000 {
		return chart.Ink
	}
	return chart.Paper
}
