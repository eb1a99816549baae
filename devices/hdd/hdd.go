package hdd

import (
	"errors"
	"fmt"
	"math"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// Config is a disk. There is no useful zero value; see Validate.
type Config struct {
	Size uint64 // bytes
	RPM  int

	Heads                  int
	Zones                  int
	OuterTrack, InnerTrack int // sectors of 512 bytes

	SeekA, SeekB sim.Duration // see the package comment
	SeekKnee     float64      // fraction of all cylinders, in (0, 1]
	Settle       sim.Duration
	HeadSwitch   sim.Duration
	// CylinderSwitch is the skew between the last track of a cylinder and the
	// first of the next.
	CylinderSwitch sim.Duration

	// Ack is the controller's time for any command: all that a cached write, a
	// hit or a clean FLUSH takes, and what precedes the arm's work for others.
	// Bandwidth is the interface's, in bytes per second.
	Ack       sim.Duration
	Bandwidth float64
	// QueueDepth is how many host requests the order is chosen among (NCQ: 32).
	QueueDepth int
	// Scheduler is the order in which the arm serves what waits.
	Scheduler Scheduler

	// PhysicalBlock is what the medium writes at once, in bytes: 4096 for a 512e
	// disk. A write that covers part of one, and of which the rest is in no
	// cache, takes a revolution more: the block is read as it passes and written when
	// it comes again. 0 is 512: every write covers whole blocks.
	PhysicalBlock uint64

	// Segments is how many parts the read cache has, each for one sequential
	// reader; 0 is no read cache and no read-ahead. SegmentSize is the size of
	// one, and ReadAhead how far behind the end of the latest read the head reads
	// on, in bytes. Of a disk that was published with them, HP's 97560, they
	// are 1, 128 KiB and 64 KiB (Kotz, Toh and Radhakrishnan, Dartmouth TR94-220).
	Segments               int
	SegmentSize, ReadAhead uint64

	// MediaCache is how many bytes of writes to the medium the disk takes near the
	// head, wherever they belong, in MediaCacheWrite each and their transfer; 0 is
	// that each is written in its place. What it holds is durable. A write of more
	// than MaxMediaCacheWrite, or one that goes on where the head is, is written in
	// its place in any case, and so are all while the media cache is full. An idle arm
	// empties it, MaxMediaCacheWrite in each MediaCacheMove.
	MediaCache      uint64
	MediaCacheWrite sim.Duration
	MediaCacheMove  sim.Duration
}

// MaxMediaCacheWrite bounds a write to the media cache, in bytes.
const MaxMediaCacheWrite = 64 << 10

// Scheduler is the order of service.
type Scheduler uint8

// The schedulers.
const (
	SPTF  Scheduler = iota // shortest positioning time first
	CLook                  // rising address, then from the lowest again
	FIFO                   // first come, first served
)

// MaxRun is how many bytes of adjacent dirty extents the arm writes at once.
const MaxRun = 1 << 20

// MaxSegment bounds a segment of the read cache, in bytes.
const MaxSegment = 1 << 30

func (c *Config) revolution() sim.Duration { return sim.Duration(60e9 / float64(c.RPM)) }

// Validate says what is wrong with c, all at once.
func (c *Config) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(c.Size >= 1<<20, "size is %d bytes, want at least 1 MiB", c.Size)
	want(c.RPM >= 1000 && c.RPM <= 30000, "rpm is %d, want 1000 to 30000", c.RPM)
	want(c.Heads >= 1 && c.Heads <= 64, "heads is %d, want 1 to 64", c.Heads)
	want(c.Zones >= 1 && c.Zones <= 256, "zones is %d, want 1 to 256", c.Zones)
	want(c.InnerTrack >= 16 && c.OuterTrack >= c.InnerTrack, "tracks hold %d to %d sectors, want at least 16 and no more inside than outside", c.InnerTrack, c.OuterTrack)
	want(c.SeekA > 0 && c.SeekB > 0, "seek is %v + %v*sqrt(x), want both above 0", c.SeekA, c.SeekB)
	want(c.SeekKnee > 0 && c.SeekKnee <= 1, "seek_knee is %g, want above 0 and at most 1", c.SeekKnee)
	want(c.QueueDepth >= 1, "queue_depth is %d, want at least 1", c.QueueDepth)
	want(c.PhysicalBlock == 0 || (c.PhysicalBlock >= devices.Sector && c.PhysicalBlock <= MaxRun && c.PhysicalBlock&(c.PhysicalBlock-1) == 0),
		"physical_block is %d bytes, want a power of two from 512 to %d", c.PhysicalBlock, MaxRun)
	want(c.Segments >= 0 && c.Segments <= MaxSegments, "segments is %d, want 0 to %d", c.Segments, MaxSegments)
	want(c.Segments == 0 || (c.SegmentSize >= 4096 && c.SegmentSize <= MaxSegment), "segment_size is %d bytes, want 4096 to %d", c.SegmentSize, MaxSegment)
	want(c.ReadAhead <= c.SegmentSize, "read_ahead is %d bytes, want at most segment_size, %d", c.ReadAhead, c.SegmentSize)
	want(c.MediaCache == 0 || c.MediaCacheWrite > 0 && c.MediaCacheMove > 0, "media_cache is %d bytes with a write of %v and a move of %v, want both above 0", c.MediaCache, c.MediaCacheWrite, c.MediaCacheMove)
	want(c.MediaCache > 0 || c.MediaCacheWrite == 0 && c.MediaCacheMove == 0, "media_cache_write or media_cache_move is given without media_cache")
	want(c.Ack >= 0 && c.Settle >= 0 && c.HeadSwitch >= 0 && c.CylinderSwitch >= 0, "a time is below 0")
	return errors.Join(errs...)
}

// Device is a disk as a block device.
type Device struct {
	*drive.Drive
	cfg  Config
	geo  *geometry
	loop *sim.Loop

	bus   sim.Timeline
	busy  bool
	timer sim.Timer
	began sim.Time
	at    place            // where the arm is
	lba   uint64           // the sector behind the last one served
	job   *devices.Request // the host request on the medium, or nil
	run   *drive.Flight    // the destage on the medium, or nil
	own   bool             // the destage holds data of the flushing commit

	segments []segment // the read cache
	ahead    readAhead
	resume   *segment // that a reader is using up while the head does not read on
	reads    uint64   // from segments so far
	passed   int      // host requests served since the oldest could have been
	ended    sim.Time // when the arm's last job did
	loaded   uint64   // bytes of writes that wait for the arm with their data in the drive
	jobEnd   uint64   // of a read on the medium: the sector behind it

	// watch, where a test sets it, is called for each interval in which the arm or
	// the bus is taken.
	watch func(what resource, from, to sim.Time)

	kept uint64 // bytes in the media cache

	flush    *devices.Request // the FLUSH being served, or nil
	ending   bool             // ... of which only the controller's part is left
	hostNext bool             // host requests and destage take turns
}

// New returns a disk on loop. What common says about cache, block sizes and
// flags is the caller's; cfg must be valid.
func New(loop *sim.Loop, cfg Config, common drive.Config) *Device {
	d := &Device{cfg: cfg, geo: newGeometry(&cfg), loop: loop}
	d.segments = make([]segment, cfg.Segments)
	d.Drive = drive.New(loop, common, d)
	return d
}

// resource is what does one job at a time.
type resource uint8

const (
	theArm resource = iota
	theBus
)

// Ack is the controller's time: the bus, one transfer after another, then the
// controller's own latency, which overlaps.
func (d *Device) Ack(now sim.Time, r *devices.Request) sim.Time {
	if r.Op.Modifies() {
		d.overwrite(r.Offset, r.End())
	}
	done := d.move(now, r, r.Length).Add(d.cfg.Ack)
	r.Charge(devices.CacheStage, done)
	return done
}

// move is when n bytes of r's data have crossed the bus, which they want to from
// now on. It charges the wait for it.
func (d *Device) move(now sim.Time, r *devices.Request, n uint64) sim.Time {
	if r.Op != devices.OpWrite && r.Op != devices.OpRead {
		return now
	}
	start, moved := d.bus.Reserve(now, d.busTime(n))
	r.Charge(devices.DeviceQueue, start)
	if d.watch != nil {
		d.watch(theBus, start, moved)
	}
	return moved
}

func (d *Device) busTime(n uint64) sim.Duration {
	if d.cfg.Bandwidth <= 0 {
		return 0
	}
	return sim.Duration(float64(n) / d.cfg.Bandwidth * 1e9)
}

// Kick gives the arm its next job if it has none.
func (d *Device) Kick() {
	d.endCleanFlush()
	d.beginFlush()
	d.catchUp()
	d.serveHits()
	if d.busy {
		d.loadWrites()
		return
	}
	switch destage := d.wantsDestage(); {
	case d.Host().Len() > 0 && (d.hostNext || !destage):
		d.hostNext = false
		d.serveNext()
	case destage:
		d.hostNext = true
		d.serveDestage()
	default:
		d.readAgain()
	}
}

// MaxLoaded bounds the data of writes that wait for the arm, in bytes: part of the
// drive's memory.
const MaxLoaded = 16 << 20

// loadWrites has the data of queued writes cross the bus while the arm is busy, so
// that one that goes on where the last ended misses no revolution.
func (d *Device) loadWrites() {
	i := 0
	for r := d.Host().Peek(); r != nil && i < d.cfg.QueueDepth; r, i = r.Next, i+1 {
		if r.Ready != 0 || !drive.ForWrite(r) {
			continue
		}
		if d.loaded > 0 && d.loaded+r.Length > MaxLoaded {
			return
		}
		n := r.Length
		if r.Op != devices.OpWrite {
			n = 0
		}
		d.loaded += n
		start, moved := d.bus.Reserve(d.loop.Now(), d.busTime(n))
		r.Ready = moved.Add(d.cfg.Ack)
		if d.watch != nil && n > 0 {
			d.watch(theBus, start, moved)
		}
	}
}

// unload is when the drive can begin write r, taken from the queue. Its data leaves
// what is loaded, or only now crosses the bus.
func (d *Device) unload(now sim.Time, r *devices.Request) sim.Time {
	if r.Ready == 0 {
		return d.move(now, r, r.Length).Add(d.cfg.Ack)
	}
	if r.Op == devices.OpWrite {
		d.loaded -= r.Length
	}
	return max(now, r.Ready)
}

// MaxPassed is how many host requests in a row may be served before the oldest is.
// Without a bound, sequential readers would have the arm for themselves.
const MaxPassed = 64

// serveNext gives the arm a host request: the oldest if it has waited for long,
// one that runs into what the head is reading, else the scheduler's choice.
func (d *Device) serveNext() {
	oldest := d.Host().Peek()
	r, joins := oldest, false
	if d.passed < MaxPassed {
		if r = d.joining(); r != nil {
			joins = true
		} else {
			r = d.pickHost()
		}
	}
	if d.passed++; r == oldest {
		d.passed = 0
	}
	d.Host().Remove(r)
	switch {
	case joins:
		d.join(r)
	case len(d.segments) > 0 && r.Op == devices.OpRead:
		d.readTrack(r)
	default:
		d.serveHost(r)
	}
}

// beginFlush fixes the coverage of the next FLUSH, if none is being served: a
// disk has one FLUSH at a time, as ATA's is not queued.
func (d *Device) beginFlush() {
	if d.flush != nil {
		return
	}
	r, _, _ := d.NextFlush()
	if r == nil {
		return
	}
	r.Charge(devices.DeviceQueue, d.loop.Now())
	d.flush = r
	d.endCleanFlush()
}

// endCleanFlush ends the FLUSH being served once nothing that it covers is left:
// written, superseded by a FUA write, or never there. That takes the
// controller's time.
func (d *Device) endCleanFlush() {
	r := d.flush
	if r == nil || d.ending || (d.Cache() != nil && !d.Cache().Clean(r.Seq)) {
		return
	}
	d.ending = true
	now := d.loop.Now()
	r.Charge(devices.DeviceQueue, now)
	r.Charge(devices.CacheStage, now.Add(d.cfg.Ack))
	d.loop.After(&r.Timer, d.cfg.Ack, flushDone{d})
}

// flushDone completes the FLUSH being served.
type flushDone struct{ d *Device }

func (f flushDone) Fire(*sim.Timer) {
	d, r := f.d, f.d.flush
	d.flush, d.ending = nil, false
	d.FlushDone(r)
	d.Kick()
}

// draining is the snapshot of the FLUSH for which the arm has extents to write.
func (d *Device) draining() (snapshot uint64, ok bool) {
	if d.flush == nil || d.ending || d.Cache().Oldest().First > d.flush.Seq {
		return 0, false
	}
	return d.flush.Seq, true
}

// wantsDestage reports whether a dirty extent should be written: one that the
// FLUSH covers, or any if the drive wants room.
func (d *Device) wantsDestage() bool {
	if c := d.Cache(); c == nil || c.Extents() == 0 {
		return false
	}
	if _, ok := d.draining(); ok {
		return true
	}
	return d.Background()
}

// limit is up to which First the arm may choose among the dirty extents.
func (d *Device) limit() uint64 {
	if snapshot, ok := d.draining(); ok {
		return snapshot
	}
	return math.MaxUint64
}

// start puts the arm to work on n sectors from lba at instant begin, when the
// host's command has been taken: until then the disk spins on. It takes so many
// revolutions more than the transfer.
func (d *Device) start(lba, n uint64, write bool, begin sim.Time, revolutions int) {
	d.stopAhead()
	p := d.geo.place(lba)
	pos := d.position(p, begin, d.settles(lba, write)) + sim.Duration(revolutions)*d.geo.revolution
	last := lba + max(n, 1) - 1
	d.at, d.lba = d.geo.place(last), last+1
	d.work(d.loop.Now(), begin, begin.Add(pos+d.geo.transfer(p, max(n, 1))))
}

// work occupies the arm from instant from until done; it is asked for something
// else then. began is when the command had been taken.
func (d *Device) work(from, began, done sim.Time) {
	d.busy, d.began = true, began
	if d.watch != nil {
		d.watch(theArm, from, done)
	}
	d.loop.At(&d.timer, done, d)
}

// settles reports whether the arm settles after a seek to sector lba: for a write, but
// not for one that goes on behind the last one served, whose next track has its skew.
func (d *Device) settles(lba uint64, write bool) bool { return write && lba != d.lba }

// position is the time until the head is at p: seek, settle, wait.
func (d *Device) position(p place, now sim.Time, settles bool) sim.Duration {
	s := d.seekTo(p.cylinder, p.head)
	if settles && s > 0 {
		s += d.cfg.Settle
	}
	return s + d.geo.wait(p.angle, now.Add(s))
}

// seekTo is the time until the arm is at a track.
func (d *Device) seekTo(cylinder, head int64) sim.Duration {
	if cylinder == d.at.cylinder {
		if head == d.at.head {
			return 0
		}
		return d.cfg.HeadSwitch
	}
	return d.seekTime(cylinder - d.at.cylinder)
}

func (d *Device) seekTime(cylinders int64) sim.Duration {
	x := math.Abs(float64(cylinders)) / float64(d.geo.cylinders)
	a, b, knee := float64(d.cfg.SeekA), float64(d.cfg.SeekB), d.cfg.SeekKnee
	if x <= knee {
		return sim.Duration(a + b*math.Sqrt(x))
	}
	root := math.Sqrt(knee)
	return sim.Duration(a + b*root + b/(2*root)*(x-knee))
}

// pickHost chooses among the first QueueDepth host requests.
func (d *Device) pickHost() *devices.Request {
	best := d.Host().Peek()
	if d.cfg.Scheduler == FIFO {
		return best
	}
	now := d.loop.Now()
	var least sim.Duration
	i := 0
	for r := best; r != nil && i < d.cfg.QueueDepth; r, i = r.Next, i+1 {
		if d.continues(r) {
			return r
		}
		begin := now.Add(d.cfg.Ack) // not before has the command been taken
		if r.Ready != 0 {
			begin = max(now, r.Ready)
		}
		cost := d.cost(r.Offset/devices.Sector, now, begin, drive.ForWrite(r))
		if i == 0 || cost < least {
			best, least = r, cost
		}
	}
	return best
}

// continues reports whether r is a write that begins where the head is, with its data in
// the drive. Another place may be nearer at the end of a track, but then the head would
// have to come back for this one.
func (d *Device) continues(r *devices.Request) bool {
	now := d.loop.Now()
	return r.Ready != 0 && r.Ready <= now && d.ended == now && r.Offset == d.lba*devices.Sector
}

// cost is what the scheduler minimises, of work that can begin at instant begin.
func (d *Device) cost(lba uint64, now, begin sim.Time, write bool) sim.Duration {
	if d.cfg.Scheduler == CLook {
		if lba < d.lba {
			lba += 1 << 50 // behind the arm: after all that is ahead
		}
		return sim.Duration(lba)
	}
	return begin.Sub(now) + d.position(d.geo.place(lba), begin, d.settles(lba, write))
}

// serveHost works on r, taken from the queue: a write, which its data has to
// reach first, or a read of what a write needs.
func (d *Device) serveHost(r *devices.Request) {
	now := d.loop.Now()
	revolutions, begin := 0, now.Add(d.cfg.Ack)
	off, end := r.Offset, r.End()
	if d.mediaCached(r) {
		return
	}
	if drive.ForWrite(r) {
		revolutions = d.readModify(nil, off, end)
		off, end = d.physical(off, end)
		begin = d.unload(now, r)
		d.overwrite(r.Offset, r.End())
	}
	d.Begin(r)
	r.Charge(devices.DeviceQueue, now)
	d.job = r
	first := off / devices.Sector
	d.start(first, (end+devices.Sector-1)/devices.Sector-first, drive.ForWrite(r), begin, revolutions)
	d.jobEnd = d.lba
	r.Charge(devices.CacheStage, d.began)
}

// mediaCached has the arm write r to the media cache, if that takes it. The arm stays
// where it is.
func (d *Device) mediaCached(r *devices.Request) bool {
	if d.cfg.MediaCache == 0 || !drive.ForWrite(r) || r.Op != devices.OpWrite || r.Length > MaxMediaCacheWrite {
		return false
	}
	now := d.loop.Now()
	moves := uint64(now.Sub(d.ended) / d.cfg.MediaCacheMove) // while the arm was idle
	d.kept -= min(d.kept, moves*MaxMediaCacheWrite)
	if r.Offset == d.lba*devices.Sector || d.kept+r.Length > d.cfg.MediaCache {
		return false
	}
	d.kept += r.Length
	begin := d.unload(now, r)
	d.overwrite(r.Offset, r.End())
	d.Begin(r)
	r.Charge(devices.DeviceQueue, now)
	d.stopAhead()
	d.job, d.jobEnd = r, max(d.lba, 1)
	d.work(now, begin, begin.Add(d.cfg.MediaCacheWrite+d.geo.transfer(d.geo.place(d.lba), max(r.Length/devices.Sector, 1))))
	r.Charge(devices.CacheStage, d.began)
	return true
}

// physical rounds [off, end) outward to whole physical blocks.
func (d *Device) physical(off, end uint64) (first, last uint64) {
	b := max(d.cfg.PhysicalBlock, devices.Sector)
	return off / b * b, min((end+b-1)/b*b, d.cfg.Size)
}

// readModify is how many revolutions more a write of [off, end) takes because it covers
// only part of the physical blocks at its ends: none if the drive knows the rest,
// else one, or two if both blocks have to be read and are on different tracks. f
// is the destage, of which nothing is at large.
func (d *Device) readModify(f *drive.Flight, off, end uint64) int {
	first, last := d.physical(off, end)
	before := first < off && !d.knows(f, first, off)
	after := last > end && !d.knows(f, end, last)
	switch {
	case !before && !after:
		return 0
	case before && after && !d.sameTrack(first, last-devices.Sector):
		return 2
	}
	return 1
}

func (d *Device) sameTrack(a, b uint64) bool {
	p, q := d.geo.place(a/devices.Sector), d.geo.place(b/devices.Sector)
	return p.cylinder == q.cylinder && p.head == q.head
}

// knows reports whether the drive has what is or will be in [off, end): in the
// destage f, in the write cache, or in a segment.
func (d *Device) knows(f *drive.Flight, off, end uint64) bool {
	if c := d.Cache(); c != nil && c.Cached(off, end) {
		return true
	}
	return f != nil && f.Covers(off, end) || d.holds(off/devices.Sector, (end+devices.Sector-1)/devices.Sector)
}

// serveDestage writes the best run of dirty extents.
func (d *Device) serveDestage() {
	limit := d.limit()
	e := d.pickExtent(limit)
	c := d.Cache()
	f := c.Depart()
	end := e.Off
	d.own = false
	for e != nil && e.Off == end && e.First <= limit && f.Bytes() < MaxRun {
		end = e.End
		ragged := (e.Off|e.End)%uint64(max(d.Info().AtomicUnit, 1)) != 0
		d.own = d.own || d.flush != nil && (e.Txn == d.flush.Txn || d.flush.Txn == 0)
		c.Take(f, e)
		if ragged { // others may have come along
			_, end, _ = f.Span()
		}
		e = c.From(end).Extent()
	}
	d.run = f
	off, end, whole := f.Span()
	revolutions := d.readModify(f, off, end)
	first, last := d.physical(off, end)
	if !whole && d.cfg.PhysicalBlock > devices.Sector && !d.holds(first/devices.Sector, last/devices.Sector) {
		revolutions = max(revolutions, 1)
	}
	d.overwrite(off, end)
	d.start(first/devices.Sector, (last+devices.Sector-1)/devices.Sector-first/devices.Sector, true, d.loop.Now(), revolutions)
}

// pickExtent chooses among the dirty extents with First up to limit. Only the
// first of a run of adjacent ones is a candidate.
func (d *Device) pickExtent(limit uint64) *drive.Extent {
	switch d.cfg.Scheduler {
	case FIFO:
		return d.Cache().Oldest()
	case CLook:
		return d.nextUp(limit)
	}
	return d.nearest(limit)
}

// nextUp is the first candidate at or above the arm's address, else the lowest.
func (d *Device) nextUp(limit uint64) *drive.Extent {
	for _, from := range [2]uint64{d.lba * devices.Sector, 0} {
		for w := d.Cache().From(from); w.Extent() != nil; w = w.Next() {
			if w.Extent().First <= limit {
				return w.Extent()
			}
		}
	}
	return nil
}

// Window is how many dirty extents on each side of the arm the order is chosen
// among. Those farther away could be better only if all of these lie badly.
const Window = 32

// nearest is the candidate with the shortest positioning time. It looks
// outwards from the arm and stops where the seek alone is longer than the best.
func (d *Device) nearest(limit uint64) *drive.Extent {
	s := search{d: d, now: d.loop.Now(), limit: limit}
	from := d.Cache().From(d.lba * devices.Sector)
	s.before, _ = from.Prev()
	for w := from; w.Extent() != nil && s.up(w.Extent()); w = w.Next() {
	}
	s.seen = 0
	for w, ok := from.Prev(); ok; {
		before, more := w.Prev()
		if !s.down(w.Extent(), before, more) {
			break
		}
		w, ok = before, more
	}
	return s.best
}

type search struct {
	d      *Device
	now    sim.Time
	limit  uint64
	best   *drive.Extent
	least  sim.Duration
	seen   int
	before drive.Walk
	end    uint64 // where the candidate before ended, on the way up
}

// up weighs e, met in rising order, and reports whether one farther away could
// still be better.
func (s *search) up(e *drive.Extent) bool {
	follows := e.Off == s.end && s.seen > 0
	if s.seen == 0 {
		if b := s.before.Extent(); b != nil && b != e {
			follows = b.End == e.Off && b.First <= s.limit
		}
	}
	s.end = 0
	if e.First <= s.limit {
		s.end = e.End
	}
	return s.consider(e, follows)
}

// down weighs e, met in falling order; before is the extent below it.
func (s *search) down(e *drive.Extent, before drive.Walk, ok bool) bool {
	follows := false
	if ok {
		b := before.Extent()
		follows = b.End == e.Off && b.First <= s.limit
	}
	return s.consider(e, follows)
}

// consider weighs extent e unless it only continues another candidate's run.
func (s *search) consider(e *drive.Extent, follows bool) bool {
	s.seen++
	p := s.d.where(e)
	seek := s.d.seekTo(p.Cylinder, int64(p.Head))
	if s.best != nil && (seek >= s.least || s.seen > Window) {
		return false
	}
	if e.First > s.limit || follows {
		return true
	}
	if seek > 0 {
		seek += s.d.cfg.Settle
	}
	if cost := seek + s.d.geo.wait(sim.Duration(p.Angle), s.now.Add(seek)); s.best == nil || cost < s.least {
		s.best, s.least = e, cost
	}
	return true
}

// where is where e begins, which does not change while e stays as it is.
func (d *Device) where(e *drive.Extent) *drive.Where {
	if w := &e.Where; w.Known {
		return w
	}
	p := d.geo.place(e.Off / devices.Sector)
	e.Where = drive.Where{Known: true, Head: int32(p.head), Cylinder: p.cylinder, Angle: int64(p.angle)}
	return &e.Where
}

// Fire ends the arm's job and gives it the next one.
func (d *Device) Fire(*sim.Timer) {
	now := d.loop.Now()
	d.busy, d.ended = false, now
	switch r := d.job; {
	case r != nil:
		d.job = nil
		r.Charge(devices.MediaStage, now)
		d.hostServed(r)
	case d.run != nil:
		d.landRun(now)
	}
	d.Kick()
}

// Burst is how much of a read crosses the bus when all of it has been read: what
// comes before does so while the head reads on.
const Burst = 64 << 10

// hostServed ends what the arm did for r; what was read has to cross the bus, as
// a whole not faster than the bus is.
func (d *Device) hostServed(r *devices.Request) {
	if d.catchUp(); d.ahead.seg == nil {
		d.at, d.lba = d.geo.place(d.jobEnd-1), d.jobEnd
	}
	if r.Op != devices.OpRead {
		d.HostDone(r)
		return
	}
	moved := d.move(d.loop.Now(), r, min(r.Length, Burst))
	moved = max(moved, d.began.Add(d.busTime(r.Length)))
	r.Charge(devices.CacheStage, moved)
	d.loop.At(&r.Timer, moved, hostDone{d})
}

// landRun makes the destage durable and charges the FLUSH that waits for it.
func (d *Device) landRun(now sim.Time) {
	f := d.run
	d.run = nil
	d.Land(f)
	r := d.flush
	if r == nil || d.ending {
		return
	}
	r.Charge(devices.DeviceQueue, d.began)
	if d.own {
		r.Charge(devices.MediaStage, now)
	} else {
		r.Charge(devices.FlushOthers, now)
	}
}
