package sim

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

func newReal(t testing.TB) *Real {
	t.Helper()
	r, err := NewReal(NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// testDeadline is when a test stops waiting for what must happen: far longer than it
// takes, so that only a hang fails.
func testDeadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// firings notes the tags of timers in the order in which they fire.
type firings struct {
	loop *Loop
	tags []int
	at   []Time
}

func (h *firings) Fire(t *Timer) {
	h.tags = append(h.tags, t.Tag)
	h.at = append(h.at, h.loop.Now())
}

func TestRealFiresInOrderOfDeadlines(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	timers := make([]Timer, 5)
	r.Do(func() {
		for i, ms := range []int{4, 1, 3, 0, 2} {
			timers[i].Tag = ms
			r.Loop().After(&timers[i], Duration(ms)*time.Millisecond, h)
		}
	})
	if err := r.RunWhile(testDeadline(t), func() bool { return len(h.tags) < 5 }); err != nil {
		t.Fatal(err)
	}
	r.Do(func() {
		if !slices.Equal(h.tags, []int{0, 1, 2, 3, 4}) {
			t.Errorf("fired in the order %v", h.tags)
		}
		for i, tm := range h.at {
			if want := timers[slices.Index([]int{4, 1, 3, 0, 2}, i)].When(); tm != want {
				t.Errorf("event %d saw %v, was set for %v", i, tm, want)
			}
		}
	})
}

// realChain sets its timer again and again, each time a step after what it saw.
type realChain struct {
	loop *Loop
	left int
	step Duration
}

func (c *realChain) Fire(t *Timer) {
	if c.left--; c.left > 0 {
		c.loop.After(t, c.step, c)
	}
}

func TestRealLatenessDoesNotAddUpAlongAChain(t *testing.T) {
	r := newReal(t)
	const links, step = 50, 20 * time.Microsecond
	c := &realChain{loop: r.Loop(), left: links, step: step}
	var timer Timer
	var begin Time
	r.Do(func() {
		begin = r.Loop().Now()
		r.Loop().After(&timer, step, c)
	})
	if err := r.RunWhile(testDeadline(t), func() bool { return c.left > 0 }); err != nil {
		t.Fatal(err)
	}
	if got, want := timer.When().Sub(begin), links*step; got != want {
		t.Errorf("the last of %d links is due after %v, want %v", links, got, want)
	}
}

func TestRealNeverRunsATimerEarly(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	var timer Timer
	r.Do(func() { r.Loop().After(&timer, 2*time.Millisecond, h) })
	if err := r.RunWhile(testDeadline(t), func() bool { return len(h.tags) == 0 }); err != nil {
		t.Fatal(err)
	}
	if now := r.Now(); now < timer.When() {
		t.Errorf("ran by %v, due at %v", now, timer.When())
	}
}

// An earlier deadline must wake a pacer that sleeps for a later one, or for
// none at all. Lost wake-ups showed as a hang once in some ten thousand.
func TestRealEarlierDeadlineWakesThePacer(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	var far, near Timer
	r.Do(func() { r.Loop().After(&far, time.Hour, h) })
	for i := range 2000 {
		delay := Duration(i%7) * 40 * time.Microsecond
		r.Do(func() { r.Loop().After(&near, delay, h) })
		if err := r.RunWhile(testDeadline(t), func() bool { return len(h.tags) <= i }); err != nil {
			t.Fatalf("deadline %d: %v", i, err)
		}
	}
}

func TestRealClockMovesWithoutEvents(t *testing.T) {
	r := newReal(t)
	var before, after Time
	r.Do(func() { before = r.Loop().Now() })
	time.Sleep(2 * time.Millisecond)
	r.Do(func() { after = r.Loop().Now() })
	if after.Sub(before) < 2*time.Millisecond {
		t.Errorf("the loop's clock went from %v to %v", before, after)
	}
}

func TestRealManyOwners(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	const goroutines, each = 8, 200
	timers := make([]Timer, goroutines*each)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				r.Do(func() { r.Loop().After(&timers[g*each+i], Duration(i%5)*10*time.Microsecond, h) })
			}
		})
	}
	wg.Wait()
	if err := r.RunWhile(testDeadline(t), func() bool { return len(h.tags) < len(timers) }); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(h.at) {
		t.Error("the loop's clock went back")
	}
}

// outside counts how often it is flushed, and that the lock is free meanwhile.
type outside struct {
	r  *Real
	n  int
	mu sync.Mutex
}

func (o *outside) Flush() {
	o.r.Do(func() {}) // would deadlock under the lock
	o.mu.Lock()
	o.n++
	o.mu.Unlock()
}

func TestRealFlushesOutsideTheLock(t *testing.T) {
	r := newReal(t)
	o := &outside{r: r}
	const n = 3*flushBatch + 1
	r.Do(func() {
		for range n {
			r.AfterLeave(o)
		}
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n != n {
		t.Errorf("flushed %d of %d", o.n, n)
	}
}

func TestRealCloseEndsThoseWhoWait(t *testing.T) {
	r := newReal(t)
	ended := make(chan error)
	go func() { ended <- r.RunWhile(context.Background(), func() bool { return true }) }()
	time.Sleep(time.Millisecond)
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("RunWhile returned %v", err)
	}
	r.Do(func() {}) // still a lock
}

func TestRealRunWhileHeedsItsContext(t *testing.T) {
	r := newReal(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.RunWhile(ctx, func() bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("RunWhile returned %v", err)
	}
	r.Do(func() {
		if len(r.watchers) != 0 {
			t.Error("a watcher was left behind")
		}
	})
}

func TestLatenessQuantiles(t *testing.T) {
	var l Lateness
	if l.Quantile(.5) != 0 || l.Count() != 0 {
		t.Error("nothing was observed")
	}
	for range 99 {
		l.Observe(1000)
	}
	l.Observe(time.Second)
	l.Observe(-5)
	if q := l.Quantile(.5); q < 1000 || q > 1000*17/16 {
		t.Errorf("the median of 1000 ns is %v", q)
	}
	if q := l.Quantile(1); q != time.Second || l.Max() != time.Second || l.Count() != 101 {
		t.Errorf("maximum %v of %v", q, &l)
	}
}

func TestLatenessBucketsAreASixteenthWide(t *testing.T) {
	for d := Duration(0); d < 1<<lateHigh; d += 1 + d/97 {
		i := lateBucket(d)
		if end := lateEnd(i); end < d || d >= 1<<lateLow && end > d+d/16 {
			t.Fatalf("%d ns is in bucket %d, to %d ns", d, i, end)
		}
		if i > 0 && lateBucket(lateEnd(i-1)) != i-1 {
			t.Fatalf("bucket %d ends at %d ns, which is in %d", i-1, lateEnd(i-1), lateBucket(lateEnd(i-1)))
		}
	}
	if lateBucket(1<<lateHigh) != lateCount-1 || lateBucket(1<<62) != lateCount-1 {
		t.Error("the last bucket is everything above")
	}
}

// BenchmarkRealLateness reports how late an event of 100 µs runs.
func BenchmarkRealLateness(b *testing.B) {
	r := newReal(b)
	c := &realChain{loop: r.Loop(), left: b.N, step: 100 * time.Microsecond}
	var timer Timer
	r.Do(func() { r.Loop().After(&timer, c.step, c) })
	if err := r.RunWhile(context.Background(), func() bool { return c.left > 0 }); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(r.Late().Quantile(.5)), "p50-ns-late")
	b.ReportMetric(float64(r.Late().Quantile(.99)), "p99-ns-late")
}

func BenchmarkRealEnterLeave(b *testing.B) {
	r := newReal(b)
	b.ReportAllocs()
	for b.Loop() {
		r.Enter()
		r.Leave()
	}
}

// note is a handler that says when it has run.
type note struct{ ran chan struct{} }

func (n note) Fire(*Timer) { close(n.ran) }

func TestWhoSpinsRunsWhatIsDueSoon(t *testing.T) {
	r, err := NewReal(NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var timer Timer
	n := note{make(chan struct{})}
	r.Enter()
	r.Loop().After(&timer, idleSpin/2, n)
	if !r.BeginSpin() || r.BeginSpin() {
		t.Error("one may spin at a time")
	}
	r.Leave()
	r.SpinUntilIdle(func() bool { return false })
	select {
	case <-n.ran:
	default:
		t.Error("the event has not run")
	}
	if !r.BeginSpin() {
		t.Error("nobody may spin any more")
	}
	r.timers.StopSpin()
}

func TestWhoHasOtherWorkLeavesItToThePacer(t *testing.T) {
	r, err := NewReal(NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 200 {
		var timer Timer
		n := note{make(chan struct{})}
		r.Enter()
		r.Loop().After(&timer, idleSpin/2, n)
		spins := r.BeginSpin()
		r.Leave()
		if spins {
			r.SpinUntilIdle(func() bool { return true })
		}
		<-n.ran // or the test never ends
	}
}
