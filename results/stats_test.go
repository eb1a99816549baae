package results

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"nbdbench/sim"
)

func TestSignedRankOfKnownCases(t *testing.T) {
	ramp := func(n int) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = float64(i + 1)
		}
		return out
	}
	for _, c := range []struct {
		name string
		d    []float64
		want float64
	}{
		{"nothing", nil, 1},
		{"only zeros", []float64{0, 0}, 1},
		{"all of one sign, 12", ramp(12), 2.0 / 4096},
		{"all of one sign, 6", ramp(6), 2.0 / 64},
		{"zeros are dropped", append(ramp(6), 0, 0), 2.0 / 64},
		// ranks 1..5 with 1 negative: sums at most 1 are {} and {1}
		{"one small against", []float64{-1, 2, 3, 4, 5}, 2 * 2.0 / 32},
		// all ranks tie at 2: one of three negative, sums 0 (1 way) and 2 (3 ways)
		{"ties", []float64{-7, 7, 7}, 1},
		{"ties of one sign", []float64{7, 7, 7, 7, 7, 7}, 2.0 / 64},
		{"balanced", []float64{1, -1}, 1},
		// R: wilcox.test(c(1.83,.50,1.62,2.48,1.68,1.88,1.55,3.06,1.30), c(.878,.647,.598,2.05,1.06,1.29,1.06,3.14,1.29), paired=TRUE), p = 0.03906
		{"Hollander and Wolfe", []float64{.952, -.147, 1.022, .43, .62, .59, .49, -.08, .01}, 0.0390625},
	} {
		if got := signedRank(c.d); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: p = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestSignedRankIsTheSameWithSidesSwapped(t *testing.T) {
	s := sim.Seed(5).Stream("d")
	for k := range uint64(50) {
		var d, swapped []float64
		for i := range uint64(12) {
			x := s.Normal(k, i) + 0.3
			d, swapped = append(d, x), append(swapped, -x)
		}
		if a, b := signedRank(d), signedRank(swapped); a != b {
			t.Errorf("%v against %v", a, b)
		}
	}
}

func TestSignedRankOfManyPairsIsNearTheExactOne(t *testing.T) {
	s := sim.Seed(5).Stream("d")
	var d []float64
	for i := range uint64(maxExact) {
		d = append(d, s.Normal(i, 0)+0.15)
	}
	ranks := doubledRanks(slices.Clone(d))
	exact := signedRank(d)
	d = append(d, 1e-9) // one more pair: the approximation
	if approx := signedRank(d); math.Abs(approx-exact) > 0.1*exact || len(ranks) != maxExact {
		t.Errorf("approximation %v, exact %v", approx, exact)
	}
}

func TestHolmOfKnownCases(t *testing.T) {
	for _, c := range []struct{ p, want []float64 }{
		{nil, []float64{}},
		{[]float64{0.04}, []float64{0.04}},
		{[]float64{0.01, 0.04, 0.03, 0.005}, []float64{0.03, 0.06, 0.06, 0.02}},
		{[]float64{0.5, 0.6}, []float64{1, 1}},
	} {
		got := holm(c.p)
		for i := range c.want {
			if math.Abs(got[i]-c.want[i]) > 1e-12 {
				t.Errorf("holm(%v) = %v, want %v", c.p, got, c.want)
			}
		}
	}
}

func TestStudentsTIsThatOfTheTables(t *testing.T) {
	for df, want := range map[int]float64{1: 12.706, 5: 2.571, 10: 2.228, 11: 2.201, 12: 2.179, 20: 2.086, 30: 2.042, 120: 1.980} {
		if got := student975(df); math.Abs(got-want) > 6e-4 {
			t.Errorf("t(0.975, %d) = %.4f, want %.3f", df, got, want)
		}
	}
}

// runsOf draws n runs whose level varies from run to run.
func runsOf(name string, trial uint64, n, samples int, level float64) []*Distribution {
	s := sim.Seed(99).Sub(name, trial)
	out := make([]*Distribution, n)
	for k := range out {
		shift := math.Exp(0.1 * s.Stream("level").Normal(uint64(k), 0))
		h := NewHistogram()
		for i := range samples {
			h.Record(sim.Duration(level * shift * (1 + 0.2*s.Stream("x").Float64(uint64(k), uint64(i)))))
		}
		out[k] = h.Freeze()
	}
	return out
}

func TestIntervalCoversTheTruthAboutAsOftenAsItSays(t *testing.T) {
	const trials, n = 200, 12
	// the mean over all runs that could be: levels are lognormal around 1, samples 1 to 1.2 of them
	truth := 1.1e6 * math.Exp(0.1*0.1/2)
	f, covered := newInference(1), 0
	for k := range uint64(trials) {
		b := newBootstrap(runsOf("coverage", k, n, 40, 1e6))
		lo, hi, ok := interval95(b.resampled(f.weightsFor(n), metricMean), n)
		if ok && lo <= truth && truth <= hi {
			covered++
		}
	}
	if share := float64(covered) / trials; share < 0.90 || share > 0.99 {
		t.Errorf("95%% intervals covered the truth in %.1f%% of %d trials", 100*share, trials)
	}
}

func TestBootstrapReadsWhatMergeReads(t *testing.T) {
	runs := runsOf("reads", 0, 6, 500, 1e6)
	b := newBootstrap(runs)
	w := []int64{2, 0, 1, 0, 3, 0}
	pooled := Merge(runs[0], runs[0], runs[2], runs[4], runs[4], runs[4])
	for _, q := range []Quantile{P50, P90, P99} {
		if got, want := b.quantile(w, q), float64(pooled.At(q)); math.Abs(got-want) > want/1000 {
			t.Errorf("quantile %d: %v, want %v", q, got, want)
		}
	}
	if got, want := b.mean(w), float64(pooled.sum)/float64(pooled.n); math.Abs(got-want) > 1e-6 {
		t.Errorf("mean %v, want %v", got, want)
	}
}

// cellOf makes a cell of given runs.
func cellOf(id string, durable bool, runs []*Distribution) *Cell {
	c := NewCell(CellConfig{
		ID: "d/w/" + id, Device: "d", Workload: "w", Strategy: id, Clock: "virtual", Link: "unix",
		QueueDepth: 1, Connections: 1, Runs: len(runs), Durable: durable, WhoDurable: "device",
	})
	for k, d := range runs {
		run := &RunResult{Seed: sim.Seed(k), Elapsed: 1e9, Commit: d}
		for i := range run.ops {
			run.ops[i] = new(Distribution)
		}
		c.Add(run)
	}
	return c
}

func documentOf(cells ...*Cell) *Run {
	r := NewRun(Tool{Version: "test"}, nil, 1)
	for _, c := range cells {
		r.Add(c)
	}
	r.Finish()
	return r
}

func TestTheSameRunsAreEquivalentExactlyOne(t *testing.T) {
	runs := runsOf("same", 0, 12, 1200, 1e6)
	r := documentOf(cellOf("native", true, runs), cellOf("emulate", true, runs))
	for _, c := range r.Comparisons {
		if c.Verdict != Equivalent || c.Ratio != 1 || *c.CI95 != (Ratio{1, 1}) || c.P != 1 {
			t.Errorf("%s: %+v", c.Metric, c)
		}
	}
	if len(r.Comparisons) != 3 || r.Verdicts[0].Winner != "" || len(r.Verdicts[0].Tied) != 2 {
		t.Errorf("%d comparisons, verdict %+v", len(r.Comparisons), r.Verdicts[0])
	}
}

func TestSwappingTheSidesInvertsTheRatio(t *testing.T) {
	a, b := runsOf("a", 0, 12, 1200, 1e6), runsOf("b", 0, 12, 1200, 1.5e6)
	one := documentOf(cellOf("native", true, a), cellOf("emulate", true, b))
	two := documentOf(cellOf("native", true, b), cellOf("emulate", true, a))
	opposite := map[string]string{Faster: Slower, Slower: Faster, Equivalent: Equivalent, Inconclusive: Inconclusive}
	for i, x := range one.Comparisons {
		y := two.Comparisons[i]
		if math.Abs(x.Ratio*y.Ratio-1) > 1e-12 || math.Abs(x.CI95[0]*y.CI95[1]-1) > 1e-12 || x.P != y.P || y.Verdict != opposite[x.Verdict] {
			t.Errorf("%s: %+v swapped is %+v", x.Metric, x, y)
		}
	}
	if one.Comparisons[0].Verdict != Slower {
		t.Errorf("half as long again: %s", one.Comparisons[0].Verdict)
	}
}

func TestNoVarianceIsExact(t *testing.T) {
	same := func(d sim.Duration) []*Distribution {
		out := make([]*Distribution, 3)
		for k := range out {
			h := NewHistogram()
			for range 1000 {
				h.Record(d)
			}
			out[k] = h.Freeze()
		}
		return out
	}
	r := documentOf(cellOf("native", true, same(1e6)), cellOf("emulate", true, same(2e6)))
	for _, c := range r.Comparisons {
		if !c.Exact || c.Ratio != 2 || *c.CI95 != (Ratio{2, 2}) || c.Verdict != Slower {
			t.Errorf("%+v", c)
		}
	}
	if ci := r.Cells[0].CI95.P99; ci == nil || *ci != (Span{1e6, 1e6}) {
		t.Errorf("interval %v", ci)
	}
	if s := r.Comparisons[0].Sentence; !containsText([]string{s}, "exactly 2.00x") {
		t.Errorf("sentence %q", s)
	}
}

func TestVerdictFollowsTheIntervalAndTheMargin(t *testing.T) {
	for _, c := range []struct {
		span *Ratio
		want string
	}{
		{nil, Inconclusive},
		{&Ratio{0.90, 0.97}, Faster},
		{&Ratio{0.90, 0.98}, Inconclusive},
		{&Ratio{1.04, 1.2}, Slower},
		{&Ratio{1.02, 1.2}, Inconclusive},
		{&Ratio{0.98, 1.03}, Equivalent},
		{&Ratio{0.5, 2}, Inconclusive},
	} {
		if got := verdictOf(c.span); got != c.want {
			t.Errorf("%v: %s, want %s", c.span, got, c.want)
		}
	}
}

func TestAPercentileThatCannotBeToldIsNotCompared(t *testing.T) {
	a, b := runsOf("a", 0, 5, 100, 1e6), runsOf("b", 0, 5, 100, 2e6) // 500 commits: no p99
	r := documentOf(cellOf("native", true, a), cellOf("emulate", true, b))
	for _, c := range r.Comparisons {
		if c.Metric == "commit.p99" {
			t.Errorf("compared: %+v", c)
		}
	}
	if r.Verdicts[0].Winner != "native" || r.Verdicts[0].Metric != "commit.p50" {
		t.Errorf("verdict %+v", r.Verdicts[0])
	}
}

func TestOnlyCommonSeedsArePaired(t *testing.T) {
	a, b := runsOf("a", 0, 12, 1200, 1e6), runsOf("a", 0, 12, 1200, 2e6)
	short := cellOf("emulate", true, b[:8])
	short.planned = 12
	r := documentOf(cellOf("native", true, a), short)
	if short.Status != StatusPartial || !r.Partial {
		t.Errorf("status %s", short.Status)
	}
	for _, c := range r.Comparisons {
		if c.Verdict != Slower || c.CI95 == nil {
			t.Errorf("%+v", c)
		}
		// the runs share their levels, so pairs differ far less than runs do
		if w := c.CI95[1] - c.CI95[0]; c.Metric == "commit.mean" && w > 0.05 {
			t.Errorf("interval %v wide although paired", w)
		}
	}
}

func TestOnlyWhatLostNothingWins(t *testing.T) {
	fast, slow := runsOf("f", 0, 12, 1200, 1e5), runsOf("s", 0, 12, 1200, 1e6)
	for _, c := range []struct {
		name   string
		cut    Cut
		winner string
	}{
		{"lost", Cut{Acked: 10, Lost: 2, AtRisk: 3}, "native"},
		{"at risk", Cut{Acked: 10, AtRisk: 1}, "native"},
		{"promise broken", Cut{Acked: 10, Violations: 1}, "native"},
		{"nothing", Cut{Acked: 10}, "none-unsafe"},
	} {
		safe, other := cellOf("native", true, slow), cellOf("none-unsafe", false, fast)
		for i := range safe.runs {
			safe.runs[i].Durability, other.runs[i].Durability = new(Durability), new(Durability)
			safe.runs[i].Durability.Add(Cut{Acked: 10})
			other.runs[i].Durability.Add(c.cut)
		}
		r := documentOf(safe, other)
		if got := r.Verdicts[0]; got.Winner != c.winner {
			t.Errorf("%s: %s wins: %s", c.name, got.Winner, got.Sentence)
		}
	}
}

func TestWithoutCutsDefinitionDecidesAndIsSaid(t *testing.T) {
	r := documentOf(cellOf("native", true, runsOf("s", 0, 12, 1200, 1e6)), cellOf("none-unsafe", false, runsOf("f", 0, 12, 1200, 1e5)))
	v := r.Verdicts[0]
	if v.Winner != "native" || !containsText([]string{v.Sentence}, "No power was cut") {
		t.Errorf("%+v", v)
	}
}

func BenchmarkInference(b *testing.B) {
	var cells [24][]*Distribution
	for i := range cells {
		cells[i] = runsOf(fmt.Sprint(i), 0, 12, 2000, 1e6)
	}
	for b.Loop() {
		r := NewRun(Tool{}, nil, 1)
		for i, runs := range cells {
			c := cellOf([]string{"native", "emulate", "none", "none-unsafe"}[i%4], true, runs)
			c.Device = fmt.Sprint(i / 4)
			r.Add(c)
		}
		r.Finish()
	}
}
