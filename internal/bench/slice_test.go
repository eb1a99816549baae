package bench

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Every thread, those of before and those of after, has the short turn, and the
// niceness that it had.
func TestShortenSlices(t *testing.T) {
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil || before.Runtime == 0 {
		t.Skipf("this kernel gives no turns on request (Linux 6.12 does): %v", err)
	}
	if before.Policy != unix.SCHED_NORMAL {
		t.Skipf("these tests run under policy %d, expected SCHED_OTHER", before.Policy)
	}
	release := make(chan struct{})
	var held sync.WaitGroup
	defer held.Wait()
	defer close(release)
	hold := func(n int) {
		var on sync.WaitGroup
		for range n {
			on.Add(1)
			held.Go(func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				on.Done()
				<-release
			})
		}
		on.Wait()
	}
	hold(8)
	shortenSlices()
	hold(8)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) < 16 {
		t.Fatalf("%d threads, expected at least 16: %v", len(threads), err)
	}
	for _, f := range threads {
		id, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		a, err := unix.SchedGetAttr(id, 0)
		if err == unix.ESRCH {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if a.Runtime > uint64(shortSlice) || a.Nice != before.Nice || a.Policy != before.Policy {
			t.Errorf("thread %d has a turn of %d ns, niceness %d, policy %d; expected at most %d, %d and %d",
				id, a.Runtime, a.Nice, a.Policy, shortSlice, before.Nice, before.Policy)
		}
	}
}
