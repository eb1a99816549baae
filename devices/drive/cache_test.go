package drive

import (
	"testing"

	"nbdbench/devices"
)

// TestAnOverwriteOfTwoExtentsIsAsOldAsTheOlder: what replaces the whole of an
// old extent and a part of a newer one must be met before the newer one, or a
// FLUSH that covers the old extent alone finds nothing to wait for.
func TestAnOverwriteOfTwoExtentsIsAsOldAsTheOlder(t *testing.T) {
	c := NewCache(NewMedia(Versions), 1<<20, devices.Sector)
	old := c.Write(0, devices.Sector, Content{Stamp: 1}, 0)
	c.Write(devices.Sector, 2*devices.Sector, Content{Stamp: 2}, 0)
	c.Write(0, 2*devices.Sector, Content{Stamp: 3}, 0)
	if c.Clean(old) {
		t.Fatal("the FLUSH of the first write has nothing to wait for, and nothing is durable")
	}
	if bytes, _ := c.Covered(old, 0); bytes != 2*devices.Sector {
		t.Errorf("it covers %d bytes, want the %d of the overwrite", bytes, 2*devices.Sector)
	}
}

// TestAnAtomicUnitLeavesInOneFlight: two extents of one unit go together, so
// that no cut between two flights shows a half of each.
func TestAnAtomicUnitLeavesInOneFlight(t *testing.T) {
	c := NewCache(NewMedia(Versions), 1<<20, 4096)
	c.Write(0, 4096, Content{Stamp: 1}, 0)
	c.Write(devices.Sector, devices.Sector, Content{Stamp: 2}, 0)
	f := c.Depart()
	c.Take(f, c.Oldest())
	if f.Bytes() != 4096 || c.Dirty() != 0 {
		t.Errorf("%d bytes left and %d stayed", f.Bytes(), c.Dirty())
	}
	c.Land(f)
	for sector, want := range []devices.Stamp{1, 2, 1, 1, 1, 1, 1, 1} {
		if got := c.Newest(uint64(sector)); got != want {
			t.Errorf("sector %d holds %d, want %d", sector, got, want)
		}
	}
}

// TestTheOrderOfAgeHolds writes at random and walks the list.
func TestTheOrderOfAgeHolds(t *testing.T) {
	c := NewCache(NewMedia(Versions), 1<<30, devices.Sector)
	x := uint64(1)
	draw := func(n uint64) uint64 { x = x*6364136223846793005 + 1442695040888963407; return (x >> 33) % n }
	for i := range 20_000 {
		off := draw(40)
		c.Write(off*devices.Sector, (1+draw(12))*devices.Sector, Content{Stamp: devices.Stamp(i + 1)}, 0)
		if draw(4) == 0 && c.Oldest() != nil {
			f := c.Depart()
			c.TakeUpTo(f, c.Oldest().First, ^uint64(0))
			c.Land(f)
		}
		var last, sum uint64
		for e := c.Oldest(); e != nil; e = e.Newer() {
			if e.First < last {
				t.Fatalf("after %d writes an extent with First %d follows one with %d", i, e.First, last)
			}
			last = e.First
			sum += e.Len()
		}
		if sum != c.Dirty() {
			t.Fatalf("after %d writes %d bytes are listed, %d dirty", i, sum, c.Dirty())
		}
	}
}
