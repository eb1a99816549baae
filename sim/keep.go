package sim

import "math"

// What Real.sleepsUntil is while no owner of the timers sleeps.
const (
	unowned    = int64(Never)  // the pacer has the timers
	ownerAwake = math.MinInt64 // the owner will look for what is due
)

// AcquireTimers makes the caller the owner of the timers, and reports whether they had
// none. The owner runs what is due in place of the pacer, until ReleaseTimers. It is for
// a reader that waits for requests in a thread of its own: that thread then sleeps until
// a reply is due, and no other is woken for it, which takes half the processor time and
// is more on time.
//
// An owner that does something else for long calls ReleaseTimers first.
func (r *Real) AcquireTimers() bool { return r.sleepsUntil.CompareAndSwap(unowned, ownerAwake) }

// TimersOwned reports whether the timers have an owner.
func (r *Real) TimersOwned() bool { return r.sleepsUntil.Load() != unowned }

// ReleaseTimers gives the timers back to the pacer.
func (r *Real) ReleaseTimers() {
	r.sleepsUntil.Store(unowned)
	r.wake(r.armed.Load())
}

// NextWait is for an owner with nothing else to do. It runs what is due and returns 0,
// or returns 0 because a deadline is near, or else returns for how long the owner may
// sleep. The owner then calls WaitDone. A deadline that is set meanwhile and comes before
// that is the pacer's.
//
// The order of the two atomics pairs with that in arm.
func (r *Real) NextWait() Duration {
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
		r.sleepsUntil.Store(min(armed, unowned-1)) // which is later than anything, too
		if r.armed.Load() >= armed {
			return left - spinWindow
		}
		r.sleepsUntil.Store(ownerAwake)
	}
}

// WaitDone is called by an owner that has slept.
func (r *Real) WaitDone() { r.sleepsUntil.Store(ownerAwake) }

// due is the earliest deadline, if it is the pacer's, or Never.
func (r *Real) due() int64 {
	if armed := r.armed.Load(); armed < r.sleepsUntil.Load() {
		return armed
	}
	return int64(Never)
}
