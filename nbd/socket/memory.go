package socket

import (
	"container/heap"
	"sync/atomic"

	"nbdbench/internal/wake"
	"nbdbench/nbd"
)

// What a server holds for its clients, in bytes, beside the data itself.
const (
	// requestCost is a request with its reply: the record of the request, what
	// layers and devices add to it, and the reply's place in the output queue.
	requestCost = 1 << 10
	// statusCost is the extents of a BLOCK_STATUS, as the device lists them and
	// as they are sent.
	statusCost = 48 << 10
	// connCost is a connection: its first read buffer, its records, and the stacks
	// of two goroutines.
	connCost = 32 << 10
	// handshakeCost is the longest option of a handshake, or TLS's buffers.
	handshakeCost = nbd.MaxOptionData
)

// The bounds of what connections hold.
const (
	// MinMemory is the least that a server can be limited to: half of what is free
	// has room for a request of the protocol's greatest payload, with as much
	// again for others.
	MinMemory = 4 * nbd.DefaultMaxPayload
	// defaultMemory is the limit of a server that was given none.
	defaultMemory = 1 << 30
	// maxHeld is what the requests and replies of one connection may hold.
	maxHeld = nbd.MaxInFlightBytes + nbd.MaxInFlight*requestCost
	// flushReserve is how many FLUSHes of a connection are received beyond all
	// bounds.
	flushReserve = 4
	// trimAbove is how much more than is needed is kept for later.
	trimAbove = 64 << 20
)

// memory is the budget of a server: what all its connections hold, buffers by
// their capacity. A connection may hold at most half of what is free, so that
// the largest holder waits first and there is always something left for others.
// (A. Choudhury, E. Hahne, "Dynamic queue length thresholds for shared-memory
// packet switches", 1998, with alpha = 1/2.)
type memory struct {
	limit int64
	held  wake.Int64
	base  atomic.Int64 // the part of held that connections take by being there
	peak  atomic.Int64 // the most of held since the trimmer looked
	trims atomic.Bool  // there is a trimmer
	trim  func()       // starts one

	waiting wake.Int64 // the length of queue
	mu      wake.Mutex
	queue   queue
}

// queuedConn is a connection that waits until it may hold so much.
type queuedConn struct {
	wants int64 // bytes in all
	wake  func()
	place int // in the queue; -1 is none
}

// fits reports whether a connection may hold so much, and n bytes of it anew,
// while all hold this. What needs more than half of everything waits until
// nobody else holds anything.
func (m *memory) fits(wants, n, held int64) bool {
	return wants <= (m.limit-held)/2 || wants == n && held <= m.base.Load()
}

// take takes n bytes for a connection that holds mine. It reports false if it
// has to wait.
func (m *memory) take(mine, n int64) bool {
	for {
		held := m.held.Load()
		if !m.fits(mine+n, n, held) {
			return false
		}
		if m.held.CompareAndSwap(held, held+n) {
			m.note(held + n)
			return true
		}
	}
}

// force takes n bytes whatever is free.
func (m *memory) force(n int64) { m.note(m.held.Add(n)) }

// note notes a new peak, as exactly as a race allows: the trimmer needs no more.
func (m *memory) note(held int64) {
	if held <= m.peak.Load() {
		return
	}
	m.peak.Store(held)
	if held > trimAbove && m.trims.CompareAndSwap(false, true) {
		m.trim()
	}
}

// give gives n bytes back, and wakes one that now has room.
func (m *memory) give(n int64) {
	m.held.Add(-n)
	if m.waiting.Load() > 0 {
		m.wakeOne()
	}
}

// connect takes what a connection needs to be there. All connections may take a
// quarter of the limit.
func (m *memory) connect(n int64) bool {
	if m.base.Add(n) > m.limit/4 {
		m.base.Add(-n)
		return false
	}
	m.force(n)
	return true
}

// disconnect gives back n bytes of what was taken by connect.
func (m *memory) disconnect(n int64) {
	m.base.Add(-n)
	m.give(n)
}

// wakeOne wakes the connection that wants least, if it may hold that. Once that
// has taken it, it wakes the next.
func (m *memory) wakeOne() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return
	}
	if w := m.queue[0]; m.fits(w.wants, w.wants, m.held.Load()) {
		m.remove(w)
		w.wake()
	}
}

func (m *memory) join(w *queuedConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	heap.Push(&m.queue, w)
	m.waiting.Store(int64(len(m.queue)))
}

func (m *memory) leave(w *queuedConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w.place >= 0 {
		m.remove(w)
	}
}

// remove takes w out of the queue. m.mu is held.
func (m *memory) remove(w *queuedConn) {
	heap.Remove(&m.queue, w.place)
	m.waiting.Store(int64(len(m.queue)))
}

// queue is a heap: first who wants to hold least.
type queue []*queuedConn

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].wants < q[j].wants }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *queue) Push(x any) {
	w := x.(*queuedConn)
	w.place = len(*q)
	*q = append(*q, w)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	w.place = -1
	return w
}
