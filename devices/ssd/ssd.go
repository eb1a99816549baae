package ssd

import (
	"errors"
	"fmt"
	"math"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// Config is a flash drive. The zero value is a drive that takes no time; see
// the package comment for what each parameter does.
type Config struct {
	Serial      sim.Duration
	SerialPer4K sim.Duration
	Parallel    sim.Duration
	Bandwidth   float64 // bytes per second; 0 is unlimited
	// Overlap: while the data of one write is on the bus, the next is in the rest of
	// the serial stage. A write alone takes both all the same.
	Overlap bool

	// UnmapPerMiB is the controller's time for each MiB of a TRIM or WRITE_ZEROES
	// beyond the first.
	UnmapPerMiB sim.Duration

	ReadBase sim.Duration
	// ReadSerial is what the controller takes for each read, one after another, where
	// that is more than the bus takes.
	ReadSerial sim.Duration
	ReadPage   sim.Duration
	Dies       int    // that read on their own; 0 is 1
	Page       uint64 // bytes that a die reads at once; 0 is 4096
	// Program is how long a die is busy with ProgramSize bytes of what is written,
	// which a read of it then waits for; 0 is that reads never wait for writes.
	Program     sim.Duration
	ProgramSize uint64 // bytes; 0 is Page

	FlushClean     sim.Duration
	FlushBase      sim.Duration
	FlushPerStripe sim.Duration
	Stripe         uint64 // bytes; 0 is 1 MiB
	FUABase        sim.Duration
	// Servers are the units that make data durable, one FUA write each, or with
	// FUAPrograms those of FLUSH and destage alone; 0 is 1.
	Servers    int
	Contention float64

	// Flush is what sets FLUSH apart from FUA.
	Flush FlushShape

	// FlushWhole: a FLUSH whose data another one has made durable while it waited
	// takes its whole time all the same. Otherwise FLUSHes that wait when one with
	// dirty data begins are served by that one.
	FlushWhole bool

	// FUAPrograms is how many programs of FUA writes are in progress at once,
	// beside the FLUSHes; 0 is that each write takes one of the Servers. With it a program starts when FUABatch writes wait, which
	// are the most that it takes (0 is 1), or FUAHoldOff after the oldest came.
	FUAPrograms int
	FUABatch    int
	FUAHoldOff  sim.Duration

	// Drain is how fast the medium takes what is in a protected buffer, in bytes a
	// second, and DrainRandom writes that do not go on where another ended: collection
	// moves data for them, once the drive has been written over. A buffer whose backlog
	// takes longer than its capacity at Drain takes no more. 0 is without limit, and of
	// DrainRandom, Drain.
	Drain, DrainRandom float64
	// Preconditioned: the drive has been written over at random before it begins.
	Preconditioned bool

	// Sigma is the lognormal spread of FLUSH and FUA around their means.
	Sigma float64

	// Flash is what is behind the controller, from which the cost of what is
	// dirty and of reads then comes: ReadPage, Dies, FlushPerStripe and Stripe are
	// without meaning. nil is a drive that is described only by its laws.
	Flash *Flash
}

// MaxServers bounds Servers, FUAPrograms and FUABatch.
const MaxServers = 1024

// Validate says what is wrong with c for a drive of size bytes, all at once.
func (c *Config) Validate(size uint64) error {
	var errs []error
	for _, d := range []struct {
		name  string
		value sim.Duration
	}{
		{"serial", c.Serial},
		{"serial_per_4k", c.SerialPer4K},
		{"parallel", c.Parallel},
		{"read_base", c.ReadBase},
		{"read_page", c.ReadPage},
		{"read_serial", c.ReadSerial},
		{"unmap_per_mib", c.UnmapPerMiB},
		{"program", c.Program},
		{"flush_clean", c.FlushClean},
		{"flush_base", c.FlushBase},
		{"flush_per_stripe", c.FlushPerStripe},
		{"fua_base", c.FUABase},
		{"fua_hold_off", c.FUAHoldOff},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %v, want at least 0", d.name, d.value))
		}
	}
	if c.Dies < 0 || c.Dies > 1<<16 {
		errs = append(errs, fmt.Errorf("dies is %d, want at most 65536", c.Dies))
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"servers", c.Servers}, {"fua_programs", c.FUAPrograms}, {"fua_batch", c.FUABatch}} {
		if n.value < 0 || n.value > MaxServers {
			errs = append(errs, fmt.Errorf("%s is %d, want 0 to %d", n.name, n.value, MaxServers))
		}
	}
	if err := c.Flush.validate(c.Servers, c.FlushBase); err != nil {
		errs = append(errs, err)
	}
	if c.FUAPrograms == 0 && (c.FUABatch > 1 || c.FUAHoldOff > 0) {
		errs = append(errs, errors.New("fua_batch or fua_hold_off is given without fua_programs, the programs of FUA writes in progress at once"))
	}
	if c.Drain < 0 || c.DrainRandom < 0 || c.DrainRandom > 0 && c.Drain == 0 {
		errs = append(errs, fmt.Errorf("drain is %g and drain_random %g, want at least 0, and drain with drain_random", c.Drain, c.DrainRandom))
	}
	if c.Preconditioned && (c.Flash != nil || c.Drain == 0) {
		errs = append(errs, errors.New("precondition is given without drain, or beside flash, which has its own"))
	}
	if c.Sigma < 0 || c.Sigma > 3 || c.Contention < 0 || c.Bandwidth < 0 {
		errs = append(errs, fmt.Errorf("sigma is %g, contention %g, bandwidth %g: want at least 0, sigma at most 3", c.Sigma, c.Contention, c.Bandwidth))
	}
	if c.Page%512 != 0 || c.Page > 1<<20 || c.ProgramSize%512 != 0 || c.ProgramSize > 1<<30 {
		errs = append(errs, fmt.Errorf("page is %d and program_size %d bytes, want multiples of 512, at most 1 MiB and 1 GiB", c.Page, c.ProgramSize))
	}
	if c.Flash != nil {
		if c.ReadPage != 0 || c.Dies != 0 || c.FlushPerStripe != 0 || c.Stripe != 0 || c.Page != 0 || c.Program != 0 || c.ProgramSize != 0 {
			errs = append(errs, errors.New("read_page, dies, page, program, program_size, flush_per_stripe and stripe are given beside flash, which has them as they come"))
		}
		if err := c.Flash.Validate(size); err != nil {
			errs = append(errs, fmt.Errorf("flash: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Device is a flash drive as a block device.
type Device struct {
	*drive.Drive
	cfg   Config
	loop  *sim.Loop
	noise sim.Dist
	draw  sim.Stream
	turn  uint64 // requests without a transaction that drew from it

	serial   sim.Timeline
	bus      sim.Timeline // towards the host
	dies     []sim.Timeline
	backlog  backlog       // of a protected buffer, without Flash
	programs programs      // that dies are busy with, without Flash
	flushers *pool         // of FLUSH and destage
	flushing int           // of its units
	flushes  flushes       // so far
	writers  *pool         // of writes through the cache: flushers, without FUAPrograms
	batch    batch         // of the writes that wait for a program
	blocked  devices.Queue // FLUSHes whose data another unit is still writing

	flash *flash // nil without dies of its own
}

// unit is one of the servers that make data durable.
type unit struct {
	timer  sim.Timer
	d      *Device
	pool   *pool
	flush  *devices.Request // the FLUSH that it serves, or nil
	joined devices.Queue    // FLUSHes that waited when it began, and share it
	writes devices.Queue    // through the cache, in one program
	flight *drive.Flight    // what a FLUSH or destage carries
	busy   bool
	covers bool // it serves a FLUSH or a destage, and no writes

	ready   sim.Time     // when the controller has all that the unit writes
	ack     sim.Duration // the controller's time for it
	written uint64       // bytes of it
	promise bool         // a write of it is to be durable

	factor     float64 // of what is left to do once the dies have its data
	own, bytes uint64  // of a FLUSH on flash: what its commit wrote, and all it covers

	base sim.Duration // of a FLUSH, before its spread
}

// New returns a flash drive on loop; seed feeds the spread of its times. cfg
// must be valid.
func New(loop *sim.Loop, cfg Config, common drive.Config, seed sim.Seed) *Device {
	cfg.Dies, cfg.Servers, cfg.FUABatch = max(cfg.Dies, 1), max(cfg.Servers, 1), max(cfg.FUABatch, 1)
	if cfg.Flush.Servers == 0 {
		cfg.Flush.Servers = 1
		if cfg.FUAPrograms > 0 {
			cfg.Flush.Servers = cfg.Servers
		}
	}
	if cfg.Stripe == 0 {
		cfg.Stripe = 1 << 20
	}
	if cfg.Page == 0 {
		cfg.Page = 4096
	}
	if cfg.ProgramSize == 0 {
		cfg.ProgramSize = cfg.Page
	}
	d := &Device{
		cfg: cfg, loop: loop, draw: seed.Stream("ssd.persist"),
		dies: make([]sim.Timeline, cfg.Dies),
	}
	d.flushers = newPool(d, cfg.Servers)
	d.writers = d.flushers
	if cfg.FUAPrograms > 0 {
		d.writers = newPool(d, cfg.FUAPrograms)
	}
	d.batch.d = d
	if cfg.Program > 0 && cfg.Flash == nil {
		d.programs.busy = make([]sim.Time, cfg.Dies)
	}
	// The spread multiplies a mean of 1 s, so that one distribution serves all.
	d.noise = sim.LognormalDist(1e9, cfg.Sigma)
	d.flushes = d.newFlushes(seed)
	if cfg.Flash != nil {
		d.flash = newFlash(d, &common, seed)
	}
	d.backlog = newBacklog(d, &common)
	d.Drive = drive.New(loop, common, d)
	return d
}

// Ack is the controller's time: the serial stage, then the parallel one.
func (d *Device) Ack(now sim.Time, r *devices.Request) sim.Time {
	if r.Op == devices.OpWrite && d.Cache() == nil {
		d.program(r.Length)
	}
	start := d.occupy(now, r)
	r.Charge(devices.DeviceQueue, start)
	done := start.Add(d.serialTime(r) + d.cfg.Parallel)
	r.Charge(devices.CacheStage, done)
	return done
}

// occupy has the serial stage take r as soon as it can, and returns when it begins.
func (d *Device) occupy(now sim.Time, r *devices.Request) sim.Time {
	takes := d.serialTime(r)
	if d.cfg.Overlap && r.Op == devices.OpWrite {
		bus := d.transfer(r.Length)
		takes = max(bus, takes-bus)
	}
	start, _ := d.serial.Reserve(now, takes)
	return start
}

func (d *Device) serialTime(r *devices.Request) sim.Duration {
	switch r.Op {
	case devices.OpWrite, devices.OpRead:
		return d.cfg.Serial + d.cfg.SerialPer4K*sim.Duration((r.Length+4095)/4096) + d.transfer(r.Length)
	case devices.OpTrim, devices.OpWriteZeroes:
		return d.cfg.Serial + d.cfg.SerialPer4K + sim.Duration(float64(d.cfg.UnmapPerMiB)*float64(max(r.Length, 1<<20)-1<<20)/(1<<20))
	default:
		return d.cfg.Serial + d.cfg.SerialPer4K
	}
}

func (d *Device) transfer(n uint64) sim.Duration {
	if d.cfg.Bandwidth <= 0 {
		return 0
	}
	return sim.Duration(float64(n) / d.cfg.Bandwidth * 1e9)
}

// Kick starts reads at once and gives free units the oldest FLUSH or FUA, and
// only then background work.
func (d *Device) Kick() {
	for d.startReads(); d.startUnits(); d.startReads() {
	}
	d.destageToFlash()
}

// startUnits gives one unit work. It reports whether there was any.
func (d *Device) startUnits() bool {
	switch {
	case d.mayFlush() && d.FlushFirst():
		d.startFlush(d.flusher())
	case d.writers.idle > 0 && d.programDue():
		d.startWrites(d.writers.free())
	case d.mayFlush() && d.flash == nil && d.Background():
		return d.startDestage()
	default:
		return false
	}
	return true
}

// mayFlush reports whether a FLUSH or a destage may start.
func (d *Device) mayFlush() bool { return d.flushers.idle > 0 && d.flushing < d.cfg.Flush.Servers }

// flusher is a unit for a FLUSH or a destage, which mayFlush permits.
func (d *Device) flusher() *unit {
	u := d.flushers.free()
	u.covers = true
	d.flushing++
	return u
}

func (d *Device) destageToFlash() {
	if d.flash != nil {
		d.flash.destage()
	}
}

// startReads takes every read out of the host queue: dies, not units, serve them.
// Where programs of writes have units of their own, writes wait in the batch.
func (d *Device) startReads() {
	for r := d.Host().Peek(); r != nil; {
		next := r.Next
		switch {
		case !drive.ForWrite(r):
			d.Host().Remove(r)
			d.startRead(r)
		case d.writers != d.flushers:
			d.Host().Remove(r)
			d.batch.waiting.Push(r)
		}
		r = next
	}
}

func (d *Device) startRead(r *devices.Request) {
	d.Begin(r)
	if d.flash != nil {
		d.flash.read(r)
		return
	}
	start, done := d.readDies(r)
	r.Charge(devices.DeviceQueue, start)
	done = d.toHost(r, done)
	r.Charge(devices.MediaStage, done)
	d.loop.At(&r.Timer, done, d)
}

// readDies has each die read what it holds of r's range, one page after another. It
// returns when the first of them begins and the last one ends.
func (d *Device) readDies(r *devices.Request) (first, last sim.Time) {
	now := d.loop.Now()
	first = sim.Time(math.MaxInt64)
	page, dies := r.Offset/d.cfg.Page, uint64(len(d.dies))
	pages := max(r.End(), r.Offset+1)
	pages = (pages-1)/d.cfg.Page - page + 1
	for i := range min(pages, dies) {
		n := (pages - i + dies - 1) / dies
		at := (page + i) % dies
		start, done := d.dies[at].Reserve(max(now, d.programs.until(at)), sim.Duration(n)*d.cfg.ReadPage)
		first, last = min(first, start), max(last, done)
	}
	return first, last
}

// toHost is when the data of read r, in the controller at ready, is at the host:
// the bus takes one after another, and so does the controller.
func (d *Device) toHost(r *devices.Request, ready sim.Time) sim.Time {
	_, done := d.bus.Reserve(ready, max(d.transfer(r.Length), d.cfg.ReadSerial))
	return done.Add(d.cfg.ReadBase)
}

// Fire completes a read.
func (d *Device) Fire(t *sim.Timer) { d.HostDone(t.Owner.(*devices.Request)) }

// spread is the random factor for request r: that of its step of its
// transaction, or of its turn where a client does not say whose it is.
func (d *Device) spread(r *devices.Request) float64 {
	noise := &d.noise
	if r.Op == devices.OpFlush {
		noise = &d.flushes.noise
	}
	if d.cfg.Sigma == 0 && (r.Op != devices.OpFlush || d.cfg.Flush.Sigma == 0) {
		return 1
	}
	if r.Txn == 0 {
		d.turn++
		return float64(noise.Sample(d.draw, d.turn, anonymous)) / 1e9
	}
	return float64(noise.Sample(d.draw, r.Txn, uint64(r.Step))) / 1e9
}

// anonymous is no step of a transaction.
const anonymous = 1 << 63

// startFlush fixes the coverage of the oldest FLUSH and what it costs. The
// part of the cost that would be due without other commits' data is its own.
func (d *Device) startFlush(u *unit) {
	whole := d.FlushOwes() || d.cfg.FlushWhole && d.FlushHadWork()
	r, bytes, own := d.NextFlush()
	now := d.loop.Now()
	r.Charge(devices.DeviceQueue, now)
	factor := d.spread(r)
	if d.flash != nil {
		d.flash.flush(u, r, bytes, own, whole, factor)
		return
	}
	d.program(bytes)
	takes, ofOwn := d.cfg.FlushClean, d.cfg.FlushClean
	if bytes > 0 || whole {
		u.base = d.flushBase(r)
		takes = u.base + d.flushStripes(bytes)
	}
	if own > 0 || whole && bytes == 0 {
		ofOwn = u.base + d.flushStripes(own)
	}
	service := u.pool.contended(d.scaled(takes, factor))
	ofOwn = u.pool.contended(d.scaled(ofOwn, factor))
	r.Charge(devices.MediaStage, now.Add(min(ofOwn, service)))
	r.Charge(devices.FlushOthers, now.Add(service))
	u.flush = r
	if bytes > 0 {
		u.flight = d.Cache().Depart()
		d.Cache().TakeUpTo(u.flight, r.Seq, ^uint64(0))
		d.join(u)
	}
	d.startUnit(u, service)
}

// join has the FLUSHes that wait be served by unit u, which has begun to write all that
// they cover, on a drive where they share.
func (d *Device) join(u *unit) {
	if d.cfg.FlushWhole {
		return
	}
	for d.FlushWaits() {
		r, _, _ := d.NextFlush()
		r.Charge(devices.DeviceQueue, d.loop.Now())
		u.joined.Push(r)
	}
}

// flushStripes is what a FLUSH of bytes takes beside its base.
func (d *Device) flushStripes(bytes uint64) sim.Duration {
	return d.cfg.FlushPerStripe * sim.Duration((max(bytes, 1)-1)/d.cfg.Stripe)
}

// startDestage writes one stripe of what is oldest.
func (d *Device) startDestage() bool {
	f := d.Cache().Depart()
	d.Cache().TakeUpTo(f, ^uint64(0), d.cfg.Stripe)
	if f.Bytes() == 0 {
		d.Land(f)
		return false
	}
	u := d.flusher()
	u.flight = f
	d.program(f.Bytes())
	d.startUnit(u, u.pool.contended(d.cfg.FlushPerStripe))
	return true
}

// Fire ends the unit's work.
func (u *unit) Fire(*sim.Timer) {
	d, r, joined, writes, f := u.d, u.flush, u.joined, u.writes, u.flight
	u.flush, u.joined, u.writes, u.flight, u.busy, u.promise = nil, devices.Queue{}, devices.Queue{}, nil, false, false
	u.pool.idle++
	if u.covers {
		u.covers = false
		d.flushing--
	}
	if f != nil {
		d.Land(f)
	}
	if r != nil {
		if u.base > 0 {
			u.base, d.flushes.ended = 0, d.loop.Now()
		}
		d.endFlush(r)
	}
	for r := joined.Pop(); r != nil; r = joined.Pop() {
		d.endFlush(r)
	}
	for w := writes.Pop(); w != nil; w = writes.Pop() {
		w.Charge(devices.MediaStage, d.loop.Now())
		d.HostDone(w)
	}
	d.recheck()
	d.Kick()
}

// endFlush completes r unless another unit still carries data that it covers.
func (d *Device) endFlush(r *devices.Request) {
	if d.Cache() != nil && !d.Cache().Clean(r.Seq) {
		d.blocked.Push(r)
		return
	}
	r.Charge(devices.FlushOthers, d.loop.Now())
	d.FlushDone(r)
}

// recheck looks again at the FLUSHes that waited for other units. What was
// dirty under another unit's flight has to be written now.
func (d *Device) recheck() {
	for n := d.blocked.Len(); n > 0; n-- {
		if r := d.blocked.Pop(); !d.mayFlush() || !d.startRest(r) {
			d.endFlush(r)
		}
	}
}

// startRest has a free unit write what FLUSH r covers and no other unit carries
// any more. It reports whether there was anything.
func (d *Device) startRest(r *devices.Request) bool {
	c := d.Cache()
	if c.Clean(r.Seq) {
		return false
	}
	f := c.Depart()
	c.TakeUpTo(f, r.Seq, ^uint64(0))
	if f.Bytes() == 0 {
		d.Land(f)
		return false
	}
	u := d.flusher()
	u.base = d.cfg.FlushBase
	if d.flash != nil {
		u.flush, u.own, u.bytes, u.factor = r, 0, f.Bytes(), 1
		d.flash.carry(u, f)
		return true
	}
	u.flush, u.flight = r, f
	d.startUnit(u, u.pool.contended(u.base+d.flushStripes(f.Bytes())))
	return true
}
