package torture

import (
	"errors"
	"slices"
	"testing"
)

// needs fails for each set that has all of these.
func needs(all ...int) func([]int) (bool, error) {
	return func(lost []int) (bool, error) {
		for _, n := range all {
			if !slices.Contains(lost, n) {
				return false, nil
			}
		}
		return true, nil
	}
}

func TestReductionFindsTheUnitsThatMatter(t *testing.T) {
	for _, want := range [][]int{{0}, {999}, {17, 18}, {3, 500, 998}} {
		r := reduction{left: 1000, fails: needs(want...)}
		lost, minimal := r.reduce(1000)
		if !slices.Equal(lost, want) || !minimal || r.calls > 64 {
			t.Errorf("got %v, %v in %d checks, expected %v", lost, minimal, r.calls, want)
		}
	}
}

// TestReductionOfWhatIsNotMonotonic: any two of the first four.
func TestReductionOfWhatIsNotMonotonic(t *testing.T) {
	r := reduction{left: 1000, fails: func(lost []int) (bool, error) {
		n := 0
		for _, l := range lost {
			if l < 4 {
				n++
			}
		}
		return n == 2 || n == 4, nil
	}}
	if lost, minimal := r.reduce(64); len(lost) != 2 || !minimal {
		t.Errorf("got %v, %v", lost, minimal)
	}
}

func TestReductionEndsAtItsBoundAndAtAnError(t *testing.T) {
	r := reduction{left: 5, fails: needs(3, 500, 998)}
	if lost, minimal := r.reduce(1000); minimal || r.calls != 5 || !slices.Contains(lost, 998) {
		t.Errorf("got %d units, %v in %d checks", len(lost), minimal, r.calls)
	}
	r = reduction{left: 1000, fails: func([]int) (bool, error) { return false, errors.New("no") }}
	if lost, minimal := r.reduce(8); minimal || r.calls != 1 || len(lost) != 8 || r.err == nil {
		t.Errorf("got %v, %v in %d checks, %v", lost, minimal, r.calls, r.err)
	}
	r = reduction{left: 1000, fails: needs(0)}
	if lost, minimal := r.reduce(1); !minimal || len(lost) != 1 || r.calls != 0 {
		t.Errorf("one unit: got %v, %v in %d checks", lost, minimal, r.calls)
	}
}
