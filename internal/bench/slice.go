package bench

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// shortSlice is the least turn that Linux gives on request (sched_setattr(2), from
// 6.12 on).
const shortSlice = 100 * time.Microsecond

// shortenSlices asks for short turns on a processor for each thread of this process,
// and so for those that they will start. Under EEVDF that gives no greater share of
// the processor, but an earlier one: a reply that is due does not wait until a client
// that shares the processor has used up its own turn of milliseconds. Turns that are
// no longer, another policy than SCHED_OTHER and an older kernel remain as they are.
func shortenSlices() {
	done := map[int]bool{}
	for found := true; found; { // one may have been started meanwhile, by one with a long turn
		found = false
		threads, _ := os.ReadDir("/proc/self/task")
		for _, t := range threads {
			if id, err := strconv.Atoi(t.Name()); err == nil && !done[id] {
				done[id], found = true, true
				shortenSlice(id)
			}
		}
	}
}

func shortenSlice(thread int) {
	a, err := unix.SchedGetAttr(thread, 0)
	if err != nil || a.Policy != unix.SCHED_NORMAL || a.Runtime <= uint64(shortSlice) {
		return // an older kernel says 0
	}
	a.Runtime = uint64(shortSlice)
	_ = unix.SchedSetAttr(thread, a, 0) // without it a reply is later
}
