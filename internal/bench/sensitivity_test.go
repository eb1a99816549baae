package bench

import (
	"bytes"
	"context"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"nbdbench/devices/catalog"
	"nbdbench/results"
	"nbdbench/sim"
)

// varyPlan varies a device's estimates in a plan of few commits.
func varyPlan(device string) Plan {
	p := plan(device, "sync-4k", "native emulate none-unsafe")
	p.Runs, p.Commits, p.Sensitivity, p.Cuts = 6, 1000, true, 1
	return p
}

// flipped is the document of a plan whose verdict depends on an estimate; tests leave it
// as it is.
var flipped = sync.OnceValue(func() *results.Run {
	p := varyPlan("testdata/estimated-fua.yaml")
	doc, err := Run(context.Background(), &p, nil)
	if err != nil {
		panic(err)
	}
	return doc
})

func documentText(t *testing.T, doc *results.Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := doc.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func rowOf(t *testing.T, doc *results.Run, parameter string) *results.Sensitivity {
	t.Helper()
	i := slices.IndexFunc(doc.Sensitivity, func(s results.Sensitivity) bool { return s.Parameter == parameter })
	if i < 0 {
		t.Fatalf("no row for %s", parameter)
	}
	return &doc.Sensitivity[i]
}

func TestAnEstimateThatChangesTheVerdictIsNamed(t *testing.T) {
	doc := flipped()
	s := rowOf(t, doc, "ssd.fua_base")
	if *s.Value != 1e6 || *s.Low != 5e5 || *s.High != 2e6 || s.Unit != "ns" || s.Baseline != "native wins" {
		t.Errorf("%+v", s)
	}
	if s.ChangesVerdict == nil || !*s.ChangesVerdict || s.Verdict != "changes at 2.00 ms: emulate wins" {
		t.Errorf("%q, %v", s.Verdict, s.ChangesVerdict)
	}
	if low, high := s.Points[0], s.Points[1]; *low.ChangesVerdict || !*high.ChangesVerdict || low.Verdict != "native wins" || high.Verdict != "emulate wins" {
		t.Errorf("points %+v", s.Points)
	}
	for _, path := range []string{"ssd.read_base", "cache.high_water"} {
		if s := rowOf(t, doc, path); s.Verdict != "holds" || s.ChangesVerdict == nil || *s.ChangesVerdict {
			t.Errorf("%s: %q", path, s.Verdict)
		}
	}
	if n := len(doc.Sensitivity); n != 4 {
		t.Errorf("%d rows, want three estimates and the joint points", n)
	}
	want := "The verdict changes if `ssd.fua_base` is 2.00 ms and not 1.00 ms (an estimate): emulate wins; it holds at "
	if got := doc.Verdicts[0].Sentence; !strings.Contains(got, want) {
		t.Errorf("the sentence is %s", got)
	}
}

// The joint points are judged by the time of FUA that they have: what was run at them
// is that.
func TestJointPointsHaveTheVerdictOfTheirValues(t *testing.T) {
	s := rowOf(t, flipped(), results.Joint)
	if len(s.Points) != jointPoints || s.Low != nil || s.High != nil || s.Value != nil {
		t.Fatalf("%+v", s)
	}
	changed := 0
	for _, p := range s.Points {
		fua := p.Values["ssd.fua_base"]
		want := "native wins"
		if fua > 1.5e6 {
			want, changed = "emulate wins", changed+1
		}
		if math.Abs(fua/1.5e6-1) > 0.05 && p.Verdict != want {
			t.Errorf("FUA in %g ns: %s, want %s", fua, p.Verdict, want)
		}
	}
	if changed < 5 || changed > 10 { // a fifth of the range on a log scale
		t.Errorf("%d of %d points beyond 1.5 ms", changed, jointPoints)
	}
}

func TestAVerdictThatDependsOnNoEstimateIsReportedAsSuch(t *testing.T) {
	doc := mustRun(t, varyPlan("testdata/measured-fua.yaml"))
	want := "The verdict holds for each estimated parameter alone between half and double, and at 32 of 32 joint points."
	if got := doc.Verdicts[0].Sentence; !strings.HasSuffix(got, want) {
		t.Errorf("the sentence is %s", got)
	}
	for _, s := range doc.Sensitivity {
		if s.Verdict != "holds" || *s.ChangesVerdict {
			t.Errorf("%s: %s", s.Parameter, s.Verdict)
		}
	}
}

func TestADeviceWithoutEstimatesIsReportedAsSuch(t *testing.T) {
	doc := mustRun(t, varyPlan("ram"))
	if doc.Sensitivity == nil || len(doc.Sensitivity) > 0 {
		t.Errorf("rows %v", doc.Sensitivity)
	}
	if got := doc.Verdicts[0].Sentence; !strings.Contains(got, "calls no parameter an estimate") {
		t.Errorf("the sentence is %s", got)
	}
}

func TestWhatVerdictsDependOnIsNotAMatterOfProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := documentText(t, mustRun(t, varyPlan("testdata/estimated-fua.yaml")))
	runtime.GOMAXPROCS(5)
	if got := documentText(t, mustRun(t, varyPlan("testdata/estimated-fua.yaml"))); got != want {
		t.Error("the documents of one and of five processors differ")
	}
}

// The document has a source for every parameter, also where the profile has none: that
// must not make them estimates.
func TestAStoredRunVariesTheSameParameters(t *testing.T) {
	want := documentText(t, flipped())
	stored, err := results.Decode([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Rerun(stored)
	if err != nil {
		t.Fatal(err)
	}
	if got := documentText(t, mustRun(t, p)); got != want {
		t.Error("run again, the document differs")
	}
}

func TestAShippedProfileOfAStoredRunHasItsOwnEstimates(t *testing.T) {
	p := plan("nvme-pm963", "sync-4k", "native emulate")
	p.Commits = 10
	doc, err := results.Decode([]byte(documentText(t, mustRun(t, p))))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Rerun(doc)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := again.Cells()
	if err != nil {
		t.Fatal(err)
	}
	own, err := catalog.Load("nvme-pm963")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.estimatesOf(cells[0].Profile, cells[0].Device), own.Estimates(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAnInterruptionLeavesWhatThereIsAndReportsIt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := varyPlan("testdata/estimated-fua.yaml")
	doc, err := Run(ctx, &p, func(done, _ int, what string) {
		if strings.HasPrefix(what, "what verdicts depend on") && done >= 3*2*pointRuns {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !doc.Partial {
		t.Error("the document is not partial")
	}
	ran, not := 0, 0
	for _, s := range doc.Sensitivity {
		for _, p := range s.Points {
			if p.NotRun {
				not++
			} else if p.Verdict != "" {
				ran++
			}
		}
	}
	if ran == 0 || not == 0 {
		t.Errorf("%d points were run and %d not", ran, not)
	}
	if v := doc.Verdicts[0]; v.Winner != "native" || !strings.Contains(v.Sentence, "Interrupted: ") {
		t.Errorf("winner %q in %s", v.Winner, v.Sentence)
	}
	if _, err := results.Decode([]byte(documentText(t, doc))); err != nil {
		t.Error(err)
	}
}

func TestAVerdictAtDepthNamesAnEstimatedParallelism(t *testing.T) {
	const doubt = "The parallelism (`ssd.fua_programs`) is an estimate; see --sensitivity."
	for _, c := range []struct {
		device string
		depth  uint32
		want   bool
	}{
		{"nvme-990pro", 4, true},
		{"nvme-990pro", 1, false},
		{"testdata/measured-fua.yaml", 4, false}, // its source is another
	} {
		p := plan(c.device, "sync-4k", "native emulate")
		p.Runs, p.Commits, p.QueueDepth = 6, 1000, c.depth
		if got := mustRun(t, p).Verdicts[0].Sentence; strings.Contains(got, doubt) != c.want {
			t.Errorf("%s at depth %d: %s", c.device, c.depth, got)
		}
	}
}

func TestSensitivityIsOfVirtualTime(t *testing.T) {
	p := varyPlan("nvme-990pro")
	p.UseClock("real")
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "sensitivity") {
		t.Errorf("got %v", err)
	}
}

// Each of 32 parts of the range has one point, on a log scale.
func TestJointPointsFillTheRangeEvenly(t *testing.T) {
	x := catalog.Parameter{Path: "ssd.fua_base", Value: 1e9, Unit: catalog.Nanoseconds}
	y := catalog.Parameter{Path: "ssd.servers", Value: 2, Unit: catalog.Count}
	var parts [jointPoints]int
	for _, p := range hypercube(&catalog.Profile{}, []catalog.Parameter{x, y}, sim.Seed(7)) {
		parts[int(math.Log(p[0].Value/5e8)/math.Log(4)*jointPoints)]++
		if v := p[1].Value; v < 1 || v > 8 || v != math.Round(v) {
			t.Errorf("%g servers", v)
		}
	}
	for i, n := range parts {
		if n != 1 {
			t.Errorf("%d points in part %d", n, i)
		}
	}
}
