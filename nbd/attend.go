package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// attendant is a thread that waits for all of a client's plain sockets at once
// with poll(2), and reads and writes them. A request that goes out alone costs one
// wait and one switch of threads, as in a C program; by Go's own poller it
// is two waits and often the waking of another thread.
//
// While it waits it keeps one of GOMAXPROCS for up to 10 ms. A program that has
// other goroutines to run on time allows for one more.
type attendant struct {
	conns []*ClientConn
	fds   []unix.PollFd // the bell and the connections, in the same order
	bell  int           // an eventfd, by which others have it look for output
	awake atomic.Bool   // it will look before it waits again
}

// glances is how often an attendant polls before it goes to sleep, while several
// connections await replies: some 15 µs. With four connections of one request
// each that is a third more requests, and no more processor time for each, because
// a server whose client is awake need not wake it. With one connection it would
// be fewer.
const glances = 16

// readsPerTurn is how often one connection is read before the others have their
// turn.
const readsPerTurn = 16

// attend serves conns, of which all are plain, until each has ended. With an error
// they have.
func attend(conns []*ClientConn) error {
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		err = fmt.Errorf("eventfd: %w", err)
		for _, c := range conns {
			c.end(err)
		}
		return err
	}
	a := &attendant{conns: conns, bell: bell}
	for _, c := range conns {
		c.out.rings = a.ring
	}
	go a.run()
	return nil
}

func (a *attendant) run() {
	for a.wait(); len(a.conns) > 0; a.wait() {
		kept := a.conns[:0]
		for i, c := range a.conns {
			if err := c.attended(a.fds[i+1].Revents); err != nil {
				c.end(err)
				continue
			}
			kept = append(kept, c)
		}
		clear(a.conns[len(kept):])
		a.conns = kept
	}
}

// wait blocks until there is something to do. The order of the two atomics, awake
// and a queue's backlog, pairs with that in ring's callers.
func (a *attendant) wait() {
	a.awake.Store(false)
	a.fds = append(a.fds[:0], unix.PollFd{Fd: int32(a.bell), Events: unix.POLLIN})
	for _, c := range a.conns {
		p := unix.PollFd{Fd: int32(c.plain.fd), Events: unix.POLLIN}
		if c.out.backlog.Load() > 0 {
			p.Events |= unix.POLLOUT
		}
		a.fds = append(a.fds, p)
	}
	if len(a.conns) == 0 {
		_ = unix.Close(a.bell) // nobody rings: the queues have ended
		return
	}
	if !a.glance() {
		_, _ = unix.Poll(a.fds, -1) // EINTR: look again
	}
	a.awake.Store(true)
	if a.fds[0].Revents != 0 {
		var seen [8]byte
		_, _ = unix.Read(a.bell, seen[:])
	}
}

// glance reports whether there is something to do within a short while, if that
// is likely.
func (a *attendant) glance() bool {
	owing := 0
	for _, c := range a.conns {
		owing += min(c.owed, 1)
	}
	for i := 0; owing > 1 && i < glances; i++ {
		if n, _ := unix.Poll(a.fds, 0); n > 0 {
			return true
		}
	}
	return false
}

// ring has the attendant look for output that a socket did not take. It is
// called after the backlog was raised.
func (a *attendant) ring() {
	if !a.awake.Load() {
		one := [8]byte{}
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(a.bell, one[:])
	}
}

// attended does what poll says that can be done. The error ends the connection.
func (c *ClientConn) attended(events int16) error {
	if events&unix.POLLOUT != 0 {
		c.out.Flush()
	}
	if events&^unix.POLLOUT == 0 {
		return nil
	}
	for range readsPerTurn {
		if err := c.take(); errors.Is(err, syscall.EAGAIN) {
			return nil
		} else if err != nil {
			return err
		}
		if !c.in.filled { // the socket is empty, or poll will say that it is not
			return nil
		}
	}
	return nil
}

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

// Close ends the connection in both directions; the attendant finds out and
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
