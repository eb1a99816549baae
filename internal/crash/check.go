package crash

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/results"
	"nbdbench/sim"
)

// ErrTooMany is for a cut of which the images are too many where all were asked
// for.
var ErrTooMany = errors.New("too many images")

// check runs one cell.
func (c *Cell) check(stop func() bool) (*CellResult, error) {
	r := &CellResult{
		Device: c.Profile.Name, Workload: c.Load.Name, Strategy: c.Strategy, Durable: c.durable, Status: "ok",
		log2: math.Inf(-1),
	}
	first := map[history.Class]found{}
	for n := uint64(0); r.Cuts < int64(c.target()) && !stop(); n++ {
		s := scenario{
			cell: c, seed: c.Config.Seed + n, commits: c.Config.Commits,
			queueDepth: c.Config.QueueDepth, connections: c.Config.connections(c.Load.Name), requests: c.Config.Requests,
		}
		err := c.oneRun(s, r, first, stop)
		if errors.Is(err, layer.ErrUnsupported) {
			r.Status, r.Reason = "unsupported", err.Error()
			return r, nil
		}
		if err != nil {
			return nil, err
		}
		if c.Config.Exhaustive || c.Config.CutAt > 0 {
			break
		}
	}
	if stop() {
		r.Status, r.Reason = "partial", "interrupted"
	}
	r.history, r.invariant = c.history != nil, c.Config.Invariant != ""
	return r, c.report(r, first)
}

// found is where a class of violation was met first.
type found struct {
	scenario
	sight
}

// target is how many cuts are wanted.
func (c *Cell) target() int {
	if c.Config.Exhaustive || c.Config.CutAt > 0 {
		return 1 // one run, whatever its cuts
	}
	return c.Config.Cuts
}

// oneRun runs a scenario twice: to count its events, and to cut after some.
func (c *Cell) oneRun(s scenario, r *CellResult, first map[history.Class]found, stop func() bool) error {
	w, err := newWorld(s)
	if err != nil {
		return err
	}
	if err := w.run(func(uint64) bool { return !stop() }); err != nil {
		return err
	}
	steps, every := c.moments(s, w.steps, c.Config.Cuts-int(r.Cuts))
	if w, err = newWorld(s); err != nil {
		return err
	}
	r.Runs++
	r.everyEvent = every && (r.everyEvent || r.Runs == 1)
	err = w.run(func(step uint64) bool {
		for len(steps) > 0 && steps[0] == step {
			steps = steps[1:]
			v := w.cut(step)
			r.add(&v)
			for _, at := range v.sights {
				if _, ok := first[at.class]; !ok {
					first[at.class] = found{s, at}
				}
			}
			if c.Config.Exhaustive && !v.exhaustive && c.history == nil {
				err := fmt.Errorf("%w: the cut after event %d has 2^%.0f, and %d are built at most: expected fewer commits or a smaller queue depth", ErrTooMany, step, v.log2, MaxImages)
				w.failed = err
				return false
			}
		}
		return len(steps) > 0 && !stop()
	})
	r.Promises += w.wire.Promises()
	return errors.Join(err, w.failed)
}

// moments are the events after which a run of so many is cut, in order, and
// whether these are all.
func (c *Cell) moments(s scenario, events uint64, wanted int) (steps []uint64, every bool) {
	switch {
	case c.Config.CutAt > 0:
		return []uint64{c.Config.CutAt}, false
	case c.Config.Exhaustive || uint64(min(wanted, cutsPerRun)) >= events:
		for n := uint64(1); n <= events; n++ {
			steps = append(steps, n)
		}
		return steps, true
	}
	draw := sim.Seed(s.seed).Stream("cut moments")
	taken := map[uint64]bool{}
	for n := uint64(0); len(steps) < min(wanted, cutsPerRun); n++ {
		if at := 1 + draw.Uint64N(events, n, 0); !taken[at] {
			taken[at] = true
			steps = append(steps, at)
		}
	}
	slices.Sort(steps)
	return steps, false
}

// add counts one cut.
func (r *CellResult) add(v *verdict) {
	r.Cuts++
	r.Images += v.images
	r.log2 = addLog2(r.log2, v.log2)
	r.maxLog2 = max(r.maxLog2, v.log2)
	if v.exhaustive {
		r.CutsExhaustive++
	}
	if v.broken {
		r.InvariantBroken++
	}
	if r.FirstBroken == 0 && len(v.sights) > 0 {
		r.FirstBroken = r.Cuts
	}
	r.Durability.Add(results.Cut{
		Acked: v.Acked, Lost: v.Lost, AtRisk: v.AtRisk, LostWindow: v.LostWindow, AtRiskBytes: v.AtRiskBytes, Violations: v.findings,
	})
}

// addLog2 is log2(2^a + 2^b).
func addLog2(a, b float64) float64 {
	if math.IsInf(a, -1) {
		return b
	}
	if a < b {
		a, b = b, a
	}
	return a + math.Log2(1+math.Exp2(b-a))
}

// report shrinks what was found, one violation of each class, and puts it into
// the result.
func (c *Cell) report(r *CellResult, first map[history.Class]found) error {
	for _, class := range append(history.Classes(), LostCommit, Invariant) {
		f, ok := first[class]
		if !ok {
			continue
		}
		if c.Config.CutAt == 0 {
			f = shrink(f)
		}
		v, err := f.violation()
		if err != nil {
			return err
		}
		r.Violations = append(r.Violations, v)
	}
	return nil
}
