package drive

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// Cache is what a volatile write cache knows: which data is acknowledged but
// not durable, what is on its way to the medium, and in which order that may
// happen. It has no time; a drive calls it when events happen.
//
// The rules that it keeps:
//
//   - A write enters when it is acknowledged and gets the next completion
//     sequence number. Later writes of a range replace earlier ones.
//   - A FLUSH takes a snapshot of that number when the device starts it. It is
//     done when nothing with a number up to the snapshot is dirty or in flight:
//     never a dirty bit, so that a write which completes while a flush runs can
//     be neither missed by the next one nor waited for by this one.
//   - Take captures dirty extents as a Flight; Land makes them durable. No two
//     flights of a drive's own destage share a sector at one time.
//   - A write through the cache (FUA) is durable when it lands. It then drops
//     the cached copies of its range and what older flights still carry of it,
//     so that neither a later destage nor one already in flight can bring an
//     older version back.
//   - TRIM and WRITE_ZEROES are writes of zeros and follow the same rules.
type Cache struct {
	media    Media
	capacity uint64
	atomic   uint64

	index   extents
	age     ageList
	flights *Flight // newest first
	flying  filter  // of the atomic units in flights that came from the index
	spare   *Flight
	free    *Extent

	seq      uint64 // completions so far
	departed uint64 // flights so far
	dirty    uint64 // bytes in the index
	airborne uint64 // bytes in flights that came from the index
	reserved uint64 // bytes promised to writes that are not acknowledged yet
	written  uint64 // bytes that reached the medium

	fault  Defect
	landed uint64 // seq at the latest landing, for DefectFlushEndsAtAnyLanding
}

// Defect is a deliberate defect of a cache, for fault plans and for the tests
// that show that a checker finds it.
type Defect uint8

// The defects of a cache.
const (
	DefectNone                   Defect = iota
	DefectStaleCopyAfterFUA             // FUA leaves the older cached copy, which is written back later
	DefectOldFlightLandsAfterFUA        // a destage in flight lands over a FUA write
	DefectFlushMissesFlights            // FLUSH does not wait for what destages have in flight
	DefectFlushForgetsZeroes            // FLUSH leaves TRIM and WRITE_ZEROES
	DefectOverwriteForgets              // an overwritten extent counts as new: the FLUSH in progress does not wait for it
	DefectFlightsOvertake               // two destages may carry the same sector and land in either order
	DefectFlushMissesOldFlights         // FLUSH waits for the newest destage in flight alone
	DefectFUADropsOneExtent             // FUA drops the first cached copy of its range and leaves the others
	DefectFUACutsTooMuch                // FUA drops all that a destage carries behind its range too
	DefectFUACutsNewestFlight           // FUA drops its range from the newest destage in flight alone
	DefectFUACutLosesTail               // FUA drops what one piece of a destage carries behind its range
	DefectFUASkipsUnaligned             // FUA drops no older copies where it does not begin at 4 KiB
	DefectSplitLosesTail                // an extent that is overwritten in its middle loses what is behind
	DefectZeroSplitLosesTail            // the same of zeros alone
	DefectUnitInTwoFlights              // two destages may carry parts of one atomic unit
	DefectLongOverwriteForgets          // DefectOverwriteForgets for overwrites of more than 4 KiB
	DefectFlushEndsAtAnyLanding         // FLUSH ends as soon as any flight lands
	DefectSnapshotOffByOne              // FLUSH does not cover the latest write
	DefectFlushSkipsDestages            // FLUSH that finds nothing dirty does not wait for destages
)

// Break gives the cache a defect.
func (c *Cache) Break(d Defect) { c.fault = d }

// piece is captured content on its way to the medium.
type piece struct {
	off, end uint64
	content  Content
	first    uint64
	last     uint64 // cache sequence when captured

	marked, markedEnd uint64 // what it has marked in the cache's filter
}

// Flight is data on its way to the medium. A power cut leaves any subset of
// its atomic units there.
type Flight struct {
	pieces  []piece
	id      uint64
	through bool
	bytes   uint64
	oldest  uint64  // no piece has a lower first
	newer   *Flight // towards the newest
	next    *Flight // towards the oldest; also the spare list

	// Timer and Ref are for the drive that carries the flight.
	Timer sim.Timer
	Ref   any
}

// Bytes is the flight's length.
func (f *Flight) Bytes() uint64 { return f.bytes }

// Pieces counts the ranges that the flight carries.
func (f *Flight) Pieces() int { return len(f.pieces) }

// Piece is range i in bytes, and whether it holds zeros. One that a write through
// the cache has superseded is empty.
func (f *Flight) Piece(i int) (off, end uint64, zero bool) {
	p := &f.pieces[i]
	return p.off, p.end, p.content.Zero
}

// Span is the range from the first byte that the flight carries to behind its
// last, and whether it carries all of it.
func (f *Flight) Span() (off, end uint64, whole bool) {
	var sum uint64
	for i := range f.pieces {
		p := &f.pieces[i]
		if i == 0 || p.off < off {
			off = p.off
		}
		end = max(end, p.end)
		sum += p.end - p.off
	}
	return off, end, sum == end-off
}

// Covers reports whether the flight carries all of [off, end).
func (f *Flight) Covers(off, end uint64) bool {
	for off < end {
		at := off
		for i := range f.pieces {
			if p := &f.pieces[i]; p.off <= off && p.end > off {
				off = p.end
			}
		}
		if off == at {
			return false
		}
	}
	return true
}

// NewCache returns an empty cache of the given capacity in bytes over media.
// atomic is the unit in bytes that survives a power cut whole or not at all.
func NewCache(media Media, capacity uint64, atomic uint32) *Cache {
	return &Cache{media: media, capacity: capacity, atomic: max(uint64(atomic), 1)}
}

// Seq is the number of completions so far: a snapshot for a FLUSH.
func (c *Cache) Seq() uint64 {
	if c.fault == DefectSnapshotOffByOne && c.seq > 0 {
		return c.seq - 1
	}
	return c.seq
}

// Dirty is the number of bytes that are acknowledged, not durable and not in flight.
func (c *Cache) Dirty() uint64 { return c.dirty }

// Flying is the number of bytes on their way to the medium by destage.
func (c *Cache) Flying() uint64 { return c.airborne }

// Extents counts the dirty extents.
func (c *Cache) Extents() int { return c.index.n }

// Oldest is the dirty extent with the lowest First, or nil. Newer follows it.
func (c *Cache) Oldest() *Extent { return c.age.oldest }

// Newer is the dirty extent that follows e in order of First, or nil.
func (e *Extent) Newer() *Extent { return e.newer }

// Reserve claims n bytes for a write that is about to be acknowledged. It
// reports whether there was room; a write longer than the whole cache has none.
func (c *Cache) Reserve(n uint64) bool {
	if c.dirty+c.airborne+c.reserved+n > c.capacity {
		return false
	}
	c.reserved += n
	return true
}

// Release gives back a reservation; Write follows it.
func (c *Cache) Release(n uint64) { c.reserved -= n }

// weight is what an extent takes of the capacity: zeros are only a note.
func weight(n uint64, c Content) uint64 {
	if c.Zero {
		return min(n, devices.Sector)
	}
	return n
}

// Write puts acknowledged content into the cache and returns its completion
// sequence number. The cache keeps content.Bytes.
func (c *Cache) Write(off, n uint64, content Content, txn uint64) uint64 {
	c.seq++
	if e := c.index.at(c.index.seek(off)); e != nil && e.Off == off && e.End == off+n && c.fault == DefectNone {
		c.dirty += weight(n, content) - weight(n, e.Content)
		e.Content, e.Txn = content, txn
		return c.seq
	}
	first, at := c.carve(off, off+n)
	e := c.newExtent()
	e.Off, e.End, e.Content, e.Txn = off, off+n, content, txn
	e.First = c.seq
	if first != 0 && c.fault != DefectOverwriteForgets && (c.fault != DefectLongOverwriteForgets || n <= pageSize) {
		e.First = first
	}
	if e.First == c.seq {
		at = nil
	}
	c.index.insert(e)
	c.age.insertBefore(e, at)
	c.dirty += weight(n, content)
	return c.seq
}

// carve takes [off, end) out of the dirty extents. It returns the lowest First
// among what was there, which a version that replaces it inherits, and the
// extent before which such a version belongs in the order of age.
func (c *Cache) carve(off, end uint64) (first uint64, at *Extent) {
	for e := c.index.at(c.index.seek(off)); e != nil && e.Off < end; e = c.index.at(c.index.seek(off)) {
		if first == 0 || e.First < first {
			first, at = e.First, e
		}
		if at == e && e.Off >= off && e.End <= end {
			at = e.newer // e goes; what is trimmed stays and has the same First
		}
		c.cutOut(e, off, end)
		// What is left of e after end begins at end and is not met again.
	}
	return first, at
}

// cutOut removes [off, end) from e.
func (c *Cache) cutOut(e *Extent, off, end uint64) {
	c.dirty -= weight(e.Len(), e.Content)
	if e.Off < off && e.End > end { // a hole: the part behind becomes an extent
		if c.losesTail(e) {
			c.truncate(e, off)
			c.dirty += weight(e.Len(), e.Content)
			return
		}
		tail := c.newExtent()
		tail.Off, tail.End, tail.First, tail.Txn = end, e.End, e.First, e.Txn
		tail.Content = e.Content.Slice(end-e.Off, e.End-end)
		c.truncate(e, off)
		c.index.insert(tail)
		c.age.insertBefore(tail, e.newer)
		c.dirty += weight(e.Len(), e.Content) + weight(tail.Len(), tail.Content)
		return
	}
	switch {
	case e.Off >= off && e.End <= end:
		c.drop(e)
		return
	case e.Off < off:
		c.truncate(e, off)
	default:
		c.index.shrink(e, end)
	}
	c.dirty += weight(e.Len(), e.Content)
}

// losesTail reports whether a defect has extent e lose what is behind a hole.
func (c *Cache) losesTail(e *Extent) bool {
	return c.fault == DefectSplitLosesTail && !e.Content.Zero || c.fault == DefectZeroSplitLosesTail && e.Content.Zero
}

func (c *Cache) truncate(e *Extent, end uint64) {
	e.Content = e.Content.Slice(0, end-e.Off)
	e.End = end
}

// drop removes e from index and age; its weight is the caller's business.
func (c *Cache) drop(e *Extent) {
	c.index.remove(e)
	c.age.remove(e)
	e.Content = Content{}
	e.newer = c.free
	c.free = e
}

func (c *Cache) newExtent() *Extent {
	e := c.free
	if e == nil {
		return new(Extent)
	}
	c.free = e.newer
	*e = Extent{}
	return e
}

// Clean reports whether a FLUSH with the given snapshot has nothing to wait
// for.
func (c *Cache) Clean(snapshot uint64) bool {
	if c.fault == DefectFlushEndsAtAnyLanding && c.landed >= snapshot {
		return true
	}
	if e := c.age.oldest; e != nil && e.First <= snapshot {
		return c.fault == DefectFlushForgetsZeroes && e.Content.Zero
	}
	if c.fault == DefectFlushMissesFlights || c.fault == DefectFlushSkipsDestages && c.index.n == 0 {
		return true
	}
	for f := c.flights; f != nil; f = f.next {
		if f.holds(snapshot) {
			return false
		}
		if c.fault == DefectFlushMissesOldFlights && !f.through {
			break
		}
	}
	return true
}

// holds reports whether the flight carries acknowledged data up to snapshot.
func (f *Flight) holds(snapshot uint64) bool {
	if f.through || f.oldest > snapshot {
		return false
	}
	for i := range f.pieces {
		if f.pieces[i].first <= snapshot && f.pieces[i].end > f.pieces[i].off {
			return true
		}
	}
	return false
}

// Covered sums the dirty bytes that a FLUSH with the given snapshot has to
// write, and those of them that transaction txn wrote; with txn 0 all are its own.
func (c *Cache) Covered(snapshot, txn uint64) (bytes, own uint64) {
	for e := c.age.oldest; e != nil && e.First <= snapshot; e = e.newer {
		bytes += weight(e.Len(), e.Content)
		if e.Txn == txn || txn == 0 {
			own += weight(e.Len(), e.Content)
		}
	}
	return bytes, own
}

func (f *Flight) overlaps(off, end uint64) bool {
	for i := range f.pieces {
		if f.pieces[i].off < end && off < f.pieces[i].end {
			return true
		}
	}
	return false
}

// Walk is a place among the dirty extents in order of address. It is good
// until the cache changes.
type Walk struct {
	x   *extents
	cur cursor
}

// From is the place of the first dirty extent that ends after off.
func (c *Cache) From(off uint64) Walk { return Walk{&c.index, c.index.seek(off)} }

// Extent is the extent here, or nil past the last.
func (w Walk) Extent() *Extent { return w.x.at(w.cur) }

// Next is the following place; not past the last.
func (w Walk) Next() Walk { return Walk{w.x, w.x.next(w.cur)} }

// Prev is the place before, and whether there is one.
func (w Walk) Prev() (Walk, bool) {
	cur, ok := w.x.prev(w.cur)
	return Walk{w.x, cur}, ok
}

// Depart begins an empty flight.
func (c *Cache) Depart() *Flight {
	f := c.spare
	if f == nil {
		f = &Flight{}
	} else {
		c.spare = f.next
	}
	c.departed++
	*f = Flight{pieces: f.pieces[:0], id: c.departed, oldest: ^uint64(0)}
	f.next = c.flights
	if c.flights != nil {
		c.flights.newer = f
	}
	c.flights = f
	return f
}

// Take moves dirty extent e into flight f, and with it what else is dirty in
// the atomic units at its ends: a unit reaches the medium in one flight. Nothing
// of these units may be in flight already; see InFlightElsewhere. Another extent
// is another one afterwards.
func (c *Cache) Take(f *Flight, e *Extent) {
	from, to := e.Off/c.atomic*c.atomic, (e.End+c.atomic-1)/c.atomic*c.atomic
	off, end := e.Off, e.End
	c.take(f, e, off, end)
	if c.fault == DefectUnitInTwoFlights {
		return
	}
	c.takeRange(f, from, off)
	c.takeRange(f, end, to)
}

// take moves [off, end) of e into f.
func (c *Cache) take(f *Flight, e *Extent, off, end uint64) {
	content := e.Content.Slice(off-e.Off, end-off)
	w := weight(end-off, content)
	f.pieces = append(f.pieces, piece{off, end, content, e.First, c.seq, off, end})
	c.flying.mark(off/c.atomic, (end+c.atomic-1)/c.atomic, 1)
	f.oldest = min(f.oldest, e.First)
	f.bytes += w
	c.airborne += w
	c.cutOut(e, off, end)
}

// takeRange moves what is dirty in [off, end) into f.
func (c *Cache) takeRange(f *Flight, off, end uint64) {
	for off < end {
		e := c.index.at(c.index.seek(off))
		if e == nil || e.Off >= end {
			return
		}
		to := min(e.End, end)
		c.take(f, e, max(e.Off, off), to)
		off = to
	}
}

// TakeUpTo moves every dirty extent with First up to snapshot into f, oldest
// first, until f holds at least limit bytes.
func (c *Cache) TakeUpTo(f *Flight, snapshot, limit uint64) {
	for e := c.age.oldest; e != nil && e.First <= snapshot && f.bytes < limit; {
		next := e.newer
		if !c.InFlightElsewhere(f, e.Off, e.End) {
			ragged := (e.Off|e.End)%c.atomic != 0
			c.Take(f, e)
			if ragged { // Take may have taken the next one too
				next = c.age.oldest
			}
		}
		e = next
	}
}

// InFlightElsewhere reports whether a destage in flight, other than f, shares an
// atomic unit with [off, end).
func (c *Cache) InFlightElsewhere(f *Flight, off, end uint64) bool {
	if c.fault == DefectFlightsOvertake {
		return false
	}
	first, last := off/c.atomic, (end+c.atomic-1)/c.atomic
	if !c.flying.any(first, last) {
		return false
	}
	if c.fault != DefectUnitInTwoFlights {
		off, end = first*c.atomic, last*c.atomic
	}
	for g := c.flights; g != nil; g = g.next {
		if g != f && !g.through && g.overlaps(off, end) {
			return true
		}
	}
	return false
}

// Through begins the flight of a write that goes past the cache: FUA, or one
// that is too long for it.
func (c *Cache) Through(off, n uint64, content Content) *Flight {
	f := c.Depart()
	f.through = true
	f.pieces = append(f.pieces, piece{off: off, end: off + n, content: content, last: c.seq})
	f.bytes = n
	return f
}

// Send puts write r in flight, past the cache: until Arrive or HandOver a power
// cut leaves any of its atomic units.
func (c *Cache) Send(r *devices.Request) {
	r.Held = c.Through(r.Offset, r.Length, ContentOf(r))
}

// Arrive makes write r, which Send put in flight, durable.
func (c *Cache) Arrive(r *devices.Request) {
	c.Land(flightOf(r))
}

// HandOver ends the flight of write r without writing it: a protected cache has it.
func (c *Cache) HandOver(r *devices.Request) {
	c.retire(flightOf(r))
}

// flightOf takes from r the flight that Send gave it.
func flightOf(r *devices.Request) *Flight {
	f := r.Held.(*Flight)
	r.Held = nil
	return f
}

// Land makes what flight f carries durable and ends it.
func (c *Cache) Land(f *Flight) {
	if m, ok := c.media.(*stampMedia); ok && len(f.pieces) > 1 {
		for i := range f.pieces {
			m.expect(f.pieces[i].off / pageSize)
		}
	}
	for i := range f.pieces {
		p := &f.pieces[i]
		if p.end == p.off {
			continue // superseded
		}
		c.media.Write(p.off, p.end-p.off, p.content)
		c.written += p.end - p.off
		if f.through {
			c.seq++
			c.supersede(f, p.off, p.end)
		}
	}
	if !f.through {
		c.airborne -= f.bytes
	}
	c.landed = c.seq
	c.retire(f)
}

// supersede drops every older version of [off, end): what is dirty in the
// cache, and what destages in flight still carry.
func (c *Cache) supersede(by *Flight, off, end uint64) {
	if c.fault == DefectFUASkipsUnaligned && off%pageSize != 0 {
		return
	}
	switch c.fault {
	case DefectStaleCopyAfterFUA:
	case DefectFUADropsOneExtent:
		if e := c.index.at(c.index.seek(off)); e != nil && e.Off < end {
			c.carve(off, min(e.End, end))
		}
	default:
		c.carve(off, end)
	}
	if c.fault == DefectOldFlightLandsAfterFUA || c.airborne == 0 {
		return
	}
	if c.fault == DefectFUACutsTooMuch {
		end = ^uint64(0)
	}
	for f := c.flights; f != nil; f = f.next {
		if f == by || f.through {
			continue
		}
		f.cutOut(off, end, c.fault == DefectFUACutLosesTail)
		if c.fault == DefectFUACutsNewestFlight {
			return
		}
	}
}

// cutOut removes [off, end) from what the flight carries; a defect loses what a piece
// has behind that.
func (f *Flight) cutOut(off, end uint64, losesTail bool) {
	for i := 0; i < len(f.pieces); i++ {
		p := &f.pieces[i]
		if p.off >= end || p.end <= off || p.off == p.end {
			continue
		}
		whole := *p
		if whole.end > end && !losesTail {
			tail := whole
			tail.off, tail.marked, tail.markedEnd = end, 0, 0
			tail.content = whole.content.Slice(end-whole.off, whole.end-end)
			f.pieces = append(f.pieces, tail)
			p = &f.pieces[i]
		}
		p.end = max(whole.off, min(off, whole.end))
		p.content = whole.content.Slice(0, p.end-whole.off)
	}
}

func (c *Cache) retire(f *Flight) {
	if len(f.pieces) == 0 && f.id == c.departed {
		c.departed-- // it carried nothing: as if it had never been
	}
	if f.newer == nil {
		c.flights = f.next
	} else {
		f.newer.next = f.next
	}
	if f.next != nil {
		f.next.newer = f.newer
	}
	for i := range f.pieces {
		if p := &f.pieces[i]; p.markedEnd > 0 {
			c.flying.mark(p.marked/c.atomic, (p.markedEnd+c.atomic-1)/c.atomic, -1)
		}
	}
	clear(f.pieces)
	f.newer, f.Ref = nil, nil
	f.next = c.spare
	c.spare = f
}

// Cached reports whether the whole of [off, end) is in the cache: dirty or in
// flight.
func (c *Cache) Cached(off, end uint64) bool {
	at := off
	for cur := c.index.seek(off); at < end; cur = c.index.next(cur) {
		e := c.index.at(cur)
		if e == nil || e.Off > at {
			break
		}
		at = e.End
		if at >= end {
			return true
		}
	}
	if !c.flying.any(off/c.atomic, (end+c.atomic-1)/c.atomic) {
		return false
	}
	for f := c.flights; f != nil; f = f.next {
		for i := range f.pieces {
			if p := &f.pieces[i]; !f.through && p.off <= off && p.end >= end {
				return true
			}
		}
	}
	return false
}

// Read fills p with the newest acknowledged content of the range.
func (c *Cache) Read(off, n uint64, p *devices.Payload) {
	c.media.Read(off, n, p)
	if c.media.Mode() == Versions {
		c.readVersions(off, n, p)
		return
	}
	for f := c.oldestFlight(); f != nil; f = f.newer {
		for i := range f.pieces {
			if q := &f.pieces[i]; !f.through {
				overlay(off, n, p.Bytes, q.off, q.end, q.content)
			}
		}
	}
	for cur := c.index.seek(off); ; cur = c.index.next(cur) {
		e := c.index.at(cur)
		if e == nil || e.Off >= off+n {
			return
		}
		overlay(off, n, p.Bytes, e.Off, e.End, e.Content)
	}
}

func (c *Cache) oldestFlight() *Flight {
	f := c.flights
	for f != nil && f.next != nil {
		f = f.next
	}
	return f
}

// overlay copies the part of [eoff, eend) that lies within [off, off+n).
func overlay(off, n uint64, to []byte, eoff, eend uint64, content Content) {
	a, b := max(off, eoff), min(off+n, eend)
	if a >= b {
		return
	}
	if content.Zero {
		clear(to[a-off : b-off])
		return
	}
	copy(to[a-off:b-off], content.Bytes[a-eoff:b-eoff])
}

func (c *Cache) readVersions(off, n uint64, p *devices.Payload) {
	first, end := off/devices.Sector, (off+n+devices.Sector-1)/devices.Sector
	for s := first; s < end; s++ {
		v := c.Newest(s)
		if p.Versions != nil {
			p.Versions[s-first] = v
		}
		p.Stamp = FoldStamps(p.Stamp, v, s == first)
	}
}

// Newest is the acknowledged version of a sector.
func (c *Cache) Newest(sector uint64) devices.Stamp {
	off := sector * devices.Sector
	if e := c.index.at(c.index.seek(off)); e != nil && e.Off <= off {
		return e.Content.at(off - e.Off)
	}
	if !c.flying.any(off/c.atomic, off/c.atomic+1) {
		return c.media.Stamp(sector)
	}
	for f := c.flights; f != nil; f = f.next {
		for i := range f.pieces {
			if p := &f.pieces[i]; !f.through && p.off <= off && off < p.end {
				return p.content.at(off - p.off)
			}
		}
	}
	return c.media.Stamp(sector)
}
