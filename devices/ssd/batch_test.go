package ssd_test

import (
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/ssd"
)

// batched is consumer with programs of FUA writes of their own.
func batched(programs, batch int, holdOff time.Duration) ssd.Config {
	c := consumer
	c.FUAPrograms, c.FUABatch, c.FUAHoldOff = programs, batch, holdOff
	return c
}

// fuaRate is the FUA writes a second of depth jobs, each in a closed loop.
func fuaRate(t *testing.T, c ssd.Config, depth int) float64 {
	t.Helper()
	g := newRig(t, c, cached)
	const writes = 2000
	rs := make([]*devices.Request, depth)
	for i := range rs {
		rs[i] = write(i*4096, 4096, devices.FUA, 0)
		g.submit(rs[i])
	}
	for g.done < writes {
		before := g.done
		g.wait(1)
		for i := before; i < g.done; i++ {
			for _, r := range rs {
				if r.Completed != 0 {
					*r = *write(int(r.Offset), 4096, devices.FUA, 0)
					g.submit(r)
					break
				}
			}
		}
	}
	return float64(g.done) / g.loop.Now().Sub(0).Seconds()
}

func TestFUAWritesShareAProgramThatStartsWhenEnoughOfThemWaitOrAfterAHoldOff(t *testing.T) {
	const program, holdOff = 3980, 2000 // us; consumer's ack is 5 us more
	c := batched(3, 16, holdOff*us)
	for _, x := range []struct {
		depth    int
		programs float64 // in progress at once
		writes   float64 // in each
		us       float64 // one takes, with the wait for it
	}{
		{1, 1, 1, holdOff + program},
		{8, 1, 8, holdOff + program},
		{16, 1, 16, program},
		{32, 2, 16, program},
		{48, 3, 16, program},
		{64, 3, 16, program}, // and 16 wait
	} {
		want := x.programs * x.writes / x.us * 1e6
		if got := fuaRate(t, c, x.depth); got < want*0.97 || got > want*1.03 {
			t.Errorf("depth %d: %.0f FUA writes a second, want about %.0f", x.depth, got, want)
		}
	}
}

func TestProgramsOfOneFUAWriteEachAreServedSideBySide(t *testing.T) {
	for _, depth := range []int{1, 4, 19, 32} {
		want := float64(min(depth, 19)) / 3985e-6
		if got := fuaRate(t, batched(19, 1, 0), depth); got < want*0.97 || got > want*1.03 {
			t.Errorf("depth %d: %.0f FUA writes a second, want about %.0f", depth, got, want)
		}
	}
}

func TestFUAProgramsDoNotWaitForAFlush(t *testing.T) {
	g := newRig(t, batched(1, 1, 0), cached)
	g.do(write(0, 4096, 0, 1))
	f, w := flush(1), write(8192, 4096, devices.FUA, 2)
	g.do(f, w)
	if latencyOf(f) != consumer.FlushBase || latencyOf(w) != ack(4096)+consumer.FUABase {
		t.Errorf("beside each other FLUSH took %v and the FUA write %v, want %v and %v", latencyOf(f), latencyOf(w), consumer.FlushBase, ack(4096)+consumer.FUABase)
	}
}

func TestAFlushThatFoundDirtyDataTakesItsWholeTimeThoughAnotherWroteIt(t *testing.T) {
	for _, whole := range []bool{false, true} {
		c := consumer
		c.FlushWhole = whole
		g := newRig(t, c, cached)
		g.do(write(0, 4096, 0, 1))
		first, second := flush(1), flush(2)
		want := c.FlushBase + c.FlushClean
		if whole {
			want = 2 * c.FlushBase
		}
		if g.do(first, second); latencyOf(second) != want {
			t.Errorf("whole %v: the second FLUSH took %v, want %v", whole, latencyOf(second), want)
		}
		if clean := g.do(flush(3)); clean != c.FlushClean {
			t.Errorf("whole %v: a FLUSH with nothing dirty took %v, want %v", whole, clean, c.FlushClean)
		}
	}
}

// flushRate is the FLUSHes a second of depth jobs, each of which writes 4 KiB and then
// flushes, in a closed loop.
func flushRate(t *testing.T, c ssd.Config, depth int) float64 {
	t.Helper()
	g := newRig(t, c, cached)
	const flushes = 600
	rs := make([]*devices.Request, depth)
	for i := range rs {
		rs[i] = g.submit(write(i*4096, 4096, 0, 0))
	}
	for done := 0; done < flushes; {
		before := g.done
		g.wait(1)
		for n := g.done - before; n > 0; n-- {
			for i, r := range rs {
				if r.Completed == 0 {
					continue
				}
				if r.Op == devices.OpFlush {
					done++
					*r = *write(i*4096, 4096, 0, 0)
				} else {
					*r = *flush(0)
				}
				g.submit(r)
				break
			}
		}
	}
	return flushes / g.loop.Now().Sub(0).Seconds()
}

func TestServersOfFUAWritesDoNotServeMoreFlushesAtOnce(t *testing.T) {
	for _, servers := range []int{1, 2, 19, 64} {
		c := consumer
		c.Servers, c.FlushWhole = servers, true
		for _, depth := range []int{1, 8, 32} {
			want := 1e6 / (1600 + 5*float64(max(2-depth, 0)))
			if got := flushRate(t, c, depth); got < want*0.97 || got > want*1.03 {
				t.Errorf("%d servers, depth %d: %.0f FLUSHes a second, want about %.0f", servers, depth, got, want)
			}
			want = float64(min(depth, servers)) / 3985e-6
			if got := fuaRate(t, c, depth); got < want*0.97 || got > want*1.03 {
				t.Errorf("%d servers, depth %d: %.0f FUA writes a second, want about %.0f", servers, depth, got, want)
			}
		}
	}
}

func TestFlushServersServeFlushesAtOnce(t *testing.T) {
	c := consumer
	c.Servers, c.Flush.Servers, c.FlushWhole = 8, 4, true
	for _, depth := range []int{1, 4, 8} {
		want := float64(min(depth, 4)) / 1605e-6
		if got := flushRate(t, c, depth); got < want*0.95 || got > want*1.05 {
			t.Errorf("depth %d: %.0f FLUSHes a second, want about %.0f", depth, got, want)
		}
	}
}

func TestFlushesThatWaitShareOne(t *testing.T) {
	c := consumer
	c.Servers = 19
	one, many := flushRate(t, c, 1), flushRate(t, c, 16)
	if many < 7*one {
		t.Errorf("%.0f FLUSHes a second at depth 16, %.0f at depth 1: they do not share", many, one)
	}
}

// TestTheControllerBoundsProgramsOfWrites: units side by side share one interface.
func TestTheControllerBoundsProgramsOfWrites(t *testing.T) {
	c := consumer
	c.FUAPrograms, c.FUABase = 64, 0
	g := newRig(t, c, cached)
	rs := make([]*devices.Request, 64)
	for i := range rs {
		rs[i] = write(i<<20, 1<<20, devices.FUA, 0)
	}
	total := g.do(rs...)
	if rate := float64(64<<20) / total.Seconds(); rate > c.Bandwidth {
		t.Errorf("64 FUA writes of 1 MiB passed the interface at %.2g bytes a second, more than its %.2g", rate, c.Bandwidth)
	}
}
