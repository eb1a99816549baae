package hdd_test

import (
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/hdd"
	"nbdbench/sim"
)

func read(off, n uint64) *devices.Request {
	return &devices.Request{Op: devices.OpRead, Offset: off, Length: n, Txn: 1}
}

// busTime is how long n bytes are on the bus.
func busTime(cfg hdd.Config, n uint64) time.Duration {
	return time.Duration(float64(n) / cfg.Bandwidth * 1e9)
}

// rest lets the disk alone for d.
func (g *rig) rest(d time.Duration) { g.loop.Run(g.loop.Now().Add(d)) }

// mediaTime is how long the head takes from the beginning of the disk to behind
// sector n of the outermost zone, reading all there is: a turn a track, and a
// skew from each to the next.
func mediaTime(cfg hdd.Config, n int64) time.Duration {
	turn := time.Minute / time.Duration(cfg.RPM)
	perTrack := int64(cfg.OuterTrack)
	tracks := (n - 1) / perTrack
	cylinders := tracks / int64(cfg.Heads)
	skews := time.Duration(tracks-cylinders)*cfg.HeadSwitch + time.Duration(cylinders)*cfg.CylinderSwitch
	return time.Duration(tracks)*turn + skews + time.Duration(float64(n-tracks*perTrack)/float64(perTrack)*float64(turn))
}

// hp97560 is the disk of Ruemmler and Wilkes' and Kotz' papers, but for the far
// end of its seek curve. Its skews are 8 and 18 of 72 sectors.
func hp97560() hdd.Config {
	turn := time.Minute / 4002
	return hdd.Config{
		Size: 1962 * 19 * 72 * devices.Sector, RPM: 4002, Heads: 19, Zones: 1, OuterTrack: 72, InnerTrack: 72,
		SeekA: 3240 * time.Microsecond, SeekB: 17718 * time.Microsecond, SeekKnee: 383.0 / 1962,
		HeadSwitch: turn * 8 / 72, CylinderSwitch: turn * 18 / 72,
		Ack: 2200 * time.Microsecond, Bandwidth: 10e6, QueueDepth: 1,
		Segments: 1, SegmentSize: 128 << 10, ReadAhead: 64 << 10,
	}
}

func TestSequentialReadsRunAtTheRateOfTheMedium(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  hdd.Config
		size uint64
	}{
		"7200 rpm": {disk7200, 128 << 10}, "7200 rpm, long": {disk7200, 5 << 20}, "15000 rpm": {disk15k(), 512 << 10},
		"HP 97560": {hp97560(), 8 << 10}, "HP 97560, longer than a segment": {hp97560(), 300 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 500
			g := newRig(t, c.cfg)
			var done [n]sim.Time
			for i := range done {
				g.do(read(uint64(i)*c.size, c.size))
				done[i] = g.loop.Now()
			}
			one := mediaTime(c.cfg, int64(c.size/devices.Sector))
			for i := range done {
				got, want := done[i].Sub(done[0]), mediaTime(c.cfg, int64(i+1)*int64(c.size/devices.Sector))-one
				if d := got - want; d < -2 || d > 2 {
					t.Fatalf("read %d ends %v after the first, the medium passes in %v", i, got, want)
				}
			}
			t.Logf("%.2f MB/s", (n-1)*float64(c.size)/done[n-1].Sub(done[0]).Seconds()/1e6)
		})
	}
}

func TestABusThatIsSlowerThanTheMediumBoundsSequentialReads(t *testing.T) {
	cfg := disk7200
	cfg.Bandwidth = 100e6
	g := newRig(t, cfg)
	const n, size = 500, 1 << 20
	g.do(read(0, size))
	start := g.loop.Now()
	for i := uint64(1); i <= n; i++ {
		g.do(read(i*size, size))
	}
	want := n * (cfg.Ack + busTime(cfg, size))
	if got := g.loop.Now().Sub(start); got != want {
		t.Errorf("%d MiB took %v, controller and bus take %v", n, got, want)
	}
}

func TestWithoutReadAheadASequentialReadTakesATurn(t *testing.T) {
	cfg := disk7200
	cfg.Segments = 0
	g := newRig(t, cfg)
	g.do(read(0, 4096))
	turn := time.Minute / 7200
	for i := uint64(1); i < 50; i++ {
		// It ends a turn behind the one before, and what it reads further.
		if d := g.do(read(i*4096, 4096)); d < turn || d > turn+20*time.Microsecond {
			t.Fatalf("read %d took %v", i, d)
		}
	}
}

func TestAReadOfWhatWasReadAheadTakesControllerAndBus(t *testing.T) {
	g := newRig(t, disk7200)
	g.do(read(1<<30, 4096))
	g.rest(20 * time.Millisecond) // two revolutions: more than is read ahead
	for _, n := range []uint64{512, 4096, 256 << 10} {
		if d, want := g.do(read(1<<30+8192, n)), disk7200.Ack+busTime(disk7200, n); d != want {
			t.Errorf("%d bytes took %v, want %v", n, d, want)
		}
	}
	behind := uint64(1<<30 + 4096 + disk7200.ReadAhead)
	if d := g.do(read(behind+1<<20, 4096)); d < time.Millisecond {
		t.Errorf("what was not read ahead took %v", d)
	}
}

func TestAReadThatRunsIntoTheReadAheadWaitsForIt(t *testing.T) {
	g := newRig(t, disk7200)
	g.do(read(0, 4096))
	// 400 KiB further on the same track: the head passes there in time, and is not
	// sent anywhere.
	const ahead = 400 << 10
	d := g.do(read(ahead, 4096))
	want := mediaTime(disk7200, (ahead+4096)/devices.Sector) - mediaTime(disk7200, 8)
	if d < want-2 || d > want+2 { // the bus time of both is the same
		t.Errorf("took %v, the head passes in %v", d, want)
	}
}

func TestOtherWorkEndsTheReadAhead(t *testing.T) {
	for name, other := range map[string]*devices.Request{
		"a write with FUA": write(1<<40, devices.FUA), "a read elsewhere": read(1<<40, 4096),
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, disk7200)
			g.do(read(1<<30, 4096))
			g.do(other)
			g.rest(50 * time.Millisecond)
			if d := g.do(read(1<<30+256<<10, 4096)); d < time.Millisecond {
				t.Errorf("a read of what was not reached took %v", d)
			}
		})
	}
}

func TestWhatWasOverwrittenIsReadFromTheMedium(t *testing.T) {
	for name, flags := range map[string]devices.Flags{"write": 0, "write with FUA": devices.FUA} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, disk7200)
			g.do(read(1<<30, 64<<10))
			w := write(1<<30+8192, flags)
			w.Stamp = 7
			g.do(w)
			g.do(flush())
			if d := g.do(read(1<<30, 8192)); d != disk7200.Ack+busTime(disk7200, 8192) {
				t.Errorf("what is before the write took %v", d)
			}
			r := read(1<<30+8192, 4096)
			if d := g.do(r); d < time.Millisecond || r.Stamp != 7 {
				t.Errorf("the write took %v to read, version %d", d, r.Stamp)
			}
		})
	}
}

func TestWhatIsDestagedAfterItWasReadIsReadFromTheMediumAgain(t *testing.T) {
	g := newRig(t, disk7200)
	g.do(write(1<<30+8192, 0))
	g.do(read(1<<30, 64<<10)) // part of it is dirty
	g.do(flush())
	if d := g.do(read(1<<30+8192, 4096)); d < time.Millisecond {
		t.Errorf("took %v", d)
	}
}

// A reader that is slower than the medium never waits for it: the head reads on
// when half of what it has read ahead is used up, and that lasts for a turn.
func TestASlowSequentialReaderFindsAllInTheBuffer(t *testing.T) {
	g := newRig(t, disk7200)
	first := g.do(read(0, 4096))
	const n = 16 << 20 / 4096
	start := g.loop.Now()
	for i := uint64(1); i < n; i++ {
		g.do(read(i*4096, 4096))
	}
	got, want := g.loop.Now().Sub(start), (n-1)*(disk7200.Ack+busTime(disk7200, 4096))
	if got < want || got > want+time.Millisecond {
		t.Errorf("16 MiB took %v after the first %v, controller and bus %v", got, first, want)
	}
}

// Two readers of what has been read ahead send the arm for more when half of it is
// used up, not with each read.
func TestTheArmRefillsASegmentThatIsHalfUsedUp(t *testing.T) {
	g := newRig(t, disk7200)
	const n = 8 << 20 / 4096 // of each reader
	for i := range uint64(n) {
		for r := range uint64(2) {
			if i == 1 && r == 0 {
				g.jobs = 0
				g.dev.Watch(func(what hdd.Resource, _, _ sim.Time) {
					if what == hdd.TheArm {
						g.jobs++
					}
				})
			}
			g.do(read(r<<40+i*4096, 4096))
			g.rest(time.Millisecond)
		}
	}
	halves := 2 * int(8<<20/(disk7200.ReadAhead/2))
	t.Logf("%d jobs of the arm for %d reads", g.jobs, 2*n)
	if g.jobs < halves-4 || g.jobs > halves+4 {
		t.Errorf("%d jobs of the arm, want about %d", g.jobs, halves)
	}
}

func TestEachSegmentServesOneReader(t *testing.T) {
	for _, c := range []struct {
		readers int
		hits    bool
	}{{disk7200.Segments, true}, {disk7200.Segments + 1, false}} {
		g := newRig(t, disk7200)
		round := func(i uint64) (slowest time.Duration) {
			for r := range c.readers {
				slowest = max(slowest, g.do(read(uint64(r)<<30+i*4096, 4096)))
				g.rest(10 * time.Millisecond)
			}
			return slowest
		}
		round(0)
		for i := uint64(1); i < 20; i++ {
			if hits := round(i) < time.Millisecond; hits != c.hits {
				t.Errorf("%d readers, %d segments: all hit in round %d: %v, want %v", c.readers, disk7200.Segments, i, hits, c.hits)
			}
		}
	}
}

func TestSequentialReadersDoNotStarveARandomOne(t *testing.T) {
	g := newRig(t, disk7200)
	const size = 128 << 10
	next := uint64(0)
	var again func(r *devices.Request)
	again = func(r *devices.Request) {
		r.Reset()
		r.Op, r.Offset, r.Length = devices.OpRead, next, size
		next += size
		r.Completer = completer(again)
		g.dev.Submit(r)
	}
	for range 2 { // one of them is always waiting
		again(new(devices.Request))
	}
	g.rest(100 * time.Millisecond)
	if d := g.do(read(1<<40, 4096)); d > 200*time.Millisecond {
		t.Errorf("a read elsewhere took %v", d)
	}
}

type completer func(r *devices.Request)

func (f completer) Done(r *devices.Request) { f(r) }

// randomReads is the mean time of a random read of 4 KiB.
func randomReads(t *testing.T, cfg hdd.Config) time.Duration {
	g := newRig(t, cfg)
	at := sim.Seed(3).Stream("addresses")
	const n = 20000
	var sum time.Duration
	for i := range uint64(n) {
		sum += g.do(read(at.Uint64N(cfg.Size/4096, i, 0)*4096, 4096))
		g.rest(time.Duration(at.Uint64N(uint64(20*time.Millisecond), i, 1))) // the head reads on
	}
	return sum / n
}

func TestReadAheadDoesNotChangeRandomReads(t *testing.T) {
	without := disk7200
	without.Segments = 0
	a, b := randomReads(t, disk7200), randomReads(t, without)
	t.Logf("random 4 KiB reads: %v with read-ahead, %v without", a, b)
	if r := float64(a) / float64(b); r < 0.99 || r > 1.01 {
		t.Errorf("%v with read-ahead, %v without", a, b)
	}
}
