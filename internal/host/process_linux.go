package host

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Group has a program start in a process group of its own, and get a signal when the
// thread that started it ends.
func Group(orphaned syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: orphaned}
}

// AwaitEnd returns when a child has ended, and leaves it to be reaped: until then its
// number, and that of its group, is nobody else's.
func AwaitEnd(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}
