package sim

import "math"

// What Real.kept is while no keeper sleeps.
const (
	nobody   = int64(Never)  // there is no keeper
	attended = math.MinInt64 // the keeper is awake and will look for what is due
)

// Keep makes the caller the keeper, who runs what is due in place of the pacer until
// Unkeep, and reports whether there was none. It is for one who waits for requests in
// a thread: the thread that takes a request then sleeps until its reply is due, and
// no other is woken for that, which is half the processor time and more on time.
//
// A keeper that does something else for long calls Unkeep first.
func (r *Real) Keep() bool { return r.kept.CompareAndSwap(nobody, attended) }

// Kept reports whether there is a keeper.
func (r *Real) Kept() bool { return r.kept.Load() != nobody }

// Unkeep hands back to the pacer.
func (r *Real) Unkeep() {
	r.kept.Store(nobody)
	r.wake(r.armed.Load())
}

// Doze is for a keeper with nothing else to do. It runs what is due and returns 0; or
// returns 0 because something soon will be; or else returns for how long the keeper
// may sleep, who calls Woke when it has. A deadline before that is the pacer's.
//
// The order of the two atomics pairs with that in arm.
func (r *Real) Doze() Duration {
	for {
		armed := r.armed.Load()
		left := Time(armed).Sub(r.Now())
		switch {
		case left <= 0:
			r.Enter()
			r.Leave()
			return 0
		case left <= spinWindow:
			return 0
		}
		r.kept.Store(min(armed, nobody-1)) // which is later than anything, too
		if r.armed.Load() >= armed {
			return left - spinWindow
		}
		r.kept.Store(attended)
	}
}

// Woke is called by a keeper who has slept.
func (r *Real) Woke() { r.kept.Store(attended) }

// due is the earliest deadline, if it is the pacer's, or Never.
func (r *Real) due() int64 {
	if armed := r.armed.Load(); armed < r.kept.Load() {
		return armed
	}
	return int64(Never)
}
