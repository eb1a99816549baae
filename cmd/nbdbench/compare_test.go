//go:build linux

package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// twoRuns are runs of one device each: a fast drive, and a disk.
func twoRuns(t *testing.T) (fast, slow string) {
	t.Helper()
	dir := t.TempDir()
	for _, device := range []string{"nvme-990pro", "hdd-7200"} {
		must(t, "run", "--device", device, "--workload", "sync-4k", "--strategy", "native,none-unsafe",
			"--runs", "6", "--commits", "60", "--cuts", "0", "--output", filepath.Join(dir, device), "--format", "csv")
	}
	return filepath.Join(dir, "nvme-990pro"), filepath.Join(dir, "hdd-7200")
}

func TestCompareNamesWhatChanged(t *testing.T) {
	fast, slow := twoRuns(t)
	table := must(t, "compare", fast, slow, "--match", "device")
	for _, want := range []string{"old: " + fast, "new: " + slow, `plan: devices: ["nvme-990pro"], then ["hdd-7200"]`, "sync-4k/native", "slower"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if md := must(t, "compare", fast, fast, "--format", "md"); !strings.Contains(md, "| equivalent |") {
		t.Errorf("a run and itself:\n%s", md)
	}
	var doc struct {
		Schema      string
		Differences []string
		Rows        []struct{ Cell, Metric, Verdict string }
	}
	if err := json.Unmarshal([]byte(must(t, "compare", slow, fast, "--match", "device", "--format", "json")), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != "nbdbench/compare/v1" || len(doc.Differences) == 0 || len(doc.Rows) != 6 || doc.Rows[0].Verdict != "faster" {
		t.Errorf("got %+v", doc)
	}
}

func TestCompareExitsWith99OnlyOnARegression(t *testing.T) {
	fast, slow := twoRuns(t)
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{fast + " " + slow, 0, ""},
		{fast + " " + slow + " --max-regress commit.p50=5%", exitThreshold, "regressed: commit.p50 of sync-4k/native is +"},
		{slow + " " + fast + " --max-regress commit.p50=5%", 0, ""},
		{fast + " " + fast + " --max-regress commit.p99=0%", 0, "not decided: no cell has commit.p99"},
		{fast + " " + fast + " --max-regress ops.p99=0%", exitUsage, "expected a metric of the cells, one of commit.mean"},
	} {
		o := invoke(strings.Fields("compare --match device " + c.args)...)
		if o.code != c.code || !strings.Contains(o.stderr, c.says) || c.says == "" && strings.Contains(o.stderr, "regressed") {
			t.Errorf("%s: exit %d, want %d with %q\n%s", c.args, o.code, c.code, c.says, o.stderr)
		}
	}
}

func TestCompareRefusesWhatItCannotCompare(t *testing.T) {
	fast, slow := twoRuns(t)
	for args, want := range map[string]string{
		fast + " " + slow:                   "have no cell in common: the first has nvme-990pro/sync-4k/native, nvme-990pro/sync-4k/none-unsafe",
		fast:                                "expected two runs or more",
		fast + " /nowhere":                  "/nowhere",
		fast + " " + fast + " --format xml": "--format: expected table, md, csv, json or html",
		fast + " " + fast + " " + fast + " --format csv":     "--format csv: expected two runs, got 3",
		fast + " " + fast + " --match shape":                 "--match: expected id or device",
		fast + " " + fast + " --max-regress commit.p99":      "--max-regress: expected METRIC=PERCENT",
		fast + " " + fast + " --max-regress commit.p99=5":    "--max-regress: expected METRIC=PERCENT",
		fast + " " + fast + " --max-regress commit.p99=-5%":  "--max-regress: expected METRIC=PERCENT",
		fast + " " + fast + " --max-regress commit.p99=NaN%": "--max-regress: expected METRIC=PERCENT",
		fast + " " + fast + " --max-regress latency=5%":      "--max-regress: expected one of commit.mean, commit.p50",
		runOfTwoDevices(t) + " " + fast + " --match device":  "expected a run of one device",
	} {
		if o := invoke(strings.Fields("compare " + args)...); o.code != exitUsage || o.stdout != "" || !strings.Contains(o.stderr, want) {
			t.Errorf("compare %s: exit %d, want %d with %q\n%s%s", args, o.code, exitUsage, want, o.stdout, o.stderr)
		}
	}
}

// runOfTwoDevices is the stored run of other tests, which has two devices.
func runOfTwoDevices(t *testing.T) string {
	t.Helper()
	dir, _ := stored(t)
	return dir
}
