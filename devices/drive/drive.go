package drive

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// Mechanism is the part of a simulated drive that differs between kinds: how
// long the controller takes, and how the medium serves the drive's work.
type Mechanism interface {
	// Ack is when the controller has taken a write into its cache, answered a
	// read from it, or done what needs no medium. It charges r.
	Ack(now sim.Time, r *devices.Request) sim.Time
	// Kick says that the drive may have work: a mechanism with a free server
	// takes it from the drive, see NextHost, NextFlush and Background.
	Kick()
}

// Buffered is a Mechanism with a buffer of its own before the medium, in a drive
// whose cache is protected.
type Buffered interface {
	Mechanism
	// Admit reports whether the buffer has room for write r, and takes it. Of a
	// write that was refused it is asked again after Drive.Readmit.
	Admit(r *devices.Request) bool
}

// BackgroundWorker is a Mechanism with work of its own for when the drive is idle.
type BackgroundWorker interface {
	Mechanism
	HasBackgroundWork() bool // whether there is any now
}

// DriveConfig is what a Drive is made of.
type Config struct {
	Info  devices.Info
	Media Media
	// Capacity of the write cache in bytes; 0 means no write cache.
	Capacity uint64
	// HighWater is how many dirty bytes start a destage, LowWater where it ends.
	HighWater, LowWater uint64
	// IdleDestage is how long the drive has to be idle before it destages; 0 is never.
	IdleDestage sim.Duration
	// Lies are what the drive promises and does not keep.
	Lies Lies
}

// Lies are promises that a drive does not keep: the first two one with a volatile
// cache, the last one with a protected cache. The zero value is an honest drive. A
// drive that lies still destages, so that what it promised is durable some time
// later, or never.
type Lies struct {
	Flush bool // FLUSH is acknowledged with nothing written
	FUA   bool // FUA is acknowledged from the cache
	// Capacitor: a protected cache of DriveConfig.Capacity is lost in a power cut,
	// as its capacitors hold no charge and the drive has not noticed.
	Capacitor bool
}

// Drive is what every simulated drive has in common: a controller in front of
// a mechanism, a write cache where it is volatile, back-pressure when that is
// full, reads that see the newest data, read-modify-write for what is smaller
// than a logical block, the counters and the power cut.
//
// A Drive pulls: work waits in the drive until the mechanism has a server free
// and asks for it, because the order on a disk and the coverage of a FLUSH are
// decided only then.
type Drive struct {
	loop *sim.Loop
	cfg  Config
	mech Mechanism

	cache      *Cache           // nil unless the cache is volatile
	unsaved    *Cache           // nil unless a protected cache has lost its capacitors
	passing    *Cache           // where neither is: holds nothing, only what is in flight
	buffer     Buffered         // nil unless the cache is protected and the mechanism has one
	background BackgroundWorker // the mechanism, or nil

	stalled devices.Queue // writes that wait for room
	host    devices.Queue // requests that need the medium
	flushes devices.Queue

	idle      sim.Timer
	destaging bool // from HighWater down to LowWater, or idle
	resting   bool // idle for IdleDestage
	inside    int  // requests submitted and not done
	arrivals  uint64
	stats     devices.Stats
	// owes: since the last FLUSH, data has gone to the medium with no promise made of
	// it, past the cache or destaged. The next FLUSH makes it, and pays for that.
	owes bool
}

// The meanings of a request's timer while a Drive holds it.
const (
	tagAck  = iota // the controller is done with it
	tagIdle        // the idle timer
)

// NewDrive returns a drive that asks mech for times.
func New(loop *sim.Loop, cfg Config, mech Mechanism) *Drive {
	d := &Drive{loop: loop, cfg: cfg, mech: mech}
	if cfg.Info.Cache == devices.CacheVolatile {
		d.cache = NewCache(cfg.Media, cfg.Capacity, cfg.Info.AtomicUnit)
	}
	if cfg.Info.Cache == devices.CacheProtected {
		d.buffer, _ = mech.(Buffered)
		if cfg.Lies.Capacitor {
			d.unsaved = NewCache(cfg.Media, cfg.Capacity, cfg.Info.AtomicUnit)
		}
	}
	if d.newest() == nil {
		d.passing = NewCache(cfg.Media, 0, cfg.Info.AtomicUnit)
	}
	d.background, _ = mech.(BackgroundWorker)
	d.idle.Tag = tagIdle
	return d
}

// Info describes the drive.
func (d *Drive) Info() devices.Info { return d.cfg.Info }

// Loop is the loop that the drive runs on.
func (d *Drive) Loop() *sim.Loop { return d.loop }

// Cache is the volatile write cache, or nil.
func (d *Drive) Cache() *Cache { return d.cache }

// Media is what is durable.
func (d *Drive) Media() Media { return d.cfg.Media }

// Stats returns the drive's counters.
func (d *Drive) Stats() devices.Stats {
	s := d.stats
	s.MediaWrittenBytes = d.carrier().written
	return s
}

// Cut returns what a power cut at this moment would leave, chosen by seed: all
// that is durable, and of each write in flight to the medium, or into a protected
// cache, any of its atomic units.
func (d *Drive) Cut(seed sim.Seed) *Cut { return d.carrier().Cut(seed) }

// carrier is the cache that has what is in flight.
func (d *Drive) carrier() *Cache {
	if d.passing != nil {
		return d.passing
	}
	return d.newest()
}

// Submit takes a request.
func (d *Drive) Submit(r *devices.Request) {
	d.inside++
	d.arrivals++
	d.resting = false
	d.loop.Cancel(&d.idle)
	r.Timer.Owner, r.Seq, r.Arrival, r.Ready = r, 0, d.arrivals, 0
	if e := d.check(r); e != devices.OK {
		r.Errno = e
		d.loop.At(&r.Timer, d.loop.Now(), failer{d})
		return
	}
	switch r.Op {
	case devices.OpRead:
		d.read(r)
	case devices.OpFlush:
		if d.cache != nil && !d.cfg.Lies.Flush && !d.cache.Clean(^uint64(0)) {
			r.Seq = 1
		}
		d.flushes.Push(r)
		d.mech.Kick()
	case devices.OpWrite, devices.OpTrim, devices.OpWriteZeroes:
		if d.needsOldData(r) {
			d.host.Push(r) // read first; ReadDone sends it on
			d.mech.Kick()
			return
		}
		d.write(r)
	default: // OpCache, OpBlockStatus: advice, or answered from what the controller knows
		d.ack(r)
	}
}

// check refuses what the server in front should never let through.
func (d *Drive) check(r *devices.Request) devices.Errno {
	switch {
	case r.Op == devices.OpFlush:
		return devices.OK
	case r.Offset > d.cfg.Info.Size || r.Length > d.cfg.Info.Size-r.Offset:
		if r.Op == devices.OpWrite || r.Op == devices.OpWriteZeroes {
			return devices.ENOSPC
		}
		return devices.EINVAL
	case d.cfg.Info.ReadOnly && r.Op.Modifies():
		return devices.EPERM
	case r.Flags&devices.FUA != 0 && r.Op.Modifies() && d.cfg.Info.FUA == devices.FUANone:
		return devices.EINVAL
	}
	return devices.OK
}

// failer completes a refused request with the error that it already carries.
type failer struct{ d *Drive }

func (f failer) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	f.d.finish(r, r.Errno)
}

func (d *Drive) ack(r *devices.Request) {
	if d.passing != nil && r.Op.Modifies() { // into the protected cache: not all of it may be there at a cut
		d.passing.Send(r)
	}
	r.Timer.Tag = tagAck
	d.loop.At(&r.Timer, d.mech.Ack(d.loop.Now(), r), d)
}

// Fire completes what the controller has finished with, or notices that the
// drive is idle.
func (d *Drive) Fire(t *sim.Timer) {
	if t.Tag == tagIdle {
		d.destaging, d.resting, d.owes = true, true, false
		if d.unsaved != nil {
			d.unsaved.destageOldest(^uint64(0))
		}
		d.mech.Kick()
		return
	}
	r := t.Owner.(*devices.Request)
	switch {
	case r.Op == devices.OpRead:
		d.fill(r)
	case r.Op.Modifies():
		d.store(r)
	case r.Op == devices.OpBlockStatus && r.Status != nil:
		d.status(r)
	}
	d.finish(r, devices.OK)
}

// status answers a BLOCK_STATUS with what the newest data is.
func (d *Drive) status(r *devices.Request) {
	if c := d.newest(); c != nil {
		c.Status(r.Offset, r.Length, r.Status)
		return
	}
	MediaStatus(d.cfg.Media, r.Offset, r.Length, r.Status)
}

// needsOldData reports whether a write covers part of a logical block whose
// rest is not in the cache: the drive must read the block first.
func (d *Drive) needsOldData(r *devices.Request) bool {
	b := uint64(max(d.cfg.Info.LogicalBlock, 1))
	if r.Op != devices.OpWrite || (r.Offset%b == 0 && r.Length%b == 0) {
		return false
	}
	start, end := r.Offset/b*b, min((r.End()+b-1)/b*b, d.cfg.Info.Size)
	return d.cache == nil || !d.cache.Cached(start, end)
}

// write takes a write that has its whole blocks.
func (d *Drive) write(r *devices.Request) {
	if d.cache == nil {
		d.writeWithoutCache(r)
		return
	}
	if r.Flags&devices.FUA != 0 && !d.cfg.Lies.FUA || d.tooLong(r) {
		r.Seq = hostWrite
		d.host.Push(r)
		d.mech.Kick()
		return
	}
	if d.stalled.Len() > 0 || !d.admit(r) {
		d.stalled.Push(r)
		d.mech.Kick()
		return
	}
	d.ack(r)
}

func (d *Drive) writeWithoutCache(r *devices.Request) {
	if d.cfg.Info.Cache == devices.CacheProtected { // acknowledged is durable: the capacitors see to it
		if d.stalled.Len() > 0 || !d.admit(r) {
			d.stalled.Push(r)
			return
		}
		d.ack(r)
		return
	}
	r.Seq = hostWrite
	d.host.Push(r)
	d.mech.Kick()
}

// admit reports whether there is room for a write to be acknowledged, and claims
// it.
func (d *Drive) admit(r *devices.Request) bool {
	if d.cache != nil {
		return d.cache.Reserve(d.weight(r))
	}
	return d.buffer == nil || d.buffer.Admit(r)
}

// Readmit lets in what waits for room, as far as there is room now.
func (d *Drive) Readmit() {
	for r := d.stalled.Peek(); r != nil && d.admit(r); r = d.stalled.Peek() {
		d.stalled.Pop()
		r.Charge(devices.DeviceQueue, d.loop.Now())
		d.ack(r)
	}
}

// Resting reports whether the drive has been idle for as long as it takes to do
// its own work.
func (d *Drive) Resting() bool { return d.resting }

// tooLong reports whether a write would fill more than half of the cache.
func (d *Drive) tooLong(r *devices.Request) bool { return 2*d.weight(r) > d.cfg.Capacity }

func (d *Drive) weight(r *devices.Request) uint64 {
	return weight(r.Length, Content{Zero: r.Op != devices.OpWrite})
}

// hostWrite in a request's Seq says that it goes to the medium as a write;
// otherwise the medium reads for it.
const hostWrite = ^uint64(0)

// ForWrite reports whether host request r, taken from NextHost, writes to the
// medium; otherwise the medium reads its blocks.
func ForWrite(r *devices.Request) bool { return r.Seq == hostWrite }

func (d *Drive) read(r *devices.Request) {
	if d.cache != nil && d.cache.Cached(r.Offset, r.End()) {
		d.ack(r)
		return
	}
	d.host.Push(r)
	d.mech.Kick()
}

// fill puts the newest content into a read.
func (d *Drive) fill(r *devices.Request) {
	if c := d.newest(); c != nil {
		c.Read(r.Offset, r.Length, &r.Payload)
		return
	}
	d.cfg.Media.Read(r.Offset, r.Length, &r.Payload)
}

// store puts an acknowledged write where it belongs.
func (d *Drive) store(r *devices.Request) {
	d.stats.HostWrittenBytes += r.Length
	if d.passing != nil {
		d.passing.Arrive(r)
		return
	}
	c := ContentOf(r).Kept()
	if d.unsaved != nil {
		d.hold(r, c)
		return
	}
	d.cache.Release(d.weight(r))
	d.cache.Write(r.Offset, r.Length, c, r.Txn)
	d.Readmit() // an overwrite takes less room than was promised to it
	full := d.cache.Dirty() > d.cfg.HighWater && !d.destaging
	if full || d.stalled.Len() > 0 {
		d.destaging = d.destaging || full
		d.mech.Kick()
	}
}

// finish completes r and starts the idle clock when nothing is left.
func (d *Drive) finish(r *devices.Request, e devices.Errno) {
	d.inside--
	if d.inside == 0 && d.cfg.IdleDestage > 0 && d.hasPendingWork() {
		d.loop.After(&d.idle, d.cfg.IdleDestage, d)
	}
	r.Finish(e)
}

// hasPendingWork reports whether the drive has something to do when it is idle.
func (d *Drive) hasPendingWork() bool {
	c := d.newest()
	return c != nil && c.Dirty() > 0 || d.background != nil && d.background.HasBackgroundWork()
}

// Host lists the requests that need the medium, oldest first; a mechanism that
// serves them out of order takes one out with Queue.Remove.
func (d *Drive) Host() *devices.Queue { return &d.host }

// NextHost takes the oldest request that needs the medium, or nil.
func (d *Drive) NextHost() *devices.Request { return d.host.Pop() }

// Begin starts host request r on the medium: a write gets its flight. The
// mechanism calls HostDone when the medium is done.
func (d *Drive) Begin(r *devices.Request) {
	if ForWrite(r) {
		d.carrier().Send(r)
	}
}

// HostDone completes a host request on the medium at the present instant.
func (d *Drive) HostDone(r *devices.Request) {
	switch {
	case r.Op == devices.OpRead:
		d.fill(r)
	case !ForWrite(r): // its blocks have been read: now it is a write like others
		r.Seq = 0
		d.write(r)
		return
	case d.passing != nil:
		d.store(r)
	default:
		d.stats.HostWrittenBytes += r.Length
		d.Land(flightOf(r))
		d.owes = d.owes || r.Flags&devices.FUA == 0
	}
	d.finish(r, devices.OK)
}

// NextFlush takes the oldest waiting FLUSH, or nil, and fixes its coverage: it
// is done when the cache is clean up to the snapshot in r.Seq. bytes is what it
// has to write, own the part that its own commit wrote.
func (d *Drive) NextFlush() (r *devices.Request, bytes, own uint64) {
	r = d.flushes.Pop()
	if r == nil {
		return nil, 0, 0
	}
	d.stats.Flushes++
	d.owes = false
	if d.cache == nil || d.cfg.Lies.Flush {
		r.Seq = 0
		return r, 0, 0 // a lie covers snapshot 0: nothing
	}
	r.Seq = d.cache.Seq()
	bytes, own = d.cache.Covered(r.Seq, r.Txn)
	d.stats.FlushedBytes += bytes
	d.stats.CollateralBytes += bytes - own
	return r, bytes, own
}

// FlushWaits reports whether a FLUSH waits.
func (d *Drive) FlushWaits() bool { return d.flushes.Peek() != nil }

// FlushHadWork reports whether anything that the oldest waiting FLUSH covers was
// dirty when it came. By now another FLUSH may have made it durable.
func (d *Drive) FlushHadWork() bool { return d.flushes.Peek().Seq != 0 }

// FlushOwes reports whether data went to the medium since the last FLUSH of which
// nothing was promised: past the cache, as it was too long for it, or destaged while
// the drive was at work. A FLUSH that finds nothing dirty then is not free.
func (d *Drive) FlushOwes() bool { return d.owes && d.cache != nil && !d.cfg.Lies.Flush }

// FlushFirst reports whether the oldest waiting FLUSH came before the oldest
// waiting host request.
func (d *Drive) FlushFirst() bool {
	f, h := d.flushes.Peek(), d.host.Peek()
	return f != nil && (h == nil || f.Arrival < h.Arrival)
}

// FlushDone completes a FLUSH at the present instant.
func (d *Drive) FlushDone(r *devices.Request) { d.finish(r, devices.OK) }

// Background reports whether the drive wants to destage: the cache is above
// its mark, writes wait for room, or the drive is idle.
func (d *Drive) Background() bool {
	if d.cache == nil || d.cache.Extents() == 0 {
		d.destaging = false
		return false
	}
	if d.stalled.Len() == 0 {
		if d.destaging && d.inside > 0 && d.cache.Dirty() <= d.cfg.LowWater {
			d.destaging = false
		}
		if !d.destaging {
			return false
		}
	}
	d.owes = d.owes || !d.resting
	return true
}

// Stalled counts the writes that wait for room in the cache.
func (d *Drive) Stalled() int { return d.stalled.Len() }

// Land makes a destage's flight durable at the present instant and lets writes
// in for which there is room now.
func (d *Drive) Land(f *Flight) {
	d.cache.Land(f)
	d.Readmit()
}
