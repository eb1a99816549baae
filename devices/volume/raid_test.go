package volume_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/volume"
	"nbdbench/sim"
)

// controller is one of 16 blocks of cache.
var controller = volume.RAIDConfig{
	Serial: 4 * us, Parallel: 10 * us, Flush: 6 * us,
	Capacity: 16 * block, HighWater: 16 * block, LowWater: 8 * block,
}

const (
	block = 4096
	hit   = 14 * us
	turn  = 8 * ms // what the disk takes
)

// disk takes a time for each command, one after another unless it is parallel.
type disk struct {
	loop     *sim.Loop
	info     devices.Info
	service  func(r *devices.Request) time.Duration
	parallel bool
	fail     devices.Errno

	line       sim.Timeline
	inside     int
	most       int
	keep       bool              // what was asked
	commands   []devices.Request // ... as far as a request's range and flags
	mediaBytes uint64
}

func (d *disk) Info() devices.Info { return d.info }

func (d *disk) Stats() devices.Stats { return devices.Stats{MediaWrittenBytes: d.mediaBytes} }

func (d *disk) Submit(r *devices.Request) {
	if d.inside++; d.inside > d.most {
		d.most = d.inside
	}
	if d.keep {
		d.commands = append(d.commands, devices.Request{Op: r.Op, Flags: r.Flags, Offset: r.Offset, Length: r.Length})
	}
	took := turn
	if d.service != nil {
		took = d.service(r)
	}
	start, done := d.loop.Now(), d.loop.Now().Add(took)
	if !d.parallel {
		start, done = d.line.Reserve(d.loop.Now(), took)
	}
	r.Charge(devices.DeviceQueue, start)
	r.Charge(devices.MediaStage, done)
	r.Timer.Owner = r
	d.loop.At(&r.Timer, done, d)
}

func (d *disk) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	d.inside--
	if r.Op.Modifies() {
		d.mediaBytes += r.Length
	}
	r.Finish(d.fail)
}

// raidRig is a rig with its parts.
type raidRig struct {
	*rig
	raid *volume.RAID
	disk *disk
}

func newRAID(t testing.TB, cfg volume.RAIDConfig, d *disk) *raidRig {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	d.loop = sim.NewLoop()
	if d.info.Size == 0 {
		d.info = info
	}
	v, err := volume.NewRAID(d.loop, cfg, info, drive.NewMedia(drive.Versions), d)
	if err != nil {
		t.Fatal(err)
	}
	return &raidRig{&rig{t: t, loop: d.loop, dev: v}, v, d}
}

// scattered is the n-th of blocks of which no two are adjacent.
func scattered(n uint64) *devices.Request {
	return write(n*1_000_003%1_000_000*16*block, block)
}

// TestStatusIsOfTheCacheAndOfTheMedium: of what is dirty, of what a destage has
// brought to the medium, and of zeros in the cache over it.
func TestStatusIsOfTheCacheAndOfTheMedium(t *testing.T) {
	cfg := controller
	cfg.IdleDestage = ms
	g := newRAID(t, cfg, &disk{})
	const hole = devices.StatusZero | devices.StatusHole
	status := func(what string, want ...devices.StatusExtent) {
		t.Helper()
		var b devices.BlockStatus
		b.Reset(devices.MaxStatusExtents)
		g.do(&devices.Request{Op: devices.OpBlockStatus, Length: 8 * block, Payload: devices.Payload{Status: &b}})
		if !slices.Equal(b.Extents, want) {
			t.Errorf("%s: %v, want %v", what, b.Extents, want)
		}
	}
	status("nothing", devices.StatusExtent{Length: 8 * block, Flags: hole})
	w := write(2*block, block)
	w.Stamp = 7
	g.do(w)
	written := []devices.StatusExtent{{Length: 2 * block, Flags: hole}, {Length: block}, {Length: 5 * block, Flags: hole}}
	status("in the cache", written...)
	g.loop.Run(g.loop.Now().Add(time.Second))
	g.expect("dirty", g.raid.Dirty(), uint64(0))
	status("on the medium", written...)
	g.do(&devices.Request{Op: devices.OpWriteZeroes, Flags: devices.NoHole, Offset: 2 * block, Length: block})
	status("zeroed", devices.StatusExtent{Length: 2 * block, Flags: hole}, devices.StatusExtent{Length: block, Flags: devices.StatusZero}, devices.StatusExtent{Length: 5 * block, Flags: hole})
}

func TestAHitTakesTheSerialAndTheParallelStage(t *testing.T) {
	g := newRAID(t, controller, &disk{})
	g.expect("a write", g.do(write(0, block)), hit)
	fua := write(block, block)
	fua.Flags = devices.FUA
	g.expect("a FUA write", g.do(fua), hit)
	g.expect("a read of both", g.do(read(0, 2*block)), hit)
	g.expect("a flush", g.do(flush()), 10*us)
	g.expect("four at once", g.do(read(0, block), read(0, block), read(0, block), read(0, block)), 26*us)
	g.expect("a read from the disk", g.do(read(1<<30, block)), hit+turn)
	g.expect("bytes on the medium", g.dev.Stats().MediaWrittenBytes, uint64(0))

	cfg := controller
	cfg.Bandwidth = 4096e6 // a block a microsecond
	g = newRAID(t, cfg, &disk{})
	g.expect("a write with its transfer", g.do(write(0, 2*block)), hit+2*us)
}

func TestSustainedWritesFallToTheDisksRate(t *testing.T) {
	g := newRAID(t, controller, &disk{})
	for i := range uint64(16) {
		g.expect("a write with room", g.do(scattered(i)), hit)
	}
	start := g.loop.Now()
	const n = 500
	for i := range uint64(n) {
		r := scattered(16 + i)
		g.do(r)
		g.expect("time in the cache", r.Stages[devices.CacheStage], hit)
	}
	rate := n / g.loop.Now().Sub(start).Seconds()
	t.Logf("%.2f writes/s, the disk's are %.2f", rate, 1/turn.Seconds())
	near(t, "sustained rate", rate, 1/turn.Seconds(), 0.001)
	s := g.dev.Stats()
	g.expect("bytes written", s.HostWrittenBytes, uint64(516*block))
	g.expect("bytes dirty or on the medium", s.MediaWrittenBytes+g.raid.Dirty(), uint64(516*block))
}

func TestManyDestagesAreWithTheDiskAtOnce(t *testing.T) {
	for _, c := range []struct{ depth, want int }{{0, 16}, {5, 5}, {1, 1}} {
		cfg := controller
		cfg.QueueDepth = c.depth
		g := newRAID(t, cfg, &disk{parallel: true})
		var all []*devices.Request
		for i := range uint64(64) {
			all = append(all, scattered(i))
		}
		g.do(all...)
		g.expect("most at once", g.disk.most, c.want) // the cache has 16
	}
}

func TestTheOrderIsThatOfTheSweepOrOfAge(t *testing.T) {
	offsets := []uint64{40, 8, 32, 0, 24, 16}
	for order, want := range map[volume.Order][]uint64{
		volume.Sweep:  {0, 8, 16, 24, 32, 40},
		volume.Oldest: offsets,
	} {
		cfg := controller
		cfg.Order, cfg.QueueDepth, cfg.IdleDestage = order, 1, ms
		g := newRAID(t, cfg, &disk{keep: true})
		for _, o := range offsets {
			g.do(write(o*block, block))
		}
		g.loop.Run(sim.Never)
		for i, c := range g.disk.commands {
			if c.Offset != want[i]*block {
				t.Errorf("order %d: command %d is %v, want block %d", order, i, &c, want[i])
			}
		}
		g.expect("dirty", g.raid.Dirty(), uint64(0))
	}
}

func TestTheSweepGoesOnWhereItWas(t *testing.T) {
	cfg := controller
	cfg.QueueDepth, cfg.HighWater, cfg.LowWater = 1, 3*block, 2*block
	g := newRAID(t, cfg, &disk{keep: true})
	for _, o := range []uint64{10, 20, 30, 40} { // the fourth begins a destage of two
		g.do(write(o*block, block))
	}
	g.loop.Run(sim.Never)
	for _, o := range []uint64{5, 6} { // behind the sweep
		g.do(write(o*block, block))
	}
	g.raid.FailBattery()
	g.loop.Run(sim.Never)
	var got []uint64
	for _, c := range g.disk.commands {
		got = append(got, c.Offset/block)
	}
	for i, want := range []uint64{10, 20, 30, 40, 5} {
		if i >= len(got) || got[i] != want {
			t.Fatalf("blocks %v", got)
		}
	}
}

func TestAdjacentBlocksAreOneWrite(t *testing.T) {
	cfg := controller
	cfg.Capacity, cfg.HighWater, cfg.LowWater, cfg.IdleDestage = 4<<20, 4<<20, 4<<20, ms
	g := newRAID(t, cfg, &disk{keep: true})
	for i := range uint64(300) { // 1.2 MiB, in falling order
		g.do(write((299-i)*block, block))
	}
	zeroes := write(300*block, 4*block)
	zeroes.Op = devices.OpWriteZeroes
	g.do(zeroes, write(305*block, block))
	g.loop.Run(sim.Never)
	want := []devices.Request{
		{Op: devices.OpWrite, Length: volume.MaxRun},
		{Op: devices.OpWrite, Offset: volume.MaxRun, Length: 300*block - volume.MaxRun},
		{Op: devices.OpWriteZeroes, Offset: 300 * block, Length: 4 * block},
		{Op: devices.OpWrite, Offset: 305 * block, Length: block},
	}
	if len(g.disk.commands) != len(want) {
		t.Fatalf("%d commands, want %d", len(g.disk.commands), len(want))
	}
	for i := range want {
		if g.disk.commands[i].String() != want[i].String() {
			t.Errorf("command %d is %v, want %v", i, &g.disk.commands[i], &want[i])
		}
	}
}

func TestTheCacheIsDrainedFromHighWaterToLowWater(t *testing.T) {
	cfg := controller
	cfg.HighWater, cfg.LowWater, cfg.QueueDepth = 12*block, 6*block, 1
	g := newRAID(t, cfg, &disk{})
	for i := range uint64(12) {
		g.do(scattered(i))
	}
	g.loop.Run(g.loop.Now().Add(time.Second))
	g.expect("dirty at the high mark", g.raid.Dirty(), uint64(12*block))
	g.do(scattered(12))
	for g.raid.Dirty() > 7*block { // with a host at work, down to the low mark
		g.do(read(1<<30, block))
	}
	g.do(read(1<<30, block), read(1<<30, block), read(1<<30, block))
	g.expect("dirty at the low mark", g.raid.Dirty(), uint64(6*block))
}

func TestAWriteLongerThanTheCacheGoesPastIt(t *testing.T) {
	g := newRAID(t, controller, &disk{keep: true})
	first, long, after := write(0, block), write(0, 17*block), write(0, block)
	g.submit(first, long, after)
	g.wait(3)
	g.expect("the one before", first.Completed, sim.Time(hit))
	g.expect("the drain and the write itself", long.Completed.Sub(first.Completed), turn+hit+turn)
	g.expect("the one behind it", after.Completed.Sub(long.Completed), hit)
	g.expect("commands", len(g.disk.commands), 2)
	g.expect("dirty", g.raid.Dirty(), uint64(block))
	g.expect("host's bytes", g.dev.Stats().HostWrittenBytes, uint64(19*block))
}

func TestAfterABatteryFailureWritesWaitForTheDrainAndThenForTheDisk(t *testing.T) {
	g := newRAID(t, controller, &disk{})
	for i := range uint64(10) {
		g.do(scattered(i))
	}
	g.expect("exposed with a good battery", g.raid.Cut(1).ExposedBytes(), uint64(0))
	g.raid.FailBattery()
	g.raid.FailBattery()
	g.expect("exposed before the drain", g.raid.Cut(1).ExposedBytes(), uint64(10*block))
	w, f := scattered(10), flush()
	start := g.loop.Now()
	g.submit(w, f)
	g.wait(12)
	g.expect("the write", w.Completed.Sub(start), 10*turn+hit+turn)
	g.expect("its wait for the drain", w.Stages[devices.DeviceQueue], 10*turn)
	g.expect("the flush", f.Completed.Sub(start), 10*turn)
	g.expect("its wait for others", f.Stages[devices.FlushOthers], 10*turn-10*us)
	g.expect("exposed after the drain", g.raid.Cut(1).ExposedBytes(), uint64(0))
	g.expect("the next write", g.do(scattered(11)), hit+turn)
	g.expect("the next flush", g.do(flush()), 10*us)
	s := g.dev.Stats()
	g.expect("flushed", [3]uint64{s.Flushes, s.FlushedBytes, s.CollateralBytes}, [3]uint64{2, 0, 0})
}

func TestAFlushDuringTheDrainCountsWhatIsStillDirty(t *testing.T) {
	cfg := controller
	cfg.QueueDepth = 1
	g := newRAID(t, cfg, &disk{})
	for i := range uint64(3) {
		g.do(scattered(i)) // transaction 1
	}
	g.raid.FailBattery() // one is with the disk
	g.do(flush())        // transaction 2
	s := g.dev.Stats()
	g.expect("flushed", [3]uint64{s.Flushes, s.FlushedBytes, s.CollateralBytes}, [3]uint64{1, 2 * block, 2 * block})
}

func TestAWriteTheBatteryDidNotLiveToSeeIsAcknowledgedByTheDisk(t *testing.T) {
	g := newRAID(t, controller, &disk{})
	w := write(0, block)
	g.submit(w)
	g.loop.Run(sim.Time(10 * us)) // the controller has it
	g.raid.FailBattery()
	g.wait(1)
	g.expect("the write", w.Completed.Sub(0), hit+hit+turn)
	g.expect("bytes on the medium", g.dev.Stats().MediaWrittenBytes, uint64(block))
}

func TestABatteryFailedFromTheStartWritesThrough(t *testing.T) {
	cfg := controller
	cfg.BatteryFailed = true
	g := newRAID(t, cfg, &disk{})
	g.expect("a write", g.do(write(0, block)), hit+turn)
	g.expect("cache", g.dev.Info().Cache, devices.CacheNone)
	g.expect("failed", g.raid.BatteryFailed(), true)
	g.expect("with a good battery", newRAID(t, controller, &disk{}).dev.Info().Cache, devices.CacheProtected)
}

func TestADiskWithAVolatileCacheIsGivenFUA(t *testing.T) {
	volatile := info
	volatile.Cache = devices.CacheVolatile
	for _, c := range []struct {
		info devices.Info
		want devices.Flags
	}{{volatile, devices.FUA}, {info, 0}} {
		cfg := controller
		cfg.IdleDestage = ms
		g := newRAID(t, cfg, &disk{info: c.info, keep: true})
		g.do(write(0, block))
		g.loop.Run(sim.Never)
		g.raid.FailBattery()
		fua := write(block, block)
		fua.Flags = devices.FUA
		g.do(fua)
		g.expect("commands", len(g.disk.commands), 2)
		for i := range g.disk.commands {
			g.expect("flags", g.disk.commands[i].Flags, c.want)
		}
	}
}

func TestADiskThatCannotServeIsRefused(t *testing.T) {
	small, readOnly, volatile := info, info, info
	small.Size--
	readOnly.ReadOnly = true
	volatile.Cache, volatile.FUA = devices.CacheVolatile, devices.FUANone
	for _, i := range []devices.Info{small, readOnly, volatile} {
		if _, err := volume.NewRAID(sim.NewLoop(), controller, info, volume.Blank{}, &disk{info: i}); err == nil {
			t.Errorf("%+v was accepted", i)
		}
	}
}

func TestAFailedDestageTakesTheArrayOffline(t *testing.T) {
	g := newRAID(t, controller, &disk{fail: devices.EIO})
	for i := range uint64(16) {
		w := scattered(i)
		w.Stamp = devices.Stamp(i + 1)
		g.do(w)
	}
	g.want = devices.EIO
	g.expect("a write that waits for room", g.do(scattered(16)), turn)
	g.expect("one that comes later", g.do(scattered(17)), time.Duration(0))
	g.do(read(1<<39, block))
	g.want = devices.OK
	g.expect("a read from the cache", g.do(read(0, block)), hit)
	g.expect("a flush of what the battery keeps", g.do(flush()), 10*us)
	image := g.raid.Cut(1)
	for i := range uint64(16) {
		g.expect("version", image.Stamp(scattered(i).Offset/devices.Sector), devices.Stamp(i+1))
	}
	g.raid.FailBattery()
	g.want = devices.EIO
	g.do(flush())
}

func TestADrainThatFailsFailsWhatWaitsForIt(t *testing.T) {
	g := newRAID(t, controller, &disk{fail: devices.EIO, parallel: true})
	g.do(scattered(0))
	g.raid.FailBattery()
	g.want = devices.EIO
	waits, f := scattered(1), flush()
	g.do(waits, f)
	g.expect("the flush's wait", f.Stages[devices.FlushOthers], turn-10*us)
	g.expect("the write's wait", waits.Stages[devices.DeviceQueue], turn)
	g.expect("exposed for good", g.raid.Cut(1).ExposedBytes(), uint64(block))
}

func TestADiskWithBlankMediaIsEnough(t *testing.T) {
	cfg := controller
	cfg.IdleDestage = ms
	loop := sim.NewLoop()
	ram := drive.NewRAM(loop, info, volume.Blank{})
	v, err := volume.NewRAID(loop, cfg, info, drive.NewMedia(drive.RealBytes), ram)
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{t: t, loop: loop, dev: v}
	w := write(block, block)
	w.Bytes = []byte(strings.Repeat("truth", block)[:block])
	g.do(w)
	loop.Run(sim.Never)
	g.expect("on the medium", g.dev.Stats(), devices.Stats{HostWrittenBytes: block, MediaWrittenBytes: block})
	r := read(0, 2*block)
	r.Bytes = make([]byte, 2*block)
	g.expect("a read from the disk", g.do(r), hit)
	g.expect("what it read", string(r.Bytes), strings.Repeat("\x00", block)+string(w.Bytes))
}

func TestNoAllocationPerRequest(t *testing.T) {
	raid := newRAID(t, controller, &disk{}).rig
	failed := controller
	failed.BatteryFailed = true
	for name, g := range map[string]*rig{
		"raid":         raid,
		"raid through": newRAID(t, failed, &disk{}).rig,
		"cloud": newCloud(t, volume.CloudConfig{
			Mean: 2, Min: 1, Sigma: 1, TailProbability: 0.1, Tail: 5,
			IOPS: volume.Limit{Rate: 1e6, Burst: 10, Peak: 2e6}, Bytes: volume.Limit{Rate: 1e9}, MaxInFlight: 4,
		}),
	} {
		requests := make([]devices.Request, 32)
		round := func() {
			for i := range requests {
				r := &requests[i]
				r.Reset()
				r.Op, r.Offset, r.Length, r.Txn = devices.OpWrite, uint64(i%24)*7*block, block, uint64(i)
				switch i % 4 {
				case 1:
					r.Op = devices.OpRead
				case 2:
					r.Op, r.Length = devices.OpFlush, 0
				case 3:
					r.Flags = devices.FUA
				}
				g.submit(r)
			}
			g.loop.Run(sim.Never)
		}
		for range 10 {
			round()
		}
		if n := testing.AllocsPerRun(100, round); n != 0 {
			t.Errorf("%s: %v allocations in 32 requests", name, n)
		}
	}
}

func BenchmarkHit(b *testing.B) {
	g := newRAID(b, controller, &disk{})
	r := write(0, block)
	b.ReportAllocs()
	for b.Loop() {
		g.do(r)
	}
}

func BenchmarkSustained(b *testing.B) {
	cfg := controller
	cfg.Capacity, cfg.HighWater, cfg.LowWater = 512<<20, 256<<20, 128<<20
	g := newRAID(b, cfg, &disk{service: func(*devices.Request) time.Duration { return us }})
	at := sim.Seed(7).Stream("addresses")
	r := write(0, block)
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i++
		r.Offset = at.Uint64N(info.Size/block, i, 0) * block
		g.do(r)
	}
}

func BenchmarkCloud(b *testing.B) {
	g := newCloud(b, volume.CloudConfig{Mean: 335 * us, Min: 320 * us, Sigma: 2, IOPS: volume.Limit{Rate: 3000}})
	r := write(0, block)
	b.ReportAllocs()
	for b.Loop() {
		r.Txn++
		g.do(r)
	}
}
