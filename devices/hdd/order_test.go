package hdd_test

import (
	"fmt"
	"math"
	"testing"

	"nbdbench/devices/hdd"
	"nbdbench/sim"
)

// estimate is a mean with its standard error, in milliseconds.
type estimate struct{ mean, se float64 }

func (e estimate) String() string { return fmt.Sprintf("%.3f ± %.3f ms", e.mean, e.se) }

func estimateOf(ms []float64) estimate {
	var sum, squares float64
	for _, x := range ms {
		sum += x
	}
	n := float64(len(ms))
	mean := sum / n
	for _, x := range ms {
		squares += (x - mean) * (x - mean)
	}
	return estimate{mean, math.Sqrt(squares / (n - 1) / n)}
}

// flushes is what each of so many FLUSHes of n random extents takes, in
// milliseconds. All schedulers meet the same extents.
func flushes(t testing.TB, cfg hdd.Config, scheduler hdd.Scheduler, n, rounds int) []float64 {
	cfg.Scheduler = scheduler
	g := newRig(t, cfg)
	at := sim.Seed(11).Stream("addresses")
	out := make([]float64, rounds)
	for i := range out {
		for j := range n {
			g.do(write(at.Uint64N(cfg.Size/4096, uint64(i), uint64(j))*4096, 0))
		}
		out[i] = g.do(flush()).Seconds() * 1e3
	}
	return out
}

// slower is by how much a takes longer than b, round by round.
func slower(a, b []float64) estimate {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return estimateOf(d)
}

// sure is how many standard errors a difference has to have.
const sure = 4

func TestShortestPositioningTimeBeatsAddressOrder(t *testing.T) {
	for name, cfg := range map[string]hdd.Config{"7200": disk7200, "15k": disk15k()} {
		for n, rounds := range map[int]int{2: 4000, 3: 4000, 4: 2000, 8: 1000, 32: 200} {
			d := slower(flushes(t, cfg, hdd.CLook, n, rounds), flushes(t, cfg, hdd.SPTF, n, rounds))
			t.Logf("%s, %d extents: C-LOOK takes %v longer", name, n, d)
			if d.mean < sure*d.se {
				t.Errorf("%s, %d extents: C-LOOK takes %v longer", name, n, d)
			}
		}
	}
}

func TestAddressOrderBeatsArrivalOrderFromThreeExtentsOn(t *testing.T) {
	for name, cfg := range map[string]hdd.Config{"7200": disk7200, "15k": disk15k()} {
		for n, rounds := range map[int]int{3: 20000, 4: 4000, 8: 1000, 32: 200} {
			d := slower(flushes(t, cfg, hdd.FIFO, n, rounds), flushes(t, cfg, hdd.CLook, n, rounds))
			t.Logf("%s, %d extents: FIFO takes %v longer", name, n, d)
			if d.mean < sure*d.se {
				t.Errorf("%s, %d extents: FIFO takes %v longer", name, n, d)
			}
		}
	}
}

// Of two extents, address order has no advantage: see the package comment.
func TestAddressOrderOfTwoExtentsTakesAsLongAsArrivalOrder(t *testing.T) {
	for name, cfg := range map[string]hdd.Config{"7200": disk7200, "15k": disk15k()} {
		d := slower(flushes(t, cfg, hdd.FIFO, 2, 40000), flushes(t, cfg, hdd.CLook, 2, 40000))
		t.Logf("%s: FIFO takes %v longer", name, d)
		if math.Abs(d.mean) > sure*d.se || d.se > 0.1 {
			t.Errorf("%s: FIFO takes %v longer, want 0", name, d)
		}
	}
}

// mean is the integral of f(x) p(x) over 0 to 1, by the midpoint rule.
func mean(f, p func(x float64) float64) (sum float64) {
	const steps = 100_000
	for i := range steps {
		x := (float64(i) + 0.5) / steps
		sum += f(x) * p(x) / steps
	}
	return sum
}

// expected is the mean FLUSH of n extents on a disk with one zone, in
// milliseconds, from the laws of n+1 independent uniform points.
func expected(cfg hdd.Config, scheduler hdd.Scheduler, n float64) float64 {
	root := math.Sqrt(cfg.SeekKnee)
	seek := func(x float64) float64 {
		a, b := cfg.SeekA.Seconds()*1e3, cfg.SeekB.Seconds()*1e3
		if x <= cfg.SeekKnee {
			return a + b*math.Sqrt(x)
		}
		return a + b*root + b/(2*root)*(x-cfg.SeekKnee)
	}
	distance := func(x float64) float64 { return 2 * (1 - x) }
	gap := func(x float64) float64 { return (n + 1) * math.Pow(1-x, n) }
	span := func(x float64) float64 { return (n + 1) * n * math.Pow(x, n-1) * (1 - x) }
	seeks := n * mean(seek, distance)
	if scheduler == hdd.CLook {
		seeks = n / (n + 1) * (n*mean(seek, gap) + mean(seek, span))
	}
	turn := 60e3 / float64(cfg.RPM)
	each := cfg.Settle.Seconds()*1e3 + turn/2 + 8*turn/float64(cfg.OuterTrack)
	return seeks + n*each + cfg.Ack.Seconds()*1e3
}

func TestAddressOrderAndArrivalOrderTakeWhatTheoryGives(t *testing.T) {
	cfg := disk7200
	cfg.Zones, cfg.InnerTrack = 1, cfg.OuterTrack
	for _, n := range []int{1, 2, 3, 4, 8, 32} {
		for scheduler, name := range map[hdd.Scheduler]string{hdd.CLook: "C-LOOK", hdd.FIFO: "FIFO"} {
			got, want := estimateOf(flushes(t, cfg, scheduler, n, 40000/n)), expected(cfg, scheduler, float64(n))
			t.Logf("%s of %d extents: %v, in theory %.3f ms", name, n, got, want)
			if math.Abs(got.mean-want) > sure*got.se {
				t.Errorf("%s of %d extents: %v, in theory %.3f ms", name, n, got, want)
			}
		}
	}
	if a, b := expected(cfg, hdd.CLook, 2), expected(cfg, hdd.FIFO, 2); math.Abs(a-b) > 1e-3 {
		t.Errorf("two extents: in theory %.4f and %.4f ms, want the same", a, b)
	}
}
