package results

import (
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"nbdbench/sim"
)

// The range and the resolution of every latency histogram: values up to an
// hour, distinguished when they differ by more than a part in a thousand.
const (
	lowest            = 1
	highest           = int64(3600 * 1e9)
	significantDigits = 3
)

// moments is what a histogram's buckets cannot say exactly.
type moments struct {
	n        int64
	overflow int64  // values above the range, recorded as the highest
	sum      uint64 // ns: 584 years of latency
	squares  [2]uint64
	min, max int64
}

func (m *moments) record(v int64) {
	if m.n == 0 || v < m.min {
		m.min = v
	}
	if m.n == 0 || v > m.max {
		m.max = v
	}
	m.n++
	m.sum += uint64(v)
	hi, lo := bits.Mul64(uint64(v), uint64(v))
	m.addSquares([2]uint64{hi, lo})
}

func (m *moments) addSquares(s [2]uint64) {
	var carry uint64
	m.squares[1], carry = bits.Add64(m.squares[1], s[1], 0)
	m.squares[0], carry = bits.Add64(m.squares[0], s[0], carry)
	if carry != 0 {
		panic("results: sum of squares beyond 128 bits")
	}
}

func (m *moments) merge(o *moments) {
	if o.n == 0 {
		return
	}
	if m.n == 0 {
		m.min, m.max = o.min, o.max
	}
	m.min, m.max = min(m.min, o.min), max(m.max, o.max)
	m.n += o.n
	m.overflow += o.overflow
	m.sum += o.sum
	m.addSquares(o.squares)
}

// mean is rounded to the nearest nanosecond. n must not be 0.
func (m *moments) mean() int64 { return int64((m.sum + uint64(m.n)/2) / uint64(m.n)) }

// stddev is the sample's, with n-1 below; the difference of large numbers in
// it is taken exactly. n must be at least 2.
func (m *moments) stddev() int64 {
	squares := new(big.Int).SetUint64(m.squares[0])
	squares.Lsh(squares, 64).Add(squares, new(big.Int).SetUint64(m.squares[1]))
	n := big.NewInt(m.n)
	sum := new(big.Int).SetUint64(m.sum)
	top := squares.Mul(squares, n)
	top.Sub(top, sum.Mul(sum, sum))
	below := n.Mul(n, big.NewInt(m.n-1))
	variance := top.Div(top, below)
	return variance.Sqrt(variance).Int64()
}

// A Histogram records durations: an HdrHistogram of 1 ns to 1 h with three
// significant digits, and beside it the exact count, sum, sum of squares,
// minimum and maximum. Recording allocates nothing. It belongs to one
// goroutine. Freeze turns it into a Distribution, which is what is kept.
type Histogram struct {
	hdr *hdrhistogram.Histogram
	moments
}

// NewHistogram returns an empty histogram, a quarter of a megabyte.
func NewHistogram() *Histogram {
	return &Histogram{hdr: hdrhistogram.New(lowest, highest, significantDigits)}
}

// Record counts one duration. One beyond the range counts as the highest of
// the range and as overflow; its exact value stays in the sum and the maximum.
// A negative one is the caller's mistake.
func (h *Histogram) Record(d sim.Duration) {
	v := int64(d)
	if v < 0 {
		panic(fmt.Sprintf("results: negative duration %v", d))
	}
	h.record(v)
	if v > highest {
		h.overflow++
		v = highest
	}
	if err := h.hdr.RecordValue(v); err != nil {
		panic(fmt.Sprintf("results: %v after clamping", err))
	}
}

// Count is the number of durations recorded.
func (h *Histogram) Count() int64 { return h.n }

// Freeze returns what was recorded, as a Distribution, exactly.
func (h *Histogram) Freeze() *Distribution {
	d := &Distribution{moments: h.moments}
	if h.n == 0 {
		return d
	}
	for _, bar := range h.hdr.Distribution() {
		if bar.Count > 0 {
			d.buckets = append(d.buckets, bucket{value: bar.To, count: bar.Count})
		}
	}
	return d
}

// bucket is one bucket of an HdrHistogram that is not empty. Its value is the
// highest that the bucket holds.
type bucket struct{ value, count int64 }

// A Distribution is a Histogram's content: the buckets that are not empty, in
// order, and the exact moments. It does not change once made.
type Distribution struct {
	moments
	buckets []bucket
}

// Merge pools distributions without loss: the result is the distribution that
// one histogram would have had that had recorded everything.
func Merge(parts ...*Distribution) *Distribution {
	var out Distribution
	total := 0
	for _, p := range parts {
		if p == nil {
			continue
		}
		out.merge(&p.moments)
		total += len(p.buckets)
	}
	all := make([]bucket, 0, total)
	for _, p := range parts {
		if p != nil {
			all = append(all, p.buckets...)
		}
	}
	slices.SortFunc(all, func(a, b bucket) int { return int(min(max(a.value-b.value, -1), 1)) })
	out.buckets = combine(all)
	out.check()
	return &out
}

// combine adds up neighbours of one value, in place.
func combine(sorted []bucket) []bucket {
	out := sorted[:0]
	for _, b := range sorted {
		if n := len(out); n > 0 && out[n-1].value == b.value {
			out[n-1].count += b.count
			continue
		}
		out = append(out, b)
	}
	return out
}

// check panics if a count was lost: a merge must never drop any.
func (d *Distribution) check() {
	var n int64
	for _, b := range d.buckets {
		n += b.count
	}
	if n != d.n {
		panic(fmt.Sprintf("results: buckets hold %d of %d values", n, d.n))
	}
}

// Count is the number of durations.
func (d *Distribution) Count() int64 {
	if d == nil {
		return 0
	}
	return d.n
}

// Min and Max are exact. They are 0 when the distribution is empty.
func (d *Distribution) Min() sim.Duration { return sim.Duration(d.min) }

// Max is the largest duration, exactly.
func (d *Distribution) Max() sim.Duration { return sim.Duration(d.max) }

// Sum is the sum of all durations, exactly.
func (d *Distribution) Sum() uint64 { return d.sum }

// Quantile is a fraction of the samples in units of 1/100,000, so that ranks
// are whole numbers computed without rounding.
type Quantile int64

// The quantiles that are reported.
const (
	P50  Quantile = 50_000
	P90  Quantile = 90_000
	P99  Quantile = 99_000
	P999 Quantile = 99_900

	whole Quantile = 100_000
)

// minBeyond is how many samples must lie beyond a quantile for it to be reported.
const minBeyond = 10

// rank is the nearest rank: the smallest k with k/n >= q, counted from 1.
func (q Quantile) rank(n int64) int64 {
	hi, lo := bits.Mul64(uint64(q), uint64(n))
	lo, carry := bits.Add64(lo, uint64(whole)-1, 0)
	k, _ := bits.Div64(hi+carry, lo, uint64(whole))
	return max(int64(k), 1)
}

// reportable reports whether at least ten of n samples lie beyond q.
func (q Quantile) reportable(n int64) bool { return n > 0 && n-q.rank(n) >= minBeyond }

// At is the duration at quantile q by nearest rank (the smallest k with
// k/n >= q): the highest value of the bucket that holds the k-th smallest
// sample, never beyond the exact minimum and maximum. The distribution must
// not be empty. It says nothing about how many samples lie beyond: see Reported.
func (d *Distribution) At(q Quantile) sim.Duration {
	rank := q.rank(d.n)
	var seen int64
	for _, b := range d.buckets {
		if seen += b.count; seen >= rank {
			return sim.Duration(d.clamp(b.value))
		}
	}
	panic("results: quantile of an empty distribution")
}

func (d *Distribution) clamp(v int64) int64 { return min(max(v, d.min), d.max) }

// Reported is At(q) where at least ten samples lie beyond q, else nil.
func (d *Distribution) Reported(q Quantile) *int64 {
	if d == nil || !q.reportable(d.n) {
		return nil
	}
	v := int64(d.At(q))
	return &v
}

// hdrInto fills h, which is reused, with the distribution's buckets.
func (d *Distribution) hdrInto(h *hdrhistogram.Histogram) error {
	h.Reset()
	for _, b := range d.buckets {
		if err := h.RecordValues(b.value, b.count); err != nil {
			return fmt.Errorf("bucket at %d ns: %w", b.value, err)
		}
	}
	return nil
}

// Latency is a distribution as it is reported: whole nanoseconds; a percentile is
// null unless at least ten samples lie beyond it, and everything but the count
// is null where there is no sample (the deviation, where there is only one).
type Latency struct {
	Count    int64  `json:"count"`
	Mean     *int64 `json:"mean_ns"`
	Stddev   *int64 `json:"stddev_ns"`
	Min      *int64 `json:"min_ns"`
	Max      *int64 `json:"max_ns"`
	P50      *int64 `json:"p50_ns"`
	P90      *int64 `json:"p90_ns"`
	P99      *int64 `json:"p99_ns"`
	P999     *int64 `json:"p999_ns"`
	Overflow int64  `json:"overflow,omitempty"`
}

// Latency summarises d.
func (d *Distribution) Latency() *Latency {
	l := &Latency{Count: d.Count()}
	if l.Count == 0 {
		return l
	}
	l.Mean, l.Min, l.Max = new(d.mean()), new(d.min), new(d.max)
	if d.n > 1 {
		l.Stddev = new(d.stddev())
	}
	l.P50, l.P90, l.P99, l.P999 = d.Reported(P50), d.Reported(P90), d.Reported(P99), d.Reported(P999)
	l.Overflow = d.overflow
	return l
}
