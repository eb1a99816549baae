package crash

import (
	"errors"
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/devices/fault"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/devices/plugin"
	"nbdbench/internal/stack"
	"nbdbench/nbd"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// around puts a layer on a device, for tests of the checker.
type around func(*sim.Loop, fault.Device) fault.Device

// scenario is one run of a cell: all that its history depends on.
type scenario struct {
	cell        *Cell
	seed        uint64
	commits     uint64
	queueDepth  uint32
	connections uint32
	requests    []uint64 // nil is all
}

// world is one run, wired.
type world struct {
	scenario
	loop   *sim.Loop
	model  fault.Device
	runner application
	info   devices.Info // of the model

	wire     *history.Judge // of what was promised at the wire
	expected *history.Legal // the same as sets, for reports
	contract *history.Legal // what the device's own contract leaves
	log      history.Log    // at the wire
	app      ledger
	steps    uint64 // events so far
	failed   error

	atDevice      *history.Tap
	atWire        *history.Tap
	device, wired socket // the devices behind the taps
	wires         []*nbd.Wire
	powered       *supply
	cuts          uint64 // that the history has
}

// socket is a Device in the place of which there may come another one.
type socket struct{ devices.Device }

// supply is a Device until its power is cut. What comes then goes nowhere.
type supply struct {
	devices.Device
	off bool
}

// Submit forwards r while there is power.
func (s *supply) Submit(r *devices.Request) {
	if !s.off {
		s.Device.Submit(r)
	}
}

// ledger is what stands above all layers.
type ledger struct {
	*history.Ledger
	load *workloads.Profile
	rule rule // nil where there is no invariant
	all  bool // the rule is of a history: it sees each request
	mask *mask
	acks []ack
}

// firstLost is the first sector of which an image has lost what a transaction
// wrote.
func (l *ledger) firstLost(txn uint64, read image) (sector uint64) {
	found := false
	l.Written(func(off, end uint64) {
		for s := off / devices.Sector; s < end/devices.Sector && !found; s++ {
			one := func(visit func(off, end uint64)) { visit(s*devices.Sector, (s+1)*devices.Sector) }
			if loss := l.Lost(one, read); loss.Commits > 0 && loss.OldestTxn == txn {
				sector, found = s, true
			}
		}
	})
	return sector
}

// ack is a commit that the application saw acknowledged.
type ack struct {
	at  sim.Time
	txn uint64
	err devices.Errno
}

// Submit takes down a request that reaches the stack.
func (l *ledger) Submit(r *devices.Request) {
	if !l.mask.next(r) {
		return
	}
	l.Ledger.Submit(r)
	if l.rule != nil && (l.all || r.Stream == workloads.StreamCommit) {
		l.rule.submit(r)
	}
}

// Group takes down what a request holds of several transactions.
func (l *ledger) Group(r *devices.Request, records []devices.Record) {
	if !l.mask.away[r] {
		l.Ledger.Records(r, records)
	}
}

// Op takes down its end.
func (l *ledger) Op(r *devices.Request) {
	if l.mask.masked(r) {
		return
	}
	l.Ledger.Op(r)
	if l.rule != nil && (l.all || r.Stream == workloads.StreamCommit) {
		l.rule.done(r)
	}
}

// Commit records what the application saw acknowledged of a commit.
func (l *ledger) Commit(c *devices.Commit) {
	if len(l.load.Transaction)+len(l.load.Streams) > 0 && !l.load.IsCommit(c.Stream) {
		return // a history has no workload, and commits alone
	}
	l.Ledger.Commit(c)
	l.acks = append(l.acks, ack{c.Acked, c.Txn, c.Errno})
	if l.rule != nil && c.Errno == devices.OK {
		l.rule.commit(c)
	}
}

// newWorld wires a run. The error is a *layer.Unsupported if the device cannot
// carry out the strategy or the workload.
func newWorld(s scenario) (*world, error) {
	w := &world{scenario: s, loop: sim.NewLoop()}
	if err := w.open(nil, sim.Seed(s.seed)); err != nil {
		return nil, err
	}
	top, err := w.connect()
	if err != nil {
		return nil, err
	}
	if err := stack.CanRun(&s.cell.Load, top.Info()); err != nil {
		return nil, err
	}
	return w, w.start(top)
}

// connect puts server, wire and client on the model, and the judges between them.
func (w *world) connect() (top devices.Device, err error) {
	if w.atDevice == nil {
		w.info = w.model.Info()
		w.contract = history.NewLegal(w.info)
		if w.cell.Config.ReadOrder {
			w.contract.OrderByReads()
		}
		w.atDevice = history.NewTap(&w.device, w.loop, w.contract)
	}
	w.device.Device = w.model
	w.powered = &supply{Device: w.atDevice}
	config := stack.Config{
		Loop: w.loop, Strategy: w.cell.Place, Hops: stack.Proxies(w.cell.Config.Hops), InHop: w.inHop, Served: w.judged, Connections: int(w.connections),
		Up: sim.NewLink(latency, bandwidth), Down: sim.NewLink(latency, bandwidth),
	}
	if w.judgedAtTop() {
		config.Served = nil
	}
	s, err := stack.Connect(w.powered, config)
	if err != nil {
		return nil, err
	}
	w.wires = s.Wires
	if w.judgedAtTop() {
		return w.judged(s.Top), nil
	}
	return s.Top, nil
}

// judgedAtTop reports whether the promises are those that the client half gives: of a
// history under a strategy that drops FLUSH or FUA, by what the history itself asked for.
func (w *world) judgedAtTop() bool { return w.cell.history != nil && !w.cell.durable }

// inHop puts a test's layer into a proxy.
func (w *world) inHop(hop int, d devices.Device) devices.Device {
	if w.cell.InHop == nil {
		return d
	}
	return w.cell.InHop(w.loop, hop, d)
}

// judged puts the judges of the wire on what the server serves. They stay the same
// when the power returns.
func (w *world) judged(served devices.Device) devices.Device {
	w.wired.Device = served
	if w.atWire == nil {
		advertised := w.wired.Info()
		w.wire = history.NewJudge(advertised)
		advertised.Cache = devices.CacheVolatile // the wire promises only by FLUSH and FUA
		w.expected = history.NewLegal(advertised)
		if w.cell.Config.ReadOrder {
			w.wire.OrderByReads()
			w.expected.OrderByReads()
		}
		w.atWire = history.NewTap(&w.wired, w.loop, w.wire, w.expected, &w.log)
	}
	return w.atWire
}

// restart cuts the power, as the history has it, and gives it back: with another
// drive on what is left, and new connections.
func (w *world) restart() {
	w.cuts++
	seed := sim.Seed(w.seed).Sub("history cut", w.cuts)
	left := w.model.Cut(seed).Media()
	if r, ok := w.app.rule.(*logRecords); ok {
		r.powerCut()
	}
	w.atDevice.Cut()
	w.atWire.Cut()
	w.powered.off = true
	for _, wire := range w.wires {
		wire.Cut()
	}
	err := w.open(left, seed)
	if err == nil {
		w.app.mask.Device, err = w.connect()
	}
	w.failed = errors.Join(w.failed, err)
}

// open makes the device with its faults, on a medium or on an empty one.
func (w *world) open(media drive.Media, seed sim.Seed) error {
	profile := w.cell.Profile
	plan := w.cell.Config.Fault
	if plan.Has(fault.NoCapacitor) {
		if plugin.IsDevice(w.cell.Device) {
			return &layer.Unsupported{Reason: "a plugin has no capacitor"}
		}
		var err error
		if profile, err = profile.WithoutCapacitor(); err != nil {
			return &layer.Unsupported{Reason: err.Error()}
		}
	}
	model, err := w.drive(profile, catalog.Options{Seed: seed, Media: media})
	if err != nil {
		return err
	}
	if w.model, err = plan.Wrap(w.loop, model, seed.Sub("fault", 0)); err != nil {
		return &layer.Unsupported{Reason: err.Error()}
	}
	if w.cell.Around != nil {
		w.model = w.cell.Around(w.loop, w.model)
	}
	return nil
}

// drive is the device without faults: a plugin, or what the profile describes.
func (w *world) drive(p *catalog.Profile, o catalog.Options) (fault.Device, error) {
	if plugin.IsDevice(w.cell.Device) {
		return plugin.OpenDrive(w.loop, w.cell.Device)
	}
	return p.Open(w.loop, o)
}

// start puts the application on top.
func (w *world) start(top devices.Device) error {
	c := w.cell
	w.app = ledger{Ledger: history.NewLedger(), load: &c.Load, rule: newRule(&c.Load), mask: newMask(w.loop, top, w.requests)}
	if c.history != nil {
		if err := fits(c.history, top.Info()); err != nil {
			return &layer.Unsupported{Reason: err.Error()}
		}
		if c.Config.Invariant != "" {
			w.app.rule, w.app.all = &logRecords{notes: newNotes(), covers: map[int][]int{}}, true
		}
		r := newReplayer(w.loop, w.app.mask, &w.app, c.history, w.restart)
		w.runner = r
		w.loop.After(&r.timer, 0, r)
		return nil
	}
	load := c.Load.With(workloads.Override{QueueDepth: w.queueDepth})
	if !top.Info().CanTrim { // nobody trims there, and a trim promises nothing
		load = load.WithoutTrims()
	}
	runner, err := workloads.NewRunner(w.loop, w.app.mask, workloads.Config{
		Profile: load, Connections: w.connections, Seed: sim.Seed(w.seed), Commits: w.commits, Duration: MaxVirtual, Observer: &w.app,
	})
	if err != nil {
		return err
	}
	w.runner = runner
	runner.Start()
	return nil
}

// The bounds of a run, in events: of all of it, and of what goes on after its
// last commit, as a drive destages.
const (
	maxEvents = 1 << 26
	maxAfter  = 1 << 10
)

// ErrEndless is a run without an end.
var ErrEndless = errors.New("the run does not end")

// run runs the world and calls after with the number of each event, until it
// reports false.
func (w *world) run(after func(step uint64) bool) error {
	rest := 0
	for w.loop.Step() {
		if w.steps++; w.steps > maxEvents {
			return fmt.Errorf("%w: %d events", ErrEndless, w.steps)
		}
		if !after(w.steps) {
			return nil
		}
		if w.runner.Finished() {
			if rest++; rest > maxAfter {
				return nil
			}
		}
	}
	return nil
}
