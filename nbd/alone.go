package nbd

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/sim"
)

// aloneAfter is how many times in a row, of all the times that requests came to a
// server, they have to be one connection's before it is taken to be alone. To go
// over to the other way of waiting costs as much as some four requests.
const aloneAfter = 256

// crowdAfter is how many times requests have to come from another connection than
// those before, with none alone in between, before several are taken to be busy.
const crowdAfter = 256

// A connection that is alone looks aloneLooks times before it sleeps, some 4 µs,
// and goes back to Go's poller when nothing has come for aloneIdle. maxAlone at a
// time are out of it, of which all but one are on their way back.
const (
	aloneLooks = 16
	aloneIdle  = 100 * time.Millisecond
	maxAlone   = 16
)

// BlockWhenAlone has the reader of a connection that alone is busy wait in poll(2),
// in a thread, as a C program does, and not in Go's poller: a request that comes
// alone costs one wait, where it is two and often the waking of another thread, and
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
func (s *Server) BlockWhenAlone() { s.aloneAfter = aloneAfter }

// WhenCrowded has f called with true when several connections have become busy, and
// with false when one is alone again, if BlockWhenAlone has it looked for. Calls
// follow each other, in no particular goroutine, and hold up a reader each.
//
// It comes before Serve.
func (s *Server) WhenCrowded(f func(crowded bool)) { s.onCrowd = f }

// took notes that requests have come from k, and reports whether that makes it
// alone, or one of several. It belongs to the loop.
func (s *Server) took(k *serverSocket) (alone, crowded bool) {
	if s.latest != k {
		s.latest, s.inRow = k, 0
		s.changes++
	}
	s.inRow++
	if alone = s.aloneAfter > 0 && s.inRow >= s.aloneAfter; alone {
		s.changes = 0
	}
	return alone, s.changes >= crowdAfter
}

// notifyContention says whether several are busy, if that is news. One that is late with it
// is put right by the next.
func (s *Server) notifyContention(crowded bool) {
	if s.onCrowd == nil || s.crowded.Load() == crowded {
		return
	}
	s.crowdMu.Lock()
	defer s.crowdMu.Unlock()
	if s.crowded.Swap(crowded) != crowded {
		s.onCrowd(crowded)
	}
}

// socket is a server's end of a connection: one of Go's poller, or plain while the
// connection is alone. The reader changes it, and anybody may end it.
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
	fd, err := unix.FcntlInt(uintptr(s.plain.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "")
	c, err := net.FileConn(f) // it has one of its own
	_ = f.Close()
	if err != nil {
		return false
	}
	s.plain.release()
	s.conn, s.plain = c, nil
	return true
}

// free gives the socket back for good, with whatever is left to write.
func (k *serverSocket) free() {
	_ = k.sock.Close()
	if p := k.sock.plain; p != nil {
		k.out.end()
		p.release()
		k.server.alone.Add(-1)
	}
}

// settle has k wait in the way that fits how busy others are. It is for the reader.
func (k *serverSocket) settle(alone bool) {
	switch is := k.sock.plain != nil; {
	case alone && is:
		k.turn.Yield(k.server.real.Now())
		k.reacquireTimers(true) // another may have ended
	case alone:
		k.leavePoller()
	case is:
		k.joinPoller()
	}
}

func (k *serverSocket) leavePoller() {
	if k.secure || !k.out.writing.TryLock() {
		return
	}
	if k.server.alone.Add(1) <= maxAlone && k.sock.leave() {
		k.reacquireTimers(true)
		p := k.sock.plain
		k.use(aloneReader{k, p}, aloneRaw{k, p}, patientWriter{p}, p)
	} else {
		k.server.alone.Add(-1)
	}
	k.out.writing.Unlock()
	k.out.Flush() // what was pushed meanwhile
}

// joinPoller reports whether it has.
func (k *serverSocket) joinPoller() bool {
	if !k.out.writing.TryLock() {
		return false
	}
	ok := k.sock.join()
	if ok {
		c := k.sock.conn
		raw, _ := c.(syscall.Conn).SyscallConn() // no error: it is open
		k.use(c, raw, c, raw)
		k.releaseTimers()
		k.server.alone.Add(-1)
	}
	k.out.writing.Unlock()
	k.out.Flush()
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

// aloneReader blocks in poll(2) for data, and owns the loop's timers meanwhile.
type aloneReader struct {
	k *serverSocket
	p *plainSocket
}

func (a aloneReader) Read(b []byte) (int, error) {
	w := aloneWait{aloneReader: a}
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

// aloneRaw is aloneReader for who reads by themselves.
type aloneRaw aloneReader

// Read calls f, with a socket that may have something, until it reports true.
func (a aloneRaw) Read(f func(fd uintptr) bool) error {
	w := aloneWait{aloneReader: aloneReader(a), looks: aloneLooks}
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

// aloneWait is one wait for data.
type aloneWait struct {
	aloneReader
	looks int
	since sim.Time // the first time that it slept
}

// wait returns when it is time to look again. It reports false if nothing has come
// for so long that the reader should go back to Go's poller.
func (w *aloneWait) wait() bool {
	if w.looks < aloneLooks {
		w.looks++
		return true
	}
	real, most := w.k.server.real, aloneIdle
	if w.k.ownsTimers {
		d := real.NextWait()
		if d == 0 {
			return true
		}
		defer real.WaitDone()
		if d < most { // on time: the slack is the thread's that this goroutine is on now
			most = d
			_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		}
	}
	now := real.Now()
	if w.since == 0 {
		w.since = now
	}
	return w.p.wait(unix.POLLIN, most) || now.Sub(w.since) < aloneIdle
}
