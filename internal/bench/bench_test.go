package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices/layer"
	"nbdbench/internal/conf"
	"nbdbench/internal/stack"
	"nbdbench/results"
	"nbdbench/workloads"
)

// plan is a small plan for tests: one run of few commits, over no link.
func plan(devices, loads, strategies string) Plan {
	p := Default()
	p.Devices, p.Strategies = strings.Fields(devices), strings.Fields(strategies)
	p.Workloads = nil
	for _, w := range strings.Fields(loads) {
		p.Workloads = append(p.Workloads, workloads.Ref{Name: w})
	}
	p.Link, p.Runs, p.Commits, p.Cuts, p.Warmup = links["none"], 2, 400, 0, 0
	return p
}

func mustRun(t testing.TB, p Plan) *results.Run {
	t.Helper()
	doc, err := Run(context.Background(), &p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// cellOf finds a cell; id is device/workload/strategy.
func cellOf(t testing.TB, doc *results.Run, id string) *results.Cell {
	t.Helper()
	i := slices.IndexFunc(doc.Cells, func(c *results.Cell) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("no cell %s", id)
	}
	if c := doc.Cells[i]; c.Status == results.StatusOK {
		return c
	}
	t.Fatalf("%s is %s: %s", id, doc.Cells[i].Status, doc.Cells[i].Reason)
	return nil
}

func p50(t testing.TB, doc *results.Run, id string) time.Duration {
	t.Helper()
	return time.Duration(*cellOf(t, doc, id).Commit.P50)
}

func mean(t testing.TB, doc *results.Run, id string) time.Duration {
	t.Helper()
	return time.Duration(*cellOf(t, doc, id).Commit.Mean)
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

func between(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	t.Logf("%s: %.3f", what, got)
	if got < low || got > high {
		t.Errorf("%s is %.3f, want between %g and %g", what, got, low, high)
	}
}

func TestFUACostsMoreThanFlushOnTheConsumerDrive(t *testing.T) {
	doc := mustRun(t, plan("nvme-990pro", "sync-4k", "native emulate"))
	between(t, "native/emulate", ratio(p50(t, doc, "nvme-990pro/sync-4k/native"), p50(t, doc, "nvme-990pro/sync-4k/emulate")), 2.1, 2.8)
}

func TestDurableStrategiesCostAlikeOnTheProtectedDrive(t *testing.T) {
	p := plan("nvme-pm963", "sync-4k", "native emulate emulate-grouped none none-grouped force")
	doc := mustRun(t, p)
	low, high := time.Hour, time.Duration(0)
	for _, s := range p.Strategies {
		d := p50(t, doc, "nvme-pm963/sync-4k/"+s)
		low, high = min(low, d), max(high, d)
	}
	between(t, "dearest/cheapest", ratio(high, low), 1, 1.5)
}

func TestFlushCarriesOthersDataOnTheDisk(t *testing.T) {
	doc := mustRun(t, plan("hdd-7200", "wal-noisy", "native emulate"))
	const n, e = "hdd-7200/wal-noisy/native", "hdd-7200/wal-noisy/emulate"
	between(t, "emulate/native by median", ratio(p50(t, doc, e), p50(t, doc, n)), 12, 20)
	between(t, "emulate/native by mean", ratio(mean(t, doc, e), mean(t, doc, n)), 12, 20)
	c := cellOf(t, doc, e)
	commits := c.Commit.Count
	between(t, "collateral KiB a commit", float64(c.Stats.CollateralBytes)/float64(commits)/1024, 125, 128)
	between(t, "part of the commit spent on others' data", float64(c.BreakdownNS.FlushOthers)/float64(*c.Commit.Mean), 0.85, 1)
	if c := cellOf(t, doc, n); c.BreakdownNS.FlushOthers != 0 || c.Stats.CollateralBytes != 0 {
		t.Errorf("native waited for others' data: %+v %+v", c.BreakdownNS, c.Stats)
	}
}

func TestFlushingClientPaysOneRoundTripMore(t *testing.T) {
	p := plan("nvme-pm963", "sync-4k", "emulate none")
	p.Link = links["lan"]
	doc := mustRun(t, p)
	more := mean(t, doc, "nvme-pm963/sync-4k/none") - mean(t, doc, "nvme-pm963/sync-4k/emulate")
	// Twice 50 us, and a header each way at 10 Gb/s.
	between(t, "none-emulate in us", float64(more)/1000, 100, 100.2)
}

func TestGroupingBeatsOneFlushEachWhereFlushIsExpensive(t *testing.T) {
	for _, device := range []string{"nvme-990pro", "hdd-7200"} {
		p := plan(device, "sync-4k", "emulate none-grouped")
		p.QueueDepth, p.Commits, p.Link = 32, 2000, links["unix"]
		doc := mustRun(t, p)
		grouped, each := cellOf(t, doc, device+"/sync-4k/none-grouped"), cellOf(t, doc, device+"/sync-4k/emulate")
		between(t, device+": none-grouped/emulate commits/s", grouped.Rates.Commits/each.Rates.Commits, 1.0001, 1000)
	}
}

func TestBreakdownSumsToTheMean(t *testing.T) {
	p := plan("nvme-990pro hdd-7200 nvme-pm963", "sync-4k wal-noisy ext4-journal", strings.Join(layer.Names(), " "))
	p.Commits, p.Runs, p.QueueDepth, p.Link = 60, 2, 4, links["unix"]
	for _, c := range mustRun(t, p).Cells {
		b := c.BreakdownNS
		sum := b.ClientQueue + b.Link + b.ServerQueue + b.DeviceQueue + b.Cache + b.Media + b.FlushOthers
		if sum != *c.Commit.Mean {
			t.Errorf("%s: %+v sums to %d, the mean is %d", c.ID, b, sum, *c.Commit.Mean)
		}
		for _, w := range c.Warnings {
			if !strings.Contains(w, "needs at least") { // few commits, few runs: meant so
				t.Errorf("%s warns %q", c.ID, w)
			}
		}
	}
}

// TestWhatAPowerCutLoses cuts the power a thousand times in all. The strategies
// that promise durability must not lose a commit on any device.
func TestWhatAPowerCutLoses(t *testing.T) {
	p := plan("nvme-990pro hdd-7200 nvme-pm963 ram", "sync-4k wal-noisy ext4-journal", strings.Join(layer.Names(), " "))
	p.Cuts, p.Runs, p.Commits, p.Link = 12, 1, 150, links["unix"]
	volatile := map[string]bool{"nvme-990pro": true, "hdd-7200": true}
	cuts := int64(0)
	for _, c := range mustRun(t, p).Cells {
		d := c.Durability
		cuts += d.Cuts
		lossy := volatile[c.Device] && (c.Strategy == "none-unsafe" || c.Strategy == "discard")
		switch {
		case !lossy && (d.CommitsLost > 0 || d.CommitsAtRisk > 0 || d.Violations > 0):
			t.Errorf("%s lost: %+v", c.ID, d)
		case lossy && d.CommitsLost == 0:
			t.Errorf("%s lost nothing in %d cuts", c.ID, d.Cuts)
		case lossy && (d.Violations > 0) != (c.Strategy == "discard"):
			t.Errorf("%s: %d violations at the wire", c.ID, d.Violations)
		}
	}
	if cuts < 1000 {
		t.Errorf("%d cuts", cuts)
	}
}

// TestTheDocumentIsAFunctionOfPlanAndSeed runs one plan on one and on two
// processors, and with another seed.
func TestTheDocumentIsAFunctionOfPlanAndSeed(t *testing.T) {
	encode := func(procs, jobs int, seed uint64) []byte {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		p := plan("nvme-990pro hdd-7200", "sync-4k wal-noisy", "native emulate none-grouped none-unsafe")
		p.Commits, p.Runs, p.Cuts, p.Jobs, p.Seed = 100, 4, 5, jobs, seed
		var b bytes.Buffer
		if err := mustRun(t, p).WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	one := encode(1, 1, 1)
	if !bytes.Equal(one, encode(2, 4, 1)) {
		t.Error("the same plan and seed gave two documents")
	}
	if bytes.Equal(one, encode(1, 1, 2)) {
		t.Error("another seed gave the same document")
	}
}

func TestAStrategyThatTheDeviceCannotCarryOutIsUnsupported(t *testing.T) {
	p := plan("testdata/no-fua.yaml", "sync-4k", "native emulate force none")
	doc := mustRun(t, p)
	for i, want := range []string{results.StatusUnsupported, results.StatusOK, results.StatusUnsupported, results.StatusOK} {
		if c := doc.Cells[i]; c.Status != want || (want != results.StatusOK && c.Reason != "device has no FUA") {
			t.Errorf("%s is %s (%s), want %s", c.ID, c.Status, c.Reason, want)
		}
	}
}

func TestAnInterruptedPlanIsPartial(t *testing.T) {
	p := plan("hdd-7200", "sync-4k", "native none")
	p.Runs, p.Jobs = 8, 1
	ctx, stop := context.WithCancel(context.Background())
	doc, err := Run(ctx, &p, func(done, _ int, _ string) {
		if done == 3 {
			stop()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	first := doc.Cells[0]
	if !doc.Partial || first.Status != results.StatusPartial || len(first.PerRun) < 1 || len(first.PerRun) > 3 {
		t.Errorf("partial %v, first cell %s with %d runs", doc.Partial, first.Status, len(first.PerRun))
	}
}

// TestAPlanInterruptedBeforeItBeginsIsPartial: in real time, while the socket's
// own round trip is measured, and while a run connects.
func TestAPlanInterruptedBeforeItBeginsIsPartial(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	p := plan("ram", "sync-4k", "native none")
	p.Clock, p.Cuts, p.Runs, p.Duration, p.Commits = "real", 0, 1, time.Hour, 0
	doc, err := Run(ctx, &p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !doc.Partial || doc.Host.RoundTrip != nil || doc.Cells[1].Status != results.StatusPartial {
		t.Errorf("partial %v, round trip %v, last cell %s", doc.Partial, doc.Host.RoundTrip, doc.Cells[1].Status)
	}
	cells, err := p.Cells()
	if err != nil {
		t.Fatal(err)
	}
	if o := runReal(ctx, &p, &cells[0], task{}); !errors.Is(o.err, stack.ErrNotRun) {
		t.Errorf("a run that cannot connect any more: %v", o.err)
	}
}

func TestAnOpenLoopCountsFromWhenACommitWasDue(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k", "emulate")
	p.Rate, p.Arrival, p.Commits = 500, "poisson", 2000 // of 610 that the device can do
	doc := mustRun(t, p)
	c := cellOf(t, doc, "nvme-990pro/sync-4k/emulate")
	between(t, "commits/s", c.Rates.Commits, 470, 530)
	// M/G/1 at 80% load: the mean wait is about twice the service time.
	between(t, "mean/service", ratio(time.Duration(*c.Commit.Mean), 1610*time.Microsecond), 2, 5)
	if c.BreakdownNS.ClientQueue == 0 {
		t.Error("no time was spent waiting to be sent")
	}
}

func TestADurationBoundsARun(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k", "emulate none-unsafe")
	p.UseDuration(200 * time.Millisecond)
	p.Cuts = 20
	doc := mustRun(t, p)
	c := cellOf(t, doc, "nvme-990pro/sync-4k/emulate")
	between(t, "commits", float64(c.Commit.Count), 220, 260) // two runs at 611/s
	if c.Durability.Cuts != 40 {
		t.Errorf("%d cuts, want 40", c.Durability.Cuts)
	}
	if d := cellOf(t, doc, "nvme-990pro/sync-4k/none-unsafe").Durability; d.CommitsLost == 0 {
		t.Errorf("none-unsafe lost nothing: %+v", d)
	}
}

func TestPlansAreChecked(t *testing.T) {
	for _, c := range []struct {
		change func(*Plan)
		want   string
	}{
		{func(p *Plan) { p.Devices = nil }, "devices"},
		{func(p *Plan) { p.Strategies = []string{"never"} }, "strategies[0]"},
		{func(p *Plan) { p.Strategies = []string{"none", "none"} }, "strategies[1]"},
		{func(p *Plan) { p.Clock = "wall" }, "clock"},
		{func(p *Plan) { p.Runs = 0 }, "runs"},
		{func(p *Plan) { p.Commits = 0 }, "commits"},
		{func(p *Plan) { p.Cuts = -1 }, "cuts"},
		{func(p *Plan) { p.Clock = "real" }, "cuts"},
		{func(p *Plan) { p.Target = "nbd://localhost" }, "target"},
		{func(p *Plan) { p.Connections = 0 }, "connections"},
		{func(p *Plan) { p.Arrival = "bursts" }, "arrival"},
		{func(p *Plan) { p.Warmup = Warmup(MaxWarmup + 1) }, "warmup"},
		{func(p *Plan) { p.Decide = "commit.max" }, "decide"},
		{func(p *Plan) { p.MaxTime = -1 }, "max_time"},
	} {
		p := Default()
		c.change(&p)
		var field *conf.FieldError
		if err := p.Validate(); !errors.As(err, &field) || field.Path != c.want {
			t.Errorf("got %v, want an error at %s", err, c.want)
		}
	}
	p := plan("nvme-990pro", "sync-4k", "native")
	p.Devices = []string{"floppy"}
	if _, err := p.Cells(); err == nil || !strings.Contains(err.Error(), "floppy") {
		t.Errorf("an unknown device: %v", err)
	}
}

func TestLinks(t *testing.T) {
	for text, want := range map[string]Link{
		"none":        {Name: "none"},
		"lan":         {Name: "lan", Latency: 50 * time.Microsecond, Bandwidth: 1.25e9},
		"1ms,100MB/s": {Latency: time.Millisecond, Bandwidth: 100e6},
		"9us,0":       {Latency: 9 * time.Microsecond},
	} {
		got, err := ParseLink(text)
		if err != nil || got.Latency != want.Latency || got.Bandwidth != want.Bandwidth {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := ParseLink(got.Name); err != nil || again != got {
			t.Errorf("%s does not survive its own name %s: %v", text, got.Name, err)
		}
	}
	for _, bad := range []string{"", "moon", "1ms", "fast,1GB/s", "1ms,fast", "-1ms,1GB/s"} {
		if _, err := ParseLink(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestThresholds(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k", "native emulate")
	p.Runs = 6
	cells, err := p.Cells()
	if err != nil {
		t.Fatal(err)
	}
	doc := mustRun(t, p)
	const cell = "nvme-990pro/sync-4k/emulate:"
	yes, no := new(true), new(false)
	p99 := cellOf(t, doc, "nvme-990pro/sync-4k/emulate")
	between := time.Duration(*p99.Commit.P99+p99.CI95.P99[1]) / 2 // above the value, inside of the interval
	for text, want := range map[string]*bool{
		"commit.p50<2ms": yes, "commit.p50 < 1ms": no, "commit.p50>=1ms": yes, "commit.p90<3ms": yes,
		"commit.p99<" + between.String(): no, // the far end of the interval decides
		"rates.commits_per_s>500":        yes, "rates.commits_per_s<500": no,
		"commit.max<=1h":            nil, // it has no interval
		"durability.commits_lost<1": nil, // there were no cuts: it is not known
		"lost_per_cut==0":           nil,
		"ratio<3":                   yes,
		"ratio<0.3":                 no,
	} {
		q, copied := p, *doc
		q.Thresholds, copied.Thresholds = []string{cell + text}, nil
		if _, err := q.parseThresholds(cells); err != nil {
			t.Fatal(err)
		}
		q.judgeThresholds(&copied)
		got := copied.Thresholds
		if len(got) != 1 || (got[0].OK == nil) != (want == nil) || want != nil && *got[0].OK != *want {
			t.Errorf("%s: %+v, want %v", text, got, want)
		}
	}
	for _, bad := range []string{"commit.p50<1ms", "x/y/z:commit.p50<1ms", cell + "commit.p51<1ms", cell + "commit.p50<1", cell + "rates.iops<1ms", cell + "commit.p50", cell + "commit.p50==1ms", cell + "commit.p50=1ms", "[:commit.p50<1ms"} {
		q := p
		q.Thresholds = []string{bad}
		if _, err := q.parseThresholds(cells); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAThresholdWithAWildcardIsOneForEachCell(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k", "native emulate none-unsafe")
	p.Runs, p.Cuts = 6, 5
	p.Thresholds = []string{"*/*/*:lost_per_cut==0", "nvme-990pro/*/emulate:ratio<0.9"}
	doc := mustRun(t, p)
	var got []string
	for _, th := range doc.Thresholds {
		got = append(got, fmt.Sprintf("%s %v", th.Expression, *th.OK))
	}
	want := []string{
		"nvme-990pro/sync-4k/native:lost_per_cut==0 true", "nvme-990pro/sync-4k/emulate:lost_per_cut==0 true",
		"nvme-990pro/sync-4k/none-unsafe:lost_per_cut==0 false", "nvme-990pro/sync-4k/emulate:ratio<0.9 true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnsupportedIsAnErrorOfTheCell(t *testing.T) {
	if !isCellError(&layer.Unsupported{Reason: "no"}) || isCellError(errors.New("disk full")) {
		t.Error("the fate of a cell and that of the plan are mixed up")
	}
}
