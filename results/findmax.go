package results

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"nbdbench/results/table"
)

// FindMax is a search for the highest load under which a bound on a metric holds.
type FindMax struct {
	Expression string `json:"expression"` // as in "commit.p99<2ms"
	Over       string `json:"over"`       // the axis: queue_depth or rate
	// Maxima are of each strategy, in the order of the cells, which are those at the
	// highest load, or at the lowest that was tried where it holds at none.
	Maxima []*Maximum `json:"maxima"`
	// Findings say who has the most, for each device and workload.
	Findings []string `json:"findings"`
}

// Maximum is the highest load of one strategy. Loads are queue depths, or rates a second.
type Maximum struct {
	Cell string `json:"cell"`
	// Value is the highest load at which the bound holds of the cell's metric; null where
	// it holds at no load that was tried.
	Value *float64 `json:"value"`
	// Interval is from the highest load at which it holds in every run, to the highest at
	// which it holds in any; null where it holds at none.
	Interval [2]*float64 `json:"interval"`
	// Bounded says that it does not hold at a higher load that was tried.
	Bounded bool    `json:"bounded"`
	Tried   []Tried `json:"tried"` // by rising load
}

// Tried is what was found at one load.
type Tried struct {
	Value     float64 `json:"value"`
	Metric    *int64  `json:"metric_ns"` // of the cell; null where it is not known
	Holds     int     `json:"holds"`     // in how many runs
	Runs      int     `json:"runs"`
	Sustained bool    `json:"sustained"` // the device keeps up with the rate
}

// Metric is a metric of the run, such as "commit.p99"; ok is false without a commit.
func (r *RunResult) Metric(name string) (ns float64, ok bool) {
	m := metricOf(name)
	if m < 0 || r.Commit.Count() == 0 {
		return 0, false
	}
	return figureOf(r.Commit, m).value, true
}

// Sustained reports whether the device kept up with an open loop of so many slots.
func (r *RunResult) Sustained(slots int) bool { return r.Load.sustained(int64(slots)) }

// sustained is the rule of markUnsustained, of runs that have so many slots together.
func (l *LoadCounts) sustained(slots int64) bool {
	grows := l.BacklogEnd > l.BacklogMiddle && l.BacklogEnd > slots
	return !l.Overrun && (float64(l.Done) >= minSustained*float64(l.Arrivals) || !grows)
}

// Summarise computes the figures of a cell that is in no document, and returns its
// metric, such as "commit.p99"; null where it is not known.
func (c *Cell) Summarise(name string) *int64 {
	m := metricOf(name)
	c.summarise(m)
	if !c.usable() {
		return nil
	}
	return c.at(m)
}

// maximumOf is the search's result for a cell, nil without a search.
func (r *Run) maximumOf(c *Cell) *Maximum {
	if r.FindMax == nil {
		return nil
	}
	i := slices.IndexFunc(r.FindMax.Maxima, func(m *Maximum) bool { return m.Cell == c.ID })
	if i < 0 {
		return nil
	}
	return r.FindMax.Maxima[i]
}

// check tests what the types cannot say.
func (f *FindMax) check() error {
	switch {
	case f == nil:
		return nil
	case f.Over != axisRate && f.Over != "queue_depth":
		return fmt.Errorf("over: want queue_depth or rate, got %q", f.Over)
	}
	for i, m := range f.Maxima {
		switch {
		case m == nil:
			return fmt.Errorf("maxima[%d]: want an object, got null", i)
		case m.Value != nil && m.Interval[1] == nil:
			return fmt.Errorf("maxima[%d].interval: want an upper end beside a value", i)
		}
		for _, v := range []*float64{m.Value, m.Interval[0], m.Interval[1]} {
			if v != nil && !(*v >= 0 && *v <= maxLoad) {
				return fmt.Errorf("maxima[%d]: want loads from 0 to %g, got %g", i, maxLoad, *v)
			}
		}
	}
	return nil
}

// maxLoad is the highest rate a second that there is.
const maxLoad = 1e9

// show is a load in words.
func (f *FindMax) show(v float64) string {
	if f.Over == axisRate {
		return formatRate(v) + perSecond
	}
	return formatCount(int64(v))
}

// text is a maximum in words, with its interval.
func (f *FindMax) text(m *Maximum) string {
	if m.Value == nil {
		if m.Interval[1] != nil {
			return "none [none, " + f.show(*m.Interval[1]) + "]"
		}
		return "none"
	}
	s := f.show(*m.Value)
	if !m.Bounded {
		return "at least " + s
	}
	low := "none"
	if m.Interval[0] != nil {
		low = f.show(*m.Interval[0])
	}
	return s + " [" + low + ", " + f.show(*m.Interval[1]) + "]"
}

// addFindings says of each device and workload who has the most.
func (r *Run) addFindings() {
	f := r.FindMax
	if f == nil {
		return
	}
	f.Findings = []string{}
	for _, g := range r.groups() {
		f.Findings = append(f.Findings, subject(g.device, g.workload, nil)+": "+r.most(g)+".")
	}
}

// most says which of the group's strategies that keep their commits has the most.
func (r *Run) most(g *group) string {
	best := r.best(g)
	if len(best) == 0 {
		return fmt.Sprintf("%s holds at no %s that was tried, of any strategy that keeps its commits", r.FindMax.Expression, axisName(r.FindMax.Over))
	}
	f := r.FindMax
	var parts []string
	for _, c := range best {
		parts = append(parts, c.Strategy+" "+f.text(r.maximumOf(c)))
	}
	s := fmt.Sprintf("the highest %s with %s is %s", axisName(f.Over), f.Expression, parts[0])
	if len(best) > 1 {
		s = fmt.Sprintf("the highest %s with %s is not separated between %s", axisName(f.Over), f.Expression, join(parts))
	}
	if next := r.ranked(g)[len(best):]; len(next) > 0 {
		s += fmt.Sprintf("; the next, %s, has %s", next[0].Strategy, f.text(r.maximumOf(next[0])))
	}
	return s
}

// ranked are the group's cells that keep their commits and have been searched, the
// highest load first.
func (r *Run) ranked(g *group) []*Cell {
	cells := slices.DeleteFunc(slices.Clone(g.cells), func(c *Cell) bool { return !c.usable() || !c.safe() || r.maximumOf(c) == nil })
	value := func(c *Cell) float64 {
		if v := r.maximumOf(c).Value; v != nil {
			return *v
		}
		return -1
	}
	slices.SortStableFunc(cells, func(a, b *Cell) int { return cmp.Compare(value(b), value(a)) })
	return cells
}

// best are the first of ranked, and those whose interval meets the first one's.
func (r *Run) best(g *group) (out []*Cell) {
	ranked := r.ranked(g)
	if len(ranked) == 0 || r.maximumOf(ranked[0]).Value == nil {
		return nil
	}
	first := r.maximumOf(ranked[0])
	for i, c := range ranked {
		high := r.maximumOf(c).Interval[1]
		if i > 0 && (high == nil || first.Interval[0] != nil && *high < *first.Interval[0]) {
			break
		}
		out = append(out, c)
	}
	return out
}

// columns take the place of a sweep's axes.
func (f *FindMax) columns() []summaryColumn {
	return []summaryColumn{
		{table.Column{Key: "highest", Title: "highest " + axisName(f.Over), Right: true, Place: everywhere}, func(r *Run, c *Cell) table.Value {
			m := r.maximumOf(c)
			switch {
			case m == nil:
				return none
			case m.Value == nil:
				return table.Value{Text: f.text(m)}
			}
			return table.Value{Text: f.text(m), Data: *m.Value}
		}},
		{table.Column{Key: "highest_low", Place: table.InData}, func(r *Run, c *Cell) table.Value { return r.maximumEnd(c, 0) }},
		{table.Column{Key: "highest_high", Place: table.InData}, func(r *Run, c *Cell) table.Value { return r.maximumEnd(c, 1) }},
	}
}

func (r *Run) maximumEnd(c *Cell, end int) table.Value {
	m := r.maximumOf(c)
	if m == nil || m.Interval[end] == nil {
		return table.Value{}
	}
	return table.Value{Data: *m.Interval[end]}
}

// maximumVerdict is the last column of a search, and how the row stands out.
func (r *Run) maximumVerdict(c *Cell) (string, table.Mark) {
	m := r.maximumOf(c)
	switch {
	case c.Status == StatusUnsupported || c.Status == StatusInvalid || m == nil:
		return c.Status, table.Qualified
	case !c.safe():
		return "not durable", table.Qualified
	case m.Value == nil:
		return "does not hold", table.Unmarked
	}
	for _, g := range r.groups() {
		if !slices.Contains(g.cells, c) {
			continue
		}
		best := r.best(g)
		switch {
		case !slices.Contains(best, c):
		case len(best) > 1:
			return Inconclusive, table.Unmarked
		default:
			return "highest", table.Best
		}
	}
	return "lower", table.Unmarked
}

// note explains the search below the table.
func (f *FindMax) note() string {
	return strings.Join([]string{
		fmt.Sprintf("Searched: the highest %s with %s, by doubling and bisection, which takes it that what does not hold at one does not hold at a higher one.", axisName(f.Over), f.Expression),
		"[] is from the highest at which it holds in every run to the highest at which it holds in any; other columns are of the highest.",
	}, " ")
}
