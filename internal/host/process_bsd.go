//go:build darwin || freebsd

package host

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// Group has a program start in a process group of its own. It gets no signal when the
// process that started it ends.
func Group(syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// AwaitEnd returns when a child has ended, and leaves it to be reaped: until then its
// number, and that of its group, is nobody else's.
func AwaitEnd(pid int) {
	q, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(q)
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	change[0].Fflags = unix.NOTE_EXIT
	for {
		var got [1]unix.Kevent_t
		if _, err := unix.Kevent(q, change[:], got[:], nil); !errors.Is(err, unix.EINTR) {
			return // with ESRCH, too: it has ended
		}
	}
}
