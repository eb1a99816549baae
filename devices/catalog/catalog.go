package catalog

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/empirical"
	"nbdbench/devices/hdd"
	"nbdbench/devices/ssd"
	"nbdbench/devices/volume"
	"nbdbench/internal/conf"
	"nbdbench/internal/input"
	"nbdbench/internal/text"
	"nbdbench/sim"
)

//go:embed profiles/*.yaml
var profiles embed.FS

// maxExtends is how long a chain of profiles that inherit may be.
const maxExtends = 8

// ErrUnknown is the error for a name that is no profile.
var ErrUnknown = errors.New("unknown device")

// Device is a simulated device: it serves, it counts, it shows its state, and its
// power can be cut.
type Device interface {
	devices.Device
	drive.Gauged
	Stats() devices.Stats
	// Cut returns what a power cut at this moment would leave, chosen by seed.
	Cut(seed sim.Seed) *drive.Cut
}

// List returns the embedded profiles' names, sorted.
func List() []string {
	files, err := fs.Glob(profiles, "profiles/*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
	}
	slices.Sort(files) // without their suffixes
	return files
}

// Load returns the profile of the given name, or of the file where name is a
// path (it has a slash or ends in .yaml). An error in a file is a *conf.Error.
func Load(name string) (*Profile, error) { return load(name, ".", place{extends: maxExtends}) }

func load(name, dir string, at place) (*Profile, error) {
	file, data, err := read(name, dir)
	if err != nil {
		return nil, err
	}
	return parse(file, data, at)
}

// Parse reads a profile from data; file is its name, for errors and for what it
// extends.
func Parse(file string, data []byte) (*Profile, error) {
	return parse(file, data, place{extends: maxExtends})
}

func parse(file string, data []byte, at place) (*Profile, error) {
	doc, err := conf.Parse(file, data)
	if err != nil {
		return nil, err
	}
	var p Profile
	if err := doc.Decode(&p); err != nil {
		return nil, err
	}
	if p.Extends != "" {
		if p, err = inherit(doc, p.Extends, filepath.Dir(file), at); err != nil {
			return nil, err
		}
	}
	p.file = file
	p.locate(doc, file)
	if err := p.loadMembers(doc, at); err != nil {
		return nil, err
	}
	if err := p.derive(); err != nil {
		return nil, doc.Locate(err)
	}
	if err := p.Validate(); err != nil {
		return nil, doc.Locate(err)
	}
	return &p, nil
}

// inherit decodes doc over the profile that it extends. The parent's sources
// stay, under those of the child, for what the child still has. What is known of
// the parent by measurement is not known of a child with another name.
func inherit(doc *conf.Doc, parent, dir string, at place) (Profile, error) {
	if at.extends == 0 {
		return Profile{}, doc.Errorf("extends", "expected a chain of at most %d profiles", maxExtends)
	}
	at.extends--
	base, err := load(parent, dir, at)
	if err != nil {
		return Profile{}, fmt.Errorf("%w (extended by %w)", err, doc.Errorf("extends", "%s", parent))
	}
	p := *base.clone()
	p.Sources, p.Fitted, p.Published, p.Ranges = nil, nil, nil, nil
	if p.SSD != nil && sharesServers(doc) {
		p.SSD.FUAPrograms, p.SSD.FUABatch, p.SSD.FUAHoldOff = 0, 0, 0
		if p.SSD.Flush != nil {
			p.SSD.Flush.Servers = 0
		}
	}
	if err := doc.Decode(&p); err != nil {
		return Profile{}, err
	}
	values := p.values()
	p.Sources = over(base.Sources, p.Sources, func(path string) bool { return values[path] != "" })
	if p.Name == base.Name {
		p.Fitted = over(base.Fitted, p.Fitted, func(path string) bool { return !doc.Has(path) })
		p.Published = append(slices.Clone(base.Published), p.Published...)
	}
	return p, nil
}

// sharesServers reports whether a profile gives servers alone, which then are those of
// FUA writes: programs that it inherits do not count. How FLUSHes are served is not
// affected.
func sharesServers(doc *conf.Doc) bool {
	for _, path := range []string{"ssd.flush_mode", "ssd.flush.servers", "ssd.fua_programs", "ssd.fua_batch", "ssd.fua_hold_off"} {
		if doc.Has(path) {
			return false
		}
	}
	return doc.Has("ssd.servers")
}

// over is what of the parent's is kept, under what is the child's.
func over(parent, child map[string]string, keep func(path string) bool) map[string]string {
	merged := map[string]string{}
	for path, text := range parent {
		if keep(path) {
			merged[path] = text
		}
	}
	maps.Copy(merged, child)
	return merged
}

// IsPath reports whether a device's name means a file.
func IsPath(name string) bool {
	return strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

func read(name, dir string) (file string, data []byte, err error) {
	if IsPath(name) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		data, err = input.Read(name, conf.MaxBytes)
		if err != nil {
			return name, nil, &conf.Error{File: name, Msg: fmt.Sprintf("expected a profile: %v", err)}
		}
		return name, data, conf.Recognise(name, data, "a profile", "name", "kind", "extends")
	}
	data, err = profiles.ReadFile("profiles/" + name + ".yaml")
	if err != nil {
		return name, nil, fmt.Errorf("%w %q%s: expected %s, or the path of a profile", ErrUnknown, name, text.DidYouMean(name, List()), strings.Join(List(), ", "))
	}
	return name + ".yaml", data, nil
}

// Options are what a device's opener decides.
type Options struct {
	Mode drive.Mode // how content is kept
	Size uint64     // bytes; 0 is the profile's own
	Seed sim.Seed   // of the spread of its times
	// Media, where set, is what is durable, in place of an empty medium of Mode.
	Media drive.Media

	empty bool // Media holds nothing yet
}

// Open makes the device of the profile on loop.
func (p *Profile) Open(loop *sim.Loop, o Options) (Device, error) {
	q, err := p.Resized(o.Size)
	if err != nil {
		return nil, err
	}
	media := o.Media
	if media == nil {
		media = drive.NewMedia(o.Mode)
	}
	switch q.Kind {
	case "ram":
		return drive.NewRAM(loop, q.Info(), media), nil
	case "cloud":
		return volume.NewCloud(loop, q.Cloud.config(), q.Info(), media, o.Seed), nil
	case "raid":
		return q.openRAID(loop, media, o)
	case "mirror", "stripe", "raid5", "log":
		return q.openArray(loop, media, o)
	}
	return q.openDrive(loop, media, o.Seed)
}

// openDrive makes the device of an hdd, ssd or empirical profile over media.
func (p *Profile) openDrive(loop *sim.Loop, media drive.Media, seed sim.Seed) (Device, error) {
	c := drive.Config{
		Info: p.Info(), Media: media,
		Capacity: uint64(p.Cache.Capacity), HighWater: uint64(p.Cache.HighWater), LowWater: uint64(p.Cache.LowWater),
		IdleDestage: p.Cache.IdleDestage, Lies: drive.Lies(p.Lies),
	}
	if p.Kind == "hdd" {
		return hdd.New(loop, p.hddConfig(), c), nil
	}
	if p.Kind == "empirical" {
		return empirical.New(loop, p.Empirical.config(), c, seed), nil
	}
	return ssd.New(loop, p.ssdConfig(), c, seed), nil
}

// Open loads the named profile and makes its device.
func Open(name string, loop *sim.Loop, o Options) (Device, error) {
	p, err := Load(name)
	if err != nil {
		return nil, err
	}
	return p.Open(loop, o)
}
