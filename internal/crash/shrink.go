package crash

import (
	"slices"
	"sort"

	"nbdbench/devices"
	"nbdbench/devices/history"
)

// The bounds of shrinking: how many cuts and how many runs it tries in all, and
// how many cuts of one run: of a short one, and of one that may be long.
const (
	maxTries   = 4_000
	maxReplays = 2_000
	maxLook    = 100
	maxFew     = 8
)

// shrinker looks for the shortest history that still shows a class of
// violation. It is deterministic.
type shrinker struct {
	best    found
	class   history.Class
	tries   int
	replays int
}

// shrink makes a finding's history as short as it gets. A cut of a long history
// costs far more than one of a short one: so first it ends with what shows the
// class, then what comes before goes with cuts at the end alone, and only then are
// cuts tried everywhere.
func shrink(f found) found {
	k := &shrinker{best: f, class: f.class}
	k.run()
	return k.best
}

func (k *shrinker) run() {
	if k.best.cell.history == nil { // which has its own
		k.fewerCommits()
		k.lessAtOnce()
	}
	k.shorterPrefix()
	k.fewerRequests(atItsEnd)
	k.fewerRequests(everywhere)
	k.earlier()
}

// where says after which events of a run cuts are tried.
type where bool

const (
	atItsEnd   where = false // where the last requests reach the wire, or their client gets the reply
	everywhere where = true  // there, before, in between and afterwards
)

// fewerCommits drops what comes after the cut.
func (k *shrinker) fewerCommits() {
	s := k.best.scenario
	w, err := newWorld(s)
	if err != nil {
		return
	}
	_ = w.run(func(step uint64) bool { return step < k.best.step })
	if s.commits = max(w.runner.Stats().Begun, 1); s.commits < k.best.commits {
		k.try(s, everywhere)
	}
}

// lessAtOnce tries one transaction at a time, on one connection.
func (k *shrinker) lessAtOnce() {
	s := k.best.scenario
	if s.queueDepth = 1; k.best.queueDepth > 1 || k.best.cell.Load.QueueDepth > 1 {
		k.try(s, everywhere)
	}
	s = k.best.scenario
	if s.connections = 1; k.best.connections > 1 {
		k.try(s, everywhere)
	}
}

// shorterPrefix looks for the first cut that shows the class, between ever closer
// bounds, and drops the requests that come after it.
func (k *shrinker) shorterPrefix() {
	marks, _, ok := k.replay(k.best.scenario, atItsEnd)
	for ok && len(marks) > 0 {
		marks = marks[:sort.Search(len(marks), func(i int) bool { return marks[i] >= k.best.step })]
		some := spread(marks, maxFew)
		at, hit := k.look(k.best.scenario, some)
		if !hit {
			break
		}
		k.best.sight = at
		from := 0 // behind the last cut that did not show it
		if i := slices.Index(some, at.step); i > 0 {
			from = slices.Index(marks, some[i-1]) + 1
		}
		marks = marks[from:]
	}
	free, fixed := k.candidates()
	s := k.best.scenario
	s.requests = slices.Sorted(slices.Values(slices.Concat(free, fixed)))
	k.try(s, atItsEnd)
}

// spread is n of the steps at most, evenly spread, the last one among them.
func spread(steps []uint64, n int) (out []uint64) {
	if len(steps) <= n {
		return steps
	}
	for i := range n {
		out = append(out, steps[(i+1)*len(steps)/n-1])
	}
	return out
}

// fewerRequests drops requests, first many together and then one by one. Who
// does without FLUSHes finds that what is not flushed is lost: only a promise at
// the wire may do without those of its application.
func (k *shrinker) fewerRequests(cuts where) {
	kept, fixed := k.candidates()
	for chunk := (len(kept) + 1) / 2; chunk > 0; chunk /= 2 {
		for again := true; again; {
			again = false
			for at := 0; at < len(kept) && !k.spent(); {
				s := k.best.scenario
				fewer := slices.Concat(kept[:at], kept[min(at+chunk, len(kept)):])
				s.requests = append([]uint64{}, slices.Concat(fewer, fixed)...) // none, and not nil, which is all
				slices.Sort(s.requests)
				if k.try(s, cuts) {
					kept, again = fewer, chunk == 1
					continue
				}
				at += chunk
			}
		}
	}
}

// spent reports whether shrinking has cost as much as it may.
func (k *shrinker) spent() bool { return k.tries >= maxTries || k.replays >= maxReplays }

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
	marks, steps, ok := k.replay(k.best.scenario, everywhere)
	if !ok || len(marks) == 0 {
		return
	}
	var all []uint64
	for step := marks[0]; step <= steps; step++ {
		all = append(all, step)
	}
	if at, ok := k.look(k.best.scenario, all); ok {
		k.best.sight = at
	}
}

// try takes a scenario if it shows the class too.
func (k *shrinker) try(s scenario, cuts where) bool {
	marks, steps, ok := k.replay(s, cuts)
	if !ok {
		return false
	}
	moments := []uint64{k.best.step}
	if cuts == atItsEnd {
		moments = append(moments, marks[max(0, len(marks)-maxFew):]...)
	} else {
		moments = append(moments, spread(marks, maxLook)...)
		for step := uint64(1); step <= steps; step += max(1, steps/maxLook) {
			moments = append(moments, step)
		}
	}
	slices.Sort(moments)
	at, ok := k.look(s, slices.Compact(moments))
	if ok {
		k.best = found{s, at}
	}
	return ok
}

// replay runs a scenario: to its end, or until the last of its requests is done.
// marks are the events after which the wire or the application had seen more,
// steps is how many there were.
func (k *shrinker) replay(s scenario, cuts where) (marks []uint64, steps uint64, ok bool) {
	k.replays++
	w, err := newWorld(s)
	if err != nil {
		return nil, 0, false
	}
	seen := 0
	err = w.run(func(step uint64) bool {
		if n := len(w.log.Events) + len(w.app.acks); n > seen {
			seen, marks = n, append(marks, step)
		}
		return cuts == everywhere || !w.app.mask.over()
	})
	return marks, w.steps, err == nil
}

// look cuts a scenario after these events, in their order, until one shows the
// class.
func (k *shrinker) look(s scenario, moments []uint64) (at sight, ok bool) {
	k.replays++
	w, err := newWorld(s)
	if err != nil {
		return at, false
	}
	_ = w.run(func(step uint64) bool {
		if len(moments) == 0 {
			return false
		}
		if step < moments[0] {
			return true
		}
		if moments = moments[1:]; k.tries >= maxTries {
			return false
		}
		k.tries++
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
