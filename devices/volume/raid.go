package volume

import (
	"errors"
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// RAIDConfig is a RAID controller with a protected cache. There is no useful
// zero value; see Validate, and the package comment for the laws.
type RAIDConfig struct {
	// Serial is the controller's time for any command, one after another, and
	// Parallel what it takes besides, overlapping: at depth 1 a hit takes both, and
	// at any depth there are at most 1/Serial hits per second.
	Serial, Parallel sim.Duration
	// Bandwidth is how many bytes per second the controller moves; 0 is unlimited.
	Bandwidth float64
	// Flush is what FLUSH takes after the serial stage.
	Flush sim.Duration

	Capacity uint64 // of the cache, in bytes
	// HighWater is how many dirty bytes start a destage, LowWater where it ends.
	HighWater, LowWater uint64
	// IdleDestage is how long the volume has to be idle before it destages; 0 is
	// never.
	IdleDestage sim.Duration
	// QueueDepth is how many destage writes the disk has at once; 0 is 32, which
	// is SATA's NCQ.
	QueueDepth int
	Order      Order

	// BatteryFailed is a battery that has failed before the volume is opened: the
	// controller writes through from the start.
	BatteryFailed bool
}

// Order is which dirty extents the controller hands to the disk first. Among
// the QueueDepth that the disk has, the order is the disk's.
type Order uint8

// The orders.
const (
	Sweep  Order = iota // rising address, then from the lowest again: an elevator
	Oldest              // the order in which they became dirty
)

// MaxRun is how many bytes of adjacent dirty extents make one destage write. An
// extent that is longer goes in one write all the same.
const MaxRun = 1 << 20

const (
	defaultDepth = 32
	maxDepth     = 1 << 12
)

// Validate says what is wrong with c, all at once.
func (c *RAIDConfig) Validate() error {
	errs := negative(
		span{"serial", c.Serial},
		span{"parallel", c.Parallel},
		span{"flush", c.Flush},
		span{"idle_destage", c.IdleDestage},
	)
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(c.Bandwidth >= 0, "bandwidth is %g, want at least 0", c.Bandwidth)
	want(c.Capacity >= devices.Sector, "capacity is %d bytes, want at least %d", c.Capacity, devices.Sector)
	want(c.HighWater <= c.Capacity, "high_water is %d bytes, want at most the capacity of %d", c.HighWater, c.Capacity)
	want(c.LowWater <= c.HighWater, "low_water is %d bytes, want at most high_water, %d", c.LowWater, c.HighWater)
	want(c.QueueDepth >= 0 && c.QueueDepth <= maxDepth, "queue_depth is %d, want 0 to %d", c.QueueDepth, maxDepth)
	want(c.Order <= Oldest, "order is %d, want %d or %d", c.Order, Sweep, Oldest)
	return errors.Join(errs...)
}

// Disk is what a RAID asks of the disk behind it.
type Disk interface {
	devices.Device
	Stats() devices.Stats
}

// RAID is a volume behind a RAID controller as a block device.
type RAID struct {
	loop    *sim.Loop
	cfg     RAIDConfig
	info    devices.Info
	media   drive.Media
	disk    Disk
	durable devices.Flags // what makes the disk's writes durable

	cache  *drive.Cache
	serial sim.Timeline
	// arriving holds nothing: it keeps the host's writes that are in flight, into
	// the cache or past it.
	arriving *drive.Cache

	stalled  devices.Queue // writes that wait for room, or for the cache to be empty
	flushes  devices.Queue // FLUSHes that wait for the drain
	entering int           // writes with room in the cache that the controller still works on
	passing  int           // writes that go past the cache
	inside   int           // requests submitted and not done

	slots     []job // destage writes
	busy      int   // ... that the disk has
	spare     *job
	sweep     uint64 // the byte behind the last destage
	destages  uint64
	destaging bool // from HighWater down to LowWater, or idle
	idle      sim.Timer

	kept    *kept // see KeepAtOnce
	failed  bool  // the battery
	offline bool  // the disk failed a destage
	stats   devices.Stats
}

// Two more meanings of a timer; see tagServed.
const (
	tagControl = tagRefused + 1 + iota // the controller is done with the request
	tagIdle                            // the idle timer
)

// pastCache in the Seq of a write says that it goes past the cache.
const pastCache = 1

// NewRAID returns a volume on loop, in front of disk. media holds what is
// durable, and the disk only gives the time; see the package comment. cfg must
// be valid; the error is about the disk. The info's Cache is CacheProtected, or
// CacheNone where the battery has failed, whatever it says.
func NewRAID(loop *sim.Loop, cfg RAIDConfig, info devices.Info, media drive.Media, disk Disk) (*RAID, error) {
	d := &RAID{
		loop: loop, cfg: cfg, info: info, media: media, disk: disk, failed: cfg.BatteryFailed,
		cache:    drive.NewCache(media, cfg.Capacity, info.AtomicUnit),
		arriving: drive.NewCache(media, 0, info.AtomicUnit),
	}
	if err := d.checkDisk(disk.Info()); err != nil {
		return nil, err
	}
	d.info.Cache = devices.CacheProtected
	if d.failed {
		d.info.Cache = devices.CacheNone
	}
	depth := cfg.QueueDepth
	if depth == 0 {
		depth = defaultDepth
	}
	d.slots = make([]job, depth)
	for i := range d.slots {
		d.slots[i].raid = d
	}
	d.idle.Tag = tagIdle
	return d, nil
}

// checkDisk refuses a disk that cannot hold the volume or make it durable.
func (d *RAID) checkDisk(disk devices.Info) error {
	switch {
	case disk.Size < d.info.Size:
		return fmt.Errorf("volume: the disk has %d bytes, want at least the volume's %d", disk.Size, d.info.Size)
	case disk.ReadOnly:
		return errors.New("volume: the disk is read-only")
	case disk.Cache != devices.CacheVolatile:
		return nil
	case disk.FUA == devices.FUANone:
		return errors.New("volume: the disk has a volatile cache and no FUA, want its cache off or FUA")
	}
	d.durable = devices.FUA
	return nil
}

// KeepAtOnce has the medium hold what is acknowledged as soon as it is: for a
// medium that outlives the volume, as a battery does. To be called before the
// first request; of one whose battery has failed it changes nothing.
func (d *RAID) KeepAtOnce() {
	if d.failed {
		return
	}
	d.kept = &kept{Media: d.media}
	d.cache = drive.NewCache(d.kept, d.cfg.Capacity, d.info.AtomicUnit)
}

// Info describes the volume. It does not say that a battery has failed since.
func (d *RAID) Info() devices.Info { return d.info }

// Stats returns the volume's counters; what reached the medium is the disk's.
func (d *RAID) Stats() devices.Stats {
	s := d.stats
	s.MediaWrittenBytes = d.disk.Stats().MediaWrittenBytes
	return s
}

// Dirty is how many acknowledged bytes the disk does not have yet.
func (d *RAID) Dirty() uint64 { return d.cache.Dirty() + d.cache.Flying() }

// BatteryFailed reports whether the battery has failed.
func (d *RAID) BatteryFailed() bool { return d.failed }

// FailBattery makes the controller drain its cache and write through from now
// on; see the package comment. Only from the loop or between its events.
func (d *RAID) FailBattery() {
	if d.failed {
		return
	}
	d.failed = true
	d.unstall()
	d.pump()
}

// Cut returns what a power cut at this moment would leave, chosen by seed: of a
// write that is not acknowledged any atomic units, over what is kept. With a good
// battery that is the medium under all that the cache holds; without, the medium,
// and of what was on its way to it any atomic units.
func (d *RAID) Cut(seed sim.Seed) *drive.Cut {
	switch {
	case d.kept != nil || d.passing > 0: // nothing else is on its way to the medium
		return d.arriving.Cut(seed)
	case d.failed:
		return d.cache.Cut(seed)
	}
	return d.arriving.CutOver(&saved{d, d.cache.Cut(seed)}, seed)
}

// Submit takes a request.
func (d *RAID) Submit(r *devices.Request) {
	d.inside++
	d.loop.Cancel(&d.idle)
	r.Timer.Owner, r.Seq = r, 0
	e := refusal(&d.info, r)
	if e == devices.OK && d.offline && r.Op.Modifies() {
		e = devices.EIO
	}
	switch {
	case e != devices.OK:
		r.Errno, r.Timer.Tag = e, tagRefused
		d.loop.At(&r.Timer, d.loop.Now(), d)
	case !r.Op.Modifies():
		d.control(r)
	case d.stalled.Len() == 0 && d.enter(r):
		d.control(r)
	default:
		d.stalled.Push(r)
		d.pump()
	}
}

// enter lets write r in, if it may: into the cache if there is room; past it if
// the cache is empty. The two never happen at once, so that nothing which goes
// past the cache meets an older or newer copy of its range.
func (d *RAID) enter(r *devices.Request) bool {
	if d.failed || weight(r) > d.cfg.Capacity {
		if d.entering > 0 || d.busy > 0 || d.cache.Extents() > 0 {
			return false
		}
		r.Seq = pastCache
		d.passing++
		return true
	}
	if d.passing > 0 || !d.cache.Reserve(weight(r)) {
		return false
	}
	r.Seq = 0
	d.entering++
	return true
}

// weight is what r takes of the cache: zeros are only a note.
func weight(r *devices.Request) uint64 {
	if r.Op != devices.OpWrite {
		return min(r.Length, devices.Sector)
	}
	return r.Length
}

// unstall lets in the writes that may go on, in the order in which they came.
func (d *RAID) unstall() {
	for r := d.stalled.Peek(); r != nil && d.enter(r); r = d.stalled.Peek() {
		d.stalled.Pop()
		r.Charge(devices.DeviceQueue, d.loop.Now())
		d.control(r)
	}
}

// control takes r through the controller.
func (d *RAID) control(r *devices.Request) {
	serial, parallel := d.cfg.Serial, d.cfg.Parallel
	if transfers(r) && d.cfg.Bandwidth > 0 {
		serial += sim.Duration(float64(r.Length) / d.cfg.Bandwidth * 1e9)
	}
	if r.Op == devices.OpFlush {
		parallel = d.cfg.Flush
	}
	if r.Op.Modifies() && r.Seq != pastCache {
		d.arriving.Send(r)
	}
	start, done := d.serial.Reserve(d.loop.Now(), serial)
	r.Charge(devices.DeviceQueue, start)
	done = done.Add(parallel)
	r.Charge(devices.CacheStage, done)
	r.Timer.Tag = tagControl
	d.loop.At(&r.Timer, done, d)
}

// Fire goes on with what the controller has finished with, or notices that the
// volume is idle.
func (d *RAID) Fire(t *sim.Timer) {
	switch t.Tag {
	case tagIdle:
		d.destaging = true
		d.pump()
	case tagRefused:
		r := t.Owner.(*devices.Request)
		d.finish(r, r.Errno)
	default:
		d.controlled(t.Owner.(*devices.Request))
	}
}

func (d *RAID) controlled(r *devices.Request) {
	switch {
	case r.Op == devices.OpFlush:
		d.flush(r)
	case r.Op == devices.OpRead && !d.cache.Cached(r.Offset, r.End()):
		d.pass(r)
	case r.Op == devices.OpRead:
		d.cache.Read(r.Offset, r.Length, &r.Payload)
		d.finish(r, devices.OK)
	case r.Op.Modifies() && r.Seq == pastCache:
		d.pass(r)
	case r.Op.Modifies():
		d.store(r)
	case r.Op == devices.OpBlockStatus && r.Status != nil:
		d.cache.Status(r.Offset, r.Length, r.Status)
		d.finish(r, devices.OK)
	default: // OpCache is advice
		d.finish(r, devices.OK)
	}
}

// store puts a write into the cache and acknowledges it. One that the battery
// did not live to see waits for the drain and goes past the cache.
func (d *RAID) store(r *devices.Request) {
	d.arriving.HandOver(r)
	d.entering--
	d.cache.Release(weight(r))
	switch {
	case d.failed && d.offline:
		d.finish(r, devices.EIO)
		return
	case d.failed:
		d.stalled.Push(r)
		d.unstall()
		d.pump()
		return
	}
	c := drive.ContentOf(r).Kept()
	if r.Length > 0 {
		if d.kept != nil {
			d.kept.Write(r.Offset, r.Length, c)
		}
		d.cache.Write(r.Offset, r.Length, c, r.Txn)
	}
	d.stats.HostWrittenBytes += r.Length
	d.destaging = d.destaging || d.cache.Dirty() > d.cfg.HighWater
	d.unstall() // an overwrite takes less room than was promised to it
	d.pump()
	d.finish(r, devices.OK)
}

// flush fixes r's coverage. With a good battery there is nothing to do.
func (d *RAID) flush(r *devices.Request) {
	d.stats.Flushes++
	r.Seq = d.cache.Seq()
	if !d.failed || d.cache.Clean(r.Seq) {
		d.finish(r, devices.OK)
		return
	}
	bytes, own := d.cache.Covered(r.Seq, r.Txn)
	d.stats.FlushedBytes += bytes
	d.stats.CollateralBytes += bytes - own
	if d.offline {
		d.finish(r, devices.EIO)
		return
	}
	d.flushes.Push(r)
}

// endFlushes completes the FLUSHes of which the drain has written everything.
func (d *RAID) endFlushes() {
	for r := d.flushes.Peek(); r != nil && d.cache.Clean(r.Seq); r = d.flushes.Peek() {
		d.flushes.Pop()
		r.Charge(devices.FlushOthers, d.loop.Now())
		d.finish(r, devices.OK)
	}
}

// finish completes r and starts the idle clock when nothing is left.
func (d *RAID) finish(r *devices.Request, e devices.Errno) {
	d.inside--
	if d.inside == 0 && d.cfg.IdleDestage > 0 && d.cache.Extents() > 0 {
		d.loop.After(&d.idle, d.cfg.IdleDestage, d)
	}
	r.Finish(e)
}
