//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
)

// TestDryRun: a plan in numbers, and nothing is run or stored.
func TestDryRun(t *testing.T) {
	t.Chdir(t.TempDir())
	got := must(t, "run", "--dry-run", "--workload", "sync-4k", "--device", "nvme-990pro,ram", "--strategy", "native,none")
	for _, want := range []string{
		"nvme-990pro   sync-4k      2    14   28,000   ~42,000", // a FUA write; a write and a FLUSH
		"all                4    28   56,000   ~84,000",
		"expected time: about ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("expected %q in\n%s", want, got)
		}
	}
	got = must(t, "run", "--dry-run", "--device", "ram", "--workload", "sync-4k", "--strategy", "native,none", "--clock", "real", "--runs", "3", "--duration", "2s", "--warmup", "1s")
	if want := "expected time: 18s, besides"; !strings.Contains(got, want) {
		t.Errorf("expected %q in\n%s", want, got)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("a dry run leaves %v, %v", entries, err)
	}
	if o := invoke("run", "--dry-run", "--format", "json"); o.code != exitUsage {
		t.Errorf("exit code %d", o.code)
	}
}
