package layer_test

import (
	"slices"
	"testing"

	"nbdbench/devices/layer"
)

// TestAnyServerIsPassAndNone: all others need a server half of ours.
func TestAnyServerIsPassAndNone(t *testing.T) {
	var got []string
	for _, s := range layer.Strategies() {
		if s.AnyServer {
			got = append(got, s.Name)
		}
	}
	if want := []string{"none", "none-grouped", "none-unsafe", "pass"}; !slices.Equal(got, want) {
		t.Errorf("got %v, expected %v", got, want)
	}
}
