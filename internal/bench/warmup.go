package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"nbdbench/internal/pool"
	"nbdbench/internal/units"
	"nbdbench/results"
	"nbdbench/sim"
)

// Warmup is how long a run goes on before anything counts; 0 is not at all, from
// a clean device.
type Warmup time.Duration

// WarmupAuto is as long as the device takes to settle, in virtual time, and
// realWarmup in real time.
const WarmupAuto Warmup = -1

const autoWord = "auto"

func (w Warmup) String() string {
	if w == WarmupAuto {
		return autoWord
	}
	return time.Duration(w).String()
}

// MarshalText writes what UnmarshalText reads.
func (w Warmup) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads "auto" or a duration; a bare 0 is one.
func (w *Warmup) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case autoWord:
		*w = WarmupAuto
	case "0":
		*w = 0
	default:
		d, err := units.ParseDuration(s)
		if err != nil || d < 0 {
			return fmt.Errorf("expected auto or a duration such as 2s, got %s", strconv.Quote(s))
		}
		*w = Warmup(d)
	}
	return nil
}

// settleCells gives each cell its warm-up. In virtual time a pilot run of each
// says how long its device takes to settle, and the longest of a device under a
// workload goes for all its strategies, so that their runs stay aligned.
func settleCells(ctx context.Context, p *Plan, cells []Cell) error {
	return settleEach(p, cells, func() bool { return ctx.Err() != nil })
}

// settleEach is settleCells with another way to stop.
func settleEach(p *Plan, cells []Cell, stop func() bool) error {
	if p.Clock == "real" || p.Warmup == 0 {
		return cellsWithoutPilot(p, cells)
	}
	found := make([][]settling, len(cells))
	errs := make([]error, len(cells))
	pool.Each(0, len(cells), func(i int) {
		if found[i], errs[i] = settlePhases(p, &cells[i], stop); errs[i] != nil {
			found[i] = unreached(nil, cells[i].Workload.Bounded())
		}
	})
	for i := range cells {
		if errs[i] != nil && !isCellError(errs[i]) {
			return fmt.Errorf("%s, pilot run: %w", cells[i].ID, errs[i])
		}
	}
	for i := range cells {
		cells[i].rate = found[i][len(found[i])-1].Rate
		cells[i].warmUp(p, cells, found, found[i])
	}
	return nil
}

// warmUp gives the cell the warm-ups of its phases, and says whether it has settled in
// each. Phases that end by themselves are from the device as the one before leaves it:
// unless the plan says how long, they have none.
func (c *Cell) warmUp(p *Plan, cells []Cell, found [][]settling, phases []settling) {
	warmups := make([]time.Duration, len(phases))
	c.Settled, c.NotSettled = results.CleanDevice, ""
	for k, f := range phases {
		warmups[k] = time.Duration(p.Warmup)
		if p.Warmup == WarmupAuto {
			if warmups[k] = 0; !f.Bounded {
				warmups[k] = longest(cells, found, c, k)
			}
		}
		c.Warmup = max(c.Warmup, warmups[k])
		if !f.Bounded && c.Settled != false {
			c.Settled = f.Settled && f.Warmup <= warmups[k]
			if c.NotSettled = f.Reason; f.Settled {
				c.NotSettled = fmt.Sprintf("it takes %v to settle, and had %v", f.Warmup, warmups[k])
			}
		}
	}
	if slices.Max(warmups) != slices.Min(warmups) {
		c.Warmups = warmups
	}
}

// cellsWithoutPilot gives every cell the same warm-up, without pilot runs.
func cellsWithoutPilot(p *Plan, cells []Cell) error {
	for i := range cells {
		c := &cells[i]
		switch {
		case p.Clock == "virtual":
			c.Settled = results.CleanDevice
		case p.Warmup == WarmupAuto:
			c.warmUpReal()
		default:
			c.Warmup = time.Duration(p.Warmup)
		}
	}
	return nil
}

// warmUpReal gives each phase the default of real time, but those that end by themselves.
func (c *Cell) warmUpReal() {
	var warmups []time.Duration
	for _, bounded := range c.Workload.Bounded() {
		d := time.Duration(realWarmup)
		if bounded {
			d = 0
		}
		warmups = append(warmups, d)
		c.Warmup = max(c.Warmup, d)
	}
	if slices.Max(warmups) != slices.Min(warmups) {
		c.Warmups = warmups
	}
}

// longest is the longest time to settle of all strategies on the cell's device
// in a phase of its workload; those that do not settle count only if none does.
func longest(cells []Cell, found [][]settling, of *Cell, phase int) (warmup time.Duration) {
	var hopeless sim.Duration
	for i := range cells {
		c := &cells[i]
		if c.Device != of.Device || c.Name != of.Name || !slices.Equal(c.At, of.At) {
			continue
		}
		if f := &found[i][phase]; f.Settled {
			warmup = max(warmup, f.Warmup)
		} else {
			hopeless = max(hopeless, f.Elapsed/2)
		}
	}
	if warmup == 0 {
		return min(hopeless, MaxWarmup)
	}
	return warmup
}
