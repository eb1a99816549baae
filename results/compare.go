package results

import (
	"fmt"
	"math"
	"slices"

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
	Metric   string  `json:"metric"`
	A        string  `json:"a"`
	B        string  `json:"b"`
	Ratio    float64 `json:"ratio"`
	CI95     *Ratio  `json:"ci95"`
	Exact    bool    `json:"exact"` // every run gave the same value on both sides
	P        float64 `json:"p_adjusted"`
	Verdict  string  `json:"verdict"`
	Sentence string  `json:"sentence"`
}

// effect is the ratio of one metric of two cells.
type effect struct {
	ratio float64
	span  *Ratio
	exact bool
	p     float64
}

func (e *effect) verdict() string { return verdictOf(e.span) }

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

// inference computes intervals for the cells of one document. Cells with as
// many runs share their resamples.
type inference struct {
	seed    sim.Seed
	weights map[int]weights
}

func newInference(seed sim.Seed) *inference {
	return &inference{seed: seed, weights: map[int]weights{}}
}

func (f *inference) weightsFor(n int) weights {
	if f.weights[n] == nil {
		f.weights[n] = newWeights(f.seed, n, resamples)
	}
	return f.weights[n]
}

// sample is one side of a comparison: the runs, and each metric resampled.
type sample struct {
	boot   *bootstrap
	values [numMetrics][]float64
}

func (s *sample) resampled(m metric, w weights) []float64 {
	if s.values[m] == nil {
		s.values[m] = s.boot.resampled(w, m)
	}
	return s.values[m]
}

// seeds are the seeds of the cell's runs that have commits.
func (c *Cell) seeds() []sim.Seed {
	var out []sim.Seed
	for _, r := range c.runs {
		if r.Commit.Count() > 0 {
			out = append(out, r.Seed)
		}
	}
	return out
}

// sampleOf lays out the cell's runs with the given seeds; all of them once.
func (c *Cell) sampleOf(seeds []sim.Seed) *sample {
	whole := slices.Equal(seeds, c.seeds())
	if whole && c.sample != nil {
		return c.sample
	}
	var runs []*Distribution
	for _, s := range seeds {
		i := slices.IndexFunc(c.runs, func(r *RunResult) bool { return r.Seed == s && r.Commit.Count() > 0 })
		runs = append(runs, c.runs[i].Commit)
	}
	out := &sample{boot: newBootstrap(runs)}
	if whole {
		c.sample = out
	}
	return out
}

// intervals fills in the cell's own intervals.
func (f *inference) intervals(c *Cell) {
	if c.Commit == nil || c.Commit.Count == 0 {
		return
	}
	s := c.sampleOf(c.seeds())
	span := func(m metric, told *int64) *Span {
		if told == nil || (s.boot.n < minRuns && !s.constant(m)) {
			return nil
		}
		lo, hi, ok := interval95(s.resampled(m, f.weightsFor(s.boot.n)), s.boot.n)
		if !ok {
			return nil
		}
		return &Span{int64(math.Round(lo)), int64(math.Round(hi))}
	}
	c.CI95 = &CI95{Mean: span(metricMean, c.Commit.Mean), P50: span(metricP50, c.Commit.P50), P99: span(metricP99, c.Commit.P99)}
}

// constant reports whether at least two runs gave one and the same value.
func (s *sample) constant(m metric) bool {
	v := s.boot.perRun(m)
	return len(v) > 1 && slices.Min(v) == slices.Max(v)
}

// told is the cell's value of a metric, or nil.
func (c *Cell) told(m metric) *int64 {
	if c.Commit == nil {
		return nil
	}
	return [numMetrics]*int64{c.Commit.Mean, c.Commit.P50, c.Commit.P99}[m]
}

// compare is the effect of being a rather than b, from the runs whose seeds
// both have; nil where the metric cannot be told or no run pairs.
func (f *inference) compare(a, b *Cell, m metric) *effect {
	if a.told(m) == nil || b.told(m) == nil {
		return nil
	}
	theirs := b.seeds()
	common := slices.DeleteFunc(a.seeds(), func(s sim.Seed) bool { return !slices.Contains(theirs, s) })
	if len(common) == 0 {
		return nil
	}
	return f.effect(a.sampleOf(common), b.sampleOf(common), m)
}

// effect resamples the same runs of both sides.
func (f *inference) effect(a, b *sample, m metric) *effect {
	top, bottom := a.boot.point(m), b.boot.point(m)
	if top <= 0 || bottom <= 0 {
		return nil
	}
	e := &effect{ratio: top / bottom, p: signedRank(logRatios(a.boot.perRun(m), b.boot.perRun(m)))}
	n := a.boot.n
	if a.constant(m) && b.constant(m) {
		e.exact, e.span = true, &Ratio{e.ratio, e.ratio}
		return e
	}
	if n < minRuns {
		return e
	}
	w := f.weightsFor(n)
	x, y := a.resampled(m, w), b.resampled(m, w)
	ratios := make([]float64, len(x))
	for i := range x {
		ratios[i] = x[i] / y[i]
	}
	if lo, hi, ok := interval95(ratios, n); ok {
		e.span = &Ratio{lo, hi}
	}
	return e
}

// logRatios are differences of logarithms, so that swapping the sides changes
// nothing but the signs. A run in which either side is 0 says nothing.
func logRatios(a, b []float64) []float64 {
	out := make([]float64, 0, len(a))
	for i := range a {
		if a[i] > 0 && b[i] > 0 {
			out = append(out, math.Log(a[i])-math.Log(b[i]))
		}
	}
	return out
}

// group is the cells of one device under one workload.
type group struct {
	device, workload string
	cells            []*Cell
}

// groups are the document's cells by device and workload, in the order in which
// they first appear.
func (r *Run) groups() []*group {
	var out []*group
	for _, c := range r.Cells {
		i := slices.IndexFunc(out, func(g *group) bool { return g.device == c.Device && g.workload == c.Workload })
		if i < 0 {
			out = append(out, &group{device: c.Device, workload: c.Workload})
			i = len(out) - 1
		}
		out[i].cells = append(out[i].cells, c)
	}
	return out
}

// baseline is the strategy that the others are compared with: native where it
// can be used, else the first that makes commits durable, else the first.
func (g *group) baseline() *Cell {
	pick := func(want func(*Cell) bool) *Cell {
		if i := slices.IndexFunc(g.cells, func(c *Cell) bool { return c.usable() && want(c) }); i >= 0 {
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
func (r *Run) compareAll(f *inference) {
	r.Comparisons = []Comparison{}
	for m := range numMetrics {
		first := len(r.Comparisons)
		for _, g := range r.groups() {
			r.Comparisons = append(r.Comparisons, g.compare(f, m)...)
		}
		adjust(r.Comparisons[first:])
	}
	for i := range r.Comparisons {
		c := &r.Comparisons[i]
		c.Sentence = c.sentence()
	}
}

func (g *group) compare(f *inference, m metric) []Comparison {
	base := g.baseline()
	var out []Comparison
	for _, c := range g.cells {
		if base == nil || c == base || !c.usable() {
			continue
		}
		if e := f.compare(c, base, m); e != nil {
			out = append(out, Comparison{
				Device: g.device, Workload: g.workload, Metric: metricNames[m], A: c.Strategy, B: base.Strategy,
				Ratio: e.ratio, CI95: e.span, Exact: e.exact, P: e.p, Verdict: e.verdict(),
			})
		}
	}
	return out
}

// adjust replaces the p-values of one family by Holm's.
func adjust(family []Comparison) {
	p := make([]float64, len(family))
	for i := range family {
		p[i] = family[i].P
	}
	for i, q := range holm(p) {
		family[i].P = q
	}
}

// short is the metric's name without its prefix.
func shortMetric(name string) string { return name[len("commit."):] }

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
		return fmt.Sprintf("%s against %s in %s: %s, from too few runs for an interval.", c.A, c.B, what, times)
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
