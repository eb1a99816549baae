package results

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"nbdbench/sim"
)

func TestMergeIsTheHistogramOfEverything(t *testing.T) {
	all, s := NewHistogram(), sim.Seed(3).Stream("x")
	var parts []*Distribution
	for range 5 {
		h := NewHistogram()
		for i := range 1000 {
			d := sim.ExponentialDist(1e6).Sample(s, uint64(len(parts)), uint64(i))
			h.Record(d)
			all.Record(d)
		}
		parts = append(parts, h.Freeze())
	}
	got, want := Merge(parts...), all.Freeze()
	if got.moments != want.moments || !slices.Equal(got.buckets, want.buckets) {
		t.Errorf("merged %+v, pooled %+v", got.moments, want.moments)
	}
}

func TestMomentsAreExact(t *testing.T) {
	h := NewHistogram()
	for _, d := range []sim.Duration{1_000_000_001, 1_000_000_003, 1_000_000_008} {
		h.Record(d)
	}
	l := h.Freeze().Latency()
	if *l.Mean != 1_000_000_004 || *l.Min != 1_000_000_001 || *l.Max != 1_000_000_008 {
		t.Errorf("mean %d, min %d, max %d", *l.Mean, *l.Min, *l.Max)
	}
	if *l.Stddev != 3 { // sqrt(13) = 3.6, below what float64 sums of squares could tell
		t.Errorf("stddev %d, want 3", *l.Stddev)
	}
}

func TestOverflowIsClampedAndCounted(t *testing.T) {
	h := NewHistogram()
	for range 30 {
		h.Record(2 * 3600e9)
	}
	d := h.Freeze()
	if d.overflow != 30 || d.Max() != 2*3600e9 || d.Count() != 30 {
		t.Errorf("overflow %d, max %v, count %d", d.overflow, d.Max(), d.Count())
	}
}

func TestRankIsTheNearest(t *testing.T) {
	for _, c := range []struct {
		q       Quantile
		n, rank int64
	}{{P50, 1, 1}, {P50, 2, 1}, {P50, 3, 2}, {P99, 100, 99}, {P99, 101, 100}, {P999, 1000, 999}, {P999, 1001, 1000}, {0, 5, 1}, {whole, 5, 5}} {
		if got := c.q.rank(c.n); got != c.rank {
			t.Errorf("rank of %d in %d: %d, want %d", c.q, c.n, got, c.rank)
		}
	}
}

func TestAPercentileNeedsTenSamplesBeyond(t *testing.T) {
	for _, c := range []struct {
		n        int
		q        Quantile
		reported bool
	}{
		{0, P50, false},
		{19, P50, false},
		{20, P50, true},
		{99, P90, false},
		{100, P90, true},
		{999, P99, false},
		{1000, P99, true},
		{9_999, P999, false},
		{10_000, P999, true},
	} {
		h := NewHistogram()
		for i := range c.n {
			h.Record(sim.Duration(i + 1))
		}
		if got := h.Freeze().Reported(c.q) != nil; got != c.reported {
			t.Errorf("%d samples, quantile %d: reported %v, want %v", c.n, c.q, got, c.reported)
		}
	}
}

func TestPercentileIsWithinAThousandth(t *testing.T) {
	h, values := NewHistogram(), []int64{}
	s := sim.Seed(1).Stream("v")
	for i := range 5000 {
		d := sim.LognormalDist(3e6, 1).Sample(s, uint64(i), 0)
		h.Record(d)
		values = append(values, int64(d))
	}
	slices.Sort(values)
	for _, q := range []Quantile{P50, P90, P99} {
		want := float64(values[q.rank(5000)-1])
		if got := float64(h.Freeze().At(q)); math.Abs(got-want) > want/1000 {
			t.Errorf("quantile %d: %v, want %v within 0.1%%", q, got, want)
		}
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	h := NewHistogram()
	if n := testing.AllocsPerRun(100, func() { h.Record(12345) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLogIsReadByHdrHistogramsOwnReader(t *testing.T) {
	r := smallDocument(t)
	var b bytes.Buffer
	if err := r.WriteLog(&b); err != nil {
		t.Fatal(err)
	}
	log := hdrhistogram.NewHistogramLogReader(&b)
	found := map[string]*hdrhistogram.Histogram{}
	for {
		h, err := log.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		found[h.Tag()] = h
	}
	for _, c := range r.Cells {
		for i, run := range c.runs {
			h := found[c.ID+fmt.Sprintf("/%d/commit", i)]
			if h == nil || h.TotalCount() != run.Commit.Count() {
				t.Fatalf("%s run %d: %v in the log, want %d commits", c.ID, i, h, run.Commit.Count())
			}
		}
	}
}

func FuzzCoarseBucketHoldsItsValue(f *testing.F) {
	for _, v := range []uint64{0, 1, 31, 32, 63, 64, 1e6, uint64(highest), math.MaxInt64} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v uint64) {
		v = min(v, 1<<42-1)
		i := coarseIndex(v)
		high := uint64(coarseValue(i))
		if v > high || (i > 0 && v <= uint64(coarseValue(i-1))) {
			t.Errorf("%d is in bucket %d, up to %d", v, i, high)
		}
		if high-v > v/32 {
			t.Errorf("bucket of %d is up to %d: wider than a part in 32", v, high)
		}
	})
}
