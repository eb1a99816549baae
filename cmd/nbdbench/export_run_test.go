//go:build linux

package main

import (
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"nbdbench/results"
)

// twoDepths are stored runs of one device and two queue depths, of which the second is
// slower.
func twoDepths(t *testing.T) (slow, fast string) {
	t.Helper()
	dir := t.TempDir()
	for _, depth := range []string{"1", "4"} {
		must(t, "run", "--device", "nvme-990pro", "--workload", "sync-4k", "--strategy", "native,emulate", "--commits", "300", "--cuts", "3",
			"--warmup", "0", "--queue-depth", depth, "--output", filepath.Join(dir, depth))
	}
	return filepath.Join(dir, "1"), filepath.Join(dir, "4")
}

// TestBenchstatReadsTheExport, and agrees with compare in direction and size.
func TestBenchstatReadsTheExport(t *testing.T) {
	benchstat := os.Getenv("NBDBENCH_BENCHSTAT")
	if benchstat == "" {
		t.Skip("make benchstat runs this with golang.org/x/perf's program")
	}
	before, after := twoDepths(t)
	var files []string
	for _, run := range []string{before, after} {
		path := filepath.Join(t.TempDir(), "bench.txt")
		must(t, "export", "benchfmt", run, "--output", path)
		files = append(files, path)
	}
	out, err := exec.Command(benchstat, "-format", "csv", files[0], files[1]).Output()
	if err != nil {
		t.Fatal(err)
	}
	x, y := load(t, before), load(t, after)
	d := results.Compare(x, y)
	for _, r := range d.Rows {
		if r.Metric != "commit.mean" {
			continue
		}
		strategy := r.Cell[strings.LastIndex(r.Cell, "/")+1:]
		m := regexp.MustCompile(`(?m)^Commit/device=nvme-990pro/workload=sync-4k/strategy=` + strategy + `,.*?,([+-][\d.]+)%`).FindStringSubmatch(string(out))
		if m == nil {
			t.Fatalf("benchstat does not see a change of %s:\n%s", r.Cell, out)
		}
		percent, _ := strconv.ParseFloat(m[1], 64)
		if got, want := 1+percent/100, r.Ratio; got/want > 1.05 || want/got > 1.05 {
			t.Errorf("%s: benchstat has %.4g, compare %.4g", r.Cell, got, want)
		}
	}
}

func load(t *testing.T, dir string) *results.Run {
	t.Helper()
	r, err := results.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOpenMetricsOfARun: promtool reads it, and its histogram counts every commit.
func TestOpenMetricsOfARun(t *testing.T) {
	run, _ := twoDepths(t)
	got := must(t, "export", "openmetrics", run)
	for _, want := range []string{
		`nbdbench_commit_latency_seconds_bucket{device="nvme-990pro",workload="sync-4k",strategy="native",le="+Inf"} 2100`,
		`nbdbench_commit_latency_seconds_count{device="nvme-990pro",workload="sync-4k",strategy="native"} 2100`,
		`nbdbench_requests_total{device="nvme-990pro",workload="sync-4k",strategy="native",op="write_fua"} 2100`,
		`nbdbench_power_cuts_total{device="nvme-990pro",workload="sync-4k",strategy="emulate"} 21`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("expected %s in\n%s", want, got)
		}
	}
	if !strings.HasSuffix(got, "\n# EOF\n") {
		t.Error("OpenMetrics ends with # EOF")
	}
	if os.Getenv("NBDBENCH_PROMETHEUS") == "" {
		return // make prometheus has promtool read it, too
	}
	c := exec.Command("promtool", "check", "metrics")
	c.Stdin = strings.NewReader(got)
	const lint = 3 // the exit code for names that are not to its taste
	if out, err := c.CombinedOutput(); err != nil && c.ProcessState.ExitCode() != lint {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// TestLongCSVOfARun has every figure of every run, and those of the cells.
func TestLongCSVOfARun(t *testing.T) {
	run, _ := twoDepths(t)
	rows, err := csv.NewReader(strings.NewReader(must(t, "export", "csv", run))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	doc := load(t, run)
	found := map[string]string{}
	for _, r := range rows[1:] {
		found[r[0]+" "+r[6]+" "+r[7]] = r[8]
	}
	for _, c := range doc.Cells {
		if got := found[c.ID+"  commit.p90_ns"]; got != strconv.FormatInt(*c.Commit.P90, 10) {
			t.Errorf("%s: p90 is %s", c.ID, got)
		}
		for i := range c.PerRun {
			if got := found[c.ID+" "+strconv.Itoa(i)+" commit.p90_ns"]; got != strconv.FormatInt(*c.PerRun[i].Commit.P90, 10) {
				t.Errorf("%s, run %d: p90 is %s", c.ID, i, got)
			}
		}
	}
}
