package bench

import (
	"fmt"
	"math"
	"testing"
)

// groupRun is what n streams of postgres-wal came to.
type groupRun struct{ perFlush, perSecond float64 }

func groupsOf(t *testing.T, device string, streams int) groupRun {
	t.Helper()
	p := plan(device, "postgres-wal", "emulate")
	p.QueueDepth, p.Commits, p.Warmup, p.Runs = uint32(streams), 4000, WarmupAuto, 1
	c := cellOf(t, mustRun(t, p), fmt.Sprintf("%s/postgres-wal/emulate", device))
	return groupRun{float64(c.Commit.Count) / float64(c.Stats.Flushes), c.Rates.Commits}
}

// TestGroupCommitIsAsItsClosedForm: a group that n streams share lasts F, the time
// of a write and a flush. With one stream each flush has one commit, 1/F of them a
// second. With n streams the first commit to come after a flush is alone in its
// group, and the n-1 others, which wait for that, share the next one: two flushes for n
// commits, n/2 for each, n/2F a second. So a second stream gains nothing, and every
// further one as much as the one before it.
func TestGroupCommitIsAsItsClosedForm(t *testing.T) {
	for device, within := range map[string]float64{"nvme-970pro": 0.10, "hdd-7200-sata": 0.10} {
		one := groupsOf(t, device, 1)
		if one.perFlush != 1 {
			t.Errorf("%s: one stream has %.3f commits in a flush", device, one.perFlush)
		}
		for _, n := range []int{2, 8, 16, 64} {
			got, want := groupsOf(t, device, n), groupRun{float64(n) / 2, float64(n) / 2 * one.perSecond}
			t.Logf("%s: %d streams: %.2f commits in a flush (%.1f), %.0f commits a second (%.0f)", device, n, got.perFlush, want.perFlush, got.perSecond, want.perSecond)
			if math.Abs(got.perFlush/want.perFlush-1) > 0.02 || math.Abs(got.perSecond/want.perSecond-1) > within {
				t.Errorf("%s: %d streams: %+v, want %+v", device, n, got, want)
			}
		}
	}
}
