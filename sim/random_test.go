package sim

import (
	"math"
	"testing"
	"time"
)

func TestDrawsAreAFunctionOfNameAndCounters(t *testing.T) {
	s := Seed(1).Stream("addresses")
	if s.Uint64(3, 4) != Seed(1).Stream("addresses").Uint64(3, 4) {
		t.Error("the same draw twice differs")
	}
	seen := map[uint64]string{}
	for _, d := range []struct {
		name string
		v    uint64
	}{
		{"base", s.Uint64(3, 4)},
		{"other a", s.Uint64(4, 4)},
		{"other b", s.Uint64(3, 5)},
		{"swapped", s.Uint64(4, 3)},
		{"other name", Seed(1).Stream("arrivals").Uint64(3, 4)},
		{"other seed", Seed(2).Stream("addresses").Uint64(3, 4)},
		{"part", Seed(Seed(1).Sub("run", 0)).Stream("addresses").Uint64(3, 4)},
		{"part 1", Seed(Seed(1).Sub("run", 1)).Stream("addresses").Uint64(3, 4)},
	} {
		if was, dup := seen[d.v]; dup {
			t.Errorf("%s and %s draw the same", was, d.name)
		}
		seen[d.v] = d.name
	}
}

// TestTheHashIsFixed pins the draws: a change of them changes every published
// run.
func TestTheHashIsFixed(t *testing.T) {
	if got := Seed(1).Stream("golden").Uint64(2, 3); got != goldenDraw {
		t.Errorf("draw is %#x, want %#x", got, uint64(goldenDraw))
	}
}

func TestUniformDrawsAreUniform(t *testing.T) {
	s := Seed(9).Stream("uniform")
	const n, bins = 100_000, 20
	var count [bins]float64
	for i := uint64(0); i < n; i++ {
		count[s.Uint64N(bins, i, 0)]++
	}
	chi2 := 0.0
	for _, c := range count {
		chi2 += (c - n/bins) * (c - n/bins) / (n / bins)
	}
	if chi2 > 43.8 { // 19 degrees of freedom, p = 0.001
		t.Errorf("chi-squared is %.1f", chi2)
	}
}

func moments(d Dist, n int) (mean, sd float64) {
	s := Seed(3).Stream("moments")
	var sum, sq float64
	for i := 0; i < n; i++ {
		v := float64(d.Sample(s, uint64(i), 0))
		sum += v
		sq += v * v
	}
	mean = sum / float64(n)
	return mean, math.Sqrt(sq/float64(n) - mean*mean)
}

func TestDistributionsHaveTheirMoments(t *testing.T) {
	us := func(n int) time.Duration { return time.Duration(n) * time.Microsecond }
	empirical, err := EmpiricalDist([]Quantile{{0, 0}, {0.5, us(10)}, {1, us(110)}})
	if err != nil {
		t.Fatal(err)
	}
	sigma := 0.15
	for _, c := range []struct {
		name     string
		d        Dist
		mean, sd float64 // us
	}{
		{"constant", ConstantDist(us(50)), 50, 0},
		{"uniform", UniformDist(us(10), us(30)), 20, 20 / math.Sqrt(12)},
		{"exponential", ExponentialDist(us(40)), 40, 40},
		{"lognormal", LognormalDist(us(100), sigma), 100, 100 * math.Sqrt(math.Exp(sigma*sigma)-1)},
		{"lognormal without spread", LognormalDist(us(100), 0), 100, 0},
		{"empirical", empirical, 32.5, 34.04},
	} {
		mean, sd := moments(c.d, 200_000)
		if math.Abs(mean/1000-c.mean) > 0.01*c.mean+0.01 || math.Abs(sd/1000-c.sd) > 0.02*c.sd+0.01 {
			t.Errorf("%s: mean %.2f sd %.2f us, want %.2f and %.2f", c.name, mean/1000, sd/1000, c.mean, c.sd)
		}
		if math.Abs(float64(c.d.Mean())/1000-c.mean) > 0.01 {
			t.Errorf("%s says its mean is %v", c.name, c.d.Mean())
		}
	}
}

func TestEmpiricalDistributionsAreChecked(t *testing.T) {
	for _, points := range [][]Quantile{
		nil, {{0, 1}}, {{0.1, 1}, {1, 2}}, {{0, 1}, {0.9, 2}}, {{0, 5}, {1, 2}}, {{0, 1}, {0, 2}, {1, 3}}, {{0, -1}, {1, 3}},
	} {
		if _, err := EmpiricalDist(points); err == nil {
			t.Errorf("%v was accepted", points)
		}
	}
}

func TestTimelineIsFirstComeFirstServed(t *testing.T) {
	var l Timeline
	for _, c := range []struct {
		now, start, done Time
		service          Duration
	}{{10, 10, 15, 5}, {11, 15, 20, 5}, {30, 30, 31, 1}} {
		start, done := l.Reserve(c.now, c.service)
		if start != c.start || done != c.done {
			t.Errorf("at %v for %v: from %v to %v, want %v to %v", c.now, c.service, start, done, c.start, c.done)
		}
	}
	if l.Busy() != 11 || l.Free() != 31 {
		t.Errorf("busy %v, free at %v", l.Busy(), l.Free())
	}
}

func TestLinkKeepsOrderLatencyAndBandwidth(t *testing.T) {
	l := NewLink(15*time.Microsecond, 1e9) // 1 ns a byte
	if got := l.Arrival(0, 4096); got != 19096 {
		t.Errorf("first frame arrives at %v", got)
	}
	if got := l.Arrival(100, 16); got != 19112 {
		t.Errorf("second frame, behind the first, arrives at %v", got)
	}
	if l.Bytes() != 4112 {
		t.Errorf("%d bytes", l.Bytes())
	}
	if got := NewLink(0, 0).Arrival(7, 1<<30); got != 7 {
		t.Errorf("a link of no length delivers at %v", got)
	}
}

const goldenDraw = 0x2705668b55d527c1
