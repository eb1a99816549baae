package main

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nbdbench/internal/torture"
	"nbdbench/sim"
)

// needsTorture skips a test that mounts, where that is not permitted.
func needsTorture(t *testing.T, programs ...string) {
	t.Helper()
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("torture needs root, and some seconds")
	}
	lacks := t.Skip
	if os.Getenv("CI") != "" { // CI has installed them
		lacks = t.Fatal
	}
	for _, path := range []string{"/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(path); err != nil {
			lacks(err)
		}
	}
	for _, p := range append(programs, "mkfs.ext4") {
		if _, err := exec.LookPath(p); err != nil {
			lacks(err)
		}
	}
}

// tortured is the document of a run in processes of its own, and its exit code.
func tortured(t *testing.T, args ...string) (*torture.Cell, int) {
	t.Helper()
	c := program(t, append([]string{"torture", "--size", "256MiB", "--format", "json"}, args...)...)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	code := exitCode(t, err)
	var d torture.Document
	if err := json.Unmarshal(out, &d); err != nil || len(d.Cells) != 1 {
		t.Fatalf("exit %d, %v, stdout %s, stderr %s", code, err, out, stderr.String())
	}
	if cell := d.Cells[0]; cell.Kept+cell.Bounded+cell.Lost+cell.Corrupt+cell.Unmountable != cell.Cuts {
		t.Errorf("the outcomes do not add up: %+v", cell)
	}
	return d.Cells[0], code
}

// TestSQLiteKeepsWhatItAcknowledged: with synchronous=FULL, also on a drive that keeps
// nothing unless it is flushed.
func TestSQLiteKeepsWhatItAcknowledged(t *testing.T) {
	needsTorture(t, "python3")
	for _, device := range []string{"nvme-990pro", "adversary"} {
		cell, code := tortured(t, "--app", "sqlite", "--cuts", "5", "--device", device)
		if code != exitOK || cell.Kept != 5 || cell.Acks == 0 || cell.Flushes == 0 {
			t.Errorf("%s: exit %d, %+v", device, code, cell)
		}
	}
}

// TestSQLiteWithoutDurableCommitsIsFound: a known weakness. A cut during a checkpoint,
// which syncs the log first, loses nothing: on a busy machine that is one in three, so
// that ten of them would be.
func TestSQLiteWithoutDurableCommitsIsFound(t *testing.T) {
	needsTorture(t, "python3")
	keep := filepath.Join(t.TempDir(), "kept")
	cell, code := tortured(t, "--app", "sqlite", "--set", "synchronous=NORMAL", "--cuts", "10", "--device", "adversary", "--keep", keep)
	if code != exitDeviation || cell.Lost == 0 || cell.AcksLost == 0 || cell.MaxLostWindowNS == 0 || cell.FirstFailure == nil {
		t.Fatalf("exit %d, %+v", code, cell)
	}
	reduced := cell.FirstFailure.Reduced
	if reduced == nil || reduced.Checks > torture.DefaultReduce || (reduced.Image == "") != (reduced.Reason != "") {
		t.Errorf("reduced: %+v", reduced)
	}
	again, code := tortured(t, "--replay", keep)
	if code != exitDeviation || again.Lost != 1 {
		t.Errorf("the kept image: exit %d, %+v", code, again)
	}
}

// TestAFailingImageIsReduced: of a hundred blocks that are lost the check wants the third
// and the seventieth of a file, which are found again.
func TestAFailingImageIsReduced(t *testing.T) {
	needsTorture(t)
	const (
		setup    = `tr '\0' a </dev/zero | dd of=$NBDBENCH_DEV bs=4k count=100 oflag=direct iflag=fullblock conv=fsync status=none`
		workload = `tr '\0' b </dev/zero | dd of=$NBDBENCH_DEV bs=4k count=100 oflag=direct iflag=fullblock status=none; echo done >&3; sleep 60`
		check    = `a=$(dd if=$NBDBENCH_DEV bs=4k skip=3 count=1 status=none | head -c 1) b=$(dd if=$NBDBENCH_DEV bs=4k skip=70 count=1 status=none | head -c 1); test $a$b != aa`
	)
	keep := filepath.Join(t.TempDir(), "kept")
	cell, code := tortured(t, "--fs", "none", "--device", "adversary", "--cuts", "1", "--keep", keep, "--setup", setup, "--check", check, "--", "sh", "-c", workload)
	if code != exitDeviation || cell.Lost != 1 || cell.FirstFailure == nil {
		t.Fatalf("exit %d, %+v", code, cell)
	}
	r := cell.FirstFailure.Reduced
	if r == nil || r.Units != 100 || r.Lost != 2 || !r.Minimal || r.Checks > torture.DefaultReduce {
		t.Fatalf("reduced: %+v", r)
	}
	b, err := os.ReadFile(r.Image)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		if want := byte('b' - btoi(n == 3 || n == 70)); b[n*4096] != want {
			t.Errorf("block %d of the reduced image begins with %q, expected %q", n, b[n*4096], want)
		}
	}
	if again, code := tortured(t, "--replay", keep); code != exitDeviation || again.Lost != 1 {
		t.Errorf("the kept image: exit %d, %+v", code, again)
	}
}

// btoi is 1 for true.
func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestPostgresKeepsWhatItAcknowledged: and with fsync=off it does not.
func TestPostgresKeepsWhatItAcknowledged(t *testing.T) {
	needsTorture(t, "python3", "psql")
	cell, code := tortured(t, "--app", "postgres", "--size", "1GiB", "--cuts", "2", "--device", "adversary")
	if code != exitOK || cell.Kept != 2 || cell.Acks == 0 {
		t.Errorf("exit %d, %+v", code, cell)
	}
	cell, code = tortured(t, "--app", "postgres", "--size", "1GiB", "--cuts", "1", "--device", "adversary", "--set", "fsync=off", "--keep", filepath.Join(t.TempDir(), "kept"))
	if code != exitDeviation || cell.Kept != 0 {
		t.Errorf("fsync=off: exit %d, %+v", code, cell)
	}
}

// TestCutsAtEvents: at each kind of event a safe program keeps all, and an event that a
// setting makes fatal is met.
func TestCutsAtEvents(t *testing.T) {
	needsTorture(t, "python3")
	for _, at := range []string{"flush:2", "write:0-256MiB", "ack:[05]$"} {
		cell, code := tortured(t, "--app", "sqlite", "--cuts", "2", "--device", "adversary", "--image", "random", "--at", at)
		if code != exitOK || cell.Kept != 2 {
			t.Errorf("%s: exit %d, %+v", at, code, cell)
		}
	}
}

// TestADriveWithoutFlushesDoesNotMount: no FLUSH of mkfs and of the journal arrives.
func TestADriveWithoutFlushesDoesNotMount(t *testing.T) {
	needsTorture(t, "python3")
	cell, code := tortured(t, "--app", "sqlite", "--strategy", "none-unsafe", "--device", "adversary", "--image", "worst", "--cuts", "1", "--keep", filepath.Join(t.TempDir(), "kept"))
	if code != exitDeviation || cell.Unmountable != 1 {
		t.Errorf("exit %d, %+v", code, cell)
	}
}

// The workload acknowledges a number before it is durable, or after.
const (
	ackFirst = `n=0; while :; do n=$((n+1)); echo $n >&3; echo $n > $NBDBENCH_MOUNT/n.new; sync -d $NBDBENCH_MOUNT/n.new; mv $NBDBENCH_MOUNT/n.new $NBDBENCH_MOUNT/n; sync $NBDBENCH_MOUNT; done`
	ackLast  = `n=0; while :; do n=$((n+1)); echo $n > $NBDBENCH_MOUNT/n.new; sync -d $NBDBENCH_MOUNT/n.new; mv $NBDBENCH_MOUNT/n.new $NBDBENCH_MOUNT/n; sync $NBDBENCH_MOUNT; echo $n > $NBDBENCH_ACK_PATH; done`
	checkN   = `test $(cat $NBDBENCH_MOUNT/n || echo 0) -ge $(tail -n1 $NBDBENCH_ACKED)`
)

// TestAWorkloadThatAcknowledgesTooEarlyIsFound: and one that does it in time is not.
func TestAWorkloadThatAcknowledgesTooEarlyIsFound(t *testing.T) {
	needsTorture(t)
	keep := filepath.Join(t.TempDir(), "kept")
	cell, code := tortured(t, "--cuts", "6", "--keep", keep, "--check", checkN, "--", "sh", "-c", ackFirst)
	if code != exitDeviation || cell.Lost == 0 {
		t.Errorf("acknowledged first: exit %d, %+v", code, cell)
	}
	cell, code = tortured(t, "--cuts", "4", "--setup", "echo 0 > $NBDBENCH_MOUNT/n", "--check", checkN, "--", "sh", "-c", ackLast)
	if code != exitOK || cell.Kept != 4 {
		t.Errorf("acknowledged last: exit %d, %+v", code, cell)
	}
	cell, code = tortured(t, "--cuts", "3", "--allow-loss", "1h", "--setup", "echo 0 > $NBDBENCH_MOUNT/n", "--check",
		`test -s $NBDBENCH_ACKED && exit 1; exit 0`, "--", "sh", "-c", ackLast)
	if code != exitOK || cell.Bounded != 3 {
		t.Errorf("losses that are allowed: exit %d, %+v", code, cell)
	}
}

// TestACheckThatDoesNotRunIsInvalid: exit code 5, with what it wrote.
func TestACheckThatDoesNotRunIsInvalid(t *testing.T) {
	needsTorture(t)
	c := program(t, "torture", "--size", "64MiB", "--check", "echo no such check; exit 9", "--", "sh", "-c", "echo 1 >&3; sleep 1")
	said, err := c.CombinedOutput()
	if code := exitCode(t, err); code != exitInvalid || !strings.Contains(string(said), "no such check") || !strings.Contains(string(said), "status 9") {
		t.Errorf("exit %d: %s", code, said)
	}
}

// TestAnInterruptedTortureSaysWhatItHas: with exit code 130.
func TestAnInterruptedTortureSaysWhatItHas(t *testing.T) {
	needsTorture(t)
	checked := filepath.Join(t.TempDir(), "checked")
	c := program(t, "torture", "--size", "64MiB", "--cuts", "1000", "--format", "json", "--check", "echo >> "+checked, "--", "sh", "-c", "echo 1 >&3; sleep 1")
	var stdout strings.Builder
	c.Stdout = &stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for t.Context().Err() == nil {
		if b, err := os.ReadFile(checked); err == nil && len(b) > 1 { // one cut is over, as there is a second
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	code := exitCode(t, c.Wait())
	var d torture.Document
	if err := json.Unmarshal([]byte(stdout.String()), &d); err != nil || code != exitInterrupted || !d.Partial || d.Cells[0].Kept == 0 {
		t.Errorf("exit %d, %v, %s", code, err, stdout.String())
	}
}

// leftover is what torture has left on this machine.
func leftover(t *testing.T, marker string) (all []string) {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		// A path within a file system that no longer has a place is that of the file alone.
		if b, err := os.ReadFile(f); err == nil && (strings.HasSuffix(string(b), "/disk\n") || strings.Contains(string(b), "/image-")) {
			all = append(all, f+": "+string(b))
		}
	}
	if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(b), torture.Dir) {
		all = append(all, "a mount, or "+strconv.Quote(string(b)))
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range commands {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), marker) {
			all = append(all, f+": "+string(b))
		}
	}
	return all
}

var tortureKills = flag.Int("torture.kills", 0, "kill -9 at so many random moments; 0 is four moments that are the same each time")

// TestKillLeavesNothing: kill -9 at several stages of a run leaves no process, no mount
// and no loop device.
func TestKillLeavesNothing(t *testing.T) {
	needsTorture(t, "python3")
	marker := "--mount-options=noatime,commit=17" // of this test alone
	if before := leftover(t, marker); len(before) > 0 {
		t.Skipf("another run is in progress: %q", before)
	}
	moments := []int{20, 200, 800, 2000} // ms
	if *tortureKills > 0 {
		moments = nil
		for n := range uint64(*tortureKills) {
			moments = append(moments, int(sim.Seed(1).Stream("kills").Uint64N(4000, n, 0)))
		}
	}
	for _, after := range moments {
		c := program(t, "torture", "--app", "sqlite", "--size", "256MiB", marker, "--cuts", "1000", "--keep", filepath.Join(t.TempDir(), "kept"))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(after) * time.Millisecond)
		if err := c.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // killed
		rest := leftover(t, marker)
		for tries := 0; len(rest) > 0 && tries < 600; tries++ {
			time.Sleep(50 * time.Millisecond)
			rest = leftover(t, marker)
		}
		if len(rest) > 0 {
			t.Errorf("after %v ms: %q", after, rest)
		}
	}
	t.Logf("%d kills left nothing, at %v ms", len(moments), moments)
}

func TestTortureSaysWhatIsWrong(t *testing.T) {
	for args, want := range map[string]struct {
		code int
		says string
	}{
		"torture":                                    {exitUsage, "workload: expected a command"},
		"torture --check true --cuts 0 -- true":      {exitUsage, "--cuts"},
		"torture --app sqlite --fs zfs":              {exitUsage, "--fs: expected one of ext4, xfs, btrfs, none"},
		"torture --app sqlite --set fsync=off":       {exitUsage, "--set"},
		"torture --app sqlite --at fua:1":            {exitUsage, "--at"},
		"torture --app sqlite --via vm":              {exitCapability, "vm"},
		"torture --replay /nonexistent":              {exitUsage, "--replay"},
		"torture --app sqlite --keep testdata":       {exitUsage, "--keep"},
		"torture --app sqlite --device no-such-disk": {exitUsage, "no-such-disk"},
		"torture --app sqlite --size 100GiB":         {exitUsage, "--size"},
	} {
		if o := invoke(strings.Fields(args)...); o.code != want.code || !strings.Contains(o.stderr, want.says) {
			t.Errorf("%s: exit %d, %s, expected exit %d and %q", args, o.code, o.stderr, want.code, want.says)
		}
	}
}
