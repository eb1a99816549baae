package sim

import (
	"fmt"
	"math"
	"time"
)

// Time is an instant: nanoseconds since the loop began.
type Time int64

// Duration is a span in nanoseconds. It is time.Duration, the type; the clock
// of package time is only for this package.
type Duration = time.Duration

// Never is later than every instant that a loop reaches.
const Never Time = math.MaxInt64

// Add returns t+d.
func (t Time) Add(d Duration) Time { return t + Time(d) }

// Sub returns t-u.
func (t Time) Sub(u Time) Duration { return Duration(t - u) }

// String prints t as a duration since the loop began.
func (t Time) String() string { return time.Duration(t).String() }

// A Handler is called when one of its timers is due. It runs on the loop.
type Handler interface {
	Fire(t *Timer)
}

// A Timer is one pending event. The zero value is idle. It is a field of the
// thing that waits and must not be copied while it is pending.
type Timer struct {
	// Owner says whose event this is, for a Handler that serves many. The loop
	// never looks at it.
	Owner any
	// Tag is the owner's too: what the event means, where it can mean several.
	Tag int

	handler Handler
	when    Time
	seq     uint64
	pos     int32 // index in the heap plus one; 0 is idle
}

// When is the instant at which the timer fires or last fired.
func (t *Timer) When() Time { return t.when }

// Pending reports whether the timer has yet to fire.
func (t *Timer) Pending() bool { return t.pos != 0 }

// A Loop runs timers in the order of their instants; those of one instant in
// the order in which they were set. It belongs to one goroutine at a time.
type Loop struct {
	now   Time
	seq   uint64
	heap  heap
	fired uint64
}

// NewLoop returns a loop at instant 0.
func NewLoop() *Loop { return &Loop{heap: make(heap, 0, 64)} }

// Now is the loop's present instant. Inside Fire it is the instant for which
// the timer was set, in real time too, so that a late wake-up does not add up
// along a chain of events.
func (l *Loop) Now() Time { return l.now }

// Fired counts the events that have run.
func (l *Loop) Fired() uint64 { return l.fired }

// At sets t to fire h at instant when; an instant in the past means now. A
// timer that is already pending moves.
func (l *Loop) At(t *Timer, when Time, h Handler) {
	if when < l.now {
		when = l.now
	}
	l.seq++
	t.when, t.seq, t.handler = when, l.seq, h
	if t.pos != 0 {
		l.heap.fix(int(t.pos-1), entry{when, l.seq, t})
		return
	}
	l.heap.push(entry{when, l.seq, t})
}

// After sets t to fire h when d has passed.
func (l *Loop) After(t *Timer, d Duration, h Handler) { l.At(t, l.now.Add(d), h) }

// Cancel makes t idle. An idle timer stays idle.
func (l *Loop) Cancel(t *Timer) {
	if t.pos != 0 {
		l.heap.remove(int(t.pos - 1))
	}
}

// Next is the instant of the earliest pending timer, or Never.
func (l *Loop) Next() Time {
	if len(l.heap) == 0 {
		return Never
	}
	return l.heap[0].when
}

// Step runs the earliest timer, jumping to its instant. It reports whether
// there was one.
func (l *Loop) Step() bool {
	if len(l.heap) == 0 {
		return false
	}
	t := l.heap.pop()
	l.now = t.when
	l.fired++
	t.handler.Fire(t)
	return true
}

// Run runs every timer that is due at or before until and leaves the loop at
// that instant. Run(Never) runs until nothing is pending and leaves the loop
// at the last event.
func (l *Loop) Run(until Time) {
	for len(l.heap) > 0 && l.heap[0].when <= until {
		l.Step()
	}
	if until != Never && until > l.now {
		l.now = until
	}
}

// RunWhile runs timers for as long as more reports true and any are pending.
func (l *Loop) RunWhile(more func() bool) {
	for more() && l.Step() {
	}
}

func (l *Loop) String() string {
	return fmt.Sprintf("loop at %v, %d pending, next %v", l.now, len(l.heap), l.Next())
}
