package hdd_test

import (
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/hdd"
)

// writeOf is a write of n bytes at off.
func writeOf(off, n uint64, flags devices.Flags) *devices.Request {
	r := write(off, flags)
	r.Length = n
	return r
}

// turnsMore is by how many revolutions the last of rs takes longer on a disk with
// physical blocks of 4 KiB than on one of 512 bytes; the rest comes before it.
func turnsMore(t *testing.T, cfg hdd.Config, cached bool, rs func() []*devices.Request) float64 {
	t.Helper()
	var took [2]time.Duration
	for i, block := range []uint64{512, 4096} {
		cfg.PhysicalBlock = block
		g := newRig(t, cfg)
		if !cached {
			g = newRigWithoutCache(t, cfg)
		}
		for _, r := range rs() {
			took[i] = g.do(r)
		}
	}
	turn := time.Minute / time.Duration(cfg.RPM)
	more := float64(took[1]-took[0]) / float64(turn)
	t.Logf("%v with 512 bytes, %v with 4 KiB: %.3f revolutions", took[0], took[1], more)
	return more
}

func TestAWriteOfPartOfAPhysicalBlockTakesATurnMore(t *testing.T) {
	const at = 5 << 30
	fua := devices.FUA
	track := uint64(disk7200.OuterTrack) * devices.Sector
	for _, c := range []struct {
		name  string
		want  float64
		cache bool
		rs    []*devices.Request
	}{
		{"whole blocks, FUA", 0, true, []*devices.Request{writeOf(at, 8192, fua)}},
		{"the beginning, FUA", 1, true, []*devices.Request{writeOf(at, 512, fua)}},
		{"the end, FUA", 1, true, []*devices.Request{writeOf(at+3584, 512, fua)}},
		{"part of two on one track", 1, true, []*devices.Request{writeOf(at+512, 4096, fua)}},
		{"part of two on two tracks", 2, true, []*devices.Request{writeOf(512, track, fua)}},
		{"without a cache", 1, false, []*devices.Request{writeOf(at, 1024, 0)}},
		{"whole, without a cache", 0, false, []*devices.Request{writeOf(at, 4096, 0)}},
		{"the rest is in the write cache", 0, true, []*devices.Request{writeOf(at+512, 3584, 0), writeOf(at, 512, fua)}},
		{"some of the rest is in the write cache", 1, true, []*devices.Request{writeOf(at+512, 512, 0), writeOf(at, 512, fua)}},
		{"the rest is in the read cache", 0, true, []*devices.Request{read(at, 4096), writeOf(at, 512, fua)}},
		{"what was read was overwritten", 1, true, []*devices.Request{read(at, 4096), writeOf(at+512, 512, fua), writeOf(at+512, 512, fua)}},
		{"destage of a part", 1, true, []*devices.Request{writeOf(at, 2048, 0), flush()}},
		{"destage of a whole", 0, true, []*devices.Request{writeOf(at, 4096, 0), flush()}},
		{"destage of parts that are a whole", 0, true, []*devices.Request{writeOf(at+2048, 2048, 0), writeOf(at, 1024, 0), writeOf(at+1024, 1024, 0), flush()}},
		{"destage of parts with a hole", 1, true, []*devices.Request{writeOf(at+2048, 2048, 0), writeOf(at, 1024, 0), flush()}},
		{"destage of adjacent blocks with a part", 1, true, []*devices.Request{writeOf(at, 8192, 0), writeOf(at+8192, 512, 0), flush()}},
		{"zeroes, FUA", 1, true, []*devices.Request{{Op: devices.OpWriteZeroes, Flags: fua, Offset: at, Length: 512}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			again := func() (rs []*devices.Request) {
				for _, r := range c.rs {
					rs = append(rs, &devices.Request{Op: r.Op, Flags: r.Flags, Offset: r.Offset, Length: r.Length, Txn: r.Txn})
				}
				return rs
			}
			// A block passes in less than a hundredth of a turn.
			if got := turnsMore(t, disk7200, c.cache, again); got < c.want-0.01 || got > c.want+0.01 {
				t.Errorf("%.3f revolutions more, want %g", got, c.want)
			}
		})
	}
}

func TestSequentialFUAWritesOfSectorsTakeTwoTurnsOnA512eDisk(t *testing.T) {
	g := newRig(t, disk7200)
	const n = 200
	start := g.loop.Now()
	for i := uint64(0); i < n; i++ {
		g.do(writeOf(i*512, 512, devices.FUA))
	}
	rate := n / g.loop.Now().Sub(start).Seconds()
	t.Logf("%.1f commits/s", rate)
	if rate < 58 || rate > 62 {
		t.Errorf("%.1f commits/s, want 60", rate)
	}
}
