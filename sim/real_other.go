//go:build !linux || portable

package sim

import "time"

// alarm is what the pacer sleeps on: a timer of Go. The tag portable has Linux use it
// too, for tests. A timer may be late by a millisecond and more, which Real.Late
// reports.
type alarm struct {
	rung chan struct{} // somebody rings
}

func newAlarm() (*alarm, error) { return &alarm{make(chan struct{}, 1)}, nil }

// wait returns after d, or when somebody rings or has rung.
func (a *alarm) wait(d Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-a.rung:
	}
}

// ring ends a wait, this or the next.
func (a *alarm) ring() {
	select {
	case a.rung <- struct{}{}:
	default: // it rings already
	}
}

func (a *alarm) close() error { return nil }
