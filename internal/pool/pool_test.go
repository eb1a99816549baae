package pool

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func TestEachCallsOnceForEachIndex(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		for _, jobs := range []int{-1, 0, 1, 3, 200} {
			var lock sync.Mutex
			var got, want []int
			Each(jobs, n, func(i int) {
				lock.Lock()
				got = append(got, i)
				lock.Unlock()
			})
			for i := range n {
				want = append(want, i)
			}
			if jobs == 1 && !slices.Equal(got, want) {
				t.Errorf("one job of %d: got %v, expected them in order", n, got)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%d jobs, %d indexes: got %v", jobs, n, got)
			}
		}
	}
}

func TestEachRunsNoMoreThanItsJobsAtOnce(t *testing.T) {
	var now, most atomic.Int64
	both := make(chan struct{}, 1)
	Each(2, 50, func(i int) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		switch i { // the first two calls meet, so both goroutines work
		case 0:
			both <- struct{}{}
		case 1:
			<-both
		}
		now.Add(-1)
	})
	if got := most.Load(); got > 2 {
		t.Errorf("%d calls at once, expected at most 2", got)
	}
}
