package history

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"nbdbench/devices"
	"nbdbench/sim"
)

// brute judges from the list of events alone, by the definition.
type brute struct {
	events    []Event
	multiConn bool
}

// reply is the completion of the request that event of submitted, if any. A power
// cut is that of all that is in progress, and not a good one.
func (b *brute) reply(of uint64) *Event {
	for i := range b.events {
		switch e := &b.events[i]; {
		case e.Kind == Done && e.Of == of:
			return e
		case e.Kind == PowerCut && e.Seq > of:
			return &Event{Seq: e.Seq, Kind: Done, Errno: devices.ESHUTDOWN}
		}
	}
	return nil
}

// cutBetween reports whether the power was cut after one event and before another.
func (b *brute) cutBetween(from, to uint64) bool {
	for i := range b.events {
		if e := &b.events[i]; e.Kind == PowerCut && from < e.Seq && e.Seq < to {
			return true
		}
	}
	return false
}

// before reports whether v's reply was sent before w was received.
func (b *brute) before(v, w *Event) bool {
	d := b.reply(v.Seq)
	return d != nil && d.Seq < w.Seq
}

func (b *brute) promised(w *Event) bool {
	d := b.reply(w.Seq)
	if d == nil || d.Errno != devices.OK || w.Op == devices.OpTrim {
		return false
	}
	if w.Flags&devices.FUA != 0 {
		return true
	}
	for i := range b.events {
		f := &b.events[i]
		if f.Op != devices.OpFlush || f.Kind != Submit || f.Seq < d.Seq || b.cutBetween(d.Seq, f.Seq) || (!b.multiConn && f.Conn != w.Conn) {
			continue
		}
		if r := b.reply(f.Seq); r != nil && r.Errno == devices.OK {
			return true
		}
	}
	return false
}

// writes are the submits of write commands that touch a sector.
func (b *brute) writes(sector uint64) (w []*Event) {
	for i := range b.events {
		e := &b.events[i]
		if e.Kind == Submit && e.Op.Modifies() && e.Offset/512 <= sector && sector < (e.Offset+e.Length)/512 {
			w = append(w, e)
		}
	}
	return w
}

func shows(e *Event, found devices.Stamp) bool {
	return e.Stamp == found || (found == 0 && e.Op != devices.OpWrite)
}

func (b *brute) legal(sector uint64, found devices.Stamp) bool {
	writes := b.writes(sector)
	possible := found == 0
	for _, w := range writes {
		possible = possible && !b.promised(w)
	}
	for _, u := range writes {
		if !shows(u, found) {
			continue
		}
		ok := true
		for _, w := range writes {
			ok = ok && !(b.promised(w) && b.before(u, w))
		}
		possible = possible || ok
	}
	return possible
}

// story draws a history of overlapping commands on a few pages.
type story struct {
	t         *rapid.T
	seq       uint64
	stamp     devices.Stamp
	open      []Event
	conns     int
	unstamped bool // writes too may come without a stamp
	cuts      bool // the power may be cut
}

const storySectors = 24

func (s *story) next() Event {
	s.seq++
	if s.cuts && rapid.IntRange(0, 9).Draw(s.t, "cut") == 0 {
		s.open = nil
		return Event{Kind: PowerCut, Seq: s.seq}
	}
	if len(s.open) > 0 && rapid.IntRange(0, 2).Draw(s.t, "end") > 0 {
		i := rapid.IntRange(0, len(s.open)-1).Draw(s.t, "which")
		e := s.open[i]
		s.open = append(s.open[:i], s.open[i+1:]...)
		e.Kind, e.Of, e.Seq = Done, e.Seq, s.seq
		if rapid.IntRange(0, 5).Draw(s.t, "fail") == 0 {
			e.Errno = devices.EIO
		}
		return e
	}
	e := s.command()
	s.open = append(s.open, e)
	return e
}

func (s *story) command() Event {
	op := rapid.SampledFrom([]devices.Op{
		devices.OpWrite, devices.OpWrite, devices.OpWrite, devices.OpFlush,
		devices.OpFlush, devices.OpTrim, devices.OpWriteZeroes, devices.OpRead,
	}).Draw(s.t, "op")
	e := Event{Kind: Submit, Seq: s.seq, Op: op, Conn: uint32(rapid.IntRange(1, s.conns).Draw(s.t, "conn"))}
	if op == devices.OpFlush {
		return e
	}
	first := rapid.IntRange(0, storySectors-1).Draw(s.t, "first")
	n := rapid.IntRange(1, storySectors-first).Draw(s.t, "sectors")
	if rapid.Bool().Draw(s.t, "page") {
		first, n = first&^7, 8
	}
	e.Offset, e.Length = uint64(first)*512, uint64(n)*512
	if rapid.IntRange(0, 3).Draw(s.t, "fua") == 0 {
		e.Flags = devices.FUA
	}
	if op.Modifies() && ((op == devices.OpWrite && !s.unstamped) || rapid.Bool().Draw(s.t, "stamped")) {
		s.stamp++
		e.Stamp = s.stamp
	}
	return e
}

func TestJudgeAgreesWithTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		multi := rapid.Bool().Draw(t, "multi_conn")
		s := &story{t: t, conns: 2, unstamped: rapid.Bool().Draw(t, "unstamped"), cuts: rapid.Bool().Draw(t, "cuts")}
		b := &brute{multiConn: multi}
		j := NewJudge(devices.Info{MultiConn: multi})
		if rapid.Bool().Draw(t, "bulk") {
			j.longest = 12 * 512 // so that longer commands take the way of the long
		}
		if rapid.Bool().Draw(t, "promised_only") {
			j.PromisedOnly()
		}
		for range rapid.IntRange(1, 50).Draw(t, "events") {
			e := s.next()
			b.events = append(b.events, e)
			j.Observe(&e)
		}
		for sector := uint64(0); sector < storySectors; sector++ {
			for stamp := devices.Stamp(0); stamp <= s.stamp; stamp++ {
				if got, want := j.Legal(sector, stamp), b.legal(sector, stamp); got != want {
					v, _ := j.Check(sector, stamp)
					t.Fatalf("sector %d version %d is legal: %v, by the definition %v\n%v\n%v", sector, stamp, got, want, v, b.events)
				}
			}
		}
	})
}

// lost counts, by the definition, the commits that an image has lost.
func (b *brute) lost(sealed map[uint64]uint64, image []devices.Stamp) map[uint64]bool {
	lost := map[uint64]bool{}
	for sector, found := range image {
		writes := b.writes(uint64(sector))
		seen := uint64(0) // when the latest completion of what the image may hold was seen
		for _, u := range writes {
			if !shows(u, found) {
				continue
			}
			if d := b.reply(u.Seq); d == nil {
				seen = math.MaxUint64
			} else {
				seen = max(seen, d.Seq)
			}
		}
		for _, w := range writes {
			d := b.reply(w.Seq)
			if w.Op != devices.OpTrim && d != nil && d.Seq < sealed[w.Txn] && w.Seq > seen {
				lost[w.Txn] = true
			}
		}
	}
	return lost
}

// scribe keeps a ledger and a brute of the same story.
type scribe struct {
	story
	l        *Ledger
	b        brute
	requests map[uint64]*devices.Request // by submit
	sealed   map[uint64]uint64           // by transaction
	acked    map[uint64]sim.Time
}

func (s *scribe) step() {
	e := s.next()
	if e.Kind == Submit {
		e.Txn = rapid.Uint64Range(0, 6).Draw(s.t, "txn")
		s.open[len(s.open)-1].Txn = e.Txn
		r := &devices.Request{Op: e.Op, Flags: e.Flags, Offset: e.Offset, Length: e.Length, Txn: e.Txn}
		r.Stamp = e.Stamp
		s.requests[e.Seq] = r
		s.l.Submit(r)
	} else {
		r := s.requests[e.Of]
		r.Errno = e.Errno
		s.l.Op(r)
	}
	s.b.events = append(s.b.events, e)
	if txn := rapid.Uint64Range(1, 6).Draw(s.t, "commit"); s.sealed[txn] == 0 && rapid.IntRange(0, 3).Draw(s.t, "seal") == 0 {
		s.seq++
		s.sealed[txn], s.acked[txn] = s.seq, sim.Time(1000-s.seq)
		s.l.Commit(&devices.Commit{Txn: txn, Acked: s.acked[txn]})
	}
}

func TestLedgerAgreesWithTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &scribe{
			story: story{t: t, conns: 1, unstamped: rapid.Bool().Draw(t, "unstamped")}, l: NewLedger(),
			requests: map[uint64]*devices.Request{}, sealed: map[uint64]uint64{}, acked: map[uint64]sim.Time{},
		}
		if rapid.Bool().Draw(t, "bulk") {
			s.l.longest, s.l.dense = 12*512, 4
		}
		for range rapid.IntRange(1, 50).Draw(t, "events") {
			s.step()
		}
		image := make([]devices.Stamp, storySectors)
		for i := range image {
			image[i] = devices.Stamp(rapid.Uint64Range(0, uint64(s.stamp)).Draw(t, "image"))
		}
		want := Loss{}
		for txn := range s.b.lost(s.sealed, image) {
			want.Commits++
			if want.Commits == 1 || s.acked[txn] < want.OldestAck {
				want.OldestAck, want.OldestTxn = s.acked[txn], txn
			}
		}
		exposed := func(visit func(off, end uint64)) { visit(0, 8192); visit(4096, storySectors*512) }
		if got := s.l.Lost(exposed, func(sector uint64) devices.Stamp { return image[sector] }); got != want {
			t.Fatalf("got %+v, by the definition %+v\nimage %v\n%v", got, want, image, s.b.events)
		}
		if s.l.Acked() != len(s.sealed) {
			t.Fatalf("%d acknowledged, want %d", s.l.Acked(), len(s.sealed))
		}
	})
}
