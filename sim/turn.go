package sim

import (
	"runtime"
	"time"
)

// turnLength is how long a goroutine that blocks in system calls goes on before it
// lets Go's scheduler choose. From 10 ms on, Go 1.26 takes its turn away in the
// middle of a call, does so again every 0.1 ms until it happens to come upon the
// goroutine between two calls, and each time wakes a thread that has nothing to do:
// up to 15% of a processor for a server that is idle most of the time.
const turnLength = 5 * time.Millisecond

// A Turn is since when a goroutine that blocks in system calls of its own, and not
// in Go's poller, has gone on without a break.
type Turn struct{ began Time }

// Yield takes a break if it is time for one. It is for the goroutine to call before
// it blocks.
func (t *Turn) Yield(now Time) {
	if now.Sub(t.began) > turnLength {
		runtime.Gosched()
		t.began = now
	}
}
