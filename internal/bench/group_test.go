package bench

import (
	"fmt"
	"math"
	"testing"
)

// groupRun is what n streams of postgres-wal came to.
type groupRun struct {
	commits, flushes int64
	perSecond        float64
	group            float64 // seconds that a write and its FLUSH take, on average
	longest          float64 // and at most
	window           float64 // seconds
}

func groupsOf(t *testing.T, device string, streams int) groupRun {
	t.Helper()
	p := plan(device, "postgres-wal", "none")
	p.QueueDepth, p.Commits, p.Warmup, p.Runs = uint32(streams), 4000, WarmupAuto, 1
	c := cellOf(t, mustRun(t, p), fmt.Sprintf("%s/postgres-wal/none", device))
	seconds := func(ns *int64) float64 { return float64(*ns) / 1e9 }
	w, f := c.Ops.Write, c.Ops.Flush
	return groupRun{
		commits: c.Commit.Count, flushes: f.Count, perSecond: c.Rates.Commits, window: c.Elapsed.Seconds(),
		group: seconds(w.Mean) + seconds(f.Mean), longest: seconds(w.Max) + seconds(f.Max),
	}
}

// TestGroupCommitIsAsItsClosedForm: a group that n streams share lasts D, a write and a
// FLUSH. One group runs at a time, and those that are acknowledged come too late for
// the next, which has already begun. So a group of g is followed by one of n-g: the first
// commit is alone, the n-1 others wait for it and share the next group, and so on. That is
// two FLUSHes for n commits: max(1, n/2) commits for each, max(1, n/2)/D a second.
//
// The tolerance is the window's edges. It begins and ends within a group or a pair of
// them, so that it may have n commits more or fewer than whole pairs, and each edge has a
// part of a group at most.
func TestGroupCommitIsAsItsClosedForm(t *testing.T) {
	for _, device := range []string{"nvme-970pro", "hdd-7200-sata"} {
		for n := 1; n <= 64; n *= 2 {
			got, each := groupsOf(t, device, n), math.Max(1, float64(n)/2)
			perFlush, perSecond := float64(got.commits)/float64(got.flushes), each/got.group
			t.Logf("%s: %d streams: %.2f commits in a flush (%.1f), %.0f commits a second (%.0f)", device, n, perFlush, each, got.perSecond, perSecond)
			if off := math.Abs(float64(got.commits) - each*float64(got.flushes)); off > float64(n) {
				t.Errorf("%s: %d streams: %d commits in %d flushes, want %g in each, within %d", device, n, got.commits, got.flushes, each, n)
			}
			edges := float64(n)/float64(got.commits) + 2*got.longest/got.window
			if math.Abs(got.perSecond/perSecond-1) > edges {
				t.Errorf("%s: %d streams: %g commits a second, want %g, within %.2g%%", device, n, got.perSecond, perSecond, 100*edges)
			}
		}
	}
}
