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
	p := plan(strings.Join(catalog.List(), " "), strings.Join(workloads.List(), " "), "none")
	p.Runs, p.Commits, p.Cuts = 1, 20, 1
	doc := mustRun(t, p)
	if want := len(catalog.List()) * len(workloads.List()); len(doc.Cells) != want || want < 1000 {
		t.Errorf("%d cells, want %d", len(doc.Cells), want)
	}
	for _, c := range doc.Cells {
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
