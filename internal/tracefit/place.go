package tracefit

import (
	"math"

	"nbdbench/sim"
)

// The patterns of requests that do not go on where one ended.
const (
	patternRandom = "random"
	patternZipf   = "zipf"
	patternZoned  = "zoned"
)

const (
	minTheta, maxTheta = 0.05, 0.99
	leastExcess        = 0.10 // of a hot zone: its share of requests less that of the bins
	together           = 0.70 // the part of all excess that one zone has
	evenPart           = 0.01 // how much more than of even requests the hottest tenth has
	topRanks           = 1 << 14
)

// locality says where the requests of a class go.
type locality struct {
	pattern string
	theta   float64    // of zipf
	before  float64    // of zoned: percent of the region before the hot zone,
	hot     float64    // percent of it that the zone is,
	share   [3]float64 // and percent of the requests before, in and after it
}

// place finds the pattern of bins with counts of requests for so many blocks.
func place(bins []uint64, blocks uint64) locality {
	all := uint64(0)
	for _, n := range bins {
		all += n
	}
	if all == 0 || len(bins) < 10 {
		return locality{pattern: patternRandom}
	}
	from, to, excess := hotZone(bins, all)
	if excess > leastExcess && excess > together*scatteredExcess(bins, all) {
		return zoned(bins, from, to, all)
	}
	want := hottest(bins)
	if want <= expected(0, len(bins), blocks, all)+evenPart {
		return locality{pattern: patternRandom}
	}
	low, high := minTheta, maxTheta
	for range 16 {
		if theta := (low + high) / 2; expected(theta, len(bins), blocks, all) < want {
			low = theta
		} else {
			high = theta
		}
	}
	return locality{pattern: patternZipf, theta: math.Round((low+high)/2*1000) / 1000}
}

// hotZone is the run of bins with the most requests beyond what even ones would have
// (Kadane's maximum subarray), and that excess as a share of all.
func hotZone(bins []uint64, all uint64) (from, to int, excess float64) {
	even, sum, begin := 1/float64(len(bins)), 0.0, 0
	for i, n := range bins {
		if sum <= 0 {
			sum, begin = 0, i
		}
		if sum += float64(n)/float64(all) - even; sum > excess {
			from, to, excess = begin, i+1, sum
		}
	}
	return from, to, excess
}

// scatteredExcess is that of the bins above average, wherever they are.
func scatteredExcess(bins []uint64, all uint64) (sum float64) {
	even := 1 / float64(len(bins))
	for _, n := range bins {
		sum += max(float64(n)/float64(all)-even, 0)
	}
	return sum
}

func zoned(bins []uint64, from, to int, all uint64) locality {
	percent := func(x, of float64) float64 { return math.Round(1e4*x/of) / 100 }
	l := locality{pattern: patternZoned, before: percent(float64(from), float64(len(bins))), hot: percent(float64(to-from), float64(len(bins)))}
	for i, part := range [][]uint64{bins[:from], bins[from:to], bins[to:]} {
		n := uint64(0)
		for _, x := range part {
			n += x
		}
		l.share[i] = percent(float64(n), float64(all))
	}
	return l
}

// expected is the share of the hottest tenth of the bins for zipf with a theta, 0 for even
// requests, over blocks spread at random: of the hottest blocks each one in its bin, of
// all others an even part in each, and the noise of so many draws.
func expected(theta float64, bins int, blocks, draws uint64) float64 {
	weight := make([]float64, bins)
	seed := sim.Seed(1).Stream("spread")
	ranks := min(blocks, topRanks)
	total := 0.0
	if theta > 0 {
		for k := range ranks {
			w := math.Pow(float64(k+1), -theta)
			at := k
			if blocks > uint64(bins) {
				at = seed.Uint64N(uint64(bins), k, 0)
			}
			weight[at%uint64(bins)] += w
			total += w
		}
		if blocks > ranks { // the integral of the rest
			rest := (math.Pow(float64(blocks), 1-theta) - math.Pow(float64(ranks), 1-theta)) / (1 - theta)
			for i := range weight {
				weight[i] += rest / float64(bins)
			}
			total += rest
		}
	} else {
		for i := range weight {
			weight[i] = 1
		}
		total = float64(bins)
	}
	counts := make([]uint64, bins)
	for i, w := range weight {
		mean := w / total * float64(draws)
		counts[i] = uint64(max(math.Round(mean+seed.Normal(uint64(i), 1)*math.Sqrt(mean)), 0))
	}
	return hottest(counts)
}
