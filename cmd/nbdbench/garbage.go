package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// gcPercent lets the heap grow to five times what is live before it is
// collected: a run makes little garbage and lives for seconds. Measured on the
// default plan: 12% less time than with 100, 195 MB instead of 95.
const gcPercent = 400

// The heap grows by no more than maxGarbage bytes, and by less the larger it is, down to
// minGarbage. What makes a heap large is tables without pointers, through which the
// collector does not look: it is as fast with them as without.
const (
	maxGarbage = 192 << 20
	minGarbage = 64 << 20
)

// minPercent bounds how often a large heap is collected.
const minPercent = 5

// gcPercentOf is the percentage for a heap of which live bytes are in use.
func gcPercentOf(live uint64) int {
	garbage := maxGarbage - min(live/8, maxGarbage-minGarbage)
	return int(min(gcPercent, max(minPercent, 100*garbage/max(live, 1))))
}

// paceGC sets the percentage, now and after each collection.
func paceGC() {
	debug.SetGCPercent(gcPercent)
	rearm(gcPercent)
}

// collected is an object without a use, with a pointer so that it shares its memory
// with no other: its end says that there was a
// collection.
type collected struct{ _ *int }

func rearm(percent int) {
	runtime.SetFinalizer(new(collected), func(*collected) {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		next := percent
		if sample[0].Value.Kind() == metrics.KindUint64 {
			next = gcPercentOf(sample[0].Value.Uint64())
		}
		if next != percent {
			debug.SetGCPercent(next)
		}
		rearm(next)
	})
}
