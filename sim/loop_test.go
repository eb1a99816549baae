package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// recorder notes the tags of its timers in the order in which they fire.
type recorder struct {
	tags []int
	at   []Time
	loop *Loop
	then func(t *Timer)
}

func (r *recorder) Fire(t *Timer) {
	r.tags, r.at = append(r.tags, t.Tag), append(r.at, r.loop.Now())
	if r.then != nil {
		r.then(t)
	}
}

func TestTimersFireInOrderOfTimeThenOfSetting(t *testing.T) {
	l := NewLoop()
	r := &recorder{loop: l}
	timers := make([]Timer, 6)
	for i, when := range []Time{30, 10, 20, 10, 30, 10} {
		timers[i].Tag = i
		l.At(&timers[i], when, r)
	}
	l.Run(Never)
	if want := []int{1, 3, 5, 2, 0, 4}; !slices.Equal(r.tags, want) {
		t.Errorf("fired %v, want %v", r.tags, want)
	}
	if l.Now() != 30 || l.Fired() != 6 {
		t.Errorf("%v after %d events", l, l.Fired())
	}
}

func TestRunStopsAtTheGivenInstant(t *testing.T) {
	l := NewLoop()
	r := &recorder{loop: l}
	var early, late Timer
	l.At(&early, 5, r)
	l.At(&late, 6, r)
	l.Run(5)
	if len(r.tags) != 1 || l.Now() != 5 || !late.Pending() || early.Pending() {
		t.Errorf("fired %d, %v", len(r.tags), l)
	}
	l.Run(100)
	if l.Now() != 100 {
		t.Errorf("loop is at %v, want 100ns", l.Now())
	}
}

func TestThePastIsNow(t *testing.T) {
	l := NewLoop()
	r := &recorder{loop: l}
	l.Run(50)
	var timer Timer
	l.At(&timer, 10, r)
	l.Run(Never)
	if l.Now() != 50 || r.at[0] != 50 {
		t.Errorf("a timer in the past fired at %v", r.at[0])
	}
}

func TestATimerThatIsSetAgainMoves(t *testing.T) {
	l := NewLoop()
	r := &recorder{loop: l}
	a, b := Timer{Tag: 1}, Timer{Tag: 2}
	l.At(&a, 10, r)
	l.At(&b, 20, r)
	l.At(&a, 30, r)
	l.Run(Never)
	if !slices.Equal(r.tags, []int{2, 1}) {
		t.Errorf("fired %v", r.tags)
	}
}

func TestEventsMaySetEvents(t *testing.T) {
	l := NewLoop()
	r := &recorder{loop: l}
	left := 5
	r.then = func(t *Timer) {
		if left--; left > 0 {
			l.After(t, 7*time.Nanosecond, r)
		}
	}
	var timer Timer
	l.At(&timer, 1, r)
	l.Run(Never)
	if want := []Time{1, 8, 15, 22, 29}; !slices.Equal(r.at, want) {
		t.Errorf("fired at %v, want %v", r.at, want)
	}
}

// TestHeapAgainstSorting sets, moves and cancels timers at random; what fires
// must be what a stable sort says.
func TestHeapAgainstSorting(t *testing.T) {
	type set struct {
		when Time
		seq  int
		tag  int
	}
	rapid.Check(t, func(t *rapid.T) {
		l := NewLoop()
		r := &recorder{loop: l}
		timers := make([]Timer, 40)
		pending := map[int]set{}
		for seq := range rapid.IntRange(0, 200).Draw(t, "steps") {
			i := rapid.IntRange(0, len(timers)-1).Draw(t, "timer")
			if rapid.IntRange(0, 3).Draw(t, "cancel") == 0 {
				l.Cancel(&timers[i])
				delete(pending, i)
				continue
			}
			when := Time(rapid.IntRange(0, 30).Draw(t, "when"))
			timers[i].Tag = i
			l.At(&timers[i], when, r)
			pending[i] = set{when, seq, i}
		}
		var want []set
		for _, s := range pending {
			want = append(want, s)
		}
		slices.SortFunc(want, func(a, b set) int {
			if a.when != b.when {
				return int(a.when - b.when)
			}
			return a.seq - b.seq
		})
		l.Run(Never)
		if len(r.tags) != len(want) {
			t.Fatalf("%d fired, want %d", len(r.tags), len(want))
		}
		for i := range want {
			if r.tags[i] != want[i].tag {
				t.Fatalf("fired %v, want %v", r.tags, want)
			}
		}
	})
}

func TestTheLoopDoesNotAllocate(t *testing.T) {
	l := NewLoop()
	r := chain{l}
	timers := make([]Timer, 32)
	for i := range timers {
		l.At(&timers[i], Time(i), r)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Step() }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// chain sets its timer again each time.
type chain struct{ l *Loop }

func (c chain) Fire(t *Timer) { c.l.After(t, 100+Duration(t.Tag), c) }

func BenchmarkLoop(b *testing.B) {
	for _, n := range []int{4, 64, 4096} {
		b.Run(fmt.Sprintf("%d-pending", n), func(b *testing.B) {
			l := NewLoop()
			timers := make([]Timer, n)
			for i := range timers {
				timers[i].Tag = i * 7919 % 1000
				l.At(&timers[i], Time(i), chain{l})
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				l.Step()
			}
		})
	}
}
