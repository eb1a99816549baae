package hdd

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// MaxSegments bounds the read cache, which is searched segment by segment.
const MaxSegments = 64

// segment is a part of the read cache: sectors [lo, hi) of the medium, read and
// not written since. An empty one has lo == hi.
type segment struct {
	lo, hi uint64
	asked  uint64 // the end of the latest read from it
	used   uint64 // when that was, in reads
}

// readAhead is the head reading on, sector after sector and track after track.
// It needs no events: what has been read follows from the time.
type readAhead struct {
	seg   *segment // nil when the head does not read on
	limit uint64   // where it stops
	track track    // the track under the head
}

// track is a track and the instant at which its sector 0 came under the head, or
// would have.
type track struct {
	first          uint64 // sector 0
	perTrack       uint64
	cylinder, head int64
	origin         sim.Time
}

// trackAt is the track of lba, the beginning of which passes the head at instant t.
func (g *geometry) trackAt(lba uint64, t sim.Time) track {
	p := g.place(lba)
	return track{
		first: lba - p.sector, perTrack: p.perTrack, cylinder: p.cylinder, head: p.head,
		origin: t.Add(-sim.Duration(p.sector) * g.revolution / sim.Duration(p.perTrack)),
	}
}

// following is the next track, reached when its sector 0 comes: skews are as long
// as the switches take.
func (g *geometry) following(t track) track {
	t.first += t.perTrack
	t.origin = t.origin.Add(g.revolution)
	if t.head++; t.head < g.heads {
		t.origin = t.origin.Add(g.headSkew)
		return t
	}
	t.head, t.cylinder = 0, t.cylinder+1
	t.origin = t.origin.Add(g.cylSkew)
	t.perTrack = g.place(t.first).perTrack // another zone, perhaps
	return t
}

// read is how many sectors of track t have passed the head by instant now.
func (g *geometry) read(t *track, now sim.Time) uint64 {
	in := min(max(now.Sub(t.origin), 0), g.revolution)
	return uint64(in * sim.Duration(t.perTrack) / g.revolution)
}

// readBy is the instant at which all sectors below end have been read.
func (g *geometry) readBy(t track, end uint64) sim.Time {
	for end > t.first+t.perTrack {
		t = g.following(t)
	}
	n := sim.Duration(t.perTrack)
	return t.origin.Add((sim.Duration(end-t.first)*g.revolution + n - 1) / n)
}

// catchUp notes what the head has read by now, and where it is.
func (d *Device) catchUp() {
	a := &d.ahead
	if a.seg == nil {
		return
	}
	now := d.loop.Now()
	for a.track.first+a.track.perTrack < a.limit && now >= a.track.origin.Add(d.geo.revolution) {
		a.track = d.geo.following(a.track)
	}
	s := a.seg
	s.hi = max(s.hi, min(a.track.first+d.geo.read(&a.track, now), a.limit))
	s.lo = max(s.lo, s.hi-min(s.hi, d.cfg.SegmentSize/devices.Sector))
	d.at.cylinder, d.at.head, d.lba = a.track.cylinder, a.track.head, s.hi
	if s.hi >= a.limit {
		a.seg = nil
	}
}

// stopAhead ends the read-ahead: the arm is wanted elsewhere, or what it reads
// is being overwritten.
func (d *Device) stopAhead() {
	d.catchUp()
	d.ahead.seg = nil
}

// aheadOf is how far the head reads on for a reader that has asked up to end.
func (d *Device) aheadOf(end uint64) uint64 {
	return min(end+d.cfg.ReadAhead/devices.Sector, d.cfg.Size/devices.Sector)
}

// sectors is the range of sectors of r.
func sectors(r *devices.Request) (first, end uint64) {
	first, end = r.Offset/devices.Sector, (r.End()+devices.Sector-1)/devices.Sector
	return first, max(end, first+1)
}

// holder is the segment that has sector lba, or ends there: of several the one
// that goes farthest. It is nil if none does.
func (d *Device) holder(lba uint64) (best *segment) {
	for i := range d.segments {
		s := &d.segments[i]
		if s.lo <= lba && lba <= s.hi && s.lo < s.hi && (best == nil || s.hi > best.hi) {
			best = s
		}
	}
	return best
}

// holds reports whether one segment has all of [first, end).
func (d *Device) holds(first, end uint64) bool {
	for i := range d.segments {
		if s := &d.segments[i]; s.lo <= first && end <= s.hi {
			return true
		}
	}
	return false
}

// serveHits answers the waiting reads of which a segment has all: the controller
// and the bus do that while the arm is at work.
func (d *Device) serveHits() {
	if len(d.segments) == 0 {
		return
	}
	var next *devices.Request
	stay := 0
	for r := d.Host().Peek(); r != nil && stay < d.cfg.QueueDepth; r = next {
		next = r.Next
		if !d.answer(r) {
			stay++
		}
	}
}

// answer takes read r out of the queue if a segment has all of it.
func (d *Device) answer(r *devices.Request) bool {
	if r.Op != devices.OpRead {
		return false
	}
	first, end := sectors(r)
	s := d.holder(first)
	if s == nil || end > s.hi {
		return false
	}
	d.Host().Remove(r)
	d.touch(s, end)
	if d.ahead.seg != s && d.usedUp(s) {
		d.resume = s
	}
	d.loop.At(&r.Timer, d.Ack(d.loop.Now(), r), hostDone{d})
	return true
}

// usedUp reports whether half of what was read ahead into s has been asked for.
// To read on sooner would send the arm to and fro between two readers.
func (d *Device) usedUp(s *segment) bool {
	ahead, want := d.cfg.ReadAhead/devices.Sector, d.aheadOf(s.asked)
	return want > s.hi && want-s.hi >= ahead/2
}

// touch notes a read from s up to end. The read-ahead goes before it.
func (d *Device) touch(s *segment, end uint64) {
	d.reads++
	s.used, s.asked = d.reads, end
	if d.ahead.seg == s {
		d.ahead.limit = max(d.ahead.limit, d.aheadOf(end))
	}
}

// hostDone completes a host request of which the bus was the last part.
type hostDone struct{ d *Device }

func (h hostDone) Fire(t *sim.Timer) { h.d.HostDone(t.Owner.(*devices.Request)) }

// joining is the waiting read that runs into what the head is reading, or nil.
func (d *Device) joining() *devices.Request {
	a := &d.ahead
	if a.seg == nil {
		return nil
	}
	i := 0
	for r := d.Host().Peek(); r != nil && i < d.cfg.QueueDepth; r, i = r.Next, i+1 {
		if r.Op == devices.OpRead {
			if first, _ := sectors(r); a.seg.lo <= first && first <= a.limit {
				return r
			}
		}
		if d.cfg.Scheduler == FIFO {
			return nil
		}
	}
	return nil
}

// join has r, taken from the queue, wait for the head to read what it asks for.
func (d *Device) join(r *devices.Request) {
	now := d.loop.Now()
	_, end := sectors(r)
	d.touch(d.ahead.seg, end)
	d.ahead.limit = max(d.ahead.limit, end)
	ready := now.Add(d.cfg.Ack)
	d.occupy(r, ready, max(ready, d.geo.readBy(d.ahead.track, end)), end)
}

// readTrack serves read r from the medium through a segment, and has the head
// read on behind it. What a segment has of the beginning is not read again.
func (d *Device) readTrack(r *devices.Request) {
	d.stopAhead()
	first, end := sectors(r)
	s := d.holder(first)
	if s == nil {
		s = d.oldestSegment()
		*s = segment{lo: first, hi: first}
	}
	ready := d.loop.Now().Add(d.cfg.Ack)
	d.readOn(s, end, ready)
	d.ahead.limit = max(d.ahead.limit, end)
	d.occupy(r, ready, d.geo.readBy(d.ahead.track, end), end)
}

// readOn sends the head to the end of segment s, from instant start on, to read
// on from there for a reader that has asked up to end.
func (d *Device) readOn(s *segment, end uint64, start sim.Time) {
	d.resume = nil
	p := d.geo.place(s.hi)
	t := start.Add(d.position(p, start, false))
	d.ahead = readAhead{seg: s, track: d.geo.trackAt(s.hi, t)}
	d.at, d.lba = p, s.hi
	d.touch(s, end)
}

// occupy keeps the arm with read r until instant done, when all sectors below
// end have been read.
func (d *Device) occupy(r *devices.Request, ready, done sim.Time, end uint64) {
	d.Begin(r)
	now := d.loop.Now()
	r.Charge(devices.DeviceQueue, now)
	r.Charge(devices.CacheStage, ready)
	d.job, d.jobEnd = r, end
	d.work(now, ready, done)
}

// oldestSegment is the one to use for something else: empty, or longest unused.
func (d *Device) oldestSegment() *segment {
	oldest := &d.segments[0]
	for i := range d.segments {
		if s := &d.segments[i]; s.used < oldest.used {
			oldest = s
		}
	}
	return oldest
}

// readAgain uses an idle arm to refill the segment that a reader is using up. The
// seek cannot be called off; the wait for the sector and the reading can.
func (d *Device) readAgain() {
	s := d.resume
	if s == nil || s.lo == s.hi || d.ahead.seg != nil {
		d.resume = nil
		return
	}
	now := d.loop.Now()
	p := d.geo.place(s.hi)
	seek := d.seekTo(p.cylinder, p.head)
	d.readOn(s, s.asked, now)
	if seek > 0 {
		d.work(now, now, now.Add(seek))
	}
}

// overwrite drops from the read cache what a write of [off, end) makes stale.
func (d *Device) overwrite(off, end uint64) {
	if len(d.segments) == 0 {
		return
	}
	d.catchUp()
	first, last := off/devices.Sector, (end+devices.Sector-1)/devices.Sector
	if s := d.ahead.seg; s != nil && first < d.ahead.limit && last > s.lo {
		d.ahead.seg = nil
	}
	for i := range d.segments {
		switch s := &d.segments[i]; {
		case first >= s.hi || last <= s.lo:
		case first > s.lo:
			s.hi = first
		default:
			*s = segment{}
		}
	}
}
