package history

import (
	"testing"

	"pgregory.net/rapid"
)

// TestNoEntryOvertakesAnOlderOneOfItsSectors: the latest entry that touches a range
// is found, or a later one is named; and none where all have left.
func TestNoEntryOvertakesAnOlderOneOfItsSectors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newDMQueue()
		var all []dmEntry
		left := 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			first := uint64(rapid.IntRange(0, 40).Draw(t, "first"))
			n := rapid.SampledFrom([]uint64{1, 2, 8, dmShort, dmShort + 1, 1 << 30}).Draw(t, "n")
			if rapid.Bool().Draw(t, "far") {
				first += 1 << 31
			}
			if rapid.Bool().Draw(t, "push") {
				all = append(all, dmEntry{sector: first, n: n})
				q.push(all[len(all)-1])
				continue
			}
			want := 0
			for i := range all {
				if e := &all[i]; i >= left && first < e.sector+e.n && e.sector < first+n {
					want = i + 1
				}
			}
			got := q.latest(first, first+n)
			if got < uint64(want) || got > uint64(len(all)) {
				t.Fatalf("%d+%d: the latest is %d, expected %d or later of %d, %d have left", first, n, got, want, len(all), left)
			}
			for e := q.pop(got); e != nil; e = q.pop(got) {
				if e.sector != all[left].sector || e.n != all[left].n {
					t.Fatalf("entry %d is %+v, expected %+v", left+1, e, all[left])
				}
				left++
			}
			if left < want {
				t.Fatalf("%d have left, expected %d at least", left, want)
			}
		}
	})
}
