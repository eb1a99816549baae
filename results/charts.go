package results

import (
	"fmt"
	"slices"
	"strings"

	"nbdbench/results/chart"
)

// Charts are the document's figures: the winners; for each workload the percentiles and
// the ratios of all devices; for each device the percentile spectrum, the breakdown, what
// was at risk and the latencies over time; of a sweep those of its axes alone. What has no
// data has no chart.
func (r *Run) Charts() []*chart.Chart {
	var out []*chart.Chart
	used := map[string]bool{}
	add := func(c *chart.Chart) {
		if c == nil {
			return
		}
		name := c.Name
		for n := 2; used[c.Name]; n++ {
			c.Name = fmt.Sprintf("%s-%d", name, n)
		}
		used[c.Name] = true
		out = append(out, c)
	}
	if r.FindMax != nil { // its cells have different loads
		return nil
	}
	if len(r.axes()) > 0 { // each point of a sweep would have all the others
		for _, c := range r.sweepCharts() {
			add(c)
		}
		return out
	}
	for _, c := range r.winners() {
		add(c)
	}
	groups := r.drawable()
	workloads, byWorkload := split(groups, func(g *group) string { return g.workload })
	for i, w := range workloads {
		for _, page := range pagesOf(byWorkload[i]) {
			add(r.dots(w, page))
		}
	}
	for i, w := range workloads {
		for _, c := range r.forest(w, byWorkload[i]) {
			add(c)
		}
	}
	devices, byDevice := split(groups, func(g *group) string { return g.device })
	for i, d := range devices {
		add(r.spectrum(d, byDevice[i]))
	}
	for i, d := range devices {
		add(r.breakdown(d, byDevice[i]))
	}
	for i, d := range devices {
		add(r.exposure(d, byDevice[i]))
	}
	for i, d := range devices {
		add(r.overTime(d, byDevice[i]))
	}
	return out
}

// pagesOf divides the groups of many devices into figures that fit a page.
func pagesOf(groups []*group) (out [][]*group) {
	for len(groups) > pageDevices {
		out, groups = append(out, groups[:pageDevices]), groups[pageDevices:]
	}
	return append(out, groups)
}

// drawable are the groups that have a usable cell, with those cells.
func (r *Run) drawable() []*group {
	var out []*group
	for _, g := range r.groups() {
		g.cells = slices.DeleteFunc(g.cells, func(c *Cell) bool { return !c.usable() })
		if len(g.cells) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// split gathers groups by a name, in the order of first appearance.
func split(groups []*group, name func(*group) string) (names []string, parts [][]*group) {
	for _, g := range groups {
		i := slices.Index(names, name(g))
		if i < 0 {
			i = len(names)
			names, parts = append(names, name(g)), append(parts, nil)
		}
		parts[i] = append(parts[i], g)
	}
	return names, parts
}

// fileName keeps letters, digits, dots, dashes; what is between them is one _.
func fileName(parts ...string) string {
	name := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, strings.TrimLeft(strings.Join(parts, "-"), "."))
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '_' }), "_")
}

// verdictOn is the verdict on a group, or nil.
func (r *Run) verdictOn(g *group) *Verdict {
	i := slices.IndexFunc(r.Verdicts, func(v Verdict) bool {
		return v.Device == g.device && v.Workload == g.workload && slices.Equal(v.At, g.at)
	})
	if i < 0 {
		return nil
	}
	return &r.Verdicts[i]
}

func (r *Run) headline(g *group) string {
	if v := r.verdictOn(g); v != nil {
		return v.Headline
	}
	return ""
}

// footer is what a figure says about where it comes from.
func (r *Run) footer(what string) string {
	return fmt.Sprintf("%s nbdbench %s, seed %d.", what, r.Tool.Version, r.Seed)
}

func cellsOf(groups []*group) []*Cell {
	var out []*Cell
	for _, g := range groups {
		out = append(out, g.cells...)
	}
	return out
}

// subtitle is the conditions of the cells that a figure shows.
func subtitle(prefix string, groups []*group) string {
	return strings.Join(append([]string{prefix}, conditionsOf(cellsOf(groups))...), " · ")
}

// strategyKeys is a legend of the strategies, as lines.
func strategyKeys(groups []*group) []chart.Key {
	var out []chart.Key
	var seen []string
	for _, c := range cellsOf(groups) {
		if slices.Contains(seen, c.Strategy) {
			continue
		}
		seen = append(seen, c.Strategy)
		line := lookOf(c.Strategy).line(2)
		out = append(out, chart.Key{Name: labelOf(c.Strategy, groups), Line: &line})
	}
	return out
}

// labelOf is the strategy's name, marked if it is durable nowhere here.
func labelOf(strategy string, groups []*group) string {
	for _, c := range cellsOf(groups) {
		if c.Strategy == strategy && c.safe() {
			return strategy
		}
	}
	return strategy + " (not durable)"
}
