package sparse

import (
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

// TestATableIsAMap compares a table with Go's map, through sparse and dense segments.
func TestATableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab Table
		want := map[uint64]uint32{}
		bases := []uint64{0, segmentKeys - 4, 5 << 27, MaxKey - 1<<16}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			base := rapid.SampledFrom(bases).Draw(t, "base")
			from := base + uint64(rapid.IntRange(0, 3000).Draw(t, "from"))
			n := uint64(rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, 1<<16-3001)).Draw(t, "n"))
			stride := uint64(rapid.IntRange(1, 9).Draw(t, "stride"))
			v := rapid.Uint32Range(0, MaxValue).Draw(t, "value")
			remove := rapid.IntRange(0, 3).Draw(t, "remove") == 0
			for k := from; k < from+n; k += stride {
				before, had := want[k]
				got, ok := uint32(0), false
				if remove {
					got, ok = tab.Remove(k)
					delete(want, k)
				} else {
					got, ok = tab.Swap(k, v)
					want[k] = v
				}
				if ok != had || ok && got != before {
					t.Fatalf("key %d had %d %v, want %d %v", k, got, ok, before, had)
				}
			}
		}
		if rapid.Bool().Draw(t, "clone") {
			c := tab.Clone()
			tab.Swap(0, 12345)
			tab = c
		}
		if tab.Len() != len(want) {
			t.Fatalf("%d keys, want %d", tab.Len(), len(want))
		}
		for k, v := range want {
			if got, ok := tab.Get(k); !ok || got != v {
				t.Fatalf("key %d has %d %v, want %d", k, got, ok, v)
			}
		}
		seen := 0
		tab.Each(2, 5<<27+100, func(k uint64, v uint32) {
			if want[k] != v || k < 2 || k >= 5<<27+100 {
				t.Fatalf("key %d is visited with %d, want %d", k, v, want[k])
			}
			seen++
		})
		for k := range want {
			if k >= 2 && k < 5<<27+100 {
				seen--
			}
		}
		if seen != 0 {
			t.Fatalf("%d keys too many or too few were visited", seen)
		}
	})
}

// TestMemoryOfATable holds bytes a key at several shares of keys that have a value.
func TestMemoryOfATable(t *testing.T) {
	const keys = 1 << 22
	for _, share := range []float64{0.001, 0.01, 0.1, 0.2, 0.5, 1} {
		before := heap()
		var tab Table
		for i := range uint64(share * keys) {
			tab.Swap(i*0x9e3779b1%keys, uint32(i)) // an odd factor: no two alike
		}
		each := float64(heap()-before) / float64(tab.Len())
		t.Logf("%g of %d keys: %.1f bytes each", share, keys, each)
		if limit := min(16, 4.5/share+1); share >= 0.01 && each > limit {
			t.Errorf("%g of the keys: %.1f bytes each, want at most %.1f", share, each, limit)
		}
		runtime.KeepAlive(&tab)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkSwap(b *testing.B) {
	const keys = 1 << 24
	var tab Table
	for i := range uint64(keys / 2) {
		tab.Swap(i*0x9e3779b1%keys, 1)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		tab.Swap(uint64(i)*0x9e3779b1%(keys/2), uint32(i))
	}
}
