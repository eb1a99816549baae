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

// The kernel's format has writes in the order in which they completed; it
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

// historyFile writes a history of these lines to a file.
func historyFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history")
	text := history.Version + "\n" + strings.ReplaceAll(strings.Join(lines, "\n"), " ", "\t") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// cutHistory has a FUA write, a write that only a FLUSH after a power cut could have
// promised, one in progress at that cut, and another cut.
func cutHistory(t *testing.T) string {
	t.Helper()
	return historyFile(t,
		"S 1 0 7 0 0 write 1 0 4096 1", "D 2 100000 1 OK",
		"S 3 200000 7 0 0 write 0 4096 4096 2", "D 4 300000 3 OK",
		"S 5 300000 7 0 0 write 0 8192 4096 3", "C 6 300001",
		"S 7 400000 9 0 0 flush 0 0 0 0", "D 8 500000 7 OK",
		"S 9 600000 9 0 0 write 1 8192 4096 4", "D 10 700000 9 OK",
		"C 11 800000",
		"S 12 900000 9 0 0 read 0 0 4096 0", "D 13 910000 12 OK",
	)
}

// A history's power cuts are replayed: the device restarts on what is left, and no
// later FLUSH promises what was lost.
func TestAHistorysPowerCutsAreReplayed(t *testing.T) {
	path := cutHistory(t)
	for strategy, flushes := range map[string]bool{"native": true, "emulate": true, "none": true, "emulate-grouped": true, "none-grouped": true} {
		for _, device := range []string{"nvme-990pro", "hdd-7200", "nvme-pm963", "raid-bbu", "hdd-7200-wt", "ebs-gp3"} {
			c := one(device, "", strategy, 200)
			c.History = path
			d := check(t, c)
			if r := d.Cells[0]; d.Broken() || r.Status != "ok" || (r.Promises > 0) != flushes || r.verdict() != "promises kept" {
				t.Errorf("%s, %s: %s, %d promises, %v", device, strategy, r.verdict(), r.Promises, d.Violations)
			}
		}
	}
	c := one("nvme-990pro", "", "native", 1)
	c.History = path
	w, err := newWorld(scenario{cell: cellOf(t, c), seed: 1, commits: 1, connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.run(func(uint64) bool { return true }), w.failed); err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for i := range w.log.Events {
		if w.log.Events[i].Kind == history.PowerCut {
			cuts++
		}
	}
	if w.cuts != 2 || cuts != 2 || !w.runner.Finished() {
		t.Errorf("%d power cuts, %d in the history at the wire, finished %v; want 2 and the end", w.cuts, cuts, w.runner.Finished())
	}
	if v := w.model.Cut(1).Durable(0); v != 1 {
		t.Errorf("sector 0 holds version %d after two power cuts, want that of the FUA write", v)
	}
}

// The power cuts of a history are in its export too.
func TestTheKernelsFormatHasAHistorysPowerCuts(t *testing.T) {
	l, err := LoadHistory(cutHistory(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := ExportDM(f, l); err != nil {
		t.Fatal(err)
	}
	again, err := LoadHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range again.Events {
		switch e := &again.Events[i]; e.Kind {
		case history.PowerCut:
			got = append(got, "cut")
		case history.Submit:
			got = append(got, fmt.Sprintf("%v %d", e.Op, e.Offset))
		}
	}
	if want := "write 0, write 4096, cut, flush 0, write 8192, cut"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// What a power cut of the history has lost is found afterwards, on a device that lies.
func TestWhatAHistorysPowerCutLostIsFound(t *testing.T) {
	c := one("lying", "", "native", 200)
	c.History = historyFile(t,
		"S 1 0 0 0 0 write 1 0 4096 1", "D 2 100000 1 OK", "C 3 100001",
		"S 4 200000 0 0 0 read 0 0 4096 0", "D 5 300000 4 OK")
	d := check(t, c)
	if !d.Broken() {
		t.Fatal("nothing was found")
	}
	v := d.Violations[0]
	if v.Class != history.LostFUA || strings.Contains(v.Replay, "--commits") || strings.Contains(v.Replay, "--connections") {
		t.Errorf("%s: %s", v.Class, v.Replay)
	}
}

// A history without power cuts is another one: its FLUSH promises.
func TestWithoutThePowerCutTheFlushPromises(t *testing.T) {
	c := one("nvme-990pro", "", "native", 1)
	lines := []string{"S 1 0 0 0 0 write 0 0 4096 1", "D 2 100000 1 OK", "C 3 100001", "S 4 200000 0 0 0 flush 0 0 0 0", "D 5 300000 4 OK"}
	for want, lines := range [][]string{lines, append(append([]string{}, lines[:2]...), lines[3:]...)} {
		c.History = historyFile(t, lines...)
		if got := check(t, c).Cells[0].Promises; got != uint64(want) {
			t.Errorf("%v: %d promises, want %d", lines, got, want)
		}
	}
}

// The verdict on a history is about promises: it has no commits, of which none could
// be lost. Where the strategy lets no FLUSH and no FUA pass, what the history asked
// for is lost.
func TestTheVerdictOnAHistoryNamesWhatIsJudged(t *testing.T) {
	path, _ := recorded(t, "ext4-journal")
	for strategy, want := range map[string]string{"native": "promises kept", "none-unsafe": "VIOLATED: "} {
		c := one("nvme-990pro", "", strategy, 64)
		c.History = path
		d := check(t, c)
		var b strings.Builder
		if err := d.WriteText(&b, 0); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		for _, part := range []string{want, "sampled", "A history has no commits"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is missing in\n%s", strategy, part, text)
			}
		}
		if d.Coverage != "sampled" || strings.Contains(text, "0 lost") || strings.Contains(text, "exhaustive") {
			t.Errorf("%s: coverage %s\n%s", strategy, d.Coverage, text)
		}
	}
}
