package results

import (
	"math"
	"math/bits"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// minRuns is the fewest runs that give an interval, and with it a verdict.
	minRuns = 6
	// confidence is that of every interval.
	confidence = 0.95
	// Narrow is the half of an interval, as a part of the value, that is enough: a
	// run in real time that may add runs adds no more.
	Narrow = 0.05
)

// Looks are the numbers of blocks of runs after which a run in real time looks
// whether it knows enough: a percentile has its samples, and its interval is
// narrow. It never looks at the verdict.
var Looks = [...]int{10, 15, 20, 30}

// metric is a statistic of a run's commits that is estimated and compared.
type metric int

const (
	metricMean metric = iota
	metricP50
	metricP90
	metricP99
	numMetrics
)

var (
	metricNames     = [numMetrics]string{"commit.mean", "commit.p50", "commit.p90", "commit.p99"}
	metricQuantiles = [numMetrics]Quantile{0, P50, P90, P99}
)

// figure is a statistic of one run, in ns, and the span in which it lies: a
// percentile is known to its histogram's bucket, of which value is the upper end.
type figure struct{ value, low float64 }

// figureOf reads a metric of one run, by nearest rank whatever the number of
// samples beyond. The run must have a commit.
func figureOf(d *Distribution, m metric) figure {
	if m == metricMean {
		v := float64(d.sum) / float64(d.n)
		return figure{v, v}
	}
	v := int64(d.At(metricQuantiles[m]))
	return figure{float64(v), float64(max(bucketFrom(v), d.min))}
}

// bucketFrom is the lowest value of the histogram's bucket that ends at v or
// holds it: buckets are 2^(k-10) wide from 2^k on.
func bucketFrom(v int64) int64 {
	shift := max(bits.Len64(uint64(v))-subBucketBits, 0)
	return v >> shift << shift
}

// subBucketBits is the logarithm of the number of buckets to twice a power of
// two, for three significant digits.
const subBucketBits = 11

// estimate is a statistic of a cell: the average over its runs, and its interval
// where there are enough of them.
type estimate struct {
	value float64
	span  *[2]float64
}

// estimateOf averages a metric over runs, which weigh alike. Percentiles are
// averaged on a log scale and the mean as it is, and the interval is Student's on
// that scale; it is never narrower than what the histogram can tell apart. Values
// of 0 have no logarithm: then all are averaged as they are.
func estimateOf(runs []figure, m metric) estimate {
	if alike(runs) { // to the last bit
		e := estimate{value: runs[0].value}
		if len(runs) >= minRuns {
			e.span = &[2]float64{runs[0].low, runs[0].value}
		}
		return e
	}
	values, lows := make([]float64, len(runs)), make([]float64, len(runs))
	logs := m != metricMean
	for i, r := range runs {
		values[i], lows[i] = r.value, r.low
		logs = logs && r.low > 0
	}
	if logs {
		toLogs(values)
		toLogs(lows)
	}
	s, low := summed(values), summed(lows)
	e := estimate{value: s.mean}
	if len(runs) >= minRuns {
		h := critical(1, float64(len(runs)-1)) * s.error()
		e.span = &[2]float64{min(s.mean-h, low.mean), s.mean + h}
	}
	if logs {
		e.value = exp(e.value)
		if e.span != nil {
			e.span[0], e.span[1] = exp(e.span[0]), exp(e.span[1])
		}
	}
	if e.span != nil {
		e.span[0] = max(e.span[0], 0)
	}
	return e
}

// within reports whether there is an interval that goes on both sides no further
// from the value than this part of it.
func (e *estimate) within(half float64) bool {
	return e.span != nil && e.span[1]-e.value <= half*e.value && e.value-e.span[0] <= half*e.value
}

func toLogs(x []float64) {
	for i := range x {
		x[i] = math.Log(x[i])
	}
}

// exp is e^x, such that exp(-x) is exactly 1/exp(x) for positive x: a ratio whose
// sides are swapped is its inverse.
func exp(x float64) float64 {
	if x < 0 {
		return 1 / math.Exp(-x)
	}
	return math.Exp(x)
}

// sample is the mean and the variance of values.
type sample struct {
	n              int
	mean, variance float64
}

// summed computes both so that neither the order of the values nor the sign of
// all of them matters, to the last bit: values are summed as whole numbers of
// 2^-44, and squares in rising order.
func summed(x []float64) sample {
	s := sample{n: len(x)}
	scale := math.Ldexp(1, 44)
	for _, v := range x { // large values, of means in ns, need no such resolution
		for math.Abs(v)*scale*float64(len(x)) > math.Ldexp(1, 62) {
			scale /= 2
		}
	}
	var total int64
	for _, v := range x {
		total += int64(math.Round(v * scale))
	}
	s.mean = float64(total) / float64(len(x)) / scale
	if len(x) < 2 {
		return s
	}
	squares := make([]float64, len(x))
	for i, v := range x {
		squares[i] = (v - s.mean) * (v - s.mean)
	}
	slices.Sort(squares)
	for _, q := range squares {
		s.variance += q
	}
	s.variance /= float64(len(x) - 1)
	return s
}

// error is the standard error of the mean.
func (s sample) error() float64 { return math.Sqrt(s.variance / float64(s.n)) }

// critical is Student's t beyond which, on both sides together, a share of
// 1-confidence lies, divided by the number of intervals that are to hold at once
// (Bonferroni's inequality).
func critical(intervals int, df float64) float64 {
	tail := (1 - confidence) / float64(max(intervals, 1)) / 2
	return -distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(tail)
}

// effect is the ratio of a metric of one cell to that of another.
type effect struct {
	ratio float64
	span  *Ratio
	exact bool // no run differs from another, and each value is known exactly
}

func (e *effect) verdict() string { return verdictOf(e.span) }

// effectOf is the effect of being a rather than b; nil where a value is 0, which
// has no ratio. The interval holds at once with as many others as family says.
// Paired runs met the same arrivals and the same noise, and what they share
// cancels; else the intervals are Welch's.
func effectOf(a, b []figure, paired bool, family int) *effect {
	x, y, ok := logsOf(a, b)
	if !ok {
		return nil
	}
	var center, err, df float64
	if paired {
		d := make([]float64, len(a))
		for i := range d {
			d[i] = x.value[i] - y.value[i]
		}
		s := summed(d)
		center, err, df = s.mean, s.error(), float64(s.n-1)
	} else {
		center, err, df = welch(summed(x.value), summed(y.value))
	}
	e := &effect{ratio: exp(center)}
	if min(len(a), len(b)) < minRuns {
		return e
	}
	h := 0.0
	if err > 0 {
		h = critical(family, df) * err
	}
	least := summed(x.low).mean - summed(y.value).mean
	most := summed(x.value).mean - summed(y.low).mean
	e.span = &Ratio{exp(min(center-h, least)), exp(max(center+h, most))}
	if e.exact = constant(a) && constant(b); e.exact {
		e.ratio = quotient(a[0].value, b[0].value)
		e.span = &Ratio{e.ratio, e.ratio}
	}
	return e
}

// quotient is a/b, such that b/a is exactly 1 over it.
func quotient(a, b float64) float64 {
	if a < b {
		return 1 / (b / a)
	}
	return a / b
}

// logs are the logarithms of a cell's figures.
type logs struct{ value, low []float64 }

func logsOf(a, b []figure) (x, y logs, ok bool) {
	of := func(f []figure) (l logs) {
		for _, v := range f {
			l.value, l.low = append(l.value, math.Log(v.value)), append(l.low, math.Log(max(v.low, 1)))
		}
		return l
	}
	for _, f := range [][]figure{a, b} {
		if len(f) == 0 || slices.ContainsFunc(f, func(v figure) bool { return v.value <= 0 }) {
			return x, y, false
		}
	}
	return of(a), of(b), true
}

// welch is the difference of two means, its standard error, and the degrees of
// freedom of Welch and Satterthwaite (Biometrika 34, 1947).
func welch(x, y sample) (diff, err, df float64) {
	u, v := x.variance/float64(x.n), y.variance/float64(y.n)
	diff = x.mean - y.mean
	if u+v == 0 {
		return diff, 0, float64(min(x.n, y.n) - 1)
	}
	df = (u + v) * (u + v) / (u*u/float64(max(x.n-1, 1)) + v*v/float64(max(y.n-1, 1)))
	return diff, math.Sqrt(u + v), df
}

// alike reports whether no run differs from another.
func alike(f []figure) bool {
	for _, v := range f {
		if v != f[0] {
			return false
		}
	}
	return true
}

// constant reports whether no run differs from another and each is known exactly.
func constant(f []figure) bool { return alike(f) && f[0].low == f[0].value }

const (
	// outlierFactor is how many times another run's figure is as large as the
	// median's, or as small, before the run is called an outlier...
	outlierFactor = 2
	// ...if it is also as many times as far away as runs usually are: median
	// absolute deviations, scaled to a normal distribution's standard deviation.
	outlierDeviations = 6
	madScale          = 1.4826
	// outlierPart is the part of the runs, rounded up, that may be outliers.
	outlierPart = 4
)

// outliersOf are the runs, by number from 0, that differ so much from the others
// that no interval from so few runs covers what they may be.
func outliersOf(f []figure) (out []int) {
	if len(f) < minRuns {
		return nil
	}
	logs := make([]float64, len(f))
	for i, v := range f {
		logs[i] = math.Log(max(v.value, 1))
	}
	center := median(logs)
	away := make([]float64, len(f))
	for i, v := range logs {
		away[i] = math.Abs(v - center)
	}
	limit := max(math.Log(outlierFactor), outlierDeviations*madScale*median(away))
	for i, d := range away {
		if d > limit {
			out = append(out, i)
		}
	}
	if outlierPart*len(out) >= len(f)+outlierPart {
		return nil // what so many runs do is not rare: the intervals have it
	}
	return out
}

func median(x []float64) float64 {
	s := slices.Clone(x)
	slices.Sort(s)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Metrics are the names of the metrics that documents compare cells by.
func Metrics() (names []string) {
	for _, noCommits := range []bool{false, true} {
		for m := range numMetrics {
			names = append(names, metricName(m, noCommits))
		}
	}
	return names
}
