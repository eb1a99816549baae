package workloads

import (
	"fmt"
	"math"

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
	// started, for lack of a free slot; see Commit for each one's.
	MaxLag sim.Duration
	// SumLag is the sum of all such times.
	SumLag sim.Duration

	// Iterations are the slots' whole rounds that began in the window, and
	// IterationTime is the sum of how long they took: the transaction, what runs
	// between, and the pause, until the slot's next transaction was due. A closed
	// loop has them; by Little's law their rate times their mean is the queue depth.
	Iterations    uint64
	IterationTime sim.Duration

	// Arrivals are the transactions of an open loop that were due in the window,
	// and Done are those that ended in it, whenever they were due.
	Arrivals, Done uint64
	// BacklogMiddle and BacklogEnd are the transactions of an open loop that were
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
	streams  [2]stream
	slots    []slot
	pace     pace

	begun    [2]uint64 // per stream: the number of its next transaction
	txn      uint64
	stamp    devices.Stamp
	left     uint64 // measured transactions still to begin
	from     sim.Time
	end      sim.Time // of the window; Never until it is known
	last     uint64   // number of the last measured transaction; the highest until it is known
	pending  int      // measured transactions in progress
	busy     int      // slots with a transaction in progress
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
	r.from, r.end, r.last = now.Add(r.cfg.Warmup), sim.Never, math.MaxUint64
	if r.cfg.Duration != 0 {
		r.end = r.from.Add(r.cfg.Duration)
	}
	if r.left = r.cfg.Commits; r.left == 0 {
		r.left = MaxCommits
	}
	if open := r.cfg.Profile.opens(now, r.cfg.Seed); open != nil {
		r.pace = newOpenPace(r, open, now)
	} else {
		if r.end != sim.Never {
			r.endAt(r.end)
		}
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

// Measured reports whether what belongs to transaction txn and was due at that
// instant counts: after the warm-up, before the end, and not after the last
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
func (r *Runner) Short() bool { return r.cfg.Commits > 0 && r.left > 0 && r.Finished() }

// more reports whether a transaction that is due at that instant may begin: it
// is measured, or measured ones are still in progress and the load is kept up.
func (r *Runner) more(due sim.Time) bool {
	if r.stopped || r.left == 0 && !r.cfg.Sustain {
		return false
	}
	if r.left == 0 && due < r.end {
		r.endAt(due)
	}
	return due < r.end || r.cfg.Sustain && r.pending > 0
}

// goesOn reports whether a slot whose transaction has ended at that instant runs
// what comes between two: as long as the window is open, and until the last
// measured transaction is done.
func (r *Runner) goesOn(now sim.Time) bool {
	if !r.cfg.Sustain {
		return r.more(now)
	}
	return !r.stopped && (now < r.end || r.pending > 0)
}

// endAt says when the window ends.
func (r *Runner) endAt(at sim.Time) {
	r.end = at
	r.reportEnd()
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

// begin starts the next transaction of StreamCommit in s.
func (r *Runner) begin(s *slot, due sim.Time) {
	r.busy++
	r.stats.Begun++
	lag := r.loop.Now().Sub(due)
	r.stats.MaxLag = max(r.stats.MaxLag, lag)
	r.stats.SumLag += lag
	s.due, s.measured = due, r.left > 0 && due >= r.from && due < r.end
	if s.measured {
		r.left--
		r.pending++
	} else if due >= r.from && r.last == math.MaxUint64 {
		r.lastIs(r.txn)
	}
	s.begin(StreamCommit, due)
	if r.left == 0 && r.last == math.MaxUint64 {
		r.lastIs(r.txn)
	}
	if r.left == 0 && !r.cfg.Sustain {
		r.Stop()
	}
}

// ended is called when a slot's transaction is done.
func (r *Runner) ended(s *slot) {
	now := r.loop.Now()
	if e := s.commit.Errno; e != devices.OK {
		r.stats.fail(e)
	}
	if s.commit.Stream == StreamCommit {
		r.account(s, now)
		if s.measured {
			r.pending--
		}
		if len(r.streams[StreamBetween].phases) > 0 && r.goesOn(now) {
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
		if now >= r.from && now < r.end {
			r.stats.Done++
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

// iterated counts the round that a slot of a closed loop has completed when its
// next transaction is due.
func (r *Runner) iterated(s *slot, due sim.Time) {
	if s.measured {
		r.stats.Iterations++
		r.stats.IterationTime += due.Sub(s.due)
	}
}
