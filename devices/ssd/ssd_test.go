package ssd_test

import (
	"math"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/ssd"
	"nbdbench/sim"
)

const us = time.Microsecond

// consumer is a drive like the 990 Pro, without spread.
var consumer = ssd.Config{
	SerialPer4K: 460, Parallel: 4 * us, Bandwidth: 6.8e9,
	ReadBase: 10 * us, ReadPage: 50 * us, Dies: 32,
	FlushClean: 20 * us, FlushBase: 1600 * us, FlushPerStripe: 200 * us, Stripe: 1 << 20,
	FUABase: 3980 * us, Servers: 1,
}

// ack is the law of a write that the cache takes.
func ack(n int) time.Duration {
	pages := time.Duration((n + 4095) / 4096)
	return pages*460 + time.Duration(float64(n)/6.8e9*1e9) + 4*us
}

// rig drives a drive by hand.
type rig struct {
	t    testing.TB
	loop *sim.Loop
	dev  *ssd.Device
	done int
}

var cached = drive.Config{
	Info: devices.Info{
		Size: 1 << 40, LogicalBlock: 512, AtomicUnit: 4096, CanFlush: true, FUA: devices.FUANative,
		CanZero: true, CanTrim: true, Cache: devices.CacheVolatile,
	},
	Capacity: 64 << 20, HighWater: 32 << 20, LowWater: 16 << 20,
}

func newRig(t testing.TB, cfg ssd.Config, common drive.Config) *rig {
	t.Helper()
	if err := cfg.Validate(1 << 30); err != nil {
		t.Fatal(err)
	}
	common.Media = drive.NewMedia(drive.Versions)
	loop := sim.NewLoop()
	return &rig{t: t, loop: loop, dev: ssd.New(loop, cfg, common, 1)}
}

func (g *rig) Done(r *devices.Request) {
	r.Completed = g.loop.Now()
	if r.Errno != devices.OK {
		g.t.Fatalf("%v: %v", r, r.Errno)
	}
	if got, want := r.Stages.Total(), r.Completed.Sub(r.Submitted); got != want {
		g.t.Fatalf("%v: stages %v sum to %v, it took %v", r, r.Stages, got, want)
	}
	g.done++
}

func (g *rig) submit(r *devices.Request) *devices.Request {
	r.Completer, r.Submitted = g, g.loop.Now()
	r.Begin(r.Submitted)
	g.dev.Submit(r)
	return r
}

// most bounds the events of one wait.
const most = 1_000_000

// wait runs until n more requests are done.
func (g *rig) wait(n int) {
	g.t.Helper()
	want := g.done + n
	for i := 0; g.done < want; i++ {
		if i == most || !g.loop.Step() {
			g.t.Fatalf("%d of %d requests were not completed after %d events", want-g.done, n, i)
		}
	}
}

// do runs requests that are submitted together; it returns how long that took.
func (g *rig) do(rs ...*devices.Request) time.Duration {
	g.t.Helper()
	start := g.loop.Now()
	for _, r := range rs {
		g.submit(r)
	}
	g.wait(len(rs))
	return g.loop.Now().Sub(start)
}

func write(off, n int, flags devices.Flags, txn uint64) *devices.Request {
	return &devices.Request{Op: devices.OpWrite, Flags: flags, Offset: uint64(off), Length: uint64(n), Txn: txn}
}

func flush(txn uint64) *devices.Request { return &devices.Request{Op: devices.OpFlush, Txn: txn} }

func latencyOf(r *devices.Request) time.Duration { return r.Completed.Sub(r.Submitted) }

func TestAWriteTakesTheSerialAndTheParallelStage(t *testing.T) {
	g := newRig(t, consumer, cached)
	for _, n := range []int{512, 4096, 4608, 8192, 65536, 1 << 20} {
		if got, want := g.do(write(0, n, 0, 1)), ack(n); got != want {
			t.Errorf("%d bytes took %v, want %v", n, got, want)
		}
	}
}

func TestThroughputRisesWithDepthUpToTheSerialStage(t *testing.T) {
	for _, depth := range []int{1, 2, 4, 8, 16, 32} {
		g := newRig(t, consumer, cached)
		s, both := float64(ack(4096)-4*us), float64(ack(4096))
		const writes = 4000
		w := make([]*devices.Request, depth)
		next := 0
		for i := range w {
			w[i] = g.submit(write(i*4096, 4096, 0, 1))
			next++
		}
		var sum time.Duration
		for ; next < writes; next++ {
			g.wait(1)
			r := w[next%depth] // completions come in the order of submission
			sum += latencyOf(r)
			r.Reset()
			*r = *write(next%depth*4096, 4096, 0, 1)
			g.submit(r)
		}
		rate := float64(writes-depth) / float64(g.loop.Now())
		near(t, "rate", depth, rate, math.Min(float64(depth)/both, 1/s))
		near(t, "latency", depth, float64(sum)/float64(writes-depth), math.Max(both, float64(depth)*s))
	}
}

func near(t *testing.T, what string, depth int, got, want float64) {
	t.Helper()
	if math.Abs(got/want-1) > 0.03 {
		t.Errorf("%s at depth %d is %g, want %g", what, depth, got, want)
	}
}

func TestAFlushTakesABaseAndAPartForEachStripe(t *testing.T) {
	for _, c := range []struct {
		dirty int // pages of 4 KiB
		want  time.Duration
	}{
		{0, 20 * us},
		{1, 1600 * us},
		{256, 1600 * us},
		{257, 1800 * us},
		{512, 1800 * us},
		{5 * 256, 2400 * us},
	} {
		g := newRig(t, consumer, cached)
		for i := range c.dirty {
			g.do(write(i*8192, 4096, 0, 1))
		}
		if got := g.do(flush(1)); got != c.want {
			t.Errorf("%d dirty pages: a FLUSH took %v, want %v", c.dirty, got, c.want)
		}
		if got := g.do(flush(1)); got != 20*us {
			t.Errorf("%d dirty pages: the second FLUSH took %v", c.dirty, got)
		}
		if s := g.dev.Stats(); s.FlushedBytes != uint64(c.dirty)*4096 || s.Flushes != 2 {
			t.Errorf("%d dirty pages: stats %+v", c.dirty, s)
		}
	}
}

func TestFUATakesItsOwnTimeAndLeavesOtherDataInTheCache(t *testing.T) {
	g := newRig(t, consumer, cached)
	g.do(write(1<<20, 4096, 0, 1))
	r := write(0, 8192, devices.FUA, 2)
	if got, want := g.do(r), ack(8192)+3980*us; got != want {
		t.Errorf("took %v, want %v", got, want)
	}
	if r.Stages[devices.CacheStage] != ack(8192) || r.Stages[devices.MediaStage] != 3980*us {
		t.Errorf("stages %v", r.Stages)
	}
	if n := g.dev.Cut(1).ExposedBytes(); n != 4096 {
		t.Errorf("%d bytes are exposed, want those of the other write", n)
	}
}

func TestOneUnitServesOneAfterAnother(t *testing.T) {
	g := newRig(t, consumer, cached)
	a, b := write(0, 4096, devices.FUA, 1), write(1<<20, 4096, devices.FUA, 2)
	g.do(a, b)
	one := ack(4096) + 3980*us
	if latencyOf(a) != one || latencyOf(b) != 2*one || b.Stages[devices.DeviceQueue] != one {
		t.Errorf("took %v and %v, stages of the second %v; want %v and twice that", latencyOf(a), latencyOf(b), b.Stages, one)
	}
}

func TestTwoUnitsWorkAtOnceAndSlowEachOther(t *testing.T) {
	cfg := consumer
	cfg.Servers, cfg.Contention = 2, 0.5
	g := newRig(t, cfg, cached)
	a, b, c := write(0, 4096, devices.FUA, 1), write(1<<20, 4096, devices.FUA, 2), write(2<<20, 4096, devices.FUA, 3)
	g.do(a, b, c)
	one := ack(4096) + 3980*us
	slow := time.Duration(float64(one) * 1.5)
	if latencyOf(a) != one || latencyOf(b) != slow || latencyOf(c) != one+slow {
		t.Errorf("took %v, %v and %v, want %v, %v and %v", latencyOf(a), latencyOf(b), latencyOf(c), one, slow, one+slow)
	}
}

func TestAFlushBesideAnotherUnitChargesItsOwnDataToMedia(t *testing.T) {
	cfg := consumer
	cfg.Servers, cfg.Contention = 2, 0.5
	g := newRig(t, cfg, cached)
	g.do(write(0, 4096, 0, 1))
	g.submit(write(1<<20, 4096, devices.FUA, 2))
	f := g.submit(flush(1))
	g.wait(1)
	if f.Stages[devices.MediaStage] != 2400*us || f.Stages[devices.FlushOthers] != 0 {
		t.Errorf("stages %v, want 2.4 ms of media", f.Stages)
	}
}

func TestAWriteThatCompletesWhileAFlushIsQueuedIsCovered(t *testing.T) {
	g := newRig(t, consumer, cached)
	g.submit(write(1<<20, 4096, devices.FUA, 1)) // keeps the unit busy
	f := g.submit(flush(2))
	w := g.submit(write(0, 4096, 0, 3))
	g.wait(3)
	if w.Completed >= f.Completed {
		t.Fatal("the write did not complete while the FLUSH was queued")
	}
	if n := g.dev.Cut(1).ExposedBytes(); n != 0 || f.Stages[devices.FlushOthers] == 0 {
		t.Errorf("%d bytes are exposed after the FLUSH, stages %v", n, f.Stages)
	}
}

func TestAWriteThatCompletesWhileAFlushRunsIsNotCovered(t *testing.T) {
	g := newRig(t, consumer, cached)
	g.do(write(0, 4096, 0, 1))
	f := g.submit(flush(1))
	w := g.submit(write(1<<20, 8192, 0, 2))
	g.wait(2)
	if w.Completed >= f.Completed || latencyOf(f) != 1600*us {
		t.Fatalf("the write ended at %v, the FLUSH at %v", w.Completed, f.Completed)
	}
	if n := g.dev.Cut(1).ExposedBytes(); n != 8192 {
		t.Errorf("%d bytes are exposed, want those of the write", n)
	}
}

func TestAnOverwriteWhileAFlushRunsIsNotCovered(t *testing.T) {
	g := newRig(t, consumer, cached)
	w := write(0, 4096, 0, 1)
	w.Stamp = 1
	g.do(w)
	f, v := g.submit(flush(1)), write(0, 4096, 0, 2)
	v.Stamp = 2
	g.submit(v)
	g.wait(2)
	if k := g.dev.Cut(1); k.Durable(0) != 1 || k.ExposedBytes() != 4096 {
		t.Errorf("after %v sector 0 holds version %d and %d bytes are exposed", f, k.Durable(0), k.ExposedBytes())
	}
}

func TestFlushOthersIsOnlyForOtherCommitsData(t *testing.T) {
	const stripe = 1 << 20
	for _, c := range []struct {
		name          string
		own, others   int // stripes
		media, beside time.Duration
	}{
		{"clean", 0, 0, 20 * us, 0},
		{"own", 1, 0, 1600 * us, 0},
		{"much of its own", 4, 0, 2200 * us, 0},
		{"others'", 0, 1, 20 * us, 1580 * us},
		{"both", 1, 2, 1600 * us, 400 * us},
	} {
		g := newRig(t, consumer, cached)
		for i := range c.own {
			g.do(write(i*stripe, stripe, 0, 7))
		}
		for i := range c.others {
			g.do(write((100+i)*stripe, stripe, 0, 8))
		}
		f := flush(7)
		g.do(f)
		if f.Stages[devices.MediaStage] != c.media || f.Stages[devices.FlushOthers] != c.beside {
			t.Errorf("%s: stages %v, want media %v and flush_others %v", c.name, f.Stages, c.media, c.beside)
		}
		if s := g.dev.Stats(); s.CollateralBytes != uint64(c.others)*stripe {
			t.Errorf("%s: stats %+v", c.name, s)
		}
	}
}

func TestStagesSumWhereACleanFlushIsSlowerThanAnother(t *testing.T) {
	cfg := consumer
	cfg.FlushBase = 0
	g := newRig(t, cfg, cached)
	g.do(write(0, 4096, 0, 1))
	g.do(flush(2)) // the rig adds up the stages
}

// TestAFlushWaitsForAnotherUnitWithoutTakingTime has a FLUSH cover what is dirty
// under another unit's destage, on a drive whose FLUSH takes no time of its own.
func TestAFlushWaitsForAnotherUnitWithoutTakingTime(t *testing.T) {
	cfg := consumer
	cfg.Servers, cfg.Flush.Servers, cfg.FlushClean, cfg.FlushBase = 2, 2, 0, 0
	common := cached
	common.Capacity, common.HighWater, common.LowWater = 1<<20, 4096, 0
	g := newRig(t, cfg, common)
	g.do(write(0, 8192, 0, 1)) // a destage begins
	if g.dev.Cache().Flying() == 0 {
		t.Fatal("no destage")
	}
	g.do(write(0, 4096, 0, 2))
	if got := g.do(flush(2)); got == 0 || got > 200*us {
		t.Errorf("the FLUSH took %v, want what was left of the destage's 200 µs", got)
	}
	if n := g.dev.Cut(1).ExposedBytes(); n != 0 {
		t.Errorf("%d bytes are exposed", n)
	}
}

// TestWritesThatWaitForRoomGoOn has no write to raise the cache above its mark
// once it is full.
func TestWritesThatWaitForRoomGoOn(t *testing.T) {
	common := cached
	common.Capacity, common.HighWater, common.LowWater = 64<<10, 64<<10, 64<<10
	g := newRig(t, consumer, common)
	var all []*devices.Request
	for i := range 16 {
		all = append(all, write(i<<20, 16<<10, 0, 1))
	}
	g.do(all...)
}

func TestAProtectedCacheHasNothingToFlush(t *testing.T) {
	common := cached
	common.Info.Cache = devices.CacheProtected
	g := newRig(t, consumer, common)
	w := write(0, 4096, devices.FUA, 1)
	w.Stamp = 1
	if got := g.do(w); got != ack(4096) {
		t.Errorf("FUA took %v, want %v", got, ack(4096))
	}
	if got := g.do(flush(1)); got != 20*us {
		t.Errorf("FLUSH took %v", got)
	}
	if k := g.dev.Cut(1); k.ExposedBytes() != 0 || k.Durable(0) != 1 {
		t.Error("an acknowledged write is at risk")
	}
}

func TestReadsOfOneDieWaitForEachOther(t *testing.T) {
	cfg := consumer
	cfg.Dies = 2
	g := newRig(t, cfg, cached)
	read := func(page uint64) *devices.Request {
		return &devices.Request{Op: devices.OpRead, Offset: page * 4096, Length: 4096}
	}
	a, b, c := read(0), read(1), read(2)
	g.do(a, b, c)
	one := 60*us + 602
	// a and b are on dies of their own, and one after the other on the bus.
	if latencyOf(a) != one || latencyOf(b) != one+602 || latencyOf(c) != one+50*us {
		t.Errorf("took %v, %v and %v, want %v, %v and %v", latencyOf(a), latencyOf(b), latencyOf(c), one, one+602, one+50*us)
	}
}

func TestSpreadKeepsTheMean(t *testing.T) {
	cfg := consumer
	cfg.Sigma = 0.15
	g := newRig(t, cfg, cached)
	const n = 4000
	var sum, least time.Duration
	for i := range n {
		d := g.do(write(0, 4096, devices.FUA, uint64(i+1)))
		if sum += d; least == 0 || d < least {
			least = d
		}
	}
	if mean, want := float64(sum)/n, float64(ack(4096)+3980*us); math.Abs(mean/want-1) > 0.01 || float64(least) > want*0.8 {
		t.Errorf("mean %v, least %v, want a mean of %v", time.Duration(mean), least, time.Duration(want))
	}
}

// mixed is a round of 64 requests that are submitted together: writes, some with
// FUA, reads and FLUSHes, where address says.
func mixed(g *rig, address func(round, k int) uint64) (round func()) {
	rs := make([]devices.Request, 64)
	i := 0
	return func() {
		for k := range rs {
			r := &rs[k]
			r.Reset()
			r.Op, r.Offset, r.Length, r.Txn = devices.OpWrite, address(i, k), 4096, uint64(i+1)
			switch k % 8 {
			case 5:
				r.Flags = devices.FUA
			case 6:
				r.Op = devices.OpRead
			case 7:
				r.Op, r.Offset, r.Length = devices.OpFlush, 0, 0
			}
			g.submit(r)
		}
		g.wait(len(rs))
		i++
	}
}

func TestNoAllocationPerRequest(t *testing.T) {
	round := mixed(newRig(t, consumer, cached), func(_, k int) uint64 { return uint64(k) * 8192 })
	for range 50 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Errorf("%g allocations in a round", n)
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	good := ssd.Config{}
	if err := good.Validate(1 << 30); err != nil {
		t.Error(err)
	}
	for name, cfg := range map[string]ssd.Config{
		"serial": {Serial: -1}, "fua_base": {FUABase: -1}, "servers": {Servers: 1025}, "flush.servers": {Servers: 2, Flush: ssd.FlushShape{Servers: 3}}, "fua_programs": {FUAPrograms: -1}, "fua_batch": {FUABatch: 2}, "fua_hold_off": {FUAHoldOff: 1}, "dies": {Dies: -1},
		"sigma": {Sigma: 4}, "contention": {Contention: -1}, "bandwidth": {Bandwidth: -1},
	} {
		if err := cfg.Validate(1 << 30); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
