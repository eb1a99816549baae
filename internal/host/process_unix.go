//go:build unix

package host

import "syscall"

// Signal sends SIGTERM to a process, or with a negative number to its group.
func Signal(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }

// KillGroup kills all processes of a group.
func KillGroup(pgid int) error { return syscall.Kill(-pgid, syscall.SIGKILL) }

// GroupExists reports whether a group has processes.
func GroupExists(pgid int) bool { return syscall.Kill(-pgid, 0) == nil }
