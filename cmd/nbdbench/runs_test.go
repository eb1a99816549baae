//go:build linux

package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunsAreFoundByNameAndRemoved: run stores names and labels beside the document,
// by which report, compare and runs find it.
func TestRunsAreFoundByNameAndRemoved(t *testing.T) {
	t.Chdir(t.TempDir())
	small := []string{"run", "--device", "ram", "--workload", "sync-4k", "--strategy", "native,none", "--runs", "2", "--commits", "20", "--cuts", "0"}
	first := must(t, append(small, "--output", filepath.Join(runsDir, "one"), "--name", "base", "--note", "before", "--label", "b=2", "--label", "a=1")...)
	second := must(t, append(small, "--output", filepath.Join(runsDir, "two"))...)
	if first != second {
		t.Error("labels change what run prints")
	}
	if got := must(t, "report", "base"); got != first {
		t.Errorf("report by name prints\n%s", got)
	}
	must(t, "report", "latest")
	list := must(t, "runs", "list")
	for _, want := range []string{filepath.Join(runsDir, "one") + "  base", "a=1,b=2", "complete"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q:\n%s", want, list)
		}
	}
	if got := must(t, "runs", "show", "base"); !strings.Contains(got, "before") || !strings.Contains(got, "ram, sync-4k") {
		t.Errorf("show prints\n%s", got)
	}
	var doc struct {
		Runs []runJSON `json:"runs"`
	}
	if err := json.Unmarshal([]byte(must(t, "runs", "list", "--format", "json")), &doc); err != nil || len(doc.Runs) != 2 || doc.Runs[0].Cells != 2 {
		t.Errorf("in JSON: %v, %+v", err, doc)
	}
	if got := must(t, "compare", "--baseline", "base", filepath.Join(runsDir, "two")); !strings.Contains(got, "old: base") {
		t.Errorf("compare prints\n%s", got)
	}
	for _, c := range []struct {
		args string
		want string
	}{
		{"report nope", "expected a run directory, a run's name"},
		{"compare base", "expected two runs or more"},
		{"runs rm base nope", "nope: expected a run directory"},
		{"runs list --format x", "--format: expected table or json"},
		{"run --no-save --name x", "expected a run that is stored"},
		{"run --name latest", "latest stands for the newest run"},
		{"run --label x", "--label: expected KEY=VALUE"},
		{"run --label x=1 --label x=2", "x is given twice"},
	} {
		if o := invoke(strings.Fields(c.args)...); o.code != exitUsage || !strings.Contains(o.stderr, c.want) {
			t.Errorf("%s: exit code %d, %s", c.args, o.code, o.stderr)
		}
	}
	must(t, "runs", "rm", "base", filepath.Join(runsDir, "one"), "latest")
	if got := must(t, "runs", "list"); strings.Count(got, "\n") != 1 {
		t.Errorf("after rm there are\n%s", got)
	}
	if o := invoke("report", "latest"); o.code != exitUsage || !strings.Contains(o.stderr, "found none") {
		t.Errorf("without runs: exit code %d, %s", o.code, o.stderr)
	}
}
