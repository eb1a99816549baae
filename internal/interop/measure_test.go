package interop

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/internal/bench"
	"nbdbench/results"
	"nbdbench/workloads"
)

// targetPlan compares two strategies on a target in runs of that length.
func targetPlan(uri string, runs int, duration time.Duration) bench.Plan {
	p := bench.Default()
	p.UseTarget(uri)
	p.Workloads, p.Strategies = []workloads.Ref{{Name: "sync-4k"}}, []string{"pass", "none"}
	shorten(&p, runs, duration)
	return p
}

// shorten has a plan of a server that is not ours make runs of that length.
func shorten(p *bench.Plan, runs int, duration time.Duration) {
	p.Runs, p.MoreRuns = runs, false
	p.UseDuration(duration)
	p.Warmup = bench.Warmup(100 * time.Millisecond)
}

// TestATargetThatGetsSlowerHasNoWinner: the rate filter gives both strategies the
// same rate, and a fifth less from the middle of the run on. Strategies measured one
// after the other would differ by that.
func TestATargetThatGetsSlowerHasNoWinner(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rate")
	set := func(rate string) {
		if err := os.WriteFile(file, []byte(rate), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("16000000\n")
	uri, _ := nbdkit(t, "--filter=rate", "memory", "64M", "rate-file="+file, "burstiness=0.05")
	p := targetPlan(uri, 12, 250*time.Millisecond)
	doc, err := bench.Run(context.Background(), &p, func(done, total int, _ string) {
		if done == total/2 {
			set("12800000\n")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	v := doc.Verdicts[0]
	if v.Winner != "" || v.Outcome != results.OutcomeWithheld || !strings.Contains(v.Sentence, "the target drifted") {
		t.Errorf("%s: %s", v.Outcome, v.Sentence)
	}
	for _, c := range doc.Cells {
		if !slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, "the target drifted") }) {
			t.Errorf("%s warns of %q", c.ID, c.Warnings)
		}
	}
	if len(doc.Order) != 12 || len(doc.Order[0]) != 2 || slices.EqualFunc(doc.Order[1:], doc.Order[:11], slices.Equal) {
		t.Errorf("the order of runs is %v, want 12 blocks of 2 in random order", doc.Order)
	}
	t.Log(v.Sentence)
}

// TestP50IsThatOfFio: on one server whose writes take 5 ms, alternating with fio.
func TestP50IsThatOfFio(t *testing.T) {
	if os.Getenv("NBDBENCH_TIMING") != "1" {
		t.Skip("this is about time, which takes a machine with nothing else to do: set NBDBENCH_TIMING=1")
	}
	uri, _ := nbdkit(t, "--filter=delay", "memory", "64M", "wdelay=5ms")
	var ours, theirs []timed
	for range 7 {
		p := targetPlan(uri, 1, time.Second)
		p.Strategies = []string{"none-unsafe"} // a plain write, as fio's nbd engine sends it
		ours = append(ours, ourTimes(t, p))
		theirs = append(theirs, fioTimes(t, uri))
	}
	alike(t, "ops.write under none-unsafe", ours, theirs, func(m timed) float64 { return m.write })
}
