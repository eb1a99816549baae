package host

import (
	"errors"
	"os"
	"syscall"
)

// Group has a program start in a process group of its own.
func Group(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// AwaitEnd returns when a process has ended.
func AwaitEnd(pid int) {
	h, err := syscall.OpenProcess(syscall.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return
	}
	_, _ = syscall.WaitForSingleObject(h, syscall.INFINITE)
	_ = syscall.CloseHandle(h)
}

// Signal ends a process, of a group its first one: there is no SIGTERM.
func Signal(pid int) error { return KillGroup(max(pid, -pid)) }

// KillGroup ends the first process of a group.
func KillGroup(pgid int) error {
	p, err := os.FindProcess(pgid)
	if err != nil {
		return err
	}
	return errors.Join(p.Kill(), p.Release())
}

// GroupExists reports false: members of a group are not looked for.
func GroupExists(int) bool { return false }
