package empirical

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// Operation is a class of requests that has latencies of its own.
type Operation uint8

// The operations, in the order of a run's document. A TRIM or WRITE_ZEROES with
// FUA takes what a write with FUA takes.
const (
	Read Operation = iota
	Write
	WriteFUA
	Flush
	Trim
	WriteZeroes
	Operations
)

var operationNames = [Operations]string{"read", "write", "write_fua", "flush", "trim", "write_zeroes"}

func (o Operation) String() string { return operationNames[o] }

// MaxParallel bounds Config.Parallel.
const MaxParallel = 1024

// Config is what was measured of a drive.
type Config struct {
	// Latency has the measured latencies of each operation that the drive offers.
	Latency [Operations]Table
	// Parallel is how many requests are served at once; 0 is all.
	Parallel int
}

// Needs lists the operations of which a drive with this description needs
// latencies.
func Needs(info devices.Info) []Operation {
	out := []Operation{Read, Write}
	for _, o := range []struct {
		need bool
		op   Operation
	}{
		{info.FUA != devices.FUANone, WriteFUA},
		{info.CanFlush, Flush},
		{info.CanTrim, Trim},
		{info.CanZero, WriteZeroes},
	} {
		if o.need {
			out = append(out, o.op)
		}
	}
	return out
}

// Validate says what is missing or out of bounds for a drive of that description.
func (c *Config) Validate(info devices.Info) error {
	for _, o := range Needs(info) {
		if c.Latency[o].Count() == 0 {
			return fmt.Errorf("there are no latencies of %v", o)
		}
	}
	if c.Parallel < 0 || c.Parallel > MaxParallel {
		return fmt.Errorf("parallel is %d, want 0 to %d", c.Parallel, MaxParallel)
	}
	return nil
}

// Device is a drive with measured latencies.
type Device struct {
	*drive.Drive
	cfg  Config
	loop *sim.Loop
	draw sim.Stream
	turn uint64     // draws for requests without a transaction
	free []sim.Time // when each slot is free; none is no bound
	idle *job

	step      uint64        // bytes of one destage
	destaging bool          // there is one under way
	blocked   devices.Queue // FLUSHes whose data another flight still carries
}

// job is a request on the medium, or a destage.
type job struct {
	d      *Device
	timer  sim.Timer
	req    *devices.Request // nil for a destage
	flight *drive.Flight
	done   sim.Time
	next   *job // while idle
}

// The meanings of a job's timer.
const (
	tagStart = iota
	tagDone
)

// New returns a drive on loop; seed feeds the draws. cfg must be valid.
func New(loop *sim.Loop, cfg Config, common drive.Config, seed sim.Seed) *Device {
	d := &Device{
		cfg: cfg, loop: loop, draw: seed.Stream("empirical"), free: make([]sim.Time, cfg.Parallel),
		step: max(common.HighWater-common.LowWater, devices.Sector),
	}
	d.Drive = drive.New(loop, common, d)
	return d
}

// operation is the class of r; advice takes what a read takes.
func operation(r *devices.Request) Operation {
	switch {
	case r.Durable():
		return WriteFUA
	case r.Op == devices.OpWrite:
		return Write
	case r.Op == devices.OpFlush:
		return Flush
	case r.Op == devices.OpTrim:
		return Trim
	case r.Op == devices.OpWriteZeroes:
		return WriteZeroes
	}
	return Read
}

// sample draws for o by r's step of its transaction, or by its turn where a
// client does not say whose it is.
func (d *Device) sample(o Operation, r *devices.Request) sim.Duration {
	if r == nil || r.Txn == 0 {
		d.turn++
		return d.cfg.Latency[o].Sample(d.draw, d.turn, anonymous)
	}
	return d.cfg.Latency[o].Sample(d.draw, r.Txn, uint64(r.Step))
}

// anonymous is no step of a transaction.
const anonymous = 1 << 63

// reserve takes the slot that is free first.
func (d *Device) reserve(service sim.Duration) (start, done sim.Time) {
	now := d.loop.Now()
	if len(d.free) == 0 {
		return now, now.Add(service)
	}
	first := 0
	for i, t := range d.free {
		if t < d.free[first] {
			first = i
		}
	}
	start = max(now, d.free[first])
	d.free[first] = start.Add(service)
	return start, d.free[first]
}

// Ack is when a request that needs no medium is done: all of its measured time.
func (d *Device) Ack(_ sim.Time, r *devices.Request) sim.Time {
	start, done := d.reserve(d.sample(operation(r), r))
	r.Charge(devices.DeviceQueue, start)
	r.Charge(devices.CacheStage, done)
	return done
}

// Kick gives each waiting request its slot, and begins a destage.
func (d *Device) Kick() {
	for r := d.NextHost(); r != nil; r = d.NextHost() {
		o := operation(r)
		if !drive.ForWrite(r) {
			o = Read // of the blocks that a short write needs, too
		}
		d.serve(r, d.sample(o, r))
	}
	for r, _, _ := d.NextFlush(); r != nil; r, _, _ = d.NextFlush() {
		d.serve(r, d.sample(Flush, r))
	}
	if !d.destaging && d.Background() {
		d.destage()
	}
}

// serve has r take service in a slot.
func (d *Device) serve(r *devices.Request, service sim.Duration) {
	j := d.newJob()
	start, done := d.reserve(service)
	r.Charge(devices.DeviceQueue, start)
	r.Charge(devices.MediaStage, done)
	j.req, j.done, j.timer.Tag = r, done, tagStart
	d.loop.At(&j.timer, start, j)
}

func (d *Device) newJob() *job {
	j := d.idle
	if j == nil {
		return &job{d: d}
	}
	d.idle, j.next = j.next, nil
	return j
}

// Fire begins the job's work or ends it.
func (j *job) Fire(*sim.Timer) {
	if j.timer.Tag == tagStart {
		j.timer.Tag = tagDone
		j.begin()
		j.d.loop.At(&j.timer, j.done, j)
		return
	}
	d, r, f := j.d, j.req, j.flight
	j.req, j.flight = nil, nil
	j.next, d.idle = d.idle, j
	d.end(r, f)
}

// begin puts on its way what the job makes durable.
func (j *job) begin() {
	d, r := j.d, j.req
	if r.Op != devices.OpFlush {
		d.Begin(r)
		return
	}
	if c := d.Cache(); c != nil {
		j.flight = c.Depart()
		c.TakeUpTo(j.flight, r.Seq, ^uint64(0))
	}
}

// end completes r, or the destage, and what waited for its flight.
func (d *Device) end(r *devices.Request, f *drive.Flight) {
	if f != nil {
		d.Land(f)
	}
	switch {
	case r == nil:
		d.destaging = false
	case r.Op == devices.OpFlush:
		d.endFlush(r)
	default:
		d.HostDone(r)
	}
	for n := d.blocked.Len(); n > 0; n-- {
		d.endFlush(d.blocked.Pop())
	}
	d.Kick()
}

// endFlush completes r. What it covers and another flight carried when it began
// it waits for; what has come back into the cache since lands now: its time is
// over.
func (d *Device) endFlush(r *devices.Request) {
	c := d.Cache()
	if c != nil && !c.Clean(r.Seq) {
		rest := c.Depart()
		c.TakeUpTo(rest, r.Seq, ^uint64(0))
		d.Land(rest)
		if !c.Clean(r.Seq) {
			d.blocked.Push(r)
			return
		}
	}
	r.Charge(devices.FlushOthers, d.loop.Now())
	d.FlushDone(r)
}

// destage writes what is oldest, as much as lies between the marks.
func (d *Device) destage() {
	f := d.Cache().Depart()
	d.Cache().TakeUpTo(f, ^uint64(0), d.step)
	if f.Bytes() == 0 {
		d.Land(f)
		return
	}
	o := Flush
	if d.cfg.Latency[Flush].Count() == 0 {
		o = Write
	}
	d.destaging = true
	j := d.newJob()
	j.flight, j.timer.Tag = f, tagDone
	d.loop.After(&j.timer, d.sample(o, nil), j)
}
