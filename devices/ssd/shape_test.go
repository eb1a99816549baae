package ssd_test

import (
	"slices"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/ssd"
	"nbdbench/sim"
)

// flushed is how long each of n writes of 4 KiB with a FLUSH takes, one after another,
// with a rest after each.
func flushed(g *rig, n int, rest time.Duration) []time.Duration {
	took := make([]time.Duration, n)
	for i := range took {
		took[i] = g.do(write(i*4096, 4096, 0, uint64(i+1))) + g.do(flush(uint64(i+1)))
		if rest > 0 {
			g.loop.After(&sim.Timer{}, rest, nothing{})
			for end := g.loop.Now().Add(rest); g.loop.Now() < end; {
				g.loop.Step()
			}
		}
	}
	return took
}

type nothing struct{}

func (nothing) Fire(*sim.Timer) {}

// TestAShareOfFlushesIsSlow has the distribution of IBM's guide to etcd (Olivi and
// Spreitzer, 2019): fdatasync with percentiles 50, 90 and 99 of 783, 2180 and 2376 µs,
// half a percent of 9.6 ms and more, and a mean of 1273 µs.
func TestAShareOfFlushesIsSlow(t *testing.T) {
	c := consumer
	c.FlushBase, c.FlushWhole = 660*us, true
	c.Flush = ssd.FlushShape{Sigma: 0.13, SlowShare: 0.44, Slow: 1300 * us, TailProbability: 0.007, Tail: 12000 * us}
	took := flushed(newRig(t, c, cached), 20000, 0)
	sum := time.Duration(0)
	for _, d := range took {
		sum += d
	}
	slices.Sort(took)
	at := func(share float64) time.Duration { return took[int(share*float64(len(took)))] }
	for _, x := range []struct {
		what      string
		got, want time.Duration
	}{
		{"p10", at(0.10), 594 * us},
		{"p50", at(0.50), 783 * us},
		{"p60", at(0.60), 1549 * us},
		{"p90", at(0.90), 2180 * us},
		{"p99", at(0.99), 2376 * us},
		{"mean", sum / time.Duration(len(took)), 1273 * us},
	} {
		if x.got < x.want*80/100 || x.got > x.want*120/100 {
			t.Errorf("%s is %v, want about %v", x.what, x.got, x.want)
		}
	}
}

func TestTheSpreadOfFlushIsNotThatOfFUA(t *testing.T) {
	c := consumer
	c.Flush.Sigma = 0.5
	g := newRig(t, c, cached)
	took := flushed(g, 200, 0)
	if slices.Min(took) == slices.Max(took) {
		t.Error("each FLUSH takes the same time")
	}
	want := ack(4096) + c.FUABase
	for i := range 20 {
		if got := g.do(write(i<<20, 4096, devices.FUA, uint64(1000+i))); got != want {
			t.Errorf("a FUA write takes %v, want %v", got, want)
		}
	}
}

func TestAReserveOfFlushesIsUsedUpAndComesBackWithRest(t *testing.T) {
	c := consumer
	c.Flush = ssd.FlushShape{Reserve: 100, Exhausted: 50 * c.FlushBase, Refill: 200 * time.Second}
	g := newRig(t, c, cached)
	took := flushed(g, 120, 0)
	usual, late := ack(4096)+c.FlushBase, ack(4096)+50*c.FlushBase
	if took[99] != usual || took[119] != late {
		t.Errorf("the 100th FLUSH takes %v and the 120th %v, want %v and %v", took[99], took[119], usual, late)
	}
	flushed(g, 1, 100*time.Second) // then half of the reserve is back
	took = flushed(g, 60, 0)
	if took[48] != usual || took[59] != late {
		t.Errorf("after half of the refill the 49th FLUSH takes %v and the 60th %v, want %v and %v", took[48], took[59], usual, late)
	}
	flushed(g, 1, 300*time.Second)
	if took = flushed(g, 100, 0); took[99] != usual {
		t.Errorf("after a whole refill the 100th FLUSH takes %v, want %v", took[99], usual)
	}
	rare := newRig(t, c, cached)
	if took = flushed(rare, 200, 4*time.Second); slices.Max(took) != usual {
		t.Errorf("with a rest after each a FLUSH takes %v, want %v", slices.Max(took), usual)
	}
	if clean := g.do(flush(1)); clean != c.FlushClean {
		t.Errorf("a FLUSH with nothing dirty takes %v, want %v", clean, c.FlushClean)
	}
}

// TestAFlushOfMoreTakesNoLessWhateverItsShape: on both forms, in the same case.
func TestAFlushOfMoreTakesNoLessWhateverItsShape(t *testing.T) {
	for _, c := range []ssd.Config{consumer, tlc()} {
		c.Flush = ssd.FlushShape{Sigma: 0.3, SlowShare: 0.3, Slow: time.Millisecond, TailProbability: 0.05, Tail: 10 * time.Millisecond, Reserve: 20, Exhausted: 20 * time.Millisecond, Refill: time.Second}
		last := make([]time.Duration, 40)
		for _, pages := range []int{1, 4, 64, 256} {
			common := cached
			common.Info.Size = 1 << 30
			g := newRig(t, c, common)
			for i := range last {
				g.do(write(0, pages*4096, 0, uint64(i+1)))
				got := g.do(flush(uint64(i + 1)))
				if got < last[i] {
					t.Errorf("FLUSH %d of %d pages takes %v, of fewer %v", i, pages, got, last[i])
				}
				last[i] = got
			}
		}
	}
}

func TestAShapedFlushDrawsFromItsSeedAlone(t *testing.T) {
	run := func() []time.Duration {
		c := consumer
		c.Flush = ssd.FlushShape{Sigma: 0.3, SlowShare: 0.3, Slow: time.Millisecond}
		return flushed(newRig(t, c, cached), 100, 0)
	}
	if !slices.Equal(run(), run()) {
		t.Error("two runs differ")
	}
}

func TestAnImpossibleShapeIsRefused(t *testing.T) {
	for name, s := range map[string]ssd.FlushShape{
		"servers": {Servers: 2}, "sigma": {Sigma: 4}, "share": {SlowShare: 0.9, TailProbability: 0.2}, "slow": {Slow: -1},
		"reserve": {Reserve: -1}, "no refill": {Reserve: 1, Exhausted: time.Second}, "less than the base": {Reserve: 1, Exhausted: 1, Refill: 1}, "no reserve": {Refill: 1},
	} {
		c := consumer
		c.Flush = s
		if err := c.Validate(1 << 30); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestTheNextRowCrossesTheChannelWhileADieIsAtWork: then a FLUSH of several rows on one
// die takes one transfer and not one for each.
func TestTheNextRowCrossesTheChannelWhileADieIsAtWork(t *testing.T) {
	const rows = 8
	took := map[bool]time.Duration{}
	for _, ahead := range []bool{false, true} {
		c := tlc()
		f := *c.Flash
		f.Channels, f.DiesPerChannel, f.CacheProgram = 1, 1, ahead
		c.Flash = &f
		common := over(1<<30, devices.CacheVolatile)
		g := newRig(t, c, common)
		g.do(write(0, rows*row, 0, 1))
		took[ahead] = g.do(flush(1))
	}
	each := moved(row)
	if saved := took[false] - took[true]; saved < (rows-1)*each-10*time.Nanosecond || saved > (rows-1)*each+10*time.Nanosecond {
		t.Errorf("a FLUSH of %d rows takes %v, and %v with transfers ahead: want %d transfers of %v less", rows, took[false], took[true], rows-1, each)
	}
}
