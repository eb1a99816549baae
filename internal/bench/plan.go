package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nbdbench/devices/catalog"
	"nbdbench/devices/layer"
	"nbdbench/internal/conf"
	"nbdbench/internal/input"
	"nbdbench/internal/stack"
	"nbdbench/internal/text"
	"nbdbench/internal/units"
	"nbdbench/nbd/kernel"
	"nbdbench/nbd/socket"
	"nbdbench/results"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// The bounds of a plan.
const (
	MaxCells       = 4096
	MaxRuns        = 1000
	MaxCuts        = 100_000
	MaxConnections = 1024
	MaxJobs        = 4096
	MaxDuration    = 30 * 24 * time.Hour // of a run, and of all of them
	MaxRest        = time.Hour           // before a run
)

// Plan is a benchmark. Its zero value is not one: see Default.
type Plan struct {
	Devices []string `yaml:"devices" json:"devices,omitempty"`
	// Size bounds how much of the host's storage is used, in bytes; 0 is all.
	Size units.Size `yaml:"size" json:"size_bytes,omitempty"`
	// Precondition is what is written to the host's storage first: PreconditionNone if empty.
	Precondition string `yaml:"precondition" json:"precondition,omitempty"`
	// Rest is how long a device rests before each run in real time; 0 is DefaultRest.
	Rest       time.Duration   `yaml:"rest" json:"rest_ns,omitempty"`
	Workloads  []workloads.Ref `yaml:"workloads" json:"-"`
	Strategies []string        `yaml:"strategies" json:"strategies"`
	Clock      string          `yaml:"clock" json:"clock"` // virtual or real
	Link       Link            `yaml:"link" json:"link"`
	// Hops are proxies between the client and the server, from the client on: Link is what
	// the last of them reaches the server by.
	Hops   []stack.Hop `yaml:"hops" json:"hops,omitempty"`
	Target string      `yaml:"target" json:"target,omitempty"` // an NBD URI, in place of devices
	// Nbdkit are nbdkit's arguments, and TargetCommand is a shell command: each, in
	// place of devices, starts the server that is driven, for each run.
	Nbdkit        string          `yaml:"nbdkit" json:"nbdkit,omitempty"`
	TargetCommand string          `yaml:"target_command" json:"target_command,omitempty"`
	TLS           socket.TLSFiles `yaml:"-" json:"-"`               // for a target of nbds://
	Via           string          `yaml:"via" json:"via,omitempty"` // ViaUserspace if empty, or ViaKernel
	QueueDepth    uint32          `yaml:"queue_depth" json:"queue_depth,omitempty"`
	Connections   uint32          `yaml:"connections" json:"connections"`
	Rate          units.Rate      `yaml:"rate" json:"rate,omitempty"`
	// Sweep makes a grid of each device and workload: a cell for each strategy and each
	// combination of the axes' values, which take the place of what the plan has else.
	Sweep Sweep `yaml:"sweep" json:"sweep,omitempty"`
	// FindMax searches the highest load of each strategy at which a bound such as
	// commit.p99<2ms holds, Over queue_depth or rate.
	FindMax string `yaml:"find_max" json:"find_max,omitempty"`
	Over    string `yaml:"over" json:"over,omitempty"`
	Arrival string `yaml:"arrival" json:"arrival,omitempty"`
	Commits uint64 `yaml:"commits" json:"commits,omitempty"`
	// Duration is how long commits may become due; Warmup comes before it.
	Duration time.Duration `yaml:"duration" json:"duration_ns,omitempty"`
	Warmup   Warmup        `yaml:"warmup" json:"warmup"`
	Runs     int           `yaml:"runs" json:"runs"`
	// MoreRuns allows further runs, only in real time, up to maxBlocks, where the
	// metric that decides is not yet known well enough.
	MoreRuns bool   `yaml:"-" json:"more_runs,omitempty"`
	Seed     uint64 `yaml:"seed" json:"seed"`
	Cuts     int    `yaml:"cuts" json:"cuts"` // power cuts a run; 0 is none
	// said is what a file says of the runs, of their length and of the strategies, which
	// a flag that sets the clock or the target leaves as it is.
	said struct{ runs, length, strategies bool } `yaml:"-" json:"-"`

	// Decide is the one metric that decides verdicts.
	Decide string `yaml:"decide" json:"decide"`
	// MaxTime bounds the whole run on the host's clock; 0 is no bound in virtual
	// time and DefaultMaxTime in real time.
	MaxTime    time.Duration `yaml:"max_time" json:"max_time_ns,omitempty"`
	Thresholds []string      `yaml:"thresholds" json:"thresholds,omitempty"`
	Raw        bool          `yaml:"raw" json:"raw,omitempty"` // keep every commit

	// Timeout bounds each reply of a target; 0 is DefaultTimeout, and FLUSH has ten
	// times as long. AllowErrors is the share of commits that may fail.
	Timeout     time.Duration `yaml:"timeout" json:"timeout_ns,omitempty"`
	AllowErrors float64       `yaml:"allow_errors" json:"allow_errors,omitempty"`
	// Sensitivity runs the plan again with other values of what its devices' profiles
	// call an estimate, in virtual time.
	Sensitivity bool `yaml:"sensitivity" json:"sensitivity,omitempty"`

	// Jobs is how many runs go on side by side; it changes no result.
	Jobs int `yaml:"jobs" json:"-"`

	// Streams are the loads of single streams, by their names, of the workloads that
	// have them.
	Streams map[string]workloads.Override `yaml:"-" json:"streams,omitempty"`

	// Loads is what Workloads comes to, for the document.
	Loads []PlanLoad `yaml:"-" json:"workloads"`

	kept provenance `yaml:"-" json:"-"`
}

// PlanLoad is a workload of a plan under the load that it was run with. Of a
// workload of several streams it has only the name: their loads are in its profile.
type PlanLoad struct {
	Name       string            `json:"name"`
	QueueDepth uint32            `json:"queue_depth"`
	Arrival    workloads.Arrival `json:"arrival"`
	Rate       units.Rate        `json:"rate,omitempty"`
	Think      units.Duration    `json:"think,omitempty"`
	On         units.Duration    `json:"on,omitempty"`
	Off        units.Duration    `json:"off,omitempty"`
}

// MaxVirtual bounds one run in virtual time where the plan has no duration: a
// plan that counts commits must not take forever on a slow device.
const MaxVirtual = 15 * time.Minute

// Default is the plan of a run without arguments.
func Default() Plan {
	return Plan{
		Devices:    []string{"nvme-990pro", "nvme-pm963", "hdd-7200"},
		Workloads:  []workloads.Ref{{Name: "sync-4k"}, {Name: "wal-noisy"}},
		Strategies: []string{"native", "emulate", "none", "none-unsafe"},
		Clock:      "virtual", Link: links["unix"], Connections: 1,
		Commits: 2000, Runs: 7, Seed: 1, Cuts: 50, Warmup: WarmupAuto, Decide: "commit.p99",
	}
}

// Load reads a plan file over the defaults.
func Load(file string) (Plan, error) {
	data, err := input.Read(file, conf.MaxBytes)
	if err != nil {
		return Plan{}, &conf.Error{File: file, Msg: fmt.Sprintf("expected a plan: %v", err)}
	}
	if err := conf.Recognise(file, data, "a plan", conf.Keys(Plan{})...); err != nil {
		return Plan{}, err
	}
	doc, err := conf.Parse(file, data)
	if err != nil {
		return Plan{}, err
	}
	p := Default()
	if err := doc.Decode(&p); err != nil {
		return Plan{}, err
	}
	// What the file says decides the defaults of what it does not say: those are
	// set first, and the file is read over them.
	said := p
	p = Default()
	if said.external() {
		p.useExternal()
	}
	if !said.external() && (said.externalPlugin() != "" || slices.ContainsFunc(said.Devices, stack.IsStorage)) {
		p.UseClock("real")
	}
	if doc.Has("via") {
		p.UseVia(said.Via)
	}
	if doc.Has("clock") {
		p.UseClock(said.Clock)
	}
	if doc.Has("duration") {
		p.UseDuration(said.Duration)
	}
	if doc.Has("commits") {
		p.UseCommits(said.Commits)
	}
	if doc.Has("runs") {
		p.MoreRuns = false
	}
	if err := doc.Decode(&p); err != nil {
		return Plan{}, err
	}
	p.said.runs, p.said.length = doc.Has("runs"), doc.Has("commits") || doc.Has("duration")
	p.said.strategies = doc.Has("strategies")
	if _, err := p.Cells(); err != nil {
		return Plan{}, doc.Locate(err)
	}
	return p, nil
}

// TargetStrategies are what is compared on a server that is not ours: what FUA
// costs there, however the server serves it, and what the client can do without.
func TargetStrategies() []string { return []string{"pass", "none", "none-unsafe"} }

// Validate checks the plan against itself; devices and workloads are opened by
// Cells.
func (p *Plan) Validate() error {
	switch {
	case len(p.Devices) == 0 && !p.external():
		return conf.At("devices", "expected at least one device, or a target")
	case len(p.Workloads) == 0:
		return conf.At("workloads", "expected at least one workload")
	case len(p.Strategies) == 0:
		return conf.At("strategies", "expected at least one strategy")
	case p.Clock != "virtual" && p.Clock != "real":
		return conf.At("clock", "expected virtual or real, got %q", p.Clock)
	case p.Via != "" && p.Via != ViaUserspace && p.Via != ViaKernel:
		return conf.At("via", "expected userspace or kernel, got %q", p.Via)
	case p.Via == ViaKernel && p.Clock == "virtual":
		return conf.At("clock", "expected real, got virtual: the kernel has a clock of its own")
	case p.Runs < 1 || p.Runs > MaxRuns:
		return conf.At("runs", "expected 1 to %d, got %d", MaxRuns, p.Runs)
	case p.Cuts < 0 || p.Cuts > MaxCuts:
		return conf.At("cuts", "expected 0 to %d, got %d", MaxCuts, p.Cuts)
	case p.Cuts > 0 && p.Clock == "real":
		return conf.At("cuts", "expected 0 in real time, where the power cannot be cut and restored, got %d", p.Cuts)
	case p.Commits == 0 && p.Duration == 0:
		return conf.At("commits", "expected a number of commits, or a duration")
	case p.Commits > workloads.MaxCommits:
		return conf.At("commits", "expected at most %d, got %d", uint64(workloads.MaxCommits), p.Commits)
	case p.Sensitivity && p.Clock == "real":
		return conf.At("sensitivity", "expected false in real time: the parameters are those of simulated devices")
	case !slices.Contains(results.DecideNames(), p.Decide):
		return conf.At("decide", "expected one of %s, got %q", strings.Join(results.DecideNames(), ", "), p.Decide)
	}
	if err := p.checkConnections(p.Connections); err != nil {
		return conf.Under("connections", err)
	}
	for _, check := range []func() error{p.validateHops, p.validateTarget, p.validateStorage, p.validateBounds, p.validateNames, p.validatePlugins, p.validateSweep, p.validateFindMax} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkConnections checks a number of connections.
func (p *Plan) checkConnections(n uint32) error {
	switch {
	case p.Via == ViaKernel && n > kernel.MaxConnections:
		return fmt.Errorf("expected at most %d through the kernel, got %d", kernel.MaxConnections, n)
	case n < 1 || n > MaxConnections:
		return fmt.Errorf("expected 1 to %d, got %d", MaxConnections, n)
	}
	return nil
}

// validateBounds checks what bounds the runs.
func (p *Plan) validateBounds() error {
	switch {
	case p.Duration < 0 || p.Duration > MaxDuration:
		return conf.At("duration", "expected at least 0 and at most %v, got %v", MaxDuration, p.Duration)
	case p.Warmup > Warmup(MaxWarmup):
		return conf.At("warmup", "expected at most %v, got %v", MaxWarmup, time.Duration(p.Warmup))
	case p.MaxTime < 0 || p.MaxTime > MaxDuration:
		return conf.At("max_time", "expected at least 0 and at most %v, got %v", MaxDuration, p.MaxTime)
	case p.Timeout < 0 || p.Timeout > stack.MaxTimeout:
		return conf.At("timeout", "expected more than 0 and at most %v, got %v", stack.MaxTimeout, p.Timeout)
	case !(p.AllowErrors >= 0 && p.AllowErrors <= 1):
		return conf.At("allow_errors", "expected a share from 0 to 1, got %v", p.AllowErrors)
	case p.Jobs < 0 || p.Jobs > MaxJobs:
		return conf.At("jobs", "expected 0, which is one for each core, to %d, got %d", MaxJobs, p.Jobs)
	}
	return nil
}

func isURI(s string) bool {
	_, err := socket.ParseURI(s)
	return err == nil
}

func (p *Plan) validateNames() error {
	for i, s := range p.Strategies {
		if _, ok := layer.Lookup(s); !ok {
			return conf.At(fmt.Sprintf("strategies[%d]", i), "expected one of %s, got %q%s", strings.Join(layer.Names(), ", "), s, text.DidYouMean(s, layer.Names()))
		}
	}
	for path, names := range map[string][]string{"devices": p.Devices, "strategies": p.Strategies} {
		seen := map[string]bool{}
		for i, n := range names {
			if seen[n] {
				return conf.At(fmt.Sprintf("%s[%d]", path, i), "expected each once, got %q again", n)
			}
			seen[n] = true
		}
	}
	switch workloads.Arrival(p.Arrival) {
	case "", workloads.ArrivalClosed, workloads.ArrivalConstant, workloads.ArrivalPoisson:
	default:
		return conf.At("arrival", "expected closed, constant or poisson, got %q", p.Arrival)
	}
	return nil
}

// Cell is one element of the matrix.
type Cell struct {
	ID       string
	Device   string           // name in the tables
	Profile  *catalog.Profile // nil for a target and for storage; of a plugin it has no more than a name
	Plugin   string           // its device name; empty for another device
	Storage  string           // the path of the host's storage; empty for others
	Workload workloads.Profile
	Name     string // the workload's name in the tables
	Strategy layer.Strategy

	At          results.At // in the sweep's grid
	Link        Link
	Connections uint32

	// Warmup comes before the window. Settled and NotSettled are for the document:
	// see results.CellConfig. The pilot run gave the rate of commits, 0 without one.
	Warmup     time.Duration
	Warmups    []time.Duration // of each phase where they differ, else nil; Warmup is the longest
	Settled    any
	NotSettled string
	rate       float64
}

// firstWarmup is that of the first phase.
func (c *Cell) firstWarmup() time.Duration {
	if len(c.Warmups) > 0 {
		return c.Warmups[0]
	}
	return c.Warmup
}

// Cells opens what the plan names and returns its matrix in order: device,
// workload, point of the sweep, strategy.
func (p *Plan) Cells() ([]Cell, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if p.Via == ViaUserspace {
		p.Via = "" // the default has one form in the document
	}
	profiles, err := p.profiles()
	if err != nil {
		return nil, err
	}
	loads, names, err := p.loads()
	if err != nil {
		return nil, err
	}
	p.Loads = make([]PlanLoad, len(loads))
	for i, w := range loads {
		p.Loads[i] = PlanLoad{Name: names[i]}
		if len(w.Streams) == 0 {
			p.Loads[i] = PlanLoad{names[i], max(w.QueueDepth, 1), cmp.Or(w.Arrival, workloads.ArrivalClosed), w.Rate, w.Think, w.On, w.Off}
		}
	}
	labels, loadLabels, err := p.remember(profiles, names)
	if err != nil {
		return nil, err
	}
	if err := p.expandParameters(profiles, loads); err != nil {
		return nil, err
	}
	grid, err := p.grid()
	if err != nil {
		return nil, err
	}
	if n := len(grid) * len(profiles) * len(loads) * len(p.Strategies); n > MaxCells {
		return nil, fmt.Errorf("the plan has %d cells: expected at most %d", n, MaxCells)
	}
	var cells []Cell
	for d, prof := range profiles {
		for i, w := range loads {
			for _, at := range grid {
				v, err := p.variantAt(at, prof, w)
				if err != nil {
					return nil, err
				}
				c := Cell{Device: labels[d], Name: loadLabels[i]}
				cells = append(cells, p.cellsAt(d, names[i], &v, c)...)
			}
		}
	}
	if _, err := p.parseThresholds(cells); err != nil {
		return nil, err
	}
	if err := p.fitMetrics(loads); err != nil {
		return nil, err
	}
	return cells, nil
}

// cellsAt are the cells of all strategies of device d under a workload at one point.
func (p *Plan) cellsAt(d int, load string, v *variant, c Cell) (cells []Cell) {
	device := p.idOf(d, v.profile)
	c.Storage = p.storageOf(d)
	if v.profile != nil && p.isPlugin(d) {
		c.Plugin = p.Devices[d]
	}
	c.Profile, c.Workload, c.At, c.Link, c.Connections = v.profile, v.workload, v.at, v.link, v.connections
	for _, s := range p.Strategies {
		c.Strategy, _ = layer.Lookup(s)
		c.ID = device + "/" + load + "/" + s + v.at.ID()
		cells = append(cells, c)
	}
	return cells
}

// isPlugin reports whether device d of the plan is a plugin.
func (p *Plan) isPlugin(d int) bool { return d < len(p.Devices) && stack.IsPlugin(p.Devices[d]) }

// profiles opens the plan's devices; a target is one nil profile.
func (p *Plan) profiles() ([]*catalog.Profile, error) {
	if p.external() {
		return []*catalog.Profile{nil}, nil
	}
	var out []*catalog.Profile
	seen := map[string]bool{}
	for i := range p.Devices {
		prof, err := p.openDevice(i)
		if err != nil {
			return nil, err
		}
		name := p.idOf(i, prof)
		if seen[name] {
			return nil, fmt.Errorf("devices: two are called %q: expected different names", name)
		}
		seen[name] = true
		out = append(out, prof)
	}
	return out, nil
}

// loads opens the plan's workloads. One that is there twice under different
// loads gets a name that says so.
func (p *Plan) loads() ([]workloads.Profile, []string, error) {
	var profiles []workloads.Profile
	var names []string
	seen := map[string]bool{}
	p.kept.bases = nil
	for i, ref := range p.Workloads {
		base, w, err := p.openWorkload(i)
		if err != nil {
			return nil, nil, err
		}
		p.kept.bases = append(p.kept.bases, base)
		w = w.With(p.first(workloads.Override{QueueDepth: p.QueueDepth, Arrival: workloads.Arrival(p.Arrival), Rate: p.Rate}))
		if err := w.Validate(); err != nil {
			return nil, nil, fmt.Errorf("workload %s: %w", ref.Name, err)
		}
		name := w.Name
		if seen[name] {
			name = fmt.Sprintf("%s@%d", w.Name, w.Depth())
		}
		if seen[name] {
			return nil, nil, fmt.Errorf("workloads: %q is there twice: expected different loads", name)
		}
		seen[name] = true
		profiles, names = append(profiles, w), append(names, name)
	}
	for name := range p.Streams {
		if !slices.ContainsFunc(profiles, func(w workloads.Profile) bool { return w.HasStream(name) }) {
			return nil, nil, fmt.Errorf("%s=: expected a stream of one of the workloads %s, got %q", name, strings.Join(names, ", "), name)
		}
	}
	return profiles, names, nil
}

// UseStream gives one stream of the plan's workloads another load.
func (p *Plan) UseStream(name string, o workloads.Override) {
	if p.Streams == nil {
		p.Streams = map[string]workloads.Override{}
	}
	all := p.Streams[name]
	if o.QueueDepth != 0 {
		all.QueueDepth = o.QueueDepth
	}
	if o.Rate != 0 {
		all.Rate = o.Rate
	}
	p.Streams[name] = all
}

// JSON is the plan as the run document holds it: all that the results depend on.
func (p *Plan) JSON() (json.RawMessage, error) {
	q := *p
	q.Target = withoutPassword(p.Target)
	return json.Marshal(&q)
}

// seedOf is the seed of run n: the same for every cell, so that what strategies
// and devices meet is the same.
func (p *Plan) seedOf(run int) sim.Seed { return sim.Seed(p.Seed).Sub("run", uint64(run)) }
