package results

import (
	"bytes"
	"strings"
	"testing"

	"nbdbench/sim"
)

func TestWhatIsAtRiskIsDrawnOverTime(t *testing.T) {
	doc := newSmallDocument()
	for _, c := range doc.Cells {
		if c.Durability == nil {
			continue
		}
		for i := range 10 {
			c.Durability.Expose(Exposed{At: sim.Duration(1+i) * 1e6, Bytes: int64(4096 * i), Commits: int64(i)})
		}
	}
	var drawn int
	for _, c := range doc.Charts() {
		if !strings.HasPrefix(c.Name, "exposure-") {
			continue
		}
		drawn++
		var svg bytes.Buffer
		if err := c.Write(&svg, "svg"); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"bytes at risk", "commits at risk", "10 ms", "1k"} {
			if !strings.Contains(svg.String(), want) {
				t.Errorf("%s has no %q", c.Name, want)
			}
		}
	}
	if drawn == 0 {
		t.Error("no chart")
	}
}

func TestACellKeepsTheExposureOfOnlyItsFirstRun(t *testing.T) {
	var sum, one, two Durability
	for i := range 1000 {
		one.Expose(Exposed{At: sim.Duration(i), Bytes: 1})
		two.Expose(Exposed{At: sim.Duration(i), Bytes: 2})
	}
	sum.Merge(&one)
	sum.Merge(&two)
	if n := len(sum.Exposure); n == 0 || n > MaxExposed {
		t.Fatalf("%d instants", n)
	}
	for i, e := range sum.Exposure {
		if e.Bytes != 1 || i > 0 && e.At <= sum.Exposure[i-1].At {
			t.Fatalf("instant %d is %+v", i, e)
		}
	}
}
