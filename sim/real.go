package sim

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"nbdbench/internal/wake"
)

// spinWindow is how long before a deadline the pacer stops sleeping and spins.
// It covers the wake-up of a thread, of which the median on a 2-core virtual
// machine is 40 to 50 µs.
const spinWindow = 60 * time.Microsecond

// lockSpins is how often a goroutine tries for the owner's lock before it
// parks. Parking costs 5 to 50 µs of wake-up; the lock is held for a few.
const lockSpins = 200

// flushBatch is how many flushers are called for one hold of the lock.
const flushBatch = 16

// ErrClosed says that a Real was closed while somebody waited for it.
var ErrClosed = errors.New("sim: the real-time loop is closed")

// A Flusher has work to do outside the owner's lock, such as writing to a socket.
type Flusher interface {
	Flush()
}

// Real holds a Loop to the wall clock. Everything on the loop belongs to who
// has entered; a goroutine of its own, the pacer, enters whenever a timer is
// due and nobody else is there to run it.
//
// An event that runs late sees the instant for which it was set as Loop.Now, so
// that lateness does not add up along a chain of events.
type Real struct {
	loop  *Loop
	begin time.Time // the wall's instant of base
	base  Time
	alarm sleepRing

	timers   wake.Timers
	closing  wake.Bool
	stopped  chan struct{}
	late     Lateness
	spins    int           // lockSpins
	schedule wake.Schedule // of a test, or nil

	mu       wake.Mutex
	flushers []Flusher
	watchers []*watcher
}

// sleepRing is what the pacer sleeps on.
type sleepRing interface {
	// wait returns after d, or when somebody rings or has rung.
	wait(d Duration)
	// ring ends a wait, this or the next.
	ring()
	close() error
}

type watcher struct {
	more func() bool
	done chan struct{}
}

// NewReal starts to hold loop to the wall clock from its present instant on.
// The loop is the Real's until Close.
func NewReal(loop *Loop) (*Real, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, fmt.Errorf("real-time loop: %w", err)
	}
	r := newRealOn(loop, a)
	go r.pace()
	return r, nil
}

// newRealOn returns a Real without a pacer.
func newRealOn(loop *Loop, a sleepRing) *Real {
	r := &Real{loop: loop, begin: time.Now(), base: loop.Now(), alarm: a, spins: lockSpins, stopped: make(chan struct{})}
	r.timers.Begin(int64(loop.Next()), int64(idleSpin), func() int64 { return int64(r.Now()) }, a.ring)
	return r
}

// Loop is the loop that r holds. Only who has entered may touch it.
func (r *Real) Loop() *Loop { return r.loop }

// Now is the wall clock's instant, for anybody. It never goes back.
func (r *Real) Now() Time {
	if r.schedule != nil {
		return Time(r.schedule.Now())
	}
	return r.base.Add(time.Since(r.begin))
}

// Late is how late events ran.
func (r *Real) Late() *Lateness { return &r.late }

// Enter makes the caller the loop's owner, with everything run that is due and
// the loop's clock at the wall's. It must not be called by the owner.
func (r *Real) Enter() {
	r.lock()
	r.runDue()
}

// Leave runs what has become due, hands the loop back, and then calls the
// flushers that asked for it.
func (r *Real) Leave() {
	for {
		r.runDue()
		r.watch()
		var batch [flushBatch]Flusher
		n := r.take(&batch)
		r.timers.Arm(int64(r.loop.Next()))
		r.mu.Unlock()
		for _, f := range batch[:n] {
			f.Flush()
		}
		if n < flushBatch {
			return
		}
		r.lock()
	}
}

// Do calls f as the loop's owner.
func (r *Real) Do(f func()) {
	r.Enter()
	defer r.Leave()
	f()
}

// AfterLeave has f called once, without the lock, by whoever leaves next. Only
// for the owner. f may be called at the same time as for an earlier request.
func (r *Real) AfterLeave(f Flusher) { r.flushers = append(r.flushers, f) }

// RunWhile blocks until more, which is asked by each owner that leaves, reports
// false. It is Loop.RunWhile for real time; it does not return for lack of
// timers, because a socket may bring some.
func (r *Real) RunWhile(ctx context.Context, more func() bool) error {
	w := &watcher{more: more, done: make(chan struct{})}
	r.Do(func() { r.watchers = append(r.watchers, w) })
	defer r.Do(func() { r.forget(w) })
	select {
	case <-w.done:
		return nil
	case <-r.stopped:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops the pacer. Timers run no more, except for those that are due when
// somebody enters.
func (r *Real) Close() error {
	if !r.beginClose() {
		return nil
	}
	<-r.stopped
	return r.alarm.close()
}

// beginClose ends the pacer. It reports whether nobody has before.
func (r *Real) beginClose() bool {
	if r.closing.Swap(true) {
		return false
	}
	r.alarm.ring()
	return true
}

func (r *Real) lock() {
	for range r.spins {
		if r.mu.TryLock() {
			return
		}
	}
	r.mu.Lock()
}

// runDue runs all events up to the wall's instant and leaves the loop there.
func (r *Real) runDue() {
	l, wall := r.loop, r.Now()
	for len(l.heap) > 0 && l.heap[0].when <= wall {
		r.late.Observe(r.Now().Sub(l.heap[0].when))
		l.Step()
	}
	l.catchUp(wall)
}

// catchUp moves the clock forward to now without running anything: what was due
// by then has run.
func (l *Loop) catchUp(now Time) {
	if now > l.now {
		l.now = now
	}
}

// idleSpin is how near a deadline must be for who set it to wait for it
// instead of the pacer: waking another thread costs 30 to 100 µs in a virtual
// machine, as long as the wait itself.
const idleSpin = 100 * time.Microsecond

// BeginSpin is called by the owner who is about to leave and has time. If it
// reports true, nobody else spins, and the caller must call SpinUntilIdle
// once it has left.
func (r *Real) BeginSpin() bool { return r.timers.Spin() }

// SpinUntilIdle spins and runs what becomes due within a short while, until nothing
// is due so soon or busy, which is asked meanwhile, reports that the caller has
// something better to do.
func (r *Real) SpinUntilIdle(busy func() bool) {
	for {
		due := r.timers.Armed()
		left := Time(due).Sub(r.Now())
		switch {
		case left <= 0:
			r.Enter()
			r.Leave()
			continue
		case left <= idleSpin && !busy():
			if r.schedule != nil {
				r.schedule.Await(due, busy)
			}
			continue
		}
		break
	}
	r.timers.StopSpin()
}

func (r *Real) take(batch *[flushBatch]Flusher) int {
	n := copy(batch[:], r.flushers)
	rest := copy(r.flushers, r.flushers[n:])
	clear(r.flushers[rest:])
	r.flushers = r.flushers[:rest]
	return n
}

func (r *Real) watch() {
	for i := 0; i < len(r.watchers); i++ {
		if w := r.watchers[i]; !w.more() {
			close(w.done)
			r.watchers = append(r.watchers[:i], r.watchers[i+1:]...)
			i--
		}
	}
}

func (r *Real) forget(w *watcher) {
	for i, v := range r.watchers {
		if v == w {
			r.watchers = append(r.watchers[:i], r.watchers[i+1:]...)
			return
		}
	}
}

// pace is the pacer: it sleeps until shortly before the earliest deadline,
// spins to it, and runs what is due.
func (r *Real) pace() {
	defer close(r.stopped)
	var guard PreemptionGuard
	for !r.closing.Load() {
		now, due := r.Now(), r.timers.PacerDue()
		switch left := Time(due).Sub(now); {
		case left > spinWindow:
			guard.Yield(now)
			r.sleep(due)
		case left <= 0:
			r.runIfDue()
		case r.schedule != nil:
			r.schedule.Await(due, r.closing.Load)
		}
	}
}

// sleep waits until shortly before due, or until the pacer's deadline moves.
func (r *Real) sleep(due int64) {
	if d := Time(due).Sub(r.Now()) - spinWindow; d > 0 {
		r.timers.PacerSleep(due, func() { r.alarm.wait(d) })
	}
}

// runIfDue enters, unless somebody else ran the event while the pacer waited
// for the lock.
func (r *Real) runIfDue() {
	for range r.spins {
		if r.mu.TryLock() {
			r.Leave()
			return
		}
		if Time(r.timers.Armed()) > r.Now() {
			return
		}
	}
	r.mu.Lock()
	r.Leave()
}

// A Lateness distinguishes each power of two from 2^lateLow to 2^lateHigh ns, in
// lateParts parts each: below, 16 ns are one bucket, and the last is everything
// from four and a half minutes.
const (
	lateLow   = 4
	lateHigh  = 38
	lateParts = 16
	lateCount = 1 + (lateHigh-lateLow)*lateParts + 1
)

// Lateness counts delays in buckets of which each is a sixteenth of a power of
// two nanoseconds wide. Any number of goroutines may use it.
type Lateness struct {
	buckets [lateCount]atomic.Uint64
	max     atomic.Int64
}

// lateBucket is the bucket of d.
func lateBucket(d Duration) int {
	switch b := bits.Len64(uint64(d)) - 1; {
	case b < lateLow:
		return 0
	case b >= lateHigh:
		return lateCount - 1
	default:
		return 1 + (b-lateLow)*lateParts + int(d>>(b-lateLow))&(lateParts-1)
	}
}

// lateEnd is the greatest delay of bucket i, but the last.
func lateEnd(i int) Duration {
	b, part := lateLow+(i-1)/lateParts, (i-1)%lateParts
	if i == 0 {
		return 1<<lateLow - 1
	}
	return Duration(lateParts+part+1)<<(b-lateLow) - 1
}

// Observe counts d; less than nothing is nothing.
func (l *Lateness) Observe(d Duration) {
	d = max(d, 0)
	l.buckets[lateBucket(d)].Add(1)
	for {
		m := l.max.Load()
		if int64(d) <= m || l.max.CompareAndSwap(m, int64(d)) {
			return
		}
	}
}

// Count is how many were observed.
func (l *Lateness) Count() (n uint64) {
	for i := range l.buckets {
		n += l.buckets[i].Load()
	}
	return n
}

// Max is the greatest delay.
func (l *Lateness) Max() Duration { return Duration(l.max.Load()) }

// Quantile is the upper end of the bucket in which the fraction p of all
// delays is reached, and so too high by a sixteenth at most; 0 if there are
// none.
func (l *Lateness) Quantile(p float64) Duration {
	n := l.Count()
	if n == 0 {
		return 0
	}
	var seen uint64
	for i := range lateCount - 1 {
		seen += l.buckets[i].Load()
		if float64(seen) >= p*float64(n) {
			return min(lateEnd(i), l.Max())
		}
	}
	return l.Max()
}

func (l *Lateness) String() string {
	return fmt.Sprintf("n=%d p50<=%v p99<=%v max=%v", l.Count(), l.Quantile(.5), l.Quantile(.99), l.Max())
}
