//go:build !portable

package socket

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// plainSocket is a connected socket that Go's poller knows nothing of. Reads and
// writes end with EAGAIN where they would block.
type plainSocket struct {
	fd int

	mu   sync.Mutex
	gone bool // the descriptor may be another's
}

// plainOf takes over the socket of a connection that is nothing more than one. It
// is nil if c is more, such as TLS.
func plainOf(c net.Conn) *plainSocket {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	p := &plainSocket{fd: -1}
	err = raw.Control(func(fd uintptr) {
		p.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil || p.fd < 0 {
		return nil
	}
	_ = c.Close() // it goes on in p
	return p
}

func (p *plainSocket) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(p.fd, b)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write calls f with the socket.
func (p *plainSocket) Write(f func(fd uintptr) bool) error {
	f(uintptr(p.fd))
	return nil
}

// Close ends the connection in both directions; the clientPoller finds out and
// gives the socket back.
func (p *plainSocket) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return net.ErrClosed
	}
	if err := unix.Shutdown(p.fd, unix.SHUT_RDWR); !errors.Is(err, syscall.ENOTCONN) {
		return err
	}
	return nil
}

// release gives the socket back. Nobody reads or writes any more.
func (p *plainSocket) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	_ = unix.Close(p.fd)
}

// blockingWriter blocks in poll(2) until all is written.
type blockingWriter struct{ *plainSocket }

func (w blockingWriter) Write(b []byte) (n int, err error) {
	for n < len(b) {
		k, err := unix.Write(w.fd, b[n:])
		switch {
		case errors.Is(err, syscall.EAGAIN):
			w.wait(unix.POLLOUT, forever)
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return n, err
		default:
			n += k
		}
	}
	return n, nil
}

const forever = time.Duration(math.MaxInt64)

// wait blocks until one of events is there, or for so long. It reports whether
// something may be there.
func (p *plainSocket) wait(events int16, d time.Duration) bool {
	var until *unix.Timespec
	if d < forever {
		ts := unix.NsecToTimespec(int64(d))
		until = &ts
	}
	fds := [...]unix.PollFd{{Fd: int32(p.fd), Events: events}}
	n, err := unix.Ppoll(fds[:], until, nil)
	return n != 0 || err != nil // EINTR: look again
}

// endReads has all reads end.
func (p *plainSocket) endReads() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		_ = unix.Shutdown(p.fd, unix.SHUT_RD)
	}
}

// pollable gives the socket back to Go's poller, as a connection of its own.
func (p *plainSocket) pollable() (net.Conn, error) {
	fd, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	c, err := net.FileConn(f) // it has one of its own
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	p.release()
	return c, nil
}

// waitForData is wait for data. onTime has the thread that this goroutine is on now
// wake up as exactly as it can.
func (p *plainSocket) waitForData(d time.Duration, onTime bool) bool {
	if onTime {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	}
	return p.wait(unix.POLLIN, d)
}
