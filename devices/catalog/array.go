package catalog

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/array"
	"nbdbench/devices/drive"
	"nbdbench/internal/conf"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

// Member is a device that an array is made of: a profile's name or the path of its file,
// from the file that names it, or a mapping of that and a seed.
type Member struct {
	Device string `yaml:"device"`
	// Seed is of the spread of the member's times, with that of the run; 0 is its
	// place among the members, from 1.
	Seed uint64 `yaml:"seed"`
	// Profile is the member's, where it is not to be looked up by name.
	Profile *Profile `yaml:"profile"`
}

// UnmarshalNode reads either spelling.
func (m *Member) UnmarshalNode(n conf.Node) error {
	switch n.Kind() {
	case conf.Scalar:
		return n.Decode(&m.Device)
	case conf.Mapping:
		type spelledOut Member
		return n.Decode((*spelledOut)(m))
	}
	return fmt.Errorf("expected a device's name, or a mapping with device and seed, got %v", n.Kind())
}

// LogGroup has the parameters of a pool with a log, array.Group.
type LogGroup struct {
	Ack      time.Duration `yaml:"ack"`
	Interval time.Duration `yaml:"interval"`
	Dirty    units.Size    `yaml:"dirty"`
}

// validate checks the section of a device of a kind.
func (g *LogGroup) validate(kind string) error {
	switch {
	case kind != "log" && g != nil:
		return conf.At("log", "expected none of a %s", kind)
	case kind != "log":
		return nil
	case g == nil:
		return conf.At("kind", "expected a section \"log\" with ack, interval and dirty")
	case g.Ack < 0 || g.Ack > time.Second:
		return conf.At("log.ack", "expected 0 to 1s, got %v", g.Ack)
	case g.Interval < time.Millisecond || g.Interval > time.Hour:
		return conf.At("log.interval", "expected 1ms to 1h, got %v", g.Interval)
	case g.Dirty < minCache:
		return conf.At("log.dirty", "expected at least %v, got %v", units.Size(minCache), g.Dirty)
	}
	return nil
}

// HasLog reports whether the device is a pool with a log, or has one among its members.
func (p *Profile) HasLog() bool {
	return p.Kind == "log" || slices.ContainsFunc(p.Members, func(m Member) bool { return m.Profile.HasLog() })
}

// HasMirror reports whether the device is a mirror, or has one among its members.
func (p *Profile) HasMirror() bool {
	return p.Kind == "mirror" || slices.ContainsFunc(p.Members, func(m Member) bool { return m.Profile.HasMirror() })
}

// The bounds of arrays in arrays.
const (
	maxNesting    = 3  // arrays within each other
	maxAllMembers = 64 // of an array and of those in it
)

var arrayKinds = map[string]array.Kind{"mirror": array.Mirror, "stripe": array.Stripe, "raid5": array.RAID5, "log": array.Log}

// IsArray reports whether the device is made of devices.
func (p *Profile) IsArray() bool {
	_, ok := arrayKinds[p.Kind]
	return ok
}

// place is where a profile is read: what limits those that it extends, and the arrays
// that it is in.
type place struct {
	extends int      // how many more may be extended
	arrays  []string // the files of the arrays that it is in
	members *int     // so far, of the outermost one
}

// loadMembers reads the profiles of p's members.
func (p *Profile) loadMembers(doc *conf.Doc, at place) error {
	if !p.IsArray() {
		if len(p.Members) > 0 {
			return doc.Errorf("members", "expected none of a device of kind %q: mirror, stripe, raid5 and log have some", p.Kind)
		}
		return nil
	}
	if n := len(p.Members); n > array.MaxMembers {
		return doc.Errorf("members", "expected at most %d members, got %d", array.MaxMembers, n)
	}
	if at.members == nil {
		at.members = new(int)
	}
	p.Members = slices.Clone(p.Members)
	for i := range p.Members {
		if err := p.Members[i].load(p.file, at); err != nil {
			return doc.Errorf(fmt.Sprintf("members[%d]", i), "%v", err)
		}
	}
	return nil
}

// load reads the profile of a member that an array in file has.
func (m *Member) load(file string, at place) error {
	if *at.members++; *at.members > maxAllMembers {
		return fmt.Errorf("expected at most %d members in all", maxAllMembers)
	}
	if m.Device == "" && m.Profile == nil {
		return fmt.Errorf("expected a device")
	}
	at.arrays = append(slices.Clone(at.arrays), filepath.Clean(file))
	if m.Profile != nil {
		return m.inline(file, at)
	}
	name := m.Device
	if IsPath(name) && !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(file), name)
	}
	switch {
	case slices.Contains(at.arrays, filepath.Clean(name)) || slices.Contains(at.arrays, name+".yaml"):
		return fmt.Errorf("expected no array that contains itself, got %s", m.Device)
	case len(at.arrays) > maxNesting:
		return fmt.Errorf("expected at most %d arrays within each other", maxNesting)
	}
	at.extends = maxExtends
	q, err := load(m.Device, filepath.Dir(file), at)
	m.Profile = q
	return err
}

// inline checks a profile that the array has in it, and reads those of its members.
func (m *Member) inline(file string, at place) error {
	q := m.Profile
	if len(at.arrays) > maxNesting {
		return fmt.Errorf("expected at most %d arrays within each other", maxNesting)
	}
	m.Device = q.Name
	for i := range q.Members {
		if err := q.Members[i].load(file, at); err != nil {
			return fmt.Errorf("members[%d]: %w", i, err)
		}
	}
	if err := q.derive(); err != nil {
		return err
	}
	return q.Validate()
}

// derive sets what follows from the members: size, blocks, cache and what is advertised.
// What the file says of these must be the same; only its size counts as it is.
func (p *Profile) derive() error {
	if !p.IsArray() {
		return nil
	}
	c := p.arrayConfig()
	if err := c.ValidateChunk(); err != nil {
		return conf.At("chunk", "%v", err)
	}
	if err := c.Validate(len(p.Members)); err != nil {
		return conf.At("members", "%v", err)
	}
	infos, sizes := p.memberInfos()
	if c.Size == 0 {
		c.Size = c.Capacity(sizes)
		p.Size = units.Size(c.Size)
	}
	i := c.InfoOf(infos)
	given := *p
	p.LogicalBlock, p.AtomicUnit, p.PreferredIO = units.Size(i.LogicalBlock), units.Size(i.AtomicUnit), units.Size(i.PreferredIO)
	p.Advertise = Advertise{Flush: i.CanFlush, FUA: i.FUA.String(), Trim: i.CanTrim, Zero: i.CanZero, Rotational: i.Rotational}
	p.Cache = Cache{Mode: i.Cache.String()}
	for _, x := range []struct {
		path            string
		given, want, no any
	}{
		{"logical_block", given.LogicalBlock, p.LogicalBlock, units.Size(0)},
		{"atomic_unit", given.AtomicUnit, p.AtomicUnit, units.Size(0)},
		{"preferred_io", given.PreferredIO, p.PreferredIO, units.Size(0)},
		{"advertise", given.Advertise, p.Advertise, Advertise{}},
		{"cache", given.Cache, p.Cache, Cache{}},
	} {
		if x.given != x.want && x.given != x.no {
			return conf.At(x.path, "expected none, or what follows from the members: %+v, got %+v", x.want, x.given)
		}
	}
	return nil
}

func (p *Profile) memberInfos() (infos []devices.Info, sizes []uint64) {
	for i := range p.Members {
		info := p.Members[i].Profile.Info()
		infos, sizes = append(infos, info), append(sizes, info.Size)
	}
	return infos, sizes
}

func (p *Profile) arrayConfig() array.Config {
	return array.Config{Kind: arrayKinds[p.Kind], Chunk: uint64(p.Chunk), Size: uint64(p.Size), FlushWork: p.FlushWork, Group: p.Log.config()}
}

func (g *LogGroup) config() array.Group {
	if g == nil {
		return array.Group{}
	}
	return array.Group{Ack: g.Ack, Interval: g.Interval, Dirty: uint64(g.Dirty)}
}

// validateArray checks an array of which the members are known.
func (p *Profile) validateArray() error {
	c := p.arrayConfig()
	if err := c.Validate(len(p.Members)); err != nil {
		return conf.At("members", "%v", err)
	}
	if (c.Kind == array.Mirror || c.Kind == array.Log) && p.Chunk != 0 {
		return conf.At("chunk", "expected none of a %s", p.Kind)
	}
	if err := p.Log.validate(p.Kind); err != nil {
		return err
	}
	if p.FlushWork < 0 || p.FlushWork > time.Second {
		return conf.At("flush_work", "expected 0 to 1s, got %v", p.FlushWork)
	}
	infos, _ := p.memberInfos()
	for i, info := range infos {
		if c.Chunk > 0 && uint64(info.LogicalBlock) > c.Chunk {
			return conf.At("chunk", "expected at least %d bytes, the logical block of member %d", info.LogicalBlock, i)
		}
		if p.Members[i].Profile.Lies != (Lies{}) && c.Kind == array.Log {
			return conf.At(fmt.Sprintf("members[%d]", i), "expected a device that keeps its promises beside a log")
		}
	}
	return nil
}

// sized is the profile of member i for the size that the array has.
func (p *Profile) sized(i int, c *array.Config) (*Profile, error) {
	m := p.Members[i].Profile
	_, sizes := p.memberInfos()
	if need := c.MemberSize(i, len(p.Members)); c.Size != c.Capacity(sizes) && need > 0 {
		return m.Resized(max(need, uint64(m.minSize())))
	}
	return m, nil
}

// openArray opens the members, and the array over them.
func (p *Profile) openArray(loop *sim.Loop, media drive.Media, o Options) (Device, error) {
	c := p.arrayConfig()
	kept := o.Media != nil && !o.empty
	c.Open = func(i int, m drive.Media) (array.Member, error) {
		q, err := p.sized(i, &c)
		if err != nil {
			return nil, err
		}
		seed := p.Members[i].Seed
		if seed == 0 {
			seed = uint64(i) + 1
		}
		return q.Open(loop, Options{Mode: m.Mode(), Seed: o.Seed.Sub("member", seed), Media: m, empty: !kept})
	}
	if c.Kind == array.Log {
		return array.NewPool(loop, c, media)
	}
	return array.New(loop, c, len(p.Members), media, kept)
}

// filledMembers are the members with all that their profiles stand for.
func (p *Profile) filledMembers() ([]Member, error) {
	var out []Member
	for _, m := range p.Members {
		q, err := m.Profile.resolved()
		if err != nil {
			return nil, err
		}
		out = append(out, Member{Device: q.Name, Seed: m.Seed, Profile: q})
	}
	return out, nil
}

// memberLines are the members, one a line.
func (p *Profile) memberLines() (out []string) {
	for i := range p.Members {
		m := p.Members[i].Profile
		line := fmt.Sprintf("%s, %v", m.Called(), m.Size)
		if p.Kind == "log" {
			line = []string{"log   ", "pool  "}[i] + line
		}
		out = append(out, line)
	}
	return out
}

// arrayText says what an array does on FLUSH, on FUA, and when the power goes.
func (p *Profile) arrayText() (flush, fua, power string) {
	flush = "goes to all members at once, and ends with the last one"
	if p.FlushWork > 0 {
		flush += fmt.Sprintf("; %v of the host", p.FlushWork)
	}
	power = "all members at one instant; "
	switch p.Kind {
	case "mirror":
		power += "then the first leg that is left answers"
	case "stripe":
		power += "each keeps what it alone would"
	case "log":
		flush = "what it covers goes to the log, a block at a time, and is flushed there"
		power += fmt.Sprintf("then the log is replayed over the pool, which gets what was written every %v", p.Log.Interval)
	case "raid5":
		power += "each keeps what it alone would. Without a journal a row that was" + showIndent +
			"being written has the wrong parity: what a member held there is lost if that member is"
	}
	if p.Kind == "log" {
		return flush, "as a FLUSH of all that was written before it", power
	}
	return flush, "goes to every member that the write goes to", power
}
