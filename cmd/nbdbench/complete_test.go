//go:build linux

package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestValuesAreCompleted: each flag and argument of which the values are known offers
// them, and only what begins as typed.
func TestValuesAreCompleted(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, "run", "--device", "ram", "--workload", "sync-4k", "--strategy", "native", "--runs", "1", "--commits", "5", "--cuts", "0",
		"--output", filepath.Join(runsDir, "x"), "--name", "kept")
	for _, c := range []struct {
		line string
		want string // one of the values
		not  string
	}{
		{"run --device nvme-99", "nvme-990pro", "ram"},
		{"run --device ram,hdd-72", "ram,hdd-7200", "ram,ram"},
		{"run --device ram,", "ram,hdd-7200", "ram,ram"},
		{"run --workload sync", "sync-4k", "wal"},
		{"run --strategy native,em", "native,emulate-grouped", "native,native"},
		{"run --link l", "lan", "wan"},
		{"run --clock ", "virtual", ""},
		{"run --format ", "json", ""},
		{"run --arrival p", "poisson", "constant"},
		{"run --decide commit.p", "commit.p99", "commit.mean"},
		{"run --via ", "kernel", ""},
		{"crash --device a", "all", "ram"},
		{"crash --workload a", "all", "wal"},
		{"crash --strategy n", "native", "emulate"},
		{"crash --format ", "table", ""},
		{"devices show n", "nvme-990pro", "ram"},
		{"devices check hdd", "hdd-7200", "ram"},
		{"devices check --format ", "json", ""},
		{"workloads show w", "wal", "sync-4k"},
		{"serve nvme-", "nvme-990pro", "ram"},
		{"serve ram --strategy f", "force", "native"},
		{"serve ram --stop ", "power-cut", ""},
		{"serve ram --log-format ", "json", ""},
		{"attach r", "ram", "hdd-7200"},
		{"report l", "latest", "kept"},
		{"report k", "kept", "latest"},
		{"report x --chart-format ", "png", ""},
		{"report x --format ", "html", ""},
		{"compare --baseline k", "kept", "latest"},
		{"compare --match ", "device", ""},
		{"runs rm k", "kept", "latest"},
	} {
		fields := strings.Split(c.line, " ")
		got := strings.Split(must(t, append([]string{cobra.ShellCompNoDescRequestCmd}, fields...)...), "\n")
		if !slices.Contains(got, c.want) || c.not != "" && slices.Contains(got, c.not) {
			t.Errorf("%s: got %q, expected %q and not %q", c.line, got, c.want, c.not)
		}
	}
}

// TestWhatWasMeantIsNamed of a misspelt word.
func TestWhatWasMeantIsNamed(t *testing.T) {
	for line, want := range map[string]string{
		"rnu":                       "(did you mean run?)",
		"runs lst":                  "(did you mean list?)",
		"run --devcie ram":          "(did you mean --device?)",
		"run --device nvme990pro":   "(did you mean nvme-990pro?)",
		"run --workload sync4k":     "(did you mean sync-4k?)",
		"run --strategy nativ":      "(did you mean native?)",
		"devices show hdd7200":      "(did you mean hdd-7200?)",
		"run --device quite-other":  "",
		"run --strategy \x1bnative": "(did you mean native?)",
	} {
		o := invoke(strings.Split(line, " ")...)
		if o.code != exitUsage || want != "" && !strings.Contains(o.stderr, want) || want == "" && strings.Contains(o.stderr, "did you mean") {
			t.Errorf("%s: exit code %d, %s", line, o.code, o.stderr)
		}
	}
}
