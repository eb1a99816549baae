package hdd_test

import (
	"slices"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/sim"
)

// stream sends count writes of n bytes, one behind the other, depth of them in flight,
// and returns the rate in bytes a second and the longest of them.
func stream(g *rig, depth, count int, n uint64, flags devices.Flags) (rate float64, longest time.Duration) {
	rs := make([]*devices.Request, 0, count)
	send := func() {
		r := &devices.Request{Op: devices.OpWrite, Flags: flags, Offset: uint64(len(rs)) * n, Length: n, Completer: g, Submitted: g.loop.Now()}
		r.Begin(g.loop.Now())
		rs = append(rs, r)
		g.dev.Submit(r)
	}
	for range depth {
		send()
	}
	for g.done < count {
		if done := g.done; !g.loop.Step() {
			g.t.Fatal("nothing left to do")
		} else {
			for range min(g.done-done, count-len(rs)) {
				send()
			}
		}
	}
	took := g.loop.Now()
	latency := make([]time.Duration, len(rs))
	for i, r := range rs {
		latency[i] = r.Stages.Total()
	}
	return float64(count) * float64(n) / took.Sub(0).Seconds(), slices.Max(latency)
}

// TestContiguousQueuedWritesStreamWithoutACache: the data of the next is in the drive
// when the last ends, so that the head is where it begins.
func TestContiguousQueuedWritesStreamWithoutACache(t *testing.T) {
	const outer = 3600 * 512 * 4 / (4*60./7200 + 3*1.4e-3 + 1.8e-3) // bytes a second
	for _, depth := range []int{2, 8, 32} {
		for _, flags := range []devices.Flags{0, devices.FUA} {
			g := newRigWithoutCache(t, disk7200)
			if flags != 0 {
				g = newRig(t, disk7200)
			}
			rate, longest := stream(g, depth, 2000, 128<<10, flags)
			if rate < 0.95*outer || rate > 1.05*outer {
				t.Errorf("depth %d, flags %v: %.0f MB/s, want about %.0f", depth, flags, rate/1e6, outer/1e6)
			}
			if limit := time.Duration(depth)*time.Millisecond + 20*time.Millisecond; longest > limit {
				t.Errorf("depth %d, flags %v: one write took %v, want at most %v", depth, flags, longest, limit)
			}
		}
	}
	if rate, _ := stream(newRigWithoutCache(t, disk7200), 1, 200, 128<<10, 0); rate > 1.05*(128<<10)*7200/60 {
		t.Errorf("one at a time: %.1f MB/s, more than one write a revolution", rate/1e6)
	}
}

// TestQueuedWritesHoldABoundedPartOfTheDrivesMemory: their data waits with the host
// beyond it, and all are served.
func TestQueuedWritesHoldABoundedPartOfTheDrivesMemory(t *testing.T) {
	g := newRigWithoutCache(t, disk7200)
	if rate, _ := stream(g, 32, 200, 4<<20, 0); rate < 150e6 {
		t.Errorf("32 writes of 4 MiB: %.0f MB/s", rate/1e6)
	}
}

// TestAMediaCacheTakesSmallWritesWhereverTheyBelong: until it is full, and again after a
// rest.
func TestAMediaCacheTakesSmallWritesWhereverTheyBelong(t *testing.T) {
	cfg := disk7200
	cfg.MediaCache, cfg.MediaCacheWrite, cfg.MediaCacheMove = 64*4096, 3*time.Millisecond, 5*time.Millisecond
	g := newRigWithoutCache(t, cfg)
	seed := uint64(1)
	mean := func(n int) time.Duration {
		start := g.loop.Now()
		for range n {
			seed = seed*6364136223846793005 + 1442695040888963407
			r := &devices.Request{Op: devices.OpWrite, Offset: seed >> 20 % (1 << 27) * 4096, Length: 4096, Completer: g, Submitted: g.loop.Now()}
			r.Begin(g.loop.Now())
			done := g.done
			g.dev.Submit(r)
			for g.done == done {
				if !g.loop.Step() {
					t.Fatal("nothing left to do")
				}
			}
			if r.Stages.Total() != g.loop.Now().Sub(r.Submitted) {
				t.Fatalf("stages %v sum to something else than %v", r.Stages, g.loop.Now().Sub(r.Submitted))
			}
		}
		return g.loop.Now().Sub(start) / time.Duration(n)
	}
	if got := mean(64); got < 3*time.Millisecond || got > 3300*time.Microsecond {
		t.Errorf("a write to the media cache takes %v, want a little more than 3 ms", got)
	}
	if got := mean(64); got < 7*time.Millisecond {
		t.Errorf("a random write beside a full media cache takes %v", got)
	}
	g.loop.After(&sim.Timer{}, time.Second, rest{})
	for g.loop.Step() {
	}
	if got := mean(64); got > 3300*time.Microsecond {
		t.Errorf("after a rest a write to the media cache takes %v", got)
	}
	if n := g.dev.Cut(1).ExposedBytes(); n != 0 {
		t.Errorf("%d bytes in the media cache are exposed", n)
	}
}

type rest struct{}

func (rest) Fire(*sim.Timer) {}
