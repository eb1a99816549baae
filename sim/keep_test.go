package sim

import (
	"testing"
	"time"
)

func TestRealHasOneKeeper(t *testing.T) {
	r := newReal(t)
	if !r.Keep() || r.Keep() {
		t.Fatal("none, or two")
	}
	r.Unkeep()
	if r.Kept() || !r.Keep() {
		t.Error("none after the first has ended")
	}
	if r.Doze(); !r.Kept() || r.Keep() {
		t.Error("none, or two, while the first sleeps")
	}
	r.Unkeep()
}

// TestRealKeeperRunsWhatIsDue, in place of a pacer that sleeps for it already.
func TestRealKeeperRunsWhatIsDue(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	var timer Timer
	r.Do(func() { r.Loop().After(&timer, time.Second, h) })
	r.Keep()
	defer r.Unkeep()
	d := r.Doze()
	if d <= 0 || d > time.Second-spinWindow {
		t.Errorf("a keeper may sleep for %v, and something is due in a second", d)
	}
	r.Woke()
	time.Sleep(time.Second + 100*time.Millisecond)
	r.mu.Lock()
	if len(h.tags) != 0 {
		t.Error("somebody else ran what was due")
	}
	r.mu.Unlock()
	if d := r.Doze(); d != 0 || len(h.tags) != 1 {
		t.Errorf("%d events ran and the keeper may sleep for %v, want one and 0", len(h.tags), d)
	}
}

// TestRealPacerHelpsAKeeperThatSleeps with what comes before it wakes.
func TestRealPacerHelpsAKeeperThatSleeps(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	var far, near Timer
	r.Do(func() { r.Loop().After(&far, time.Hour, h) })
	r.Keep()
	defer r.Unkeep()
	for i := range 200 {
		if d := r.Doze(); d < time.Minute {
			t.Fatalf("a keeper may sleep for %v, and something is due in an hour", d)
		}
		r.Do(func() { r.Loop().After(&near, Duration(i%7)*40*time.Microsecond, h) })
		if err := r.RunWhile(patience(t), func() bool { return len(h.tags) <= i }); err != nil {
			t.Fatalf("deadline %d: %v", i, err)
		}
		r.Woke()
	}
}

// TestRealPacerGoesOnAfterAKeeper, however that ends.
func TestRealPacerGoesOnAfterAKeeper(t *testing.T) {
	r := newReal(t)
	h := &firings{loop: r.Loop()}
	var timer Timer
	for i := range 2000 {
		r.Keep()
		r.Do(func() { r.Loop().After(&timer, Duration(i%7)*40*time.Microsecond, h) })
		if i%2 == 0 {
			r.Doze()
		}
		r.Unkeep()
		if err := r.RunWhile(patience(t), func() bool { return len(h.tags) <= i }); err != nil {
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
	r.Keep()
	r.Do(func() { r.Loop().After(&timer, time.Hour, &firings{loop: r.Loop()}) })
	r.Doze()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r.Unkeep()
}
