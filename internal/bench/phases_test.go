package bench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/results"
)

// quickThenSlow has a phase that settles at once, and one that fills the cache of a
// 990 Pro first.
const quickThenSlow = `
regions: [{name: data, size: 10%}]
streams:
  - {name: quick, transaction: [{op: write, durable: true, size: 4k, region: data}]}
  - {name: slow, transaction: [{op: write, durable: true, size: 4k, region: data}], between: [{op: write, size: 4k, count: 4, parallel: true, region: data, pattern: random}]}
phases: [{streams: [FIRST]}, {streams: [SECOND]}]
`

// TestEachPhaseHasAWarmUpOfItsOwn, as long as it takes alone, in whatever order.
func TestEachPhaseHasAWarmUpOfItsOwn(t *testing.T) {
	warmups := func(first, second string) []time.Duration {
		load := strings.NewReplacer("FIRST", first, "SECOND", second).Replace(quickThenSlow)
		p := plan("nvme-990pro", fileOfLoad(t, "phases", load), "native")
		p.Warmup = WarmupAuto
		cells, err := p.Cells()
		if err != nil {
			t.Fatal(err)
		}
		if err := settleCells(t.Context(), &p, cells); err != nil {
			t.Fatal(err)
		}
		if c := &cells[0]; c.Settled != true || c.Warmup != slices.Max(c.Warmups) {
			t.Errorf("%s, %s: settled %v (%s), %v of %v", first, second, c.Settled, c.NotSettled, c.Warmup, c.Warmups)
		}
		return cells[0].Warmups
	}
	one, two := warmups("quick", "slow"), warmups("slow", "quick")
	if len(one) != 2 || len(two) != 2 || one[0] >= one[1] || two[0] <= two[1] {
		t.Errorf("quick, slow: %v; slow, quick: %v", one, two)
	}
}

// TestAPhaseThatEndsByItselfIsMeasuredFromItsBeginning, and all that it did counts.
func TestAPhaseThatEndsByItselfIsMeasuredFromItsBeginning(t *testing.T) {
	load := fileOfLoad(t, "filled", `
streams:
  - {name: fill, transactions: 300, transaction: [{op: write, size: 1MiB}]}
  - {name: log, transaction: [{op: write, durable: true, size: 4k}]}
phases: [{streams: [fill]}, {streams: [log]}]
`)
	p := plan("nvme-990pro", load, "native none")
	p.Warmup = WarmupAuto
	doc := mustRun(t, p)
	for _, c := range doc.Cells {
		if c.Settled != true || len(c.PhaseWarmups) != 2 || c.PhaseWarmups[0] != 0 || c.PhaseWarmups[1] == 0 || c.Warmup != c.PhaseWarmups[1] {
			t.Errorf("%s: settled %v, warm-ups %v", c.ID, c.Settled, c.PhaseWarmups)
		}
		if n := c.Streams[0].Ops.Write.Count; n != 300*int64(c.Runs) {
			t.Errorf("%s: %d writes of 1 MiB were measured, want %d", c.ID, n, 300*c.Runs)
		}
	}
	p.Warmup, p.Strategies = Warmup(50*time.Millisecond), []string{"native"}
	if c := mustRun(t, p).Cells[0]; c.PhaseWarmups != nil || c.Streams[0].Ops.Write.Count >= 300*int64(c.Runs) {
		t.Errorf("a warm-up that was asked for: %v, %d writes", c.PhaseWarmups, c.Streams[0].Ops.Write.Count)
	}
}

// TestALoadThatEndsByItselfNeedsNoSteadyState: it is measured whole, from a clean
// device.
func TestALoadThatEndsByItselfNeedsNoSteadyState(t *testing.T) {
	p := plan("nvme-990pro", fileOfLoad(t, "once", "streams:\n  - {name: once, transactions: 100, transaction: [{op: write, durable: true, size: 4k}]}\n"), "native")
	p.Warmup, p.Commits = WarmupAuto, 100
	if c := mustRun(t, p).Cells[0]; c.Settled != results.CleanDevice || c.Warmup != 0 || c.Commit.Count != 100*int64(c.Runs) {
		t.Errorf("settled %v, warm-up %v, %d commits", c.Settled, c.Warmup, c.Commit.Count)
	}
}

// TestAFlagThatSetsTheClockLeavesWhatThePlanSays of runs and of their length.
func TestAFlagThatSetsTheClockLeavesWhatThePlanSays(t *testing.T) {
	load := func(text string) Plan {
		path := filepath.Join(t.TempDir(), "plan.yaml")
		if err := os.WriteFile(path, []byte("devices: [ram]\n"+text), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		p.UseTarget("nbd://localhost")
		return p
	}
	if p := load("commits: 25\nruns: 3\n"); p.Commits != 25 || p.Duration != 0 || p.Runs != 3 || p.MoreRuns {
		t.Errorf("%d commits, %v, %d runs, more %v", p.Commits, p.Duration, p.Runs, p.MoreRuns)
	}
	if p := load("duration: 5s\n"); p.Duration != 5*time.Second || !p.MoreRuns {
		t.Errorf("%v, more runs %v", p.Duration, p.MoreRuns)
	}
	if p := load("seed: 2\n"); p.Commits != 0 || p.Duration != realDuration || !p.MoreRuns {
		t.Errorf("%d commits, %v, more runs %v", p.Commits, p.Duration, p.MoreRuns)
	}
}
