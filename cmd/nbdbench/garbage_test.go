package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestALargeHeapGrowsByAConstant(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 40 << 20: 400, 192 << 20: 87, 1 << 30: 6, 1 << 40: 5} {
		if got := gcPercentOf(live); got != want {
			t.Errorf("%d live bytes: %d%%, want %d%%", live, got, want)
		}
	}
}

func TestThePercentageFollowsWhatIsLive(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	paceGC()
	table := make([]uint32, 400<<18) // 400 MiB
	for range 1000 {
		runtime.GC()
		if now := debug.SetGCPercent(50); now <= 48 {
			runtime.KeepAlive(table)
			return
		} else {
			debug.SetGCPercent(now)
		}
		time.Sleep(time.Millisecond) // until the finalizer has run
	}
	t.Error("the percentage has not fallen")
}
