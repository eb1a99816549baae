package simtest

import (
	"errors"
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// Report is what a run has shown.
type Report struct {
	Device, Strategy string
	Skipped          string // why the device cannot carry out the strategy; else empty

	Requests   int
	Cuts       int
	Violations int // of promises at the wire, in all images of all cuts
	Shorn      int // atomic units that survived in part, in all images of all cuts
	Commits    int // that the application saw acknowledged as durable
	Lost       int // of these, in the worst image of all cuts

	Stalls   int    // cuts at which writes waited for room in the cache
	Flights  int    // cuts at which data was on its way to the medium
	Destaged uint64 // bytes that reached the medium and that no FLUSH covered
	// Digest folds the order of completions, their times and what was read.
	Digest uint64
	// Image is the medium at the end, after the last FLUSH and a cut.
	Image drive.Media
}

// Failure is a run that broke a rule.
type Failure struct {
	Seed  sim.Seed
	Setup string // what was drawn
	Flags string // what narrowed the draw, as flags of the test
	Err   error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d\n%s\nagain: go test ./internal/simtest -run TestSwarm -simtest.seed=%d%s\n%v", f.Seed, f.Setup, f.Seed, f.Flags, f.Err)
}

func (f *Failure) Unwrap() error { return f.Err }

// Run runs one world to its end. The error is a *Failure.
func Run(seed sim.Seed, o Options) (Report, error) {
	s, err := draw(seed, o)
	if err != nil {
		return Report{}, err
	}
	w, err := newWorld(s, seed, o)
	if errors.Is(err, layer.ErrUnsupported) {
		return Report{Device: s.device, Strategy: s.strategy.Name, Skipped: err.Error()}, nil
	}
	if err == nil {
		err = w.run()
	}
	if err != nil {
		return w.report, &Failure{seed, s.String(), o.flags(), err}
	}
	return w.report, nil
}

func (o *Options) flags() (text string) {
	if o.Strategy != "" {
		text += " -simtest.strategy=" + o.Strategy
	}
	if o.Device != "" {
		text += " -simtest.device=" + o.Device
	}
	if o.Direct {
		text += " -simtest.direct"
	}
	if o.Serial {
		text += " -simtest.serial"
	}
	return text
}

// world is one run.
type world struct {
	*setup
	seed  sim.Seed
	dice  dice // of the requests
	cuts  dice
	loop  *sim.Loop
	model catalog.Device
	drive inside // the model's, or nil
	top   devices.Device
	info  devices.Info // of top

	judge   *history.Judge
	ledger  *history.Ledger
	readers *readers

	slots    []slot
	sent     int
	open     int
	stamp    devices.Stamp
	txn      uint64
	unsealed []unsealed
	failed   error // the first
	report   Report
}

// inside is what a model with a drive inside shows of it.
type inside interface {
	Stalled() int
	Cache() *drive.Cache
}

func newWorld(s *setup, seed sim.Seed, o Options) (*world, error) {
	w := &world{setup: s, seed: seed, loop: sim.NewLoop()}
	w.dice, w.cuts = dice{stream: seed.Stream("requests")}, dice{stream: seed.Stream("cuts")}
	w.report = Report{Device: s.device, Strategy: s.strategy.Name}
	var err error
	if w.model, err = s.profile.Open(w.loop, catalog.Options{Mode: s.mode, Seed: seed}); err != nil {
		return w, err
	}
	w.drive, _ = w.model.(inside)
	if w.drive != nil && w.drive.Cache() == nil {
		w.drive = nil
	}
	var served devices.Device = w.model
	if o.Around != nil {
		served = o.Around(w.loop, w.model)
	}
	if s.perConn {
		served = newPerConnection(served, w.loop)
	}
	w.judge, w.ledger = history.NewJudge(served.Info()), history.NewLedger()
	if seed%2 == 0 && !s.perConn { // there a FLUSH leaves what other connections wrote
		w.judge.OrderByReads()
	}
	w.readers = newReaders(s.base, s.span+longSpan)
	w.slots = make([]slot, s.depth)
	for i := range w.slots {
		w.slots[i].w = w
	}
	if err := w.connect(served, o); err != nil {
		return w, err
	}
	w.info = w.top.Info()
	return w, nil
}

// connect puts the strategy's halves and the wire around the served device.
func (w *world) connect(served devices.Device, o Options) error {
	options := layer.Options{Loop: w.loop, Depth: w.serverDepth}
	served, err := w.strategy.Server(served, options)
	if err != nil {
		return err
	}
	sinks := []history.Sink{w.judge}
	if o.Sink != nil {
		sinks = append(sinks, o.Sink)
	}
	var client devices.Device = history.NewTap(served, w.loop, sinks...)
	if !o.Direct {
		one := func() *sim.Link { return sim.NewLink(w.link.latency, w.link.bandwidth) }
		client, _, err = nbd.ConnectAll(w.loop, &nbd.Export{Device: client}, w.connections, one(), one())
		if err != nil {
			return err
		}
	}
	w.top, err = w.strategy.Client(client, options)
	return err
}

// fail notes the first rule that was broken.
func (w *world) fail(format string, args ...any) {
	if w.failed == nil {
		w.failed = fmt.Errorf("at %v: %w", w.loop.Now(), fmt.Errorf(format, args...))
	}
}

// maxEvents bounds the events of a run, for each of its requests.
const maxEvents = 300

func (w *world) run() error {
	for i := range w.slots {
		w.slots[i].rest()
	}
	w.steps()
	if w.failed == nil && w.open > 0 {
		w.fail("%d requests were never completed", w.open)
	}
	w.finish()
	w.report.Requests = w.sent
	return w.failed
}

// steps runs the loop until nothing is pending and cuts the power now and then.
func (w *world) steps() {
	events, next := 0, w.cuts.intN(2*w.cutEvery)
	for w.failed == nil && w.loop.Step() {
		if events++; events > maxEvents*(w.requests+10) {
			w.fail("no end after %d events", events)
			return
		}
		if next--; next < 0 {
			next = w.cuts.intN(2 * w.cutEvery)
			w.cut()
		}
	}
}
