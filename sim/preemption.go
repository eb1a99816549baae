package sim

import (
	"runtime"
	"time"
)

// yieldInterval is how long a goroutine that blocks in system calls runs before it
// yields to Go's scheduler. After 10 ms Go 1.26 preempts it in the middle of a call,
// repeats that every 0.1 ms until it finds the goroutine between two calls, and each
// time wakes a thread that has nothing to do: up to 15% of a processor for a server
// that is idle most of the time.
const yieldInterval = 5 * time.Millisecond

// A PreemptionGuard keeps Go's scheduler from preempting a goroutine that blocks in
// system calls of its own, and not in Go's poller. The zero value is ready to use.
type PreemptionGuard struct{ yielded Time }

// Yield yields to the scheduler if the last yield was more than yieldInterval before
// now. The goroutine calls it before it blocks.
func (g *PreemptionGuard) Yield(now Time) {
	if now.Sub(g.yielded) > yieldInterval {
		runtime.Gosched()
		g.yielded = now
	}
}
