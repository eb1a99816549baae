package interleave

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"nbdbench/internal/wake"
)

// adders are two threads that each add 1 in two steps.
func adders(w *World) {
	x := new(wake.Int64)
	x.Follow(w)
	for _, name := range []string{"first", "second"} {
		w.Thread(name, func() { x.Store(x.Load() + 1) })
	}
	w.AtEnd(func() error {
		if n := x.Load(); n != 2 {
			return fmt.Errorf("%d, expected 2", n)
		}
		return nil
	})
}

func TestALostUpdateIsFound(t *testing.T) {
	_, err := All(Unbounded, adders)
	var f *Failure
	if !errors.As(err, &f) || f.Err.Error() != "1, expected 2" || len(f.Trace) != 4 {
		t.Fatalf("%v, expected the order that loses an update, in 4 steps", err)
	}
	if text := err.Error(); !strings.Contains(text, "interleave.adders") {
		t.Errorf("the steps do not say where they are:\n%s", text)
	}
}

// With no preemption each thread runs to its end.
func TestTheBoundIsOfPreemptions(t *testing.T) {
	if n, err := All(0, adders); n != 2 || err != nil {
		t.Errorf("%d orders, %v, expected 2 and nothing wrong", n, err)
	}
	if _, err := All(1, adders); err == nil {
		t.Error("nothing is wrong with one preemption, expected a lost update")
	}
}

// Two threads of n steps have (2n over n) orders. A thread begins with a step of its own.
func TestEveryOrderIsTriedOnce(t *testing.T) {
	for n, want := range map[int]int{1: 6, 2: 20, 3: 70, 4: 252} {
		seen := map[string]bool{}
		var order []byte
		got, err := All(Unbounded, func(w *World) {
			order = order[:0]
			for _, name := range "ab" {
				w.Thread(string(name), func() {
					order = append(order, byte(name))
					for range n {
						w.Step()
						order = append(order, byte(name))
					}
				})
			}
			w.AtEnd(func() error {
				if seen[string(order)] {
					return fmt.Errorf("%s again", order)
				}
				seen[string(order)] = true
				return nil
			})
		})
		if err != nil || got != want {
			t.Errorf("%d steps: %d orders, %v, expected %d", n, got, err, want)
		}
	}
}

func TestTheClockMovesWhenAllAwait(t *testing.T) {
	var at []int64
	rests := 0
	Explore(t, Unbounded, func(w *World) {
		at, rests = nil, 0
		never := func() bool { return false }
		w.Thread("sleeps", func() {
			for _, until := range []int64{5, 7, 3} {
				w.Await(until, never)
				at = append(at, w.Now())
			}
		})
		w.Thread("never", func() { w.Await(wake.Forever, never) })
		w.AtRest(func() error { rests++; return nil })
		w.AtEnd(func() error {
			if fmt.Sprint(at) != "[5 7 7]" || rests != 3 || !w.Waits("never") || w.Waits("sleeps") {
				return fmt.Errorf("woke at %v, %d rests, never waits: %v", at, rests, w.Waits("never"))
			}
			return nil
		})
	})
}

func TestAMutexIsHeldByOne(t *testing.T) {
	inside := 0
	Explore(t, Unbounded, func(w *World) {
		var mu wake.Mutex
		mu.Follow(w)
		inside = 0
		for _, name := range []string{"a", "b", "c"} {
			w.Thread(name, func() {
				mu.Lock()
				if inside++; inside > 1 {
					panic("two")
				}
				w.Step()
				inside--
				mu.Unlock()
			})
		}
		w.AtEnd(func() error {
			if !mu.TryLock() {
				return errors.New("it is still locked")
			}
			return nil
		})
	})
}

func TestAThreadThatPanicsIsAFailure(t *testing.T) {
	if _, err := All(0, func(w *World) { w.Thread("bad", func() { panic("oh") }) }); err == nil || !strings.Contains(err.Error(), "bad panics: oh") {
		t.Error(err)
	}
}

func TestAThreadMayAddThreads(t *testing.T) {
	Explore(t, Unbounded, func(w *World) {
		ran := false
		w.Thread("parent", func() { w.Thread("child", func() { w.Step(); ran = true }); w.Step() })
		w.AtEnd(func() error {
			if !ran {
				return errors.New("the child has not run")
			}
			return nil
		})
	})
}

// A thread that polls lets the others run first; alone it does not go on.
func TestWhoPollsYields(t *testing.T) {
	Explore(t, Unbounded, func(w *World) {
		done := false
		w.Thread("polls", func() {
			for !done {
				w.Yield(w.Others())
			}
		})
		w.Thread("works", func() { w.Step(); w.Step(); done = true })
		w.AtEnd(func() error {
			if w.Waits("polls") {
				return errors.New("it still polls")
			}
			return nil
		})
	})
	Explore(t, Unbounded, func(w *World) {
		w.Thread("polls", func() { w.Yield(w.Others()); panic("nobody has run") })
	})
}
