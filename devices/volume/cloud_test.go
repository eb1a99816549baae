package volume_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/volume"
	"nbdbench/sim"
)

const (
	us = time.Microsecond
	ms = time.Millisecond
)

// info is a volume that can do everything.
var info = devices.Info{
	Size: 1 << 40, LogicalBlock: 512, AtomicUnit: 4096, CanFlush: true, FUA: devices.FUANative,
	CanZero: true, CanTrim: true, MultiConn: true,
}

// model is what both volumes are.
type model interface {
	devices.Device
	Stats() devices.Stats
	Cut(seed sim.Seed) *drive.Cut
}

// rig drives a volume by hand.
type rig struct {
	t    testing.TB
	loop *sim.Loop
	dev  model
	done int
	want devices.Errno
}

// Done checks that the stages of each request sum to what it took.
func (g *rig) Done(r *devices.Request) {
	r.Completed = g.loop.Now()
	if r.Errno != g.want {
		g.t.Fatalf("%v: %v, want %v", r, r.Errno, g.want)
	}
	if got, took := r.Stages.Total(), r.Completed.Sub(r.Submitted); got != took {
		g.t.Fatalf("%v: stages %v sum to %v, it took %v", r, r.Stages, got, took)
	}
	g.done++
}

func (g *rig) submit(rs ...*devices.Request) {
	for _, r := range rs {
		r.Completer, r.Submitted = g, g.loop.Now()
		r.Begin(r.Submitted)
		g.dev.Submit(r)
	}
}

// wait runs until n requests are done since the rig was made.
func (g *rig) wait(n int) {
	g.t.Helper()
	g.loop.RunWhile(func() bool { return g.done < n })
	if g.done < n {
		g.t.Fatalf("%d requests are done, want %d", g.done, n)
	}
}

// do submits requests together and runs until they are done; it returns how
// long that took.
func (g *rig) do(rs ...*devices.Request) time.Duration {
	g.t.Helper()
	start, want := g.loop.Now(), g.done+len(rs)
	g.submit(rs...)
	g.wait(want)
	return g.loop.Now().Sub(start)
}

func (g *rig) expect(what string, got, want any) {
	g.t.Helper()
	if got != want {
		g.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func write(off, n uint64) *devices.Request {
	return &devices.Request{Op: devices.OpWrite, Offset: off, Length: n, Txn: 1}
}

func read(off, n uint64) *devices.Request {
	return &devices.Request{Op: devices.OpRead, Offset: off, Length: n}
}

func flush() *devices.Request { return &devices.Request{Op: devices.OpFlush, Txn: 2} }

func newCloud(t testing.TB, cfg volume.CloudConfig) *rig {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	loop := sim.NewLoop()
	return &rig{t: t, loop: loop, dev: volume.NewCloud(loop, cfg, info, drive.NewMedia(drive.Versions), 1)}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got/want-1) > tolerance {
		t.Errorf("%s: %g, want %g within %g%%", what, got, want, 100*tolerance)
	}
}

func TestServiceHasTheMeanTheDeviationAndTheLeast(t *testing.T) {
	const mean, least, sd = 700 * us, 330 * us, 240 * us
	g := newCloud(t, volume.CloudConfig{Mean: mean, Min: least, Sigma: volume.SigmaOf(mean-least, sd)})
	const n = 20_000
	var sum, sq float64
	lowest := time.Hour
	for i := range uint64(n) {
		r := write(i*4096, 4096)
		r.Txn = i + 1
		d := g.do(r)
		lowest = min(lowest, d)
		sum, sq = sum+float64(d), sq+float64(d)*float64(d)
		g.expect("time outside the medium", d-r.Stages[devices.MediaStage], time.Duration(0))
	}
	got := sum / n
	t.Logf("mean %.0f ns, deviation %.0f ns, least %v", got, math.Sqrt(sq/n-got*got), lowest)
	near(t, "mean", got, float64(mean), 0.02)
	near(t, "deviation", math.Sqrt(sq/n-got*got), float64(sd), 0.02)
	if lowest < least || lowest > least+60*us {
		t.Errorf("the least is %v, want just above %v", lowest, least)
	}
}

func TestDrawsBelongToTheTransactionsStep(t *testing.T) {
	cfg := volume.CloudConfig{Mean: 700 * us, Min: 300 * us, Sigma: 1}
	took := func(before int, txn uint64, step uint32) time.Duration {
		g := newCloud(t, cfg)
		for range before {
			g.do(read(0, 4096))
		}
		r := write(0, 4096)
		r.Txn, r.Step = txn, step
		return g.do(r)
	}
	a := took(0, 7, 1)
	if b := took(3, 7, 1); a != b {
		t.Errorf("the same step took %v and %v", a, b)
	}
	if b := took(0, 7, 2); a == b {
		t.Error("two steps took the same")
	}
	g := newCloud(t, cfg)
	if a, b := g.do(read(0, 4096)), g.do(read(0, 4096)); a == b {
		t.Error("two requests of no transaction took the same")
	}
}

func TestTheTailIsRareAndLong(t *testing.T) {
	g := newCloud(t, volume.CloudConfig{Mean: 100 * us, Min: 100 * us, TailProbability: 0.01, Tail: 5 * ms})
	const n = 20_000
	slow := 0
	for i := range uint64(n) {
		r := write(0, 4096)
		r.Txn = i + 1
		switch d := g.do(r); d {
		case 100 * us:
		case 100*us + 5*ms:
			slow++
		default:
			t.Fatalf("a write took %v", d)
		}
	}
	near(t, "slow writes", float64(slow), n*0.01, 0.2) // 2.8 standard deviations
}

func TestAnIsolatedRequestNeverWaits(t *testing.T) {
	g := newCloud(t, volume.CloudConfig{
		Mean: 300 * us, Min: 300 * us, IOPS: volume.Limit{Rate: 100}, Bytes: volume.Limit{Rate: 1e6},
	})
	for range 5 {
		r := write(0, 32<<20)
		g.expect("a write", g.do(r), 300*us)
		g.loop.Run(g.loop.Now().Add(34 * time.Second))
	}
}

func TestIOPSAreSpacedAtTheRate(t *testing.T) {
	g := newCloud(t, volume.CloudConfig{IOPS: volume.Limit{Rate: 3000}})
	for i := range 6001 {
		g.submit(write(uint64(i)*512, 512))
	}
	g.wait(6001)
	g.expect("6001 writes at 3000 a second", g.loop.Now(), sim.Time(2*time.Second))
	s := g.dev.Stats()
	g.expect("bytes", [2]uint64{s.HostWrittenBytes, s.MediaWrittenBytes}, [2]uint64{6001 * 512, 6001 * 512})
}

func TestABurstIsAsLongAsItsCredit(t *testing.T) {
	g := newCloud(t, volume.CloudConfig{IOPS: volume.Limit{Rate: 1000, Burst: 500}})
	var all []*devices.Request
	for range 1500 {
		all = append(all, read(0, 512))
	}
	g.do(all...)
	for i, r := range all {
		want := time.Duration(max(0, i-499)) * ms
		if r.Completed != sim.Time(want) || r.Stages[devices.DeviceQueue] != want {
			t.Fatalf("read %d is done at %v, having waited %v, want %v", i, r.Completed, r.Stages[devices.DeviceQueue], want)
		}
	}
	// A quarter of a second brings half of the credit back.
	g.loop.Run(g.loop.Now().Add(250 * ms))
	again := make([]*devices.Request, 251)
	for i := range again {
		again[i] = read(0, 512)
	}
	g.expect("250 saved reads and one more", g.do(again...), ms)
}

func TestThePeakBoundsTheBurst(t *testing.T) {
	// 600 of credit, drained at 300-100 a second, last three seconds: 900 I/Os.
	g := newCloud(t, volume.CloudConfig{IOPS: volume.Limit{Rate: 100, Burst: 600, Peak: 300}})
	var last sim.Time
	for i := range 1200 { // closed loop
		g.do(read(0, 512))
		if i == 900 {
			near(t, "seconds for 900 reads", g.loop.Now().Sub(0).Seconds(), 3, 0.005)
			last = g.loop.Now()
		}
	}
	near(t, "seconds for 299 more", g.loop.Now().Sub(last).Seconds(), 2.99, 0.005)
}

func TestBytesAndLongRequestsAreLimited(t *testing.T) {
	g := newCloud(t, volume.CloudConfig{Bytes: volume.Limit{Rate: 125e6}})
	for i := range uint64(1001) {
		g.submit(write(i<<20, 1e6))
	}
	g.wait(1001)
	g.expect("1 GB at 125 MB/s, behind the first write", g.loop.Now(), sim.Time(8*time.Second))

	g = newCloud(t, volume.CloudConfig{IOPS: volume.Limit{Rate: 1000}, IOSize: 256 << 10})
	g.expect("the second of two writes of four I/Os each", g.do(write(0, 1<<20), write(0, 1<<20)), 4*ms)
	g.loop.Run(g.loop.Now().Add(time.Second))
	zeroes := &devices.Request{Op: devices.OpWriteZeroes, Length: 1 << 30}
	g.expect("zeroes, then a read", g.do(zeroes, read(0, 512)), ms)
}

func TestRequestsBeyondMaxInFlightWait(t *testing.T) {
	g := newCloud(t, volume.CloudConfig{Mean: ms, Min: ms, MaxInFlight: 2})
	rs := []*devices.Request{write(0, 512), write(512, 512), read(0, 512), flush(), write(0, 512)}
	g.expect("five requests, two at a time, one of which takes no time", g.do(rs...), 2*ms)
	g.expect("the third's wait", rs[2].Stages[devices.DeviceQueue], ms)
}

func TestFlushTakesItsOwnTimeAndNoTokens(t *testing.T) {
	g := newCloud(t, volume.CloudConfig{Mean: ms, Min: ms, Flush: 300 * us, IOPS: volume.Limit{Rate: 1}})
	g.do(write(0, 4096))
	g.expect("a flush", g.do(flush()), 300*us)
	g.expect("flushes", g.dev.Stats(), devices.Stats{Flushes: 1, HostWrittenBytes: 4096, MediaWrittenBytes: 4096})
	g.expect("cache", g.dev.Info().Cache, devices.CacheNone)
}

func TestRefusalsComeFromTheLoop(t *testing.T) {
	small, readOnly, noFUA := info, info, info
	small.Size, readOnly.ReadOnly, noFUA.FUA = 4096, true, devices.FUANone
	fua := write(0, 512)
	fua.Flags = devices.FUA
	for _, c := range []struct {
		info devices.Info
		r    *devices.Request
		want devices.Errno
	}{
		{small, write(4096, 512), devices.ENOSPC},
		{small, read(^uint64(0), 512), devices.EINVAL},
		{readOnly, write(0, 512), devices.EPERM},
		{noFUA, fua, devices.EINVAL},
	} {
		loop := sim.NewLoop()
		disk := &disk{loop: loop, info: info}
		raid, err := volume.NewRAID(loop, controller, c.info, drive.NewMedia(drive.Versions), disk)
		if err != nil {
			t.Fatal(err)
		}
		cloud := volume.NewCloud(loop, volume.CloudConfig{}, c.info, drive.NewMedia(drive.Versions), 1)
		for _, dev := range []model{raid, cloud} {
			g := &rig{t: t, loop: loop, dev: dev, want: c.want}
			g.do(c.r)
		}
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	cloud := volume.CloudConfig{
		Mean: 1, Min: 2, Sigma: 4, TailProbability: 2, Tail: -1, Flush: -1, MaxInFlight: -1,
		IOPS: volume.Limit{Burst: 1}, Bytes: volume.Limit{Rate: 4096, Peak: 10},
	}
	raid := volume.RAIDConfig{
		Serial: -1, Parallel: -1, Flush: -1, IdleDestage: -1, Bandwidth: -1,
		Capacity: 5, HighWater: 6, LowWater: 7, QueueDepth: -1, Order: 9,
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{cloud.Validate(), "mean sigma tail_probability tail flush max_in_flight iops: bytes:"},
		{raid.Validate(), "serial parallel flush idle_destage bandwidth capacity high_water low_water queue_depth order"},
		{(&volume.CloudConfig{IOPS: volume.Limit{Rate: 1, Burst: 1e10}}).Validate(), "burst"},
		{(&volume.CloudConfig{Bytes: volume.Limit{Rate: 10}}).Validate(), "bytes:"},
		{(&volume.CloudConfig{Sigma: 1}).Validate(), "sigma"},
	} {
		if c.err == nil {
			t.Fatalf("want an error about %s", c.want)
		}
		for _, name := range strings.Fields(c.want) {
			if !strings.Contains(c.err.Error(), name) {
				t.Errorf("%q does not name %s", c.err, name)
			}
		}
	}
	if err := (&volume.CloudConfig{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}
