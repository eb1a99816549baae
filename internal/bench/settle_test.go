package bench

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"nbdbench/internal/stack"
	"nbdbench/sim"
)

func goOn() bool { return false }

// pilotOf is the pilot of the only cell of p.
func pilotOf(t testing.TB, p Plan) settling {
	t.Helper()
	cells, err := p.Cells()
	if err != nil {
		t.Fatal(err)
	}
	s, err := settle(&p, &cells[0], goOn)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// settled are the warm-up and the commits per second of each cell of the default
// plan. Both are of virtual time, and exact.
var settled = []struct {
	cell   string
	warmup time.Duration
	rate   float64
}{
	{"nvme-990pro/sync-4k/native", 400 * time.Millisecond, 250.00},
	{"nvme-990pro/sync-4k/emulate", 200 * time.Millisecond, 615.38},
	{"nvme-990pro/sync-4k/none", 200 * time.Millisecond, 598.52},
	{"nvme-990pro/sync-4k/none-unsafe", 400 * time.Millisecond, 27704.00},
	{"nvme-990pro/wal-noisy/native", 1200 * time.Millisecond, 242.61},
	{"nvme-990pro/wal-noisy/emulate", 200 * time.Millisecond, 568.28},
	{"nvme-990pro/wal-noisy/none", 200 * time.Millisecond, 562.76},
	{"nvme-990pro/wal-noisy/none-unsafe", 100 * time.Millisecond, 9490.00},
	{"nvme-pm963/sync-4k/native", 100 * time.Millisecond, 16570.00},
	{"nvme-pm963/sync-4k/emulate", 100 * time.Millisecond, 15300.00},
	{"nvme-pm963/sync-4k/none", 100 * time.Millisecond, 10480.00},
	{"nvme-pm963/sync-4k/none-unsafe", 100 * time.Millisecond, 16570.00},
	{"nvme-pm963/wal-noisy/native", 100 * time.Millisecond, 4180.00},
	{"nvme-pm963/wal-noisy/emulate", 100 * time.Millisecond, 4100.00},
	{"nvme-pm963/wal-noisy/none", 100 * time.Millisecond, 3650.00},
	{"nvme-pm963/wal-noisy/none-unsafe", 100 * time.Millisecond, 4180.00},
	{"hdd-7200/sync-4k/native", 1 * time.Second, 120.00},
	{"hdd-7200/sync-4k/emulate", 1 * time.Second, 120.00},
	{"hdd-7200/sync-4k/none", 1 * time.Second, 120.00},
	{"hdd-7200/sync-4k/none-unsafe", 600 * time.Millisecond, 7220.95},
	{"hdd-7200/wal-noisy/native", 615 * time.Second, 5.80},
	{"hdd-7200/wal-noisy/emulate", 25 * time.Second, 4.46},
	{"hdd-7200/wal-noisy/none", 25 * time.Second, 4.46},
	{"hdd-7200/wal-noisy/none-unsafe", 6 * time.Minute, 14.92},
}

func TestEachCellOfTheDefaultPlanSettles(t *testing.T) {
	p := Default()
	cells, err := p.Cells()
	if err != nil {
		t.Fatal(err)
	}
	if len(cells) != len(settled) {
		t.Fatalf("the default plan has %d cells, want %d", len(cells), len(settled))
	}
	for i := range cells {
		want := &settled[i]
		got, err := settle(&p, &cells[i], goOn)
		if err != nil {
			t.Fatal(err)
		}
		if cells[i].ID != want.cell || !got.Settled || got.Warmup != want.warmup || math.Abs(got.Rate/want.rate-1) > 0.005 {
			t.Errorf("%s: %+v, want a warm-up of %v and %g commits/s", cells[i].ID, got, want.warmup, want.rate)
		}
	}
}

// TestTheRateAfterTheWarmUpStaysAsItIs measures what the pilots found: for a while
// that is as long as the warm-up, the rate keeps within 5%.
func TestTheRateAfterTheWarmUpStaysAsItIs(t *testing.T) {
	for _, strategy := range []string{"native", "emulate", "none-unsafe"} {
		p := plan("hdd-7200", "wal-noisy", strategy)
		s := pilotOf(t, p)
		p.Commits, p.Duration = 0, 3*s.Warmup
		cells, err := p.Cells()
		if err != nil {
			t.Fatal(err)
		}
		w, err := newWorld(&p, &cells[0], p.seedOf(0))
		if err != nil {
			t.Fatal(err)
		}
		w.runner.Start()
		w.loop.Run(sim.Time(s.Warmup))
		before := w.runner.Stats().Commits
		w.loop.Run(sim.Time(2 * s.Warmup))
		rate := float64(w.runner.Stats().Commits-before) / s.Warmup.Seconds()
		between(t, strategy+": rate/pilot's", rate/s.Rate, 0.95, 1.05)
	}
}

func TestAPilotDoesNotDependOnProcessors(t *testing.T) {
	for _, cell := range []string{"hdd-7200 sync-4k none-unsafe", "nvme-990pro wal-noisy native", "testdata/credits.yaml sync-4k none"} {
		f := strings.Fields(cell)
		found := func(procs int) settling {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			return pilotOf(t, plan(f[0], f[1], f[2]))
		}
		if one, two := found(1), found(2); one != two || !one.Settled {
			t.Errorf("%s: %+v and %+v", cell, one, two)
		}
	}
}

// TestThePlateauBeforeACliffIsNotSettled: what is fast until a cache is full or
// credits are used up is not settled before.
func TestThePlateauBeforeACliffIsNotSettled(t *testing.T) {
	for _, c := range []struct {
		device, strategy string
		ends             time.Duration // the plateau
		rate             float64
	}{
		{"testdata/credits.yaml", "native", 22 * time.Second, 100},
		{"testdata/deep-cache.yaml", "none-unsafe", 206 * time.Second, 1280},
	} {
		s := pilotOf(t, plan(c.device, "sync-4k", c.strategy))
		t.Logf("%s: %+v", c.device, s)
		if !s.Settled || s.Warmup < c.ends || s.Warmup > 4*c.ends || math.Abs(s.Rate/c.rate-1) > 0.03 {
			t.Errorf("%s: %+v, want %g commits/s after at least %v", c.device, s, c.rate, c.ends)
		}
	}
}

func TestLongCreditsDoNotSettle(t *testing.T) {
	s := pilotOf(t, plan("testdata/long-credits.yaml", "sync-4k", "native"))
	t.Logf("%+v", s)
	if s.Settled || s.Warmup != 0 || !strings.HasPrefix(s.Reason, "I/O credits fell from ") || !strings.Contains(s.Reason, "% of the burst within ") {
		t.Errorf("%+v, want it not to settle because of its credits", s)
	}
	// 2900 of the 5.4 million are used each second and 300 come in: 34m37s in all.
	if !strings.HasSuffix(s.Reason, "; it takes 33m0s more to the end of it") {
		t.Errorf("%q, want it to say that it takes 33m", s.Reason)
	}
	if s.Elapsed > pilotTime/4 {
		t.Errorf("the pilot took %v, want it to see that early", s.Elapsed)
	}
}

// TestAnOpenLoopBeyondTheDeviceSettles: its backlog never does, but the state of
// the device decides, and the rate is what the device can do.
func TestAnOpenLoopBeyondTheDeviceSettles(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k", "native")
	p.Rate, p.Arrival = 500, "poisson" // it can do 250
	s := pilotOf(t, p)
	if !s.Settled || s.Warmup > 5*time.Second {
		t.Errorf("%+v, want it settled after a short while", s)
	}
	between(t, "commits/s", s.Rate, 240, 260)
}

func TestARunThatTakesNoTimeIsSettled(t *testing.T) {
	if s := pilotOf(t, plan("ram", "sync-4k", "native")); !s.Settled || s.Warmup != 0 || s.Rate != 0 || s.Commits == 0 {
		t.Errorf("%+v", s)
	}
}

func TestAStoppedPilotIsReported(t *testing.T) {
	p := plan("hdd-7200", "wal-noisy", "native")
	cells, err := p.Cells()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := settle(&p, &cells[0], func() bool { return true }); !errors.Is(err, stack.ErrNotRun) || s.Settled {
		t.Errorf("%+v, %v", s, err)
	}
}

// series makes a gauge's samples: 512 of them, over 512 s.
func series(f func(i float64, noise float64) float64) []float64 {
	draw := sim.Seed(1).Stream("series")
	v := make([]float64, maxSamples)
	for i := range v {
		v[i] = f(float64(i), draw.Float64(uint64(i), 0)-0.5)
	}
	return v
}

// TestWhatIsATrend has gauges of scale 1.
func TestWhatIsATrend(t *testing.T) {
	for name, c := range map[string]struct {
		values          []float64
		trending, cycle bool
	}{
		"constant":              {series(func(_, _ float64) float64 { return 0.3 }), false, false},
		"noise":                 {series(func(_, n float64) float64 { return 0.5 + 0.3*n }), false, false},
		"a saw of 20 teeth":     {series(func(i, _ float64) float64 { return math.Mod(i/25.6, 1) }), false, false},
		"a ramp":                {series(func(i, _ float64) float64 { return i / 512 }), true, true},
		"a ramp to 10%":         {series(func(i, _ float64) float64 { return 0.1 * i / 512 }), true, true},
		"a ramp under noise":    {series(func(i, n float64) float64 { return 0.1*i/512 + 0.04*n }), true, true},
		"a ramp of no account":  {series(func(i, _ float64) float64 { return 0.005 * i / 512 }), false, false},
		"a saw of two teeth":    {series(func(i, _ float64) float64 { return math.Mod(i/256, 1) }), true, true},
		"one wave in the half":  {series(func(i, _ float64) float64 { return 0.5 + 0.4*math.Cos(i*2*math.Pi/256) }), false, true},
		"a ramp, then constant": {series(func(i, n float64) float64 { return min(i/128, 1) - 0.001*math.Abs(n) }), false, false},
	} {
		v := view(c.values, maxSamples*time.Second)
		if v.trending(1) != c.trending || v.cycling(1) != c.cycle {
			t.Errorf("%s: trending %v, cycling %v; want %v, %v: %+v", name, v.trending(1), v.cycling(1), c.trending, c.cycle, v)
		}
	}
}

func TestWarmUpsAreRoundNumbers(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		leastWarmup: leastWarmup, 101 * time.Millisecond: 120 * time.Millisecond, 950 * time.Millisecond: time.Second,
		61 * time.Second: 75 * time.Second, 10*time.Minute + 1: 615 * time.Second, MaxWarmup: MaxWarmup,
	} {
		if got := roundUp(d); got != want {
			t.Errorf("%v: %v, want %v", d, got, want)
		}
	}
}

func BenchmarkPilots(b *testing.B) {
	p := Default()
	cells, err := p.Cells()
	if err != nil {
		b.Fatal(err)
	}
	if testing.Short() {
		cells = cells[:1]
	}
	for i := range cells {
		b.Run(cells[i].ID, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := settle(&p, &cells[i], goOn)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(s.Rate, "commits/virtual-s")
			}
		})
	}
}
