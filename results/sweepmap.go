package results

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

const (
	mapRow  = 34
	mapFoot = 32
	mapMost = 24 // values of an axis that a map has room for
)

// maps are the maps of winners of a sweep of two axes, one for each device and workload:
// the first axis goes to the right, the second upwards.
func (r *Run) maps(axes []axis) (out []*chart.Chart) {
	if len(axes[0].values) > mapMost || len(axes[1].values) > mapMost {
		return nil
	}
	byName := map[[2]string]int{}
	var all [][]*group
	for _, g := range r.groups() {
		name := [2]string{g.device, g.workload}
		i, ok := byName[name]
		if !ok {
			i = len(all)
			byName[name], all = i, append(all, nil)
		}
		all[i] = append(all[i], g)
	}
	for _, groups := range all {
		out = append(out, r.winnerMap(axes, groups))
	}
	return out
}

func (r *Run) winnerMap(axes []axis, groups []*group) *chart.Chart {
	device, workload := groups[0].device, groups[0].workload
	m := winners{r, &axes[0], &axes[1], groups}
	fr := chart.Frame{
		Title:    fmt.Sprintf("%s, %s: %s", device, workload, m.title()),
		Subtitle: subtitle("the strategy that wins, and its "+shortMetric(metricNames[r.decide()]), groups),
		Footer:   r.footer("Boxes of several colours: these strategies tie or, if the box is pale, are not separated. Grey: no verdict. Only what was measured has a box."),
		Keys:     m.keys(),
	}
	return fr.Chart(fileName("sweep", axes[0].name, axes[1].name, device, workload), vg.Length(len(axes[1].values)*mapRow+mapFoot), m.draw)
}

// winners is a map of who wins.
type winners struct {
	run    *Run
	x, y   *axis
	groups []*group
}

// first are the strategies that win or tie in a group.
func (m *winners) first(g *group) ([]string, string) {
	v := m.run.verdictOn(g)
	switch {
	case v == nil:
		return nil, OutcomeWithheld
	case v.Winner != "":
		return []string{v.Winner}, v.Outcome
	}
	return v.Tied, v.Outcome
}

// title counts who wins at how many points, and how many have no single winner.
func (m *winners) title() string {
	var names []string
	count := map[string]int{}
	several, none := 0, 0
	for _, g := range m.groups {
		switch who, _ := m.first(g); {
		case len(who) == 0:
			none++
		case len(who) > 1:
			several++
		default:
			if count[who[0]] == 0 {
				names = append(names, who[0])
			}
			count[who[0]]++
		}
	}
	var parts []string
	for _, n := range names {
		parts = append(parts, fmt.Sprintf("%s wins at %d", n, count[n]))
	}
	if several > 0 {
		parts = append(parts, fmt.Sprintf("several tie or are not separated at %d", several))
	}
	if none > 0 {
		parts = append(parts, fmt.Sprintf("none at %d", none))
	}
	return fmt.Sprintf("of %d points, %s", len(m.groups), join(parts))
}

func (m *winners) keys() (out []chart.Key) {
	var seen []string
	for _, g := range m.groups {
		who, _ := m.first(g)
		for _, s := range who {
			if !slices.Contains(seen, s) {
				seen = append(seen, s)
				out = append(out, chart.Key{Name: s, Box: lookOf(s).color})
			}
		}
	}
	return out
}

// order are the places of an axis' values, numbers rising.
func (a *axis) order() map[string]int {
	out := map[string]int{}
	place := a.places()
	for v, at := range place.at {
		for _, other := range place.at {
			if other < at {
				out[v]++
			}
		}
	}
	return out
}

func (m *winners) draw(c draw.Canvas) {
	small := chart.Letter(chart.SmallSize, chart.Faint)
	left := vg.Length(0)
	px, py := panel{axisLine: &axisLine{axis: m.x}}, panel{axisLine: &axisLine{axis: m.y}}
	for _, v := range m.y.values {
		left = max(left, small.Width(py.tickLabel(v)))
	}
	left += 20 // the axis' name, upright
	w := (c.Max.X - c.Min.X - left) / vg.Length(len(m.x.values))
	xs, ys := m.x.order(), m.y.order()
	at := func(i, k int) vg.Point {
		return vg.Point{X: c.Min.X + left + vg.Length(i)*w, Y: c.Min.Y + mapFoot + vg.Length(k)*mapRow}
	}
	for _, g := range m.groups {
		p := at(xs[g.at.On(m.x.name)], ys[g.at.On(m.y.name)])
		m.box(c, g, vg.Rectangle{Min: p, Max: vg.Point{X: p.X + w, Y: p.Y + mapRow}})
	}
	for _, v := range m.x.values {
		p := at(xs[v], 0)
		c.FillText(chart.Centred(small), vg.Point{X: p.X + w/2, Y: p.Y - 3}, px.tickLabel(v))
	}
	for _, v := range m.y.values {
		p := at(0, ys[v])
		c.FillText(chart.Leftward(small), vg.Point{X: p.X - 4, Y: p.Y + mapRow/2}, py.tickLabel(v))
	}
	c.FillText(chart.Centred(small), vg.Point{X: (c.Min.X + left + c.Max.X) / 2, Y: c.Min.Y + mapFoot - 16}, px.axisTitle())
	upright := chart.Centred(small)
	upright.Rotation = math.Pi / 2
	c.FillText(upright, vg.Point{X: c.Min.X, Y: (c.Min.Y + mapFoot + c.Max.Y) / 2}, py.axisTitle())
}

// box draws one point: the colours of who is first, and the best latency.
func (m *winners) box(c draw.Canvas, g *group, b vg.Rectangle) {
	b = vg.Rectangle{Min: vg.Point{X: b.Min.X + 1, Y: b.Min.Y + 1}, Max: vg.Point{X: b.Max.X - 1, Y: b.Max.Y - 1}}
	who, outcome := m.first(g)
	ink := color.Color(chart.Ink)
	if len(who) == 0 {
		c.FillPolygon(chart.Rule, chart.Corners(b))
		return
	}
	wide := (b.Max.X - b.Min.X) / vg.Length(len(who))
	for i, s := range who {
		fill := color.Color(lookOf(s).color)
		if outcome == OutcomeInconclusive {
			fill = chart.Translucent(lookOf(s).color)
		}
		stripe := vg.Rectangle{Min: vg.Point{X: b.Min.X + vg.Length(i)*wide, Y: b.Min.Y}, Max: vg.Point{X: b.Min.X + vg.Length(i+1)*wide, Y: b.Max.Y}}
		c.FillPolygon(fill, chart.Corners(stripe))
	}
	words := fmt.Sprintf("%d tie", len(who))
	switch {
	case len(who) == 1:
		ink, words = readable(lookOf(who[0]).color), who[0]
	case outcome == OutcomeInconclusive:
		words = fmt.Sprintf("%d open", len(who))
	}
	best := ""
	for _, cell := range g.cells {
		if v := cell.at(m.run.decide()); cell.Strategy == who[0] && v != nil {
			best = formatNS(*v)
		}
	}
	style := chart.Aligned(chart.Letter(chart.SmallSize-1, ink), draw.XCenter, draw.YCenter)
	middle := vg.Point{X: (b.Min.X + b.Max.X) / 2, Y: (b.Min.Y + b.Max.Y) / 2}
	if len(who) > 1 { // across several colours
		half := max(style.Width(words), style.Width(best))/2 + 3
		plate := vg.Rectangle{Min: vg.Point{X: middle.X - half, Y: middle.Y - 11}, Max: vg.Point{X: middle.X + half, Y: middle.Y + 11}}
		if half < (b.Max.X-b.Min.X)/2 {
			c.FillPolygon(chart.Paper, chart.Corners(plate))
		}
	}
	for i, s := range []string{words, best} {
		if style.Width(s) < b.Max.X-b.Min.X-2 {
			c.FillText(style, vg.Point{X: middle.X, Y: middle.Y + 5 - vg.Length(i)*10}, s)
		}
	}
}
