package sim

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestPreemptionGuardYieldsAfterItsInterval(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var ran atomic.Int64
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		for {
			select {
			case <-quit:
				return
			default:
				ran.Add(1) // nobody else runs: there is one processor
				runtime.Gosched()
			}
		}
	}()
	var guard PreemptionGuard
	now := Time(time.Hour)
	for range 1000 { // each break may bring this goroutine back at once
		now = now.Add(yieldInterval + 1)
		guard.Yield(now)
	}
	if ran.Load() == 0 {
		t.Error("1000 turns went by without a break")
	}
	if turn.began != now {
		t.Errorf("the turn began at %v, want %v", turn.began, now)
	}
	guard.Yield(now.Add(yieldInterval))
	if turn.began != now {
		t.Error("a break before it was time")
	}
}
