package results

import (
	"math"
	"slices"

	"nbdbench/sim"
)

const (
	resamples = 2000
	// minRuns is the fewest runs that give an interval.
	minRuns = 4
)

// metric is a statistic of a cell's commits that is compared.
type metric int

const (
	metricMean metric = iota
	metricP50
	metricP99
	numMetrics
)

var (
	metricNames     = [numMetrics]string{"commit.mean", "commit.p50", "commit.p99"}
	metricQuantiles = [numMetrics]Quantile{0, P50, P99}
)

// weights holds, for each resample, how often each run was drawn. All cells of
// one document share them, so that run k of one cell meets run k of another:
// what pairs the two sides of a ratio.
type weights [][]int64

// newWeights draws n runs out of n with replacement, count times.
func newWeights(seed sim.Seed, n, count int) weights {
	stream := seed.Stream("bootstrap")
	flat := make([]int64, n*count)
	out := make(weights, count)
	for b := range out {
		out[b], flat = flat[:n:n], flat[n:]
		for k := range n {
			out[b][stream.Below(uint64(n), uint64(b), uint64(k))]++
		}
	}
	return out
}

// bootstrap is a cell's runs laid out so that a resample costs little: the
// distinct values of all runs, and for each the number of samples of each run
// that are not above it.
type bootstrap struct {
	n        int // runs
	values   []int64
	below    []int64 // below[i*n+r]: samples of run r up to values[i]
	counts   []int64
	sums     []uint64
	min, max int64
}

func newBootstrap(runs []*Distribution) *bootstrap {
	pooled := Merge(runs...)
	b := &bootstrap{n: len(runs), min: pooled.min, max: pooled.max}
	b.values = make([]int64, len(pooled.buckets))
	b.below = make([]int64, len(pooled.buckets)*b.n)
	for i, p := range pooled.buckets {
		b.values[i] = p.value
	}
	for r, run := range runs {
		b.counts, b.sums = append(b.counts, run.n), append(b.sums, run.sum)
		next, seen := 0, int64(0)
		for i, v := range b.values {
			if next < len(run.buckets) && run.buckets[next].value == v {
				seen += run.buckets[next].count
				next++
			}
			b.below[i*b.n+r] = seen
		}
	}
	return b
}

// dot is the number of samples that weights w give to counts c.
func dot(w, c []int64) (sum int64) {
	for i, k := range w {
		sum += k * c[i]
	}
	return sum
}

// quantile reads q from the runs pooled with weights w.
func (b *bootstrap) quantile(w []int64, q Quantile) float64 {
	n := dot(w, b.counts)
	if n == 0 {
		return math.NaN()
	}
	rank := q.rank(n)
	lo, hi := 0, len(b.values)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if dot(w, b.below[mid*b.n:]) >= rank {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return float64(min(max(b.values[lo], b.min), b.max))
}

func (b *bootstrap) mean(w []int64) float64 {
	var n, sum float64
	for r, k := range w {
		n += float64(k * b.counts[r])
		sum += float64(k) * float64(b.sums[r])
	}
	return sum / n
}

func (b *bootstrap) read(w []int64, m metric) float64 {
	if m == metricMean {
		return b.mean(w)
	}
	return b.quantile(w, metricQuantiles[m])
}

// resampled is the metric in every resample.
func (b *bootstrap) resampled(ws weights, m metric) []float64 {
	out := make([]float64, len(ws))
	for i, w := range ws {
		out[i] = b.read(w, m)
	}
	return out
}

// perRun is the metric of each run alone, by nearest rank whatever the number
// of samples: one observation each, not to be told.
func (b *bootstrap) perRun(m metric) []float64 {
	out, w := make([]float64, b.n), make([]int64, b.n)
	for r := range out {
		w[r] = 1
		out[r] = b.read(w, m)
		w[r] = 0
	}
	return out
}

// point is the metric of all runs pooled.
func (b *bootstrap) point(m metric) float64 {
	return b.read(slices.Repeat([]int64{1}, b.n), m)
}

// interval95 is the middle of the resampled values, expanded for the small
// number of clusters (Hesterberg 2015, section 5.3): the tails that are cut are
// not 2.5% but Phi(-sqrt(n/(n-1)) t(0.975, n-1)), since n runs vary less than
// what they were drawn from. It reports false if a value is not a number.
func interval95(values []float64, n int) (lo, hi float64, ok bool) {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	if len(sorted) == 0 || n < 2 || math.IsNaN(sorted[0]) {
		return 0, 0, false
	}
	z := math.Sqrt(float64(n)/float64(n-1)) * student975(n-1)
	tail := math.Erfc(z/math.Sqrt2) / 2
	k := int(tail * float64(len(sorted)))
	return sorted[k], sorted[len(sorted)-1-k], true
}

// smallStudent is Student's t at 0.975 for 1 to 10 degrees of freedom.
var smallStudent = [...]float64{12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281}

// student975 is Student's t at 0.975, beyond the table by the expansion of
// Abramowitz and Stegun 26.7.5, there good to four digits.
func student975(df int) float64 {
	if df <= len(smallStudent) {
		return smallStudent[df-1]
	}
	const z = 1.959963985
	v := float64(df)
	z3, z5, z7 := z*z*z, z*z*z*z*z, z*z*z*z*z*z*z
	return z + (z3+z)/(4*v) + (5*z5+16*z3+3*z)/(96*v*v) + (3*z7+19*z5+17*z3-15*z)/(384*v*v*v)
}
