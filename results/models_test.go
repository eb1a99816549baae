package results

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync"
	"testing"

	"nbdbench/sim"
)

// model is a population of runs from which coverage is measured.
type model struct {
	name string
	sd   float64 // of a run's level, on a log scale
	// rare is how often a run is slowFactor times slower as a whole.
	rare   float64
	commit func(r *rand.Rand) float64 // latency of one commit, as a part of the level
	truth  func() truth
}

const (
	commitsARun = 1000
	levelNS     = 1e6
	slowFactor  = 3
)

// models are those of the coverage table. The parameters are chosen so that what
// differs between runs, and not the samples of one run, decides in some of them and
// not in others.
func models(truthRuns int) []*model {
	list := []*model{
		{name: "normal, run sd 5%", sd: 0.05, commit: normal},
		{name: "lognormal 0.5, run sd 5%", sd: 0.05, commit: lognormal},
		{name: "Pareto 2.5", commit: func(r *rand.Rand) float64 { return math.Exp(r.ExpFloat64() / 2.5) }},
		{name: "bimodal, 1% slow", commit: bimodal(0.01)},
		{name: "bimodal, 5% slow", commit: bimodal(0.05)},
		{name: "lognormal 0.5, run sd 30%", sd: 0.3, commit: lognormal},
		{name: "lognormal 0.5, no variance between runs", commit: lognormal},
		{name: "one run in ten 3 times slower", sd: 0.05, rare: 0.1, commit: lognormal},
	}
	for i, m := range list {
		m.truth = sync.OnceValue(func() truth { return m.measure(uint64(i), truthRuns) })
	}
	return list
}

func normal(r *rand.Rand) float64 { return max(1+0.1*r.NormFloat64(), 0.01) }

func lognormal(r *rand.Rand) float64 { return math.Exp(0.5 * r.NormFloat64()) }

// bimodal has a share of commits that take ten times as long.
func bimodal(slow float64) func(r *rand.Rand) float64 {
	return func(r *rand.Rand) float64 {
		if r.Float64() < slow {
			return 10 * normal(r)
		}
		return normal(r)
	}
}

// truth is what intervals must cover.
type truth struct {
	value [numMetrics]float64 // of the estimand: percentiles averaged on a log scale, the mean as it is
	logs  [numMetrics]float64 // averages on a log scale, of which ratios consist
}

// measure averages over runs that belong to no trial, from samples as they were
// drawn: the histogram's rounding is one of the errors that intervals must cover.
func (m *model) measure(id uint64, runs int) truth {
	s := newSampler(1000+id, 0)
	var t truth
	for range runs {
		level, _ := m.level(s.draw)
		s.fill(m, level)
		_, exact := s.freeze()
		t.value[metricMean] += exact[metricMean] / float64(runs)
		for k, v := range exact {
			t.logs[k] += math.Log(v) / float64(runs)
		}
	}
	for k := metricP50; k < numMetrics; k++ {
		t.value[k] = math.Exp(t.logs[k])
	}
	return t
}

// level draws the level of a run, and whether it is one of the rare slow ones.
func (m *model) level(r *rand.Rand) (level float64, slow bool) {
	level = levelNS * math.Exp(m.sd*r.NormFloat64())
	if r.Float64() < m.rare {
		return slowFactor * level, true
	}
	return level, false
}

// sampler draws runs.
type sampler struct {
	draw    *rand.Rand
	samples [commitsARun]int64
}

func newSampler(seed, trial uint64) *sampler {
	return &sampler{draw: rand.New(rand.NewPCG(seed, trial))}
}

// fill draws the commits of one run.
func (s *sampler) fill(m *model, level float64) {
	for i := range s.samples {
		s.samples[i] = int64(level * m.commit(s.draw))
	}
}

// run draws one run.
func (s *sampler) run(m *model, level float64) *Distribution {
	s.fill(m, level)
	d, _ := s.freeze()
	return d
}

// runs draws runs, each with a level of its own, and says which were slow.
func (s *sampler) runs(m *model, n int) (out []*Distribution, slow []int) {
	for i := range n {
		level, rare := m.level(s.draw)
		if rare {
			slow = append(slow, i)
		}
		out = append(out, s.run(m, level))
	}
	return out, slow
}

// freeze makes a distribution whose figures are those of a histogram of the
// samples, in much less time: its buckets end at the percentiles that are read.
// It also returns the figures before they were rounded to buckets. The samples lose
// their order.
func (s *sampler) freeze() (d *Distribution, exact [numMetrics]float64) {
	d = &Distribution{buckets: make([]bucket, 0, numMetrics)}
	for _, v := range s.samples {
		d.record(v)
	}
	exact[metricMean] = float64(d.sum) / commitsARun
	below := int64(0)
	for m := metricP50; m < numMetrics; m++ {
		k := metricQuantiles[m].rank(commitsARun)
		v := smallest(s.samples[below:], int(k-below-1))
		exact[m] = float64(v)
		d.buckets = append(d.buckets, bucket{bucketTo(v), k - below})
		below = k
	}
	d.buckets = append(d.buckets, bucket{bucketTo(d.max), commitsARun - below})
	return d, exact
}

func bucketTo(v int64) int64 {
	return bucketFrom(v) + 1<<max(bits.Len64(uint64(v))-subBucketBits, 0) - 1
}

// smallest is the k-th smallest value, from 0 (Hoare's selection): smaller ones are
// moved before it, larger ones behind.
func smallest(x []int64, k int) int64 {
	low, high := 0, len(x)-1
	for low < high {
		pivot := x[(low+high)/2]
		i, j := low, high
		for i <= j {
			for x[i] < pivot {
				i++
			}
			for x[j] > pivot {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			high = j
		case k >= i:
			low = i
		default:
			return x[k]
		}
	}
	return x[k]
}

func TestModelsHaveTheFiguresOfAHistogram(t *testing.T) {
	for i, m := range models(1) {
		s := newSampler(uint64(i), 0)
		for range 20 {
			level, _ := m.level(s.draw)
			s.fill(m, level)
			h := NewHistogram()
			for _, v := range s.samples {
				h.Record(sim.Duration(v))
			}
			want := h.Freeze()
			got, _ := s.freeze()
			for k := range numMetrics {
				if g, w := figureOf(got, k), figureOf(want, k); g != w {
					t.Fatalf("%s, %s: %v, of a histogram %v", m.name, metricNames[k], g, w)
				}
			}
			if got.moments != want.moments {
				t.Fatalf("%s: moments %v, of a histogram %v", m.name, got.moments, want.moments)
			}
		}
	}
}

func BenchmarkModelRun(b *testing.B) {
	m := models(1)[1]
	s := newSampler(1, 1)
	for b.Loop() {
		s.run(m, levelNS)
	}
}
