package history

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nbdbench/devices"
)

func TestTheLegalVersionsAreThoseOfTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		multi := rapid.Bool().Draw(t, "multi_conn")
		s := &story{t: t, conns: 2, unstamped: rapid.Bool().Draw(t, "unstamped"), cuts: rapid.Bool().Draw(t, "cuts")}
		b := &brute{multiConn: multi}
		l := NewLegal(devices.Info{MultiConn: multi, Cache: devices.CacheVolatile})
		if rapid.Bool().Draw(t, "bulk") {
			l.longest = 12 * 512
		}
		for range rapid.IntRange(1, 50).Draw(t, "events") {
			e := s.next()
			if e.Op != devices.OpWrite {
				e.Stamp = 0 // zeros show as version 0 alone
			}
			if n := len(s.open); e.Kind == Submit && n > 0 {
				s.open[n-1] = e
			}
			b.events = append(b.events, e)
			l.Observe(&e)
		}
		for sector := uint64(0); sector < storySectors; sector++ {
			legal := l.At(sector, nil)
			for stamp := devices.Stamp(0); stamp <= s.stamp; stamp++ {
				if got, want := slices.Contains(legal, stamp), b.legal(sector, stamp); got != want {
					t.Fatalf("sector %d version %d is legal: %v, by the definition %v\n%v", sector, stamp, got, want, b.events)
				}
			}
		}
	})
}

// observeWrites has l observe writes of pages of sectors, first and number, in order;
// each is acknowledged before the next but for those that stay open.
func observeWrites(l *Legal, writes ...[2]uint64) {
	seq := uint64(0)
	for i, w := range writes {
		e := Event{Kind: Submit, Seq: seq + 1, Op: devices.OpWrite, Offset: w[0] * 512, Length: w[1] * 512, Stamp: devices.Stamp(i + 1)}
		l.Observe(&e)
		e.Kind, e.Of, e.Seq = Done, e.Seq, e.Seq+1
		l.Observe(&e)
		seq = e.Seq
	}
}

func TestPlacesAreTheSectorsOfAnAtomicUnitThatSurviveTogether(t *testing.T) {
	l := NewLegal(devices.Info{Cache: devices.CacheVolatile, AtomicUnit: 4096, MultiConn: true})
	observeWrites(l, [2]uint64{0, 16}, [2]uint64{2, 2})
	want := []Place{
		{0, 2, []devices.Stamp{0, 1}},
		{2, 4, []devices.Stamp{0, 1, 2}},
		{4, 8, []devices.Stamp{0, 1}},
		{8, 16, []devices.Stamp{0, 1}},
	}
	var got []Place
	l.Places(func(p Place) { got = append(got, p) })
	if !slices.EqualFunc(got, want, func(a, b Place) bool {
		return a.First == b.First && a.End == b.End && slices.Equal(a.Versions, b.Versions)
	}) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := l.Log2(), 3+math.Log2(3); math.Abs(got-want) > 1e-9 {
		t.Errorf("2^%v images, want 2^%v", got, want)
	}
}

func TestWhatAProtectedCacheAcknowledgedCannotBeLost(t *testing.T) {
	for mode, want := range map[devices.CacheMode][]devices.Stamp{
		devices.CacheVolatile: {0, 1}, devices.CacheProtected: {1}, devices.CacheNone: {1},
	} {
		l := NewLegal(devices.Info{Cache: mode})
		observeWrites(l, [2]uint64{0, 8})
		if got := l.At(0, nil); !slices.Equal(got, want) {
			t.Errorf("%v: got %v, want %v", mode, got, want)
		}
	}
}

func TestThePromiseNamesWhatCovered(t *testing.T) {
	l := NewLegal(devices.Info{Cache: devices.CacheVolatile, MultiConn: true})
	observeWrites(l, [2]uint64{0, 8}) // events 1 and 2
	l.Observe(&Event{Kind: Submit, Seq: 3, Op: devices.OpFlush})
	l.Observe(&Event{Kind: Done, Seq: 4, Of: 3, Op: devices.OpFlush})
	if event, flush := l.Covered(0); event != 4 || !flush {
		t.Errorf("got event %d, flush %v", event, flush)
	}
	if event, _ := l.Covered(8); event != 0 {
		t.Errorf("nothing was written to sector 8, got event %d", event)
	}
}
