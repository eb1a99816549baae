package array

import (
	"testing"

	"nbdbench/devices"
)

func TestEveryByteOfAnArrayHasOnePlace(t *testing.T) {
	for _, l := range []layout{
		{kind: Stripe, chunk: 4096, n: 3, size: 3 * 5 * 4096},
		{kind: RAID5, chunk: 8192, n: 5, size: 4 * 11 * 8192},
		{kind: RAID5, chunk: 4096, n: 3, size: 2 * 7 * 4096},
	} {
		seen := map[[2]uint64]bool{}
		for off := uint64(0); off < l.size; off += 512 {
			i, at := l.locate(off)
			back, isData := l.logical(i, at)
			if !isData || back != off || seen[[2]uint64{uint64(i), at}] {
				t.Fatalf("%+v: byte %d is at %d of member %d, which has byte %d (data %v)", l, off, at, i, back, isData)
			}
			seen[[2]uint64{uint64(i), at}] = true
		}
	}
}

// The rows of md's left-symmetric layout with four members, as the kernel's raid5.c
// computes them: data chunks 0, 1, 2, ... and P.
func TestTheLayoutIsLeftSymmetric(t *testing.T) {
	l := layout{kind: RAID5, chunk: 4096, n: 4, size: 1 << 20}
	want := [][4]int{{0, 1, 2, -1}, {4, 5, -1, 3}, {8, -1, 6, 7}, {-1, 9, 10, 11}, {12, 13, 14, -1}}
	for row, chunks := range want {
		for i, chunk := range chunks {
			off, isData := l.logical(i, uint64(row)*l.chunk)
			if isData != (chunk >= 0) || isData && off != uint64(chunk)*l.chunk {
				t.Errorf("row %d, member %d: byte %d (data %v), want chunk %d", row, i, off, isData, chunk)
			}
		}
	}
}

func TestCapacityIsThatOfTheSmallestMember(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want uint64
	}{
		{Config{Kind: Mirror}, 1<<20 + 512},
		{Config{Kind: Stripe, Chunk: 64 << 10}, 3 << 20},
		{Config{Kind: RAID5, Chunk: 64 << 10}, 2 << 20},
	} {
		if got := c.cfg.Capacity([]uint64{1 << 21, 1<<20 + 512, 1 << 30}); got != c.want {
			t.Errorf("%+v: %d bytes, want %d", c.cfg, got, c.want)
		}
	}
}

func TestAnArrayPromisesWhatAllMembersDo(t *testing.T) {
	native := devices.Info{Size: 1 << 20, LogicalBlock: 512, AtomicUnit: 4096, CanFlush: true, FUA: devices.FUANative, CanTrim: true, CanZero: true, MultiConn: true, Cache: devices.CacheProtected}
	disk := devices.Info{Size: 1 << 20, LogicalBlock: 4096, AtomicUnit: 512, CanFlush: true, Rotational: true, CanZero: true, MultiConn: true, Cache: devices.CacheVolatile}
	c := Config{Kind: Mirror, Size: 1 << 20}
	if i := c.InfoOf([]devices.Info{native, native}); i.FUA != devices.FUANative || !i.CanTrim || i.Cache != devices.CacheProtected {
		t.Errorf("two alike: %+v", i)
	}
	i := c.InfoOf([]devices.Info{native, disk})
	if i.FUA != devices.FUANone || i.CanTrim || !i.CanZero || !i.Rotational || i.LogicalBlock != 4096 || i.AtomicUnit != 512 || i.Cache != devices.CacheVolatile {
		t.Errorf("a drive and a disk: %+v", i)
	}
	c = Config{Kind: RAID5, Size: 1 << 20, Chunk: 4096}
	if i := c.InfoOf([]devices.Info{native, native, native}); i.CanTrim || i.CanZero || i.CanFastZero {
		t.Errorf("a RAID 5: %+v", i)
	}
}

func TestValidateNamesTheBounds(t *testing.T) {
	for _, c := range []struct {
		cfg Config
		n   int
		ok  bool
	}{
		{Config{Kind: Mirror}, 1, false},
		{Config{Kind: Mirror}, 2, true},
		{Config{Kind: Mirror}, MaxMembers + 1, false},
		{Config{Kind: Stripe, Chunk: 4096}, 2, true},
		{Config{Kind: Stripe, Chunk: 2048}, 2, false},
		{Config{Kind: Stripe, Chunk: 12 << 10}, 2, false},
		{Config{Kind: Stripe, Chunk: 8 << 20}, 2, false},
		{Config{Kind: RAID5, Chunk: 4096}, 2, false},
		{Config{Kind: RAID5, Chunk: 4096}, 3, true},
		{Config{Kind: Log}, 3, false},
	} {
		if err := c.cfg.Validate(c.n); (err == nil) != c.ok {
			t.Errorf("%+v of %d members: %v", c.cfg, c.n, err)
		}
	}
}
