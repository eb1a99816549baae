package results

import (
	"math/bits"

	"nbdbench/sim"
)

// The interval series: how wide an interval is at first, and how many there
// may be before neighbours are merged and the width doubles.
const (
	DefaultInterval = sim.Duration(100e6)
	maxIntervals    = 256
)

// A series' own histograms are coarse, 32 buckets in each doubling (3%), since
// there are many of them: 42 doublings reach an hour.
const (
	coarseBits    = 5
	coarseBuckets = (42 - coarseBits + 2) << coarseBits
)

// Interval is one stretch of a run: the commits that were due in it.
type Interval struct {
	Start sim.Duration // since the window's start
	Width sim.Duration
	Count int64
	// P50 and P99 are good to 3%; nearest rank, with no rule about samples
	// beyond. Max is exact.
	P50, P99, Max sim.Duration
	// Latencies are how many commits had which, from low to high; of the first run of a
	// cell alone.
	Latencies []LatencyCount `json:",omitempty"`
}

// LatencyCount is how many commits had a latency of at most that, and more than that of
// the count before it: a bucket of 3%.
type LatencyCount struct {
	Latency sim.Duration
	Count   uint32
}

// stretch is an interval while it is recorded.
type stretch struct {
	counts [coarseBuckets]uint32
	n      int64
	max    int64
}

// series holds the stretches of a run, at most maxIntervals, doubling their
// width when there would be more.
type series struct {
	width sim.Duration
	used  []stretch
}

func newSeries(width sim.Duration) series {
	if width == 0 {
		width = DefaultInterval
	}
	return series{width: width}
}

// coarseIndex is the bucket of v: linear below 2^5, then 32 to a doubling.
func coarseIndex(v uint64) int {
	if v < 1<<coarseBits {
		return int(v)
	}
	exp := bits.Len64(v) - coarseBits - 1
	return min(exp<<coarseBits+int(v>>exp), coarseBuckets-1)
}

// coarseValue is the highest value of bucket i.
func coarseValue(i int) int64 {
	if i < 1<<(coarseBits+1) {
		return int64(i)
	}
	exp := i>>coarseBits - 1
	return int64(i-exp<<coarseBits+1)<<exp - 1
}

func (s *series) record(at, latency sim.Duration) {
	for at/s.width >= maxIntervals {
		s.double()
	}
	i := int(at / s.width)
	for len(s.used) <= i {
		s.used = append(s.used, stretch{})
	}
	st := &s.used[i]
	st.counts[coarseIndex(uint64(latency))]++
	st.n++
	st.max = max(st.max, int64(latency))
}

// double merges neighbours.
func (s *series) double() {
	for i := range s.used {
		if i%2 == 0 {
			s.used[i/2] = s.used[i]
			continue
		}
		s.used[i/2].merge(&s.used[i])
	}
	s.used = s.used[:(len(s.used)+1)/2]
	s.width *= 2
}

func (st *stretch) merge(o *stretch) {
	for i, n := range o.counts {
		st.counts[i] += n
	}
	st.n += o.n
	st.max = max(st.max, o.max)
}

// at is the quantile by nearest rank.
func (st *stretch) at(q Quantile) sim.Duration {
	rank, seen := q.rank(st.n), int64(0)
	for i, n := range st.counts {
		if seen += int64(n); seen >= rank {
			return sim.Duration(min(coarseValue(i), st.max))
		}
	}
	return sim.Duration(st.max)
}

func (s *series) freeze() []Interval {
	out := make([]Interval, len(s.used))
	for i := range s.used {
		st := &s.used[i]
		out[i] = Interval{Start: sim.Duration(i) * s.width, Width: s.width, Count: st.n}
		if st.n > 0 {
			out[i].P50, out[i].P99, out[i].Max = st.at(P50), st.at(P99), sim.Duration(st.max)
			out[i].Latencies = st.latencies()
		}
	}
	return out
}

// latencies are the buckets that hold something.
func (st *stretch) latencies() (out []LatencyCount) {
	for i, n := range st.counts {
		if n > 0 {
			out = append(out, LatencyCount{sim.Duration(min(coarseValue(i), st.max)), n})
		}
	}
	return out
}
