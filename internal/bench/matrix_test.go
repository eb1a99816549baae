package bench

import (
	"slices"
	"strings"
	"testing"

	"nbdbench/devices/catalog"
	"nbdbench/workloads"
)

// TestEveryWorkloadRunsOnEveryDeviceWithoutAWarning but those about so small a sample: a
// device that cannot carry a workload out, counts that do not add up, requests that fail
// and commits that are lost would each be one. Devices that lie are here to lose commits.
func TestEveryWorkloadRunsOnEveryDeviceWithoutAWarning(t *testing.T) {
	if testing.Short() {
		t.Skip("1,540 cells take some seconds, and many more under the race detector")
	}
	small := []string{"1 runs: an interval over runs", "p99 needs at least 1000 "}
	lie := []string{"lying", "plp-failed"}
	const trims = "mixed-geometry" // a device without TRIM refuses it, before anything is run
	all := slices.DeleteFunc(workloads.List(), func(w string) bool { return w == trims })
	p := plan(strings.Join(catalog.List(), " "), strings.Join(all, " "), "none")
	p.Runs, p.Commits, p.Cuts = 1, 20, 1
	q := plan("nvme-990pro nvme-pm963 nvme-970pro", trims, "none")
	q.Runs, q.Commits, q.Cuts = p.Runs, p.Commits, p.Cuts
	cells := mustRun(t, p).Cells
	if want := len(catalog.List()) * len(all); len(cells) != want || want < 1000 {
		t.Errorf("%d cells, want %d", len(cells), want)
	}
	for _, c := range append(cells, mustRun(t, q).Cells...) {
		if c.Status != "ok" {
			t.Errorf("%s is %s: %s", c.ID, c.Status, c.Reason)
			continue
		}
		for _, w := range c.Warnings {
			if !slices.ContainsFunc(small, func(s string) bool { return strings.HasPrefix(w, s) }) {
				t.Errorf("%s: %s", c.ID, w)
			}
		}
		if d := c.Durability; d.Measured() && !d.LostNothing() && !slices.Contains(lie, c.Device) {
			t.Errorf("%s: %+v", c.ID, *d)
		}
	}
}
