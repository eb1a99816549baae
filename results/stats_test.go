package results

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"nbdbench/sim"
)

func TestStudentsTIsThatOfTheTables(t *testing.T) {
	for df, want := range map[float64]float64{1: 12.706, 5: 2.571, 10: 2.228, 11: 2.201, 20: 2.086, 120: 1.980} {
		if got := critical(1, df); math.Abs(got-want) > 6e-4 {
			t.Errorf("t(0.975, %v) = %.4f, want %.3f", df, got, want)
		}
	}
	if got := critical(10, 11); math.Abs(got-3.497) > 6e-4 { // t(0.9975, 11)
		t.Errorf("for 10 intervals at once: %.4f, want 3.497", got)
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

func TestTheSameRunsAreEquivalent(t *testing.T) {
	runs := runsOf("same", 0, 12, 1200, 1e6)
	r := documentOf(cellOf("native", true, runs), cellOf("emulate", true, runs))
	for _, c := range r.Comparisons {
		if c.Verdict != Equivalent || c.Ratio != 1 || c.CI95[0] < 0.999 || c.CI95[1] > 1.001 || c.P != nil {
			t.Errorf("%s: %+v", c.Metric, c)
		}
	}
	if len(r.Comparisons) != int(numMetrics) || r.Verdicts[0].Winner != "" || len(r.Verdicts[0].Tied) != 2 {
		t.Errorf("%d comparisons, verdict %+v", len(r.Comparisons), r.Verdicts[0])
	}
}

func TestSwappingTheSidesInvertsTheRatioExactly(t *testing.T) {
	opposite := map[string]string{Faster: Slower, Slower: Faster, Equivalent: Equivalent, Inconclusive: Inconclusive}
	for trial := range uint64(30) {
		shift := 1 + float64(trial)/40
		a, b := runsOf("a", trial, 12, 1200, 1e6), runsOf("b", trial, 12, 1200, shift*1e6)
		one := documentOf(cellOf("native", true, a), cellOf("emulate", true, b))
		two := documentOf(cellOf("native", true, b), cellOf("emulate", true, a))
		for i, x := range one.Comparisons {
			y := two.Comparisons[i]
			if !inverse(x.Ratio, y.Ratio) || !inverse(x.CI95[0], y.CI95[1]) || !inverse(x.CI95[1], y.CI95[0]) || y.Verdict != opposite[x.Verdict] {
				t.Errorf("%s: %v %v %s swapped is %v %v %s", x.Metric, x.Ratio, *x.CI95, x.Verdict, y.Ratio, *y.CI95, y.Verdict)
			}
		}
		// the same between two documents, paired and unpaired
		for _, unpaired := range []bool{false, true} {
			x, y := cellOf("native", true, a), cellOf("native", true, b)
			if unpaired {
				x.Clock, y.Clock = "real", "real"
			}
			before, after := documentOf(x), documentOf(y)
			there, back := Compare(before, after), Compare(after, before)
			for i, p := range there.Rows {
				if q := back.Rows[i]; !inverse(p.Ratio, q.Ratio) || p.CI95 != nil && (!inverse(p.CI95[0], q.CI95[1]) || q.Verdict != opposite[p.Verdict]) {
					t.Errorf("unpaired %v, %s: %+v swapped is %+v", unpaired, p.Metric, p, q)
				}
			}
		}
	}
}

// inverse reports whether one is 1 over the other, to the last bit.
func inverse(x, y float64) bool { return x == 1/y || y == 1/x }

func TestTheOrderOfRunsChangesNothing(t *testing.T) {
	a, b := runsOf("a", 0, 12, 1200, 1e6), runsOf("b", 0, 12, 1200, 1.05e6)
	want := documentOf(cellOf("native", true, a), cellOf("emulate", true, b))
	draw := sim.Seed(3).Stream("order")
	for k := range uint64(20) {
		x, y := slices.Clone(a), slices.Clone(b)
		for i := uint64(11); i > 0; i-- { // pairs move together
			j := draw.Uint64N(i+1, k, i)
			x[i], x[j] = x[j], x[i]
			y[i], y[j] = y[j], y[i]
		}
		got := documentOf(cellOf("native", true, x), cellOf("emulate", true, y))
		for i, c := range got.Comparisons {
			if w := want.Comparisons[i]; c.Ratio != w.Ratio || *c.CI95 != *w.CI95 {
				t.Fatalf("%s: %v %v, in another order %v %v", c.Metric, w.Ratio, *w.CI95, c.Ratio, *c.CI95)
			}
		}
		for i, c := range got.Cells {
			if w := want.Cells[i]; *c.CI95.P99 != *w.CI95.P99 || *c.Commit.P99 != *w.Commit.P99 || *c.CI95.Mean != *w.CI95.Mean {
				t.Fatalf("%s: %v %v", c.ID, *w.CI95.P99, *c.CI95.P99)
			}
		}
	}
}

func TestRunsWeighAlike(t *testing.T) {
	// one fast run has 600 of 1,700 commits
	runs := []*Distribution{constantRun(1e6, 600)}
	for range 11 {
		runs = append(runs, constantRun(5e6, 100))
	}
	r := documentOf(cellOf("pass", true, runs))
	if got, want := *r.Cells[0].Commit.Mean, int64(math.Round((1e6+11*5e6)/12)); got != want {
		t.Errorf("mean %d, want the mean of the runs' means, %d", got, want)
	}
}

func constantRun(d sim.Duration, n int) *Distribution {
	h := NewHistogram()
	for range n {
		h.Record(d)
	}
	return h.Freeze()
}

func sameRuns(d sim.Duration, runs int) []*Distribution {
	out := make([]*Distribution, runs)
	for k := range out {
		out[k] = constantRun(d, 1100)
	}
	return out
}

func TestNoVarianceIsExact(t *testing.T) {
	r := documentOf(cellOf("native", true, sameRuns(1e6, 6)), cellOf("emulate", true, sameRuns(2e6, 6)))
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

func TestAnIntervalIsNeverNarrowerThanABucket(t *testing.T) {
	runs := make([]*Distribution, 12)
	for k := range runs { // all alike, but known to a bucket alone
		h := NewHistogram()
		for i := range 1200 {
			h.Record(sim.Duration(1e8 + 1e5*float64(i)))
		}
		runs[k] = h.Freeze()
	}
	c := documentOf(cellOf("native", true, runs), cellOf("emulate", true, runs)).Cells[0]
	value := *c.Commit.P99
	if got, want := c.CI95.P99[1]-c.CI95.P99[0], value-bucketFrom(value); got < want || want < 1000 {
		t.Errorf("interval %v of %d: %d wide, the bucket is %d", *c.CI95.P99, value, got, want)
	}
}

func TestTheValueLiesInsideItsInterval(t *testing.T) {
	for trial := range uint64(40) {
		c := documentOf(cellOf("native", true, runsOf("inside", trial, 6, 1000, 1e6))).Cells[0]
		for m, span := range []*Span{c.CI95.Mean, c.CI95.P50, c.CI95.P90, c.CI95.P99} {
			if v := *c.at(metric(m)); span[0] > v || v > span[1] {
				t.Errorf("trial %d, %s: %d outside of %v", trial, metricNames[m], v, *span)
			}
		}
	}
}

func TestFewerThanSixRunsGiveNoIntervalAndNoVerdict(t *testing.T) {
	r := documentOf(cellOf("native", true, sameRuns(1e6, 5)), cellOf("emulate", true, sameRuns(2e6, 5)))
	if r.Cells[0].CI95.P99 != nil || r.Comparisons[3].CI95 != nil || r.Comparisons[3].Verdict != Inconclusive {
		t.Errorf("interval %v, comparison %+v", r.Cells[0].CI95.P99, r.Comparisons[3])
	}
	if v := r.Verdicts[0]; v.Winner != "" || v.Outcome != OutcomeWithheld || !containsText([]string{v.Sentence}, "5 runs of the 6") {
		t.Errorf("%+v", v)
	}
}

func TestAnOutlyingRunIsNamedAndWithholdsTheVerdict(t *testing.T) {
	slow := runsOf("s", 0, 12, 1200, 1e6)
	slow[7] = runsOf("s", 1, 1, 1200, 3.5e6)[0]
	r := documentOf(cellOf("native", true, slow), cellOf("emulate", true, runsOf("t", 0, 12, 1200, 9e6)))
	if c := r.Cells[0]; len(c.Outliers) != 1 || c.Outliers[0] != 7 || !containsText(c.Warnings, "run 8 (seed 7) is an outlier") {
		t.Errorf("outliers %v, warnings %q", c.Outliers, c.Warnings)
	}
	if v := r.Verdicts[0]; v.Outcome != OutcomeWithheld || v.Winner != "" {
		t.Errorf("%+v", v)
	}
}

func TestPartialCellsTakeNoPartInAVerdict(t *testing.T) {
	partial := cellOf("none", true, runsOf("p", 0, 8, 1200, 0.9e6))
	partial.planned = 12
	r := documentOf(cellOf("native", true, runsOf("n", 0, 12, 1200, 1e6)), cellOf("emulate", true, runsOf("e", 0, 12, 1200, 2e6)), partial)
	v := r.Verdicts[0]
	if v.Winner != "native" || !containsText([]string{v.Sentence}, "none is partial: no part in this verdict") {
		t.Errorf("%+v", v)
	}
	if c := r.ComparisonOf(partial); c.CI95 != nil || c.Verdict != Inconclusive {
		t.Errorf("%+v", c)
	}
}

func TestARunThatEndsAtABoundIsPartial(t *testing.T) {
	c := cellOf("native", true, runsOf("n", 0, 12, 1200, 1e6))
	c.commits = 2000
	for _, run := range c.runs[:3] {
		run.Short = true
	}
	documentOf(c)
	if c.Status != StatusPartial || c.Reason != "3 of 12 runs reached their bound in time before their 2,000 commits were done, one with 1,200" {
		t.Errorf("%s: %s", c.Status, c.Reason)
	}
}

func TestWhatHasNotSettledTakesNoPart(t *testing.T) {
	raw := cellOf("none", true, runsOf("p", 0, 12, 1200, 1e5))
	raw.Settled, raw.notSettled = false, "dirty bytes still grow"
	r := documentOf(cellOf("native", true, runsOf("n", 0, 12, 1200, 1e6)), cellOf("emulate", true, runsOf("e", 0, 12, 1200, 2e6)), raw)
	if v := r.Verdicts[0]; v.Winner != "native" || !containsText([]string{v.Sentence}, "none had not settled") {
		t.Errorf("%+v", v)
	}
	if !containsText(raw.Warnings, "dirty bytes still grow") {
		t.Errorf("%q", raw.Warnings)
	}
}

func TestLossesThatGrowWithTheRunAreNotSettled(t *testing.T) {
	cell := func(slope float64) *Cell {
		c := cellOf("none-unsafe", false, runsOf("n", 0, 8, 1200, 1e6))
		for k, run := range c.runs {
			run.Durability = new(Durability)
			s := sim.Seed(k).Stream("lost")
			for i := range 50 {
				lost := 1000 + slope*float64(i) + 100*s.Float64(uint64(i), 0)
				run.Durability.AddAt(Cut{Acked: 10, Lost: int64(lost)}, sim.Duration(i), 50)
			}
		}
		c.Settled = true
		return documentOf(c).Cells[0]
	}
	if c := cell(10); c.Settled != false || !containsText(c.Warnings, "what a power cut lost rose from") {
		t.Errorf("settled %v, warnings %q", c.Settled, c.Warnings)
	}
	if c := cell(0); c.Settled != true {
		t.Errorf("settled %v, warnings %q", c.Settled, c.Warnings)
	}
}

// openCell is an open loop of which that share of arrivals was done.
func openCell(id string, level, done float64) *Cell {
	c := cellOf(id, true, runsOf(id, 0, 12, 1200, level))
	c.Arrival = "poisson"
	for _, run := range c.runs {
		run.Elapsed = 4e9
		run.Load = LoadCounts{Arrivals: 1200, Done: int64(1200 * done), BacklogMiddle: int64(600 * (1 - done)), BacklogEnd: int64(1200 * (1 - done))}
		run.Service = run.Commit
	}
	return c
}

func TestOverloadIsNotRanked(t *testing.T) {
	r := documentOf(openCell("native", 1e6, 0.83), openCell("emulate", 2e6, 1), openCell("none", 3e6, 1))
	c := r.Cells[0]
	if c.Status != StatusUnsustained || *c.Offered != 300 || *c.Achieved != 249 || c.Rates.Commits != 249 {
		t.Errorf("%s, offered %v, achieved %v, rate %v", c.Status, *c.Offered, *c.Achieved, c.Rates)
	}
	v := r.Verdicts[0]
	if v.Winner != "emulate" || !containsText([]string{v.Sentence}, "native did 249 of 300/s") {
		t.Errorf("%+v", v)
	}
	for _, x := range r.Comparisons {
		if x.B == "native" || x.A == "native" {
			t.Errorf("compared with what does not keep up: %+v", x)
		}
	}
	verdict := documentOf(openCell("native", 1e6, 0.83), openCell("emulate", 2e6, 1)).Verdicts[0]
	if verdict.Winner != "emulate" || verdict.Metric != "" || verdict.Headline != "emulate alone sustained 300/s" {
		t.Errorf("%+v", verdict)
	}
	nobody := documentOf(openCell("native", 1e6, 0.83), openCell("emulate", 2e6, 0.5)).Verdicts[0]
	if nobody.Outcome != OutcomeWithheld || nobody.Winner != "" {
		t.Errorf("%+v", nobody)
	}
}

// driftingCell is a cell in real time whose runs get slower by that factor from
// the middle on.
func driftingCell(id string, level, factor float64) *Cell {
	runs := runsOf("d", 0, 12, 1200, level)
	later := runsOf("d", 0, 12, 1200, level*factor)
	s := sim.Seed(4).Stream(id)
	for k := range runs {
		one := level * (1 + 0.02*s.Float64(uint64(k), 0))
		if k >= 6 {
			one *= factor
		}
		runs[k] = runsOf(id, uint64(k), 1, 1200, one)[0]
	}
	_ = later
	c := cellOf(id, true, runs)
	c.Clock = "real"
	return c
}

func TestATargetThatDriftsHasNoWinner(t *testing.T) {
	r := documentOf(driftingCell("pass", 1e6, 1.6), driftingCell("none", 2e6, 1.6))
	v := r.Verdicts[0]
	if v.Outcome != OutcomeWithheld || !containsText([]string{v.Sentence}, "the target drifted") || !containsText(r.Cells[0].Warnings, "the target drifted") {
		t.Errorf("%+v, warnings %q", v, r.Cells[0].Warnings)
	}
	if v := documentOf(driftingCell("pass", 1e6, 1), driftingCell("none", 2e6, 1)).Verdicts[0]; v.Winner != "pass" {
		t.Errorf("without drift: %+v", v)
	}
}

func TestTheDriftTestErrsInOneOfAHundred(t *testing.T) {
	const trials = 2000
	found, draw := 0, sim.Seed(8).Stream("blocks")
	for k := range uint64(trials) {
		y := make([]float64, 10)
		for i := range y {
			y[i] = draw.Normal(k, uint64(i))
		}
		_, s := trend(y)
		if math.Abs(s) > critical(5, 8) { // 5% over 5 is 1%
			found++
		}
	}
	if share := float64(found) / trials; share < 0.004 || share > 0.018 {
		t.Errorf("%.1f%% of blocks without drift are said to drift, want 1%%", 100*share)
	}
}

func TestLatenessThatCouldReverseAVerdictWithholdsIt(t *testing.T) {
	cell := func(id string, level float64, late sim.Duration) *Cell {
		c := cellOf(id, true, runsOf(id, 0, 12, 1200, level))
		for _, run := range c.runs {
			run.Late = &ReplyLateness{P50: late / 10, P99: late, Max: 2 * late}
		}
		return c
	}
	late := documentOf(cell("native", 1e6, 0), cell("emulate", 1.5e6, 6e5)).Verdicts[0]
	if late.Outcome != OutcomeWithheld || !containsText([]string{late.Sentence}, "emulate were up to 600 µs late") {
		t.Errorf("%+v", late)
	}
	if v := documentOf(cell("native", 1e6, 3e5), cell("emulate", 1.5e6, 1e5)).Verdicts[0]; v.Winner != "native" {
		t.Errorf("%+v", v)
	}
}

func TestOneMetricDecides(t *testing.T) {
	// p99 alike, p50 twice as long: by p99 they tie, and nothing else is tried
	mix := func(name string, fast float64) []*Distribution {
		out := make([]*Distribution, 12)
		for k := range out {
			h := NewHistogram()
			for i := range 1200 {
				if i%20 == 0 {
					h.Record(sim.Duration(1e7 + 1e4*float64(k)))
				} else {
					h.Record(sim.Duration(fast))
				}
			}
			out[k] = h.Freeze()
		}
		return out
	}
	native, emulate := mix("n", 1e6), mix("e", 2e6)
	r := documentOf(cellOf("native", true, native), cellOf("emulate", true, emulate))
	if v := r.Verdicts[0]; v.Winner != "" || v.Outcome != OutcomeEquivalent {
		t.Errorf("by p99: %+v", v)
	}
	r = NewRun(Tool{}, nil, 1)
	r.Decide = "commit.p50"
	r.Add(cellOf("native", true, native))
	r.Add(cellOf("emulate", true, emulate))
	r.Finish()
	if v := r.Verdicts[0]; v.Winner != "native" || v.Metric != "commit.p50" {
		t.Errorf("by p50: %+v", v)
	}
}

func TestASentenceGivesTheRatioOfRatesThatThePercentileHides(t *testing.T) {
	native, emulate := cellOf("native", true, sameRuns(1e6, 12)), cellOf("emulate", true, sameRuns(10e6, 12))
	for k := range native.runs {
		native.runs[k].Elapsed, emulate.runs[k].Elapsed = 100e9, 150e9
	}
	v := documentOf(native, emulate).Verdicts[0]
	if !containsText([]string{v.Sentence}, "native does 1.50 times the commits a second (11.0 against 7.33)") {
		t.Error(v.Sentence)
	}
}

func TestLittlesLawIsChecked(t *testing.T) {
	cell := func(round sim.Duration) *Cell {
		c := cellOf("native", true, sameRuns(1e6, 12))
		c.QueueDepth = 2
		for _, run := range c.runs {
			run.Elapsed = 1100 * 1e6 / 2
			run.Load = LoadCounts{Iterations: 1100, IterationTime: 1100 * round}
		}
		return documentOf(c).Cells[0]
	}
	if c := cell(1e6); c.Little == nil || math.Abs(*c.Little-1) > 1e-9 || containsText(c.Warnings, "Little") {
		t.Errorf("%v %q", c.Little, c.Warnings)
	}
	if c := cell(0.9e6); math.Abs(*c.Little-0.9) > 1e-9 || !containsText(c.Warnings, "Little") {
		t.Errorf("%v %q", c.Little, c.Warnings)
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

func TestAPercentileThatIsNullDecidesNothing(t *testing.T) {
	a, b := runsOf("a", 0, 6, 100, 1e6), runsOf("b", 0, 6, 100, 2e6) // 600 commits: no p99
	r := documentOf(cellOf("native", true, a), cellOf("emulate", true, b))
	for _, c := range r.Comparisons {
		if c.Metric == "commit.p99" {
			t.Errorf("compared: %+v", c)
		}
	}
	if v := r.Verdicts[0]; v.Winner != "" || !containsText([]string{v.Sentence}, "too few commits (600) for p99") {
		t.Errorf("verdict %+v", v)
	}
}

func TestRunsOfOneSeedArePaired(t *testing.T) {
	// the runs share their levels, so pairs differ far less than runs do
	a, b := runsOf("a", 0, 12, 1200, 1e6), runsOf("a", 0, 12, 1200, 2e6)
	r := documentOf(cellOf("native", true, a), cellOf("emulate", true, b))
	for _, c := range r.Comparisons {
		if c.Verdict != Slower || c.CI95[1]-c.CI95[0] > 0.05 {
			t.Errorf("%+v", c)
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
