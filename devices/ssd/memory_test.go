package ssd_test

import (
	"flag"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/ssd/ftl"
	"nbdbench/sim"
)

var blocks = flag.Int("ssd.blocks", 1_000_000, "distinct 4 KiB blocks that the memory test writes; 26000000 is the whole of it")

// TestMemoryOfALargeDrive writes distinct 4 KiB blocks at random to a drive of
// 16 TiB whose mapping is modelled: what it takes for each must let 26 million of
// them fit into 1.5 GiB.
func TestMemoryOfALargeDrive(t *testing.T) {
	cfg := tlc()
	cfg.Flash.Channels, cfg.Flash.DiesPerChannel, cfg.Flash.PagesPerBlock = 16, 8, 768
	cfg.Flash.MappingUnit = 16 << 10 // as drives of this size have it
	g := newRig(t, cfg, over(16<<40, devices.CacheVolatile))
	if err := cfg.Validate(16 << 40); err != nil {
		t.Fatal(err)
	}
	before := heap()
	scatter(g, *blocks)
	n := uint64(*blocks)
	each := float64(heap()-before) / float64(n)
	t.Logf("%d blocks: %.1f bytes each, %.2f GiB for 26 million", n, each, each*26e6/(1<<30))
	// Tables double, so that a small number of blocks may meet them half empty.
	if least := 1.5 * (1 << 30) / 26e6; each > least {
		t.Errorf("%.1f bytes for each block, want at most %.1f", each, least)
	}
	if n >= 26_000_000 {
		if peak := residentPeak(t); peak > 3<<29 {
			t.Errorf("%.2f GiB were resident at most, want less than 1.5", float64(peak)/(1<<30))
		} else {
			t.Logf("%.2f GiB were resident at most", float64(peak)/(1<<30))
		}
	}
	runtime.KeepAlive(g)
}

// scatter writes n distinct blocks, 64 at a time.
func scatter(g *rig, n int) {
	const pages = 16 << 40 / 4096
	rs := make([]devices.Request, 64)
	for i := 0; i < n; i += len(rs) {
		for k := range rs {
			rs[k].Reset()
			// An odd factor is a bijection of the pages: no two are alike.
			page := uint64(i+k) * 0x9e3779b97f4a7c15 % pages
			rs[k].Op, rs[k].Offset, rs[k].Length, rs[k].Stamp = devices.OpWrite, page*4096, 4096, devices.Stamp(i+k+1)
			g.submit(&rs[k])
		}
		g.wait(len(rs))
	}
}

// heap is the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// residentPeak is the most that this process had in memory.
func residentPeak(t *testing.T) uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatal("no VmHWM in /proc/self/status")
	}
	kib, err := strconv.ParseUint(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// BenchmarkSteadyRandomWrites is the drive alone, in steady state: what garbage
// collection costs the simulation.
func BenchmarkSteadyRandomWrites(b *testing.B) {
	cfg := tlc()
	cfg.Flash.Fill = ftl.Random
	g := newRig(b, cfg, over(32<<30, devices.CacheVolatile))
	draw := sim.Seed(1).Stream("bench")
	rs := make([]devices.Request, 32)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(rs) {
		for k := range rs {
			rs[k].Reset()
			rs[k].Op, rs[k].Offset, rs[k].Length = devices.OpWrite, draw.Uint64N(8<<20, uint64(i+k), 0)*4096, 4096
			g.submit(&rs[k])
		}
		g.wait(len(rs))
	}
	s := g.dev.Stats()
	b.ReportMetric(float64(s.MediaWrittenBytes)/float64(max(s.HostWrittenBytes, 1)), "WA")
}
