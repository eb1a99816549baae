package results

import (
	"cmp"
	"math"
	"slices"
)

const (
	// tieTolerance is how close two magnitudes are, relatively, that differ only
	// by rounding.
	tieTolerance = 1e-12
	// maxExact is the largest number of pairs for which the distribution is
	// computed exactly.
	maxExact = 200
)

// signedRank is the two-sided p of Wilcoxon's signed-rank test that the
// differences d lie about 0. Zeros are dropped (Wilcoxon 1945), ties have
// their mean rank, and the distribution is the exact one given those ranks:
// each sign is as likely as the other. No pair that differs gives 1. Above 200
// pairs it is the normal approximation.
func signedRank(d []float64) float64 {
	d = slices.DeleteFunc(slices.Clone(d), func(x float64) bool { return x == 0 })
	if len(d) == 0 {
		return 1
	}
	ranks := doubledRanks(d)
	total, plus := 0, 0
	for i, r := range ranks {
		total += r
		if d[i] > 0 {
			plus += r
		}
	}
	small := min(plus, total-plus)
	if len(d) > maxExact {
		return normalTail(ranks, total, small)
	}
	return min(1, 2*signTail(ranks, total, small))
}

// doubledRanks sorts d by magnitude, in place, and returns twice the mean rank
// of each, which is whole even for ties.
func doubledRanks(d []float64) []int {
	slices.SortStableFunc(d, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	ranks := make([]int, len(d))
	for i := 0; i < len(d); {
		j := i + 1
		for j < len(d) && math.Abs(d[j]) <= math.Abs(d[i])*(1+tieTolerance) {
			j++
		}
		for k := i; k < j; k++ {
			ranks[k] = i + 1 + j // twice the mean of i+1..j
		}
		i = j
	}
	return ranks
}

// signTail is the probability that a random choice of signs gives a positive
// rank sum of at most limit: a knapsack over the ranks.
func signTail(ranks []int, total, limit int) float64 {
	p := make([]float64, total+1)
	p[0] = 1
	top := 0
	for _, r := range ranks {
		top += r
		for s := top; s >= 0; s-- {
			p[s] /= 2
			if s >= r {
				p[s] += p[s-r] / 2
			}
		}
	}
	var tail float64
	for _, x := range p[:limit+1] {
		tail += x
	}
	return tail
}

// normalTail approximates signTail, doubled, for many pairs, with a correction
// for continuity; ties are in the variance since it sums the ranks' squares.
func normalTail(ranks []int, total, small int) float64 {
	var variance float64
	for _, r := range ranks {
		variance += float64(r) * float64(r) / 4
	}
	z := (float64(total)/2 - float64(small) - 1) / math.Sqrt(variance)
	return min(1, math.Erfc(max(z, 0)/math.Sqrt2))
}

// holm adjusts p-values for their number (Holm 1979): the result may be
// compared with a level for the whole family. The order is kept.
func holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	out, worst := make([]float64, len(p)), 0.0
	for k, i := range order {
		worst = max(worst, min(1, float64(len(p)-k)*p[i]))
		out[i] = worst
	}
	return out
}
