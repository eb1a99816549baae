package sim

// AcquireTimers makes the caller the owner of the timers, and reports whether they had
// none. The owner runs what is due in place of the pacer, until ReleaseTimers. It is for
// a reader that waits for requests in a thread of its own: that thread then sleeps until
// a reply is due, and no other is woken for it, which takes half the processor time and
// is more on time.
//
// An owner that does something else for long calls ReleaseTimers first.
func (r *Real) AcquireTimers() bool { return r.timers.Acquire() }

// TimersOwned reports whether the timers have an owner.
func (r *Real) TimersOwned() bool { return r.timers.Owned() }

// ReleaseTimers gives the timers back to the pacer.
func (r *Real) ReleaseTimers() { r.timers.Release() }

// NextWait is for an owner with nothing else to do. It runs what is due and returns 0,
// or returns 0 because a deadline is near, or else returns for how long the owner may
// sleep. The owner then calls WaitDone. A deadline that is set meanwhile and comes before
// that is the pacer's.
func (r *Real) NextWait() Duration {
	for {
		armed := r.timers.Armed()
		left := Time(armed).Sub(r.Now())
		switch {
		case left <= 0:
			r.Enter()
			r.Leave()
			return 0
		case left <= spinWindow:
			return 0
		case r.timers.OwnerSleeps(armed):
			return left - spinWindow
		}
	}
}

// WaitDone is called by an owner that has slept.
func (r *Real) WaitDone() { r.timers.OwnerWoke() }
