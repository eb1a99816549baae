package sim

import (
	"encoding/binary"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is what the pacer sleeps on: an eventfd that others ring, waited for
// with a timeout in nanoseconds. Go's own timers round a delay below 1 ms up to
// 1 ms, because epoll_wait counts milliseconds.
type alarm struct {
	fd   int
	wake [8]byte // what ring writes
	seen [8]byte // what wait reads
}

func newAlarm() (*alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	a := &alarm{fd: fd}
	binary.NativeEndian.PutUint64(a.wake[:], 1)
	return a, nil
}

// sharpen asks the kernel to wake the calling thread on time, within 1 ns in
// place of the 50 µs by which it otherwise gathers wake-ups. Where that is
// refused the pacer is late by so much, and its histogram says so.
func (a *alarm) sharpen() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}

// wait returns after d, or when somebody rings.
func (a *alarm) wait(d Duration) {
	const long = Duration(time.Hour)
	ts := unix.NsecToTimespec(int64(min(d, long)))
	fds := [1]unix.PollFd{{Fd: int32(a.fd), Events: unix.POLLIN}}
	if n, _ := unix.Ppoll(fds[:], &ts, nil); n > 0 {
		_, _ = unix.Read(a.fd, a.seen[:])
	}
}

func (a *alarm) ring() {
	_, _ = unix.Write(a.fd, a.wake[:])
	runtime.KeepAlive(a)
}

func (a *alarm) close() error { return unix.Close(a.fd) }
