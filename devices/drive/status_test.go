package drive

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"nbdbench/devices"
)

const statusSize = 4 * chunkSize

// states expands an answer to one state for each byte.
func states(t *rapid.T, b *devices.BlockStatus, n uint64) (out []devices.StatusFlags) {
	for _, e := range b.Extents {
		if e.Length == 0 {
			t.Fatalf("an extent without length in %v", b.Extents)
		}
		out = append(out, sameState(e.Flags, e.Length)...)
	}
	if uint64(len(out)) > n {
		t.Fatalf("%d bytes of state for %d", len(out), n)
	}
	return out
}

func sameState(f devices.StatusFlags, n uint64) []devices.StatusFlags {
	out := make([]devices.StatusFlags, n)
	for i := range out {
		out[i] = f
	}
	return out
}

func drawRange(t *rapid.T) (off, n uint64) {
	unit := rapid.SampledFrom([]uint64{1, devices.Sector, pageSize, chunkSize}).Draw(t, "unit")
	off = rapid.Uint64Range(0, statusSize/unit-1).Draw(t, "offset") * unit
	n = rapid.Uint64Range(1, (statusSize-off+unit-1)/unit).Draw(t, "length") * unit
	return off, min(n, statusSize-off)
}

func drawContent(t *rapid.T, n uint64) Content {
	switch rapid.IntRange(0, 2).Draw(t, "content") {
	case 0:
		return Content{Zero: true}
	case 1:
		return Content{Zero: true, Provision: true}
	default:
		return Content{Bytes: bytes.Repeat([]byte{7}, int(n))}
	}
}

// TestStatusIsTrueOfByteMedia: what is called zeros reads as zeros, what was
// provisioned is no hole, what was never written is one, and the whole range is
// answered for.
func TestStatusIsTrueOfByteMedia(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newByteMedia()
		model, provisioned := make([]byte, statusSize), make([]bool, statusSize)
		touched := make([]bool, statusSize)
		for range rapid.IntRange(0, 12).Draw(t, "writes") {
			off, n := drawRange(t)
			c := drawContent(t, n)
			m.Write(off, n, c)
			for i := off; i < off+n; i++ {
				touched[i] = true
				if model[i] = 7; c.Zero {
					model[i], provisioned[i] = 0, c.Provision
				}
			}
		}
		got := make([]byte, statusSize)
		m.Read(0, statusSize, &devices.Payload{Bytes: got})
		if !bytes.Equal(got, model) {
			t.Fatal("read something else than was written")
		}
		var b devices.BlockStatus
		off, n := drawRange(t)
		b.Reset(devices.MaxStatusExtents)
		if !MediaStatus(m, off, n, &b) {
			t.Fatal("no room")
		}
		all := states(t, &b, n)
		if uint64(len(all)) != n {
			t.Fatalf("%d bytes answered for, of %d", len(all), n)
		}
		for i, f := range all {
			at := off + uint64(i)
			switch {
			case f&devices.StatusZero != 0 && model[at] != 0:
				t.Fatalf("byte %d is data and was called %b", at, f)
			case f&devices.StatusHole != 0 && provisioned[at]:
				t.Fatalf("byte %d was provisioned and was called a hole", at)
			case f == 0 && !anyTouched(touched, at):
				t.Fatalf("nothing was written near byte %d and it was called data", at)
			}
		}
	})
}

// anyTouched reports whether anything in at's page was written.
func anyTouched(touched []bool, at uint64) bool {
	page := at / pageSize * pageSize
	for _, x := range touched[page : page+pageSize] {
		if x {
			return true
		}
	}
	return false
}

// TestStatusIsTrueOfACache: what is called zeros reads as zeros, whether it is
// dirty, on its way or on the medium.
func TestStatusIsTrueOfACache(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewCache(NewMedia(RealBytes), 1<<30, devices.Sector)
		var flying []*Flight
		for range rapid.IntRange(0, 16).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				if e := c.Oldest(); e != nil && len(flying) == 0 {
					f := c.Depart()
					c.Take(f, e)
					flying = append(flying, f)
				}
			case 1:
				if len(flying) > 0 {
					c.Land(flying[0])
					flying = flying[1:]
				}
			default:
				off, n := drawRange(t)
				off, n = off/devices.Sector*devices.Sector, max(n/devices.Sector*devices.Sector, devices.Sector)
				n = min(n, statusSize-off)
				c.Write(off, n, drawContent(t, n), 0)
			}
		}
		got := make([]byte, statusSize)
		c.Read(0, statusSize, &devices.Payload{Bytes: got})
		var b devices.BlockStatus
		most := rapid.IntRange(1, 64).Draw(t, "most")
		b.Reset(most)
		off, n := drawRange(t)
		c.Status(off, n, &b)
		all := states(t, &b, n)
		if len(all) == 0 || len(b.Extents) < most && uint64(len(all)) != n {
			t.Fatalf("%d bytes answered for, of %d, in %d extents of at most %d", len(all), n, len(b.Extents), most)
		}
		for i, f := range all {
			if f&devices.StatusZero != 0 && got[off+uint64(i)] != 0 {
				t.Fatalf("byte %d is data and was called %b", off+uint64(i), f)
			}
		}
	})
}

// TestStatusOfStampMedia: version 0 is a hole.
func TestStatusOfStampMedia(t *testing.T) {
	m := NewMedia(Versions)
	m.Write(pageSize, devices.Sector, Content{Stamp: 3})
	var b devices.BlockStatus
	b.Reset(8)
	MediaStatus(m, 100, 2*pageSize, &b)
	want := []devices.StatusExtent{
		{Length: pageSize - 100, Flags: devices.StatusHole | devices.StatusZero},
		{Length: devices.Sector},
		{Length: pageSize - devices.Sector + 100, Flags: devices.StatusHole | devices.StatusZero},
	}
	if len(b.Extents) != 3 || b.Extents[0] != want[0] || b.Extents[1] != want[1] || b.Extents[2] != want[2] {
		t.Errorf("got %v, expected %v", b.Extents, want)
	}
}

// TestZeroingAnEmptyDiskTakesNoTime: a range of 2^62 bytes is done as soon as
// what is stored has been looked at, or this does not return.
func TestZeroingAnEmptyDiskTakesNoTime(t *testing.T) {
	m := newByteMedia()
	m.Write(1<<40, 3, Content{Bytes: []byte{1, 2, 3}})
	m.Write(0, 1<<62, Content{Zero: true, Provision: true})
	if len(m.chunks) != 0 || len(m.provisioned) != 1 {
		t.Errorf("%d chunks and %d ranges are left", len(m.chunks), len(m.provisioned))
	}
	m.Write(0, 1<<62, Content{Zero: true})
	if len(m.provisioned) != 0 {
		t.Errorf("%d ranges are left", len(m.provisioned))
	}
}

func TestProvisionedRangesAreBounded(t *testing.T) {
	var s spans
	for i := range uint64(2 * maxSpans) {
		s.add(2*i, 2*i+1)
	}
	if len(s) != maxSpans {
		t.Errorf("%d spans, expected at most %d", len(s), maxSpans)
	}
	s = spans{{0, 1 << 40}}
	for i := range uint64(2 * maxSpans) {
		s.cut(2*i, 2*i+1)
	}
	if len(s) != maxSpans {
		t.Errorf("%d spans after cutting, expected at most %d", len(s), maxSpans)
	}
}
