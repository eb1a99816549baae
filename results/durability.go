package results

import (
	"fmt"

	"nbdbench/sim"
)

// Durability is what power cuts did. Counts are sums over a cell's runs and
// cuts; the Max fields are the worst single cut.
type Durability struct {
	Cuts         int64 `json:"cuts"`
	CutsWithLoss int64 `json:"cuts_with_loss"`
	CommitsAcked int64 `json:"commits_acked"` // acknowledged in the window before the cut, summed over the cuts
	CommitsLost  int64 `json:"commits_lost"`  // of all that were ever acknowledged, lost in the one image that state and seed give
	// CommitsAtRisk are those lost in the worst image that is legal.
	CommitsAtRisk  int64        `json:"commits_at_risk"`
	MaxCommitsLost int64        `json:"max_commits_lost"`
	MaxLostWindow  sim.Duration `json:"max_lost_window_ns"` // the cut, minus the acknowledgement of the oldest lost commit
	MaxAtRiskBytes int64        `json:"max_at_risk_bytes"`
	Violations     int64        `json:"violations"` // promises broken at the wire
	// Exposure is what was at risk at the cuts of the first run, in the order of
	// time; null where nobody took it down.
	Exposure []Exposed `json:"exposure"`
}

// Cut is the judgement on one power cut.
type Cut struct {
	Acked, Lost, AtRisk int64
	LostWindow          sim.Duration
	AtRiskBytes         int64
	Violations          int64
}

// Add counts one cut. It may have lost more commits than were acknowledged in the
// window: those of the warm-up count, too.
func (d *Durability) Add(c Cut) {
	if c.Acked < 0 || c.AtRisk < 0 || c.Lost < 0 {
		panic(fmt.Sprintf("results: a cut lost %d of %d commits, %d at risk", c.Lost, c.Acked, c.AtRisk))
	}
	d.Cuts++
	if c.Lost > 0 {
		d.CutsWithLoss++
	}
	d.CommitsAcked += c.Acked
	d.CommitsLost += c.Lost
	d.CommitsAtRisk += c.AtRisk
	d.Violations += c.Violations
	d.MaxCommitsLost = max(d.MaxCommitsLost, c.Lost)
	d.MaxLostWindow = max(d.MaxLostWindow, c.LostWindow)
	d.MaxAtRiskBytes = max(d.MaxAtRiskBytes, c.AtRiskBytes)
}

// Merge adds what o counted.
func (d *Durability) Merge(o *Durability) {
	d.Cuts += o.Cuts
	d.CutsWithLoss += o.CutsWithLoss
	d.CommitsAcked += o.CommitsAcked
	d.CommitsLost += o.CommitsLost
	d.CommitsAtRisk += o.CommitsAtRisk
	d.Violations += o.Violations
	d.MaxCommitsLost = max(d.MaxCommitsLost, o.MaxCommitsLost)
	d.MaxLostWindow = max(d.MaxLostWindow, o.MaxLostWindow)
	d.MaxAtRiskBytes = max(d.MaxAtRiskBytes, o.MaxAtRiskBytes)
	if d.Exposure == nil {
		d.Exposure = thinned(o.Exposure)
	}
}

// Measured reports whether there was a cut to judge by.
func (d *Durability) Measured() bool { return d != nil && d.Cuts > 0 }

// LostNothing reports whether every acknowledged commit was safe in every cut:
// none lost, none at risk, no promise broken. It takes at least one cut.
func (d *Durability) LostNothing() bool {
	return d.Measured() && d.CommitsLost == 0 && d.CommitsAtRisk == 0 && d.Violations == 0
}
