package bench

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"nbdbench/results"
	"nbdbench/workloads"
)

const exampleDir = "../../docs/testdata/"

// probed runs the example's workload on the drive, and stores its log with the
// example's profile in a directory of its own.
func probed(t *testing.T) (profile string) {
	t.Helper()
	p := plan("nvme-990pro", "sync-4k", "pass")
	p.Workloads = []workloads.Ref{{Name: exampleDir + "probe.yaml"}}
	p.Commits = 2000
	dir := filepath.Join(t.TempDir(), "run")
	if err := results.Save(dir, mustRun(t, p)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(exampleDir + "empirical.yaml")
	if err != nil {
		t.Fatal(err)
	}
	profile = filepath.Join(dir, "empirical.yaml")
	if err := os.WriteFile(profile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return profile
}

func TestADeviceOfMeasuredLatenciesHasThePercentilesOfTheDeviceThatWasMeasured(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k", "native none none-unsafe")
	p.Devices = append(p.Devices, probed(t))
	p.Commits, p.Runs, p.Seed = 5000, 6, 77
	doc := mustRun(t, p)
	for _, strategy := range p.Strategies {
		was := cellOf(t, doc, "nvme-990pro/sync-4k/"+strategy).Commit
		is := cellOf(t, doc, "measured-990pro/sync-4k/"+strategy).Commit
		for _, q := range []struct {
			name  string
			a, b  *int64
			bound float64
		}{{"p50", is.P50, was.P50, 0.03}, {"p99", is.P99, was.P99, 0.03}} {
			got := float64(*q.a)/float64(*q.b) - 1
			t.Logf("%s, %s: %d against %d ns, %+.2f%%", strategy, q.name, *q.a, *q.b, 100*got)
			if math.Abs(got) > q.bound {
				t.Errorf("%s, %s is %+.2f%% off", strategy, q.name, 100*got)
			}
		}
	}
}

// The example in the documentation is what its words say it is.
func TestTheLogOfTheExampleIsWhatTheCommandWrites(t *testing.T) {
	got, err := os.ReadFile(filepath.Join(filepath.Dir(probed(t)), results.FileLog))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(exampleDir + "latency.hlog")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%slatency.hlog is not what the run in %sempirical.yaml writes", exampleDir, exampleDir)
	}
}
