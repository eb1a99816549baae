package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/internal/text"
	"nbdbench/sim"
)

// MaxCalls is how many data calls of a connection run at once under Parallel. nbdkit
// has as many threads for a connection (server/connections.c,
// DEFAULT_PARALLEL_REQUESTS).
const MaxCalls = 16

// Options are how a plugin is run.
type Options struct {
	Loop *sim.Loop // required
	// Real holds Loop to the wall clock. Without it time is virtual: calls run on the
	// loop, one at a time, and take none of it.
	Real     *sim.Real
	Mode     fua.Mode // of nbdkit's fua filter
	ReadOnly bool
	// Timeout bounds each call. A call that takes longer fails with EIO, and keeps its
	// worker and its buffer until it returns. 0 is no bound.
	Timeout sim.Duration
	// Report is called with what an operator must know, a line each, escaped, and
	// bounded in number; nil is nobody.
	Report func(line string)
}

// Host runs a plugin for any number of connections.
type Host struct {
	plugin Plugin
	o      Options
	inline *worker // runs the calls on the loop; nil if workers do
	shared *pool   // of all connections, where they are serialized; else for lists
	counts [fua.CallFlush + 1]atomic.Uint64
	lines  reports

	handles map[*Handle]bool // that have begun to open and are not closed; the loop's
	current *Handle          // under SerializeConnections
	waiting []*Handle        // for current to close
}

// NewHost runs p.
func NewHost(p Plugin, o Options) *Host {
	if o.Loop == nil || p.Open == nil {
		panic("plugin: a host needs a loop and a plugin with Open")
	}
	h := &Host{plugin: p, o: o, handles: map[*Handle]bool{}}
	h.shared = newPool(h, MaxCalls)
	if p.Thread <= SerializeAllRequests {
		h.shared.limit = 1
	}
	if o.Real == nil || p.NonBlocking {
		h.inline = &worker{host: h, ctx: context.Background()}
	}
	return h
}

// Name is the plugin's.
func (h *Host) Name() string { return h.plugin.Name }

// Lists reports whether the plugin has a list of exports.
func (h *Host) Lists() bool { return h.plugin.Exports != nil }

// Calls is how many data calls of each kind were begun.
func (h *Host) Calls() (n [fua.CallFlush + 1]uint64) {
	for i := range n {
		n[i] = h.counts[i].Load()
	}
	return n
}

// poolOf is where the calls of a new connection run.
func (h *Host) poolOf() *pool {
	switch h.plugin.Thread {
	case SerializeRequests:
		return newPool(h, 1)
	case Parallel:
		return newPool(h, MaxCalls)
	}
	return h.shared
}

// Open opens the plugin for a connection and asks what it can, in the order of
// nbdkit's server/protocol-handshake.c. It blocks until that has been answered, or ctx
// ends, and is not for the loop's owner in real time. fail, which may be nil, is
// called on the loop if the connection cannot go on.
func (h *Host) Open(ctx context.Context, c ConnInfo, fail func()) (*Handle, error) {
	c.ReadOnly = c.ReadOnly || h.o.ReadOnly
	d := &Handle{host: h, pool: h.poolOf(), id: c, fail: fail, ready: make(chan struct{})}
	if h.o.Real == nil {
		d.begin()
	} else {
		h.o.Real.Do(d.begin)
	}
	if err := d.wait(ctx); err != nil {
		h.report("connection %d is refused: %v", c.ID, err)
		return nil, err
	}
	return d, nil
}

// List is the plugin's list of exports for a client. It blocks as Open does.
func (h *Host) List(ctx context.Context, c ConnInfo) ([]Export, error) {
	c.ReadOnly = c.ReadOnly || h.o.ReadOnly
	var list []Export
	var err error
	if h.inline != nil {
		run := func() { list, err = h.plugin.Exports(ctx, c) }
		if h.o.Real == nil {
			run()
		} else {
			h.o.Real.Do(run)
		}
		return list, err
	}
	type answer struct {
		list []Export
		err  error
	}
	a, done := &answer{}, make(chan error, 1)
	t := &task{run: func(w *worker) { a.list, a.err = h.plugin.Exports(w.ctx, c) }}
	t.then = func(e devices.Errno) { done <- h.failure(&t.Request, e) }
	h.o.Real.Do(func() { h.shared.submit(&t.Request, t) })
	if err := await(ctx, done); err != nil {
		return nil, err
	}
	return a.list, a.err
}

// errWorkers is for what comes when all workers are in calls that do not return.
var errWorkers = errors.New("no worker of the plugin is left: its calls do not return")

// failure says why a task ended with e.
func (h *Host) failure(r *devices.Request, e devices.Errno) error {
	switch {
	case e == devices.OK:
		return nil
	case r.Loan != nil:
		return fmt.Errorf("the plugin %s has not answered within %v", h.plugin.Name, h.o.Timeout)
	}
	return errWorkers
}

// stuck refuses the connections that wait for one of which the call does not return.
func (h *Host) stuck(p *pool) {
	if p != h.shared {
		return
	}
	waiting := h.waiting
	h.waiting = nil
	for _, d := range waiting {
		d.answer(&answers{err: errWorkers})
	}
}

// Release calls f on the loop: a Close of a handle that was opened for nothing. It is
// for who may call Open.
func (h *Host) Release(f func()) {
	if h.o.Real == nil {
		f()
	} else {
		h.o.Real.Do(f)
	}
}

// Close waits until all connections are closed, which they are once their calls have
// returned, or ctx ends. Then it cancels the calls that are left, and the error says
// how many connections have some. No connection opens any more when it is called.
func (h *Host) Close(ctx context.Context) error {
	if h.o.Real == nil {
		return nil
	}
	err := h.o.Real.RunWhile(ctx, func() bool { return len(h.handles) > 0 })
	if err == nil {
		return nil
	}
	h.o.Real.Do(func() {
		for d := range h.handles {
			d.pool.cancel()
		}
		if n := len(h.handles); n > 0 {
			err = fmt.Errorf("plugin %s: %d connections have calls that did not return: %w", h.plugin.Name, n, err)
		}
	})
	return err
}

// The bounds of what is reported: maxReports lines in reportInterval.
const (
	reportInterval = sim.Duration(60e9)
	maxReports     = 16
	maxReport      = 2048 // bytes of one
)

// reports counts them.
type reports struct {
	mu      sync.Mutex
	began   sim.Time
	n       int
	omitted int
}

// admit says whether another one is within the bounds, and how many before it were
// not.
func (r *reports) admit(now sim.Time) (ok bool, omitted int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.began) >= reportInterval {
		r.began, r.n = now, 0
	}
	if r.n == maxReports {
		r.omitted++
		return false, 0
	}
	r.n++
	omitted, r.omitted = r.omitted, 0
	return true, omitted
}

// report reports a line. Anybody may.
func (h *Host) report(format string, args ...any) {
	if h.o.Report == nil {
		return
	}
	var now sim.Time
	if h.o.Real != nil {
		now = h.o.Real.Now()
	}
	ok, omitted := h.lines.admit(now)
	if !ok {
		return
	}
	line := fmt.Sprintf("plugin "+h.plugin.Name+": "+format, args...)
	if len(line) > maxReport {
		line = line[:maxReport] + "..."
	}
	if omitted > 0 {
		line += fmt.Sprintf(" (%d lines before it were omitted)", omitted)
	}
	h.o.Report(text.Line(line))
}
