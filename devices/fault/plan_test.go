package fault

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nbdbench/sim"
)

func TestAPlanPrintsAsItParses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Plan
		for range rapid.IntRange(0, 5).Draw(t, "faults") {
			f := rapid.SampledFrom(defaults).Draw(t, "fault")
			if f.Every != 0 {
				f.Every = rapid.Uint64Range(1, 100).Draw(t, "every")
			}
			if f.After != 0 {
				f.After = rapid.Uint64Range(1, 1000).Draw(t, "after")
			}
			if f.Probability != 0 {
				f.Probability = rapid.Float64Range(1e-9, 1).Draw(t, "p")
			}
			if f.Time != 0 {
				f.Time = sim.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "time"))
			}
			p = append(p, f)
		}
		q, err := Parse(p.String())
		if err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		if len(q) != len(p) {
			t.Fatalf("%q became %q", p, q)
		}
		for i := range p {
			if p[i] != q[i] {
				t.Fatalf("%q became %q", p, q)
			}
		}
	})
}

func TestAWrongPlanIsRefusedWithWhatWasExpected(t *testing.T) {
	for text, want := range map[string]string{
		"lie":           "expected one of lying-flush",
		"lost:every=0":  "from 1 to 2^40",
		"lost:p=1":      `lost has no parameter "p"`,
		"bit-rot:p=2":   "at most 1",
		"slow:time=-1s": "more than 0",
		"slow:time":     "expected a duration",
		"lost,,lost":    "fault 2",
		"dead:after=x":  "from 1 to 2^40",
		strings.Repeat("shorn,", MaxFaults) + "shorn": "at most 16",
	} {
		if p, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v, want %q", text, p, err, want)
		}
	}
}

func TestEveryFaultDoesSomething(t *testing.T) {
	for _, k := range Kinds() {
		if Kind(k) == NoCapacitor {
			continue // the device is opened with it; package crash has a test of each
		}
		if submits[Kind(k)] == nil && cuts[Kind(k)] == nil && defects[Kind(k)] == 0 {
			t.Errorf("%s does nothing", k)
		}
	}
}
