package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nbdbench/sim"
)

// TestWhatIsAtRiskOnEachDevice keeps the table of docs/FINDINGS.md.
func TestWhatIsAtRiskOnEachDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds, under the race detector a minute")
	}
	c := Default()
	c.Devices, c.Workloads = []string{all}, []string{"wal-noisy"}
	c.Strategies = []string{"native", "emulate", "none", "none-unsafe"}
	c.Cuts, c.Commits = 16, 100
	table := []string{
		"| device | strategy | bytes exposed, at most | commits lost a cut | commits at risk a cut | for as long as |",
		"| --- | --- | ---: | ---: | ---: | ---: |",
	}
	for _, r := range check(t, c).Cells {
		if r.Status != "ok" {
			table = append(table, fmt.Sprintf("| %s | %s | %s | | | |", r.Device, r.Strategy, r.Reason))
			continue
		}
		d := &r.Durability
		each := func(n int64) string {
			if n == 0 {
				return "0"
			}
			return fmt.Sprintf("%.1f", float64(n)/float64(d.Cuts))
		}
		window := "0"
		if d.MaxLostWindow > 0 {
			window = short(d.MaxLostWindow)
		}
		table = append(table, fmt.Sprintf("| %s | %s | %d KiB | %s | %s | %s |", r.Device, r.Strategy, d.MaxAtRiskBytes>>10, each(d.CommitsLost), each(d.CommitsAtRisk), window))
	}
	keepTable(t, "../../docs/FINDINGS.md", "exposure", strings.Join(table, "\n"))
}

// short is a duration to three digits or so.
func short(d sim.Duration) string {
	if d > time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
