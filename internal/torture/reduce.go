package torture

import (
	"fmt"
	"slices"
	"strings"
)

// Reduced is a failing image with fewer losses: of the atomic units that the image lacks,
// a small set was sought whose loss alone fails the check.
type Reduced struct {
	Units   int    `json:"units"`   // of the failing image that are not what was acknowledged last
	Lost    int    `json:"lost"`    // of the reduced one
	Checks  int    `json:"checks"`  // images that were mounted and checked for it
	Minimal bool   `json:"minimal"` // the check does not fail so where any one of these is restored
	Image   string `json:"image"`   // a file; empty where nothing could be left out
	Reason  string `json:"reason"`  // why there is none, or empty
}

// String says it in a line.
func (r *Reduced) String() string {
	if r.Reason != "" {
		return "not reduced: " + r.Reason
	}
	what := "a set of units that cannot be made smaller by one"
	if !r.Minimal {
		what = "not proven to be the smallest"
	}
	return fmt.Sprintf("reduced from %d lost units to %d in %d checks (%s)", r.Units, r.Lost, r.Checks, what)
}

// reduction seeks a small set of numbers for which fails holds, by delta debugging with a
// binary search for each number that matters, and at most so many calls.
type reduction struct {
	left  int // calls
	calls int
	fails func(lost []int) (bool, error)
	err   error
}

// try reports whether fails holds for a set. Without calls left it does not.
func (r *reduction) try(lost []int) bool {
	if r.left == 0 || r.err != nil {
		return false
	}
	r.left--
	r.calls++
	var bad bool
	bad, r.err = r.fails(lost)
	return bad && r.err == nil
}

// reduce reduces the set of the numbers to n, for which fails holds. Each set that it
// returns has been seen to fail, or is all. minimal reports that fails holds for none that
// lacks one of the result's.
func (r *reduction) reduce(n int) (lost []int, minimal bool) {
	var need []int // in falling order: each of them matters beside the others
	for rest := n; ; {
		if len(need) > 0 && r.try(rising(need, 0)) {
			return r.confirm(rising(need, 0))
		}
		// need and the first hi of the rest fail, need and the first lo do not.
		lo, hi := 0, rest
		for hi-lo > 1 {
			switch middle := (lo + hi) / 2; {
			case r.try(rising(need, middle)):
				hi = middle
			case r.left == 0 || r.err != nil:
				return rising(need, hi), false
			default:
				lo = middle
			}
		}
		if r.left == 0 || r.err != nil {
			return rising(need, hi), false
		}
		need, rest = append(need, hi-1), hi-1
		if rest == 0 {
			return r.confirm(rising(need, 0))
		}
	}
}

// confirm leaves out single numbers of a set for which fails holds, where it then still
// does.
func (r *reduction) confirm(lost []int) ([]int, bool) {
	for i := 0; i < len(lost) && len(lost) > 1; {
		smaller := slices.Delete(slices.Clone(lost), i, i+1)
		switch {
		case r.try(smaller):
			lost = smaller
		case r.left == 0 || r.err != nil:
			return lost, false
		default:
			i++
		}
	}
	return lost, true
}

// rising are the numbers up to first and those of a falling list, in order.
func rising(falling []int, first int) (out []int) {
	for n := range first {
		out = append(out, n)
	}
	for _, n := range slices.Backward(falling) {
		out = append(out, n)
	}
	return out
}

// places are the first units of a set, for a report.
func places(units []uint64, lost []int) string {
	const most = 8
	var words []string
	for _, n := range lost[:min(len(lost), most)] {
		words = append(words, fmt.Sprint(units[n]))
	}
	if len(lost) > most {
		words = append(words, "...")
	}
	return strings.Join(words, ", ")
}
