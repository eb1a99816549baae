package socket

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"nbdbench/sim"
)

// dedicateAfter is how many times in a row, of all the times that requests came to a
// server, they have to be one connection's before it is taken to be the only active one. To go
// over to the other way of waiting costs as much as some four requests.
const dedicateAfter = 256

// contendAfter is how many times requests have to come from another connection than
// those before, with no sole active one in between, before they are taken to contend.
const contendAfter = 256

// A dedicated reader polls dedicatedPolls times before it sleeps, some 4 µs,
// and goes back to Go's poller when nothing has come for dedicatedIdle. maxDedicated at a
// time are out of it, of which all but one are on their way back.
const (
	dedicatedPolls = 16
	dedicatedIdle  = 100 * time.Millisecond
	maxDedicated   = 16
)

// UseDedicatedReader has the reader of the only active connection wait in poll(2),
// in a thread, as a C program does, and not in Go's poller: a lone request
// costs one wait, where it is two and often the waking of another thread, and
// a client does not pay for telling epoll(7) what it sends and takes. That is 1.2
// to 1.5 times the requests of 4 KiB at depth 1, at two thirds to nine tenths of the
// processor time. With four connections it would be 0.6 times at one and a half
// times the processor time, so those are left to the poller, as are TLS and vsock.
//
// Such a reader owns the loop's timers, too (sim.Real.AcquireTimers).
//
// The thread keeps one of GOMAXPROCS for up to 10 ms while it waits: there have to be
// two.
//
// It comes before Serve.
func (s *Server) UseDedicatedReader() { s.dedicateAfter = dedicateAfter }

// OnContention has f called with true when several connections have become busy, and
// with false when one is the only active one again. It needs UseDedicatedReader. Calls
// follow each other, in no particular goroutine, and hold up a reader each.
//
// It comes before Serve.
func (s *Server) OnContention(f func(contended bool)) { s.onContention = f }

// noteActivity notes that requests have come from k, and reports whether that makes it
// the only active one, or one of several. It belongs to the loop.
func (s *Server) noteActivity(k *serverSocket) (sole, contended bool) {
	if s.latest != k {
		s.latest, s.inRow = k, 0
		s.changes++
	}
	s.inRow++
	if sole = s.dedicateAfter > 0 && s.inRow >= s.dedicateAfter; sole {
		s.changes = 0
	}
	return sole, s.changes >= contendAfter
}

// notifyContention says whether several are busy, if that is news. A call that is late is
// corrected by the next.
func (s *Server) notifyContention(contended bool) {
	if s.onContention == nil || s.contended.Load() == contended {
		return
	}
	s.contentionMu.Lock()
	defer s.contentionMu.Unlock()
	if s.contended.Swap(contended) != contended {
		s.onContention(contended)
	}
}

// socket is a server's end of a connection: one of Go's poller, or plain while the
// connection is the only active one. The reader changes it, and anybody may end it.
type socket struct {
	mu    sync.Mutex
	conn  net.Conn // nil while it is plain
	plain *plainSocket
	over  atomic.Bool // it has been ended, and stays what it is
}

// Close ends the connection in both directions.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over.Store(true)
	if s.plain != nil {
		return s.plain.Close()
	}
	return s.conn.Close()
}

// endReads ends the reader, and has it read nothing more.
func (s *socket) endReads() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over.Store(true)
	if s.plain != nil {
		s.plain.endReads()
	} else {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // long ago
	}
}

// leave takes the socket out of Go's poller. It reports whether it did.
func (s *socket) leave() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Load() {
		return false
	}
	switch s.conn.(type) {
	case *net.UnixConn, *net.TCPConn:
		if s.plain = plainOf(s.conn); s.plain != nil {
			s.conn = nil
		}
	}
	return s.plain != nil
}

// join gives the socket back to Go's poller. It reports whether it did.
func (s *socket) join() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Load() {
		return false
	}
	c, err := s.plain.pollable()
	if err != nil {
		return false
	}
	s.conn, s.plain = c, nil
	return true
}

// free gives the socket back for good, with whatever is left to write.
func (k *serverSocket) free() {
	_ = k.sock.Close()
	if p := k.sock.plain; p != nil {
		k.out.end()
		p.release()
		k.server.dedicated.Add(-1)
	}
}

// switchMode has k wait in the way that fits how busy others are. It is for the reader.
func (k *serverSocket) switchMode(sole bool) {
	switch is := k.sock.plain != nil; {
	case sole && is:
		k.guard.Yield(k.server.real.Now())
		k.reacquireTimers(true) // another may have ended
	case sole:
		k.leavePoller()
	case is:
		k.joinPoller()
	}
}

func (k *serverSocket) leavePoller() {
	if k.secure {
		return
	}
	k.out.change(func() {
		if k.server.dedicated.Add(1) > maxDedicated || !k.sock.leave() {
			k.server.dedicated.Add(-1)
			return
		}
		k.reacquireTimers(true)
		p := k.sock.plain
		k.use(dedicatedReader{k, p}, dedicatedRaw{k, p}, blockingWriter{p}, p)
	})
}

// joinPoller reports whether it has.
func (k *serverSocket) joinPoller() (ok bool) {
	k.out.change(func() {
		if ok = k.sock.join(); !ok {
			return
		}
		c := k.sock.conn
		raw, _ := c.(syscall.Conn).SyscallConn() // no error: it is open
		k.use(c, raw, c, raw)
		k.releaseTimers()
		k.server.dedicated.Add(-1)
	})
	return ok
}

// use changes what is read and written. Whoever calls it may write.
func (k *serverSocket) use(r io.Reader, raw rawReader, w io.Writer, rawW rawWriter) {
	k.in.c, k.in.raw = r, raw
	k.out.stream, k.out.raw = w, rawW
}

// releaseTimers gives the loop's timers back, and reports whether the reader had them.
func (k *serverSocket) releaseTimers() (kept bool) {
	if kept = k.ownsTimers; kept {
		k.ownsTimers = false
		k.server.real.ReleaseTimers()
	}
	return kept
}

// reacquireTimers makes the reader the owner of the loop's timers, if it was before and
// is still out of the poller, and nobody else is.
func (k *serverSocket) reacquireTimers(kept bool) {
	k.ownsTimers = k.ownsTimers || kept && k.sock.plain != nil && k.server.real.AcquireTimers()
}

// dedicatedReader blocks in poll(2) for data, and owns the loop's timers meanwhile.
type dedicatedReader struct {
	k *serverSocket
	p *plainSocket
}

func (a dedicatedReader) Read(b []byte) (int, error) {
	w := dedicatedWait{dedicatedReader: a}
	for !a.k.sock.over.Load() { // TCP goes on after SHUT_RD
		n, err := a.p.Read(b)
		switch {
		case !errors.Is(err, syscall.EAGAIN):
			return n, err
		case !w.wait() && a.k.joinPoller():
			return a.k.in.c.Read(b)
		}
	}
	return 0, net.ErrClosed
}

// dedicatedRaw is dedicatedReader for who reads by themselves.
type dedicatedRaw dedicatedReader

// Read calls f, with a socket that may have something, until it reports true.
func (a dedicatedRaw) Read(f func(fd uintptr) bool) error {
	w := dedicatedWait{dedicatedReader: dedicatedReader(a), polls: dedicatedPolls}
	for !f(uintptr(a.p.fd)) {
		if a.k.sock.over.Load() {
			return net.ErrClosed
		}
		if !w.wait() && a.k.joinPoller() {
			return a.k.in.raw.Read(f)
		}
	}
	return nil
}

// dedicatedWait is one wait for data.
type dedicatedWait struct {
	dedicatedReader
	polls int
	since sim.Time // the first time that it slept
}

// wait returns when it is time to look again. It reports false if nothing has come
// for so long that the reader should go back to Go's poller.
func (w *dedicatedWait) wait() bool {
	if w.polls < dedicatedPolls {
		w.polls++
		return true
	}
	real, most, onTime := w.k.server.real, dedicatedIdle, false
	if w.k.ownsTimers {
		d := real.NextWait()
		if d == 0 {
			return true
		}
		defer real.WaitDone()
		if d < most {
			most, onTime = d, true
		}
	}
	now := real.Now()
	if w.since == 0 {
		w.since = now
	}
	return w.p.waitForData(most, onTime) || now.Sub(w.since) < dedicatedIdle
}
