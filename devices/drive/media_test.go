package drive

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"nbdbench/devices"
)

// TestVersionMediaAgainstAnArray compares version media with the simplest
// thing that could be right: one stamp a sector.
func TestVersionMediaAgainstAnArray(t *testing.T) {
	const sectors = 4 * bulkPages * pageSectors
	rapid.Check(t, func(t *rapid.T) {
		m := NewMedia(Versions)
		want := make([]devices.Stamp, sectors)
		for i := range rapid.IntRange(1, 60).Draw(t, "writes") {
			from := rapid.IntRange(0, sectors-1).Draw(t, "from")
			n := rapid.OneOf(rapid.IntRange(1, 24), rapid.IntRange(1, sectors)).Draw(t, "sectors")
			if rapid.Bool().Draw(t, "aligned") {
				from, n = from/8*8, (n+7)/8*8
			}
			n = min(n, sectors-from)
			s := devices.Stamp(i + 1)
			m.Write(uint64(from)*devices.Sector, uint64(n)*devices.Sector, Content{Stamp: s})
			for j := from; j < from+n; j++ {
				want[j] = s
			}
		}
		if rapid.Bool().Draw(t, "clone") {
			m = m.Clone()
		}
		got := devices.Payload{Versions: make([]devices.Stamp, sectors)}
		m.Read(0, sectors*devices.Sector, &got)
		for i := range want {
			if got.Versions[i] != want[i] || m.Stamp(uint64(i)) != want[i] {
				t.Fatalf("sector %d holds %d, want %d", i, got.Versions[i], want[i])
			}
		}
	})
}

func TestByteMediaAgainstABuffer(t *testing.T) {
	const size = 5 * chunkSize
	rapid.Check(t, func(t *rapid.T) {
		m := NewMedia(RealBytes)
		want := make([]byte, size)
		for i := range rapid.IntRange(1, 30).Draw(t, "writes") {
			from := rapid.IntRange(0, size-1).Draw(t, "from")
			n := rapid.OneOf(rapid.IntRange(1, 9000), rapid.IntRange(1, size)).Draw(t, "bytes")
			n = min(n, size-from)
			if rapid.IntRange(0, 3).Draw(t, "zero") == 0 {
				m.Write(uint64(from), uint64(n), Content{Zero: true})
				clear(want[from : from+n])
				continue
			}
			data := bytes.Repeat([]byte{byte(i + 1)}, n)
			m.Write(uint64(from), uint64(n), Content{Bytes: data})
			copy(want[from:], data)
		}
		clone := m.Clone()
		m.Write(0, size, Content{Zero: true})
		got := devices.Payload{Bytes: make([]byte, size)}
		clone.Read(0, size, &got)
		if !bytes.Equal(got.Bytes, want) {
			t.Fatal("media and buffer differ")
		}
	})
}

// TestExtentsAgainstASlice inserts and removes at random and walks both ways.
func TestExtentsAgainstASlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var x extents
	live := map[uint64]*Extent{}
	for step := 0; step < 20_000; step++ {
		off := uint64(rng.IntN(1500)) * 10
		if e := live[off]; e != nil {
			x.remove(e)
			delete(live, off)
		} else {
			e := &Extent{Off: off, End: off + 1 + uint64(rng.IntN(10))}
			x.insert(e)
			live[off] = e
		}
		if step%200 != 0 {
			continue
		}
		checkExtents(t, &x, live)
	}
}

func checkExtents(t *testing.T, x *extents, live map[uint64]*Extent) {
	t.Helper()
	n, last := 0, int64(-1)
	var cur, end cursor
	for ; x.at(cur) != nil; cur = x.next(cur) {
		e := x.at(cur)
		if int64(e.Off) <= last || live[e.Off] != e {
			t.Fatalf("extent at %d after %d", e.Off, last)
		}
		last, end = int64(e.Off), cur
		n++
	}
	if n != len(live) || x.n != n {
		t.Fatalf("%d extents, index says %d, want %d", n, x.n, len(live))
	}
	for ok := n > 0; ok; end, ok = x.prev(end) {
		n--
	}
	if n != 0 {
		t.Fatalf("%d extents are not met on the way back", n)
	}
	for probe := uint64(0); probe < 15_000; probe += 37 {
		got := x.at(x.seek(probe))
		if got != nil && got.End <= probe {
			t.Fatalf("seek(%d) finds [%d,%d)", probe, got.Off, got.End)
		}
		for _, e := range live {
			if e.End > probe && (got == nil || e.Off < got.Off) {
				t.Fatalf("seek(%d) misses [%d,%d)", probe, e.Off, e.End)
			}
		}
	}
}

func BenchmarkStampMedia(b *testing.B) {
	m := NewMedia(Versions)
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		m.Write(rng.Uint64N(1<<28)*4096, 4096, Content{Stamp: devices.Stamp(i + 1)})
	}
}

func BenchmarkCacheWrite(b *testing.B) {
	for _, n := range []uint64{1, 64, 16384} {
		b.Run(map[uint64]string{1: "1-dirty", 64: "64-dirty", 16384: "16384-dirty"}[n], func(b *testing.B) {
			c := NewCache(NewMedia(Versions), 1<<40, 4096)
			rng := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for i := 0; i < b.N; i++ {
				c.Write(rng.Uint64N(n)*4096, 4096, Content{Stamp: devices.Stamp(i + 1)}, 1)
			}
		})
	}
}
