package results

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
