package ftl

import (
	"math"
	"testing"
)

// TestCollectedEqualsTheSteadyState compares what is valid in the victims with
// the theory of uniform random writes.
func TestCollectedEqualsTheSteadyState(t *testing.T) {
	cfg := small(200_000, 0.25, Random)
	f := New(cfg, &count{t: t})
	if v, _ := f.Collected(); v != 0 {
		t.Errorf("%g units before the first victim", v)
	}
	amplify(f, 2, uniform(cfg.Units))
	a := float64(uint64(cfg.Blocks-cfg.Reserve)*cfg.size()) / float64(cfg.Units)
	v, size := f.Collected()
	if got, want := v/size, Victims(a); math.Abs(got-want) > 0.03 {
		t.Errorf("%.3f of a victim is valid, want %.3f", got, want)
	}
	if room, most := f.Room(); room < 0 || room > most {
		t.Errorf("room for %g units of %g", room, most)
	}
}
