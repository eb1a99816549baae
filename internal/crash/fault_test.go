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

// TestTheCheckerFindsEveryFault gives each fault a place where it matters.
func TestTheCheckerFindsEveryFault(t *testing.T) {
	small, narrow := file(t, "small.yaml", "extends: nvme-990pro"+smallCache), file(t, "tiny.yaml", tiny)
	two := file(t, "two.yaml", "extends: nvme-970pro"+smallCache) // a FLUSH and a destage at a time
	for _, c := range []struct {
		fault, device, workload, strategy string
		want                              history.Class
	}{
		{"lying-flush", "nvme-990pro", "wal", "none", history.LostFlushed},
		{"fua-ignored", "nvme-990pro", "wal", "native", history.LostFUA},
		{"flush-skips-inflight", two, "overwrite", "none", history.LostFlushed},
		{"stale-after-fua", small, "overwrite", "native", history.StaleResurrected},
		{"shorn", "hdd-7200", "wal", "native", history.Shorn},
		{"collateral-512e", "hdd-7200", narrow, "native", history.Corrupt},
		{"lost", "nvme-pm963", "wal", "native", history.LostFUA},
		{"misdirected", "nvme-990pro", "wal", "native", history.Misdirected},
		{"bit-rot", "nvme-pm963", "wal", "native", history.Corrupt},
		{"dead:after=20", "nvme-990pro", "sync-4k", "native", history.Corrupt},
		{"no-capacitor", "nvme-pm963", "sync-4k", "none", history.LostFlushed},
		{"no-capacitor", "nvme-pm963", "sync-4k", "native", history.LostFUA},
	} {
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

// An honest error promises nothing, so that nothing can be broken: what shows is
// that the commits fail.
func TestAnErrorIsNoPromise(t *testing.T) {
	for _, c := range []struct{ fault, strategy string }{{"eio-write:every=3", "native"}, {"eio-flush:every=3", "none"}} {
		config := one("nvme-990pro", "sync-4k", c.strategy, 64)
		sound := check(t, config)
		config.Fault, _ = fault.Parse(c.fault)
		d := check(t, config)
		if d.Broken() {
			t.Errorf("%s: %v", c.fault, d.Violations[0])
		}
		if d.CommitsAcked >= sound.CommitsAcked {
			t.Errorf("%s: as many commits as without: %d and %d", c.fault, d.CommitsAcked, sound.CommitsAcked)
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
}
