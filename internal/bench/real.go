package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/devices/fua"
	"nbdbench/devices/host"
	"nbdbench/devices/layer"
	"nbdbench/internal/stack"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/results"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// thisHost describes this machine.
func thisHost() *results.Host {
	h := &results.Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Started: time.Now().UTC().Format(time.RFC3339)}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		h.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				h.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	return h
}

// measuredHost describes this machine and, where the run uses a socket of its
// own, that socket's round trip.
func measuredHost(ctx context.Context, p *Plan) (*results.Host, error) {
	h := begun(thisHost())
	if p.external() {
		return h, nil
	}
	d, err := RoundTrip(ctx)
	if ctx.Err() != nil {
		return h, nil // interrupted: what there is is kept, and this is not there
	}
	h.RoundTrip = &d
	return h, err
}

// cellServer is the server half of a run in real time: a device behind a real
// socket, on a loop of its own.
type cellServer struct {
	real   *sim.Real
	model  countedDevice // nil for a plugin
	over   *host.Device  // the model, if that is over the host's storage
	plugin *plugged      // nil for a model
	server *socket.Server
	dir    string
	uri    socket.URI
	served chan error
}

// countedDevice is a device that counts what it does.
type countedDevice interface {
	devices.Device
	Stats() devices.Stats
}

// listen opens the cell's device, puts the strategy's server half around it
// and serves it on a Unix socket in a directory of its own.
func listen(ctx context.Context, p *Plan, c *Cell, seed sim.Seed) (*cellServer, error) {
	s := &cellServer{served: make(chan error, 1)}
	var err error
	if s.real, err = sim.NewReal(sim.NewLoop()); err != nil {
		return nil, err
	}
	export, err := s.open(ctx, p, c, seed)
	if err != nil {
		return nil, errors.Join(err, s.closeOver(), s.real.Close())
	}
	s.server = socket.NewServer(s.real, export)
	if s.dir, err = os.MkdirTemp("", "nbdbench"); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	path := filepath.Join(s.dir, "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	if s.uri, err = socket.ParseURI("nbd+unix:///?socket=" + url.QueryEscape(path)); err != nil {
		return nil, errors.Join(err, l.Close(), s.close(ctx))
	}
	go func() { s.served <- s.server.Serve(l) }()
	return s, nil
}

// open opens the cell's device, and is what is served of it.
func (s *cellServer) open(ctx context.Context, p *Plan, c *Cell, seed sim.Seed) (e *nbd.Export, err error) {
	if c.Plugin != "" {
		if s.plugin, err = plug(ctx, p, c, s.real); err != nil {
			return nil, err
		}
		return s.plugin.export(c, s.real.Loop()), nil
	}
	if c.Storage != "" {
		if s.over, err = p.kept.storages[c.Storage].storage.Device(s.real); err != nil {
			return nil, err
		}
		s.model = s.over
	}
	s.real.Do(func() {
		loop := s.real.Loop()
		if s.over == nil {
			if s.model, err = c.Profile.Open(loop, catalog.Options{Mode: drive.RealBytes, Seed: seed}); err != nil {
				return
			}
		}
		e = &nbd.Export{}
		e.Device, err = c.Strategy.Server(s.model, layer.Options{Loop: loop})
	})
	return e, err
}

// stats are the model's counters so far.
func (s *cellServer) stats() (d devices.Stats) {
	if s.model != nil {
		s.real.Do(func() { d = s.model.Stats() })
	}
	return d
}

// closeOver closes the device over the host's storage, if there is one.
func (s *cellServer) closeOver() error {
	if s.over == nil {
		return nil
	}
	return s.over.Close()
}

func (s *cellServer) close(ctx context.Context) error {
	err := errors.Join(s.server.Close(), s.closeOver())
	if s.plugin != nil {
		err = errors.Join(err, s.plugin.close(ctx))
	}
	return errors.Join(err, s.real.Close(), os.RemoveAll(s.dir))
}

// runReal is one task in real time.
func runReal(ctx context.Context, p *Plan, c *Cell, t task) outcome {
	o := outcome{task: t}
	o.runReal(ctx, p, c)
	return o
}

func (o *outcome) runReal(ctx context.Context, p *Plan, c *Cell) {
	seed := p.seedOf(o.run)
	if c.Profile == nil && c.Storage == "" {
		o.driveTarget(ctx, p, c, seed)
		return
	}
	s, err := listen(ctx, p, c, seed)
	if err != nil {
		o.err = err
		return
	}
	if p.Via == ViaKernel {
		o.driveKernel(ctx, p, c, seed, s)
	} else {
		o.drive(ctx, p, c, seed, s, s.uri)
	}
	o.late = s.server.Lateness()
	if s.plugin != nil {
		o.level, o.err = s.plugin.explain(o.err)
	}
	o.err = errors.Join(o.err, s.close(ctx))
}

// drive is the client half: it connects to uri, that of the socket or of a target
// if s is nil, and runs the workload.
func (o *outcome) drive(ctx context.Context, p *Plan, c *Cell, seed sim.Seed, s *cellServer, uri socket.URI) {
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		o.err = err
		return
	}
	dialer, err := p.dialer(uri)
	if err != nil {
		o.err = errors.Join(err, real.Close())
		return
	}
	if s != nil {
		dialer.InProcess, dialer.Timeouts = true, nbd.Timeouts{}
	}
	dialed, err := dialer.DialAll(ctx, uri, real, int(c.Connections))
	if err != nil {
		o.err = errors.Join(stack.Unreached(ctx, err, p.kept.target == nil), real.Close())
		return
	}
	if s == nil {
		p.saw(uri, dialed.Multi[0].Export())
	}
	if o.connected != nil {
		o.err = o.connected()
	}
	switch {
	case o.err != nil:
	case c.Profile == nil && c.Connections > 1 && !dialed.Info().MultiConn:
		o.err = &layer.Unsupported{Reason: "the target does not advertise multi-conn: a FLUSH would not cover other connections"}
	case c.Plugin != "" && c.Connections > 1 && !dialed.Info().MultiConn:
		o.err = errOneConnection
	default:
		o.export = advertised(dialed.Info())
		o.measure(ctx, p, c, seed, s, real, dialed.Multi)
	}
	hangUp := dialed.Close
	if o.abandoned || ctx.Err() != nil { // a server may take its time to close
		hangUp = dialed.Abort
	}
	o.err = errors.Join(o.err, hangUp(), real.Close())
}

// measure runs the workload on d, the client's device.
func (o *outcome) measure(ctx context.Context, p *Plan, c *Cell, seed sim.Seed, s *cellServer, real *sim.Real, d devices.Device) {
	loop := real.Loop()
	rc := recorderConfig(p, c, 0)
	rc.NoStages = true
	recorder := results.NewRecorder(rc)
	top, err := clientHalf(p, c)(newObserve(d, loop, recorder), layer.Options{Loop: loop})
	if err != nil {
		o.err = err
		return
	}
	if o.err = stack.CanRun(&c.Workload, top.Info()); o.err != nil {
		return
	}
	if o.err = calm(ctx, real, d, cmp.Or(p.Rest, DefaultRest)); o.err != nil {
		real.Do(func() { o.err = cmp.Or(stack.Cause(d), o.err) })
		return
	}
	w := realWindow{loop: loop, recorder: recorder, opens: reading{server: s}, closes: reading{server: s}}
	config := runnerConfig(p, c, seed, commitsOnly{recorder})
	config.Ends, config.Phase = w.ends, w.nextPhase
	config.Sustain = o.count == nil // what is counted has an end
	runner, err := workloads.NewRunner(loop, top, config)
	if err != nil {
		o.err = err
		return
	}
	if o.err = o.count.begin(s); o.err != nil {
		return
	}
	real.Do(func() {
		w.start = loop.Now().Add(c.firstWarmup())
		recorder.StartAt(w.start)
		w.opens.at(loop, w.start)
		runner.Start()
	})
	end := stack.Watch{Real: real, Runner: runner, Device: d, Bound: bound(p, c)}
	o.err = end.Wait(ctx)
	o.abandoned = end.Abandoned
	o.err = cmp.Or(o.err, o.count.end(s))
	real.Do(func() { o.conclude(ctx, p, seed, &w, runner, d) })
}

// conclude takes what the run showed.
func (o *outcome) conclude(ctx context.Context, p *Plan, seed sim.Seed, w *realWindow, runner *workloads.Runner, d devices.Device) {
	if e := stack.Fault(d, runner, p.AllowErrors); e != nil {
		o.err = e
	}
	if !w.closes.read {
		w.end = w.loop.Now()
		w.closes.Fire(nil)
	}
	length, stats, counts, calls := w.all()
	r := w.recorder.Result(seed, length)
	r.Partial = ctx.Err() != nil
	r.Short = runner.Short() && !r.Partial
	r.Load = loadCounts(runner.Stats())
	o.count.took(runner.Stats().Commits)
	if w.opens.server != nil {
		if w.opens.server.plugin != nil {
			r.Calls = calls.since()
		} else {
			r.Device = &stats
		}
		if p.Via == ViaKernel {
			r.Wire = counts
		}
	}
	o.result = r
}

// realWindow is the one window of a run in real time, or that of one phase of its
// workload.
type realWindow struct {
	loop          *sim.Loop
	recorder      *results.Recorder
	start, end    sim.Time
	opens, closes reading

	length sim.Duration // of earlier phases' windows, and what was counted in them
	stats  devices.Stats
	counts results.Wire
	calls  callCounts
}

// all is the length of all windows so far, and what was counted in them.
func (w *realWindow) all() (length sim.Duration, stats devices.Stats, counts results.Wire, calls callCounts) {
	stats = w.closes.stats.Sub(w.opens.stats)
	stats.Add(w.stats)
	counts = w.counts
	counts.Add(wireOf(w.closes.counts, w.opens.counts))
	calls = w.calls.plus(w.closes.calls, w.opens.calls)
	return w.length + max(w.end.Sub(w.start), 0), stats, counts, calls
}

// nextPhase begins the window of a further phase of the workload.
func (w *realWindow) nextPhase(_ int, from sim.Time) {
	for _, r := range []*reading{&w.opens, &w.closes} {
		w.loop.Cancel(&r.timer)
		if !r.read {
			w.end = w.loop.Now()
			r.Fire(nil)
		}
	}
	w.recorder.NextPhase(from, max(w.end.Sub(w.start), 0))
	w.length, w.stats, w.counts, w.calls = w.all()
	w.start, w.opens.read, w.closes.read = from, false, false
	w.opens.at(w.loop, from)
}

// ends notes when the window ends, which may be known only after the fact.
func (w *realWindow) ends(at sim.Time, last uint64) {
	w.recorder.EndAt(at, last)
	if !w.closes.read && at != sim.Never {
		w.end = at
		w.closes.at(w.loop, at)
	}
}

// reading is what the server's end had counted at an instant.
type reading struct {
	server *cellServer // nil for a target
	read   bool
	stats  devices.Stats
	counts nbd.Counts
	calls  [fua.CallFlush + 1]uint64 // of a plugin
	timer  sim.Timer
}

// at has the counters read at an instant of the client's loop.
func (r *reading) at(loop *sim.Loop, at sim.Time) {
	loop.Cancel(&r.timer)
	if at <= loop.Now() {
		r.Fire(nil)
		return
	}
	loop.At(&r.timer, at, r)
}

// Fire reads them. The server has a loop of its own, which never waits for the
// client's.
func (r *reading) Fire(*sim.Timer) {
	r.read = true
	if r.server != nil {
		r.stats, r.counts, r.calls = r.server.stats(), r.server.server.Counts(), r.server.plugin.calls()
	}
}

const (
	// calmTimeout bounds the flush before a run: a disk may have much to destage.
	calmTimeout = 5 * time.Minute
	// DefaultRest is how long a run waits after it, for what a drive does by itself.
	DefaultRest = 100 * time.Millisecond
)

// calm has the device write what other runs left in its cache, and rests, so that
// no strategy pays for another's dirty data, or for its full pSLC cache.
func calm(ctx context.Context, real *sim.Real, d devices.Device, rest time.Duration) error {
	r := &calming{loop: real.Loop(), rest: rest}
	real.Do(func() {
		if !d.Info().CanFlush {
			r.Done(&r.flush)
			return
		}
		r.flush.Op, r.flush.Completer = devices.OpFlush, r
		d.Submit(&r.flush)
	})
	limited, cancel := context.WithTimeout(ctx, calmTimeout+rest)
	defer cancel()
	err := real.RunWhile(limited, func() bool { return !r.over })
	switch {
	case ctx.Err() != nil:
		return stack.ErrNotRun
	case err != nil:
		return fmt.Errorf("%w: the flush before a run was not answered within %v", stack.ErrInvalid, calmTimeout)
	case r.errno != devices.OK:
		return fmt.Errorf("%w: the flush before a run failed: %w", stack.ErrInvalid, r.errno)
	}
	return nil
}

// calming is the flush and the pause after it.
type calming struct {
	loop  *sim.Loop
	rest  sim.Duration
	flush devices.Request
	errno devices.Errno
	timer sim.Timer
	over  bool
}

// Done begins the pause.
func (c *calming) Done(r *devices.Request) {
	c.errno = r.Errno
	c.loop.After(&c.timer, c.rest, c)
}

// Fire ends it.
func (c *calming) Fire(*sim.Timer) { c.over = true }

// timeLimit bounds the whole run on the host's clock, and reports how much time is
// left. In real time the run in progress goes on to its end.
func timeLimit(ctx context.Context, p *Plan) (limited context.Context, left func() time.Duration, cancel context.CancelFunc) {
	limit := p.MaxTime
	if limit == 0 && p.Clock == "real" {
		limit = DefaultMaxTime
	}
	end := time.Now().Add(limit)
	left = func() time.Duration { return time.Until(end) }
	if limit > 0 && p.Clock != "real" {
		limited, cancel = context.WithDeadline(ctx, end)
		return limited, left, cancel
	}
	return ctx, left, func() {}
}

// bound is how long a run may last by its plan, apart from what is in flight at
// its end; 0 is no bound.
func bound(p *Plan, c *Cell) time.Duration {
	if p.Duration == 0 {
		return 0
	}
	return time.Duration(len(c.Workload.EachPhase())) * (c.Warmup + p.Duration)
}

// RoundTrip measures the socket's own round trip: the median latency of single
// 4 KiB FUA writes to a device that takes no time, over the same kind of socket
// that a run in real time uses.
func RoundTrip(ctx context.Context) (time.Duration, error) {
	p := Default()
	p.Clock, p.Devices, p.Runs, p.Cuts, p.Commits = "real", []string{"ram"}, 1, 0, 4000
	p.Workloads, p.Strategies = []workloads.Ref{{Name: "sync-4k"}}, []string{"native"}
	cells, err := p.Cells()
	if err != nil {
		return 0, err
	}
	o := runReal(ctx, &p, &cells[0], task{})
	if o.err != nil {
		return 0, fmt.Errorf("measuring the socket's round trip: %w", o.err)
	}
	return o.result.Commit.At(results.P50), nil
}
