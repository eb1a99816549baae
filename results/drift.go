package results

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// driftLevel is how often a group whose runs do not drift is said to.
const driftLevel = 0.01

// findDrift tests whether the group's runs in real time became slower or faster
// from block to block: whether the mean latency, averaged over the cells of a
// block on a log scale and relative to each cell's own mean, depends on the
// block's number. The slope's t has n-2 degrees of freedom. It returns what was
// found, or nothing.
func (g *group) findDrift() string {
	levels := g.blockLevels()
	n := len(levels)
	if n < minRuns {
		return ""
	}
	slope, t := trend(levels)
	if math.IsNaN(t) {
		return ""
	}
	p := 2 * distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 2)}.CDF(-math.Abs(t))
	if p >= driftLevel {
		return ""
	}
	return fmt.Sprintf("the target drifted: latency changed by %+.0f%% from the first block to the last", 100*(math.Exp(slope*float64(n-1))-1))
}

// blockLevels is the level of each block; none in virtual time, where runs do not
// follow each other.
func (g *group) blockLevels() []float64 {
	blocks := 0
	for _, c := range g.cells {
		if c.Clock != "real" || c.Status == StatusInvalid {
			return nil
		}
		blocks = max(blocks, len(c.runs))
	}
	sum, count := make([]float64, blocks), make([]int, blocks)
	for _, c := range g.cells {
		if len(c.runs) < blocks || len(c.seeds()) < blocks {
			continue // unsupported, or not whole
		}
		var logs []float64
		for _, r := range c.runs {
			logs = append(logs, math.Log(max(figureOf(r.Commit, metricMean).value, 1)))
		}
		center := summed(logs).mean
		for i, v := range logs {
			sum[i] += v - center
			count[i]++
		}
	}
	for i := range sum {
		if count[i] == 0 {
			return nil
		}
		sum[i] /= float64(count[i])
	}
	return sum
}

// trend is the slope of y over its index by least squares, and the slope over its
// standard error.
func trend(y []float64) (slope, t float64) {
	n := float64(len(y))
	mean := (n - 1) / 2
	var xx, xy, yy float64
	level := summed(y).mean
	for i, v := range y {
		dx, dy := float64(i)-mean, v-level
		xx, xy, yy = xx+dx*dx, xy+dx*dy, yy+dy*dy
	}
	slope = xy / xx
	rest := max(yy-slope*xy, 0) / (n - 2)
	return slope, slope / math.Sqrt(rest/xx)
}
