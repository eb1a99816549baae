package workloads

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/sim"
)

// The streams of a run, as in Request.Stream and Commit.Stream.
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
	Begun   uint64 // transactions of StreamCommit that were started
	Commits uint64 // of those, done without an error
	Failed  uint64 // of those, done with one
	Between uint64 // transactions of StreamBetween that were started
	// MaxLag is the longest time from when a transaction was due until it was
	// started, for want of a free slot; see Commit for each one's.
	MaxLag sim.Duration
	// SumLag is the sum of all such times.
	SumLag sim.Duration
}

// Runner runs one profile on one device. It belongs to the device's loop.
type Runner struct {
	loop     *sim.Loop
	dev      devices.Device
	cfg      Config
	observer Observer
	streams  [2]stream
	slots    []slot
	pace     pace

	begun    [2]uint64 // per stream: the number of its next transaction
	txn      uint64
	stamp    devices.Stamp
	left     uint64 // measured transactions still to begin
	from     sim.Time
	end      sim.Time
	busy     int // slots with a transaction in progress
	failures int
	started  bool
	stopped  bool
	err      error
	stats    Stats
}

// pace decides when slots begin transactions: the closed or the open loop.
type pace interface {
	start()
	freed(s *slot) // s has ended a transaction and what follows it
	halt()         // begin nothing more
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
	p := &r.cfg.Profile
	r.streams[StreamCommit] = compile(p, "commit", p.Transaction, info, cfg.Seed)
	r.streams[StreamBetween] = compile(p, "between", p.Between, info, cfg.Seed)
	r.slots = make([]slot, p.depth())
	for i := range r.slots {
		r.slots[i].init(r, uint32(i), max(cfg.Connections, 1))
	}
	return r, nil
}

// Start begins the run at the loop's present instant.
func (r *Runner) Start() {
	if r.started {
		panic("workloads: a Runner was started twice")
	}
	r.started = true
	now := r.loop.Now()
	r.from, r.end = now.Add(r.cfg.Warmup), sim.Never
	if r.cfg.Duration != 0 {
		r.end = r.from.Add(r.cfg.Duration)
	}
	r.left = r.cfg.Commits
	if r.left == 0 {
		r.left = MaxCommits
	}
	if open := r.cfg.Profile.opens(now, r.cfg.Seed); open != nil {
		r.pace = newOpenPace(r, open, now)
	} else {
		r.pace = &closedPace{r: r, loop: ClosedLoop{r.cfg.Profile.Think.Std()}}
	}
	r.pace.start()
}

// Stop begins no further transactions; those in progress run to their end.
func (r *Runner) Stop() {
	if r.stopped {
		return
	}
	r.stopped = true
	if r.pace != nil {
		r.pace.halt()
	}
}

// Finished reports whether the run is over and nothing of it is in flight.
func (r *Runner) Finished() bool { return r.stopped && r.busy == 0 }

// Measured reports whether what was due at that instant counts: after the
// warm-up and before the end. Its latency counts even if it ends later.
func (r *Runner) Measured(due sim.Time) bool { return due >= r.from && due < r.end }

// Err says why the run stopped early, if it did.
func (r *Runner) Err() error { return r.err }

// Stats returns the counters so far.
func (r *Runner) Stats() Stats { return r.stats }

// Busy is how many transactions are in progress.
func (r *Runner) Busy() int { return r.busy }

// more reports whether a transaction that is due at that instant may begin.
func (r *Runner) more(due sim.Time) bool { return !r.stopped && r.left > 0 && due < r.end }

// begin starts the next transaction of StreamCommit in s.
func (r *Runner) begin(s *slot, due sim.Time) {
	r.busy++
	r.stats.Begun++
	lag := r.loop.Now().Sub(due)
	r.stats.MaxLag = max(r.stats.MaxLag, lag)
	r.stats.SumLag += lag
	if due >= r.from {
		r.left--
	}
	s.begin(StreamCommit, due)
	if r.left == 0 {
		r.Stop()
	}
}

// ended is told that a slot's transaction is done.
func (r *Runner) ended(s *slot) {
	now := r.loop.Now()
	if s.commit.Stream == StreamCommit {
		r.account(s, now)
		if len(r.streams[StreamBetween].phases) > 0 && r.more(now) {
			r.stats.Between++
			s.begin(StreamBetween, now)
			return
		}
	}
	r.busy--
	r.pace.freed(s)
}

// account counts a commit, reports it, and ends a run that only fails.
func (r *Runner) account(s *slot, now sim.Time) {
	s.commit.Acked = now
	if s.commit.Errno == devices.OK {
		r.stats.Commits++
		r.failures = 0
	} else {
		r.stats.Failed++
		r.failures++
	}
	r.observer.Commit(&s.commit)
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

// overloaded ends a run whose device does not keep up.
func (r *Runner) overloaded(lag sim.Duration) {
	r.fail(fmt.Errorf("workload %s: more than %d transactions are due and wait (%v late): the device does not keep up with %v",
		r.cfg.Profile.Name, MaxBacklog, lag, r.cfg.Profile.Rate))
}
