package bench

import (
	"os"
	"path/filepath"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/results"
	"nbdbench/sim"
)

// longWay judges cuts of a world as a cutter does, but all that was ever written,
// each sector, and with all requests in its ledger.
type longWay struct {
	*world
	wire *history.Judge
}

func newLongWay(t *testing.T, p *Plan, c *Cell) *longWay {
	t.Helper()
	wire := history.NewJudge(c.Profile.Info())
	w, err := newWorld(p, c, p.seedOf(0), wire)
	if err != nil {
		t.Fatal(err)
	}
	w.cutter.exclusive = false
	return &longWay{w, wire}
}

// judge says what a cut now does, and how many grains break a promise.
func (l *longWay) judge(seed sim.Seed, grain uint64) (k results.Cut) {
	cut, ledger := l.model.Cut(seed), l.cutter.ledger
	k = l.cutter.verdict(loss{cut: cut, bytes: int64(cut.ExposedBytes())}, ledger.Lost(ledger.Written, cut.Stamp))
	k.AtRisk = int64(ledger.Lost(ledger.Written, cut.Durable).Commits)
	broken := map[uint64]bool{}
	l.wire.CheckImage(cut.Stamp, func(v history.Violation) {
		if v.Class != history.Shorn {
			broken[v.Sector*devices.Sector/grain] = true
		}
	})
	k.Violations = int64(len(broken))
	return k
}

// Workloads of which the short ways of a cutter have to take care.
var cutWorkloads = map[string]string{
	"blocks": "transaction:\n  - {op: write, durable: true, size: 4k, region: log, pattern: random}\n",
	"sectors": "transaction:\n  - {op: write, durable: true, size: 1536, region: log, pattern: random}\n" +
		"between:\n  - {op: write, size: 512, count: 4, parallel: true, region: log, pattern: random}\n",
	"beside": "transaction:\n  - {op: write, durable: true, size: 4k, region: log, pattern: random}\n" +
		"between:\n  - {op: write, size: 4k, count: 8, parallel: true, region: data, pattern: random}\n",
	"groups": "logs: {wal: {region: log}}\ntransaction:\n  - {op: commit, log: wal, record: 700}\n",
	"journal": "logs: {journal: {region: log, finish: fua}}\ntransaction:\n" +
		"  - {op: write, size: 4k, region: data, pattern: random}\n  - {op: commit, log: journal, blocks: 1}\n",
	"across": "transaction:\n  - {op: write, durable: true, size: 4k, region: log, pattern: random}\n" +
		"between:\n  - {op: write, size: 4k, count: 4, parallel: true, region: log, pattern: random}\n",
}

const cutRegions = "queue_depth: 4\nregions:\n  - {name: log, offset: 0, size: 256KiB}\n  - {name: data, offset: 1MiB, size: 256KiB}\n"

// A cutter looks only at what a cut exposes, at one sector of each page where
// that is enough, and only where commits write while nobody else is promised
// anything. What it says must be what the long way says, at any moment.
func TestACutterFindsWhatTheLongWayFinds(t *testing.T) {
	small := filepath.Join(t.TempDir(), "small.yaml") // it destages all the time
	if err := os.WriteFile(small, []byte("extends: nvme-990pro\nname: small\ncache: {capacity: 64KiB, high_water: 16KiB, low_water: 8KiB}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range cutWorkloads {
		path := filepath.Join(t.TempDir(), name+".yaml")
		if err := os.WriteFile(path, []byte("name: "+name+"\n"+cutRegions+text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, device := range []string{"lying", small, "hdd-15k"} {
			grain := uint64(4096)
			if name == "sectors" || device == "hdd-15k" {
				grain = devices.Sector
			}
			sum := cutBothWays(t, device, path, grain)
			if device == "lying" && (sum.Violations == 0 || sum.Lost == 0) || device == small && sum.AtRisk <= sum.Lost {
				t.Errorf("%s, %s: %+v in all, expected violations, losses and more at risk: the test shows little", device, name, sum)
			}
		}
	}
}

// cutBothWays compares the judgements on a run in two worlds that are the same,
// under the strategies that promise most and least, and adds them up. A cutter may
// count a grain twice.
func cutBothWays(t *testing.T, device, workload string, grain uint64) (sum results.Cut) {
	t.Helper()
	for _, strategy := range []string{"none", "emulate", "none-unsafe"} {
		p := plan(device, workload, strategy)
		p.Cuts, p.Runs, p.Commits = 1, 1, 60
		cells, err := p.Cells()
		if err != nil {
			t.Fatal(err)
		}
		short, err := newWorld(&p, &cells[0], p.seedOf(0))
		if err != nil {
			t.Fatal(err)
		}
		long := newLongWay(t, &p, &cells[0])
		short.runner.Start()
		long.runner.Start()
		for n := 0; !short.runner.Finished() && short.loop.Step() && long.loop.Step(); n++ {
			if n%23 != 0 {
				continue
			}
			seed := short.cutter.seed.Sub("cut", uint64(short.cutter.next))
			got, want := short.cutter.judge(), long.judge(seed, grain)
			twice := got.Violations - want.Violations
			if twice < 0 || want.Violations == 0 && twice > 0 {
				t.Fatalf("%s, %s, event %d: the cutter says %d violations, the long way %d", cells[0].Workload.Name, strategy, n, got.Violations, want.Violations)
			}
			want.Violations = got.Violations
			if got != want {
				t.Fatalf("%s on %s, %s, event %d: the cutter says %+v, the long way %+v", cells[0].Workload.Name, device, strategy, n, got, want)
			}
			sum.Lost, sum.AtRisk, sum.Violations = sum.Lost+got.Lost, sum.AtRisk+got.AtRisk, sum.Violations+got.Violations
		}
	}
	return sum
}

// The last cut of a run, alone, counts what it loses and what it breaks.
func TestTheLastCutCounts(t *testing.T) {
	p := plan("nvme-990pro lying", "sync-4k", "native none-unsafe")
	p.Cuts, p.Runs = 1, 1
	doc := mustRun(t, p)
	for id, want := range map[string]struct{ lost, broken bool }{
		"nvme-990pro/sync-4k/native": {}, "nvme-990pro/sync-4k/none-unsafe": {lost: true},
		"lying/sync-4k/native": {true, true}, "lying/sync-4k/none-unsafe": {lost: true},
	} {
		d := cellOf(t, doc, id).Durability
		if d.Cuts != 1 || d.CommitsAcked == 0 || (d.CommitsLost > 0) != want.lost || (d.CommitsAtRisk > 0) != want.lost || (d.Violations > 0) != want.broken {
			t.Errorf("%s: %+v, want losses: %v, violations: %v", id, *d, want.lost, want.broken)
		}
	}
}

// replies notes when requests are answered at the wire.
type replies map[sim.Time]bool

func (r replies) Observe(e *history.Event) {
	if e.Kind == history.Done {
		r[e.Time] = true
	}
}

// A cut that came only when something was acknowledged would never find a write
// in flight.
func TestCutsComeBetweenAcknowledgements(t *testing.T) {
	for _, device := range []string{"hdd-7200", "nvme-990pro", "hdd-7200-wt"} {
		p := plan(device, "sync-4k", "native")
		p.Cuts, p.Runs = 50, 1
		if device == "hdd-7200-wt" {
			p.Strategies = []string{"none"}
		}
		cells, err := p.Cells()
		if err != nil {
			t.Fatal(err)
		}
		at := replies{}
		w, err := newWorld(&p, &cells[0], p.seedOf(0), at)
		if err != nil {
			t.Fatal(err)
		}
		w.run(func() bool { return false })
		w.cutter.finish()
		between := 0
		for _, e := range w.cutter.durability.Exposure {
			if !at[sim.Time(e.At)] {
				between++
			}
		}
		if n := len(w.cutter.durability.Exposure); n < 40 || between < 9*n/10 {
			t.Errorf("%s: %d of %d cuts are between two replies", device, between, n)
		}
	}
}
