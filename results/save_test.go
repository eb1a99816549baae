//go:build linux

package results

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// killAt names the step at which a process that stores a run kills itself, and
// killDir where it does.
const (
	killAt  = "NBDBENCH_TEST_KILL_AT"
	killDir = "NBDBENCH_TEST_KILL_DIR"
)

// TestMain is the process that is killed, if the test asks for that.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		storeAndDie(dir)
	}
	os.Exit(m.Run())
}

// newTinyDocument takes no time to make.
func newTinyDocument() *Run {
	r := NewRun(Tool{Version: "v1.0.0", Go: "go1.26"}, nil, 1)
	c := fakeCell(fakeDevices[0], "sync-4k", fakeStrategies[0], 0)
	c.Add(fakeRun(fakeDevices[0], false, fakeStrategies[0], 1, 50))
	r.Add(c)
	r.Finish()
	return r
}

// storeAndDie stores a document and dies at the step that the test names.
func storeAndDie(dir string) {
	last, err := strconv.Atoi(os.Getenv(killAt))
	if err != nil {
		panic(err)
	}
	n := 0
	atStep = func(step string) {
		if n++; n == last {
			os.Stdout.WriteString(step)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			panic("it lives")
		}
	}
	if err := Save(dir, newTinyDocument()); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// TestAKillAtAnyStepLeavesWhatIsWholeAndIsReported: after kill -9 at each step of
// storing a run, each file that is there is whole, and what is not finished is
// found by the next run.
func TestAKillAtAnyStepLeavesWhatIsWholeAndIsReported(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each step")
	}
	want := written(t, newTinyDocument().WriteJSON)
	steps := 0
	for n := 1; ; n++ {
		parent := t.TempDir()
		dir := filepath.Join(parent, "run")
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), killDir+"="+dir, killAt+"="+strconv.Itoa(n))
		step, err := c.Output()
		if err == nil { // there is no such step
			break
		}
		if c.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v", n, err)
		}
		steps++
		afterKill(t, string(step), parent, dir, want)
	}
	if steps < 20 {
		t.Errorf("a run was killed at %d steps only", steps)
	}
	t.Logf("killed at each of %d steps", steps)
}

func afterKill(t *testing.T, step, parent, dir string, want []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, FileRun))
	if err == nil && !bytes.Equal(text, want) {
		t.Errorf("%s: run.json is not whole", step)
	}
	r, err := Load(dir)
	finished := step == "took the mark away"
	left := Leftovers(parent)
	switch {
	case step == "made the directory":
		return // empty, and nobody's
	case finished && (err != nil || len(left) > 0):
		t.Errorf("%s: %v, left over: %v", step, err, left)
	case !finished && (len(left) != 1 || left[0].Dir != dir):
		t.Errorf("%s: left over: %v", step, left)
	case err == nil && !bytes.Equal(written(t, r.WriteJSON), want):
		t.Errorf("%s: what is read back differs", step)
	case !finished && strings.Contains(left[0].String(), "report") != (err == nil):
		t.Errorf("%s: %v, although: %v", step, left[0], err)
	}
}

// TestARunThatIsGoingOnIsNotLeftOver, and one that is over with its process is.
func TestARunThatIsGoingOnIsNotLeftOver(t *testing.T) {
	parent := t.TempDir()
	p, err := Reserve(filepath.Join(parent, "run"))
	if err != nil {
		t.Fatal(err)
	}
	if left := Leftovers(parent); len(left) > 0 {
		t.Errorf("left over while it goes on: %v", left)
	}
	if _, err := Reserve(p.Dir()); !errors.Is(err, os.ErrExist) {
		t.Errorf("reserved twice: %v", err)
	}
	if _, err := Load(p.Dir()); err == nil || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("loaded: %v", err)
	}
	if err := p.Discard(); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(parent); len(entries) > 0 {
		t.Errorf("after it was discarded: %v", entries)
	}
	if err := os.MkdirAll(filepath.Join(parent, ".r.123456", DirCharts), 0o755); err != nil {
		t.Fatal(err)
	}
	if left := Leftovers(parent); len(left) != 1 {
		t.Errorf("left over of an earlier release: %v", left)
	}
}

// TestAFullDiskKeepsEachFileThatFits: at any level, what is stored is whole, and
// what is not is reported.
func TestAFullDiskKeepsEachFileThatFits(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Skip("needs a file system of its own:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	doc := smallDocument(t)
	full := filesOf(t, doc)
	partly, whole := 0, 0
	for size := 4; size <= 4096; size = max(size+4, size*5/4&^3) {
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size="+strconv.Itoa(size)+"k"); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, "run")
		err := Save(at, doc)
		var e *SaveError
		switch {
		case err == nil:
			whole++
		case errors.As(err, &e) && len(e.Stored) > 0:
			partly++
		case exists(at):
			t.Errorf("%d KiB: nothing was stored, and the directory is there: %v", size, err)
		}
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d KiB: %v", size, err)
		}
		for name, text := range full {
			got, readErr := os.ReadFile(filepath.Join(at, name))
			if stored := err == nil || e != nil && slices.Contains(e.Stored, name); stored != (readErr == nil) || stored && !bytes.Equal(got, text) {
				t.Errorf("%d KiB: %s: said to be stored: %v; %d of %d bytes, %v", size, name, stored, len(got), len(text), readErr)
			}
		}
		if err := os.RemoveAll(at); err != nil {
			t.Fatal(err)
		}
	}
	if partly == 0 || whole == 0 {
		t.Errorf("%d levels stored some files, %d all", partly, whole)
	}
	t.Logf("%d levels stored some files, %d all", partly, whole)
}

// filesOf is each file of the document as it is stored.
func filesOf(t *testing.T, r *Run) map[string][]byte {
	t.Helper()
	dir, files := stored(t, r), map[string][]byte{}
	for _, name := range []string{FileRun, FileLog, FileIntervals, FileReport} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
	}
	return files
}

// TestTextOfAStoredRunReachesNoTerminal: names with control characters are
// refused, and what else comes from a run is escaped.
func TestTextOfAStoredRunReachesNoTerminal(t *testing.T) {
	r := newSmallDocument()
	for _, c := range r.Cells {
		c.Warn("a server said \x1b]0;title\a\nforged: line")
		c.WhoDurable = "\u009b31m=1+1"
	}
	for name, write := range map[string]func() []byte{
		"table": func() []byte { var b bytes.Buffer; _ = r.Summary().Text(&b, 120); return b.Bytes() },
		"csv":   func() []byte { return written(t, r.Summary().CSV) },
		"json":  func() []byte { return written(t, r.WriteJSON) },
	} {
		if text := write(); bytes.ContainsAny(text, "\x1b\a\u009b") || bytes.Contains(text, []byte("\nforged")) {
			t.Errorf("%s: %q", name, text)
		}
	}
	for _, key := range []string{"id", "device", "workload", "strategy", "link"} {
		bad := strings.Replace(string(written(t, newSmallDocument().WriteJSON)), `"`+key+`": "`, `"`+key+`": "\u001b[31m`, 1)
		if _, err := Decode([]byte(bad)); err == nil || !strings.Contains(err.Error(), key+": want a name without control characters") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestNoCellIsAFormula(t *testing.T) {
	r := newSmallDocument()
	r.Cells[0].ID, r.Cells[0].Device = "=cmd|x", "=cmd|x"
	for _, text := range [][]byte{written(t, r.Summary().CSV), written(t, r.WriteIntervals)} {
		if bytes.Contains(text, []byte("\n=cmd")) {
			t.Errorf("a formula: %.200q", text)
		}
	}
}
