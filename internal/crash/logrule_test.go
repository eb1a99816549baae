package crash

import (
	"slices"
	"strings"
	"testing"

	"nbdbench/devices/history"
)

// TestAReplayedLogIsJudgedByWhatItAskedFor: under a strategy that drops FLUSH and FUA, on
// a drive that lies, and by commit-record if that is asked for.
func TestAReplayedLogIsJudgedByWhatItAskedFor(t *testing.T) {
	flushed := journalLog(8, func(int) bool { return true })
	bare := journalLog(8, func(int) bool { return false })
	for _, c := range []struct {
		name, device, strategy, invariant string
		log                               *kernelLog
		found                             []history.Class
	}{
		{"flushed", "nvme-990pro", "native", "commit-record", flushed, nil},
		{"flushed", "hdd-7200", "none", "commit-record", flushed, nil},
		{"flushed", "nvme-990pro", "none-unsafe", "", flushed, []history.Class{"lost-fua", "lost-flushed", "regressed"}},
		{"flushed", "nvme-990pro", "none-unsafe", "commit-record", flushed, []history.Class{"lost-fua", "lost-flushed", "regressed", Invariant}},
		{"flushed", "nvme-pm963", "none-unsafe", "commit-record", flushed, nil}, // its cache outlives a power cut
		{"flushed", "lying", "native", "commit-record", flushed, []history.Class{"lost-fua", "lost-flushed"}},
		{"bare", "nvme-990pro", "native", "", bare, nil},
		{"bare", "nvme-990pro", "native", "commit-record", bare, []history.Class{Invariant}},
		{"bare", "nvme-990pro", "none-unsafe", "", bare, []history.Class{"lost-fua", "regressed"}},
	} {
		config := one(c.device, "", c.strategy, 64)
		config.History, config.Invariant = c.log.file(t), c.invariant
		d := check(t, config)
		var found []history.Class
		for _, v := range d.Violations {
			found = append(found, v.Class)
		}
		if !slices.Equal(found, c.found) {
			t.Errorf("%s on %s under %s, %q: found %v, expected %v", c.name, c.device, c.strategy, c.invariant, found, c.found)
		}
	}
}

// Zeros that are newer than a write are no loss of it, and what is older is: the second
// record comes without a FLUSH.
func TestZerosAfterAWriteAreNoLoss(t *testing.T) {
	lines := []string{
		"S 1 0 0 0 0 write 0 40960 4096 1", "D 2 100 1 OK",
		"S 3 200 0 0 0 trim 0 40960 4096 0", "D 4 300 3 OK",
		"S 5 400 0 0 0 flush 0 0 0 0", "D 6 500 5 OK",
		"S 7 600 0 0 0 write 1 0 4096 2", "D 8 700 7 OK",
	}
	late := append(slices.Clone(lines), "S 9 800 0 0 0 write 0 40960 4096 3", "D 10 900 9 OK", "S 11 1000 0 0 0 write 1 4096 4096 4", "D 12 1100 11 OK")
	for want, lines := range [][]string{lines, late} {
		c := one("nvme-990pro", "", "native", 64)
		c.History, c.Invariant = historyFile(t, lines...), "commit-record"
		if d := check(t, c); len(d.Violations) != want {
			t.Errorf("%v: %d violations, expected %d: %v", lines, len(d.Violations), want, d.Violations)
		}
	}
}

func TestALogsReplayCommandNamesTheInvariant(t *testing.T) {
	c := one("nvme-990pro", "", "native", 64)
	c.History, c.Invariant = journalLog(4, func(int) bool { return false }).file(t), "commit-record"
	if d := check(t, c); len(d.Violations) != 1 || !strings.Contains(d.Violations[0].Replay, "--invariant commit-record") {
		t.Errorf("%v", d.Violations)
	}
}
