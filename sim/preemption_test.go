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
	for range 1000 { // each yield may resume this goroutine at once
		now = now.Add(yieldInterval + 1)
		guard.Yield(now)
	}
	if ran.Load() == 0 {
		t.Error("1000 intervals passed without a yield")
	}
	if guard.yielded != now {
		t.Errorf("the guard began at %v, want %v", guard.yielded, now)
	}
	guard.Yield(now.Add(yieldInterval))
	if guard.yielded != now {
		t.Error("yielded before the interval had passed")
	}
}
