package sim

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"nbdbench/internal/interleave"
)

// testRing is what an explored pacer sleeps on. Like the timerfd it keeps a ring for the
// next wait.
type testRing struct {
	w    *interleave.World
	rung bool
}

func (a *testRing) wait(d Duration) {
	if d <= 0 {
		panic("a wait of nothing never ends: it disarms a timerfd")
	}
	a.w.Step()
	a.w.Await(a.w.Now()+int64(d), func() bool { return a.rung })
	a.rung = false
}

func (a *testRing) ring() {
	a.w.Step()
	a.rung = true
}

func (a *testRing) close() error { return nil }

// explored is a Real of which the accesses are steps, with a pacer as one of the threads.
type explored struct {
	*Real
	w     *interleave.World
	fired int
	set   int // timers
}

func explore(w *interleave.World) *explored {
	r := newRealOn(NewLoop(), &testRing{w: w})
	r.schedule, r.spins = w, 1
	r.timers.Follow(w)
	r.closing.Follow(w)
	r.mu.Follow(w)
	x := &explored{Real: r, w: w}
	w.Thread("pacer", r.pace)
	w.AtRest(x.somebodyWakes)
	w.AtEnd(x.allFired)
	return x
}

func (x *explored) Fire(*Timer) { x.fired++ }

// sets sets timers, as the loop's owner.
func (x *explored) sets(after ...Duration) {
	for _, d := range after {
		x.loop.After(new(Timer), d, x)
		x.set++
	}
}

// somebodyWakes is the invariant: whenever nobody runs, somebody sleeps until the
// earliest deadline or less.
func (x *explored) somebodyWakes() error {
	if first := x.w.Earliest(); first > int64(x.loop.Next()) {
		return fmt.Errorf("all sleep until %v, and something is due at %v", Time(first), x.loop.Next())
	}
	return nil
}

// allFired is what no order may change: each timer fires, and none late, for the clock
// moves only while all sleep.
func (x *explored) allFired() error {
	switch {
	case x.fired != x.set:
		return fmt.Errorf("%d timers fired of %d", x.fired, x.set)
	case x.late.Max() > 0:
		return fmt.Errorf("a timer fired %v late", x.late.Max())
	}
	return nil
}

// posts adds a thread that sets timers and leaves.
func (x *explored) posts(name string, after ...Duration) {
	x.w.Thread(name, func() { x.Do(func() { x.sets(after...) }) })
}

const (
	soon  = spinWindow / 2     // the pacer would spin
	near  = spinWindow * 4 / 3 // who spins runs it
	later = time.Millisecond
	far   = time.Hour
)

// A deadline that is set while the pacer goes to sleep: in every order if it is due at
// once, for which there are 6,435.
func TestInterleavingsOfADeadlineAndThePacer(t *testing.T) {
	for _, c := range []struct {
		d     Duration
		bound int
	}{{0, interleave.Unbounded}, {soon, 3}, {near, 3}, {later, 3}} {
		interleave.Explore(t, c.bound, func(w *interleave.World) {
			x := explore(w)
			x.sets(far)
			x.timers.Arm(int64(x.loop.Next()))
			x.posts("posts", c.d)
		})
	}
}

func TestInterleavingsOfTwoDeadlinesAndThePacer(t *testing.T) {
	interleave.Explore(t, 2, func(w *interleave.World) {
		x := explore(w)
		x.posts("first", later, far)
		x.posts("second", near)
	})
}

// Close while the pacer goes to sleep, or has something to do.
func TestInterleavingsOfClose(t *testing.T) {
	for _, set := range [][]Duration{nil, {near}, {far}} {
		interleave.Explore(t, interleave.Unbounded, func(w *interleave.World) {
			x := explore(w)
			x.sets(set...)
			x.timers.Arm(int64(x.loop.Next()))
			w.Thread("closes", func() { x.beginClose() })
			w.AtRest(func() error {
				if w.Waits("pacer") {
					return errors.New("the pacer sleeps after Close")
				}
				return nil
			})
			w.AtEnd(func() error {
				select {
				case <-x.stopped:
					return nil
				default:
					return errors.New("the pacer goes on after Close")
				}
			})
		})
	}
}

// owns is a reader that owns the timers until n have fired, and waits for requests that
// do not come.
func (x *explored) owns(n int) func() {
	return func() {
		if !x.AcquireTimers() {
			panic("there is an owner")
		}
		for x.fired < n {
			d := x.NextWait()
			if d == 0 {
				if due := x.timers.Armed(); due > x.w.Now() {
					x.w.Await(due, func() bool { return x.loop.Next() < Time(due) || x.fired >= n })
				}
				continue
			}
			x.w.Await(x.w.Now()+int64(d), func() bool { return x.fired >= n })
			x.WaitDone()
		}
		x.ReleaseTimers()
	}
}

// A deadline that is set while the owner of the timers goes to sleep or gives them back,
// and the pacer has to help.
func TestInterleavingsOfADeadlineAndATimerOwner(t *testing.T) {
	for _, d := range []Duration{0, soon, near, later} {
		interleave.Explore(t, 2, func(w *interleave.World) {
			x := explore(w)
			x.sets(2 * later)
			x.timers.Arm(int64(x.loop.Next()))
			w.Thread("owner", x.owns(2))
			x.posts("posts", d)
		})
	}
}

// An owner that gives the timers back at once, or after it has slept.
func TestInterleavingsOfATimerOwnerThatEnds(t *testing.T) {
	for _, sleeps := range []bool{false, true} {
		interleave.Explore(t, 2, func(w *interleave.World) {
			x := explore(w)
			w.Thread("owner", func() {
				x.AcquireTimers()
				x.Do(func() { x.sets(later) })
				if sleeps && x.NextWait() > 0 {
					w.Step()
				}
				x.ReleaseTimers()
			})
			x.posts("posts", 2*later)
		})
	}
}

// A reader that spins for what is due soon, until it has something better to do.
func TestInterleavingsOfADeadlineAndWhoSpins(t *testing.T) {
	interleave.Explore(t, 2, func(w *interleave.World) {
		x := explore(w)
		busy := false
		w.Thread("spins", func() {
			x.Enter()
			x.sets(near)
			spins := x.BeginSpin()
			x.Leave()
			if spins {
				x.SpinUntilIdle(func() bool { return busy })
			}
		})
		w.Thread("requests", func() { w.Step(); busy = true })
		x.posts("posts", soon)
	})
}

// Two readers, of which one spins, and something that is due later.
func TestInterleavingsOfTwoWhoWouldSpin(t *testing.T) {
	interleave.Explore(t, 2, func(w *interleave.World) {
		x := explore(w)
		for _, d := range []Duration{near, later} {
			w.Thread(fmt.Sprintf("spins %v", d), func() {
				x.Enter()
				x.sets(d)
				spins := x.BeginSpin()
				x.Leave()
				if spins {
					x.SpinUntilIdle(func() bool { return true })
				}
			})
		}
	})
}

// once asks for a flush and is flushed.
type once struct{ asked, done int }

func (o *once) Flush() { o.done++ }

// What is asked for by AfterLeave is flushed, by somebody.
func TestInterleavingsOfFlushes(t *testing.T) {
	interleave.Explore(t, 2, func(w *interleave.World) {
		x := explore(w)
		o := &once{}
		for _, name := range []string{"first", "second"} {
			w.Thread(name, func() { x.Do(func() { x.AfterLeave(o); o.asked++ }) })
		}
		w.AtEnd(func() error {
			if o.done != o.asked {
				return fmt.Errorf("%d flushes of %d", o.done, o.asked)
			}
			return nil
		})
	})
}
