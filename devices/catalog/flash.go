package catalog

import (
	"fmt"
	"time"

	"nbdbench/devices/ssd"
	"nbdbench/devices/ssd/ftl"
	"nbdbench/internal/conf"
	"nbdbench/internal/units"
)

// Flash has the parameters of the dies behind a flash drive's controller,
// ssd.Flash.
type Flash struct {
	Channels         int             `yaml:"channels"`
	DiesPerChannel   int             `yaml:"dies_per_channel"`
	ChannelBandwidth units.Bandwidth `yaml:"channel_bandwidth"`
	Planes           int             `yaml:"planes"`
	Page             units.Size      `yaml:"page"`
	OneShot          int             `yaml:"one_shot"`
	PagesPerBlock    int             `yaml:"pages_per_block"`
	MappingUnit      units.Size      `yaml:"mapping_unit"`
	Read             []time.Duration `yaml:"read"`
	Program          time.Duration   `yaml:"program"`
	Erase            time.Duration   `yaml:"erase"`
	SLC              units.Size      `yaml:"slc"`
	SLCFold          bool            `yaml:"slc_fold"`
	SLCRead          time.Duration   `yaml:"slc_read"`
	SLCProgram       time.Duration   `yaml:"slc_program"`
	CacheProgram     bool            `yaml:"cache_program,omitzero"`
	SuspendProgram   time.Duration   `yaml:"suspend_program"`
	SuspendErase     time.Duration   `yaml:"suspend_erase"`
	Journal          time.Duration   `yaml:"journal"`
	OverProvisioning float64         `yaml:"over_provisioning"`
	Reserve          int             `yaml:"reserve"`
	Victim           string          `yaml:"victim"` // greedy, random-greedy or fifo
	Choices          int             `yaml:"choices"`
	Precondition     string          `yaml:"precondition"` // none, sequential or random
	Depth            int             `yaml:"depth"`
	Allocation       string          `yaml:"allocation,omitempty"` // log, or static: by address
	Sectors          bool            `yaml:"sectors,omitzero"`
	ReadsUnwritten   bool            `yaml:"reads_unwritten,omitzero"`
	MappingCache     units.Size      `yaml:"mapping_cache,omitzero"`
}

var victims = map[string]ftl.Victim{"": ftl.Greedy, "greedy": ftl.Greedy, "random-greedy": ftl.RandomGreedy, "fifo": ftl.FIFO}

var fills = map[string]ftl.Fill{"": ftl.Empty, "none": ftl.Empty, "sequential": ftl.Sequential, "random": ftl.Random}

// validate checks the words; the numbers are the model's to check.
func (f *Flash) validate() error {
	if f == nil {
		return nil
	}
	if _, ok := victims[f.Victim]; !ok {
		return conf.At("victim", "expected greedy, random-greedy or fifo, got %q", f.Victim)
	}
	if _, ok := fills[f.Precondition]; !ok {
		return conf.At("precondition", "expected none, sequential or random, got %q", f.Precondition)
	}
	if f.Allocation != "" && f.Allocation != "log" && f.Allocation != "static" {
		return conf.At("allocation", "expected log or static, got %q", f.Allocation)
	}
	return nil
}

func (f *Flash) config() *ssd.Flash {
	if f == nil {
		return nil
	}
	return &ssd.Flash{
		Channels: f.Channels, DiesPerChannel: f.DiesPerChannel, ChannelBandwidth: float64(f.ChannelBandwidth),
		Planes: f.Planes, Page: uint64(f.Page), OneShot: f.OneShot, PagesPerBlock: f.PagesPerBlock, MappingUnit: uint64(f.MappingUnit),
		Read: f.Read, Program: f.Program, Erase: f.Erase,
		SLC: uint64(f.SLC), SLCFold: f.SLCFold, SLCRead: f.SLCRead, SLCProgram: f.SLCProgram,
		CacheProgram: f.CacheProgram, SuspendProgram: f.SuspendProgram, SuspendErase: f.SuspendErase, Journal: f.Journal,
		OverProvisioning: f.OverProvisioning, Reserve: f.Reserve, Victim: victims[f.Victim], Choices: f.Choices,
		Fill: fills[f.Precondition], Depth: f.Depth,
		Static: f.Allocation == "static", Sectors: f.Sectors, ReadsUnwritten: f.ReadsUnwritten, MappingCache: uint64(f.MappingCache),
	}
}

// enoughBlocks is how many superblocks a smaller drive has at least, if a larger one
// has: with fewer the ones that are being written are a large part of the spare space.
const enoughBlocks = 256

// shrunk is the flash of a drive of size to, made from one of size from. It has the
// same dies, and so the same rates, and the same share of spare space. pSLC and what
// collection keeps free are smaller in proportion. Where there would be fewer
// superblocks than enoughBlocks, they have fewer pages, and are erased in a shorter
// time, so that erasing a byte takes what it took.
func (f *Flash) shrunk(from, to units.Size) *Flash {
	q := *f
	share := float64(to) / float64(from)
	before := float64(from) / float64(f.config().Superblock())
	if now := before * share; now < enoughBlocks && f.PagesPerBlock > f.OneShot {
		pages := float64(f.PagesPerBlock) * now / min(before, enoughBlocks)
		q.PagesPerBlock = max(int(pages)/f.OneShot, 1) * f.OneShot
		q.Erase = time.Duration(float64(f.Erase) * float64(q.PagesPerBlock) / float64(f.PagesPerBlock))
	}
	after := float64(to) / float64(q.config().Superblock())
	q.Reserve = max(2, int(float64(f.Reserve)*after/before+0.5))
	if f.SLC > 0 { // at least the two superblocks that it takes
		q.SLC = max(units.Size(float64(f.SLC)*share), units.Size(2*q.config().Superblock()/uint64(f.OneShot))+1)
	}
	return &q
}

// lines says what the dies are, in words.
func (f *Flash) lines() []string {
	c := f.config()
	lines := []string{fmt.Sprintf("%d on %d channels of %v; a read takes %s, a program of %v %v, an erase %v",
		f.Channels*f.DiesPerChannel, f.Channels, f.ChannelBandwidth, either(f.Read), units.Size(c.Row()), f.Program, f.Erase)}
	if f.SLC > 0 {
		full := "a full one is passed by"
		if f.SLCFold {
			full = "a full one is folded as the host writes"
		}
		lines = append(lines, fmt.Sprintf("pSLC for %v: a read takes %v, a program of %v %v; %s", f.SLC, f.SLCRead, f.row(), f.SLCProgram, full))
	}
	return append(lines, fmt.Sprintf("%.3g%% more room than the drive has, besides; it begins %s", 100*f.OverProvisioning, fillWords[f.Precondition]))
}

var fillWords = map[string]string{
	"": "empty", "none": "empty", "sequential": "filled once in order", "random": "in the steady state of random writes",
}

// either joins times with "or".
func either(times []time.Duration) string {
	text := ""
	for i, t := range times {
		if i > 0 {
			text += " or "
		}
		text += t.String()
	}
	return text
}

// row is what the host's data is programmed in.
func (f *Flash) row() units.Size {
	if f.SLC > 0 {
		return f.Page * units.Size(f.Planes)
	}
	return units.Size(f.config().Row())
}

// programs says how a promise begins: with programs of the host's data.
func (f *Flash) programs() string {
	program := f.Program
	if f.SLC > 0 {
		program = f.SLCProgram
	}
	return fmt.Sprintf("a program of %v for each %v", program, f.row())
}

// then says what follows on the programs: the mapping's, and the firmware's time.
func (f *Flash) then(base time.Duration) string {
	text := ""
	if f.Journal > 0 {
		text += fmt.Sprintf(", %v of mapping", f.Journal)
	}
	if base > 0 {
		text += fmt.Sprintf(", %v of firmware", base)
	}
	if text == "" {
		return ";" + showIndent
	}
	return "," + showIndent + "then" + text[1:] + "; "
}
