package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// The bounds of what a target may take its time over.
const (
	// DefaultTimeout bounds each reply of a target, and FLUSH, which may have a
	// whole cache to write back, has flushTimeouts of it: 30 s and 5 minutes.
	DefaultTimeout = 30 * time.Second
	flushTimeouts  = 10
	// MaxTimeout is the longest bound that can be asked for.
	MaxTimeout = 24 * time.Hour

	// overrun is how long, at least, what is in flight at the end of a run's
	// duration may take; it has the duration again if that is longer.
	overrun = 10 * time.Second
	// interruptDrain is how long a run that the user stops waits for what is in
	// flight: a stop is to be answered within a second.
	interruptDrain = 400 * time.Millisecond
)

// timeouts are the bounds of a target's replies.
func timeouts(reply time.Duration) nbd.Timeouts {
	if reply == 0 {
		reply = DefaultTimeout
	}
	return nbd.Timeouts{Reply: reply, Flush: flushTimeouts * reply}
}

// causer is what of an NBD client says why it ended.
type causer interface {
	Cause() error
	Oldest() string
}

// faultOf is why a run's figures must not be used, or nil: what ended its
// connections, what stopped its workload, or more failed transactions than
// allowed. It belongs to the loop.
func faultOf(d devices.Device, r *workloads.Runner, allow float64) error {
	if err := causeOf(d); err != nil {
		return err
	}
	failures := failuresOf(r.Stats(), allow)
	switch err := r.Err(); {
	case err != nil && failures != nil:
		return fmt.Errorf("%w: %w: %w", ErrInvalid, failures, err)
	case err != nil || failures != nil:
		return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(err, failures))
	}
	return nil
}

// causeOf is why an NBD client's connections ended, or nil.
func causeOf(d devices.Device) error {
	if c, ok := d.(causer); ok && c.Cause() != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, c.Cause())
	}
	return nil
}

// failuresOf says which share of a run's transactions failed, and with what, if it
// is more than allowed.
func failuresOf(s workloads.Stats, allow float64) error {
	all := uint64(0)
	var counts []string
	for _, f := range s.Failures {
		all += f.Count
		counts = append(counts, fmt.Sprintf("%v %d", f.Errno, f.Count))
	}
	what, failed, total := "commits", s.Failed, s.Commits+s.Failed
	if failed == 0 {
		what, failed, total = "transactions between commits", all, max(all, s.Between)
	}
	if float64(failed) <= allow*float64(total) {
		return nil
	}
	return fmt.Errorf("%d of %d %s failed (%s; %s), more than --allow-errors %v",
		failed, total, what, percent(failed, total), strings.Join(counts, ", "), allow)
}

// percent is a share with two digits, and never 0% of something.
func percent(n, of uint64) string {
	p := 100 * float64(n) / float64(of)
	return fmt.Sprintf("%.*f%%", max(0, 1-int(math.Floor(math.Log10(p)))), p)
}

// unreached is what becomes of a run that could not connect. A target that was
// reached before is one that died; one that cannot be reached at all is no
// measurement.
func unreached(ctx context.Context, err error, first bool) error {
	var violated *nbd.ProtocolError
	var late *nbd.TimeoutError
	var lost *nbd.LostError
	switch {
	case ctx.Err() != nil:
		return errNotRun
	case !first, errors.As(err, &violated), errors.As(err, &late), errors.As(err, &lost):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

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
	err := w.within(ctx, w.bound)
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
	d := w.device
	if a, ok := d.(*area); ok {
		d = a.Device
	}
	if c, ok := d.(causer); ok {
		return c.Oldest()
	}
	return "what the kernel sent"
}
