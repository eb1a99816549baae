package stack

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"nbdbench/devices"
	"nbdbench/workloads"
)

// Why a run has no figures.
var (
	// ErrInvalid is for measurements that must not be used.
	ErrInvalid = errors.New("measurement invalid")
	// ErrNotRun is for runs that did not begin, because the user stopped the program.
	ErrNotRun = errors.New("interrupted")
)

// causer is what of an NBD client says why it ended.
type causer interface {
	Cause() error
	Oldest() string
}

// Fault is why a run's figures must not be used, or nil: what ended its
// connections, what stopped its workload, or more failed transactions than
// allowed. It belongs to the loop.
func Fault(d devices.Device, r *workloads.Runner, allow float64) error {
	if err := Cause(d); err != nil {
		return err
	}
	failures := Failures(r.Stats(), allow)
	switch err := r.Err(); {
	case err != nil && failures != nil:
		return fmt.Errorf("%w: %w: %w", ErrInvalid, failures, err)
	case err != nil || failures != nil:
		return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(err, failures))
	}
	return nil
}

// Cause is why an NBD client's connections ended, or nil.
func Cause(d devices.Device) error {
	if c, ok := d.(causer); ok && c.Cause() != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, c.Cause())
	}
	return nil
}

// Failures says which share of a run's transactions failed, and with what, if it
// is more than allowed.
func Failures(s workloads.Stats, allow float64) error {
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
