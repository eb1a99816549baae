//go:build !portable

package sim

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is what the pacer sleeps on: a timerfd in Go's poller. Go's own timers
// round a delay below 1 ms up to 1 ms, because epoll_wait counts milliseconds, and
// a thread that sleeps by itself keeps one of GOMAXPROCS meanwhile.
type alarm struct {
	fd    int
	timer *os.File // of fd

	mu     sync.Mutex
	rung   bool
	closed bool
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return &alarm{fd: fd, timer: os.NewFile(uintptr(fd), "timer")}, nil
}

// wait returns after d, or when somebody rings or has rung.
func (a *alarm) wait(d Duration) {
	const long = Duration(time.Hour)
	if a.start(min(d, long), false) {
		var seen [8]byte
		_, _ = a.timer.Read(seen[:])
	}
	a.mu.Lock()
	a.rung = false // what it was for, the pacer looks at now
	a.mu.Unlock()
}

// ring ends a wait, this or the next.
func (a *alarm) ring() { a.start(1, true) }

// start sets the timer, unless somebody has rung. It reports whether it did.
func (a *alarm) start(d Duration, rings bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rung || a.closed {
		return false
	}
	a.rung = rings
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	return unix.TimerfdSettime(a.fd, 0, &at, nil) == nil
}

func (a *alarm) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return a.timer.Close()
}
