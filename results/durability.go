package results

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"

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

	halves [2]halfLoss // of the window, of one run
}

// halfLoss is what the cuts in one half of a window lost.
type halfLoss struct{ cuts, lost int64 }

// AddAt counts one cut at an instant of a window of that length.
func (d *Durability) AddAt(c Cut, at, window sim.Duration) {
	d.Add(c)
	h := &d.halves[0]
	if at >= window/2 {
		h = &d.halves[1]
	}
	h.cuts++
	h.lost += c.Lost
}

const (
	// lossTrendLevel is how often losses without a trend are said to have one, and
	// leastLossTrend how much a trend must change them to be one.
	lossTrendLevel = 0.01
	leastLossTrend = 0.05
)

// lossTrend says, in words, that cuts in the second half of the runs' windows lost
// more or less than those in the first, if they did: then lost/cut depends on how
// long a run lasts. It is Student's test of the runs' differences.
func lossTrend(runs []*RunResult) string {
	var diffs []float64
	var sums [2]float64
	for _, r := range runs {
		if r.Durability == nil || r.Durability.halves[0].cuts == 0 || r.Durability.halves[1].cuts == 0 {
			return ""
		}
		var mean [2]float64
		for i, h := range r.Durability.halves {
			mean[i] = float64(h.lost) / float64(h.cuts)
			sums[i] += mean[i] / float64(len(runs))
		}
		diffs = append(diffs, mean[1]-mean[0])
	}
	if len(diffs) < minRuns {
		return ""
	}
	s := summed(diffs)
	if math.Abs(s.mean) <= leastLossTrend*(sums[0]+sums[1])/2 {
		return ""
	}
	limit := -distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(s.n - 1)}.Quantile(lossTrendLevel / 2)
	if s.variance > 0 && math.Abs(s.mean)/s.error() < limit {
		return ""
	}
	verb := "rose"
	if s.mean < 0 {
		verb = "fell"
	}
	return fmt.Sprintf("what a power cut lost %s from %s commits in the first half of the runs to %s in the second, so that it depends on their length",
		verb, formatRate(sums[0]), formatRate(sums[1]))
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
