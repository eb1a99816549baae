//go:build !portable

package socket

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"nbdbench/internal/wake"
	"nbdbench/sim"
)

// clientPoller is a thread that waits for all of a client's plain sockets at once
// with poll(2), and reads and writes them. A request that goes out alone costs one
// wait and one switch of threads, as in a C program; by Go's own poller it
// is two waits and often the waking of another thread.
//
// While it waits it keeps one of GOMAXPROCS for up to 10 ms. A program that has
// other goroutines to run on time allows for one more.
type clientPoller struct {
	conns []*ClientConn
	fds   []unix.PollFd // theirs, in the same order
	sleep wake.Sleeper  // that nobody rings: see wake.Work
	guard sim.PreemptionGuard

	poll  func(fds []unix.PollFd, ms int) (int, error) // unix.Poll
	start func(helper func())                          // in a goroutine
}

// spinPolls is how often a clientPoller polls before it goes to sleep, while several
// connections await replies: some 15 µs. With four connections of one request
// each that is a third more requests, and no more processor time for each, because
// a server whose client is awake need not wake it. With one connection it would
// be fewer.
const spinPolls = 16

// readsPerConn is how often one connection is read before the others have their
// turn.
const readsPerConn = 16

// pollClients serves conns, of which all are plain, until each has ended.
func pollClients(conns []*ClientConn) {
	a := &clientPoller{conns: conns, poll: unix.Poll, start: func(helper func()) { go helper() }}
	for _, c := range conns {
		a.writes(c.out)
	}
	go a.run()
}

// writes has a write what a flush of q cannot. While it sleeps a helper does. That is
// seldom: an eventfd to wake it by would have to be polled for each request.
func (a *clientPoller) writes(q *outQueue) {
	help := func() { q.work.Help(&a.sleep, q.drainBatch) }
	q.wakeWriter = func() {
		if q.work.NeedsHelp(&a.sleep) {
			a.start(help)
		}
	}
}

func (a *clientPoller) run() {
	for a.wait(); len(a.conns) > 0; a.wait() {
		kept := a.conns[:0]
		for i, c := range a.conns {
			if err := c.handleEvents(a.fds[i].Revents); err != nil {
				c.end(err)
				continue
			}
			kept = append(kept, c)
		}
		clear(a.conns[len(kept):])
		a.conns = kept
	}
}

// wait blocks until there is something to do.
func (a *clientPoller) wait() {
	a.sleep.Prepare(wake.Forever, a.list)
	if len(a.conns) == 0 {
		return
	}
	a.guard.Yield(a.conns[0].real.Now())
	if !a.spin() {
		_, _ = a.poll(a.fds, -1) // EINTR: look again
	}
	a.sleep.Woke()
}

// list lists what to wait for: output only where nobody else writes it. There is always
// something to wait for.
func (a *clientPoller) list() (stay bool) {
	a.fds = a.fds[:0]
	for _, c := range a.conns {
		p := unix.PollFd{Fd: int32(c.plain.fd), Events: unix.POLLIN}
		if c.out.work.Left() > 0 && !c.out.work.Helped() {
			p.Events |= unix.POLLOUT
		}
		a.fds = append(a.fds, p)
	}
	return false
}

// spin reports whether there is something to do within a short while, if that
// is likely.
func (a *clientPoller) spin() bool {
	owing := 0
	for _, c := range a.conns {
		owing += min(c.owed, 1)
	}
	for i := 0; owing > 1 && i < spinPolls; i++ {
		if n, _ := a.poll(a.fds, 0); n > 0 {
			return true
		}
	}
	return false
}

// handleEvents does what poll says that can be done. The error ends the connection.
func (c *ClientConn) handleEvents(events int16) error {
	if events&unix.POLLOUT != 0 {
		c.out.Flush()
	}
	if events&^unix.POLLOUT == 0 {
		return nil
	}
	for range readsPerConn {
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
