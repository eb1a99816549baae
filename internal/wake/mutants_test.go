package wake_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is one change that makes the protocol wrong, and the package whose tests of
// interleavings find it.
type mutant struct {
	name, file, old, wrong, found string
}

const (
	wakeGo = "internal/wake/wake.go"
	inSim  = "./sim"
	inSock = "./nbd/socket"
)

// mutants are all known ways to lose a wake-up. Each text occurs once.
var mutants = []mutant{
	{"no second look before a sleep", wakeGo, "if stay() {", "if false {", inSim},
	{"the pacer does not look at its deadline again", wakeGo, "return t.PacerDue() != until }", "return false }", inSim},
	{"the owner does not look at its deadline again", wakeGo, "return t.armed.Load() < armed", "return false", inSim},
	{"an owner that ends wakes nobody", wakeGo, "t.owner.until.Store(unowned)\n\tt.wakePacer(t.armed.Load())", "t.owner.until.Store(unowned)", inSim},
	{"who stops spinning wakes nobody", wakeGo, "t.spinning.Store(false)\n\tt.wakePacer(t.armed.Load())", "t.spinning.Store(false)", inSim},
	{"the owner is asked before the deadline is published", wakeGo, "t.armed.Store(next)\n\tif !t.owner.SleepsBeyond(next) {", "sleeps := t.owner.SleepsBeyond(next)\n\tt.armed.Store(next)\n\tif !sleeps {", inSim},
	{"who spins is asked before the deadline is published", wakeGo, "t.armed.Store(next)\n\tif !t.owner", "spinning := t.spinning.Load()\n\tt.armed.Store(next)\n\tif spinning && next-t.now() <= t.window {\n\t\treturn\n\t}\n\tif !t.owner", inSim},
	{"a deadline is published after the loop is left", "sim/real.go", "r.timers.Arm(int64(r.loop.Next()))\n\t\tr.mu.Unlock()", "next := int64(r.loop.Next())\n\t\tr.mu.Unlock()\n\t\tr.timers.Arm(next)", inSim},
	{"close rings nobody", "sim/real.go", "r.alarm.ring()\n\treturn true", "return true", inSim},
	{"who writes does not look again", wakeGo, "if !ok {\n\t\t\treturn false\n\t\t}\n\t}\n\treturn true", "return ok\n\t}\n\treturn true", inSock},
	{"a flush is over before it is done", wakeGo, "w.asked.Store(false)\n\tfor", "defer w.asked.Store(false)\n\tfor", inSock},
	{"no flush after the socket has changed", wakeGo, "w.busy.Unlock()\n\tflush()", "w.busy.Unlock()", inSock},
	{"a helper does not look again", wakeGo, "if w.left.Load() == 0 || !w.NeedsHelp(s) {", "if true {", inSock},
	{"a helper looks before it says that it ends", wakeGo, "w.helped.Store(false)\n\t\tif w.left.Load() == 0 || !w.NeedsHelp(s) {\n", "ends := w.left.Load() == 0 || !s.SleepsBeyond(0)\n\t\tw.helped.Store(false)\n\t\tif ends || w.helped.Swap(true) {\n", inSock},
	{"a client's poller does not look for output", "nbd/socket/poller_linux.go", "c.out.work.Left() > 0 && !", "false && !", inSock},
	{"who waits for room looks before it says so", wakeGo, "s.until.Store(until)\n\tif stay() {", "stays := stay()\n\ts.until.Store(until)\n\tif stays {", inSock},
	{"who got memory does not wake the next", "nbd/socket/room.go", "m.wakeOne() // there", "// there", inSock},
	{"who is closed does not wake the next", "nbd/socket/room.go", "m.wakeOne() // there", "if ok {\n\t\t\t\tm.wakeOne()\n\t\t\t} // there", inSock},
	{"memory that is free wakes nobody", "nbd/socket/memory.go", "if m.waiting.Load() > 0 {\n\t\tm.wakeOne()\n\t}", "", inSock},
	{"room that is free wakes nobody", "nbd/socket/room.go", "k.server.memory.give(f.bytes)\n\tk.wake()", "k.server.memory.give(f.bytes)", inSock},
}

const root = "../.."

// source is the text of a file with the mutant in it.
func (m *mutant) source(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		t.Fatalf("%s: %q occurs %d times, expected once", m.file, m.old, n)
	}
	return strings.Replace(string(b), m.old, m.wrong, 1)
}

// TestInterleavingsFindMutants builds each mutant, if NBDBENCH_MUTANTS is 1, and
// expects that the tests of interleavings fail because of a wrong order. Else it looks
// only whether the mutants still are of this program.
func TestInterleavingsFindMutants(t *testing.T) {
	builds := os.Getenv("NBDBENCH_MUTANTS") == "1"
	for i := range mutants {
		m := &mutants[i]
		t.Run(m.name, func(t *testing.T) {
			if text := m.source(t); builds {
				m.isFound(t, text)
			}
		})
	}
}

func (m *mutant) isFound(t *testing.T, text string) {
	t.Helper()
	at, err := filepath.Abs(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {at: mutated}})
	if err == nil {
		err = os.WriteFile(overlay, list, 0o600)
	}
	if err == nil {
		err = os.WriteFile(mutated, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-pgo=off", "-count=1", "-timeout=120s", "-failfast", "-overlay", overlay, "-run", "^TestInterleavings", m.found)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("%s finds nothing wrong", m.found)
	}
	_, after, ok := strings.Cut(string(out), ": order ")
	if !ok {
		t.Fatalf("expected a wrong order, got %v:\n%.2000s", err, out)
	}
	what, _, _ := strings.Cut(after, "\n")
	t.Logf("found: order %s", what)
}
