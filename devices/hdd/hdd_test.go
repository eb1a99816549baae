package hdd_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/hdd"
	"nbdbench/sim"
)

// disk7200 is the disk of the published formulas: 2 TB, 7200 rpm.
var disk7200 = hdd.Config{
	Size: 2e12, RPM: 7200, Heads: 4, Zones: 16, OuterTrack: 3600, InnerTrack: 1800,
	SeekA: 800 * time.Microsecond, SeekB: 13340 * time.Microsecond, SeekKnee: 1.0 / 3,
	Settle: 500 * time.Microsecond, HeadSwitch: 1400 * time.Microsecond, CylinderSwitch: 1800 * time.Microsecond,
	Ack: 100 * time.Microsecond, Bandwidth: 550e6, QueueDepth: 32,
	PhysicalBlock: 4096, Segments: 16, SegmentSize: 2 << 20, ReadAhead: 1 << 20,
}

func disk15k() hdd.Config {
	c := disk7200
	c.RPM, c.SeekA, c.SeekB, c.Settle = 15000, 300*time.Microsecond, 5500*time.Microsecond, 300*time.Microsecond
	c.HeadSwitch, c.CylinderSwitch = 700*time.Microsecond, 900*time.Microsecond
	return c
}

// rig drives a disk by hand.
type rig struct {
	t    testing.TB
	loop *sim.Loop
	dev  *hdd.Device
	done int
	jobs int // of the arm, where a test counts them
}

func newRig(t testing.TB, cfg hdd.Config) *rig {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return openRig(t, cfg, devices.CacheVolatile)
}

func newRigWithoutCache(t testing.TB, cfg hdd.Config) *rig {
	t.Helper()
	return openRig(t, cfg, devices.CacheNone)
}

func openRig(t testing.TB, cfg hdd.Config, cache devices.CacheMode) *rig {
	loop := sim.NewLoop()
	info := devices.Info{
		Size: cfg.Size, LogicalBlock: 512, AtomicUnit: 4096, CanFlush: true, FUA: devices.FUANative,
		CanZero: true, Cache: cache,
	}
	dev := hdd.New(loop, cfg, drive.Config{
		Info: info, Media: drive.NewMedia(drive.Versions), Capacity: 64 << 20, HighWater: 32 << 20, LowWater: 16 << 20,
	})
	return &rig{t: t, loop: loop, dev: dev}
}

func (g *rig) Done(r *devices.Request) {
	if r.Errno != devices.OK {
		g.t.Fatalf("%v: %v", r, r.Errno)
	}
	if got := r.Stages.Total(); got != g.loop.Now().Sub(r.Submitted) {
		g.t.Fatalf("%v: stages sum to %v, it took %v: %v", r, got, g.loop.Now().Sub(r.Submitted), r.Stages)
	}
	g.done++
}

// do submits requests together and runs until all are done; it returns how
// long that took.
func (g *rig) do(rs ...*devices.Request) time.Duration {
	start, want := g.loop.Now(), g.done+len(rs)
	for _, r := range rs {
		r.Completer, r.Submitted = g, start
		r.Begin(start)
		g.dev.Submit(r)
	}
	g.loop.RunWhile(func() bool { return g.done < want })
	if g.done != want {
		g.t.Fatalf("%d of %d requests were never completed", want-g.done, len(rs))
	}
	return g.loop.Now().Sub(start)
}

func write(off uint64, flags devices.Flags) *devices.Request {
	return &devices.Request{Op: devices.OpWrite, Flags: flags, Offset: off, Length: 4096, Txn: 1}
}

func flush() *devices.Request { return &devices.Request{Op: devices.OpFlush, Txn: 2} }

// flushOf is the mean time of a FLUSH of n random dirty 4 KiB extents.
func flushOf(t testing.TB, cfg hdd.Config, n int) float64 {
	g := newRig(t, cfg)
	at := sim.Seed(7).Stream("addresses")
	const rounds = 400
	var sum time.Duration
	for i := 0; i < rounds; i++ {
		for j := 0; j < n; j++ {
			g.do(write(at.Uint64N(cfg.Size/4096, uint64(i), uint64(j))*4096, 0))
		}
		sum += g.do(flush())
	}
	return float64(sum.Microseconds()) / rounds / 1000
}

func TestFlushOfRandomExtentsFollowsThePublishedFigures(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  hdd.Config
		n    int
		ms   float64
	}{
		{"7200", disk7200, 1, 12.9},
		{"7200", disk7200, 2, 23.4},
		{"7200", disk7200, 8, 74.2},
		{"7200", disk7200, 32, 220.5},
		{"15k", disk15k(), 1, 5.7},
		{"15k", disk15k(), 32, 100},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.name, c.n), func(t *testing.T) {
			got := flushOf(t, c.cfg, c.n)
			t.Logf("%s, %d extents: %.1f ms, published %.1f ms", c.name, c.n, got, c.ms)
			if math.Abs(got/c.ms-1) > 0.10 {
				t.Errorf("%.1f ms is not within 10%% of %.1f ms", got, c.ms)
			}
		})
	}
}

func TestSequentialFUAIsOneCommitATurn(t *testing.T) {
	for _, c := range []struct {
		cfg  hdd.Config
		rate float64
	}{{disk7200, 120}, {disk15k(), 250}} {
		g := newRig(t, c.cfg)
		const n = 2000
		start := g.loop.Now()
		for i := uint64(0); i < n; i++ {
			g.do(write(i*4096, devices.FUA))
		}
		rate := n / g.loop.Now().Sub(start).Seconds()
		if math.Abs(rate/c.rate-1) > 0.03 {
			t.Errorf("%d rpm: %.1f commits/s, want %.0f within 3%%", c.cfg.RPM, rate, c.rate)
		}
	}
}

func TestSecondFlushFindsNothingToWrite(t *testing.T) {
	g := newRig(t, disk7200)
	g.do(write(1<<30, 0), write(1<<40, 0))
	if first := g.do(flush()); first < 5*time.Millisecond {
		t.Errorf("first flush took %v", first)
	}
	if second := g.do(flush()); second != disk7200.Ack {
		t.Errorf("second flush took %v, want the controller's %v", second, disk7200.Ack)
	}
}

func TestFlushChargesOtherCommitsDataToFlushOthers(t *testing.T) {
	g := newRig(t, disk7200)
	g.do(write(1<<30, 0), write(1<<40, 0))
	f := flush() // of another transaction: all of it is others' data
	g.do(f)
	if f.Stages[devices.FlushOthers] < 5*time.Millisecond || f.Stages[devices.MediaStage] != 0 {
		t.Errorf("stages %v", f.Stages)
	}
	if s := g.dev.Stats(); s.CollateralBytes != 8192 || s.FlushedBytes != 8192 || s.Flushes != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestWithoutACacheFlushIsFreeAndEachSequentialWriteTakesATurn(t *testing.T) {
	g := newRigWithoutCache(t, disk7200)
	const n = 500
	start := g.loop.Now()
	for i := uint64(0); i < n; i++ {
		g.do(write(i*4096, 0))
	}
	if rate := n / g.loop.Now().Sub(start).Seconds(); math.Abs(rate/120-1) > 0.03 {
		t.Errorf("%.1f writes/s, want 120 within 3%%", rate)
	}
	if d := g.do(flush()); d != disk7200.Ack {
		t.Errorf("FLUSH took %v, want %v", d, disk7200.Ack)
	}
}

// durable is the mean time in which one random write becomes durable beside n
// dirty extents of others, by FUA or by a FLUSH.
func durable(t *testing.T, n int, flags devices.Flags) time.Duration {
	g := newRig(t, disk7200)
	at := sim.Seed(5).Stream("addresses")
	const rounds = 300
	var sum time.Duration
	for i := range uint64(rounds) {
		for j := range n + 1 {
			off := at.Uint64N(disk7200.Size/4096, i, uint64(j)) * 4096
			if j < n {
				g.do(write(off, 0))
				continue
			}
			sum += g.do(write(off, flags))
		}
		if d := g.do(flush()); flags == 0 {
			sum += d
		}
	}
	return sum / rounds
}

// A neighbour's dirty extents cost a FLUSH all of their ways, and FUA none.
func TestANoisyNeighbourDoesNotSlowFUA(t *testing.T) {
	undisturbed, beside, flushed := durable(t, 0, devices.FUA), durable(t, 32, devices.FUA), durable(t, 32, 0)
	ratio := float64(flushed) / float64(beside)
	t.Logf("FUA alone %v, beside 32 dirty extents %v; write and FLUSH %v, %.1f times as long", undisturbed, beside, flushed, ratio)
	if d := float64(beside) / float64(undisturbed); d < 0.9 || d > 1.1 {
		t.Errorf("FUA takes %v alone and %v beside 32 dirty extents", undisturbed, beside)
	}
	if ratio < 12 || ratio > 20 {
		t.Errorf("write and FLUSH take %.1f times as long as FUA, want 12 to 20", ratio)
	}
}

func TestAnIdleDiskDestagesSoThatTheNextFlushIsClean(t *testing.T) {
	for _, c := range []struct {
		idle  time.Duration
		clean bool
	}{{50 * time.Millisecond, true}, {0, false}} {
		loop := sim.NewLoop()
		info := devices.Info{Size: disk7200.Size, LogicalBlock: 512, AtomicUnit: 4096, CanFlush: true, Cache: devices.CacheVolatile}
		g := &rig{t: t, loop: loop, dev: hdd.New(loop, disk7200, drive.Config{
			Info: info, Media: drive.NewMedia(drive.Versions), Capacity: 64 << 20, HighWater: 32 << 20, LowWater: 16 << 20, IdleDestage: c.idle,
		})}
		for i := range uint64(8) {
			g.do(write(i<<37, 0))
		}
		g.rest(500 * time.Millisecond)
		if d := g.do(flush()); (d == disk7200.Ack) != c.clean {
			t.Errorf("idle destage after %v: FLUSH took %v, the controller's part is %v", c.idle, d, disk7200.Ack)
		}
	}
}

func BenchmarkDestageFromAFullCache(b *testing.B) {
	g := newRig(b, disk7200)
	at := sim.Seed(7).Stream("addresses")
	r := write(0, 0)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		r.Offset = at.Uint64N(disk7200.Size/4096, uint64(i), 0) * 4096
		g.do(r)
	}
}

// BenchmarkFlush writes random extents and flushes them; an op is one write and
// its share of the FLUSH.
func BenchmarkFlush(b *testing.B) {
	for _, dirty := range []int{32, 1024} {
		b.Run(fmt.Sprint(dirty), func(b *testing.B) {
			g := newRig(b, disk7200)
			at := sim.Seed(7).Stream("addresses")
			w, f := write(0, 0), flush()
			some := func(n int) {
				for range n {
					w.Offset = at.Uint64N(disk7200.Size/4096, uint64(g.done), 0) * 4096
					g.do(w)
				}
				g.do(f)
			}
			some(dirty)
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= dirty {
				some(min(left, dirty))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ios/s")
		})
	}
}

// BenchmarkRead reads at random and one after another.
func BenchmarkRead(b *testing.B) {
	for name, random := range map[string]bool{"random": true, "sequential": false} {
		b.Run(name, func(b *testing.B) {
			g := newRig(b, disk7200)
			at := sim.Seed(7).Stream("addresses")
			r := read(0, 4096)
			b.ReportAllocs()
			for i := 0; i < b.N; i++ {
				r.Offset = uint64(i) * 4096 % disk7200.Size
				if random {
					r.Offset = at.Uint64N(disk7200.Size/4096, uint64(i), 0) * 4096
				}
				g.do(r)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ios/s")
		})
	}
}
