package volume

import (
	"errors"
	"fmt"
	"math"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// CloudConfig is cloud block storage. The zero value takes no time and has no
// limits; see the package comment for what each parameter does.
type CloudConfig struct {
	// Mean is the mean time of an I/O without its tail, Min the least. Published
	// figures are often of fdatasync or of a file system, which is more than one
	// I/O each: divide first.
	Mean, Min sim.Duration
	// Sigma is the standard deviation of the natural logarithm of what is above
	// Min; see SigmaOf.
	Sigma float64

	// TailProbability is the part of I/Os that take Tail longer.
	TailProbability float64
	Tail            sim.Duration

	IOPS  Limit // in I/Os
	Bytes Limit // in bytes
	// IOSize is how many bytes count as one I/O; 0 is any number. Amazon EBS
	// counts up to 256 KiB as one on its SSD volumes.
	IOSize uint64
	// MaxInFlight is how many requests are served at once; 0 is unlimited.
	MaxInFlight int

	// Flush is what FLUSH takes: a round trip, or 0 where the host's kernel
	// answers it because there is no cache.
	Flush sim.Duration
}

// SigmaOf is the Sigma with which a lognormal of the given mean has the given
// standard deviation.
func SigmaOf(mean, sd sim.Duration) float64 {
	if mean <= 0 || sd <= 0 {
		return 0
	}
	v := float64(sd) / float64(mean)
	return math.Sqrt(math.Log1p(v * v))
}

// Validate says what is wrong with c, all at once.
func (c *CloudConfig) Validate() error {
	errs := negative(span{"min", c.Min}, span{"tail", c.Tail}, span{"flush", c.Flush})
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(c.Mean >= c.Min, "mean is %v, want at least min, %v", c.Mean, c.Min)
	want(c.Sigma >= 0 && c.Sigma <= 3, "sigma is %g, want 0 to 3", c.Sigma)
	want(c.Sigma == 0 || c.Mean > c.Min, "sigma is %g, want 0 where mean is min", c.Sigma)
	want(c.TailProbability >= 0 && c.TailProbability <= 1, "tail_probability is %g, want 0 to 1", c.TailProbability)
	want(c.MaxInFlight >= 0, "max_in_flight is %d, want at least 0", c.MaxInFlight)
	errs = append(errs, c.IOPS.validate("iops", 1), c.Bytes.validate("bytes", 4096))
	return errors.Join(errs...)
}

// Cloud is cloud block storage as a block device.
type Cloud struct {
	loop *sim.Loop
	cfg  CloudConfig
	info devices.Info

	// cache never holds anything: it keeps the writes that are on their way.
	cache *drive.Cache
	above sim.Dist // the part of the service above Min
	draw  sim.Stream
	tail  sim.Stream

	iops, bytes throttle
	waiting     devices.Queue // requests beyond MaxInFlight
	inFlight    int
	strangers   uint64 // requests of no transaction
	stats       devices.Stats
}

// The meanings of a request's timer.
const (
	tagServed  = iota // the request is done
	tagStart          // its tokens are there
	tagRefused        // it ends with the error that it carries
)

// NewCloud returns cloud block storage on loop; seed feeds the spread of its
// times. cfg must be valid. The info's Cache is CacheNone whatever it says.
func NewCloud(loop *sim.Loop, cfg CloudConfig, info devices.Info, media drive.Media, seed sim.Seed) *Cloud {
	info.Cache = devices.CacheNone
	return &Cloud{
		loop: loop, cfg: cfg, info: info,
		cache: drive.NewCache(media, 0, info.AtomicUnit),
		above: sim.LognormalDist(cfg.Mean-cfg.Min, cfg.Sigma),
		draw:  seed.Stream("cloud.service"), tail: seed.Stream("cloud.tail"),
		iops: newThrottle(cfg.IOPS), bytes: newThrottle(cfg.Bytes),
	}
}

// Info describes the volume.
func (c *Cloud) Info() devices.Info { return c.info }

// Stats returns the volume's counters. Replicas count once.
func (c *Cloud) Stats() devices.Stats { return c.stats }

// Cut returns what a power cut at this moment would leave: all that was
// acknowledged, and of what is being served any atomic units, chosen by seed.
func (c *Cloud) Cut(seed sim.Seed) *drive.Cut { return c.cache.Cut(seed) }

// Submit takes a request.
func (c *Cloud) Submit(r *devices.Request) {
	r.Timer.Owner = r
	if e := refusal(&c.info, r); e != devices.OK {
		r.Errno, r.Timer.Tag = e, tagRefused
		c.loop.At(&r.Timer, c.loop.Now(), c)
		return
	}
	if c.cfg.MaxInFlight > 0 && c.inFlight == c.cfg.MaxInFlight {
		c.waiting.Push(r)
		return
	}
	c.start(r)
}

// start takes r's tokens and serves it when they are there.
func (c *Cloud) start(r *devices.Request) {
	c.inFlight++
	now := c.loop.Now()
	due := c.tokens(now, r)
	r.Charge(devices.DeviceQueue, due)
	if due == now {
		c.serve(r)
		return
	}
	r.Timer.Tag = tagStart
	c.loop.At(&r.Timer, due, c)
}

func (c *Cloud) tokens(now sim.Time, r *devices.Request) sim.Time {
	if r.Op == devices.OpFlush {
		return now
	}
	ios, n := uint64(1), uint64(0)
	if transfers(r) {
		n = r.Length
	}
	if c.cfg.IOSize > 0 && n > c.cfg.IOSize {
		ios = (n + c.cfg.IOSize - 1) / c.cfg.IOSize
	}
	return max(c.iops.take(now, ios), c.bytes.take(now, n))
}

// serve begins r's service. A write is on its way from now on.
func (c *Cloud) serve(r *devices.Request) {
	done := c.loop.Now().Add(c.service(r))
	r.Charge(devices.MediaStage, done)
	if r.Op.Modifies() {
		f := c.cache.Through(r.Offset, r.Length, drive.ContentOf(r))
		f.Ref, f.Timer.Owner = r, f
		c.loop.At(&f.Timer, done, c)
		return
	}
	r.Timer.Tag = tagServed
	c.loop.At(&r.Timer, done, c)
}

func (c *Cloud) service(r *devices.Request) sim.Duration {
	if r.Op == devices.OpFlush {
		return c.cfg.Flush
	}
	a, b := r.Txn, uint64(r.Step)
	if a == 0 {
		c.strangers++
		a = 1<<63 | c.strangers
	}
	d := c.cfg.Min + c.above.Sample(c.draw, a, b)
	if c.cfg.TailProbability > 0 && c.tail.Float64(a, b) < c.cfg.TailProbability {
		d += c.cfg.Tail
	}
	return d
}

// Fire goes on with a request, or makes a write durable.
func (c *Cloud) Fire(t *sim.Timer) {
	f, ok := t.Owner.(*drive.Flight)
	if ok {
		r := f.Ref.(*devices.Request)
		c.cache.Land(f)
		c.stats.HostWrittenBytes += r.Length
		c.stats.MediaWrittenBytes += r.Length
		c.served(r)
		return
	}
	r := t.Owner.(*devices.Request)
	switch t.Tag {
	case tagStart:
		c.serve(r)
	case tagRefused:
		r.Finish(r.Errno)
	default:
		c.served(r)
	}
}

// served completes r and lets the next request in.
func (c *Cloud) served(r *devices.Request) {
	switch r.Op {
	case devices.OpRead:
		c.cache.Read(r.Offset, r.Length, &r.Payload)
	case devices.OpBlockStatus:
		if r.Status != nil {
			c.cache.Status(r.Offset, r.Length, r.Status)
		}
	case devices.OpFlush:
		c.stats.Flushes++
	}
	c.inFlight--
	if next := c.waiting.Pop(); next != nil {
		c.start(next)
	}
	r.Finish(devices.OK)
}
