package serve

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// shortSlice is the shortest scheduler slice that Linux grants on request
// (sched_setattr(2), since 6.12).
const shortSlice = 100 * time.Microsecond

// shorten requests a short slice. Under EEVDF that gives a thread no greater share of
// the processor, but an earlier one: a reply that is due does not wait until a client on
// the same processor has used up its slice of milliseconds. A slice that is already
// shorter is kept, as is that of an older kernel, which reports 0.
func shorten(a *unix.SchedAttr) { a.Runtime = min(a.Runtime, uint64(shortSlice)) }

// yielding prevents a thread that becomes ready from preempting the running one, which
// is often another thread of this process and may hold the loop's lock.
func yielding(a *unix.SchedAttr) { a.Policy = unix.SCHED_BATCH }

// eager is the default policy.
func eager(a *unix.SchedAttr) { a.Policy = unix.SCHED_NORMAL }

// schedule changes the scheduling of each thread of this process, which threads started
// later inherit. Threads with other policies than SCHED_OTHER and SCHED_BATCH are skipped.
func schedule(change func(*unix.SchedAttr)) {
	done := map[int]bool{}
	for found := true; found; { // an unchanged thread may have started another meanwhile
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
		_ = unix.SchedSetAttr(id, a, 0) // without it the server is only slower
	}
}

// scheduleServer selects the scheduling for a server of these devices.
func scheduleServer(takesTime bool, whenContended func(func(contended bool))) {
	if takesTime {
		schedule(shorten)
		return
	}
	whenContended(func(contended bool) {
		if contended {
			schedule(yielding)
		} else {
			schedule(eager)
		}
	})
}
