package catalog

import (
	"fmt"
	"slices"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/hdd"
	"nbdbench/devices/ssd"
	"nbdbench/internal/conf"
	"nbdbench/internal/text"
	"nbdbench/internal/units"
)

// maxName bounds a profile's name, in bytes: it becomes part of files' names.
const maxName = 200

// Profile is a device as its file describes it.
type Profile struct {
	Extends    string `yaml:"extends"`
	Name       string `yaml:"name"`
	Title      string `yaml:"title"`
	About      string `yaml:"about"`
	Kind       string `yaml:"kind"`
	Confidence string `yaml:"confidence"`

	Size         units.Size `yaml:"size"`
	LogicalBlock units.Size `yaml:"logical_block"`
	AtomicUnit   units.Size `yaml:"atomic_unit"`
	PreferredIO  units.Size `yaml:"preferred_io"`

	Advertise Advertise  `yaml:"advertise"`
	Cache     Cache      `yaml:"cache"`
	Lies      Lies       `yaml:"lies"`
	SSD       *SSD       `yaml:"ssd"`
	HDD       *HDD       `yaml:"hdd"`
	Cloud     *Cloud     `yaml:"cloud"`
	RAID      *RAID      `yaml:"raid"`
	Empirical *Empirical `yaml:"empirical"`

	// Members are the devices that an array is made of, and Chunk what a stripe or a
	// RAID 5 puts on one of them before the next, in bytes.
	Members []Member   `yaml:"members,omitzero"`
	Chunk   units.Size `yaml:"chunk,omitzero"`
	// FlushWork is what each FLUSH costs the host, beside the members.
	FlushWork time.Duration `yaml:"flush_work,omitzero"`
	// Log is of a pool with a log device.
	Log *LogGroup `yaml:"log,omitzero"`

	// Sources says for each parameter, by its path, where the figure is from.
	Sources map[string]string `yaml:"sources"`
	// Fitted says which parameters, by path, were set so that a row comes out:
	// that of the given id. A parameter names one row, so that no profile has
	// more fitted rows than parameters that were fitted.
	Fitted map[string]string `yaml:"fitted"`
	// Ranges are parameters, by path, on which sources disagree: the least and the
	// greatest value. A sensitivity analysis varies the parameter between them.
	Ranges map[string][]string `yaml:"ranges"`
	// Published are figures of the device beyond those that come with the package.
	Published []Row `yaml:"published"`

	file string
}

// Advertise is what the device offers to whoever serves it.
type Advertise struct {
	Flush      bool   `yaml:"flush"`
	FUA        string `yaml:"fua"` // native or none
	Trim       bool   `yaml:"trim"`
	Zero       bool   `yaml:"write_zeroes"`
	Rotational bool   `yaml:"rotational"`
}

// Cache is the write cache.
type Cache struct {
	Mode        string        `yaml:"mode"` // volatile, protected or none
	Capacity    units.Size    `yaml:"capacity"`
	HighWater   units.Size    `yaml:"high_water"`
	LowWater    units.Size    `yaml:"low_water"`
	IdleDestage time.Duration `yaml:"idle_destage"`
}

// SSD has the parameters of package ssd.
type SSD struct {
	Serial         time.Duration   `yaml:"serial"`
	SerialPer4K    time.Duration   `yaml:"serial_per_4k"`
	Parallel       time.Duration   `yaml:"parallel"`
	Bandwidth      units.Bandwidth `yaml:"bandwidth"`
	Overlap        bool            `yaml:"overlap"`
	ReadBase       time.Duration   `yaml:"read_base"`
	ReadSerial     time.Duration   `yaml:"read_serial,omitzero"`
	ReadPage       time.Duration   `yaml:"read_page"`
	Dies           int             `yaml:"dies"`
	Page           units.Size      `yaml:"page"`
	Program        time.Duration   `yaml:"program"`
	ProgramSize    units.Size      `yaml:"program_size"`
	UnmapPerMiB    time.Duration   `yaml:"unmap_per_mib"`
	Drain          units.Bandwidth `yaml:"drain"`
	DrainRandom    units.Bandwidth `yaml:"drain_random"`
	Precondition   string          `yaml:"precondition"` // none or random
	FlushClean     time.Duration   `yaml:"flush_clean"`
	FlushBase      time.Duration   `yaml:"flush_base"`
	FlushPerStripe time.Duration   `yaml:"flush_per_stripe"`
	Stripe         units.Size      `yaml:"stripe"`
	FUABase        time.Duration   `yaml:"fua_base"`
	Servers        int             `yaml:"servers"`
	FlushMode      string          `yaml:"flush_mode"` // shared or separate
	Flush          *FlushShape     `yaml:"flush"`
	FUAPrograms    int             `yaml:"fua_programs"`
	FUABatch       int             `yaml:"fua_batch"`
	FUAHoldOff     time.Duration   `yaml:"fua_hold_off"`
	Contention     float64         `yaml:"contention"`
	Sigma          float64         `yaml:"sigma"`
	Flash          *Flash          `yaml:"flash"`
}

// HDD has the parameters of package hdd.
type HDD struct {
	RPM            int             `yaml:"rpm"`
	Heads          int             `yaml:"heads"`
	Zones          int             `yaml:"zones"`
	OuterTrack     int             `yaml:"outer_track"`
	InnerTrack     int             `yaml:"inner_track"`
	SeekA          time.Duration   `yaml:"seek_a"`
	SeekB          time.Duration   `yaml:"seek_b"`
	SeekKnee       float64         `yaml:"seek_knee"`
	Settle         time.Duration   `yaml:"settle"`
	HeadSwitch     time.Duration   `yaml:"head_switch"`
	CylinderSwitch time.Duration   `yaml:"cylinder_switch"`
	Ack            time.Duration   `yaml:"ack"`
	Bandwidth      units.Bandwidth `yaml:"bandwidth"`
	QueueDepth     int             `yaml:"queue_depth"`
	Scheduler      string          `yaml:"scheduler"`
	PhysicalBlock  units.Size      `yaml:"physical_block"`
	Segments       int             `yaml:"segments"`
	SegmentSize    units.Size      `yaml:"segment_size"`
	ReadAhead      units.Size      `yaml:"read_ahead"`

	MediaCache      units.Size    `yaml:"media_cache,omitzero"`
	MediaCacheWrite time.Duration `yaml:"media_cache_write,omitzero"`
	MediaCacheMove  time.Duration `yaml:"media_cache_move,omitzero"`
}

var cacheModes = map[string]devices.CacheMode{
	"volatile": devices.CacheVolatile, "protected": devices.CacheProtected, "none": devices.CacheNone,
}

var fuaLevels = map[string]devices.FUASupport{"native": devices.FUANative, "none": devices.FUANone}

var schedulers = map[string]hdd.Scheduler{"": hdd.SPTF, "sptf": hdd.SPTF, "c-look": hdd.CLook, "fifo": hdd.FIFO}

// defaultIO is the least that a device prefers, in bytes.
const defaultIO units.Size = 4096

// MaxSize is the largest device: 16 PiB, well inside NBD's 63 bits.
const MaxSize = 16 << 50

// Validate checks what no single field shows.
func (p *Profile) Validate() error {
	switch {
	case p.Name == "" || text.Line(p.Name) != p.Name || len(p.Name) > maxName:
		return conf.At("name", "expected a name of at most %d bytes on one line, got %q", maxName, text.Line(p.Name))
	case text.Line(p.Title) != p.Title:
		return conf.At("title", "expected one line, got %q", p.Title)
	case p.LogicalBlock != 512 && p.LogicalBlock != 4096:
		return conf.At("logical_block", "expected 512 or 4KiB, got %v", p.LogicalBlock)
	case p.Size < p.minSize() || p.Size > MaxSize || p.Size%p.LogicalBlock != 0:
		return conf.At("size", "expected a multiple of %v, the logical block, from %v to 16PiB, got %v", p.LogicalBlock, p.minSize(), p.Size)
	case p.AtomicUnit < 512 || p.AtomicUnit > 1<<20 || p.AtomicUnit&(p.AtomicUnit-1) != 0:
		return conf.At("atomic_unit", "expected a power of two from 512 to 1MiB, got %v", p.AtomicUnit)
	}
	if _, ok := fuaLevels[p.Advertise.FUA]; !ok {
		return conf.At("advertise.fua", "expected native or none, got %q", p.Advertise.FUA)
	}
	if !p.IsArray() {
		if err := p.Cache.validate(); err != nil {
			return conf.Under("cache", err)
		}
	}
	if err := p.validateLies(); err != nil {
		return err
	}
	if err := p.validateModel(); err != nil {
		return err
	}
	if err := p.validateRanges(); err != nil {
		return err
	}
	return p.validateRows()
}

// minSize is the smallest device of a profile: one block of memory, but 1 MiB of
// what has a mechanism.
func (p *Profile) minSize() units.Size {
	if p.Kind == "ram" {
		return p.LogicalBlock
	}
	return units.MiB
}

// Resized returns the profile with another size in bytes, if it may have that; 0
// is its own. Of a smaller drive with dies pSLC is smaller in proportion, and blocks
// have fewer pages where there would be too few of them; see Flash.shrunk.
func (p *Profile) Resized(size uint64) (*Profile, error) {
	if size == 0 {
		return p, nil
	}
	q := *p
	q.Size = units.Size(size)
	if p.SSD != nil && p.SSD.Flash != nil && q.Size < p.Size {
		q.SSD = copied(p.SSD)
		q.SSD.Flash = p.SSD.Flash.shrunk(p.Size, q.Size)
	}
	return &q, q.Validate()
}

// minCache is the least of a cache that can be lost, in bytes.
const minCache = 64 << 10

func (c *Cache) validate() error {
	mode, ok := cacheModes[c.Mode]
	switch {
	case !ok:
		return conf.At("mode", "expected volatile, protected or none, got %q", c.Mode)
	case mode != devices.CacheVolatile:
		return nil
	case c.Capacity < minCache:
		return conf.At("capacity", "expected at least %v for a volatile cache, got %v", units.Size(minCache), c.Capacity)
	case c.HighWater == 0 || c.HighWater > c.Capacity:
		return conf.At("high_water", "expected more than 0 and at most the capacity of %v, got %v", c.Capacity, c.HighWater)
	case c.LowWater > c.HighWater:
		return conf.At("low_water", "expected at most high_water %v, got %v", c.HighWater, c.LowWater)
	case c.IdleDestage < 0:
		return conf.At("idle_destage", "expected at least 0, got %v", c.IdleDestage)
	}
	return nil
}

// TakesTime reports whether the device has service times: all but memory have.
func (p *Profile) TakesTime() bool {
	for i := range p.Members {
		if p.Members[i].Profile.TakesTime() {
			return true
		}
	}
	return p.Kind != "ram" && !p.IsArray()
}

func (p *Profile) validateModel() error {
	switch {
	case p.Kind == "ram":
		return nil
	case p.IsArray():
		return p.validateArray()
	case p.Kind == "ssd" && p.SSD != nil:
		if err := p.SSD.Flash.validate(); err != nil {
			return conf.Under("ssd.flash", err)
		}
		if err := p.SSD.validateWords(); err != nil {
			return conf.Under("ssd", err)
		}
		c := p.ssdConfig()
		if err := c.Validate(uint64(p.Size)); err != nil {
			return conf.At("ssd", "%v", err)
		}
		return nil
	case p.Kind == "hdd" && p.HDD != nil:
		if _, ok := schedulers[p.HDD.Scheduler]; !ok {
			return conf.At("hdd.scheduler", "expected sptf, c-look or fifo, got %q", p.HDD.Scheduler)
		}
		c := p.hddConfig()
		if err := c.Validate(); err != nil {
			return conf.At("hdd", "%v", err)
		}
		return nil
	case p.Kind == "cloud" && p.Cloud != nil:
		c := p.Cloud.config()
		if err := c.Validate(); err != nil {
			return conf.At("cloud", "%v", err)
		}
		return nil
	case p.Kind == "raid" && p.RAID != nil:
		return p.RAID.validate()
	case p.Kind == "empirical" && p.Empirical != nil:
		return conf.Under("empirical", p.validateEmpirical())
	case slices.Contains([]string{"ssd", "hdd", "cloud", "raid", "empirical"}, p.Kind):
		return conf.At("kind", "expected a section %q with the model's parameters", p.Kind)
	}
	return conf.At("kind", "expected ssd, hdd, cloud, raid, empirical, ram, mirror, stripe, raid5 or log, got %q", p.Kind)
}

// The ways in which a flash drive serves FLUSHes that wait at the same time,
// flush.servers of them at once.
const (
	flushShared   = "shared"   // one makes durable what all have to, the others then cost flush_clean
	flushSeparate = "separate" // each takes its whole time
)

// flushMode is the way of s. On all drives that were measured each FLUSH takes its whole
// time, whatever others have written; without a time of its own it costs what it writes.
func (s *SSD) flushMode() string {
	switch {
	case s.FlushMode != "":
		return s.FlushMode
	case s.FlushBase > 0:
		return flushSeparate
	}
	return flushShared
}

// flushServers is how many FLUSHes s serves at once.
func (s *SSD) flushServers() int {
	switch {
	case s.Flush != nil && s.Flush.Servers > 0:
		return s.Flush.Servers
	case s.FUAPrograms > 0:
		return max(s.Servers, 1)
	}
	return 1
}

// preconditionRandom is a drive without dies of its own that has been written over at
// random before it begins.
const preconditionRandom = "random"

// validateWords checks the words; the numbers are the model's to check.
func (s *SSD) validateWords() error {
	if !slices.Contains([]string{"", flushShared, flushSeparate}, s.FlushMode) {
		return conf.At("flush_mode", "expected shared or separate, got %q", s.FlushMode)
	}
	if !slices.Contains([]string{"", "none", preconditionRandom}, s.Precondition) {
		return conf.At("precondition", "expected none or random, got %q", s.Precondition)
	}
	return nil
}

// minIO is the least that clients may ask for: a 4Kn device has no smaller block. Of
// one with blocks of 512 bytes NBD's clients may ask for any bytes.
func (p *Profile) minIO() uint32 {
	if p.LogicalBlock > devices.Sector {
		return uint32(p.LogicalBlock)
	}
	return 0
}

// Info is what the device can do.
func (p *Profile) Info() devices.Info {
	if p.IsArray() {
		c := p.arrayConfig()
		infos, _ := p.memberInfos()
		return c.InfoOf(infos)
	}
	return devices.Info{
		Size: uint64(p.Size), LogicalBlock: uint32(p.LogicalBlock), AtomicUnit: uint32(p.AtomicUnit),
		MinIO: p.minIO(), PreferredIO: uint32(max(p.PreferredIO, defaultIO)),
		CanFlush: p.Advertise.Flush, FUA: fuaLevels[p.Advertise.FUA],
		CanTrim: p.Advertise.Trim, CanZero: p.Advertise.Zero,
		CanFastZero: p.Advertise.Zero && !p.Advertise.Rotational, // a note in a table, where there is one
		CanCache:    true,                                        // advice, and taken as such
		Rotational:  p.Advertise.Rotational,
		MultiConn:   true, // one cache serves all connections
		Cache:       cacheModes[p.Cache.Mode],
	}
}

func (p *Profile) ssdConfig() ssd.Config {
	s := p.SSD
	return ssd.Config{
		Serial: s.Serial, SerialPer4K: s.SerialPer4K, Parallel: s.Parallel, Bandwidth: float64(s.Bandwidth),
		Overlap: s.Overlap, ReadBase: s.ReadBase, ReadSerial: s.ReadSerial, ReadPage: s.ReadPage, Dies: s.Dies,
		Page: uint64(s.Page), Program: s.Program, ProgramSize: uint64(s.ProgramSize), UnmapPerMiB: s.UnmapPerMiB,
		Drain: float64(s.Drain), DrainRandom: float64(s.DrainRandom), Preconditioned: s.Precondition == preconditionRandom,
		FlushClean: s.FlushClean, FlushBase: s.FlushBase, FlushPerStripe: s.FlushPerStripe, Stripe: uint64(s.Stripe),
		FUABase: s.FUABase, Servers: s.Servers, Contention: s.Contention, Sigma: s.Sigma,
		FlushWhole: s.flushMode() == flushSeparate, Flush: s.Flush.config(),
		FUAPrograms: s.FUAPrograms, FUABatch: s.FUABatch, FUAHoldOff: s.FUAHoldOff,
		Flash: s.Flash.config(),
	}
}

func (p *Profile) hddConfig() hdd.Config {
	h := p.HDD
	return hdd.Config{
		Size: uint64(p.Size), RPM: h.RPM, Heads: h.Heads, Zones: h.Zones,
		OuterTrack: h.OuterTrack, InnerTrack: h.InnerTrack,
		SeekA: h.SeekA, SeekB: h.SeekB, SeekKnee: h.SeekKnee, Settle: h.Settle,
		HeadSwitch: h.HeadSwitch, CylinderSwitch: h.CylinderSwitch,
		Ack: h.Ack, Bandwidth: float64(h.Bandwidth), QueueDepth: h.QueueDepth, Scheduler: schedulers[h.Scheduler],
		PhysicalBlock: uint64(h.PhysicalBlock),
		Segments:      h.Segments, SegmentSize: uint64(h.SegmentSize), ReadAhead: uint64(h.ReadAhead),
		MediaCache: uint64(h.MediaCache), MediaCacheWrite: h.MediaCacheWrite, MediaCacheMove: h.MediaCacheMove,
	}
}

// String names the profile and what it stands for.
func (p *Profile) String() string { return fmt.Sprintf("%s (%s)", p.Name, p.Title) }
