package workloads

import (
	"fmt"
	"math"

	"nbdbench/devices"
	"nbdbench/sim"
)

// The streams of a run, as in Request.Stream and Commit.Stream, where its profile
// is one. Stream n of several, from 0, has twice that added.
const (
	StreamCommit  uint32 = 0 // the profile's transaction
	StreamBetween uint32 = 1 // what runs between two of them
)

// MaxFailures is how many transactions in a row may fail before a run stops: a
// device that fails at once would otherwise be asked forever.
const MaxFailures = 100

// MaxBacklog is how many transactions of an open loop may be due and not begun
// before a run stops: a device that cannot keep up never will.
const MaxBacklog = 1 << 16

// Stats are what a Runner counts, warm-up included.
type Stats struct {
	Begun   uint64 // transactions that were started, of all streams
	Commits uint64 // of those, done without an error
	Failed  uint64 // of those, done with one
	Between uint64 // rounds of what runs between two that were started
	// Requests are those of all of them, as the application issued them.
	Requests uint64
	// MaxLag is the longest time from when a transaction was due until it was
	// started, for lack of a free slot; see Commit for each one's.
	MaxLag sim.Duration
	// SumLag is the sum of all such times.
	SumLag sim.Duration

	// Iterations are the slots' whole rounds that began in the window, and
	// IterationTime is the sum of how long they took: the transaction, what runs
	// between, and the pause, until the slot's next transaction was due. A closed
	// loop has them whose profile has no list of streams; by Little's law their rate times their
	// mean is the queue depth.
	Iterations    uint64
	IterationTime sim.Duration

	// Arrivals are the transactions of open loops that were due in the window,
	// and Done are those that ended in it, whenever they were due. Where no stream is
	// open, Done are those of closed loops.
	Arrivals, Done uint64
	// DoneCommits are the transactions that ended in the window of the streams that
	// count, open or not.
	DoneCommits uint64
	// BacklogMiddle and BacklogEnd are the transactions of open loops that were
	// due and not done in the middle of the window and at its end.
	BacklogMiddle, BacklogEnd int64
	// Overrun says that an open loop was stopped because it took longer than the
	// window itself to serve what was left when the window ended.
	Overrun bool

	// Failures are the transactions of both streams that failed, by their errors
	// in the order in which these first came.
	Failures []Failure
}

// Failure is how many transactions failed with one error.
type Failure struct {
	Errno devices.Errno
	Count uint64
}

// fail counts a transaction that failed.
func (s *Stats) fail(e devices.Errno) {
	for i := range s.Failures {
		if s.Failures[i].Errno == e {
			s.Failures[i].Count++
			return
		}
	}
	s.Failures = append(s.Failures, Failure{e, 1})
}

// Runner runs one profile on one device. It belongs to the device's loop.
type Runner struct {
	loop     *sim.Loop
	dev      devices.Device
	cfg      Config
	observer Observer
	groups   GroupObserver // nil if the observer is none
	logs     map[string]*groupLog
	phases   [][]client
	phase    int      // the present one
	clients  []client // of the present phase
	next     sim.Timer
	closes   sim.Timer

	txn      uint64
	stamp    devices.Stamp
	left     uint64 // measured transactions still to begin
	half     uint64 // what is left in the middle of a window that ends with its commits; else the highest
	from     sim.Time
	end      sim.Time // of the window; Never until it is known
	late     bool     // the end is known only once the last commit has begun
	last     uint64   // number of the last measured transaction; the highest until it is known
	open     bool     // a client of the present phase is an open loop
	pending  int      // measured commits in progress
	busy     int      // slots with a transaction in progress
	failures int
	started  bool
	short    bool // an earlier phase ended at a bound
	stopped  bool // the present phase begins nothing more
	halted   bool // and no other phase begins
	err      error
	stats    Stats
}

// NewRunner checks cfg against the device and allocates all that the run needs.
func NewRunner(loop *sim.Loop, dev devices.Device, cfg Config) (*Runner, error) {
	info := dev.Info()
	if err := cfg.Validate(info); err != nil {
		return nil, err
	}
	cfg.Profile = cfg.Profile.With(Override{QueueDepth: cfg.QueueDepth})
	r := &Runner{loop: loop, dev: dev, cfg: cfg, observer: cfg.Observer}
	if r.observer == nil {
		r.observer = Observers(nil)
	}
	r.groups, _ = cfg.Observer.(GroupObserver)
	r.makeLogs(info)
	r.makeClients(info)
	return r, nil
}

// Start begins the run at the loop's present instant.
func (r *Runner) Start() {
	if r.started {
		panic("workloads: a Runner was started twice")
	}
	r.started = true
	r.startPhase()
}

// startPhase begins the present phase: its warm-up and its window.
func (r *Runner) startPhase() {
	now := r.loop.Now()
	r.clients, r.stopped = r.phases[r.phase], false
	r.from, r.end, r.last = now.Add(r.cfg.warmup(r.phase)), sim.Never, math.MaxUint64
	if r.cfg.Duration != 0 {
		r.end = r.from.Add(r.cfg.Duration)
	}
	if r.left = r.cfg.Commits; r.left == 0 {
		r.left = MaxCommits
	}
	if r.phase > 0 && r.cfg.Phase != nil {
		r.cfg.Phase(r.phase, r.from)
	}
	r.open = false
	for i := range r.clients {
		r.clients[i].prepare(now)
	}
	if only := r.onlyCounting(); only != nil && r.cfg.Commits > 0 {
		if o, ok := only.pace.(*openPace); ok && only.most == math.MaxUint64 {
			r.end = min(r.end, o.afterCommits(r.cfg.Commits))
		}
	}
	r.late, r.half = r.end == sim.Never, r.cfg.Commits/2
	if !r.late {
		r.half = math.MaxUint64
		r.endAt(r.end)
	}
	for i := range r.clients {
		r.clients[i].start(now)
	}
}

// Stop begins no further transactions; those in progress run to their end.
func (r *Runner) Stop() {
	r.halted = true
	r.stop()
}

// EndPhase begins no further transactions in the present phase; the next one begins
// when those in progress have ended.
func (r *Runner) EndPhase() { r.stop() }

// Phase is the number of the present phase, from 0.
func (r *Runner) Phase() int { return r.phase }

// stop ends the present phase.
func (r *Runner) stop() {
	if r.stopped {
		return
	}
	r.stopped = true
	r.loop.Cancel(&r.closes)
	for i := range r.clients {
		r.clients[i].halt()
	}
	r.goOn()
}

// goOn begins the next phase once the present one is over.
func (r *Runner) goOn() {
	if r.stopped && r.busy == 0 && !r.halted && r.phase+1 < len(r.phases) && !r.next.Pending() {
		r.loop.After(&r.next, 0, nextPhase{r})
	}
}

// nextPhase begins the next phase.
type nextPhase struct{ r *Runner }

// Fire begins it, unless the run was stopped in the meantime.
func (n nextPhase) Fire(*sim.Timer) {
	if !n.r.halted {
		n.r.short = n.r.Short()
		n.r.phase++
		n.r.startPhase()
	}
}

// Finished reports whether the run is over and nothing of it is in flight.
func (r *Runner) Finished() bool {
	return r.stopped && r.busy == 0 && (r.halted || r.phase == len(r.phases)-1)
}

// Measured reports whether what belongs to commit txn and was due at that instant
// counts: after the warm-up, before the end, and not after the last
// transaction asked for, which others may be due with. Its latency counts even if
// it ends later.
func (r *Runner) Measured(due sim.Time, txn uint64) bool {
	return due >= r.from && (due < r.end || due == r.end && r.last != math.MaxUint64) && txn <= r.last
}

// Err says why the run stopped early, if it did.
func (r *Runner) Err() error { return r.err }

// Stats returns the counters so far.
func (r *Runner) Stats() Stats { return r.stats }

// Busy is how many transactions are in progress.
func (r *Runner) Busy() int { return r.busy }

// Short reports whether the run ended at a bound in time before it had begun as
// many measured transactions as it was asked for.
func (r *Runner) Short() bool {
	return r.short || r.cfg.Commits > 0 && r.left > 0 && r.stopped && r.busy == 0
}

// endAt says when the window ends.
func (r *Runner) endAt(at sim.Time) {
	r.end = at
	if r.late {
		for i := range r.clients {
			r.clients[i].pace.count(closing, at)
		}
		if len(r.clients) > 1 && !r.stopped {
			r.loop.Cancel(&r.closes)
			r.loop.At(&r.closes, max(at, r.loop.Now()), windowCloses{r})
		}
	}
	r.reportEnd()
}

// windowCloses ends a phase whose last measured commit was done before its
// window's end.
type windowCloses struct{ r *Runner }

// Fire looks whether it was.
func (w windowCloses) Fire(*sim.Timer) { w.r.closeIfDone(w.r.loop.Now()) }

// closeIfDone ends a phase of several streams when nothing measured is left: a
// stream's next transaction may be due much later.
func (r *Runner) closeIfDone(now sim.Time) {
	if r.left == 0 && r.pending == 0 && now >= r.end && len(r.clients) > 1 {
		r.stop()
	}
}

// lastIs says which transaction is the last measured one.
func (r *Runner) lastIs(txn uint64) {
	r.last = txn
	r.reportEnd()
}

func (r *Runner) reportEnd() {
	if r.cfg.Ends != nil {
		r.cfg.Ends(r.end, r.last)
	}
}

// begin starts the next transaction in s.
func (r *Runner) begin(s *slot, due sim.Time) {
	r.busy++
	r.stats.Begun++
	lag := r.loop.Now().Sub(due)
	r.stats.MaxLag = max(r.stats.MaxLag, lag)
	r.stats.SumLag += lag
	c := s.c
	s.due, s.measured = due, c.counts && r.left > 0 && due >= r.from && due < r.end
	if !c.counts {
		s.begin(&c.transaction, due)
		return
	}
	if s.measured {
		r.left--
		r.pending++
		if r.left == r.half {
			r.halfWay()
		}
	} else if due >= r.from && r.last == math.MaxUint64 {
		r.lastIs(r.txn)
	}
	s.begin(&c.transaction, due)
	if r.left == 0 && r.last == math.MaxUint64 {
		r.lastIs(r.txn)
	}
	if r.left == 0 && !r.cfg.Sustain {
		r.stop()
	}
}

// halfWay counts backlogs in the middle of a window that ends with its commits.
func (r *Runner) halfWay() {
	for i := range r.clients {
		r.clients[i].pace.count(middle, r.loop.Now())
	}
}

// ended is called when a slot's transaction is done.
func (r *Runner) ended(s *slot) {
	now := r.loop.Now()
	if e := s.commit.Errno; e != devices.OK {
		r.stats.fail(e)
	}
	c := s.c
	if s.program == &c.transaction {
		c.ended++
		for _, l := range s.program.logs {
			l.leave(s)
		}
		r.account(s, now)
		if s.measured {
			r.pending--
			r.closeIfDone(now)
		}
		if len(c.between.stages) > 0 && c.goesOn(now) {
			r.stats.Between++
			s.begin(&c.between, now)
			return
		}
	}
	r.busy--
	c.pace.freed(s)
	if r.stopped {
		r.goOn()
	}
}

// account counts a transaction, reports it, and ends a run that only fails.
func (r *Runner) account(s *slot, now sim.Time) {
	s.commit.Acked = now
	if s.commit.Errno == devices.OK {
		r.stats.Commits++
		r.failures = 0
		if now >= r.from && now < r.end {
			if !r.open || s.c.open {
				r.stats.Done++
			}
			if s.c.counts {
				r.stats.DoneCommits++
			}
		}
	} else {
		r.stats.Failed++
		r.failures++
	}
	r.observer.Commit(&s.commit)
	if s.commit.Errno == devices.ESHUTDOWN {
		r.fail(fmt.Errorf("workload %s: the device has shut down: %w", r.cfg.Profile.Name, s.commit.Errno))
	}
	if r.failures == MaxFailures {
		r.fail(fmt.Errorf("workload %s: %d transactions in a row failed, the last with %w", r.cfg.Profile.Name, r.failures, s.commit.Errno))
	}
}

// fail stops the run for a reason.
func (r *Runner) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.Stop()
}

// overrun ends a run whose device does not keep up with an open loop. The window
// ends with it.
func (r *Runner) overrun() {
	r.stats.Overrun = true
	if now := r.loop.Now(); now < r.end {
		r.endAt(max(now, r.from))
	}
	r.Stop()
}
