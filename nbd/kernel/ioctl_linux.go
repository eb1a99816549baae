package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The ioctls of a /dev/nbdN (include/uapi/linux/nbd.h).
const (
	ioctlSetSock       = 0xab00
	ioctlSetBlockSize  = 0xab01
	ioctlDoIt          = 0xab03
	ioctlClearSock     = 0xab04
	ioctlSetSizeBlocks = 0xab07
	ioctlDisconnect    = 0xab08
	ioctlSetTimeout    = 0xab09
	ioctlSetFlags      = 0xab0a
)

// session is a device that was configured by ioctls: it lives for as long as a
// thread is inside NBD_DO_IT.
type session struct {
	file  *os.File
	ended chan struct{}
}

// connectIoctl hands the sockets to the kernel by the older way.
func connectIoctl(c *connection) (*session, error) {
	f, err := os.OpenFile(devicePath(c.index), os.O_RDWR, 0)
	if err != nil {
		return nil, openError(devicePath(c.index), err)
	}
	s := &session{file: f, ended: make(chan struct{})}
	for _, step := range []struct {
		what       string
		request    uint
		argument   int
		everSocket bool
	}{
		{"NBD_SET_BLKSIZE", ioctlSetBlockSize, int(c.blockSize), false},
		{"NBD_SET_SIZE_BLOCKS", ioctlSetSizeBlocks, int(c.size / uint64(c.blockSize)), false},
		{"NBD_SET_TIMEOUT", ioctlSetTimeout, int(seconds(c.timeout)), false},
		{"NBD_SET_SOCK", ioctlSetSock, 0, true},
		{"NBD_SET_FLAGS", ioctlSetFlags, int(c.flags), false},
	} {
		arguments := []int{step.argument}
		if step.everSocket {
			arguments = c.sockets
		}
		for _, a := range arguments {
			if err := unix.IoctlSetInt(int(f.Fd()), step.request, a); err != nil {
				return nil, errors.Join(ioctlError(step.what, err), s.clear(), f.Close())
			}
		}
	}
	go s.run()
	return s, nil
}

// run is inside the kernel until the device is disconnected or its server has
// gone. Any signal that its thread takes would end it, such as those by which Go
// interrupts threads.
func (s *session) run() {
	defer close(s.ended)
	runtime.LockOSThread() // never unlocked: the thread ends with its signal mask
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil) // no error: the arguments are right
	_ = unix.IoctlSetInt(int(s.file.Fd()), ioctlDoIt, 0) // how it ended shows in the device's requests
	_ = s.clear()
}

func (s *session) clear() error {
	return unix.IoctlSetInt(int(s.file.Fd()), ioctlClearSock, 0)
}

// disconnect has the kernel let the device go, and waits until it has.
func (s *session) disconnect() error {
	select {
	case <-s.ended:
		return s.file.Close()
	default:
	}
	err := unix.IoctlSetInt(int(s.file.Fd()), ioctlDisconnect, 0)
	if errors.Is(err, unix.EINVAL) {
		err = nil // nothing is configured: it has ended by itself
	}
	<-s.ended
	return errors.Join(err, s.file.Close())
}

// disconnectIoctl has the kernel let go a device that another process
// configured by ioctls.
func disconnectIoctl(index int) error {
	f, err := os.OpenFile(devicePath(index), os.O_RDWR, 0)
	if err != nil {
		return openError(devicePath(index), err)
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), ioctlDisconnect, 0); err != nil {
		return ioctlError("NBD_DISCONNECT", err)
	}
	return nil
}

func ioctlError(what string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return &Missing{"not permitted to configure /dev/nbd*", "run it as root (CAP_SYS_ADMIN)", err}
	}
	return fmt.Errorf("%s: %w", what, err)
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return &Missing{path + " does not exist", "modprobe nbd (as root); in a container, give it the host's /dev/nbd*", nil}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return &Missing{"not permitted to open " + path, "run it as root", nil}
	}
	return err
}
