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
