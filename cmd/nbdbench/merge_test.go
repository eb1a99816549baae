//go:build linux

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nbdbench/results"
)

// sharded is a plan of these devices that is done soon, and has commits, cuts, several
// streams and, with the first one, a threshold.
func sharded(devices string, more ...string) []string {
	args := append([]string{
		"run", "--device", devices, "--workload", "sync-4k,noisy-neighbours", "--runs", "6", "--commits", "60", "--cuts", "5", "--raw", "--warmup", "0",
	}, more...)
	if strings.Contains(devices, "nvme-990pro") {
		args = append(args, "--threshold", "nvme-990pro/sync-4k/emulate:lost_per_cut==0")
	}
	if !slices.Contains(more, "--strategy") {
		args = append(args, "--strategy", "native,emulate,none-unsafe")
	}
	return args
}

const bothDevices = "nvme-990pro,nvme-pm963"

// sameTree compares two directories, file by file.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	names := map[string]bool{}
	for _, dir := range []string{want, got} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				rel, _ := filepath.Rel(dir, path)
				names[rel] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !names[results.FileRun] || !names[results.FileRaw] {
		t.Errorf("expected a run directory with single commits, got %v", names)
	}
	for name := range names {
		a, err1 := os.ReadFile(filepath.Join(want, name))
		b, err2 := os.ReadFile(filepath.Join(got, name))
		if err1 != nil || err2 != nil || string(a) != string(b) {
			t.Errorf("%s differs: %d and %d bytes, %v, %v", name, len(a), len(b), err1, err2)
		}
	}
}

// TestShardsMergeToOneRun: sixteen shards come to the directory and the output of one
// run, byte for byte, and fifteen to nothing.
func TestShardsMergeToOneRun(t *testing.T) {
	t.Chdir(t.TempDir())
	want := must(t, sharded(bothDevices, "--output", "whole")...)
	args := []string{"merge"}
	for i := 16; i > 0; i-- { // in any order
		dir := fmt.Sprintf("shard%d", i)
		if out := must(t, sharded(bothDevices, "--output", dir, "--shard", fmt.Sprintf("%d/16", i))...); out != "" {
			t.Errorf("a shard prints\n%s", out)
		}
		args = append(args, dir)
	}
	if got := must(t, append(args, "--output", "merged")...); got != want {
		t.Errorf("merge prints\n%s\nand run\n%s", got, want)
	}
	sameTree(t, "whole", "merged")
	for _, c := range []struct {
		args []string
		want string
	}{
		{append(args[:2:2], args[5:]...), "missing: 13-15"},
		{append(args[:5:5], args[6:]...), "missing: 12"},
		{append(args[:17:17], "shard3"), "shard 3 is given twice"},
		{append(args[:17:17], "whole"), "expected shards only"},
	} {
		o := invoke(append(c.args, "--output", "none")...)
		if _, err := os.Stat("none"); o.code != exitUsage || !strings.Contains(o.stderr, c.want) || err == nil {
			t.Errorf("%v: exit code %d, %s", c.args, o.code, o.stderr)
		}
	}
}

// TestRunsOfAPartitionMergeToOneRun: what was run device by device, and strategy by
// strategy, is as one run of all.
func TestRunsOfAPartitionMergeToOneRun(t *testing.T) {
	t.Chdir(t.TempDir())
	want := must(t, sharded(bothDevices, "--output", "whole")...)
	must(t, sharded("nvme-990pro", "--output", "a")...)
	must(t, sharded("nvme-pm963", "--strategy", "native,emulate", "--output", "b")...)
	must(t, sharded("nvme-pm963", "--strategy", "none-unsafe", "--output", "c")...)
	if got := must(t, "merge", "a", "b", "c", "--output", "merged"); got != want {
		t.Errorf("merge prints\n%s\nand run\n%s", got, want)
	}
	sameTree(t, "whole", "merged")
	must(t, sharded("nvme-pm963", "--strategy", "none-unsafe", "--seed", "2", "--output", "d")...)
	for _, c := range []struct{ args, want string }{
		{"a b", "missing: nvme-pm963/sync-4k/none-unsafe, nvme-pm963/noisy-neighbours/none-unsafe"},
		{"a b c b", "is in b/run.json and in b/run.json"},
		{"a b d", "seed is 1 in one and 2 in the other"},
		{"a nope", "expected a run directory"},
	} {
		o := invoke(append(append([]string{"merge"}, strings.Fields(c.args)...), "--output", "none")...)
		if o.code != exitUsage || !strings.Contains(o.stderr, c.want) {
			t.Errorf("merge %s: exit code %d, %s", c.args, o.code, o.stderr)
		}
	}
}

// TestMergeOfHosts: runs in real time of different machines need a word, and are marked.
func TestMergeOfHosts(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, s := range []string{"native", "none"} {
		must(t, "run", "--clock", "real", "--device", "ram", "--workload", "sync-4k", "--strategy", s, "--runs", "1", "--duration", "50ms", "--warmup", "0", "--output", s)
	}
	must(t, "merge", "native", "none", "--output", "same")
	path := filepath.Join("none", results.FileRun)
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(doc), `"kernel": "`, `"kernel": "other-`, 1)
	if err := os.WriteFile(path, []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	if o := invoke("merge", "native", "none", "--output", "refused"); o.code != exitUsage || !strings.Contains(o.stderr, "--allow-hosts") {
		t.Errorf("exit code %d, %s", o.code, o.stderr)
	}
	o := invoke("merge", "native", "none", "--output", "both", "--allow-hosts")
	merged, err := results.Load("both")
	if err != nil || o.code != exitOK {
		t.Fatal(err, o)
	}
	for i, want := range []bool{false, true} {
		if got := strings.Contains(strings.Join(merged.Cells[i].Warnings, "\n"), "another machine"); got != want {
			t.Errorf("%s: %v", merged.Cells[i].ID, merged.Cells[i].Warnings)
		}
	}
}

// TestShardFlags: what no shard can be is refused before anything runs.
func TestShardFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	for args, want := range map[string]string{
		"--shard 0/4 --output x":               "expected a shard from 1 to 4, got 0",
		"--shard 5/4 --output x":               "expected a shard from 1 to 4, got 5",
		"--shard 1 --output x":                 "expected I/N such as 1/16",
		"--shard 1/4":                          "expected --output",
		"--shard 1/4 --output x --format json": "--format: expected none with --shard",
		"--shard 1/4 --output x --clock real":  "expected virtual time",
		"--shard 1/2 --output x --sensitivity": "expected no sensitivity",
		"--shard 1/2 --output x --find-max commit.p50<1ms --over queue_depth": "expected no find_max",
	} {
		o := invoke(append([]string{"run", "--device", "ram"}, strings.Fields(args)...)...)
		if _, err := os.Stat("x"); o.code != exitUsage || !strings.Contains(o.stderr, want) || err == nil {
			t.Errorf("%s: exit code %d, %s", args, o.code, o.stderr)
		}
	}
}
