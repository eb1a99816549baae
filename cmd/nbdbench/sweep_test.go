package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"nbdbench/results"
)

// TestAStoredSweepRunsAgainByteForByte: a grid and a search, from what is stored.
func TestAStoredSweepRunsAgainByteForByte(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	files, device, _, workload := ownFiles(t)
	plan := file(t, "plan.yaml", "devices: ["+device+", nvme-980]\nworkloads: ["+workload+"]\nstrategies: [native, none]\ncommits: 30\nruns: 2\ncuts: 1\nwarmup: 0\n"+
		"arrival: poisson\nsweep: {rate: 50/s..100/s*2, device.ssd.flush_base: [1ms, 2ms], link: unix}\n")
	search := []string{"--device", device, "--workload", workload, "--strategy", "native,none", "--commits", "30", "--runs", "2", "--cuts", "1", "--warmup", "0", "--queue-depth", "0", "--find-max", "commit.p50<9ms", "--over", "queue_depth"}
	first := map[string]string{"grid": filepath.Join(t.TempDir(), "1"), "search": filepath.Join(t.TempDir(), "2")}
	must(t, "run", plan, "--output", first["grid"])
	must(t, append([]string{"run", "--output", first["search"]}, search...)...)
	if err := os.RemoveAll(files); err != nil {
		t.Fatal(err)
	}
	for name, dir := range first {
		runtime.GOMAXPROCS(1)
		again := filepath.Join(t.TempDir(), "again")
		must(t, "run", filepath.Join(dir, results.FileRun), "--jobs", "1", "--output", again)
		want, got := storedFiles(t, dir), storedFiles(t, again)
		if len(got) != len(want) || len(want) < 4 {
			t.Errorf("%s: %d files, want %d", name, len(got), len(want))
		}
		for file, text := range want {
			if got[file] != text {
				t.Errorf("%s: %s is not as in the first run", name, file)
			}
		}
		if report := must(t, "report", dir); report != must(t, "report", again) || !strings.Contains(report, map[string]string{"grid": "sweep of rate 50/s, 100/s by ssd.flush_base 1ms, 2ms", "search": "highest queue depth"}[name]) {
			t.Errorf("%s: the report is\n%s", name, report)
		}
	}
	doc := document(t, string(read(t, filepath.Join(first["search"], results.FileRun))))
	id := doc.Cells[0].ID
	if !strings.Contains(id, "/native@queue_depth=") {
		t.Fatalf("the first cell is %s", id)
	}
	must(t, "export", "dm-log-writes", first["search"], "--cell", id, "--run", "1", "--output", filepath.Join(t.TempDir(), "log"))
}

func TestARateThatNoStrategySustainsIsAPointOfASweep(t *testing.T) {
	args := []string{"run", "--no-save", "--device", "hdd-7200", "--workload", "sync-4k", "--strategy", "native,none", "--runs", "6", "--commits", "300", "--cuts", "0", "--rate"}
	if o := invoke(append(args, "50/s,5000/s")...); o.code != exitOK || !strings.Contains(o.stdout, "no strategy keeps up at 5000/s") {
		t.Errorf("exit %d, %s\n%s", o.code, o.stderr, o.stdout)
	}
	if o := invoke(append(args, "4000/s,5000/s")...); o.code != exitInvalid || !strings.Contains(o.stderr, "hdd-7200/sync-4k: no strategy sustained the rate") {
		t.Errorf("exit %d, %s", o.code, o.stderr)
	}
}

func TestFlagsOfSweepsAreRefused(t *testing.T) {
	for flags, want := range map[string]string{
		"--queue-depth 1..4":                                      "expected a range with its step, such as 1..256*2 or 1..64+8",
		"--queue-depth 1,,4":                                      "expected a number from 1 to 16384",
		"--connections 0":                                         "--connections: expected a number from 1 to 1024",
		"--connections 1..2000+1":                                 `--connections: expected a number from 1 to 1024, got "2000"`,
		"--link unix,fast":                                        "--link: expected none, unix, lan, wan or LATENCY,BANDWIDTH",
		"--link 1ms..10us*2,1GB/s":                                `--link: latency of link "1ms..10us*2": expected a range that rises`,
		"--rate 1/s..9/s":                                         "expected a range with its step",
		"--queue-depth 1..1024+1":                                 "expected at most 256 values",
		"--queue-depth 1..200+1 --connections 1..200+1":           "expected at most 4096 points in the grid, got 40000",
		"--find-max commit.p99<2 --over rate":                     "--find-max: column 12: expected a duration above 0 such as 2ms",
		"--find-max commit.p99 --over rate":                       "--find-max: column 11: expected METRIC<VALUE",
		"--find-max commit.p99<2ms":                               "over: expected queue_depth or rate",
		"--over rate":                                             "over: expected find_max beside it",
		"--find-max commit.p99<2ms --over depth":                  `over: expected queue_depth or rate, got "depth"`,
		"--find-max commit.p99<2ms --over rate --queue-depth 1,2": "find_max: expected none beside a sweep",
	} {
		if o := invoke(append([]string{"run", "--no-save"}, strings.Fields(flags)...)...); o.code != exitUsage || o.stdout != "" || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: exit %d, %s", flags, o.code, o.stderr)
		}
	}
}
