package crash

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices/fault"
	"nbdbench/devices/history"
)

// smallCache is a drive that is always writing back.
const smallCache = `
name: small-cache
cache: {capacity: 64KiB, high_water: 8KiB, low_water: 0, idle_destage: 20us}
`

// oneUnit has FLUSH, FUA and destage wait for each other: what is dirty when a FUA
// write begins is so when it ends.
const oneUnit = "ssd: {servers: 1}\n"

// tiny is a workload of writes that are not whole physical blocks.
const tiny = `
name: tiny
regions: [{name: hot, offset: 0, size: 16KiB}]
transaction:
  - {op: write, durable: true, size: 512, region: hot, pattern: random}
`

// file writes a profile for a test and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// one is a configuration of one cell.
func one(device, workload, strategy string, cuts int) Config {
	c := Default()
	c.Devices, c.Workloads, c.Strategies, c.Cuts = []string{device}, []string{workload}, []string{strategy}, cuts
	return c
}

func check(t *testing.T, c Config) *Document {
	t.Helper()
	d, err := Run(context.Background(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func classes(d *Document) (out []history.Class) {
	for _, v := range d.Violations {
		out = append(out, v.Class)
	}
	return out
}

// A lie is a fault that breaks a promise, in a place where it matters.
type lie struct {
	fault, device, workload, strategy string
	want                              history.Class
}

func lies(t *testing.T) []lie {
	single, narrow := file(t, "single.yaml", "extends: nvme-990pro"+smallCache+oneUnit), file(t, "tiny.yaml", tiny)
	two := file(t, "two.yaml", "extends: nvme-970pro"+smallCache) // a FLUSH and a destage at a time
	return []lie{
		{"lying-flush", "nvme-990pro", "wal", "none", history.LostFlushed},
		{"fua-ignored", "nvme-990pro", "wal", "native", history.LostFUA},
		{"flush-skips-inflight", two, "overwrite", "none", history.LostFlushed},
		{"stale-after-fua", single, "overwrite", "native", history.StaleResurrected},
		{"shorn", "hdd-7200", "wal", "native", history.Shorn},
		{"collateral-512e", "hdd-7200", narrow, "native", history.Corrupt},
		{"lost", "nvme-pm963", "wal", "native", history.LostFUA},
		{"misdirected", "nvme-990pro", "wal", "native", history.Misdirected},
		{"bit-rot", "nvme-pm963", "wal", "native", history.Corrupt},
		{"dead:after=20", "nvme-990pro", "sync-4k", "native", history.Corrupt},
		{"no-capacitor", "nvme-pm963", "sync-4k", "none", history.LostFlushed},
		{"no-capacitor", "nvme-pm963", "sync-4k", "native", history.LostFUA},
	}
}

// A reported fault is one that the client sees as an error, or that only takes time:
// nothing is promised that is not kept. fails is whether commits fail by it.
type honestFault struct {
	fault, workload, strategy string
	fails                     bool
}

func honestFaults(t *testing.T) []honestFault {
	return []honestFault{
		{"eio-read:every=3", file(t, "reading.yaml", reading), "native", true},
		{"eio-read:every=3", file(t, "reading.yaml", reading), "none", true},
		{"eio-read:every=3", file(t, "verifying.yaml", verifying), "native", true},
		{"eio-write:every=3", "sync-4k", "native", true},
		{"eio-flush:every=3", "sync-4k", "none", true},
		{"slow:every=3:time=10ms", "sync-4k", "native", false},
	}
}

// reading reads before it writes; verifying writes before it reads.
const (
	reading = `
name: reading
regions: [{name: hot, offset: 0, size: 64KiB}]
transaction:
  - {op: read, size: 4KiB, region: hot, pattern: random}
  - {op: write, durable: true, size: 4KiB, region: hot, pattern: random}
`
	verifying = `
name: verifying
regions: [{name: hot, offset: 0, size: 64KiB}]
transaction:
  - {op: write, durable: true, size: 4KiB, region: hot, pattern: random}
  - {op: read, size: 4KiB, region: hot, pattern: random}
`
)

// TestEveryFaultHasATest holds the two tables against the faults that there are,
// and each of those against its client's test where it is honest.
func TestEveryFaultHasATest(t *testing.T) {
	tested, client := map[string]bool{}, map[string]bool{}
	for _, l := range lies(t) {
		tested[kindOf(t, l.fault)] = true
	}
	for _, h := range honestFaults(t) {
		tested[kindOf(t, h.fault)] = true
		client[kindOf(t, h.fault)] = true
	}
	for _, k := range fault.Kinds() {
		if !tested[k] {
			t.Errorf("%s: no test shows that the checker finds it, or what a client may conclude", k)
		}
		if client[k] && conclusions[fault.Kind(k)] == nil {
			t.Errorf("%s: no test shows what a client may conclude", k)
		}
	}
}

func kindOf(t *testing.T, text string) string {
	t.Helper()
	p, err := fault.Parse(text)
	if err != nil || len(p) != 1 {
		t.Fatalf("%q: %v, expected one fault", text, err)
	}
	return string(p[0].Kind)
}

func TestTheCheckerFindsEveryLie(t *testing.T) {
	for _, c := range lies(t) {
		t.Run(c.fault+" under "+c.strategy, func(t *testing.T) {
			config := one(c.device, c.workload, c.strategy, 128)
			if d := check(t, config); d.Broken() {
				t.Fatalf("without the fault: %v", d.Violations[0])
			}
			var err error
			if config.Fault, err = fault.Parse(c.fault); err != nil {
				t.Fatal(err)
			}
			d := check(t, config)
			if !slices.Contains(classes(d), c.want) {
				t.Errorf("got %v, want %s", classes(d), c.want)
			}
		})
	}
}

// An honest error promises nothing, so that nothing can be broken, and breaks
// nothing that was promised before: what shows is that the commits fail.
func TestAnErrorIsNoPromiseAndBreaksNone(t *testing.T) {
	for _, c := range honestFaults(t) {
		config := one("nvme-990pro", c.workload, c.strategy, 64)
		sound := check(t, config)
		var err error
		if config.Fault, err = fault.Parse(c.fault); err != nil {
			t.Fatal(err)
		}
		d := check(t, config)
		if d.Broken() || d.CommitsLost > 0 {
			t.Errorf("%s under %s: %d commits lost, %v", c.fault, c.strategy, d.CommitsLost, d.Violations)
		}
		if d.CommitsAcked == 0 || c.fails && d.CommitsAcked >= sound.CommitsAcked {
			t.Errorf("%s under %s: %d commits, %d without; expected fewer, and some", c.fault, c.strategy, d.CommitsAcked, sound.CommitsAcked)
		}
	}
}

func TestASlowDeviceOnlyTakesLonger(t *testing.T) {
	config := one("nvme-pm963", "sync-4k", "native", 64)
	config.Fault, _ = fault.Parse("slow:every=1:time=1s")
	d := check(t, config)
	if d.Broken() || d.CommitsAcked == 0 {
		t.Errorf("%d commits, %v", d.CommitsAcked, d.Violations)
	}
	w, err := newWorld(scenario{cell: cellOf(t, config), seed: 1, commits: 3, connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	_ = w.run(func(uint64) bool { return true })
	if now := w.loop.Now().Sub(0); now.Seconds() < 3 {
		t.Errorf("three commits took %v", now)
	}
}

func cellOf(t *testing.T, c Config) *Cell {
	t.Helper()
	cells, err := c.Cells()
	if err != nil {
		t.Fatal(err)
	}
	return &cells[0]
}

func TestFaultsCompose(t *testing.T) {
	config := one("nvme-990pro", "wal", "none", 64)
	config.Fault, _ = fault.Parse("lying-flush,bit-rot:p=0.2")
	got := classes(check(t, config))
	if !slices.Contains(got, history.LostFlushed) || !slices.Contains(got, history.Corrupt) {
		t.Errorf("got %v", got)
	}
}

func TestAFaultThatADeviceCannotHaveIsUnsupported(t *testing.T) {
	config := one("nvme-pm963", "sync-4k", "native", 8)
	config.Fault, _ = fault.Parse("flush-skips-inflight")
	d := check(t, config)
	if r := d.Cells[0]; r.Status != "unsupported" || !strings.Contains(r.Reason, "volatile cache") {
		t.Errorf("got %+v", r)
	}
	var b strings.Builder
	if err := d.WriteText(&b, 0); err != nil || !strings.Contains(b.String(), "unsupported, 1 cell: ") {
		t.Errorf("the table does not say why: %v\n%s", err, b.String())
	}
}
