package main

import (
	"strings"
	"testing"
)

// TestCrashFindsThePluginThatIsWrong, and its replay shows it again.
func TestCrashFindsThePluginThatIsWrong(t *testing.T) {
	out := invoke("crash", "--device", "go:lossy", "--workload", "sync-4k", "--strategy", "native", "--cuts", "10")
	_, replay, found := strings.Cut(out.stdout, "  nbdbench crash ")
	if out.code != exitDeviation || !found {
		t.Fatalf("exit %d: %s", out.code, out.stdout)
	}
	replay, _, _ = strings.Cut(replay, "\n")
	if again := invoke(append([]string{"crash"}, strings.Fields(replay)...)...); again.code != exitDeviation || !strings.Contains(again.stdout, "lost-fua") {
		t.Errorf("%s: exit %d: %s", replay, again.code, again.stdout)
	}
	if out := invoke("crash", "--device", "go:memory", "--workload", "sync-4k", "--strategy", "native", "--cuts", "10"); out.code != 0 {
		t.Errorf("go:memory: exit %d: %s", out.code, out.stdout)
	}
	if out := invoke("crash", "--device", "go:file?path=/dev/null"); out.code != exitUsage || !strings.Contains(out.stderr, "cannot be cut") {
		t.Errorf("go:file: exit %d: %s", out.code, out.stderr)
	}
}
