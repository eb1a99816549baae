package simtest

import (
	"bytes"
	"flag"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/sim"
)

var (
	runs     = flag.Int("simtest.runs", 0, "how many worlds the swarm runs; 0 is as many as fit a test")
	one      = flag.Int64("simtest.seed", -1, "run only the world of this seed")
	strategy = flag.String("simtest.strategy", "", "the strategy in place of the one that is drawn")
	device   = flag.String("simtest.device", "", "the device in place of the one that is drawn")
	direct   = flag.Bool("simtest.direct", false, "leave NBD out")
	serial   = flag.Bool("simtest.serial", false, "one request at a time over a link that takes no time")
	whole    = flag.Bool("simtest.units", false, "an atomic unit that survives in part is an error")
)

func flags() Options {
	return Options{Strategy: *strategy, Device: *device, Direct: *direct, Serial: *serial, Units: *whole}
}

// atMost is n, or less where time is short.
func atMost(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}

func TestSwarm(t *testing.T) {
	if *one >= 0 {
		r, err := Run(sim.Seed(*one), flags())
		if err != nil {
			t.Fatal(err)
		}
		r.Image = nil
		t.Logf("%+v", r)
		return
	}
	n := *runs
	if n == 0 {
		n = atMost(700)
	}
	var met Report
	ran := map[string]int{}
	for seed := range n {
		r, err := Run(sim.Seed(seed), flags())
		if err != nil {
			t.Fatal(err)
		}
		if r.Skipped == "" {
			ran[r.Strategy]++
			ran[r.Device]++
		}
		add(&met, &r)
	}
	t.Logf("%d worlds, %d requests, %d cuts; writes waited for room at %d, data was in flight at %d, %d atomic units were shorn, %d commits",
		n, met.Requests, met.Cuts, met.Stalls, met.Flights, met.Shorn, met.Commits)
	if *strategy == "" && *device == "" {
		everythingWasMet(t, &met, ran)
	}
}

func add(to, r *Report) {
	to.Requests += r.Requests
	to.Cuts += r.Cuts
	to.Violations += r.Violations
	to.Shorn += r.Shorn
	to.Commits += r.Commits
	to.Lost += r.Lost
	to.Stalls += r.Stalls
	to.Flights += r.Flights
	to.Destaged += r.Destaged
}

// everythingWasMet fails where the swarm has become too tame to find anything.
func everythingWasMet(t *testing.T, met *Report, ran map[string]int) {
	t.Helper()
	if met.Stalls == 0 || met.Flights == 0 || met.Destaged == 0 || met.Commits == 0 {
		t.Errorf("the swarm did not meet everything: %+v", met)
	}
	for _, s := range layer.Strategies() {
		if ran[s.Name] == 0 {
			t.Errorf("strategy %s was never run", s.Name)
		}
	}
	for _, d := range Devices() {
		if ran[d] == 0 {
			t.Errorf("device %s was never run", d)
		}
	}
}

// sum runs n worlds and adds up what they show.
func sum(t *testing.T, n int, o Options) (met Report) {
	t.Helper()
	for seed := range n {
		r, err := Run(sim.Seed(seed), o)
		if err != nil {
			t.Fatal(err)
		}
		add(&met, &r)
	}
	return met
}

func TestNoDurableStrategyLosesACommit(t *testing.T) {
	for _, s := range layer.Strategies() {
		if !s.Durable {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			for _, d := range []string{"ssd", "hdd"} {
				if met := sum(t, atMost(24), Options{Strategy: s.Name, Device: d}); met.Lost > 0 || met.Commits == 0 || met.Violations > 0 {
					t.Errorf("%s: %d of %d commits were lost, %d violations", d, met.Lost, met.Commits, met.Violations)
				}
			}
		})
	}
}

func TestNoneUnsafeLosesCommitsWithoutAViolationUnlessTheCacheIsProtected(t *testing.T) {
	for _, d := range Devices() {
		met := sum(t, atMost(40), Options{Strategy: "none-unsafe", Device: d})
		if met.Violations > 0 || met.Commits == 0 {
			t.Errorf("%s: %d violations at the wire, %d commits", d, met.Violations, met.Commits)
		}
		if lost := met.Lost > 0; lost != Volatile(d) {
			t.Errorf("%s: %d of %d commits were lost", d, met.Lost, met.Commits)
		}
	}
}

func TestDiscardBreaksItsPromisesAtTheWireUnlessTheCacheIsProtected(t *testing.T) {
	for _, d := range Devices() {
		met := sum(t, atMost(40), Options{Strategy: "discard", Device: d})
		if broken := met.Violations > 0; broken != Volatile(d) {
			t.Errorf("%s: %d violations", d, met.Violations)
		}
		if lost := met.Lost > 0; lost != Volatile(d) {
			t.Errorf("%s: %d of %d commits were lost", d, met.Lost, met.Commits)
		}
	}
}

// text runs a world and returns what it showed and its history as text.
func text(t *testing.T, seed sim.Seed, o Options) (Report, string) {
	t.Helper()
	var log history.Log
	o.Sink = &log
	r, err := Run(seed, o)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := log.Write(&b); err != nil {
		t.Fatal(err)
	}
	return r, b.String()
}

func sameWorld(t *testing.T, seed sim.Seed, what string, a, b Options) {
	t.Helper()
	ra, la := text(t, seed, a)
	rb, lb := text(t, seed, b)
	if la != lb {
		t.Fatalf("seed %d: the histories differ %s, first in\n%s", seed, what, difference(la, lb))
	}
	if ra.Digest != rb.Digest {
		t.Fatalf("seed %d: completions or what was read differ %s", seed, what)
	}
	if ra.Image == nil { // skipped
		return
	}
	d, err := draw(seed, a)
	if err != nil {
		t.Fatal(err)
	}
	sameImage(t, seed, what, d, ra.Image, rb.Image)
}

func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] + "\n" + y[i]
		}
	}
	return "the length"
}

// sameImage compares all that the world may have written.
func sameImage(t *testing.T, seed sim.Seed, what string, s *setup, a, b drive.Media) {
	t.Helper()
	end := min(s.base+s.span+longSpan, deviceSize/devices.Sector)
	if s.mode == drive.RealBytes {
		n := (end - s.base) * devices.Sector
		x, y := make([]byte, n), make([]byte, n)
		a.Read(s.base*devices.Sector, n, &devices.Payload{Bytes: x})
		b.Read(s.base*devices.Sector, n, &devices.Payload{Bytes: y})
		if !bytes.Equal(x, y) {
			t.Fatalf("seed %d: the media differ %s", seed, what)
		}
		return
	}
	for at := s.base; at < end; at++ {
		if a.Stamp(at) != b.Stamp(at) {
			t.Fatalf("seed %d: sector %d differs %s: %d and %d\n%v", seed, at, what, a.Stamp(at), b.Stamp(at), s)
		}
	}
}

func TestASeedIsAWorld(t *testing.T) {
	for seed := range atMost(60) {
		sameWorld(t, sim.Seed(seed), "between two runs", Options{}, Options{})
	}
}

func TestSeedsDiffer(t *testing.T) {
	_, a := text(t, 1, Options{Device: "ssd", Strategy: "pass"})
	_, b := text(t, 2, Options{Device: "ssd", Strategy: "pass"})
	if a == b {
		t.Error("two seeds have one history")
	}
}

func TestNBDOverALinkThatTakesNoTimeChangesNothing(t *testing.T) {
	for seed := range atMost(100) {
		sameWorld(t, sim.Seed(seed), "with and without NBD", Options{Serial: true}, Options{Serial: true, Direct: true})
	}
}

func TestAFailurePrintsHowToRunItAgain(t *testing.T) {
	for seed := range 100 {
		_, err := Run(sim.Seed(seed), Options{Device: "ssd", Strategy: "pass", Around: around(dropFlush)})
		if err == nil {
			continue
		}
		for _, want := range []string{"seed ", "device ssd", "strategy pass", "go test ./internal/simtest -run TestSwarm -simtest.seed=", " -simtest.strategy=pass -simtest.device=ssd"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("expected %q in %v", want, err)
			}
		}
		return
	}
	t.Fatal("no failure")
}
