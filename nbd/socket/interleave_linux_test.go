//go:build !portable

package socket

import (
	"context"
	"fmt"
	"math"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nbdbench/internal/interleave"
	"nbdbench/internal/wake"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// pipe is a socket of which the peer takes so many bytes.
type pipe struct {
	w     *interleave.World
	room  int
	taken int
}

// Write calls f, which writes what there is room for.
func (p *pipe) Write(f func(fd uintptr) bool) error {
	f(0)
	return nil
}

func (p *pipe) Close() error { return nil }

// blocking is the end of a pipe that blocks.
type blocking struct{ *pipe }

func (b blocking) Write(data []byte) (int, error) {
	for n := 0; n < len(data); {
		b.w.Await(wake.Forever, func() bool { return b.room > 0 })
		k := min(b.room, len(data)-n)
		n, b.room, b.taken = n+k, b.room-k, b.taken+k
	}
	return len(data), nil
}

// exploredQueue is a queue of which the accesses are steps, on a pipe.
func exploredQueue(w *interleave.World, room int) (*outQueue, *pipe) {
	p := &pipe{w: w, room: room}
	q := &outQueue{conn: p, stream: blocking{p}, raw: p, before: func() {}, written: func([]message) {}, freed: func(freed) {}, short: newLayout(slabSize)}
	q.attempt = func(uintptr) bool {
		for len(q.rest) > 0 {
			k := min(p.room, len(q.rest[0]))
			if p.room, p.taken = p.room-k, p.taken+k; k == 0 {
				q.result = syscall.EAGAIN
				return true
			}
			q.advance(k)
		}
		q.result = nil
		return true
	}
	q.mu.Follow(w)
	q.work.Follow(w)
	return q, p
}

// pushes adds a thread that pushes messages of one byte, and flushes the queue as who
// leaves the loop does.
func pushes(w *interleave.World, name string, q *outQueue, messages int) {
	w.Thread(name, func() {
		for range messages {
			if q.add(&message{size: 1}) {
				w.Step() // it may leave the loop later
				q.Flush()
			}
		}
	})
}

// takes adds a thread that takes output, byte by byte.
func takes(w *interleave.World, p *pipe, bytes int) {
	w.Thread("peer", func() {
		for range bytes {
			w.Step()
			p.room++
		}
	})
}

// allTaken is what no order may change: the peer gets everything.
func allTaken(q *outQueue, p *pipe, bytes int) func() error {
	return func() error {
		if left := q.work.Left(); p.taken != bytes || left != 0 {
			return fmt.Errorf("the peer got %d bytes of %d, %d are left", p.taken, bytes, left)
		}
		return nil
	}
}

// Two push while the socket takes everything: who cannot write leaves it to who does.
func TestInterleavingsOfPushes(t *testing.T) {
	interleave.Explore(t, 3, func(w *interleave.World) {
		q, p := exploredQueue(w, math.MaxInt)
		q.wakeWriter = func() { panic("the socket takes everything") }
		pushes(w, "first", q, 1)
		pushes(w, "second", q, 2)
		w.AtEnd(allTaken(q, p, 3))
	})
}

// One pushes while the reader takes the socket out of Go's poller or gives it back.
func TestInterleavingsOfAPushAndAChangeOfTheSocket(t *testing.T) {
	interleave.Explore(t, 4, func(w *interleave.World) {
		q, p := exploredQueue(w, math.MaxInt)
		q.wakeWriter = func() { panic("the socket takes everything") }
		pushes(w, "pushes", q, 1)
		w.Thread("changes", func() { q.change(w.Step) })
		w.AtEnd(allTaken(q, p, 1))
	})
}

// The socket takes no more for a while, and the connection's writer has the rest.
func TestInterleavingsOfAPushAndTheWriter(t *testing.T) {
	interleave.Explore(t, 3, func(w *interleave.World) {
		q, p := exploredQueue(w, 1)
		rung := false
		q.wakeWriter = func() { rung = true }
		pushes(w, "pushes", q, 2)
		takes(w, p, 1)
		w.Thread("writer", func() {
			for {
				w.Await(wake.Forever, func() bool { return rung })
				rung = false
				q.drain()
			}
		})
		w.AtEnd(allTaken(q, p, 2))
	})
}

// noReplies is a socket that has none.
type noReplies struct{}

func (noReplies) Read([]byte) (int, error) { return 0, syscall.EAGAIN }

// exploredPoller is a client's poller of one connection. It wakes up for so many replies
// that turn out to be none.
func exploredPoller(w *interleave.World, real *sim.Real, in *inputBuffer, q *outQueue, p *pipe, replies int) {
	c := &ClientConn{real: real, plain: &plainSocket{fd: -1}, in: in, needs: nbd.ReplySize, out: q}
	a := &clientPoller{conns: []*ClientConn{c}, start: func(helper func()) { w.Thread("helper", helper) }}
	seen, others, arrived := -1, 0, 0
	a.poll = func(fds []unix.PollFd, _ int) (int, error) {
		writes := fds[0].Events&unix.POLLOUT != 0
		if writes && p.taken == seen {
			w.Yield(others) // who has the work is at it
		}
		w.Await(wake.Forever, func() bool { return writes && p.room > 0 || arrived > 0 })
		seen, others, fds[0].Revents = p.taken, w.Others(), 0
		if writes && p.room > 0 {
			fds[0].Revents = unix.POLLOUT
		}
		if arrived > 0 {
			arrived--
			fds[0].Revents |= unix.POLLIN
		}
		return 1, nil
	}
	a.sleep.Follow(w)
	a.writes(q)
	w.Thread("poller", a.run)
	for range replies {
		w.Thread("replies", func() { arrived++ })
	}
}

// The client's poller sleeps, wakes up or goes to sleep while another pushes more than the
// socket takes.
func TestInterleavingsOfAClientPollerAndItsHelper(t *testing.T) {
	real, in := newReal(t), newInputBuffer(noReplies{}, nil)
	for _, c := range []struct{ room, replies, bound int }{{0, 0, 2}, {1, 0, 2}, {0, 1, 1}} {
		interleave.Explore(t, c.bound, func(w *interleave.World) {
			q, p := exploredQueue(w, c.room)
			exploredPoller(w, real, in, q, p, c.replies)
			pushes(w, "pushes", q, 2)
			takes(w, p, 2-c.room)
			w.AtEnd(allTaken(q, p, 2))
		})
	}
}

// The client's poller sleeps all the time, and a helper ends while another pushes.
func TestInterleavingsOfAHelperThatEnds(t *testing.T) {
	interleave.Explore(t, 2, func(w *interleave.World) {
		q, p := exploredQueue(w, 0)
		a := &clientPoller{start: func(helper func()) { w.Thread("helper", helper) }}
		a.writes(q)
		a.sleep.Prepare(wake.Forever, func() bool { return false })
		a.sleep.Follow(w)
		for _, name := range []string{"first", "second"} {
			pushes(w, name, q, 1)
		}
		w.Thread("peer", func() {
			p.room = 1
			w.Await(wake.Forever, func() bool { return p.taken == 1 })
			w.Step()
			p.room = 1
		})
		w.AtEnd(allTaken(q, p, 2))
	})
}

// roomSite is a server with little memory and connections whose accesses are steps.
type roomSite struct {
	w *interleave.World
	s *Server
}

func exploredMemory(w *interleave.World, limit int64) *roomSite {
	s := &Server{ctx: context.Background()}
	s.memory.limit, s.memory.trim = limit, func() {}
	s.memory.held.Follow(w)
	s.memory.waiting.Follow(w)
	s.memory.mu.Follow(w)
	return &roomSite{w, s}
}

// conn is a connection that holds so much.
func (r *roomSite) conn(held int64) *serverSocket {
	k := &serverSocket{server: r.s, room: make(chan struct{}, 1), schedule: r.w, queued: queuedConn{place: -1}}
	k.sock.conn = &stuck{}
	k.held.Store(held)
	if held > 0 {
		k.requests.Store(1)
		r.s.memory.force(held)
	}
	k.held.Follow(r.w)
	k.requests.Follow(r.w)
	k.sleeper.Follow(r.w)
	return k
}

// awaits adds a thread that awaits room for a FLUSH.
func (r *roomSite) awaits(name string, k *serverSocket, result *string) {
	r.w.Thread(name, func() {
		p := parsed{ok: true}
		p.hold = nbd.Hold{Bytes: p.cost()}
		*result = "closed"
		if k.await(&p) {
			*result = "has room"
		}
	})
}

// A connection that waits for its own requests to end.
func TestInterleavingsOfAWaitForOnesOwnRoom(t *testing.T) {
	interleave.Explore(t, 4, func(w *interleave.World) {
		r := exploredMemory(w, 4*maxHeld)
		k := r.conn(maxHeld)
		var got string
		r.awaits("reader", k, &got)
		w.Thread("replies", func() { k.freed(freed{messages: 1, bytes: requestCost}) })
		w.AtEnd(func() error { return expectText(got, "has room") })
	})
}

func expectText(got, want string) error {
	if got != want {
		return fmt.Errorf("%q, expected %q", got, want)
	}
	return nil
}

// Two connections wait for what a third holds, which gives it back at once or in two.
func TestInterleavingsOfWaitsForTheServersMemory(t *testing.T) {
	for _, parts := range []int64{1, 2} {
		interleave.Explore(t, 2, func(w *interleave.World) {
			r := exploredMemory(w, 8*requestCost)
			holder, a, b := r.conn(8*requestCost), r.conn(0), r.conn(0)
			a.held.Store(requestCost) // not the first request, which always goes through
			b.held.Store(requestCost)
			var gotA, gotB string
			r.awaits("a", a, &gotA)
			r.awaits("b", b, &gotB)
			w.Thread("holder", func() {
				for range parts {
					holder.freed(freed{bytes: 8 * requestCost / parts})
				}
			})
			w.AtEnd(func() error { return expectText(gotA+", "+gotB, "has room, has room") })
		})
	}
}

// A connection is closed while it waits or is about to, and another gets its place.
func TestInterleavingsOfAWaitForMemoryAndClose(t *testing.T) {
	interleave.Explore(t, 2, func(w *interleave.World) {
		r := exploredMemory(w, 8*requestCost)
		holder, a, b := r.conn(8*requestCost), r.conn(0), r.conn(0)
		a.held.Store(requestCost)
		b.held.Store(requestCost)
		var gotA, gotB string
		r.awaits("a", a, &gotA)
		r.awaits("b", b, &gotB)
		w.Thread("closes", func() {
			w.Step()
			_ = a.sock.Close()
			a.wake()
		})
		w.Thread("holder", func() { holder.freed(freed{bytes: 8 * requestCost}) })
		w.AtEnd(func() error {
			if gotA == "" {
				return fmt.Errorf("a still waits though it is closed")
			}
			return expectText(gotB, "has room")
		})
	})
}
