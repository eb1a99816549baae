package workloads

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

// TestACommitRequestsWhatItsProfileStates counts FLUSH and FUA of commits that are
// alone: one transaction at a time, and nothing beside it.
func TestACommitRequestsWhatItsProfileStates(t *testing.T) {
	before := map[string]bool{ // profiles of which a commit is its list of steps, as one reads it
		"btrfs-tree-log": true, "doublewrite": true, "ext4-journal": true, "overwrite": true, "sync-4k": true, "wal": true, "wal-noisy": true, "xfs-log": true,
	}
	for _, name := range List() {
		p, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.PerCommit == nil {
			if p.HasCommits() && !before[name] {
				t.Errorf("%s states no per_commit", name)
			}
			continue
		}
		p.QueueDepth = 0
		if len(p.Streams) > 0 {
			var only []Stream
			for _, s := range p.Streams {
				if s.Commits() {
					s.QueueDepth, s.Count = 1, 1
					only = append(only, s)
				}
			}
			p.Streams = only
		}
		o, _ := run(t, newFake(sim.NewLoop(), us), Config{Profile: p, Seed: 1, Commits: 50})
		var got PerCommit
		for i := range o.submits {
			switch r := &o.submits[i]; {
			case r.Op == devices.OpFlush:
				got.Flushes++
			case r.Durable():
				got.FUAs++
			}
		}
		want := PerCommit{50 * p.PerCommit.Flushes, 50 * p.PerCommit.FUAs}
		if got != want || len(o.commits) != 50 {
			t.Errorf("%s: %d commits with %+v, want %+v", name, len(o.commits), got, want)
		}
	}
}
