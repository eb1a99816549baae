package results

import "fmt"

// Threshold is a bound on one figure of the document, and whether it holds.
type Threshold struct {
	Expression string   `json:"expression"`
	Value      *float64 `json:"value"` // null where it is not known
	Bound      float64  `json:"bound"`
	CI95       *Ratio   `json:"ci95"`
	// OK is whether the far end of the interval holds the bound, or the value where
	// it is a count; null where nothing can be said.
	OK *bool `json:"ok"`
	// Reason says why OK is not true.
	Reason string `json:"reason"`
}

// note says in a line what became of the threshold.
func (t *Threshold) note() string {
	switch {
	case t.OK == nil:
		return fmt.Sprintf("threshold %s cannot be judged: %s", t.Expression, t.Reason)
	case !*t.OK:
		return fmt.Sprintf("threshold %s fails: %s", t.Expression, t.Reason)
	}
	return fmt.Sprintf("threshold %s holds", t.Expression)
}
