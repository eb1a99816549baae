package crash

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices/fault"
	"nbdbench/devices/history"
)

// recorded is the history of a run, in a file.
func recorded(t *testing.T, workload string) (path string, l *history.Log) {
	t.Helper()
	w, err := newWorld(scenario{cell: cellOf(t, one("nvme-990pro", workload, "native", 1)), seed: 1, commits: 8, connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.run(func(uint64) bool { return true }); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "history")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := w.log.Write(f); err != nil {
		t.Fatal(err)
	}
	return path, &w.log
}

// submits are the requests of a history in their order.
func submits(l *history.Log) string {
	var b strings.Builder
	for i := range l.Events {
		if e := &l.Events[i]; e.Kind == history.Submit {
			fmt.Fprintf(&b, "%v %d %d+%d v%d\n", e.Op, e.Flags, e.Offset, e.Length, e.Stamp)
		}
	}
	return b.String()
}

func TestAHistoryIsReplayedInItsOrder(t *testing.T) {
	path, want := recorded(t, "ext4-journal")
	c := one("hdd-7200", "", "native", 1)
	c.History = path
	w, err := newWorld(scenario{cell: cellOf(t, c), seed: 1, commits: 1, connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.run(func(uint64) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if got := submits(&w.log); got != submits(want) {
		t.Errorf("got\n%swant\n%s", got, submits(want))
	}
}

// The kernel's format tells of writes in the order in which they were done; it
// is judged as the history is.
func TestALogOfTheKernelsFormatIsChecked(t *testing.T) {
	path, l := recorded(t, "ext4-journal")
	kernel := filepath.Join(t.TempDir(), "dm")
	f, err := os.Create(kernel)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := ExportDM(f, l); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, kernel} {
		c := one("nvme-990pro", "", "native", 64)
		c.History = file
		if d := check(t, c); d.Broken() || d.Cells[0].Status != "ok" {
			t.Errorf("%v", d.Violations)
		}
		c.Fault, _ = fault.Parse("lying-flush")
		d := check(t, c)
		if !slices.Contains(classes(d), history.LostFlushed) {
			t.Errorf("%s: a lying FLUSH shows %v", file, classes(d))
		}
	}
}

func TestAHistoryThatADeviceCannotDoIsUnsupported(t *testing.T) {
	path, _ := recorded(t, "ext4-journal")
	c := one("emmc-sd", "", "pass", 8)
	c.History = path
	if r := check(t, c).Cells[0]; r.Status != "unsupported" {
		t.Errorf("got %+v", r)
	}
	c.History = "crash_test.go"
	if _, err := c.Cells(); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("got %v", err)
	}
}

// What a file system wrote, under a FLUSH that does nothing: of 134 requests two
// remain, for a fraction of the cuts that there may be.
func TestALongHistoryIsShrunkByFewCuts(t *testing.T) {
	packed, err := os.Open("../interop/kernel/testdata/dm-log-writes-ext4.log.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	log := filepath.Join(t.TempDir(), "dm")
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err := errors.Join(err, os.WriteFile(log, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	c := one("nvme-990pro", "", "native", 16)
	c.History = log
	c.Fault, _ = fault.Parse("lying-flush")
	cell := cellOf(t, c)
	first := map[history.Class]found{}
	r := &CellResult{}
	if err := cell.oneRun(scenario{cell: cell, seed: 1, commits: 1, connections: 1}, r, first, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	k := &shrinker{best: first[history.LostFlushed], class: history.LostFlushed}
	k.run()
	if len(k.best.requests) != 2 || k.tries > 500 || k.replays > 100 {
		t.Errorf("%d requests are left after %d cuts of %d runs, expected 2 after at most 500 of 100", len(k.best.requests), k.tries, k.replays)
	}
}
