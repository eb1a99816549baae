package bench

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"nbdbench/devices/catalog"
	"nbdbench/devices/host"
	"nbdbench/internal/conf"
	"nbdbench/internal/stack"
	"nbdbench/results"
)

// opened is the host's storage that a plan is run on.
type opened struct {
	storage  *host.Storage
	extents  host.Extents // of a file
	warnings []string

	before host.Health
	after  *host.Health // once the runs are over
}

// healthAfter asks the drive for its health after the runs, once.
func (x *opened) healthAfter() host.Health {
	if x.after == nil {
		x.after = new(x.storage.Health())
		if why := x.after.Throttled(x.before); why != "" {
			x.warnings = append(x.warnings, "the drive may have throttled itself: "+why)
		}
	}
	return *x.after
}

// healthDocument is a reading as the document has it; nil if the drive says nothing.
func healthDocument(h host.Health) *results.Health {
	if h.Celsius == nil && h.NVMe == nil {
		return nil
	}
	out := &results.Health{Celsius: h.Celsius}
	if n := h.NVMe; n != nil {
		out.SMART = &results.SMART{
			Critical: int(n.Critical), Spare: int(n.Spare), Used: int(n.Used), Written: n.Written * 512_000, MediaErrors: n.MediaErrors,
			UnsafeShutdowns: n.UnsafeShutdowns, Warm: time.Duration(n.WarmMinutes) * time.Minute, Hot: time.Duration(n.HotMinutes) * time.Minute,
			Throttles: n.Throttles, ThrottledFor: time.Duration(n.ThrottledFor) * time.Second,
		}
	}
	return out
}

// storageOf is the path of device i if that is the host's storage, else empty.
func (p *Plan) storageOf(i int) string {
	if p.external() || !stack.IsStorage(p.Devices[i]) {
		return ""
	}
	return p.Devices[i]
}

// idOf is what device i is called in the ids of cells.
func (p *Plan) idOf(i int, prof *catalog.Profile) string {
	if prof != nil {
		return prof.Name
	}
	if path := p.storageOf(i); path != "" {
		if whole, err := filepath.Abs(path); err == nil {
			return filepath.Base(whole)
		}
		return filepath.Base(path)
	}
	return p.targetID()
}

// hasModels reports whether any device is a profile.
func (p *Plan) hasModels() bool {
	if p.external() {
		return false
	}
	for i := range p.Devices {
		if p.storageOf(i) == "" {
			return true
		}
	}
	return false
}

// validateStorage checks what is said of the host's storage.
func (p *Plan) validateStorage() error {
	found := false
	if !p.external() {
		for i := range p.Devices {
			if path := p.storageOf(i); path != "" && p.Clock != "real" {
				return conf.At("clock", "expected real for %s, got %s", path, p.Clock)
			} else if path != "" {
				found = true
			}
		}
	}
	if err := p.validatePrecondition(found); err != nil {
		return err
	}
	if p.Size > 0 && !found {
		return conf.At("size", "expected a block device, a file or a directory among the devices: a profile has its own size")
	}
	return nil
}

// config is how the plan opens storage: what is measured is the disk and not the page
// cache.
func (p *Plan) config() host.Config { return host.Config{Direct: true, Size: uint64(p.Size)} }

// Overwrites is what of the host a run of a plan overwrites.
type Overwrites struct {
	What  []string // each as host.Storage.Describe has it
	Block bool     // a block device is among them
}

// Overwrites opens and closes the plan's storage to say what a run overwrites. Scratch
// files are not there yet.
func (p *Plan) Overwrites() (o Overwrites, err error) {
	for i := range p.Devices {
		path := p.storageOf(i)
		if path == "" {
			continue
		}
		s, err := host.Open(path, p.config())
		if err != nil {
			return o, err
		}
		if s.Kind() != host.Scratch {
			o.What = append(o.What, s.Describe())
		}
		o.Block = o.Block || s.Kind() == host.Block
		if err := s.Close(); err != nil {
			return o, err
		}
	}
	return o, nil
}

// openStorages opens and claims the plan's storage, and fills its files.
func (p *Plan) openStorages() error {
	p.kept.storages = map[string]*opened{}
	for i := range p.Devices {
		path := p.storageOf(i)
		if path == "" {
			continue
		}
		s, err := host.Open(path, p.config())
		if err != nil {
			return err
		}
		x := &opened{storage: s}
		p.kept.storages[path] = x
		if x.extents, err = s.Fill(); err != nil {
			return err
		}
		x.warn()
		x.before = s.Health()
	}
	return nil
}

// warn notes why durable writes of a file cost more than the drive's.
func (x *opened) warn() {
	d := x.storage.Disk()
	say := func(format string, args ...any) { x.warnings = append(x.warnings, fmt.Sprintf(format, args...)) }
	switch {
	case x.storage.Kind() == host.Block:
	case d.FileSystem == "btrfs":
		say("btrfs writes each block to a new place, and a durable write commits its log: this is the file system's cost, not the drive's alone")
	case !x.extents.Known:
		say("%s has no FIEMAP: it is not known whether durable writes change its metadata", d.FileSystem)
	case x.extents.Shared:
		say("the file shares extents with another one: each first write is copied to a new place")
	}
	if x.storage.Kind() != host.Block && d.Name == "" {
		say("there is no disk under this file system: what is measured is memory, or a network")
	}
}

// closeStorages gives the plan's storage up.
func (p *Plan) closeStorages() error {
	var errs []error
	for i := range p.Devices {
		if x := p.kept.storages[p.Devices[i]]; x != nil {
			errs = append(errs, x.storage.Close())
			delete(p.kept.storages, p.Devices[i])
		}
	}
	return errors.Join(errs...)
}

// storageWho says who makes a write durable where the strategy leaves it to the device.
func (p *Plan) storageWho(c *Cell) string {
	x := p.kept.storages[c.Storage]
	if x == nil || c.Strategy.Name != "native" && c.Strategy.Name != "force" && c.Strategy.Name != "pass" {
		return ""
	}
	switch d := x.storage.Disk(); {
	case d.FileSystem == "btrfs" || d.Name == "":
		return "file system: " + d.FileSystem
	case !d.WriteCache:
		return "kernel: write, no cache to flush"
	case !d.FUA:
		return results.WithoutFUA
	}
	return ""
}

// describeStorage adds to a cell what is known of its storage.
func (p *Plan) describeStorage(c *Cell, cell *results.Cell) {
	x := p.kept.storages[c.Storage]
	if x == nil {
		return
	}
	x.healthAfter()
	for _, w := range x.warnings {
		cell.Warn("%s", w)
	}
}

// storageDocument is the storage as the document has it; nil where there is none.
func (p *Plan) storageDocument() map[string]*results.Storage {
	if len(p.kept.storages) == 0 {
		return nil
	}
	out := map[string]*results.Storage{}
	for i := range p.Devices {
		if x := p.kept.storages[p.Devices[i]]; x != nil {
			d := x.storage.Disk()
			after := x.healthAfter()
			out[p.idOf(i, nil)] = &results.Storage{
				Path: x.storage.Path(), Kind: x.storage.Kind().String(), Size: x.storage.Size(),
				Disk: d.Name, Model: d.Model, FileSystem: d.FileSystem, WriteCache: d.WriteCache, FUA: d.FUA,
				Before: healthDocument(x.before), After: healthDocument(after),
			}
		}
	}
	return out
}
