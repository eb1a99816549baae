package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/workloads"
)

// TestFitWritesAProfileThatRuns, and prints both sides.
func TestFitWritesAProfileThatRuns(t *testing.T) {
	t.Chdir(t.TempDir())
	var csv strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&csv, "%d,host,0,%s,%d,4096,100\n", 128166372003061629+i*5000, []string{"Read", "Write"}[i%2], i*7919%10000*4096)
	}
	if err := os.WriteFile("msr.csv", []byte(csv.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "import", "csv-trace", "--layout", "msr", "--durable", "all", "msr.csv", "--output", "trace.gz")
	out := must(t, "workloads", "fit", "trace.gz", "--output", "mine.yaml")
	for _, want := range []string{"trace   profile", "write-fua", "hottest tenth", "inter-arrival CV"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	p, err := workloads.Open("./mine.yaml")
	if err != nil || p.Name != "fitted-trace" {
		t.Fatalf("%s: %v", p.Name, err)
	}
	must(t, "run", "--device", "ram", "--workload", "./mine.yaml", "--strategy", "none", "--runs", "1", "--commits", "50", "--warmup", "0", "--cuts", "0", "--no-save")
}

func TestFitRefusesWhatIsNoTrace(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("x.gz", []byte("not a store"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"workloads", "fit", "x.gz", "--output", "y.yaml"}, {"workloads", "fit", "none.gz", "--output", "y.yaml"}, {"workloads", "fit", "x.gz"}} {
		if o := invoke(args...); o.code != exitUsage || o.stderr == "" {
			t.Errorf("%v: exit code %d, %q", args, o.code, o.stderr)
		}
	}
	if left, _ := filepath.Glob("*"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
