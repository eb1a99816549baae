package ssd_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/ssd"
	"nbdbench/devices/ssd/ftl"
	"nbdbench/sim"
)

// tlc is a small drive with dies of its own: 8 of them, rows of 96 KiB.
func tlc() ssd.Config {
	return ssd.Config{
		SerialPer4K: 460, Parallel: 4 * us, Bandwidth: 6.8e9, ReadBase: 10 * us,
		FlushClean: 20 * us, FlushBase: 100 * us, FUABase: 1000 * us, Servers: 1,
		Flash: &ssd.Flash{
			Channels: 4, DiesPerChannel: 2, ChannelBandwidth: 1.2e9, Planes: 2, Page: 16 << 10, OneShot: 3, PagesPerBlock: 48,
			Read: []time.Duration{40 * us, 50 * us, 60 * us}, Program: 600 * us, Erase: 3500 * us,
			OverProvisioning: 0.28,
		},
	}
}

// over is a drive of size bytes with a cache of the given mode.
func over(size uint64, mode devices.CacheMode) drive.Config {
	d := cached
	d.Info.Size, d.Info.Cache = size, mode
	d.Capacity, d.HighWater, d.LowWater = 4<<20, 2<<20, 1<<20
	return d
}

// moved is the time of n bytes over a channel.
func moved(n int) time.Duration { return time.Duration(float64(n) / 1.2e9 * 1e9) }

const row = 96 << 10

func TestAFlushOnFlashTakesAProgramAndTheBase(t *testing.T) {
	g := newRig(t, tlc(), over(256<<20, devices.CacheVolatile))
	g.do(write(0, 4096, 0, 1))
	if got, want := g.do(flush(1)), moved(row)+700*us; got != want {
		t.Errorf("one dirty page: %v, want a transfer, a program and the base, %v", got, want)
	}
	if got := g.do(flush(1)); got != 20*us {
		t.Errorf("the second FLUSH took %v", got)
	}
	s := g.dev.Stats()
	if s.PaddingBytes != row-4096 || s.MediaWrittenBytes != row {
		t.Errorf("stats %+v, want a row of which one page is data", s)
	}
}

func TestAFlushOnFlashGrowsWithTheRowsOfADie(t *testing.T) {
	for _, c := range []struct{ rows, programs, transfers int }{
		{1, 1, 1}, {4, 1, 1}, {8, 1, 2}, {9, 2, 2}, {16, 2, 3},
	} {
		g := newRig(t, tlc(), over(256<<20, devices.CacheVolatile))
		for i := range c.rows * row / 4096 {
			g.do(write(i*8192, 4096, 0, 1))
		}
		got := g.do(flush(1))
		want := time.Duration(c.programs)*600*us + 100*us
		// The channel brings one die its data while the other programs.
		if got < want+moved(row) || got > want+time.Duration(c.transfers)*moved(row) {
			t.Errorf("%d dirty rows: %v, want %d programs, the base and 1 to %d transfers: %v", c.rows, got, c.programs, c.transfers, want)
		}
	}
}

func TestFUAOnFlashProgramsItsOwnPage(t *testing.T) {
	g := newRig(t, tlc(), over(256<<20, devices.CacheVolatile))
	g.do(write(1<<20, 8192, 0, 1))
	if got, want := g.do(write(0, 4096, devices.FUA, 2)), moved(row)+600*us+ack(4096)+1000*us; got != want {
		t.Errorf("took %v, want %v", got, want)
	}
	if n := g.dev.Cut(1).ExposedBytes(); n != 8192 {
		t.Errorf("%d bytes are exposed, want those of the other write", n)
	}
}

func TestTheJournalIsAProgramMore(t *testing.T) {
	cfg := tlc()
	cfg.Flash.Journal = 200 * us
	g := newRig(t, cfg, over(256<<20, devices.CacheVolatile))
	g.do(write(0, 4096, 0, 1))
	if got, want := g.do(flush(1)), moved(row)+700*us+moved(16<<10)+200*us; got < want-1 || got > want+1 {
		t.Errorf("took %v, want %v", got, want)
	}
}

func read(off, n int) *devices.Request {
	return &devices.Request{Op: devices.OpRead, Offset: uint64(off), Length: uint64(n)}
}

func TestAReadTakesThePageItIsIn(t *testing.T) {
	cfg := tlc()
	cfg.Flash.Fill = ftl.Sequential
	g := newRig(t, cfg, over(256<<20, devices.CacheVolatile))
	for page, array := range cfg.Flash.Read {
		want := 10*us + array + moved(4096) + 602
		if got := g.do(read(page*32<<10, 4096)); got != want {
			t.Errorf("page %d of a row: %v, want %v", page, got, want)
		}
	}
	// Three pages of one die after another, each with all its planes.
	if got, least := g.do(read(0, row)), 10*us+150*us; got < least || got > least+2*moved(row) {
		t.Errorf("a row took %v, want %v and its transfers", got, least)
	}
	// Rows are on different dies.
	if one, eight := g.do(read(0, row)), g.do(read(0, 8*row)); eight > one+8*moved(row)+100*us {
		t.Errorf("a row took %v, eight rows %v", one, eight)
	}
}

func TestAReadOfWhatWasNeverWrittenUsesNoDie(t *testing.T) {
	g := newRig(t, tlc(), over(256<<20, devices.CacheVolatile))
	if got := g.do(read(0, 4096)); got >= 40*us {
		t.Errorf("took %v", got)
	}
}

func TestAProgramIsSuspendedForARead(t *testing.T) {
	for _, suspend := range []time.Duration{0, 30 * us} {
		cfg := tlc()
		cfg.Flash.Fill, cfg.Flash.SuspendProgram = ftl.Sequential, suspend
		g := newRig(t, cfg, over(256<<20, devices.CacheVolatile))
		g.do(write(0, 4096, 0, 1))
		f := g.submit(flush(1))
		// The row goes to the first die, which holds the first row of the fill too.
		g.loop.Run(g.loop.Now().Add(moved(row) + 100*us))
		r := g.submit(read(4096, 4096))
		g.wait(2)
		idle := 10*us + 40*us + moved(4096) + 602
		want := idle + 500*us
		if suspend > 0 {
			want = idle + suspend
		}
		if got := latencyOf(r); got != want {
			t.Errorf("suspend %v: the read took %v, want %v", suspend, got, want)
		}
		wantFlush := moved(row) + 700*us
		if suspend > 0 {
			wantFlush += suspend + 40*us
		}
		if got := latencyOf(f); got != wantFlush {
			t.Errorf("suspend %v: the FLUSH took %v, want %v", suspend, got, wantFlush)
		}
	}
}

func TestAFullCacheFallsToTheDiesRate(t *testing.T) {
	for _, mode := range []devices.CacheMode{devices.CacheVolatile, devices.CacheProtected} {
		g := newRig(t, tlc(), over(1<<30, mode))
		const n = 1200
		start := g.loop.Now()
		for i := range n {
			g.do(write(i*row, row, 0, 1))
		}
		got := float64(n*row) / g.loop.Now().Sub(start).Seconds()
		// 8 dies, a row in 600 us and its transfer each.
		want := 8 * row / (600*us + moved(row)).Seconds()
		t.Logf("%v: %.0f MB/s, dies %.0f MB/s", mode, got/1e6, want/1e6)
		if math.Abs(got/want-1) > 0.15 {
			t.Errorf("%v: %.0f MB/s, want what the dies program, %.0f MB/s", mode, got/1e6, want/1e6)
		}
	}
}

// slc is a drive with a pSLC region of 48 MiB.
func slc() ssd.Config {
	cfg := tlc()
	cfg.Flash.SLC, cfg.Flash.SLCRead, cfg.Flash.SLCProgram = 48<<20, 25*us, 200*us
	cfg.Flash.Program = 1600 * us
	return cfg
}

func TestPSLCIsFastUntilItIsFullAndAgainAfterARest(t *testing.T) {
	common := over(1<<30, devices.CacheVolatile)
	common.IdleDestage = time.Millisecond
	g := newRig(t, slc(), common)
	rate := func(from, n int) float64 {
		start := g.loop.Now()
		for i := range n {
			g.do(write((from+i)*row, row, 0, 1))
		}
		return float64(n*row) / g.loop.Now().Sub(start).Seconds()
	}
	rate(0, 64)
	fast := rate(64, 300)
	rate(364, 200)
	slow := rate(564, 300)
	g.loop.Run(g.loop.Now().Add(2 * time.Second))
	again := rate(864, 300)
	t.Logf("%.0f MB/s, full %.0f MB/s, rested %.0f MB/s", fast/1e6, slow/1e6, again/1e6)
	if slow > 0.75*fast || again < 0.95*fast {
		t.Errorf("%.0f MB/s, full %.0f MB/s, rested %.0f MB/s", fast/1e6, slow/1e6, again/1e6)
	}
	if s := g.dev.Stats(); s.MovedBytes < 47<<20 {
		t.Errorf("stats %+v: pSLC was not folded", s)
	}
}

// tail are latencies of random reads beside random writes on a drive in steady
// state, with other writes at rate writes for each read.
func tail(t *testing.T, fill ftl.Fill, writes int) []time.Duration {
	cfg := tlc()
	cfg.Flash.OverProvisioning, cfg.Flash.Fill = 0.15, fill
	g := newRig(t, cfg, over(512<<20, devices.CacheProtected))
	draw := sim.Seed(2).Stream("test")
	pages := g.dev.Info().Size / 4096
	var all []time.Duration
	for i := range 20_000 {
		rs := []*devices.Request{read(int(draw.Uint64N(pages, uint64(i), 0))*4096, 4096)}
		for k := range writes {
			rs = append(rs, write(int(draw.Uint64N(pages, uint64(i), uint64(k+1)))*4096, 4096, 0, 1))
		}
		g.do(rs...)
		all = append(all, latencyOf(rs[0]))
		g.loop.Run(g.loop.Now().Add(200 * us))
	}
	slices.Sort(all)
	return all
}

func TestCollectionShowsInTheReadsTail(t *testing.T) {
	quiet, fresh, steady := tail(t, ftl.Sequential, 0), tail(t, ftl.Empty, 2), tail(t, ftl.Random, 2)
	p := func(l []time.Duration, q float64) time.Duration { return l[int(q*float64(len(l)-1))] }
	t.Logf("p50 and p99.9: alone %v %v, beside writes on a fresh drive %v %v, in steady state %v %v",
		p(quiet, 0.5), p(quiet, 0.999), p(fresh, 0.5), p(fresh, 0.999), p(steady, 0.5), p(steady, 0.999))
	if p(quiet, 0.999) > 100*us || p(fresh, 0.999) > 2*time.Millisecond || p(steady, 0.999) < 3*time.Millisecond {
		t.Errorf("p99.9 alone %v, fresh %v, steady %v: want the last one to show collection and its erases", p(quiet, 0.999), p(fresh, 0.999), p(steady, 0.999))
	}
}

func TestTrimmedDataIsNotMoved(t *testing.T) {
	amplification := func(trim bool) float64 {
		cfg := tlc()
		cfg.Flash.OverProvisioning, cfg.Flash.Fill = 0.1, ftl.Sequential
		g := newRig(t, cfg, over(512<<20, devices.CacheProtected))
		pages := g.dev.Info().Size / 4096
		if trim {
			g.do(&devices.Request{Op: devices.OpTrim, Offset: 256 << 20, Length: 256 << 20})
		}
		draw := sim.Seed(2).Stream("test")
		var before devices.Stats
		const n = 300_000
		for i := range n {
			if i == n/2 {
				before = g.dev.Stats()
			}
			g.do(write(int(draw.Uint64N(pages/2, uint64(i), 0))*4096, 4096, 0, 1))
		}
		s := g.dev.Stats().Sub(before)
		return float64(s.MediaWrittenBytes) / float64(n/2*4096)
	}
	whole, trimmed := amplification(false), amplification(true)
	t.Logf("write amplification %.2f, after TRIM of the other half %.2f", whole, trimmed)
	if trimmed > 0.7*whole {
		t.Errorf("write amplification %.2f, after TRIM of the other half %.2f", whole, trimmed)
	}
}

func TestNoAllocationPerRequestOnFlash(t *testing.T) {
	cfg := slc()
	cfg.Flash.Fill, cfg.Flash.SuspendProgram = ftl.Sequential, 30*us
	common := over(256<<20, devices.CacheVolatile)
	g := newRig(t, cfg, common)
	round := mixed(g, func(i, k int) uint64 { return uint64(i*64+k) * 7919 % 65536 * 4096 })
	for range 4000 {
		round()
	}
	// Tables grow now and then, by halves.
	if n := testing.AllocsPerRun(200, round); n > 1 {
		t.Errorf("%g allocations in a round", n)
	}
}

func TestAFlashWithoutRoomIsRefused(t *testing.T) {
	for name, change := range map[string]func(*ssd.Config){
		"channels":          func(c *ssd.Config) { c.Flash.Channels = 0 },
		"one_shot":          func(c *ssd.Config) { c.Flash.PagesPerBlock = 47 },
		"mapping_unit":      func(c *ssd.Config) { c.Flash.MappingUnit = 3000 },
		"read":              func(c *ssd.Config) { c.Flash.Read = nil },
		"over_provisioning": func(c *ssd.Config) { c.Flash.OverProvisioning = -1 },
		"read_page":         func(c *ssd.Config) { c.ReadPage = 50 * us },
		"pSLC":              func(c *ssd.Config) { c.Flash.SLC = 1 << 20 },
	} {
		cfg := tlc()
		change(&cfg)
		if err := cfg.Validate(1 << 30); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	cfg := tlc()
	if err := cfg.Validate(1 << 44); err == nil {
		t.Error("16 TiB in units of 4 KiB need addresses of more than 32 bits: no error")
	}
}
