package socket

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"nbdbench/internal/wake"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// maxBatch is how many messages are written by one system call: with data, two
// pieces each, half of what Linux takes (IOV_MAX).
const maxBatch = 256

// message is one message on its way to a socket.
type message struct {
	header [nbd.MaxHeaderSize]byte
	size   int // of the header
	data   []byte
	due    sim.Time // see nbd.Reply
	hold   nbd.Hold // to be released once it is written
}

func (m *message) bytes() int { return m.size + len(m.data) }

// slabSize is how many messages are queued in one piece of memory, of 3 KiB.
const slabSize = 32

// slab is a part of a queue. Queues share slabs: an empty one has none.
type slab struct {
	messages [slabSize]message
	n        int // of messages
	next     *slab
}

var slabs = sync.Pool{New: func() any { return new(slab) }}

// layout is a batch as it is handed to the system.
type layout struct {
	headers []byte
	pieces  net.Buffers
}

func newLayout(messages int) *layout {
	return &layout{make([]byte, 0, messages*nbd.MaxHeaderSize), make(net.Buffers, 0, 2*messages)}
}

// layouts are for long batches. A connection keeps one for short ones.
var layouts = sync.Pool{New: func() any { return newLayout(maxBatch) }}

// outQueue is a connection's output. Whoever owns the loop pushes; any number
// of goroutines may flush, of which one at a time writes. A flush never blocks:
// what the socket does not take at once is left to a writer of its own.
type outQueue struct {
	conn       io.Closer
	stream     io.Writer             // that blocks
	raw        rawWriter             // that does not; nil if there is none
	wakeWriter func()                // has written what a flush could not
	before     func()                // called before each attempt to write
	written    func(batch []message) // called after a part of a batch was written
	freed      func(f freed)         // called after messages were released
	slow       func()                // called if a write blocks for slowAfter; nil is nobody

	mu          wake.Mutex
	first, last *slab // what is pending
	err         error

	failed atomic.Bool // err is set
	wake   chan struct{}

	work    wake.Work // to write what is pending; what follows belongs to who does it
	batch   *slab
	rest    net.Buffers
	short   *layout
	layout  *layout // of the batch
	attempt func(fd uintptr) bool
	result  error
}

// freed is what messages held that were written or dropped.
type freed struct {
	messages, reserved int
	bytes              int64
}

func (f *freed) add(h nbd.Hold) {
	f.messages++
	f.bytes += int64(h.Bytes)
	if h.Reserved {
		f.reserved++
	}
}

// rawWriter calls f with a socket's descriptor.
type rawWriter interface {
	Write(f func(fd uintptr) bool) error
}

// newOutQueue has a writer, which is to be started.
func newOutQueue(c net.Conn) *outQueue {
	q := &outQueue{conn: c, stream: c, before: func() {}, written: func([]message) {}, freed: func(freed) {}, short: newLayout(slabSize), wake: make(chan struct{}, 1)}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); rawSockets && err == nil {
			q.raw = raw
		}
	}
	q.attempt, q.wakeWriter = q.writev, q.signalWriter
	return q
}

// newPlainQueue has no writer.
func newPlainQueue(p *plainSocket) *outQueue {
	q := &outQueue{conn: p, stream: blockingWriter{p}, raw: p, before: func() {}, written: func([]message) {}, freed: func(freed) {}, short: newLayout(slabSize)}
	q.attempt, q.wakeWriter = q.writev, func() { go q.drain() }
	return q
}

// push appends m, and has q flushed when the owner leaves.
func (q *outQueue) push(m *message, real *sim.Real) {
	if q.add(m) {
		real.AfterLeave(q)
	}
}

// add appends m, and reports whether q has to be flushed because of it.
func (q *outQueue) add(m *message) (flush bool) {
	q.mu.Lock()
	dead := q.err != nil
	if !dead {
		q.append(m)
		flush = q.work.Add(int64(m.bytes()))
	}
	q.mu.Unlock()
	if dead {
		m.hold.Buffer.Release()
		var f freed
		f.add(m.hold)
		q.freed(f)
	}
	return flush
}

// append copies m to the end of the last slab. q.mu is held.
func (q *outQueue) append(m *message) {
	switch s := q.last; {
	case s == nil:
		q.last = slabs.Get().(*slab)
		q.first = q.last
	case s.n == slabSize:
		q.last = slabs.Get().(*slab)
		s.next = q.last
	}
	q.last.messages[q.last.n] = *m
	q.last.n++
}

// detach takes slabs of at most maxBatch messages off the queue.
func (q *outQueue) detach() (batch *slab, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var end *slab
	for s := q.first; s != nil && n+s.n <= maxBatch; s = s.next {
		end = s
		n += s.n
	}
	if end == nil {
		return nil, 0
	}
	batch, q.first, end.next = q.first, end.next, nil
	if q.first == nil {
		q.last = nil
	}
	return batch, n
}

// Flush writes what the socket takes without blocking. It is for the Real to
// call.
func (q *outQueue) Flush() {
	if !q.work.Try(q.writeSome) {
		q.wakeWriter()
	}
}

// writeSome writes what the socket takes without blocking, and reports whether that is
// all there is.
func (q *outQueue) writeSome() bool { return q.write(q.try) }

// change calls f, which may change what is written to, unless somebody writes: then it
// reports false. What is pushed meanwhile is written after it.
func (q *outQueue) change(f func()) bool { return q.work.TryAlone(f, q.Flush) }

// signalWriter wakes the writer.
func (q *outQueue) signalWriter() {
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
func (q *outQueue) drain() { q.work.Block(func() { q.write(q.block) }) }

// drainBatch writes what there is at present, however long that takes. It is for who
// does the work.
func (q *outQueue) drainBatch() {
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
	q.finishBatch()
	return true
}

// gather takes the next batch and lays its pieces out: headers that follow each
// other lie in one piece.
func (q *outQueue) gather() bool {
	batch, n := q.detach()
	if n == 0 {
		return false
	}
	l := q.short
	if n > slabSize {
		l = layouts.Get().(*layout)
	}
	start := 0
	for s := batch; s != nil; s = s.next {
		for i := range s.messages[:s.n] {
			m := &s.messages[i]
			l.headers = append(l.headers, m.header[:m.size]...)
			if len(m.data) > 0 {
				l.pieces = append(l.pieces, l.headers[start:], m.data)
				start = len(l.headers)
			}
		}
	}
	if start < len(l.headers) {
		l.pieces = append(l.pieces, l.headers[start:])
	}
	q.batch, q.layout, q.rest = batch, l, l.pieces
	return true
}

// finishBatch accounts for a batch of which nothing is left to write.
func (q *outQueue) finishBatch() {
	if q.batch == nil {
		return
	}
	for s := q.batch; s != nil; s = s.next {
		q.written(s.messages[:s.n])
	}
	f, size := q.recycle(q.batch)
	q.work.Done(size)
	l := q.layout
	clear(l.pieces) // they refer to data
	l.headers, l.pieces = l.headers[:0], l.pieces[:0]
	if l != q.short {
		layouts.Put(l)
	}
	q.batch, q.layout, q.rest = nil, nil, nil
	q.freed(f)
}

// recycle releases the messages of slabs that nobody else has. size is how many
// bytes they were.
func (q *outQueue) recycle(batch *slab) (f freed, size int64) {
	for s := batch; s != nil; {
		for i := range s.messages[:s.n] {
			m := &s.messages[i]
			size += int64(m.bytes())
			m.hold.Buffer.Release()
			f.add(m.hold)
		}
		next := s.next
		clear(s.messages[:s.n])
		s.n, s.next = 0, nil
		slabs.Put(s)
		s = next
	}
	return f, size
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
	if q.slow != nil {
		defer time.AfterFunc(slowAfter, q.slow).Stop()
	}
	_, err := q.rest.WriteTo(q.stream)
	return err
}

// end drops the output for good: nobody touches the socket after it.
func (q *outQueue) end() {
	q.work.Alone(func() {
		q.fail(net.ErrClosed)
		q.finishBatch()
	})
}

// failure is why nothing more is written, or err if it still is.
func (q *outQueue) failure(err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	return err
}

// fail closes the connection, which ends its reader, and drops the output.
func (q *outQueue) fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.failed.Store(true)
	dropped := q.first
	q.first, q.last = nil, nil
	q.mu.Unlock()
	_ = q.conn.Close()
	f, size := q.recycle(dropped)
	q.work.Done(size)
	q.freed(f)
}
