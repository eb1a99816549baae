package crash

import (
	"slices"

	"nbdbench/devices"
	"nbdbench/devices/history"
)

// The bounds of shrinking: how many cuts it tries in all, and how many of one
// history as long as that is not short.
const (
	maxTries = 4_000
	maxLook  = 100
)

// shrinker looks for the shortest history that still shows a class of
// violation. It is deterministic.
type shrinker struct {
	best  found
	class history.Class
	tries int
}

// shrink makes a finding's history as short as it gets.
func shrink(f found) found {
	k := &shrinker{best: f, class: f.class}
	k.fewerCommits()
	k.lessAtOnce()
	k.fewerRequests()
	k.earlier()
	return k.best
}

// fewerCommits drops what comes after the cut.
func (k *shrinker) fewerCommits() {
	s := k.best.scenario
	w, err := newWorld(s)
	if err != nil {
		return
	}
	_ = w.run(func(step uint64) bool { return step < k.best.step })
	if s.commits = max(w.runner.Stats().Begun, 1); s.commits < k.best.commits {
		k.try(s)
	}
}

// lessAtOnce tries one transaction at a time, on one connection.
func (k *shrinker) lessAtOnce() {
	s := k.best.scenario
	if s.queueDepth = 1; k.best.queueDepth > 1 || k.best.cell.Load.QueueDepth > 1 {
		k.try(s)
	}
	s = k.best.scenario
	if s.connections = 1; k.best.connections > 1 {
		k.try(s)
	}
}

// fewerRequests drops requests, first many together and then one by one. Who
// does without FLUSHes finds that what is not flushed is lost: only a promise at
// the wire may do without those of its application.
func (k *shrinker) fewerRequests() {
	kept, fixed := k.candidates()
	for chunk := (len(kept) + 1) / 2; chunk > 0; chunk /= 2 {
		for again := true; again; {
			again = false
			for at := 0; at < len(kept) && k.tries < maxTries; {
				s := k.best.scenario
				fewer := slices.Concat(kept[:at], kept[min(at+chunk, len(kept)):])
				s.requests = append([]uint64{}, slices.Concat(fewer, fixed)...) // none, and not nil, which is all
				slices.Sort(s.requests)
				if k.try(s) {
					kept, again = fewer, chunk == 1
					continue
				}
				at += chunk
			}
		}
	}
}

// candidates are the numbers of the requests up to the cut, and those that must
// stay, wherever the cut comes to be.
func (k *shrinker) candidates() (free, fixed []uint64) {
	w, err := newWorld(k.best.scenario)
	if err != nil {
		return nil, nil
	}
	before := 0
	_ = w.run(func(step uint64) bool {
		if step == k.best.step {
			before = len(w.app.mask.ops)
		}
		return true
	})
	for i, op := range w.app.mask.ops {
		n := uint64(i + 1)
		switch {
		case k.best.requests != nil && !slices.Contains(k.best.requests, n):
		case op == devices.OpFlush && (k.class == LostCommit || k.class == Invariant):
			fixed = append(fixed, n)
		case i < before:
			free = append(free, n)
		}
	}
	return free, fixed
}

// earlier looks for the first cut that shows it.
func (k *shrinker) earlier() {
	s := k.best.scenario
	if at, ok := k.look(s, 1); ok {
		k.best = found{s, at}
	}
}

// try takes a scenario if it shows the class too.
func (k *shrinker) try(s scenario) bool {
	w, err := newWorld(s)
	if err != nil || w.run(func(uint64) bool { return true }) != nil {
		return false
	}
	at, ok := k.look(s, max(1, w.steps/maxLook))
	if ok {
		k.best = found{s, at}
	}
	return ok
}

// look cuts a scenario after every so many-th event until one shows the class.
func (k *shrinker) look(s scenario, stride uint64) (at sight, ok bool) {
	w, err := newWorld(s)
	if err != nil {
		return at, false
	}
	_ = w.run(func(step uint64) bool {
		if step%stride != 0 && step != k.best.step {
			return true
		}
		if k.tries++; k.tries > maxTries {
			return false
		}
		for _, f := range w.cut(step).sights {
			if f.class == k.class {
				at, ok = f, true
				return false
			}
		}
		return true
	})
	return at, ok
}
