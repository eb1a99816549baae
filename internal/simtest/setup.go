package simtest

import (
	"fmt"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

// Options narrow what a seed draws.
type Options struct {
	Strategy string // a name of package layer; empty is drawn
	Device   string // one of Devices; empty is drawn

	// Direct leaves NBD out. Serial has one request at a time, on one connection
	// and over a link that takes no time.
	Direct, Serial bool
	// Units makes an atomic unit that survives in part an error.
	Units bool

	// Sink receives the history at the wire.
	Sink history.Sink
	// Around wraps the model, below the server's layers: a defect to be found.
	Around func(*sim.Loop, catalog.Device) devices.Device
}

// Devices are the kinds of devices that are drawn.
func Devices() []string {
	return []string{"ssd", "flash", "hdd", "ssd-protected", "flash-protected", "flash-uncached", "ssd-uncached", "hdd-uncached", "ram", "raid", "cloud", "empirical"}
}

// Volatile reports whether a kind of device has a cache that a power cut empties.
func Volatile(device string) bool {
	return device == "ssd" || device == "flash" || device == "hdd" || device == "empirical"
}

// deviceSize is the size of the devices: large enough for tracks and zones.
const deviceSize = 64 << 20

// setup is what a seed draws, but for the requests.
type setup struct {
	device   string
	profile  *catalog.Profile
	strategy layer.Strategy
	mode     drive.Mode
	link     link

	units       bool // see Options
	perConn     bool // FLUSH holds for its connection only
	connections int
	depth       int // requests at a time
	serverDepth int // commands of a connection at a time, where the strategy has a bound
	requests    int
	cutEvery    int          // events between cuts, on average
	base, span  uint64       // the sectors that are written
	think       sim.Duration // between a slot's requests, at most; 0 is none
}

func (s *setup) String() string {
	p := s.profile
	text := fmt.Sprintf("device %s: block %v atomic %v fua %s flush %v cache %s", s.device, p.LogicalBlock, p.AtomicUnit, p.Advertise.FUA, p.Advertise.Flush, p.Cache.Mode)
	if p.Cache.Mode == "volatile" {
		text += fmt.Sprintf(" %v high %v low %v idle %v", p.Cache.Capacity, p.Cache.HighWater, p.Cache.LowWater, p.Cache.IdleDestage)
	}
	if p.SSD != nil {
		text += fmt.Sprintf("\nssd %+v", *p.SSD)
		if p.SSD.Flash != nil {
			text += fmt.Sprintf("\nflash %+v", *p.SSD.Flash)
		}
	}
	if p.HDD != nil {
		text += fmt.Sprintf("\nhdd scheduler %s, queue %d, ack %v", p.HDD.Scheduler, p.HDD.QueueDepth, p.HDD.Ack)
	}
	return text + fmt.Sprintf("\nstrategy %s (server depth %d), link %v, %d connections (flush per connection %v), depth %d, %d requests in %d sectors from %d, think %v, mode %d",
		s.strategy.Name, s.serverDepth, s.link, s.connections, s.perConn, s.depth, s.requests, s.span, s.base, s.think, s.mode)
}

// link is the wire, in each direction alike.
type link struct {
	name      string
	latency   sim.Duration
	bandwidth float64 // bytes per second; 0 is unlimited
}

func (l link) String() string { return l.name }

// links are those of a benchmark; the first takes no time.
var links = []link{{name: "none"}, {"unix", 15 * microsecond, 4e9}, {"lan", 50 * microsecond, 10e9 / 8}}

// dice draws one number after another from a stream of its own.
type dice struct {
	stream sim.Stream
	n      uint64
}

func (d *dice) intN(n int) int { return int(d.upTo(uint64(n))) }

func (d *dice) upTo(n uint64) uint64 {
	d.n++
	return d.stream.Uint64N(n, d.n, 0)
}

// one reports true once in n times.
func (d *dice) one(n int) bool { return d.intN(n) == 0 }

func pick[T any](d *dice, of ...T) T { return of[d.intN(len(of))] }

const (
	microsecond = sim.Duration(time.Microsecond)
	millisecond = sim.Duration(time.Millisecond)
)

// draw makes the setup of a seed.
func draw(seed sim.Seed, o Options) (*setup, error) {
	d := &dice{stream: seed.Stream("setup")}
	s := &setup{device: pick(d, "ssd", "ssd", "flash", "flash", "hdd", "hdd", "hdd", "ssd-protected", "ssd-uncached", "flash-protected", "flash-uncached", "hdd-uncached", "ram", "raid", "raid", "cloud", "empirical", "empirical")}
	if o.Device != "" {
		s.device = o.Device
	}
	s.strategy = pick(d, layer.Strategies()...)
	if o.Strategy != "" {
		var ok bool
		if s.strategy, ok = layer.Lookup(o.Strategy); !ok {
			return nil, fmt.Errorf("simtest: no strategy %q", o.Strategy)
		}
	}
	if err := s.drawProfile(d); err != nil {
		return nil, err
	}
	s.drawLoad(d)
	s.units = o.Units
	if o.Serial {
		s.connections, s.depth, s.link = 1, 1, links[0]
		s.untie()
	}
	return s, nil
}

// untie has no destage end at the instant of a request: which of the two is
// first depends on how many events the request takes.
func (s *setup) untie() {
	p := s.profile.SSD
	switch {
	case p == nil:
	case p.Flash == nil:
		p.FlushPerStripe = 20_011
	default:
		p.Flash.Program, p.Flash.SLCProgram, p.Flash.Journal = 600_011, 200_017, 0
	}
}

func (s *setup) drawLoad(d *dice) {
	s.mode = pick(d, drive.Versions, drive.Versions, drive.Versions, drive.RealBytes)
	s.link = pick(d, links...)
	s.connections = 1 + d.intN(4)
	s.perConn = d.one(5)
	s.depth = 1 + d.intN(16)
	s.serverDepth = pick(d, 0, 0, 1, 3)
	s.requests = 20 + d.intN(130)
	s.cutEvery = pick(d, 7, 20, 60)
	s.span = pick(d, uint64(8), 32, 64, 256, 1024)
	s.base = d.upTo(deviceSize/devices.Sector/8-s.span/8) * 8
	s.think = pick(d, 0, 0, 20*microsecond, 300*microsecond, 20*millisecond)
}

// drawProfile takes an embedded profile, or that of the documentation with latencies
// that were measured, and makes it small.
func (s *setup) drawProfile(d *dice) error {
	base := map[string]string{"raid": "raid-bbu", "cloud": "ebs-gp3", "empirical": "../../docs/testdata/empirical.yaml", "flash": "nvme-980", "flash-protected": "nvme-980", "flash-uncached": "nvme-980", "ssd": "nvme-990pro", "ssd-uncached": "nvme-990pro", "ssd-protected": "nvme-pm963", "hdd": "hdd-7200", "hdd-uncached": "hdd-7200", "ram": "ram"}[s.device]
	p, err := catalog.Load(base)
	if err != nil {
		return err
	}
	s.profile = p
	// Another device than the published one: its figures do not hold it.
	p.Name, p.Fitted, p.Published = s.device+"-variant", nil, nil
	p.Size = deviceSize
	p.LogicalBlock = pick[units.Size](d, 512, 512, 4096)
	p.AtomicUnit = pick[units.Size](d, 512, 1024, 2048, 4096, 4096)
	p.Advertise.FUA = pick(d, "native", "native", "native", "none")
	p.Advertise.Flush = !d.one(12)
	p.Advertise.Trim = !d.one(4)
	switch {
	case Volatile(s.device):
		drawCache(d, &p.Cache)
	case s.device == "flash-protected":
		drawCache(d, &p.Cache)
		p.Cache.Mode = "protected"
	case s.device == "ssd-uncached" || s.device == "flash-uncached" || s.device == "hdd-uncached":
		p.Cache = catalog.Cache{Mode: "none"}
	}
	switch {
	case p.Empirical != nil:
		p.Empirical.Parallel = pick(d, 0, 1, 4)
	case p.SSD != nil:
		drawSSD(d, p.SSD)
	case p.RAID != nil:
		drawRAID(d, p.RAID)
	case p.Cloud != nil:
		drawCloud(d, p.Cloud)
	}
	if p.HDD != nil {
		p.HDD.Scheduler = pick(d, "sptf", "c-look", "fifo")
		p.HDD.QueueDepth = pick(d, 1, 4, 32)
		p.HDD.Ack = pick(d, 0, 100*microsecond)
	}
	return p.Validate()
}

// drawCache draws a cache so small that it fills.
func drawCache(d *dice, c *catalog.Cache) {
	c.Capacity = pick[units.Size](d, 64<<10, 64<<10, 128<<10, 1<<20)
	c.HighWater = c.Capacity / pick[units.Size](d, 1, 2, 4, 16)
	c.LowWater = c.HighWater / pick[units.Size](d, 1, 2, 8, 1<<30)
	c.IdleDestage = pick(d, 0, 30*microsecond, 5*millisecond)
}

func drawSSD(d *dice, c *catalog.SSD) {
	c.Serial = pick(d, 0, 0, 10*microsecond)
	c.SerialPer4K = pick(d, 0, c.SerialPer4K)
	c.Parallel = pick(d, 0, c.Parallel)
	c.FlushClean = pick(d, 0, 5*microsecond)
	c.FlushBase = pick(d, 0, 100*microsecond, 1600*microsecond)
	c.FUABase = pick(d, 0, 50*microsecond, 4*millisecond)
	c.Servers, c.FlushMode = 1+d.intN(3), pick(d, "shared", "separate")
	c.FUAPrograms, c.FUABatch, c.FUAHoldOff = pick(d, 0, 0, 1, 3), 0, 0
	if c.FUAPrograms > 0 {
		c.FUABatch, c.FUAHoldOff = pick(d, 1, 2, 16), pick(d, 0, 20*microsecond, 2*millisecond)
	}
	c.Contention = pick(d, 0, 0.5)
	c.Sigma = pick(d, 0, 0.15, 1)
	if c.Flash != nil {
		drawFlash(d, c.Flash)
		return
	}
	c.ReadPage = pick(d, 0, c.ReadPage)
	c.Dies = pick(d, 1, 2, 32)
	c.FlushPerStripe = pick(d, 0, 20*microsecond, 200*microsecond)
	c.Stripe = pick[units.Size](d, 512, 4096, 16<<10, 1<<20)
}

// drawRAID draws a controller with a cache so small that it fills, in front of a
// disk. Its battery may have failed.
func drawRAID(d *dice, r *catalog.RAID) {
	r.Disk = pick(d, "hdd-7200-wt", "hdd-7200-wt", "hdd-7200")
	r.Serial, r.Parallel, r.Flush = pick(d, 0, r.Serial), pick(d, 0, r.Parallel), pick(d, 0, r.Flush)
	r.Capacity = pick[units.Size](d, 16<<10, 64<<10, 1<<20)
	r.HighWater = r.Capacity / pick[units.Size](d, 1, 2, 16)
	r.LowWater = r.HighWater / pick[units.Size](d, 1, 2, 1<<30)
	r.IdleDestage = pick(d, 0, 30*microsecond, 50*millisecond)
	r.QueueDepth = pick(d, 1, 4, 32)
	r.Order = pick(d, "sweep", "oldest")
	r.BatteryFailed = d.one(6)
}

func drawCloud(d *dice, c *catalog.Cloud) {
	c.IOPS = pick(d, 0, c.IOPS)
	c.MaxInFlight = pick(d, 0, 1, 4)
	c.Flush = pick(d, 0, c.Mean)
}

// slowest is more than any latency that was measured of the empirical device.
const slowest = 50 * millisecond

// drawFlash draws dies with superblocks so small that they are collected.
func drawFlash(d *dice, f *catalog.Flash) {
	f.Channels, f.DiesPerChannel = 1+d.intN(2), 1+d.intN(2)
	f.Planes = 1 + d.intN(2)
	f.Page = pick[units.Size](d, 4096, 16<<10)
	f.OneShot = 1 + d.intN(3)
	f.PagesPerBlock = f.OneShot * (2 + d.intN(6))
	f.MappingUnit = pick[units.Size](d, 512, 4096, 4096)
	f.Program = pick(d, 0, 600*microsecond)
	f.Erase = pick(d, 0, 3*millisecond)
	f.SuspendProgram, f.SuspendErase = pick(d, 0, 30*microsecond), pick(d, 0, 100*microsecond)
	f.Journal = pick(d, 0, 200*microsecond)
	f.SLC, f.SLCFold = pick[units.Size](d, 0, 4<<20), d.one(2)
	f.OverProvisioning = pick(d, 0.15, 0.3, 0.6)
	f.Reserve = 2 + d.intN(3)
	f.Victim, f.Choices = pick(d, "greedy", "random-greedy", "fifo"), 2+d.intN(4)
	f.Precondition = pick(d, "none", "sequential", "random", "random")
	f.Depth = 1 + d.intN(2)
}
