package crash

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices/catalog"
	"nbdbench/devices/fault"
	"nbdbench/devices/history"
)

// cuts is how often the power is cut over all devices, workloads and durable
// strategies.
var cuts = flag.Int("crash.cuts", 0, "power cuts in all; 0 is as many as fit a test")

func TestNoDurableStrategyBreaksAPromise(t *testing.T) {
	c := Default()
	c.Devices, c.Workloads, c.Strategies = []string{all}, []string{all}, []string{durable}
	cells, err := c.Cells()
	if err != nil {
		t.Fatal(err)
	}
	runnable := 0
	for i := range cells {
		if _, err := newWorld(scenario{cell: &cells[i], seed: 1, commits: 1, connections: 1}); err == nil {
			runnable++
		}
	}
	wanted := 10_000
	if testing.Short() {
		wanted = 1_000
	}
	if *cuts > 0 {
		wanted = *cuts
	}
	c.Cuts = wanted/runnable + 1
	d := check(t, c)
	for _, v := range d.Violations {
		t.Errorf("%v", v)
	}
	if d.Cuts < int64(wanted) || d.CommitsAcked == 0 || d.CommitsLost > 0 || d.CommitsAtRisk > 0 {
		t.Errorf("%d cuts, %d commits, %d lost, %d at risk", d.Cuts, d.CommitsAcked, d.CommitsLost, d.CommitsAtRisk)
	}
	t.Logf("%d cells of %d, %s", runnable, len(cells), d.summary())
}

func TestSmallWorkloadsAreCheckedExhaustively(t *testing.T) {
	for _, workload := range []string{"sync-4k", "wal", "ext4-journal", "doublewrite"} {
		c := one("nvme-990pro", workload, durable, 1)
		c.Devices = []string{"nvme-990pro", "hdd-7200", "nvme-pm963"}
		c.Commits, c.Exhaustive = 2, true
		d := check(t, c)
		for _, r := range d.Cells {
			if r.Status == "unsupported" {
				continue
			}
			if r.Coverage != "exhaustive" || !r.EveryMoment || r.Cuts < 4 || len(r.Violations) > 0 {
				t.Errorf("%s/%s/%s: %d cuts, %s, every moment %v, %v", r.Device, r.Workload, r.Strategy, r.Cuts, r.Coverage, r.EveryMoment, r.Violations)
			}
		}
	}
}

func TestExhaustiveRefusesWhatIsTooMuch(t *testing.T) {
	c := one("nvme-990pro", "wal", "none-unsafe", 1)
	c.Exhaustive = true
	if _, err := Run(context.Background(), c, nil); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v", err)
	}
}

func TestNoneUnsafeLosesCommitsOnVolatileDevicesAndNoneOnProtectedOnes(t *testing.T) {
	kinds := map[bool]int{}
	for _, name := range catalog.List() {
		p, err := catalog.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		d := check(t, one(name, "wal", "none-unsafe", 32))
		if d.Cells[0].Status != "ok" || d.CommitsAcked == 0 {
			t.Errorf("%s: %s %s, %d commits", name, d.Cells[0].Status, d.Cells[0].Reason, d.CommitsAcked)
		}
		loses := p.Cache.Mode == "volatile" || p.Lies.Capacitor
		kinds[loses]++
		if lost := d.CommitsLost > 0; lost != loses || d.Broken() {
			t.Errorf("%s with a cache that is %s, lies %+v: %d of %d commits lost, %d violations", name, p.Cache.Mode, p.Lies, d.CommitsLost, d.CommitsAcked, len(d.Violations))
		}
	}
	if kinds[true] < 5 || kinds[false] < 5 {
		t.Errorf("%d devices lose and %d do not: expected some of each", kinds[true], kinds[false])
	}
}

func TestWithoutFlushesTheInvariantsBreak(t *testing.T) {
	for _, workload := range []string{"wal", "wal-noisy", "ext4-journal", "xfs-log", "btrfs-tree-log", "doublewrite"} {
		d := check(t, one("nvme-990pro", workload, "none-unsafe", 32))
		if r := d.Cells[0]; r.InvariantBroken == 0 || len(r.Violations) > 0 {
			t.Errorf("%s: broken at %d of %d cuts, violations %v", workload, r.InvariantBroken, r.Cuts, r.Violations)
		}
	}
}

// The controls: whatever the strategy, a drive that lies loses what it promised,
// and so does one whose capacitors have failed without its notice. One that has
// noticed keeps its promises, and only what nobody was promised is lost.
func TestTheControlsFail(t *testing.T) {
	for _, c := range []struct {
		device, strategy, fault string
		broken, lost            bool
	}{
		{"lying", "native", "", true, true},
		{"lying", "emulate", "", true, true},
		{"lying", "none", "", true, true},
		{"nvme-pm963", "native", "no-capacitor", true, true},
		{"nvme-pm963", "none", "no-capacitor", true, true},
		{"plp-failed", "native", "", true, true},
		{"plp-failed", "emulate", "", true, true},
		{"plp-failed", "none", "", true, true},
		{"plp-failed", "none-unsafe", "", false, true}, // promises nothing
		{"plp-degraded", "none-unsafe", "", false, true},
		{"plp-degraded", "discard", "", true, true},
		{"plp-degraded", "none", "", false, false},
		{"plp-degraded", "native", "", false, false},
	} {
		config := one(c.device, "wal", c.strategy, 32)
		config.Fault, _ = fault.Parse(c.fault)
		if d := check(t, config); d.Broken() != c.broken || d.CommitsLost > 0 != c.lost {
			t.Errorf("%s, %s, %s: %d violations, %d commits lost", c.device, c.strategy, c.fault, len(d.Violations), d.CommitsLost)
		}
	}
}

func TestDiscardBreaksItsPromises(t *testing.T) {
	d := check(t, one("nvme-990pro", "wal", "discard", 32))
	if !slices.Contains(classes(d), history.LostFUA) {
		t.Errorf("got %v", classes(d))
	}
}

// A violation is shrunk to what it takes: of many commits one request.
func TestAViolationIsShrunkAndItsReplayShowsIt(t *testing.T) {
	c := one("nvme-990pro", "wal-noisy", "none", 128)
	c.Fault, _ = fault.Parse("lying-flush")
	d := check(t, c)
	v := d.Violations[0]
	if v.Class != history.LostFlushed || v.Requests != 1 || v.CutNs == 0 {
		t.Fatalf("%d requests: %v", v.Requests, v)
	}
	again := replay(t, v.Replay)
	if !slices.Contains(classes(again), v.Class) {
		t.Fatalf("%s shows %v", v.Replay, classes(again))
	}
	i := slices.Index(classes(again), v.Class)
	if w := again.Violations[i]; w.Sector != v.Sector || w.Found != v.Found || w.CutNs != v.CutNs {
		t.Errorf("the replay shows %v\nwant %v", w, v)
	}
}

// replay runs the command of a violation.
func replay(t *testing.T, command string) *Document {
	t.Helper()
	c := Default()
	words := strings.Fields(command)[2:]
	for i := 0; i < len(words); i += 2 {
		set(t, &c, words[i], words[i+1])
	}
	return check(t, c)
}

// A promise at the wire takes a write and what promised it; a commit that is
// lost, its FLUSH; and an invariant, two writes that depend on each other.
func TestViolationsAreShrunkToWhatTheyTake(t *testing.T) {
	c := one("nvme-990pro", "ext4-journal", "native", 64)
	c.Fault, _ = fault.Parse("lying-flush")
	most := map[history.Class]int{history.LostFlushed: 2, LostCommit: 4, Invariant: 5}
	for _, v := range check(t, c).Violations {
		if n, ok := most[v.Class]; !ok || v.Requests > n {
			t.Errorf("%d requests: %v", v.Requests, v)
		}
		delete(most, v.Class)
	}
	if len(most) > 0 {
		t.Errorf("not found: %v", most)
	}
}

func TestASeedIsADocument(t *testing.T) {
	text := func(jobs int) string {
		c := Default()
		c.Cuts, c.Jobs = 16, jobs
		var b bytes.Buffer
		if err := check(t, c).WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if text(1) != text(2) {
		t.Error("two runs of one seed differ")
	}
}

func TestRangesAreReadAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{"none", "1", "1-3", "1-3,7", "2,4,6-9"} {
		n, err := ParseRanges(text)
		if err != nil || Ranges(n) != text {
			t.Errorf("%q became %v, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "0", "3-1", "1,1", "5,4", "a", "1-", "1-99999999999", "1 2"} {
		if n, err := ParseRanges(text); err == nil {
			t.Errorf("%q was read as %v", text, n)
		}
	}
}

// set applies one flag of a replay.
func set(t *testing.T, c *Config, flag, value string) {
	t.Helper()
	number := func() (n uint64) {
		if _, err := fmt.Sscan(value, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var err error
	switch flag {
	case "--device":
		c.Devices = []string{value}
	case "--workload":
		c.Workloads = []string{value}
	case "--strategy":
		c.Strategies = []string{value}
	case "--seed":
		c.Seed = number()
	case "--commits":
		c.Commits = number()
	case "--cut-at":
		c.CutAt = number()
	case "--queue-depth":
		c.QueueDepth = uint32(number())
	case "--fault":
		c.Fault, err = fault.Parse(value)
	case "--requests":
		c.Requests, err = ParseRanges(value)
	default:
		t.Fatalf("a replay has the flag %s", flag)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPreflushOrdersARecordAfterItsData: a record with PREFLUSH and FUA in one request, at
// depth 4, and the same without PREFLUSH, where the invariant breaks.
func TestPreflushOrdersARecordAfterItsData(t *testing.T) {
	const load = `
name: journal
queue_depth: 4
invariant: commit-record
regions: [{name: data, size: 1MiB}, {name: log, offset: 1MiB, size: 1MiB}]
transaction:
  - {op: write, size: 8k, region: data, pattern: random}
  - {op: write, durable: true, PREFLUSH size: 4k, region: log, pattern: sequential}
`
	for _, strategy := range []string{"native", "emulate", "emulate-grouped", "none", "none-grouped", "pass"} {
		for word, broken := range map[string]bool{"preflush: true,": false, "": true} {
			path := filepath.Join(t.TempDir(), "journal.yaml")
			if err := os.WriteFile(path, []byte(strings.Replace(load, "PREFLUSH", word, 1)), 0o666); err != nil {
				t.Fatal(err)
			}
			d := check(t, one("nvme-990pro", path, strategy, 100))
			if d.Broken() != broken || d.CommitsAcked == 0 || !broken && d.CommitsAtRisk > 0 {
				t.Errorf("%s, %q: broken %v, %v", strategy, word, d.Broken(), d.Violations)
			}
		}
	}
}
