package bench

import (
	"context"
	"fmt"
	"time"

	"nbdbench/devices"
	"nbdbench/sim"
	"nbdbench/workloads"
)

const (
	// firstReply is how long, at least, a run waits for its first transaction to
	// end, and overrun for what is in flight when its duration is over; it has the
	// duration again if that is longer.
	firstReply = 2 * time.Second
	overrun    = 10 * time.Second
	// interruptDrain is how long a run that the user stops waits for what is in
	// flight: a stop is to be answered within a second.
	interruptDrain = 400 * time.Millisecond
)

// watch is the wait for the end of a workload.
type watch struct {
	real   *sim.Real
	runner *workloads.Runner
	device devices.Device
	bound  time.Duration // of warm-up and window; 0 is none but the replies'
	// abandoned says that requests were in flight when the wait ended.
	abandoned bool
}

func (w *watch) running() bool { return !w.runner.Finished() }

// wait returns when the workload is over, or too late for its bound, which is the
// error. When ctx ends it waits a moment for what is in flight.
func (w *watch) wait(ctx context.Context) error {
	first := w.bound
	if first > 0 {
		first = max(first, firstReply)
	}
	err := w.within(ctx, first)
	if err == nil && w.answered() && w.unfinished() {
		err = w.within(ctx, max(overrun, w.bound))
	}
	switch {
	case ctx.Err() != nil:
		w.real.Do(w.runner.Stop)
		_ = w.within(context.WithoutCancel(ctx), interruptDrain)
		w.abandoned = w.unfinished()
		return nil
	case err != nil || !w.unfinished():
		return err
	}
	w.abandoned = true
	w.real.Do(func() {
		w.runner.Stop()
		err = fmt.Errorf("%w: %v after its beginning the run still had %d transactions in flight, %d having ended: no reply to %s",
			ErrInvalid, w.real.Loop().Now().Sub(0).Round(time.Millisecond), w.runner.Busy(), w.ended(), w.oldest())
	})
	return err
}

// within waits for the workload, for so long at most unless d is 0, or until ctx
// ends. Neither is an error.
func (w *watch) within(ctx context.Context, d time.Duration) error {
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if err := w.real.RunWhile(ctx, w.running); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// unfinished is running, for who does not own the loop.
func (w *watch) unfinished() (r bool) {
	w.real.Do(func() { r = w.running() })
	return r
}

// ended counts the transactions that have.
func (w *watch) ended() uint64 {
	s := w.runner.Stats()
	return s.Begun + s.Between - uint64(w.runner.Busy())
}

// answered reports whether any transaction has ended, or none has begun.
func (w *watch) answered() (ok bool) {
	w.real.Do(func() { ok = w.ended() > 0 || w.runner.Busy() == 0 })
	return ok
}

// oldest is the command that has awaited its reply the longest.
func (w *watch) oldest() string {
	if c, ok := w.device.(causer); ok {
		return c.Oldest()
	}
	return "what the kernel sent"
}
