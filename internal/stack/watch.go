package stack

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

// Watch is the wait for the end of a workload.
type Watch struct {
	Real   *sim.Real
	Runner *workloads.Runner
	Device devices.Device
	Bound  time.Duration // of warm-up and window; 0 is none but the replies'
	// Abandoned says that requests were in flight when the wait ended.
	Abandoned bool
}

func (w *Watch) running() bool { return !w.Runner.Finished() }

// Wait returns when the workload is over, or too late for its bound, which is the
// error. When ctx ends it waits a moment for what is in flight.
func (w *Watch) Wait(ctx context.Context) error {
	first := w.Bound
	if first > 0 {
		first = max(first, firstReply)
	}
	err := w.within(ctx, first)
	if err == nil && w.answered() && w.unfinished() {
		err = w.within(ctx, max(overrun, w.Bound))
	}
	switch {
	case ctx.Err() != nil:
		w.Real.Do(w.Runner.Stop)
		_ = w.within(context.WithoutCancel(ctx), interruptDrain)
		w.Abandoned = w.unfinished()
		return nil
	case err != nil || !w.unfinished():
		return err
	}
	w.Abandoned = true
	w.Real.Do(func() {
		w.Runner.Stop()
		err = fmt.Errorf("%w: %v after its beginning the run still had %d transactions in flight, %d having ended: no reply to %s",
			ErrInvalid, w.Real.Loop().Now().Sub(0).Round(time.Millisecond), w.Runner.Busy(), w.ended(), w.oldest())
	})
	return err
}

// within waits for the workload, for so long at most unless d is 0, or until ctx
// ends. Neither is an error.
func (w *Watch) within(ctx context.Context, d time.Duration) error {
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if err := w.Real.RunWhile(ctx, w.running); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// unfinished is running, for who does not own the loop.
func (w *Watch) unfinished() (r bool) {
	w.Real.Do(func() { r = w.running() })
	return r
}

// ended counts the transactions that have.
func (w *Watch) ended() uint64 {
	s := w.Runner.Stats()
	return s.Begun + s.Between - uint64(w.Runner.Busy())
}

// answered reports whether any transaction has ended, or none has begun.
func (w *Watch) answered() (ok bool) {
	w.Real.Do(func() { ok = w.ended() > 0 || w.Runner.Busy() == 0 })
	return ok
}

// oldest is the command that has awaited its reply the longest.
func (w *Watch) oldest() string {
	if c, ok := w.Device.(causer); ok {
		return c.Oldest()
	}
	return "what the kernel sent"
}
