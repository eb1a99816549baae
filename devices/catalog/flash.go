package catalog

import (
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
	SuspendProgram   time.Duration   `yaml:"suspend_program"`
	SuspendErase     time.Duration   `yaml:"suspend_erase"`
	Journal          time.Duration   `yaml:"journal"`
	OverProvisioning float64         `yaml:"over_provisioning"`
	Reserve          int             `yaml:"reserve"`
	Victim           string          `yaml:"victim"` // greedy, random-greedy or fifo
	Choices          int             `yaml:"choices"`
	Precondition     string          `yaml:"precondition"` // none, sequential or random
	Depth            int             `yaml:"depth"`
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
		SuspendProgram: f.SuspendProgram, SuspendErase: f.SuspendErase, Journal: f.Journal,
		OverProvisioning: f.OverProvisioning, Reserve: f.Reserve, Victim: victims[f.Victim], Choices: f.Choices,
		Fill: fills[f.Precondition], Depth: f.Depth,
	}
}
