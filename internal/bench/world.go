package bench

import (
	"fmt"
	"slices"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/nbd"
	"nbdbench/results"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// world is one run in virtual time, wired.
type world struct {
	loop     *sim.Loop
	model    catalog.Device
	runner   *workloads.Runner
	recorder *results.Recorder
	cutter   *cutter // nil without power cuts
	export   nbd.ExportInfo
	clients  nbd.Multi

	before devices.Stats // of the model, when the window began
	window sim.Timer
}

// newWorld wires cell for the run with this seed; sinks are told of what passes
// at the wire. The error is a *layer.Unsupported if the device cannot carry out
// the strategy.
func newWorld(p *Plan, c *Cell, seed sim.Seed, sinks ...history.Sink) (*world, error) {
	w := &world{loop: sim.NewLoop()}
	var err error
	if w.model, err = c.Profile.Open(w.loop, catalog.Options{Seed: seed}); err != nil {
		return nil, err
	}
	options := layer.Options{Loop: w.loop}
	served, err := c.Strategy.Server(w.model, options)
	if err != nil {
		return nil, err
	}
	if p.Cuts > 0 {
		w.cutter = newCutter(w, p, &c.Workload, seed)
		sinks = append(sinks, w.cutter.wire)
	}
	if len(sinks) > 0 {
		served = history.NewTap(served, w.loop, sinks...)
	}
	client, wires, err := nbd.ConnectAll(w.loop, &nbd.Export{Device: served}, int(p.Connections), p.Link.one(), p.Link.one())
	if err != nil {
		return nil, err
	}
	w.export, w.clients = wires[0].Client.Export(), client
	w.recorder = results.NewRecorder(results.RecorderConfig{Start: sim.Time(p.Warmup)})
	top, err := c.Strategy.Client(newObserve(client, w.loop, w.recorder), options)
	if err != nil {
		return nil, err
	}
	if err := asksTooMuch(&c.Workload, top.Info()); err != nil {
		return nil, err
	}
	w.runner, err = workloads.NewRunner(w.loop, top, runnerConfig(p, c, seed, w.observers()))
	return w, err
}

// asksTooMuch says, as a *layer.Unsupported, what the workload asks for that the
// client's device cannot do: under pass nothing stands in for FUA.
func asksTooMuch(w *workloads.Profile, client devices.Info) error {
	for _, s := range slices.Concat(w.Transaction, w.Between) {
		switch {
		case s.Durable && client.FUA == devices.FUANone:
			return &layer.Unsupported{Reason: "the export does not advertise FUA"}
		case s.Op == workloads.ActionFlush && !client.CanFlush:
			return &layer.Unsupported{Reason: "the export does not advertise FLUSH"}
		}
	}
	return nil
}

func (w *world) observers() workloads.Observer {
	if w.cutter == nil {
		return commitsOnly{w.recorder}
	}
	return workloads.Observers{commitsOnly{w.recorder}, w.cutter}
}

func runnerConfig(p *Plan, c *Cell, seed sim.Seed, o workloads.Observer) workloads.Config {
	duration := p.Duration
	if duration == 0 && p.Clock == "virtual" {
		duration = MaxVirtual
	}
	return workloads.Config{
		Profile: c.Workload, Connections: p.Connections, Seed: seed,
		Commits: p.Commits, Duration: duration, Warmup: p.Warmup, Observer: o,
	}
}

// commitsOnly passes a runner's commits to a recorder, which gets its requests
// from the wire.
type commitsOnly struct{ r *results.Recorder }

func (commitsOnly) Submit(*devices.Request)    {}
func (commitsOnly) Op(*devices.Request)        {}
func (c commitsOnly) Commit(k *devices.Commit) { c.r.Commit(k) }

// interruptEvery is how many events a run goes on before it looks whether it
// has been stopped.
const interruptEvery = 1 << 14

// run runs the world to its end, or until stop reports true.
func (w *world) run(stop func() bool) (partial bool) {
	w.loop.After(&w.window, sim.Duration(0), windowOpens{w})
	w.runner.Start()
	for n := 1; !w.runner.Finished() && w.loop.Step(); n++ {
		if n%interruptEvery == 0 && stop() {
			return true
		}
	}
	return false
}

// windowOpens notes the model's counters when the warm-up is over.
type windowOpens struct{ w *world }

func (o windowOpens) Fire(*sim.Timer) { o.w.before = o.w.model.Stats() }

// result is what the run showed.
func (w *world) result(seed sim.Seed, warmup sim.Duration, partial bool) (*results.RunResult, error) {
	if err := w.runner.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	elapsed := w.loop.Now().Sub(sim.Time(warmup))
	r := w.recorder.Result(seed, max(elapsed, 0))
	stats := w.model.Stats().Sub(w.before)
	r.Device, r.Partial = &stats, partial
	if w.cutter != nil {
		d := w.cutter.durability
		r.Durability = &d
	}
	return r, nil
}
