package sim

import (
	"testing"
	"time"
)

func TestRealHasOneTimerOwner(t *testing.T) {
	r := newReal(t)
	if !r.AcquireTimers() || r.AcquireTimers() {
		t.Fatal("none, or two")
	}
	r.ReleaseTimers()
	if r.TimersOwned() || !r.AcquireTimers() {
		t.Error("none after the first has ended")
	}
	if r.NextWait(); !r.TimersOwned() || r.AcquireTimers() {
		t.Error("none, or two, while the first sleeps")
	}
	r.ReleaseTimers()
}

// TestRealTimerOwnerRunsWhatIsDue, in place of a pacer that sleeps for it already.
func TestRealTimerOwnerRunsWhatIsDue(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	var timer Timer
	r.Do(func() { r.Loop().After(&timer, time.Second, h) })
	r.AcquireTimers()
	defer r.ReleaseTimers()
	d := r.NextWait()
	if d <= 0 || d > time.Second-spinWindow {
		t.Errorf("the owner may sleep for %v, and something is due in a second", d)
	}
	r.WaitDone()
	time.Sleep(time.Second + 100*time.Millisecond)
	r.mu.Lock()
	if len(h.tags) != 0 {
		t.Error("somebody else ran what was due")
	}
	r.mu.Unlock()
	if d := r.NextWait(); d != 0 || len(h.tags) != 1 {
		t.Errorf("%d events ran and the owner may sleep for %v, want one and 0", len(h.tags), d)
	}
}

// TestRealPacerHelpsATimerOwnerThatSleeps with what comes before it wakes.
func TestRealPacerHelpsATimerOwnerThatSleeps(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	var far, near Timer
	r.Do(func() { r.Loop().After(&far, time.Hour, h) })
	r.AcquireTimers()
	defer r.ReleaseTimers()
	for i := range 200 {
		if d := r.NextWait(); d < time.Minute {
			t.Fatalf("the owner may sleep for %v, and something is due in an hour", d)
		}
		r.Do(func() { r.Loop().After(&near, Duration(i%7)*40*time.Microsecond, h) })
		if err := r.RunWhile(testDeadline(t), func() bool { return len(h.tags) <= i }); err != nil {
			t.Fatalf("deadline %d: %v", i, err)
		}
		r.WaitDone()
	}
}

// TestRealPacerGoesOnAfterATimerOwner, however that ends.
func TestRealPacerGoesOnAfterATimerOwner(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	var timer Timer
	for i := range 2000 {
		r.AcquireTimers()
		r.Do(func() { r.Loop().After(&timer, Duration(i%7)*40*time.Microsecond, h) })
		if i%2 == 0 {
			r.NextWait()
		}
		r.ReleaseTimers()
		if err := r.RunWhile(testDeadline(t), func() bool { return len(h.tags) <= i }); err != nil {
			t.Fatalf("deadline %d: %v", i, err)
		}
	}
}

func TestRealIsClosedWhileItIsKept(t *testing.T) {
	r, err := NewReal(NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	var timer Timer
	r.AcquireTimers()
	r.Do(func() { r.Loop().After(&timer, time.Hour, &firings{loop: r.Loop()}) })
	r.NextWait()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r.ReleaseTimers()
}
