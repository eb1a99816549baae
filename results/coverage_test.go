package results

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nbdbench/sim"
)

// Of intervals, only a simulation shows that they cover what they are said to.
// make coverage runs it in full and writes the tables of docs/STATISTICS.md; the
// ordinary test is a part of it.

var coverageTrials = flag.Int("coverage.trials", 0, "trials of each model of coverage; 0 is a reduced form, 5000 is the table of docs/STATISTICS.md")

// study is how much is simulated, and what is asked of the outcome.
type study struct {
	trials, tables, truthRuns int
	models                    []*model
	low, high                 float64 // coverage
	most                      float64 // of tables of equals that name a winner
}

// newStudy is the full study, or the reduced one, whose bounds are as much wider as
// so few trials scatter: 200 of them by 1.5%.
func newStudy() study {
	if n := *coverageTrials; n > 0 {
		s := study{trials: n, tables: max(n/5, 1), truthRuns: 20 * n, low: 0.925, high: 0.975, most: 0.05}
		s.models = models(s.truthRuns)
		return s
	}
	s := study{trials: 200, tables: 20, truthRuns: 4000, low: 0.90, high: 0.99, most: 0.10}
	all := models(s.truthRuns)
	s.models = []*model{all[0], all[5], all[6], all[7]}
	return s
}

// sizes are the numbers of runs at which coverage is measured; after them comes the
// procedure of real time.
var sizes = [...]int{6, 12, 30}

// portion counts how often something was so.
type portion struct{ yes, of int }

func (p *portion) add(yes bool) {
	p.of++
	if yes {
		p.yes++
	}
}

func (p portion) value() float64 { return float64(p.yes) / float64(p.of) }

func (p portion) String() string { return fmt.Sprintf("%.1f", 100*p.value()) }

// finding is what was measured of one model.
type finding struct {
	cells            [numMetrics][len(sizes) + 1]portion
	ended            [numMetrics]float64 // runs of the procedure of real time, on average
	paired, unpaired [numMetrics][len(sizes)]portion
	one              [len(sizes)]answers // tables of one group
	six              answers             // of six groups, at 12 runs
	power            [len(shifts)][numMetrics][2]portion
	slow             [len(sizes)]slowRuns
}

// slowRuns is what the rule of outliers makes of the rare slow runs.
type slowRuns struct {
	have  portion // cells that have one
	named portion // of those, each was named
	false portion // of the others, a run was named
}

// answers are what tables of equals said.
type answers struct{ any, comparisons, verdicts, withheld portion }

func TestCoverageOfIntervals(t *testing.T) {
	s := newStudy()
	found := make([]finding, len(s.models))
	t.Run("of", func(t *testing.T) {
		for i, m := range s.models {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				f := &found[i]
				seed := uint64(i) << 32
				f.cover(m, seed, s.trials)
				f.coverRatios(m, s.models[len(s.models)-2], seed, s.trials)
				f.compareEquals(m, seed, s.trials, s.tables)
				f.findShifts(m, seed, s.trials)
				f.check(t, m, &s)
			})
		}
	})
	text := tables(&s, found)
	if *coverageTrials > 0 {
		t.Logf("\n%s", text)
		updateStatistics(t, "coverage", text)
	}
}

// cover counts how often the interval of a cell holds the truth.
func (f *finding) cover(m *model, seed uint64, trials int) {
	want := m.truth()
	for trial := range trials {
		s := newSampler(seed, uint64(trial))
		runs, slow := s.runs(m, sizes[len(sizes)-1])
		for k := range numMetrics {
			figures := figuresOf(runs, k)
			for i, n := range sizes {
				f.cells[k][i].add(holds(estimateOf(figures[:n], k).span, want.value[k]))
			}
			e, n := untilKnown(figures, k)
			f.cells[k][len(sizes)].add(holds(e.span, want.value[k]))
			f.ended[k] += float64(n) / float64(trials)
		}
		for i, n := range sizes {
			f.slow[i].count(outliersOf(figuresOf(runs[:n], metricP99)), slow, n)
		}
	}
}

// untilKnown is the procedure of real time for a cell: it ends at the first look
// at which the interval is narrow, or at the last.
func untilKnown(figures []figure, m metric) (e estimate, n int) {
	for _, n = range Looks {
		if e = estimateOf(figures[:n], m); e.within(Narrow) {
			break
		}
	}
	return e, n
}

func (s *slowRuns) count(named, slow []int, runs int) {
	slow = slices.DeleteFunc(slices.Clone(slow), func(i int) bool { return i >= runs })
	s.have.add(len(slow) > 0)
	if len(slow) == 0 {
		s.false.add(len(named) > 0)
		return
	}
	s.named.add(!slices.ContainsFunc(slow, func(i int) bool { return !slices.Contains(named, i) }))
}

func holds(span *[2]float64, v float64) bool { return span[0] <= v && v <= span[1] }

// coverRatios counts how often the interval of a ratio holds the truth: of pairs
// that share their level, one side 20% slower, and of runs that share nothing with
// those of another model that varies less.
func (f *finding) coverRatios(m, other *model, seed uint64, trials int) {
	a, b := m.truth(), other.truth()
	most := sizes[len(sizes)-1]
	for trial := range trials {
		s := newSampler(seed+1, uint64(trial))
		var base, slower []*Distribution
		for range most {
			level, _ := m.level(s.draw)
			base, slower = append(base, s.run(m, level)), append(slower, s.run(m, 1.2*level))
		}
		apart, _ := s.runs(other, most)
		for k := range numMetrics {
			x, y, z := figuresOf(slower, k), figuresOf(base, k), figuresOf(apart, k)
			for i, n := range sizes {
				f.paired[k][i].add(holds((*[2]float64)(effectOf(x[:n], y[:n], true, 1).span), 1.2))
				f.unpaired[k][i].add(holds((*[2]float64)(effectOf(y[:n], z[:n], false, 1).span), math.Exp(a.logs[k]-b.logs[k])))
			}
		}
	}
}

// equals are the strategies of a table in which all are equal.
var equals = []string{"native", "emulate", "none"}

// compareEquals makes tables of equal strategies.
func (f *finding) compareEquals(m *model, seed uint64, trials, sixes int) {
	for trial := range trials {
		s := newSampler(seed+2, uint64(trial))
		var cells [][]*Distribution
		for range equals {
			runs, _ := s.runs(m, sizes[len(sizes)-1])
			cells = append(cells, runs)
		}
		for i, n := range sizes {
			r := NewRun(Tool{}, nil, 1)
			addGroup(r, "d", n, cells)
			f.one[i].count(r)
		}
	}
	for trial := range sixes {
		s := newSampler(seed+3, uint64(trial))
		r := NewRun(Tool{}, nil, 1)
		for g := range 6 {
			var cells [][]*Distribution
			for range equals {
				runs, _ := s.runs(m, 12)
				cells = append(cells, runs)
			}
			addGroup(r, fmt.Sprint("d", g), 12, cells)
		}
		f.six.count(r)
	}
}

func addGroup(r *Run, device string, runs int, cells [][]*Distribution) {
	for i, name := range equals {
		c := NewCell(CellConfig{
			ID: device + "/w/" + name, Device: device, Workload: "w", Strategy: name, Clock: "virtual", Link: "unix",
			QueueDepth: 1, Connections: 1, Runs: runs, Durable: true, WhoDurable: "device",
		})
		for k, d := range cells[i][:runs] {
			c.Add(&RunResult{Seed: sim.Seed(k), Elapsed: 1e9, Commit: d})
		}
		r.Add(c)
	}
}

// count finishes a table of equals and reads what it says.
func (a *answers) count(r *Run) {
	r.Finish()
	compared := slices.ContainsFunc(r.Comparisons, func(c Comparison) bool { return distinguishes(c.Verdict + " " + c.Sentence) })
	judged := slices.ContainsFunc(r.Verdicts, func(v Verdict) bool { return distinguishes(v.Outcome + " " + v.Headline + " " + v.Sentence) })
	a.any.add(compared || judged)
	a.comparisons.add(compared)
	a.verdicts.add(judged)
	a.withheld.add(slices.ContainsFunc(r.Verdicts, func(v Verdict) bool { return v.Outcome == OutcomeWithheld }))
}

func distinguishes(text string) bool {
	return slices.ContainsFunc([]string{Faster, Slower, OutcomeWins}, func(w string) bool { return strings.Contains(text, w) })
}

// shifts are the differences that are planted to see how often they are found.
var shifts = [...]float64{0.05, 0.10}

// findShifts counts how often a strategy that is slower by a shift is called slower
// after 12 runs: where pairs share their level, and where no run shares anything.
func (f *finding) findShifts(m *model, seed uint64, trials int) {
	const runs = 12
	for trial := range trials {
		s := newSampler(seed+4, uint64(trial))
		for i, shift := range shifts {
			var base, same, apart []*Distribution
			for range runs {
				level, _ := m.level(s.draw)
				other, _ := m.level(s.draw)
				base = append(base, s.run(m, level))
				same, apart = append(same, s.run(m, level*(1+shift))), append(apart, s.run(m, other*(1+shift)))
			}
			for k := range numMetrics {
				x := figuresOf(base, k)
				f.power[i][k][0].add(effectOf(figuresOf(same, k), x, true, 1).verdict() == Slower)
				f.power[i][k][1].add(effectOf(figuresOf(apart, k), x, false, 1).verdict() == Slower)
			}
		}
	}
}

// shortOf are the intervals that do not reach the bound, with what they reach at
// least. Where a run's p99 is one of two values, the share that t covers goes up and
// down with the number of runs, as that of any normal interval of a binomial share
// does (Brown, Cai and DasGupta, Statistical Science 16(2), 2001).
var shortOf = map[string]float64{"bimodal, 1% slow: commit.p99, 12 runs": 0.92}

// check holds a finding against the bounds. No method covers what happens in one
// run of ten.
func (f *finding) check(t *testing.T, m *model, s *study) {
	covers := func(what string, p portion) {
		low := s.low
		if floor, known := shortOf[m.name+": "+what]; known {
			low = min(low, floor)
		}
		if v := p.value(); v < low || v > s.high {
			t.Errorf("%s: the interval covers in %s%% of %d trials, want %.1f%% to %.1f%%", what, p, p.of, 100*s.low, 100*s.high)
		}
	}
	for k := range numMetrics {
		for i, p := range f.cells[k] {
			if m.rare == 0 {
				covers(fmt.Sprintf("%s, %s", metricNames[k], columnOf(i)), p)
			}
		}
		for i, n := range sizes {
			if m.rare == 0 {
				covers(fmt.Sprintf("ratio of %s, paired, %d runs", metricNames[k], n), f.paired[k][i])
				covers(fmt.Sprintf("ratio of %s, unpaired, %d runs", metricNames[k], n), f.unpaired[k][i])
			}
		}
	}
	for i, a := range append(f.one[:], f.six) {
		if a.any.value() > s.most {
			t.Errorf("tables of equals (%d): %s%% of %d name one faster, slower or a winner, want at most %.0f%%", i, a.any, a.any.of, 100*s.most)
		}
	}
}

func columnOf(i int) string {
	if i < len(sizes) {
		return fmt.Sprintf("%d runs", sizes[i])
	}
	return "procedure of real time"
}

// updateStatistics puts text between the two comments of this name in
// docs/STATISTICS.md, if it was asked for.
func updateStatistics(t *testing.T, section, text string) {
	t.Helper()
	if !*update {
		return
	}
	path := filepath.Join("..", "docs", "STATISTICS.md")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opens, closes := "<!-- "+section+" -->\n", "<!-- /"+section+" -->"
	head, rest, ok := strings.Cut(string(old), opens)
	_, tail, ok2 := strings.Cut(rest, closes)
	if !ok || !ok2 {
		t.Fatalf("%s has no section %q", path, section)
	}
	if err := os.WriteFile(path, []byte(head+opens+"\n"+strings.TrimSpace(text)+"\n\n"+closes+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tables are the findings as Markdown.
func tables(s *study, found []finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d trials a model, %d commits a run. Each entry is in percent.\n\n", s.trials, commitsARun)
	coverageTables(&b, s.models, found)
	equalTables(&b, s.models, found)
	powerTable(&b, s.models, found)
	return b.String()
}

// row joins one percentage for each metric; several of one metric by spaces.
func row(b *strings.Builder, name string, cell func(k metric) string) {
	fmt.Fprintf(b, "| %s |", name)
	for k := range numMetrics {
		fmt.Fprintf(b, " %s |", cell(k))
	}
	b.WriteString("\n")
}

func joined(p []portion) string {
	var parts []string
	for _, x := range p {
		parts = append(parts, x.String())
	}
	return strings.Join(parts, " ")
}

const metricHead = " | mean | p50 | p90 | p99 |\n|---|---|---|---|---|\n"

func coverageTables(b *strings.Builder, models []*model, found []finding) {
	b.WriteString("**Intervals of a cell** that hold the true value, at 6, 12 and 30 runs and with the procedure of real time:\n\n| model of a run" + metricHead)
	for i, m := range models {
		row(b, m.name, func(k metric) string { return joined(found[i].cells[k][:]) })
	}
	b.WriteString("\nRuns that the procedure of real time made, on average:\n\n| model of a run" + metricHead)
	for i, m := range models {
		row(b, m.name, func(k metric) string { return fmt.Sprintf("%.1f", found[i].ended[k]) })
	}
	b.WriteString("\n**Intervals of a ratio** that hold the true ratio, at 6, 12 and 30 runs. Paired: both sides share the run's level. Unpaired: against runs of the model without variance between runs.\n\n| model of a run" + metricHead)
	for i, m := range models {
		row(b, m.name+", paired", func(k metric) string { return joined(found[i].paired[k][:]) })
		row(b, m.name+", unpaired", func(k metric) string { return joined(found[i].unpaired[k][:]) })
	}
}

func equalTables(b *strings.Builder, models []*model, found []finding) {
	b.WriteString("\n**Tables of equal strategies** (native, emulate, none) in which any comparison, by any metric, or any verdict says faster, slower or wins. One device and workload at 6, 12 and 30 runs; six of them at 12 runs, in a fifth as many tables.\n\n")
	b.WriteString("| model of a run | one: any word | a comparison | a verdict | verdict withheld | six: any word | a comparison | a verdict |\n|---|---|---|---|---|---|---|---|\n")
	for i, m := range models {
		f := &found[i]
		pick := func(get func(a *answers) portion) string {
			var p []portion
			for k := range f.one {
				p = append(p, get(&f.one[k]))
			}
			return joined(p)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", m.name,
			pick(func(a *answers) portion { return a.any }), pick(func(a *answers) portion { return a.comparisons }),
			pick(func(a *answers) portion { return a.verdicts }), pick(func(a *answers) portion { return a.withheld }),
			f.six.any, f.six.comparisons, f.six.verdicts)
	}
	b.WriteString("\n**The rule of outliers** where one run in ten is 3 times slower:\n\n| runs | cells that have such a run | of those, all are named | of the others, a run is named |\n|---|---|---|---|\n")
	for i, n := range sizes {
		s := &found[len(found)-1].slow[i]
		fmt.Fprintf(b, "| %d | %s | %s | %s |\n", n, s.have, s.named, s.false)
	}
}

func powerTable(b *strings.Builder, models []*model, found []finding) {
	b.WriteString("\n**Shifts that are found**: a strategy that is slower by 5% and by 10% is called slower after 12 runs, that is, slower by more than the margin of 3%. Paired: both share the run's level. Unpaired: nothing is shared.\n\n| model of a run" + metricHead)
	for i, m := range models {
		for how, name := range []string{"paired", "unpaired"} {
			row(b, m.name+", "+name, func(k metric) string {
				return joined([]portion{found[i].power[0][k][how], found[i].power[1][k][how]})
			})
		}
	}
}

// figuresOf reads a metric of each run.
func figuresOf(runs []*Distribution, m metric) []figure {
	out := make([]figure, len(runs))
	for i, d := range runs {
		out[i] = figureOf(d, m)
	}
	return out
}
