//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"nbdbench/internal/bench"
	"nbdbench/results"
)

func TestTheDocumentMatchesTheSchema(t *testing.T) {
	r := document(t, must(t, tiny("--device", "testdata/no-fua.yaml", "--strategy", "native,emulate,none-unsafe,discard", "--no-save", "--format", "json")...))
	if len(r.Cells) != 8 || r.Host != nil || r.Partial {
		t.Errorf("got %d cells, host %v, partial %v; want 8, none, false", len(r.Cells), r.Host, r.Partial)
	}
	status := map[string]string{}
	for _, c := range r.Cells {
		status[c.ID] = c.Status
	}
	if got := status["hdd-no-fua/sync-4k/native"]; got != results.StatusUnsupported {
		t.Errorf("native on a drive without FUA is %q, want it unsupported", got)
	}
	if got := status["hdd-no-fua/sync-4k/emulate"]; got != results.StatusOK {
		t.Errorf("emulate on a drive without FUA is %q, want it ok", got)
	}
}

func TestStdoutIsDataAndNothingIsSaidWithoutATerminal(t *testing.T) {
	for _, format := range []string{"table", "md", "csv", "json", "html"} {
		o := invoke(tiny("--no-save", "--format", format)...)
		if o.code != exitOK || o.stdout == "" || o.stderr != "" {
			t.Errorf("--format %s: exit %d, %d bytes, stderr %q; want data and silence", format, o.code, len(o.stdout), o.stderr)
		}
	}
}

// tree reads a directory's files by their names.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestARunGivesTheSameBytesOnAnyNumberOfCores(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	args := []string{
		"run", "--device", "nvme-990pro,hdd-7200", "--workload", "sync-4k", "--strategy", "native,none-grouped,none-unsafe",
		"--runs", "4", "--commits", "40", "--cuts", "5", "--format", "json",
	}
	var first map[string]string
	var printed string
	for _, c := range []struct{ procs, jobs int }{{1, 0}, {2, 0}, {1, 3}, {2, 1}, {2, 7}} {
		runtime.GOMAXPROCS(c.procs)
		dir := filepath.Join(t.TempDir(), "run")
		text := must(t, append(args, "--jobs", fmt.Sprint(c.jobs), "--output", dir)...)
		files := tree(t, dir)
		if first == nil {
			first, printed = files, text
		}
		if text != printed || text != files[results.FileRun] {
			t.Errorf("GOMAXPROCS %d, --jobs %d: another document", c.procs, c.jobs)
		}
		for name := range first {
			if files[name] != first[name] {
				t.Errorf("GOMAXPROCS %d, --jobs %d: another %s", c.procs, c.jobs, name)
			}
		}
		if len(files) != len(first) {
			t.Errorf("GOMAXPROCS %d, --jobs %d: %d files, want %d", c.procs, c.jobs, len(files), len(first))
		}
	}
}

func TestAnotherSeedGivesAnotherDocument(t *testing.T) {
	if must(t, tiny("--no-save", "--format", "csv", "--seed", "1")...) == must(t, tiny("--no-save", "--format", "csv", "--seed", "2")...) {
		t.Error("seeds 1 and 2 give the same figures")
	}
}

// The charts that README shows are of the stored run: its cells must be this
// program's. Two strategies of the four are enough to see that a model changed.
func TestTheReferenceRunIsWhatThisProgramFinds(t *testing.T) {
	if testing.Short() || runtime.GOARCH != "amd64" {
		t.Skip("takes some seconds; the last digit of floating point is amd64's")
	}
	text, err := os.ReadFile("../../results/reference/default/run.json")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, c := range document(t, string(text)).Cells {
		want[c.ID] = asJSON(t, c)
	}
	for _, c := range document(t, must(t, "run", "--strategy", "native,emulate", "--no-save", "--format", "json")).Cells {
		if got := asJSON(t, c); got != want[c.ID] {
			t.Errorf("%s is not as in results/reference, which make reference rewrites: now %.600s", c.ID, got)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnOutputDirectoryThatExistsIsRefusedAndUnchanged(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := invoke(tiny("--output", dir)...)
	if o.code != exitUsage || o.stdout != "" || !strings.Contains(o.stderr, "exists: expected a directory that is not there yet") {
		t.Errorf("exit %d, stdout %q, stderr %q", o.code, o.stdout, o.stderr)
	}
	if files := tree(t, dir); len(files) != 1 || files["mine"] != "keep" {
		t.Errorf("the directory was changed: %v", files)
	}
}

func TestWhatCannotBeStoredIsNotRunAndLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	mine := filepath.Join(parent, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{filepath.Join(mine, "run"), filepath.Join(parent, strings.Repeat("n", 256))} { // mine is no directory
		o := invoke(tiny("--output", output)...)
		if o.code != exitUsage || o.stdout != "" || !strings.Contains(o.stderr, "--output: ") {
			t.Errorf("exit %d, stdout %.80q, stderr %q", o.code, o.stdout, o.stderr)
		}
	}
	if files := tree(t, parent); len(files) != 1 {
		t.Errorf("it left %v", files)
	}
}

// TestARunThatDoesNotFitIsStoredElsewhere: what was measured is printed, stored
// where there is room, and its path printed.
func TestARunThatDoesNotFitIsStoredElsewhere(t *testing.T) {
	full, room := t.TempDir(), t.TempDir()
	if err := syscall.Mount("none", full, "tmpfs", 0, "size=16k"); err != nil {
		t.Skip("needs a file system of its own:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(full, 0) })
	t.Setenv("TMPDIR", room)
	dir := filepath.Join(full, "run")
	o := invoke(tiny("--output", dir)...)
	_, rest, _ := strings.Cut(o.stderr, "saved ")
	other, _, ok := strings.Cut(rest, ", as "+dir+" could not take all of it\n")
	if o.code != exitFailure || !ok || !strings.HasPrefix(other, room) || !strings.Contains(o.stderr, "no space left on device") {
		t.Fatalf("exit %d, stderr %q", o.code, o.stderr)
	}
	if got := must(t, "report", other); got != o.stdout {
		t.Errorf("the stored run shows another table:\n%s", got)
	}
}

// TestLeftoversAreReported: of a run that was killed, at the next run beside it.
func TestLeftoversAreReported(t *testing.T) {
	parent := t.TempDir()
	left := filepath.Join(parent, "killed")
	if err := os.Mkdir(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, results.FileUnfinished), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o := invoke(tiny("--output", filepath.Join(parent, "next"))...)
	if o.code != exitOK || !strings.Contains(o.stderr, "note: "+left+" is of a run that was not finished") {
		t.Errorf("exit %d, stderr %q", o.code, o.stderr)
	}
}

func TestTheDefaultDirectoryIsNamedByTimePlanAndContent(t *testing.T) {
	t.Chdir(t.TempDir())
	plan := file(t, "mine.yaml", "devices: [ram]\ncommits: 50\nruns: 2\ncuts: 0\n")
	o := invoke("run", plan)
	dir := strings.TrimSuffix(strings.TrimPrefix(o.stderr, "saved "), "\n")
	match, err := filepath.Match("runs/????????T??????-mine-??????", dir)
	if o.code != exitOK || err != nil || !match {
		t.Fatalf("exit %d, stderr %q", o.code, o.stderr)
	}
	if got := must(t, "report", dir); got != o.stdout {
		t.Errorf("the stored run shows another table:\n%s", got)
	}
}

func TestThresholdsDecideTheExitCode(t *testing.T) {
	for _, c := range []struct {
		threshold string
		code      int
		want      string
	}{
		{"nvme-990pro/sync-4k/emulate:commit.p50<1h", exitOK, ""},
		{"nvme-990pro/sync-4k/emulate:commit.p50>=1ns", exitOK, ""},
		{"nvme-990pro/sync-4k/emulate:durability.commits_lost<=0", exitOK, ""},
		{"nvme-990pro/sync-4k/emulate:rates.commits_per_s > 1", exitOK, ""},
		{"nvme-990pro/sync-4k/emulate:commit.p50<1ns", exitThreshold, "commit.p50 is 1."},
		{"nvme-990pro/sync-4k/none-unsafe:durability.commits_lost<1", exitThreshold, "durability.commits_lost is "},
		{"nvme-990pro/sync-4k/emulate:commit.p999<1h", exitInvalid, "commit.p999 is not known"},
		{"nvme-990pro/sync-4k/emulate:commit.max<1h", exitInvalid, "commit.max has no interval"},
		{"*/*/emulate:ratio<1", exitOK, ""},
		{"nvme-990pro/sync-4k/emulate:commit.p98<1h", exitUsage, "expected a metric, one of commit.mean,"},
		{"nvme-990pro/sync-4k/emulated:commit.p50<1h", exitUsage, "expected one of the plan's cells, such as nvme-990pro/sync-4k/native"},
		{"nvme-990pro/sync-4k/emulate:commit.p50<fast", exitUsage, "expected a duration such as 2ms"},
		{"nvme-990pro/sync-4k/emulate:durability.violations<none", exitUsage, "expected a number"},
		{"commit.p50", exitUsage, "expected CELL:METRIC<VALUE"},
	} {
		o := invoke(tiny("--runs", "6", "--commits", "170", "--no-save", "--threshold", c.threshold)...)
		if o.code != c.code || !strings.Contains(o.stderr, c.want) {
			t.Errorf("%s: exit %d, %q; want exit %d and %q", c.threshold, o.code, o.stderr, c.code, c.want)
		}
		if printed := o.stdout != ""; printed != (c.code != exitUsage) {
			t.Errorf("%s: exit %d with %d bytes of stdout", c.threshold, o.code, len(o.stdout))
		}
	}
}

func TestEveryFailedThresholdIsReported(t *testing.T) {
	o := invoke(tiny("--no-save", "--runs", "6",
		"--threshold", "nvme-990pro/sync-4k/native:commit.mean<1ns",
		"--threshold", "nvme-990pro/sync-4k/native:commit.mean<1h",
		"--threshold", "nvme-990pro/sync-4k/native:commit.p50<1ns")...)
	if o.code != exitThreshold || strings.Count(o.stderr, "threshold ") != 2 {
		t.Errorf("exit %d, %q; want 99 and two thresholds", o.code, o.stderr)
	}
	for text, n := range map[string]int{"threshold nvme-990pro/sync-4k/native:commit.mean<1ns fails: ": 1, "commit.mean<1h holds": 1, " fails: ": 2} {
		if got := strings.Count(strings.Join(strings.Fields(o.stdout), " "), text); got != n {
			t.Errorf("the table says %q %d times, want %d:\n%s", text, got, n, o.stdout)
		}
	}
}

func TestLossesDoNotChangeTheExitCode(t *testing.T) {
	o := invoke(tiny("--no-save", "--strategy", "none-unsafe")...)
	if o.code != exitOK || !strings.Contains(o.stdout, "not durable") {
		t.Errorf("exit %d:\n%s", o.code, o.stdout)
	}
}

func TestARateThatNoStrategySustainsExitsWith5(t *testing.T) {
	o := invoke("run", "--device", "nvme-990pro", "--workload", "sync-4k", "--strategy", "native,emulate", "--rate", "1000/s", "--arrival", "poisson",
		"--commits", "1000", "--runs", "6", "--cuts", "0", "--no-save")
	if o.code != exitInvalid || !strings.Contains(o.stderr, "nvme-990pro/sync-4k: no strategy sustained the rate") {
		t.Errorf("exit %d, %q", o.code, o.stderr)
	}
	if !strings.Contains(o.stdout, "open loop, poisson, ") || !strings.Contains(o.stdout, "/s") {
		t.Errorf("the head does not say what was asked:\n%s", o.stdout)
	}
	for _, word := range []string{"wins", "slower", "faster"} {
		if strings.Contains(o.stdout, word) {
			t.Errorf("overload is ranked: %q in\n%s", word, o.stdout)
		}
	}
	// far beyond, the run ends at a bound on its backlog
	o = invoke("run", "--device", "hdd-7200", "--workload", "sync-4k", "--strategy", "native", "--rate", "10000000/s", "--arrival", "constant",
		"--commits", "100000", "--runs", "1", "--cuts", "0", "--no-save", "--format", "json")
	if c := document(t, o.stdout).Cells[0]; o.code != exitInvalid || c.Status != results.StatusUnsustained || !strings.Contains(c.Reason, "does not keep up") {
		t.Errorf("exit %d, the cell is %q: %q", o.code, c.Status, c.Reason)
	}
}

func TestFlagBeatsEnvironmentBeatsPlanBeatsDefault(t *testing.T) {
	common := []string{"--device", "ram", "--workload", "sync-4k", "--strategy", "native", "--commits", "50", "--cuts", "0", "--no-save", "--format", "json"}
	plan := file(t, "plan.yaml", "runs: 4\nseed: 4\nlink: lan\n")
	runs := func(args ...string) int {
		t.Helper()
		return document(t, must(t, append(append([]string{"run"}, args...), common...)...)).Cells[0].Runs
	}
	if got, want := runs(), bench.Default().Runs; got != want {
		t.Errorf("the default gives %d runs, want %d", got, want)
	}
	if got := runs(plan); got != 4 {
		t.Errorf("the plan gives %d runs, want 4", got)
	}
	t.Setenv("NBDBENCH_RUNS", "3")
	if got := runs(plan); got != 3 {
		t.Errorf("the environment gives %d runs, want 3", got)
	}
	if got := runs(plan, "--runs", "2"); got != 2 {
		t.Errorf("the flag gives %d runs, want 2", got)
	}
}

func TestTheEnvironmentNamesEveryFlag(t *testing.T) {
	t.Setenv("NBDBENCH_NO_SAVE", "true")
	t.Setenv("NBDBENCH_QUEUE_DEPTH", "2")
	t.Setenv("NBDBENCH_DEVICE", "ram,nvme-pm963")
	t.Setenv("NBDBENCH_FORMAT", "json")
	o := invoke("run", "--workload", "sync-4k", "--strategy", "native", "--runs", "1", "--commits", "20", "--cuts", "0")
	if o.code != exitOK || o.stderr != "" {
		t.Fatalf("exit %d, %q", o.code, o.stderr)
	}
	if r := document(t, o.stdout); len(r.Cells) != 2 || r.Cells[0].QueueDepth != 2 {
		t.Errorf("got %d cells, queue depth %d; want 2 and 2", len(r.Cells), r.Cells[0].QueueDepth)
	}
	t.Setenv("NBDBENCH_QUEUE_DEPTH", "deep")
	if o := invoke("run"); o.code != exitUsage || !strings.Contains(o.stderr, `NBDBENCH_QUEUE_DEPTH="deep"`) {
		t.Errorf("exit %d, %q; want 2 and the variable's name", o.code, o.stderr)
	}
}

func TestAPlanFileNamesWhatTheFlagsName(t *testing.T) {
	text, err := os.ReadFile("testdata/plan.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for f := range reflect.TypeFor[bench.Plan]().Fields() {
		key := f.Tag.Get("yaml")
		instead := key == "target" || key == "nbdkit" || key == "target_command" || // of devices
			key == "size" || key == "precondition" || key == "rest" || // of the host's storage alone
			key == "find_max" || key == "over" // of a sweep
		if key != "-" && !instead && !bytes.Contains(text, []byte("\n"+key+": ")) {
			t.Errorf("testdata/plan.yaml lacks %s", key)
		}
	}
	fromFile := must(t, "run", "testdata/plan.yaml", "--no-save", "--format", "json")
	fromFlags := must(t, "run", "--no-save", "--format", "json", "--device", "nvme-990pro,testdata/no-fua.yaml", "--workload", "sync-4k,wal",
		"--strategy", "native,emulate,none-grouped", "--clock", "virtual", "--link", "20us,1GB/s", "--hop", "lan:emulate", "--hop", ":pass", "--queue-depth", "4", "--connections", "1,2",
		"--rate", "20/s", "--arrival", "poisson", "--duration", "10s", "--commits", "60", "--warmup", "20s", "--runs", "6", "--seed", "7", "--cuts", "3", "--jobs", "1",
		"--decide", "commit.p90", "--max-time", "10m", "--threshold", "*/wal/native:commit.p50<1h", "--raw", "--timeout", "40s", "--allow-errors", "0.25")
	if fromFile != fromFlags {
		t.Error("file and flags give different documents")
	}
	load := func(name string) any {
		return map[string]any{"name": name, "queue_depth": 4.0, "arrival": "poisson", "rate": "20/s"}
	}
	want := map[string]any{
		"devices": []any{"nvme-990pro", "testdata/no-fua.yaml"}, "workloads": []any{load("sync-4k"), load("wal")}, "strategies": []any{"native", "emulate", "none-grouped"},
		"clock": "virtual", "link": "20µs,1GB/s", "hops": []any{map[string]any{"link": "lan", "strategy": "emulate"}, map[string]any{"link": "unix", "strategy": "pass"}}, "queue_depth": 4.0, "connections": 1.0, "sweep": map[string]any{"connections": []any{1.0, 2.0}}, "rate": "20/s", "arrival": "poisson",
		"commits": 60.0, "duration_ns": 1e10, "warmup": "20s", "runs": 6.0, "seed": 7.0, "cuts": 3.0,
		"decide": "commit.p90", "max_time_ns": 6e11, "thresholds": []any{"*/wal/native:commit.p50<1h"}, "raw": true, "timeout_ns": 4e10, "allow_errors": 0.25,
	}
	if got := planOf(t, document(t, fromFile)); !reflect.DeepEqual(got, want) {
		t.Errorf("the document's plan is\n%v, want\n%v", got, want)
	}
}

func TestAWorkloadMayBeThereTwiceUnderDifferentLoads(t *testing.T) {
	r := document(t, must(t, "run", "testdata/inline.yaml", "--no-save", "--format", "json"))
	got := map[string]int{}
	for _, c := range r.Cells {
		got[c.ID] = c.QueueDepth
	}
	if want := map[string]int{"ram/sync-4k/native": 1, "ram/sync-4k@8/native": 8}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Moments after the last commit are cut at the end of the run.
func TestEveryCutOfThePlanIsMade(t *testing.T) {
	for _, bound := range [][]string{{"--commits", "3"}, {"--commits", "0", "--duration", "20ms"}} {
		r := document(t, must(t, tiny(append(bound, "--cuts", "40", "--no-save", "--format", "json")...)...))
		for _, c := range r.Cells {
			if got, want := c.Durability.Cuts, int64(40*c.Runs); got != want {
				t.Errorf("%v, %s: %d cuts, want %d", bound, c.ID, got, want)
			}
		}
	}
}

func TestDepthAndRateOfAStreamAreGivenByItsName(t *testing.T) {
	load := file(t, "two.yaml", "name: two\nstreams:\n  - {name: a, transaction: [{op: flush}]}\n  - {name: b, transaction: [{op: read, size: 4k}]}\n")
	run := []string{"run", "--device", "ram", "--strategy", "native", "--workload", load, "--runs", "1", "--commits", "20", "--cuts", "0", "--no-save", "--format", "json"}
	doc := must(t, append(run, "--queue-depth", "a=4,b=2", "--rate", "b=500/s")...)
	for _, want := range []string{`"queue_depth": 6`, `"arrival": "mixed"`, `"rate": "500/s"`} {
		if !strings.Contains(doc, want) {
			t.Errorf("%s is not in\n%s", want, doc)
		}
	}
	for flags, want := range map[string]string{
		"--queue-depth 4":     "expected none for a profile of several streams: say which, as in a=4",
		"--rate 4/s":          "say which, as in a=4",
		"--queue-depth c=4":   `expected a stream of one of the workloads two, got "c"`,
		"--queue-depth a=4,5": `expected STREAM=VALUE, got "5"`,
		"--queue-depth a=x":   `expected a number from 1 to 16384, or a range such as 1..256*2, got "x"`,
		"--queue-depth x":     `expected a number from 1 to 16384`,
		"--rate b=x":          "expected a rate such as 5000/s",
	} {
		if o := invoke(append(run, strings.Fields(flags)...)...); o.code != exitUsage || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: exit %d, %s", flags, o.code, o.stderr)
		}
	}
}
