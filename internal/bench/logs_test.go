package bench

import (
	"strings"
	"testing"
)

const shared = `
regions: [{name: wal, size: 64M}, {name: data, offset: 10%, size: 1G}, {name: journal, offset: 50%, size: 128M}]
logs: {wal: {region: wal, finish: FINISH}, journal: {region: journal, finish: FINISH}}
streams:
  - {name: clients, queue_depth: 8, transaction: [{op: commit, log: wal, record: 700}]}
  - {name: files, count: 4, transaction: [{op: write, size: 4k, region: data, pattern: random}, {op: commit, log: journal, blocks: 1}]}
`

// TestGroupsLoseCommitsWhereNobodyMakesThemDurable, each by the bytes of its record,
// and none elsewhere.
func TestGroupsLoseCommitsWhereNobodyMakesThemDurable(t *testing.T) {
	for _, finish := range []string{"flush", "fua"} {
		p := plan("nvme-990pro", fileOfLoad(t, "shared", strings.ReplaceAll(shared, "FINISH", finish)), "native emulate none none-unsafe")
		p.Cuts = 30
		doc := mustRun(t, p)
		for _, strategy := range []string{"native", "emulate", "none"} {
			c := cellOf(t, doc, "nvme-990pro/shared/"+strategy)
			if d := c.Durability; !d.LostNothing() || d.Violations != 0 || d.CommitsAcked == 0 {
				t.Errorf("%s, %s: %+v", finish, strategy, d)
			}
			if wrote := c.Wire.Write + c.Wire.WriteFUA; c.Streams[0].Commit.Count+c.Streams[1].Commit.Count != 800 || wrote > 1500 {
				t.Errorf("%s, %s: %d writes of %d commits", finish, strategy, wrote, c.Commit.Count)
			}
			if len(c.Warnings) > 3 { // few runs, few commits, no warm-up
				t.Errorf("%s, %s: %q", finish, strategy, c.Warnings)
			}
		}
		if d := cellOf(t, doc, "nvme-990pro/shared/none-unsafe").Durability; d.CommitsLost == 0 || d.CommitsAtRisk < d.CommitsLost {
			t.Errorf("%s: none-unsafe: %+v", finish, d)
		}
	}
}
