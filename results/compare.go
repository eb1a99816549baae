package results

import (
	"fmt"
	"slices"
	"strings"

	"nbdbench/sim"
)

// Margin is the declared margin: ratios nearer to 1 than this make no
// difference that matters.
const Margin = 0.03

// The verdicts on a ratio a/b.
const (
	Faster       = "faster"       // the interval lies below 1/(1+Margin)
	Slower       = "slower"       // the interval lies above 1+Margin
	Equivalent   = "equivalent"   // the interval lies within the margin
	Inconclusive = "inconclusive" // none of these, or there is no interval
)

// Ratio is a span of ratios.
type Ratio [2]float64

// Comparison is one metric of one strategy (A) against another (B), under the
// same device and workload. Ratio is A/B: below 1, A is faster.
type Comparison struct {
	Device   string  `json:"device"`
	Workload string  `json:"workload"`
	At       At      `json:"at,omitempty"` // in a sweep
	Metric   string  `json:"metric"`
	A        string  `json:"a"`
	B        string  `json:"b"`
	Ratio    float64 `json:"ratio"`
	CI95     *Ratio  `json:"ci95"`
	Exact    bool    `json:"exact"` // every run gave the same value on both sides
	// P is null: the interval alone decides.
	P        *float64 `json:"p_adjusted"`
	Verdict  string   `json:"verdict"`
	Sentence string   `json:"sentence"`

	withheld string // why there is no interval
}

// verdictOf is the rule: from the interval and the margin alone.
func verdictOf(span *Ratio) string {
	switch {
	case span == nil:
		return Inconclusive
	case span[1] < 1/(1+Margin):
		return Faster
	case span[0] > 1+Margin:
		return Slower
	case span[0] >= 1/(1+Margin) && span[1] <= 1+Margin:
		return Equivalent
	}
	return Inconclusive
}

// compare is the effect of being a rather than b, from the runs whose seeds both
// have; nil where the metric is null, where no run pairs, or where a value is 0.
// The interval holds at once with as many as family says.
func compare(a, b *Cell, m metric, family int) *effect {
	if a.at(m) == nil || b.at(m) == nil {
		return nil
	}
	theirs := b.seeds()
	common := slices.DeleteFunc(a.seeds(), func(s sim.Seed) bool { return !slices.Contains(theirs, s) })
	if len(common) == 0 {
		return nil
	}
	return effectOf(a.figures(m, common), b.figures(m, common), true, family)
}

// group is the cells of one device under one workload, in a sweep at one point.
type group struct {
	device, workload string
	at               At
	cells            []*Cell
	decide           metric
	family           int    // intervals of the document that hold at once
	drift            string // why runs of this group cannot be compared, if they cannot
}

// groups are the document's cells by device, workload and point of the sweep, in the
// order in which they first appear.
func (r *Run) groups() []*group {
	var out []*group
	byName := map[[3]string]*group{}
	decide := r.decide()
	for _, c := range r.Cells {
		at := c.At
		if r.FindMax != nil { // each strategy is at a load of its own
			at = nil
		}
		name := [3]string{c.Device, c.Workload, at.ID()}
		g := byName[name]
		if g == nil {
			g = &group{device: c.Device, workload: c.Workload, at: at, decide: decide}
			byName[name], out = g, append(out, g)
		}
		g.cells = append(g.cells, c)
	}
	family := 0
	for _, g := range out {
		n := len(g.candidates())
		family += n * (n - 1) / 2
	}
	for _, g := range out {
		g.family = max(family, 1)
		g.drift = g.findDrift()
	}
	return out
}

// Overloaded names the first device and workload, if there is one, whose rate was
// asked for and sustained by no strategy; of a sweep, at no point.
func (r *Run) Overloaded() string {
	var names []string
	kept := map[string]bool{}
	for _, c := range r.Cells {
		name := c.Device + "/" + c.Workload
		switch c.Status {
		case StatusUnsustained:
			names = append(names, name)
		case StatusOK, StatusPartial:
			kept[name] = true
		}
	}
	i := slices.IndexFunc(names, func(name string) bool { return !kept[name] })
	if i < 0 {
		return ""
	}
	return names[i]
}

// overloaded reports whether no strategy of the group sustains the rate.
func (g *group) overloaded() bool {
	beyond := false
	for _, c := range g.cells {
		if c.Status == StatusOK || c.Status == StatusPartial {
			return false
		}
		beyond = beyond || c.Status == StatusUnsustained
	}
	return beyond
}

// decide is the metric that decides verdicts.
func (r *Run) decide() metric {
	if m := metricOf(r.Decide); m >= 0 {
		return m
	}
	return metricP99
}

// candidates are the group's cells that make commits durable and may be compared:
// any two of them may come to be compared in a verdict.
func (g *group) candidates() []*Cell {
	var out []*Cell
	for _, c := range g.cells {
		if c.usable() && c.safe() {
			out = append(out, c)
		}
	}
	return out
}

// baseline is the strategy that the others are compared with: native where it
// can be used, else the first that makes commits durable, else the first.
func (g *group) baseline() *Cell {
	pick := func(want func(*Cell) bool) *Cell {
		if i := slices.IndexFunc(g.cells, func(c *Cell) bool { return c.usable() && c.Status != StatusUnsustained && want(c) }); i >= 0 {
			return g.cells[i]
		}
		return nil
	}
	for _, want := range []func(*Cell) bool{
		func(c *Cell) bool { return c.Strategy == "native" },
		func(c *Cell) bool { return c.Durable },
		func(*Cell) bool { return true },
	} {
		if c := pick(want); c != nil {
			return c
		}
	}
	return nil
}

// compareAll fills in the document's comparisons: in each group, every other
// strategy against the baseline, by each metric.
func (r *Run) compareAll() {
	r.Comparisons = []Comparison{}
	if r.FindMax != nil {
		return
	}
	for m := range numMetrics {
		for _, g := range r.groups() {
			r.Comparisons = append(r.Comparisons, g.compare(m)...)
		}
	}
	for i := range r.Comparisons {
		c := &r.Comparisons[i]
		c.Sentence = c.sentence()
	}
}

func (g *group) compare(m metric) []Comparison {
	base := g.baseline()
	var out []Comparison
	for _, c := range g.cells {
		if base == nil || c == base || !c.usable() || c.Status == StatusUnsustained {
			continue
		}
		e := compare(c, base, m, g.family)
		if e == nil {
			continue
		}
		why := g.unfit(c, base)
		if why != "" { // an interval would promise what it cannot keep
			e.span, e.exact = nil, false
		}
		out = append(out, Comparison{
			Device: g.device, Workload: g.workload, At: g.at, Metric: c.metricName(m), A: c.Strategy, B: base.Strategy,
			Ratio: e.ratio, CI95: e.span, Exact: e.exact, Verdict: e.verdict(), withheld: why,
		})
	}
	return out
}

// unfit says why the cells cannot be compared by latency, or nothing.
func (g *group) unfit(cells ...*Cell) string {
	for _, c := range cells {
		if why := c.unfit(g.decide); why != "" {
			return c.Strategy + " " + why
		}
	}
	return g.drift
}

// unfit says why the cell takes part in no comparison by latency, or nothing.
func (c *Cell) unfit(m metric) string {
	switch {
	case c.Status == StatusUnsustained:
		return "did " + c.sustained()
	case c.Status != StatusOK:
		return "is " + c.Status
	case c.Settled == false:
		return "had not settled"
	case len(c.seeds()) < minRuns:
		return fmt.Sprintf("has %s of the %d that an interval needs", plural(int64(len(c.seeds())), "run"), minRuns)
	case c.at(m) == nil:
		return fmt.Sprintf("has too few %s (%s) for %s", c.noun().many, formatCount(c.Commit.Count), shortMetric(metricNames[m]))
	case len(c.Outliers) > 0:
		return fmt.Sprintf("has an outlier, run %d", c.Outliers[0]+1)
	}
	return ""
}

// sustained is what an open loop did of what it was asked: "249 of 300/s".
func (c *Cell) sustained() string {
	if c.Offered == nil || c.Achieved == nil {
		return "less than was due"
	}
	return fmt.Sprintf("%s of %s/s", formatRate(*c.Achieved), formatRate(*c.Offered))
}

// short is the metric's name without its prefix.
func shortMetric(name string) string { return name[strings.IndexByte(name, '.')+1:] }

func (c *Comparison) sentence() string {
	what := shortMetric(c.Metric)
	times := factor(c.Ratio, c.CI95, c.Exact)
	switch c.Verdict {
	case Slower:
		return fmt.Sprintf("%s is slower: its %s is %s that of %s.", c.A, what, times, c.B)
	case Faster:
		return fmt.Sprintf("%s is faster: the %s of %s is %s as long.", c.A, what, c.B, factor(1/c.Ratio, c.CI95.inverse(), c.Exact))
	case Equivalent:
		return fmt.Sprintf("%s and %s are equivalent in %s: %s, within %.0f%%.", c.A, c.B, what, times, 100*Margin)
	}
	if c.CI95 == nil {
		return fmt.Sprintf("%s against %s in %s: %s, without an interval, since %s.", c.A, c.B, what, times, c.withheld)
	}
	return fmt.Sprintf("%s and %s cannot be told apart in %s: %s.", c.A, c.B, what, times)
}

// inverse is the span of the reciprocal.
func (s *Ratio) inverse() *Ratio {
	if s == nil {
		return nil
	}
	return &Ratio{1 / s[1], 1 / s[0]}
}

// factor is "1.42x [1.40, 1.44]"; "exactly 1.42x" where no run differed.
func factor(ratio float64, span *Ratio, exact bool) string {
	x := significant(ratio) + "x"
	switch {
	case exact:
		return "exactly " + x
	case span != nil:
		return formatEstimate(ratio, span[0], span[1]) + "x " + formatSpan(span[0], span[1])
	}
	return x
}
