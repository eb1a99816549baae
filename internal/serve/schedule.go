package serve

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// shortSlice is the least turn that Linux gives on request (sched_setattr(2), from
// 6.12 on).
const shortSlice = 100 * time.Microsecond

// shorten asks for short turns on a processor. Under EEVDF that gives no greater share
// of it, but an earlier one: a reply that is due does not wait until a client on the
// same processor has used up its own turn of milliseconds. A turn that is no longer
// remains, and all of an older kernel, which says 0.
func shorten(a *unix.SchedAttr) { a.Runtime = min(a.Runtime, uint64(shortSlice)) }

// yielding has a thread that becomes ready wait until the one on its processor sleeps
// or has used up its turn. Another thread of this process is often the one, which may
// well hold the loop.
func yielding(a *unix.SchedAttr) { a.Policy = unix.SCHED_BATCH }

// eager is a thread's usual way.
func eager(a *unix.SchedAttr) { a.Policy = unix.SCHED_NORMAL }

// schedule changes how each thread of this process is scheduled, and so those that they
// will start. Only threads of SCHED_OTHER and SCHED_BATCH are.
func schedule(change func(*unix.SchedAttr)) {
	done := map[int]bool{}
	for found := true; found; { // one may have been started meanwhile, by one as it was
		found = false
		threads, _ := os.ReadDir("/proc/self/task")
		for _, t := range threads {
			if id, err := strconv.Atoi(t.Name()); err == nil && !done[id] {
				done[id], found = true, true
				scheduleThread(id, change)
			}
		}
	}
}

func scheduleThread(id int, change func(*unix.SchedAttr)) {
	a, err := unix.SchedGetAttr(id, 0)
	if err != nil || a.Policy != unix.SCHED_NORMAL && a.Policy != unix.SCHED_BATCH {
		return
	}
	was := *a
	if change(a); *a != was {
		_ = unix.SchedSetAttr(id, a, 0) // without it the server is slower, and no more
	}
}

// scheduleServer has the threads scheduled as fits a server of these devices.
func scheduleServer(takesTime bool, whenCrowded func(func(crowded bool))) {
	if takesTime {
		schedule(shorten)
		return
	}
	whenCrowded(func(crowded bool) {
		if crowded {
			schedule(yielding)
		} else {
			schedule(eager)
		}
	})
}
