package bench

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"nbdbench/workloads"
)

// BenchmarkStack is a whole run in virtual time without power cuts: runner,
// strategy, codec, link, write cache, model, recorder. An operation is one NBD
// command; IO/s is how many of them one core simulates in a second of real time.
// The device is 256 MiB small, so that it is soon written over and over: the
// tables of a steady state do not grow.
func BenchmarkStack(b *testing.B) {
	for _, c := range []struct{ device, strategy string }{
		{"nvme-990pro", "native"},
		{"nvme-990pro", "emulate"},
		{"nvme-990pro", "none"},
		{"nvme-990pro", "none-unsafe"},
		{"nvme-pm963", "native"},
		{"ram", "native"},
	} {
		for _, depth := range []uint32{1, 32} {
			b.Run(fmt.Sprintf("%s/%s/depth=%d", c.device, c.strategy, depth), func(b *testing.B) {
				benchmarkStack(b, c.device, c.strategy, depth)
			})
		}
	}
}

// BenchmarkRAID is the same with a controller and its disk, at depth 16: a log alone, and
// one beside random writes, of which there are soon more than the cache holds.
func BenchmarkRAID(b *testing.B) {
	for _, workload := range []string{"sync-4k", "wal-noisy"} {
		b.Run(workload, func(b *testing.B) {
			p := plan("raid-bbu", workload, "native")
			p.Link, p.QueueDepth, p.Cuts, p.Commits, p.Duration = links["unix"], 16, 0, 1<<40, MaxDuration
			cells, err := p.Cells()
			if err != nil {
				b.Fatal(err)
			}
			pump(b, &p, &cells[0], 300_000)
		})
	}
}

func benchmarkStack(b *testing.B, device, strategy string, depth uint32) {
	p := plan(device, "sync-4k", strategy)
	p.Link, p.QueueDepth, p.Cuts, p.Commits, p.Duration = links["unix"], depth, 0, 1<<40, MaxDuration
	cells, err := p.Cells()
	if err != nil {
		b.Fatal(err)
	}
	small := *cells[0].Profile
	small.Size = 256 << 20
	cells[0].Profile = &small
	pump(b, &p, &cells[0], 200_000)
}

// BenchmarkSteadyFlash is random writes to a drive in the steady state of
// uniform random writes, with 28% of spare space: each program of the host's comes
// with as much of garbage collection's as that takes.
func BenchmarkSteadyFlash(b *testing.B) {
	p := plan("nvme-970pro", "sync-4k", "none-unsafe")
	p.Link, p.QueueDepth, p.Cuts, p.Commits, p.Duration = links["unix"], 32, 0, 1<<40, MaxDuration
	cells, err := p.Cells()
	if err != nil {
		b.Fatal(err)
	}
	c := &cells[0]
	drive, ssd, flash := *c.Profile, *c.Profile.SSD, *c.Profile.SSD.Flash
	flash.Precondition, flash.OverProvisioning, flash.PagesPerBlock = "random", 0.28, 128 // 84 superblocks
	ssd.Flash, drive.SSD, drive.Size = &flash, &ssd, 4<<30
	c.Profile = &drive
	c.Workload.Transaction = slices.Clone(c.Workload.Transaction)
	c.Workload.Transaction[0].Pattern = workloads.PatternRandom
	w := pump(b, &p, c, 2_000_000)
	s := w.model.Stats()
	b.ReportMetric(float64(s.MediaWrittenBytes)/float64(s.HostWrittenBytes), "WA")
}

// pump runs b.N commands of the cell through the stack, after as many as it takes
// until pools and tables have their size. A short one does not wait for that.
func pump(b *testing.B, p *Plan, c *Cell, before int) *world {
	w, err := newWorld(p, c, p.seedOf(0))
	if err != nil {
		b.Fatal(err)
	}
	if testing.Short() {
		before = 0
	}
	w.runner.Start()
	commands := func() int {
		n := w.clients.Counts()
		return int(n.Write + n.WriteFUA + n.Flush)
	}
	for commands() < before {
		w.loop.Step()
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := commands()
	for commands()-start < b.N {
		for range 64 {
			w.loop.Step()
		}
	}
	b.ReportMetric(float64(commands()-start)/b.Elapsed().Seconds(), "IO/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(commands()-start), "ns/IO")
	return w
}

// BenchmarkDefaultPlan is one run of each cell of the default plan, power cuts
// included, on one core.
func BenchmarkDefaultPlan(b *testing.B) {
	for range b.N {
		p := Default()
		p.Runs, p.Jobs = 1, 1
		if testing.Short() {
			p.Commits, p.Cuts, p.Warmup = 10, 1, 0
		}
		mustRun(b, p)
	}
}

// BenchmarkFilledDrive is the log beside random writes on a whole drive of 512 GB that
// was filled in order, through which collection soon works its way: tables grow, and
// all moves. B/block is memory for each block of 4 KiB that was written.
func BenchmarkFilledDrive(b *testing.B) {
	p := plan("nvme-970pro", "wal-noisy", "native")
	p.Cuts, p.Commits, p.Duration = 0, 1<<40, MaxDuration
	cells, err := p.Cells()
	if err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w := pump(b, &p, &cells[0], 0)
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(max(w.model.Stats().HostWrittenBytes>>12, 1)), "B/block")
	b.ReportMetric(float64(w.model.Stats().MediaWrittenBytes)/float64(w.model.Stats().HostWrittenBytes), "WA")
}
