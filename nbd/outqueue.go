package nbd

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"nbdbench/sim"
)

// maxBatch is how many messages are written by one system call: with data, two
// pieces each, half of what Linux takes (IOV_MAX).
const maxBatch = 256

// message is one message on its way to a socket.
type message struct {
	header [maxHeaderSize]byte
	size   int // of the header
	data   []byte
	buf    *buffer  // to be released once it is written
	due    sim.Time // see Reply
}

func (m *message) bytes() int { return m.size + len(m.data) }

// outQueue is a connection's output. Whoever owns the loop pushes; any number
// of goroutines may flush, of which one at a time writes. A flush never blocks:
// what the socket does not take at once is left to a writer of its own.
type outQueue struct {
	conn    io.Closer
	stream  io.Writer             // that blocks
	raw     rawWriter             // that does not; nil if there is none
	rings   func()                // has written what a flush could not
	before  func()                // called before each attempt to write
	written func(batch []message) // called after a batch was written

	mu      sync.Mutex
	pending []message
	err     error

	queued  atomic.Bool // AfterLeave has been asked for
	backlog atomic.Int64
	wake    chan struct{}
	helped  atomic.Bool // an attendant's helper writes

	writing sync.Mutex // what follows belongs to who holds it
	batch   []message
	headers []byte
	rest    net.Buffers
	pieces  net.Buffers
	attempt func(fd uintptr) bool
	result  error
}

// rawWriter calls f with a socket's descriptor.
type rawWriter interface {
	Write(f func(fd uintptr) bool) error
}

// newOutQueue has a writer, which is to be started.
func newOutQueue(c net.Conn) *outQueue {
	q := &outQueue{conn: c, stream: c, before: func() {}, written: func([]message) {}, wake: make(chan struct{}, 1)}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			q.raw = raw
		}
	}
	q.attempt, q.rings = q.writev, q.ring
	return q
}

// newPlainQueue has no writer.
func newPlainQueue(p *plainSocket) *outQueue {
	q := &outQueue{conn: p, stream: patientWriter{p}, raw: p, before: func() {}, written: func([]message) {}}
	q.attempt, q.rings = q.writev, func() { go q.drain() }
	return q
}

// push appends m, and has q flushed when the owner leaves.
func (q *outQueue) push(m message, real *sim.Real) {
	q.mu.Lock()
	dead := q.err != nil
	if !dead {
		q.pending = append(q.pending, m)
		q.backlog.Add(int64(m.bytes()))
	}
	q.mu.Unlock()
	if dead {
		m.buf.release()
	} else if !q.queued.Swap(true) {
		real.AfterLeave(q)
	}
}

// Flush writes what the socket takes without blocking. It is for the Real to
// call.
func (q *outQueue) Flush() {
	q.queued.Store(false)
	for q.backlog.Load() > 0 && q.writing.TryLock() {
		done := q.write(q.try)
		q.writing.Unlock()
		if !done {
			q.rings()
			return
		}
	}
}

// ring wakes the writer.
func (q *outQueue) ring() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// writer writes what Flush could not, until done is closed.
func (q *outQueue) writer(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-q.wake:
			q.drain()
		}
	}
}

// drain writes all there is, however long that takes.
func (q *outQueue) drain() {
	for q.backlog.Load() > 0 {
		q.writing.Lock()
		q.write(q.block)
		q.writing.Unlock()
	}
}

// drainBatch writes what there is at present, however long that takes.
func (q *outQueue) drainBatch() {
	q.writing.Lock()
	defer q.writing.Unlock()
	if len(q.rest) > 0 || q.gather() {
		q.writeBatch(q.block)
	}
}

// write writes batch after batch by some means until nothing is left or it
// would block, which it reports as not done.
func (q *outQueue) write(by func() error) (done bool) {
	for len(q.rest) > 0 || q.gather() {
		if !q.writeBatch(by) {
			return false
		}
	}
	return true
}

func (q *outQueue) writeBatch(by func() error) (done bool) {
	q.before()
	err := by()
	if errors.Is(err, syscall.EAGAIN) {
		return false
	}
	if err != nil {
		q.fail(err)
	}
	q.settle()
	return true
}

// gather takes the next batch and lays its pieces out: headers that follow each
// other lie in one piece.
func (q *outQueue) gather() bool {
	q.mu.Lock()
	n := min(len(q.pending), maxBatch)
	q.batch = append(q.batch[:0], q.pending[:n]...)
	left := copy(q.pending, q.pending[n:])
	clear(q.pending[left:])
	q.pending = q.pending[:left]
	q.mu.Unlock()
	if cap(q.headers) < n*maxHeaderSize { // pieces refer to it: it must not move
		q.headers = make([]byte, 0, min(maxBatch, 2*n)*maxHeaderSize)
	}
	q.headers, q.pieces = q.headers[:0], q.pieces[:0]
	start := 0
	for i := range q.batch {
		m := &q.batch[i]
		q.headers = append(q.headers, m.header[:m.size]...)
		if len(m.data) > 0 || i == n-1 {
			q.pieces = append(q.pieces, q.headers[start:])
			start = len(q.headers)
		}
		if len(m.data) > 0 {
			q.pieces = append(q.pieces, m.data)
		}
	}
	q.rest = q.pieces
	return n > 0
}

// settle accounts for a batch of which nothing is left to write.
func (q *outQueue) settle() {
	var sum int64
	for i := range q.batch {
		sum += int64(q.batch[i].bytes())
		q.batch[i].buf.release()
	}
	q.backlog.Add(-sum)
	q.written(q.batch)
	clear(q.batch)
	q.batch, q.rest = q.batch[:0], nil
}

// try writes what the socket takes at once.
func (q *outQueue) try() error {
	if q.raw == nil {
		return syscall.EAGAIN
	}
	if err := q.raw.Write(q.attempt); err != nil {
		return err
	}
	return q.result
}

// writev is one attempt after another, until the socket takes no more.
func (q *outQueue) writev(fd uintptr) bool {
	for len(q.rest) > 0 {
		n, err := unix.Writev(int(fd), q.rest)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if q.result = err; err != nil {
			return true
		}
		q.advance(n)
	}
	return true
}

// advance drops the first n bytes of the rest.
func (q *outQueue) advance(n int) {
	for n > 0 {
		if first := q.rest[0]; n < len(first) {
			q.rest[0] = first[n:]
			return
		}
		n -= len(q.rest[0])
		q.rest = q.rest[1:]
	}
}

// block writes the rest, waiting for the socket.
func (q *outQueue) block() error {
	_, err := q.rest.WriteTo(q.stream)
	return err
}

// end drops the output for good: nobody touches the socket after it.
func (q *outQueue) end() {
	q.writing.Lock()
	defer q.writing.Unlock()
	q.fail(net.ErrClosed)
	q.settle()
}

// fail closes the connection, which ends its reader, and drops the output.
func (q *outQueue) fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	dropped := q.pending
	q.pending = nil
	q.mu.Unlock()
	_ = q.conn.Close()
	for i := range dropped {
		q.backlog.Add(-int64(dropped[i].bytes()))
		dropped[i].buf.release()
	}
}
