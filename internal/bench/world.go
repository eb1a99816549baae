package bench

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/history"
	"nbdbench/devices/plugin"
	"nbdbench/internal/stack"
	"nbdbench/nbd"
	"nbdbench/results"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// world is one run in virtual time, wired.
type world struct {
	loop     *sim.Loop
	model    catalog.Device
	drive    *plugin.Drive // the model if it is a plugin, else nil
	runner   *workloads.Runner
	recorder *results.Recorder
	cutter   *cutter // nil without power cuts
	export   nbd.ExportInfo
	clients  nbd.Multi

	window window
}

// window is the one window in which everything counts: latencies, requests, the
// device's counters, power cuts. Each phase of a workload has one.
type window struct {
	from, end     sim.Time
	opened        bool
	closed        bool
	opens, closes sim.Timer
	before, after counters // of the model, at both ends

	length  sim.Duration // of earlier phases' windows
	earlier counters     // in them
}

// next makes it the window of the next phase, which begins at an instant.
func (w *window) next(from sim.Time) {
	length, earlier := w.all()
	*w = window{from: from, length: length, earlier: earlier}
}

// all is the length of all windows so far, and what the model counted in them.
func (w *window) all() (sim.Duration, counters) {
	c := counters{stats: w.after.stats.Sub(w.before.stats), calls: w.earlier.calls.plus(w.after.calls, w.before.calls)}
	c.stats.Add(w.earlier.stats)
	return w.length + max(w.end.Sub(w.from), 0), c
}

// counters are what a model has counted.
type counters struct {
	stats devices.Stats
	calls callCounts // of a plugin
}

func (w *world) counters() counters {
	c := counters{stats: w.model.Stats()}
	if w.drive != nil {
		c.calls = w.drive.Calls()
	}
	return c
}

// close ends the run's use of its device.
func (w *world) close() {
	if w.drive != nil {
		w.drive.Close()
	}
}

// newWorld wires cell for the run with this seed; sinks receive what passes
// at the wire. The error is a *layer.Unsupported if the device cannot carry out
// the strategy.
func newWorld(p *Plan, c *Cell, seed sim.Seed, sinks ...history.Sink) (_ *world, err error) {
	w := &world{loop: sim.NewLoop()}
	if w.model, w.drive, err = c.openModel(p, w.loop, seed); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if p.Cuts > 0 && c.Workload.HasCommits() && (w.drive == nil || w.drive.CanCut()) {
		w.cutter = newCutter(w, p, c, seed)
		sinks = append(sinks, w.cutter.wire)
	}
	w.window.from = sim.Time(c.firstWarmup())
	w.recorder = results.NewRecorder(recorderConfig(p, c, w.window.from))
	s, err := stack.Connect(w.model, stack.Config{
		Loop: w.loop, Strategy: c.Strategy, Hops: stack.Proxies(p.Hops), Connections: int(c.Connections), Up: c.Link.One(), Down: c.Link.One(),
		Served: func(d devices.Device) devices.Device {
			if len(sinks) == 0 {
				return d
			}
			return history.NewTap(d, w.loop, sinks...)
		},
		OnWire: func(d devices.Device) devices.Device { return newObserve(d, w.loop, w.recorder) },
	})
	if err != nil {
		return nil, err
	}
	w.export, w.clients = s.Wires[0].Client.Export(), s.Client
	if err := stack.CanRun(&c.Workload, s.Top.Info()); err != nil {
		return nil, err
	}
	config := runnerConfig(p, c, seed, w.observers())
	config.Ends, config.Phase = w.ends, w.nextPhase
	w.runner, err = workloads.NewRunner(w.loop, s.Top, config)
	return w, err
}

func (w *world) observers() workloads.Observer {
	if w.cutter == nil {
		return commitsOnly{w.recorder}
	}
	return workloads.Observers{commitsOnly{w.recorder}, w.cutter}
}

func recorderConfig(p *Plan, c *Cell, start sim.Time) results.RecorderConfig {
	config := results.RecorderConfig{Start: start, Raw: p.Raw, Open: c.Workload.Open()}
	if len(c.Workload.Streams) == 0 {
		return config
	}
	config.Streams = make([]results.StreamConfig, len(c.Workload.Streams))
	for phase, streams := range c.Workload.EachPhase() {
		for _, i := range streams {
			s := &c.Workload.Streams[i]
			config.Streams[i] = results.StreamConfig{Name: s.Name, Phase: phase, Commits: s.Commits()}
		}
	}
	return config
}

func runnerConfig(p *Plan, c *Cell, seed sim.Seed, o workloads.Observer) workloads.Config {
	duration := p.Duration
	if duration == 0 && p.Clock == "virtual" {
		duration = MaxVirtual
	}
	return workloads.Config{
		Profile: c.Workload, Connections: c.Connections, Seed: seed,
		Commits: p.Commits, Duration: duration, Warmup: c.Warmup, Warmups: c.Warmups, Observer: o, Sustain: true,
	}
}

// commitsOnly passes a runner's commits to a recorder, which gets its requests
// from the wire.
type commitsOnly struct{ r *results.Recorder }

func (commitsOnly) Submit(*devices.Request)    {}
func (commitsOnly) Op(*devices.Request)        {}
func (c commitsOnly) Commit(k *devices.Commit) { c.r.Commit(k) }

// run runs the world to its end, or until stop reports true.
func (w *world) run(stop func() bool) (partial bool) {
	if w.window.from > 0 {
		w.loop.At(&w.window.opens, w.window.from, windowOpens{w})
	} else {
		windowOpens{w}.Fire(nil)
	}
	w.runner.Start()
	for n := 1; !w.over() && w.loop.Step(); n++ {
		if n%stack.InterruptEvery == 0 && stop() {
			return true
		}
	}
	return false
}

// over reports whether nothing is in flight and the window is closed. A run that
// ends before it is known when the window does has none.
func (w *world) over() bool {
	return w.runner.Finished() && w.window.opened && !w.window.closes.Pending()
}

// windowOpens notes the model's counters when the warm-up is over.
type windowOpens struct{ w *world }

// Fire opens the window.
func (o windowOpens) Fire(*sim.Timer) {
	w := o.w
	w.window.opened, w.window.before = true, w.counters()
	if w.cutter != nil {
		w.cutter.opens(w.window.from)
	}
}

// ends notes when the window ends, which may be known only after the fact.
func (w *world) ends(at sim.Time, last uint64) {
	w.recorder.EndAt(at, last)
	if w.window.closed || at == sim.Never {
		return
	}
	w.window.end = at
	if at <= w.loop.Now() {
		w.loop.Cancel(&w.window.closes)
		windowCloses{w}.Fire(nil)
		return
	}
	w.loop.At(&w.window.closes, at, windowCloses{w})
}

// nextPhase begins the window of a further phase of the workload.
func (w *world) nextPhase(_ int, from sim.Time) {
	w.closeWindow()
	w.recorder.NextPhase(from, max(w.window.end.Sub(w.window.from), 0))
	if w.cutter != nil {
		w.cutter.nextPhase()
	}
	w.window.next(from)
	w.loop.At(&w.window.opens, from, windowOpens{w})
}

// closeWindow ends a window of which the end was not reached, or is not known.
func (w *world) closeWindow() {
	if now := w.loop.Now(); !w.window.closed {
		w.loop.Cancel(&w.window.opens)
		w.loop.Cancel(&w.window.closes)
		if !w.window.opened {
			windowOpens{w}.Fire(nil)
		}
		w.window.end = now
		windowCloses{w}.Fire(nil)
	}
}

// windowCloses notes the model's counters at the window's end.
type windowCloses struct{ w *world }

// Fire closes the window.
func (c windowCloses) Fire(*sim.Timer) {
	w := c.w
	w.window.closed, w.window.after = true, w.counters()
	if w.cutter != nil {
		w.cutter.closes()
	}
}

// result is what the run showed.
func (w *world) result(seed sim.Seed, partial bool) (*results.RunResult, error) {
	if err := w.runner.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", stack.ErrInvalid, err)
	}
	if !w.window.closed {
		w.window.end, w.window.after = w.loop.Now(), w.counters()
	}
	length, counted := w.window.all()
	r := w.recorder.Result(seed, length)
	r.Partial, r.Short = partial, w.runner.Short() && !partial
	if w.drive != nil {
		r.Calls = counted.calls.since()
	} else {
		r.Device = &counted.stats
	}
	r.Load = loadCounts(w.runner.Stats())
	if w.cutter != nil {
		d := w.cutter.durability
		r.Durability = &d
	}
	return r, nil
}

// loadCounts is what a runner counted in its window.
func loadCounts(s workloads.Stats) results.LoadCounts {
	return results.LoadCounts{
		Iterations: int64(s.Iterations), IterationTime: s.IterationTime,
		Arrivals: int64(s.Arrivals), Done: int64(s.Done), Commits: int64(s.DoneCommits),
		BacklogMiddle: s.BacklogMiddle, BacklogEnd: s.BacklogEnd, Overrun: s.Overrun,
	}
}
