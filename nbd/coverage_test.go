package nbd

import (
	"testing"

	"pgregory.net/rapid"
)

// TestCoverageAgreesWithAMapOfBytes: parts in any order are refused if and only
// if one of their bytes has come before.
func TestCoverageAgreesWithAMapOfBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 64
		var c coverage
		var came [size]bool
		total := 0
		for range rapid.IntRange(1, 40).Draw(t, "parts") {
			from := rapid.IntRange(0, size-1).Draw(t, "from")
			n := rapid.IntRange(1, min(8, size-from)).Draw(t, "n")
			twice := false
			for _, b := range came[from : from+n] {
				twice = twice || b
			}
			before := len(c)
			if err := c.add(uint64(from), uint64(n)); (err != nil) != twice {
				t.Fatalf("%d at %d after %v: %v", n, from, c, err)
			} else if err != nil {
				if len(c) != before {
					t.Fatalf("a part that is refused became %v", c)
				}
				continue
			}
			for i := range n {
				came[from+i] = true
			}
			total += n
		}
		sum := 0
		for i, s := range c {
			if sum += int(s.to - s.from); i > 0 && s.from <= c[i-1].to {
				t.Fatalf("%v are not apart and in order", c)
			}
		}
		if sum != total {
			t.Fatalf("%v has %d bytes of %d", c, sum, total)
		}
	})
}

// TestCoverageIsBounded: every other byte, backwards.
func TestCoverageIsBounded(t *testing.T) {
	var c coverage
	for i := uint64(0); i < maxSpans; i++ {
		if err := c.add(2*(maxSpans-i), 1); err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	if err := c.add(0, 1); err == nil || len(c) != maxSpans {
		t.Errorf("one more was taken: %v", err)
	}
	if err := c.add(2*maxSpans+1, 1); err != nil {
		t.Errorf("what closes a gap was refused: %v", err)
	}
}

// TestChunksInOrderAllocateNothing once a slot has been used.
func TestChunksInOrderAllocateNothing(t *testing.T) {
	c := make(coverage, 0, 1)
	if n := testing.AllocsPerRun(100, func() {
		c = c[:0]
		for at := uint64(0); at < 64; at++ {
			if err := c.add(at*512, 512); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
