package interop

import (
	"fmt"
	"slices"
	"testing"
)

// compared is how one contestant did beside another, by the ratios of what was
// measured one after the other: the machine's changes of speed are in both.
type compared struct {
	median   float64
	low, top float64 // of the median's 95% interval
	ok       bool    // there are enough pairs for one
}

// compare compares a with b, pair by pair.
func compare(a, b []rate, of func(rate) float64) compared {
	var ratios []float64
	for i := range a {
		ratios = append(ratios, of(a[i])/of(b[i]))
	}
	return spread(ratios)
}

// spread is the median of v with its interval by order statistics, which supposes
// nothing about how v is distributed (the sign test, turned around): from the k-th
// smallest to the k-th greatest, k as great as leaves at most 2.5% on each side
// (B. Arnold, N. Balakrishnan, H. Nagaraja, A First Course in Order Statistics, 7.1).
func spread(v []float64) (c compared) {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	c.median = (v[(n-1)/2] + v[n/2]) / 2
	term, sum := 1.0, 0.0 // of the binomial distribution with p = 1/2
	for range n {
		term /= 2
	}
	for k := 0; k < n/2; k++ {
		if sum += term; sum > .025 {
			break
		}
		c.low, c.top, c.ok = v[k], v[n-1-k], true
		term *= float64(n-k) / float64(k+1)
	}
	return c
}

func (c compared) String() string {
	if !c.ok {
		return fmt.Sprintf("%.2f", c.median)
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", c.median, c.low, c.top)
}

// The ranks are those of tables of the sign test at 5%, two-sided.
func TestSpreadIsThatOfTheSignTest(t *testing.T) {
	for n, k := range map[int]int{6: 1, 8: 1, 9: 2, 12: 3, 15: 4, 20: 6, 25: 8} {
		v := make([]float64, n)
		for i := range v {
			v[n-1-i] = float64(i + 1)
		}
		want := compared{float64(n+1) / 2, float64(k), float64(n + 1 - k), true}
		if got := spread(v); got != want {
			t.Errorf("of %d: got %+v, want %+v", n, got, want)
		}
	}
	if got := spread([]float64{1, 2, 3, 4, 5}); got.ok || got.median != 3 {
		t.Errorf("five have an interval: %+v", got)
	}
}
