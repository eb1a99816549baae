package simtest

import (
	"encoding/binary"
	"hash/fnv"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// longSpan is how many sectors behind the usual range the longest commands may
// reach: from 1 MiB on the models keep a range in another way.
const longSpan = 3 << 20 / devices.Sector

// slot is one place of the queue depth: a request, and the pause before it.
type slot struct {
	w    *world
	r    devices.Request
	busy bool // r is submitted
	call bool // Submit has not returned
	end  int  // the FLUSH at the end, or its second
	wait sim.Timer

	began    sim.Time
	acked    int // of a FLUSH: how many of world.unsealed it covers
	floors   []uint64
	versions []devices.Stamp
	bytes    []byte
}

// unsealed is a write whose reply came, and of which no FLUSH has been heard.
type unsealed struct {
	txn  uint64
	conn uint32
}

// rest sends the slot's next request after a pause, if there is one to send.
func (s *slot) rest() {
	w := s.w
	if w.sent == w.requests {
		return
	}
	w.sent++
	w.open++
	pause := sim.Duration(0)
	if w.think > 0 && !w.dice.one(4) {
		pause = sim.Duration(w.dice.upTo(uint64(w.think)))
	}
	w.loop.After(&s.wait, pause, s)
}

// Fire sends a request.
func (s *slot) Fire(*sim.Timer) {
	s.make()
	s.submit()
}

// make draws the next request.
func (s *slot) make() {
	w, d, r := s.w, &s.w.dice, &s.r
	r.Reset()
	r.Conn, r.Stream = uint32(d.intN(w.connections)), uint32(d.intN(3))
	switch k := d.intN(20); {
	case k < 4 && w.info.CanFlush:
		r.Op = devices.OpFlush
	case k < 7:
		r.Op = devices.OpRead
	case k < 9 && w.info.CanZero:
		r.Op, r.Flags = devices.OpWriteZeroes, pick(d, 0, devices.NoHole)
	case k < 10 && w.info.CanTrim:
		r.Op = devices.OpTrim
	default:
		r.Op = devices.OpWrite
	}
	if r.Op != devices.OpFlush {
		s.place()
	}
	if r.Op.Modifies() && w.info.FUA != devices.FUANone && d.one(3) {
		r.Flags |= devices.FUA
	}
}

// place draws where the request is: mostly a few sectors, now and then the
// whole range, and seldom more than 1 MiB.
func (s *slot) place() {
	w, d := s.w, &s.w.dice
	first := d.upTo(w.span)
	n := 1 + d.upTo(min(24, w.span-first))
	switch {
	case d.one(3): // whole blocks of 4 KiB
		first = first / 8 * 8
		n = 8 * (1 + d.upTo(min(3, (w.span-first)/8)))
	case d.one(12):
		n = 1 + d.upTo(w.span-first)
	case d.one(100) && w.mode == drive.Versions && w.base+w.span+longSpan <= deviceSize/devices.Sector:
		n = w.span - first + d.upTo(longSpan)
	}
	if unit := uint64(w.profile.LogicalBlock) / devices.Sector; unit > 1 { // the minimum block
		last := first + n + unit - 1
		first = first / unit * unit
		n = (last - first) / unit * unit
	}
	s.r.Offset, s.r.Length = (w.base+first)*devices.Sector, n*devices.Sector
}

// submit sends the slot's request.
func (s *slot) submit() {
	w, r := s.w, &s.r
	w.txn++
	r.Txn, r.Completer, r.Intended, s.began = w.txn, s, w.loop.Now(), w.loop.Now()
	r.Begin(s.began)
	s.fill()
	switch {
	case r.Op.Modifies():
		w.ledger.Submit(r)
		w.readers.submit(r)
	case r.Op == devices.OpRead:
		s.floors = w.readers.floors(r, s.floors)
	case r.Op == devices.OpFlush:
		s.acked = len(w.unsealed)
	}
	s.busy, s.call = true, true
	w.top.Submit(r)
	s.call = false
}

// fill gives the request its payload.
func (s *slot) fill() {
	w, r := s.w, &s.r
	sectors := int(r.Length / devices.Sector)
	if r.Op == devices.OpWrite {
		w.stamp++
		r.Stamp = w.stamp
	}
	switch {
	case r.Op != devices.OpWrite && r.Op != devices.OpRead:
	case w.mode == drive.RealBytes:
		s.bytes = s.bytes[:0]
		for len(s.bytes) < int(r.Length) {
			s.bytes = binary.BigEndian.AppendUint64(s.bytes, uint64(r.Stamp))
		}
		r.Bytes = s.bytes
	case r.Op == devices.OpRead:
		s.versions = append(s.versions[:0], make([]devices.Stamp, sectors)...)
		r.Versions = s.versions
	}
}

// Done checks what holds for every request, and sends the next.
func (s *slot) Done(r *devices.Request) {
	w, now := s.w, s.w.loop.Now()
	switch {
	case !s.busy:
		w.fail("%v completed twice", r)
		return
	case s.call:
		w.fail("%v completed within Submit", r)
	case r.Errno != devices.OK:
		w.fail("%v ended with %v", r, r.Errno)
	case r.Stages.Total() != now.Sub(s.began):
		w.fail("%v took %v, but its stages %v sum to %v", r, now.Sub(s.began), r.Stages, r.Stages.Total())
	}
	s.busy = false
	w.open--
	if w.failed != nil {
		return
	}
	s.learn()
	w.digest(r, s.versions)
	if s.end > 0 {
		return
	}
	if w.dice.one(4) && w.sent < w.requests { // at once, from within Done
		w.sent++
		w.open++
		s.make()
		s.submit()
		return
	}
	s.rest()
}

// learn notifies the judges that the request is done.
func (s *slot) learn() {
	w, r := s.w, &s.r
	switch {
	case r.Op.Modifies():
		w.ledger.Op(r)
		w.readers.done(r)
		switch {
		case r.Op == devices.OpTrim:
		case r.Flags&devices.FUA != 0:
			w.commit(r.Txn)
		default:
			w.unsealed = append(w.unsealed, unsealed{r.Txn, r.Conn})
		}
	case r.Op == devices.OpRead:
		if err := w.readers.check(r, s.floors, s.read()); err != nil {
			w.fail("%w", err)
		}
	case r.Op == devices.OpFlush:
		w.seal(s.acked, r.Conn)
	}
}

// read is what a READ returned, sector by sector.
func (s *slot) read() []devices.Stamp {
	if s.w.mode != drive.RealBytes {
		return s.versions
	}
	s.versions = s.versions[:0]
	for at := 0; at < len(s.bytes); at += devices.Sector {
		s.versions = append(s.versions, s.w.stampOf(s.bytes[at:at+devices.Sector]))
	}
	return s.versions
}

// stampOf is the version of a sector's bytes, all of which must be of one.
func (w *world) stampOf(sector []byte) devices.Stamp {
	v := binary.BigEndian.Uint64(sector)
	for at := 8; at < devices.Sector; at += 8 {
		if u := binary.BigEndian.Uint64(sector[at:]); u != v {
			w.fail("a sector holds bytes of versions %d and %d", v, u)
		}
	}
	return devices.Stamp(v)
}

func (w *world) commit(txn uint64) {
	w.report.Commits++
	w.ledger.Commit(&devices.Commit{Txn: txn, Acked: w.loop.Now()})
}

// seal commits those of the first n writes that a FLUSH on conn covers. They
// stay in the list, so that the counts of other FLUSHes keep their meaning.
func (w *world) seal(n int, conn uint32) {
	for i := range w.unsealed[:n] {
		if u := &w.unsealed[i]; u.txn != 0 && (!w.perConn || u.conn == conn) {
			w.commit(u.txn)
			u.txn = 0
		}
	}
}

// digest folds a completion into the report.
func (w *world) digest(r *devices.Request, versions []devices.Stamp) {
	h := fnv.New64a()
	line := binary.BigEndian.AppendUint64(nil, w.report.Digest)
	line = binary.BigEndian.AppendUint64(line, r.Txn)
	line = binary.BigEndian.AppendUint64(line, uint64(w.loop.Now()))
	if r.Op == devices.OpRead {
		for _, v := range versions {
			line = binary.BigEndian.AppendUint64(line, uint64(v))
		}
	}
	_, _ = h.Write(line) // never fails
	w.report.Digest = h.Sum64()
}
