package crash

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/fault"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/devices/plugin"
	"nbdbench/devices/plugin/sh"
	"nbdbench/internal/conf"
	"nbdbench/internal/stack"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// The bounds of a configuration.
const (
	MaxCuts    = 100_000_000
	MaxCommits = 100_000 // of one run
	MaxCells   = 16384
	// MaxImages is up to how many images of one cut all are built.
	MaxImages = 1 << 16
	// cutsPerRun is how many cuts a run has before the next one, with another
	// seed, is begun.
	cutsPerRun = 64
)

// Config is one call of the checker. Its zero value is not one: see Default.
type Config struct {
	Devices    []string
	Workloads  []string
	Strategies []string
	// Cuts is how many each cell gets, over as many runs as it takes. A run that
	// has fewer events than it should have cuts is cut after each.
	Cuts    int
	Commits uint64 // of each run
	Seed    uint64 // run n has seed Seed+n
	// Exhaustive cuts once after every event of one run, and fails with
	// ErrTooMany where the images of a cut are too many to build them all.
	Exhaustive  bool
	Fault       fault.Plan
	QueueDepth  uint32 // 0 is the workload's own
	Connections uint32 // 0 is 1, and 3 for mixed-geometry
	// Hops are proxies between client and server, from the client on. They hold no data:
	// a power cut of the device ends all connections, and takes nothing else from them.
	Hops []stack.Hop

	// History, where set, is a file of a history, or of dm-log-writes, that is
	// replayed in place of workloads.
	History string
	// Invariant, where set, is that of the history: workloads.InvariantCommitRecord.
	Invariant string

	// ReadOrder has READs order concurrent writes: see history.Judge.OrderByReads.
	ReadOrder bool

	// Requests, where set, are those that reach the device, counted from 1 in the
	// order in which the application submits them.
	Requests []uint64
	// CutAt, where set, is the only cut: after that event.
	CutAt uint64
	Jobs  int // cells side by side; 0 is one for each core
}

// Default is the configuration of a call without flags.
func Default() Config {
	return Config{
		Devices: []string{"nvme-990pro", "nvme-pm963", "hdd-7200"}, Workloads: usual(),
		Strategies: []string{"native", "emulate", "none", "none-unsafe"},
		Cuts:       200, Commits: 24, Seed: 1,
	}
}

// Durable are the strategies that promise to lose nothing, but for pass, which
// is as the device is.
func Durable() (names []string) {
	for _, s := range layer.Strategies() {
		if s.Durable && s.Name != "pass" {
			names = append(names, s.Name)
		}
	}
	return names
}

// honest are the devices that come with the program, but for controls that do
// not keep what they promise.
func honest() (names []string) {
	for _, name := range catalog.List() {
		if p, err := catalog.Load(name); err != nil || p.Lies == (catalog.Lies{}) {
			names = append(names, name)
		}
	}
	return names
}

// all stands for every name there is; durable for the strategies that are.
const (
	all     = "all"
	durable = "durable"
)

// resolve replaces the names that stand for others.
func (c *Config) resolve() {
	if slices.Equal(c.Devices, []string{all}) {
		c.Devices = honest()
	}
	if slices.Equal(c.Workloads, []string{all}) {
		c.Workloads = workloads.List()
	}
	switch {
	case slices.Equal(c.Strategies, []string{all}):
		c.Strategies = nil
		for _, s := range layer.Strategies() {
			c.Strategies = append(c.Strategies, s.Name)
		}
	case slices.Equal(c.Strategies, []string{durable}):
		c.Strategies = Durable()
	}
}

// Validate checks the numbers; names are checked by Cells.
func (c *Config) Validate() error {
	switch {
	case len(c.Devices) == 0 || len(c.Workloads) == 0 || len(c.Strategies) == 0:
		return conf.At("", "expected at least one device, workload and strategy")
	case c.Cuts < 1 || c.Cuts > MaxCuts:
		return conf.At("cuts", "expected 1 to %d, got %d", MaxCuts, c.Cuts)
	case c.Commits < 1 || c.Commits > MaxCommits:
		return conf.At("commits", "expected 1 to %d, got %d", MaxCommits, c.Commits)
	case c.Connections > workloads.MaxConnections:
		return conf.At("connections", "expected 1 to %d, got %d", workloads.MaxConnections, c.Connections)
	}
	return stack.CheckHops(c.Hops)
}

// durable reports whether what a strategy acknowledges as durable, through the proxies
// and on a device that can do all, survives.
func (c *Config) durable(place layer.Strategy) bool {
	if len(c.Hops) == 0 {
		return place.Durable
	}
	path := stack.PathOf(devices.Info{Size: 1 << 20, CanFlush: true, FUA: devices.FUANative, MultiConn: true}, place, c.Hops)
	return path.Durable || path.Unsupported != ""
}

// SmallCache before a drive's name is the same drive with a cache so small that a few
// requests fill it: see catalog.Profile.WithSmallCache.
const SmallCache = "small-cache:"

// mixedGeometry is the workload that such a drive is for, and how many connections it
// has where nobody says.
const (
	mixedGeometry    = "mixed-geometry"
	mixedConnections = 3
	// twoUnits is a drive that has two destages in flight at a time.
	twoUnits = "nvme-970pro"
)

// variants are the drives with small caches that a call without workloads also tests.
func (c *Config) variants() (names []string) {
	if !slices.Equal(c.Workloads, usual()) {
		return nil
	}
	for _, name := range c.Devices {
		if p, err := c.profile(name); err == nil && p.Cache.Mode == "volatile" && !strings.HasPrefix(name, SmallCache) {
			names = append(names, SmallCache+name)
		}
	}
	if slices.Equal(c.Devices, Default().Devices) {
		names = append(names, SmallCache+twoUnits)
	}
	return names
}

// connections is how many connections a workload has.
func (c *Config) connections(workload string) uint32 {
	switch {
	case c.Connections != 0:
		return c.Connections
	case workload == mixedGeometry:
		return mixedConnections
	}
	return 1
}

// Cell is one element of the matrix.
type Cell struct {
	Device, Workload, Strategy string // as they were named

	Profile *catalog.Profile
	Load    workloads.Profile
	Place   layer.Strategy
	Config  *Config

	durable bool         // what is acknowledged as durable must survive
	history *history.Log // nil if a workload runs
	// Around wraps the device, above its faults: for tests.
	Around around
	// InHop, where set, puts a layer into a proxy: for tests.
	InHop func(loop *sim.Loop, hop int, d devices.Device) devices.Device
}

// ID names the cell.
func (c *Cell) ID() string { return c.Profile.Name + "/" + c.Load.Name + "/" + c.Strategy }

// Cells opens what the configuration names, in order: device, workload,
// strategy.
func (c *Config) Cells() ([]Cell, error) {
	c.resolve()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var log *history.Log
	if c.History != "" {
		var err error
		if log, err = LoadHistory(c.History); err != nil {
			return nil, err
		}
		c.Workloads = []string{c.History}
		c.Connections = uint32(min(max(len(connectionsOf(log)), 1), workloads.MaxConnections))
	}
	small := c.variants()
	var cells []Cell
	for i, d := range slices.Concat(c.Devices, small) {
		profile, err := c.profile(d)
		if err != nil {
			return nil, err
		}
		loads := c.Workloads
		if i >= len(c.Devices) {
			loads = []string{mixedGeometry}
		}
		for _, w := range loads {
			load := workloads.Profile{Name: filepath.Base(w)}
			if log == nil {
				if load, err = workloads.Open(w); err != nil {
					return nil, err
				}
			}
			if load = load.With(workloads.Override{QueueDepth: c.QueueDepth}); log == nil {
				if err := load.Validate(); err != nil {
					return nil, fmt.Errorf("workload %s: %w", w, err)
				}
			}
			for _, s := range c.Strategies {
				place, ok := layer.Lookup(s)
				if !ok {
					return nil, fmt.Errorf("strategy %q: expected one of %s", s, strings.Join(names(), ", "))
				}
				cells = append(cells, Cell{Device: d, Workload: w, Strategy: s, Profile: profile, Load: load, Place: place, Config: c, durable: c.durable(place), history: log})
			}
		}
	}
	if len(cells) > MaxCells {
		return nil, fmt.Errorf("%d cells: expected at most %d", len(cells), MaxCells)
	}
	return cells, nil
}

// profile is that of a device, or no more than the name of a plugin that can be cut.
func (c *Config) profile(device string) (*catalog.Profile, error) {
	switch {
	case sh.IsDevice(device):
		return nil, fmt.Errorf("device %s: expected a simulated device or a Go plugin, got a script, whose power cannot be cut", device)
	case strings.HasPrefix(device, SmallCache):
		p, err := catalog.Load(strings.TrimPrefix(device, SmallCache))
		if err != nil {
			return nil, err
		}
		if p, err = p.WithSmallCache(); err == nil {
			p.Name = SmallCache + p.Name
		}
		return p, err
	case !plugin.IsDevice(device):
		return catalog.Load(device)
	}
	if c.History != "" {
		return nil, fmt.Errorf("device %s: expected a simulated device, got a plugin: a history may have power cuts, after which a plugin does not go on", device)
	}
	d, err := plugin.OpenDrive(sim.NewLoop(), device)
	if err == nil && !d.CanCut() {
		err = fmt.Errorf("%s: the power of this plugin cannot be cut: it has no PowerCut", device)
	}
	return &catalog.Profile{Name: device}, err
}

func names() (out []string) {
	for _, s := range layer.Strategies() {
		out = append(out, s.Name)
	}
	return append(out, all, durable)
}

// The link between client and server: a Unix socket's.
const (
	latency   = 15 * time.Microsecond
	bandwidth = 4e9 // bytes a second
)

// MaxVirtual bounds a run's time: one of a device that answers too slowly.
const MaxVirtual = 15 * time.Minute

// usual are the workloads of a test that names none: one for each way to commit, and
// one for the ranges of requests.
func usual() []string {
	return []string{"btrfs-tree-log", "doublewrite", "ext4-journal", mixedGeometry, "overwrite", "sync-4k", "wal-noisy", "wal", "xfs-log"}
}
