package ssd

import (
	"errors"
	"fmt"

	"nbdbench/devices/ssd/ftl"
	"nbdbench/sim"
)

// Flash is what is behind the controller: dies, and how their pages are used.
// There is no useful zero value; see Validate.
type Flash struct {
	Channels         int
	DiesPerChannel   int
	ChannelBandwidth float64 // bytes per second; 0 is unlimited
	Planes           int     // that a die reads, programs and erases together
	Page             uint64  // bytes of a page on one plane
	OneShot          int     // pages that one program writes on each plane: 3 for TLC, 1 for SLC
	PagesPerBlock    int     // on one plane, a multiple of OneShot
	MappingUnit      uint64  // bytes; 0 is 4096

	Read    []sim.Duration // of the pages of a one-shot program, in their order
	Program sim.Duration   // one-shot
	Erase   sim.Duration

	// SLC is how many bytes of data the pSLC region holds; 0 is no such region.
	SLC        uint64
	SLCFold    bool // a full region folds as much as the host writes, which goes through it all the same
	SLCRead    sim.Duration
	SLCProgram sim.Duration

	// CacheProgram: while a die programs a row, the next one crosses the channel.
	CacheProgram bool

	// SuspendProgram and SuspendErase are how long it takes to suspend what is
	// on a die for a read; 0 is that it cannot be.
	SuspendProgram sim.Duration
	SuspendErase   sim.Duration

	// Journal is the program of mapping that each FLUSH and FUA ends with; 0 is
	// none.
	Journal sim.Duration

	OverProvisioning float64 // physical over logical space, less 1, without pSLC
	Reserve          int     // superblocks that collection keeps free; 0 is 2
	Victim           ftl.Victim
	Choices          int
	Fill             ftl.Fill

	// Static: a unit is on the die that its number says, wherever the translation layer
	// has it, as drives do that stripe addresses over dies; a row is then one unit.
	Static bool
	// Sectors: what crosses the channel is the sectors that are asked for, and not
	// whole mapping units.
	Sectors bool
	// ReadsUnwritten: a unit that was never written is read as if it were.
	ReadsUnwritten bool
	// MappingCache is the bytes of the mapping that are in memory; 0 is all of it.
	MappingCache uint64

	// Depth is how many rows of the host's data may be on their way for each die:
	// 0 is 2.
	Depth int
}

// The bounds of a Flash.
const (
	MaxChannels = 64
	MaxDies     = 1024
	maxBlocks   = 1 << 22 // superblocks
	minMapping  = 4 << 10 // bytes of a mapping cache
	maxMapping  = 1 << 30
)

func (f *Flash) unit() uint64 {
	if f.MappingUnit == 0 {
		return 4096
	}
	return f.MappingUnit
}

func (f *Flash) depth() int {
	if f.Depth == 0 {
		return 2
	}
	return f.Depth
}

// rows is how many rows a superblock has.
func (f *Flash) rows(dies int) int { return dies * f.PagesPerBlock / f.OneShot }

// Row is the bytes that one die programs in one shot.
func (f *Flash) Row() uint64 { return f.Page * uint64(f.Planes*f.OneShot) }

// Superblock is the bytes of one block of every plane of every die.
func (f *Flash) Superblock() uint64 {
	return f.Row() * uint64(f.rows(f.Channels*f.DiesPerChannel))
}

// layer is the translation layer for a drive of size bytes.
func (f *Flash) layer(size uint64, seed sim.Seed) ftl.Config {
	c := ftl.Config{
		Units: (size + f.unit() - 1) / f.unit(), Rows: f.rows(f.Channels * f.DiesPerChannel), RowUnits: int(f.Row() / f.unit()),
		Reserve: max(f.Reserve, 2), Victim: f.Victim, Choices: f.Choices, Fill: f.Fill, Seed: seed.Sub("ssd.ftl", 0),
	}
	block := f.Superblock()
	c.Blocks = int(min(float64(size)*(1+f.OverProvisioning)/float64(block)+0.5, maxBlocks)) + c.Reserve
	c.Blocks = max(c.Blocks, int(min((size+block-1)/block, maxBlocks))+c.Reserve+2)
	if f.SLC > 0 {
		c.SLCFold = f.SLCFold
		c.SLCRowUnits = int(f.Page * uint64(f.Planes) / f.unit())
		c.SLCBlocks = int(min(f.SLC*uint64(f.OneShot)/block, maxBlocks))
	}
	return c
}

// Validate says what is wrong with f for a drive of size bytes, all at once.
func (f *Flash) Validate(size uint64) error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(f.Channels >= 1 && f.Channels <= MaxChannels, "channels is %d, want 1 to %d", f.Channels, MaxChannels)
	want(f.DiesPerChannel >= 1 && f.Channels*f.DiesPerChannel <= MaxDies, "dies_per_channel is %d, want at least 1 and %d dies in all", f.DiesPerChannel, MaxDies)
	want(f.Planes >= 1 && f.Planes <= 16, "planes is %d, want 1 to 16", f.Planes)
	want(f.OneShot >= 1 && f.OneShot <= 16, "one_shot is %d, want 1 to 16", f.OneShot)
	want(f.PagesPerBlock >= 1 && f.PagesPerBlock <= 1<<14 && f.PagesPerBlock%max(f.OneShot, 1) == 0, "pages_per_block is %d, want a multiple of one_shot up to 16384", f.PagesPerBlock)
	unit := f.unit()
	want(unit >= 512 && unit&(unit-1) == 0, "mapping_unit is %d bytes, want a power of two from 512", unit)
	want(f.Page >= 512 && f.Page <= 1<<20 && f.Page*uint64(max(f.Planes, 0))%unit == 0, "page is %d bytes, want 512 to 1 MiB and whole mapping units over all planes", f.Page)
	want(len(f.Read) >= 1 && len(f.Read) <= 16, "read has %d times, want 1 to 16", len(f.Read))
	for _, t := range append([]sim.Duration{f.Program, f.Erase, f.SLCRead, f.SLCProgram, f.SuspendProgram, f.SuspendErase, f.Journal}, f.Read...) {
		want(t >= 0, "a time is %v, want at least 0", t)
	}
	want(!f.Static || f.Row() == unit && f.SLC == 0, "a row is %d bytes with static allocation, want one mapping unit, and no pSLC", f.Row())
	want(f.MappingCache == 0 || f.MappingCache >= minMapping && f.MappingCache <= maxMapping, "mapping_cache is %d bytes, want 0 or 4 KiB to 1 GiB", f.MappingCache)
	want(f.OverProvisioning >= 0 && f.OverProvisioning <= 10, "over_provisioning is %g, want 0 to 10", f.OverProvisioning)
	want(f.Depth >= 0 && f.Depth <= 64, "depth is %d, want at most 64", f.Depth)
	want(f.ChannelBandwidth >= 0, "channel_bandwidth is %g, want at least 0", f.ChannelBandwidth)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	c := f.layer(size, 0)
	if f.SLC > 0 && c.SLCBlocks < 2 {
		return fmt.Errorf("slc is %d bytes, want at least two superblocks in that mode, %d", f.SLC, 2*f.Superblock()/uint64(f.OneShot))
	}
	return c.Validate()
}
