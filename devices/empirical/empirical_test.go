package empirical_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/empirical"
	"nbdbench/devices/history"
	"nbdbench/sim"
)

const us = time.Microsecond

// info is a drive that offers everything.
var info = devices.Info{
	Size: 1 << 30, LogicalBlock: 4096, AtomicUnit: 4096, CanFlush: true, FUA: devices.FUANative,
	CanZero: true, CanTrim: true, MultiConn: true, Cache: devices.CacheVolatile,
}

func table(t testing.TB, buckets ...empirical.Bucket) empirical.Table {
	t.Helper()
	out, err := empirical.NewTable(buckets)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// always is a table of one latency.
func always(t testing.TB, d time.Duration) empirical.Table {
	return table(t, empirical.Bucket{From: int64(d), To: int64(d), Count: 1})
}

// steady is a drive of which each operation takes one time.
func steady(t testing.TB, parallel int) empirical.Config {
	return empirical.Config{Parallel: parallel, Latency: [empirical.Operations]empirical.Table{
		empirical.Read: always(t, 80*us), empirical.Write: always(t, 10*us), empirical.WriteFUA: always(t, 500*us),
		empirical.Flush: always(t, 2000*us), empirical.Trim: always(t, 30*us), empirical.WriteZeroes: always(t, 40*us),
	}}
}

// rig drives a device by hand.
type rig struct {
	t    testing.TB
	loop *sim.Loop
	dev  *empirical.Device
	done int
}

func newRig(t testing.TB, cfg empirical.Config, lies drive.Lies) *rig {
	t.Helper()
	if err := cfg.Validate(info); err != nil {
		t.Fatal(err)
	}
	loop := sim.NewLoop()
	common := drive.Config{
		Info: info, Media: drive.NewMedia(drive.Versions), Lies: lies,
		Capacity: 64 << 20, HighWater: 32 << 20, LowWater: 16 << 20,
	}
	return &rig{t: t, loop: loop, dev: empirical.New(loop, cfg, common, 1)}
}

func (g *rig) Done(r *devices.Request) {
	r.Completed = g.loop.Now()
	if got, took := r.Stages.Total(), r.Completed.Sub(r.Submitted); r.Errno != devices.OK || got != took {
		g.t.Fatalf("%v: %v, stages %v sum to %v, it took %v", r, r.Errno, r.Stages, got, took)
	}
	g.done++
}

// together submits requests at one instant and returns how long each took.
func (g *rig) together(rs ...*devices.Request) (took []time.Duration) {
	want := g.done + len(rs)
	for _, r := range rs {
		r.Completer, r.Submitted = g, g.loop.Now()
		r.Begin(r.Submitted)
		g.dev.Submit(r)
	}
	g.loop.RunWhile(func() bool { return g.done < want })
	for _, r := range rs {
		took = append(took, r.Completed.Sub(r.Submitted))
	}
	return took
}

func write(off uint64, flags devices.Flags) *devices.Request {
	return &devices.Request{Op: devices.OpWrite, Flags: flags, Offset: off, Length: 4096}
}

func TestEachOperationTakesWhatWasMeasuredOfIt(t *testing.T) {
	for _, c := range []struct {
		r    devices.Request
		want time.Duration
	}{
		{devices.Request{Op: devices.OpRead, Length: 4096, Offset: 1 << 20}, 80 * us},
		{*write(0, 0), 10 * us},
		{*write(0, devices.FUA), 500 * us},
		{devices.Request{Op: devices.OpFlush}, 2000 * us},
		{devices.Request{Op: devices.OpTrim, Length: 4096}, 30 * us},
		{devices.Request{Op: devices.OpTrim, Length: 4096, Flags: devices.FUA}, 500 * us},
		{devices.Request{Op: devices.OpWriteZeroes, Length: 4096}, 40 * us},
	} {
		if got := newRig(t, steady(t, 0), drive.Lies{}).together(&c.r)[0]; got != c.want {
			t.Errorf("%v took %v, want %v", &c.r, got, c.want)
		}
	}
}

func TestParallelBoundsWhatIsServedAtOnce(t *testing.T) {
	writes := func() (rs []*devices.Request) {
		for i := range uint64(5) {
			rs = append(rs, write(i*4096, 0))
		}
		return rs
	}
	for parallel, want := range map[int][]time.Duration{
		0: {10 * us, 10 * us, 10 * us, 10 * us, 10 * us},
		1: {10 * us, 20 * us, 30 * us, 40 * us, 50 * us},
		2: {10 * us, 10 * us, 20 * us, 20 * us, 30 * us},
	} {
		if got := newRig(t, steady(t, parallel), drive.Lies{}).together(writes()...); !slices.Equal(got, want) {
			t.Errorf("parallel %d: took %v, want %v", parallel, got, want)
		}
	}
	g := newRig(t, steady(t, 1), drive.Lies{}) // one slot for all operations
	if got, want := g.together(&devices.Request{Op: devices.OpFlush}, write(0, 0), write(0, devices.FUA)),
		[]time.Duration{2000 * us, 2010 * us, 2510 * us}; !slices.Equal(got, want) {
		t.Errorf("took %v, want %v", got, want)
	}
}

func TestFlushMakesDurableWhatWasAcknowledgedAndNothingElse(t *testing.T) {
	g := newRig(t, steady(t, 0), drive.Lies{})
	exposed := func() uint64 { return g.dev.Cut(1).ExposedBytes() }
	g.together(write(0, 0), write(8192, 0))
	if exposed() != 8192 {
		t.Errorf("%d bytes are exposed after two writes", exposed())
	}
	g.together(&devices.Request{Op: devices.OpFlush}, write(16384, 0))
	if exposed() != 4096 {
		t.Errorf("%d bytes are exposed after a FLUSH and a later write", exposed())
	}
	g.together(write(16384, devices.FUA))
	if exposed() != 0 {
		t.Errorf("%d bytes are exposed after FUA of the rest", exposed())
	}
}

func TestATableIsDrawnAsItWasMeasured(t *testing.T) {
	tab := table(t, empirical.Bucket{From: 100, To: 199, Count: 900}, empirical.Bucket{From: 5000, To: 5000, Count: 99}, empirical.Bucket{From: 90000, To: 90063, Count: 1})
	const n = 100_000
	s, counts := sim.Seed(3).Stream("draws"), [3]float64{}
	for i := range uint64(n) {
		switch d := int64(tab.Sample(s, i, 0)); {
		case d >= 100 && d <= 199:
			counts[0]++
		case d == 5000:
			counts[1]++
		case d >= 90000 && d <= 90063:
			counts[2]++
		default:
			t.Fatalf("drew %d, which nobody measured", d)
		}
	}
	for i, want := range []float64{0.9, 0.099, 0.001} {
		if got := counts[i] / n; math.Abs(got-want) > 4*math.Sqrt(want*(1-want)/n) {
			t.Errorf("bucket %d: %g of the draws, want %g", i, got, want)
		}
	}
}

func TestADrawBelongsToTheStepOfATransaction(t *testing.T) {
	c := steady(t, 0)
	c.Latency[empirical.Write] = table(t, empirical.Bucket{From: 1, To: 1 << 30, Count: 1000})
	took := func(txn uint64, step uint32, before int) time.Duration {
		g := newRig(t, c, drive.Lies{})
		for range before {
			g.together(write(0, 0))
		}
		r := write(4096, 0)
		r.Txn, r.Step = txn, step
		return g.together(r)[0]
	}
	a := took(7, 1, 0)
	if took(7, 1, 3) != a || took(7, 2, 0) == a || took(8, 1, 0) == a {
		t.Error("a draw depends on something else than transaction and step")
	}
	if took(0, 0, 0) == took(0, 0, 1) {
		t.Error("requests of no transaction draw the same")
	}
}

func TestBadTablesAreRefused(t *testing.T) {
	for _, b := range [][]empirical.Bucket{
		{{From: 1, To: 2}},
		{{From: -1, To: 2, Count: 1}},
		{{From: 3, To: 2, Count: 1}},
		{{From: 3, To: 4, Count: 1}, {From: 2, To: 4, Count: 1}},
		{{From: 0, To: empirical.MaxLatency + 1, Count: 1}},
		{{From: 0, To: 1, Count: math.MaxInt64}, {From: 0, To: 1, Count: 1}},
	} {
		if _, err := empirical.NewTable(b); err == nil {
			t.Errorf("%v was accepted", b)
		}
	}
	c := steady(t, 0)
	c.Latency[empirical.Flush] = empirical.Table{}
	if err := c.Validate(info); err == nil || err.Error() != "there are no latencies of flush" {
		t.Errorf("without latencies of FLUSH: %v", err)
	}
	without := info
	without.CanFlush = false
	if err := c.Validate(without); err != nil {
		t.Errorf("without FLUSH: %v", err)
	}
}

func TestARoundAllocatesNothing(t *testing.T) {
	g := newRig(t, steady(t, 4), drive.Lies{})
	rs := []*devices.Request{write(0, 0), write(4096, devices.FUA), {Op: devices.OpFlush}, {Op: devices.OpRead, Length: 4096}}
	requests := make([]devices.Request, len(rs))
	round := func() {
		want := g.done + len(rs)
		for i, r := range rs {
			q := &requests[i]
			q.Reset()
			q.Op, q.Flags, q.Offset, q.Length = r.Op, r.Flags, r.Offset, r.Length
			q.Completer, q.Submitted = g, g.loop.Now()
			q.Begin(q.Submitted)
			g.dev.Submit(q)
		}
		for g.done < want && g.loop.Step() {
		}
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Errorf("%v allocations a round", n)
	}
}

// The little drive of the histories: so few sectors that most writes overlap,
// and a cache that is soon full.
const (
	littleSectors = 64
	littleCache   = 20 * devices.Sector
	littleSteps   = 160
	littleOpen    = 10 // requests at once
)

// play is one random history of a drive, with power cuts that a judge looks at.
type play struct {
	draw   sim.Stream
	drawn  uint64
	loop   *sim.Loop
	dev    *empirical.Device
	top    devices.Device
	judge  *history.Judge
	open   int
	stamp  devices.Stamp
	failed error
}

func (p *play) intN(n int) int {
	p.drawn++
	return int(p.draw.Uint64N(uint64(n), p.drawn, 0))
}

func newPlay(t testing.TB, seed int, lies drive.Lies) *play {
	p := &play{draw: sim.Seed(seed).Stream("play"), loop: sim.NewLoop()}
	i := info
	i.Size, i.LogicalBlock, i.AtomicUnit = littleSectors*devices.Sector, 512<<(3*p.intN(2)), uint32(devices.Sector<<p.intN(4))
	c := empirical.Config{Parallel: p.intN(6)}
	for o := range c.Latency {
		c.Latency[o] = table(t, empirical.Bucket{From: 0, To: int64(p.intN(int(300*us)) + 1), Count: 50})
	}
	common := drive.Config{Info: i, Media: drive.NewMedia(drive.Versions), Capacity: littleCache, HighWater: uint64(p.intN(littleCache)), Lies: lies}
	common.LowWater, common.IdleDestage = common.HighWater/2, time.Duration(p.intN(2))*100*us
	p.dev = empirical.New(p.loop, c, common, sim.Seed(seed))
	p.judge = history.NewJudge(i)
	p.top = history.NewTap(p.dev, p.loop, p.judge)
	return p
}

func (p *play) run() error {
	for range littleSteps {
		switch k := p.intN(60); {
		case k < 26 && p.open < littleOpen:
			p.submit()
		case k < 50:
			for range p.intN(5) {
				p.loop.Step()
			}
		default:
			p.cut()
		}
	}
	p.loop.Run(sim.Never)
	if p.open > 0 {
		return fmt.Errorf("%d requests were never done", p.open)
	}
	p.cut()
	return p.failed
}

func (p *play) submit() {
	first := p.intN(littleSectors)
	r := &devices.Request{Offset: uint64(first) * devices.Sector, Completer: p, Txn: uint64(p.intN(100))}
	n := uint64(1 + p.intN(min(24, littleSectors-first)))
	r.Length = n * devices.Sector
	switch p.intN(10) {
	case 0, 1:
		r.Op, r.Length, r.Offset = devices.OpFlush, 0, 0
	case 2:
		r.Op = devices.OpWriteZeroes
	case 3:
		r.Op = devices.OpTrim
	case 4:
		r.Op, r.Versions = devices.OpRead, make([]devices.Stamp, n)
	default:
		r.Op = devices.OpWrite
		p.stamp++
		r.Stamp = p.stamp
	}
	if r.Op.Modifies() && p.intN(3) == 0 {
		r.Flags = devices.FUA
	}
	p.open++
	r.Submitted = p.loop.Now()
	r.Begin(r.Submitted)
	p.top.Submit(r)
}

func (p *play) fail(format string, args ...any) {
	if p.failed == nil {
		p.failed = fmt.Errorf("at %v: "+format, append([]any{p.loop.Now()}, args...)...)
	}
}

// Done checks what a read found, and that the stages sum.
func (p *play) Done(r *devices.Request) {
	p.open--
	if got, took := r.Stages.Total(), p.loop.Now().Sub(r.Submitted); got != took || r.Errno != devices.OK {
		p.fail("%v: %v, stages %v sum to %v, it took %v", r, r.Errno, r.Stages, got, took)
	}
	for i, v := range r.Versions {
		if bad, is := p.judge.Check(r.Offset/devices.Sector+uint64(i), v); is {
			p.fail("%v found %v", r, bad)
		}
	}
}

// cut has the judge look at what a power cut would leave, and at the worst.
func (p *play) cut() {
	k := p.dev.Cut(sim.Seed(p.intN(1000)))
	for _, read := range []func(uint64) devices.Stamp{k.Stamp, k.Durable} {
		p.judge.CheckImage(read, func(v history.Violation) {
			if v.Class != history.Shorn { // a unit that a FUA write and a destage share, in every drive: no promise
				p.fail("cut: %v", v)
			}
		})
	}
}

func histories(t *testing.T, n int, lies drive.Lies) (broken int, first error) {
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		if err := newPlay(t, seed, lies).run(); err != nil {
			broken++
			if first == nil {
				first = fmt.Errorf("history %d: %w", seed, err)
			}
		}
	}
	return broken, first
}

func TestFlushAndFUAHoldInRandomHistories(t *testing.T) {
	if broken, first := histories(t, 4000, drive.Lies{}); broken > 0 {
		t.Errorf("%d histories: %v", broken, first)
	}
}

// The same histories of a drive that lies: the judge would have seen it.
func TestALieOfEitherKindIsSeenInRandomHistories(t *testing.T) {
	for _, lies := range []drive.Lies{{Flush: true}, {FUA: true}} {
		broken, first := histories(t, 300, lies)
		if broken < 3 || !strings.Contains(fmt.Sprint(first), "cut: ") {
			t.Errorf("%+v: %d histories, %v", lies, broken, first)
		}
	}
}

func TestTheCacheOfAMeasuredDriveHasAGauge(t *testing.T) {
	g := newRig(t, steady(t, 1), drive.Lies{})
	g.together(write(0, 0))
	gs := g.dev.Gauges(nil)
	if len(gs) != 1 || gs[0].Name != "dirty bytes" || gs[0].Value != 4096 {
		t.Errorf("%+v, want 4096 dirty bytes", gs)
	}
}
