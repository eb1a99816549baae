// Package ordered has what blocks on a file, its writes and fdatasync, done by a
// goroutine of its own, so that a loop in real time goes on meanwhile.
//
// A Worker does the operations on one file one after another, in the order in which
// they were added. The loop's owner adds them, and may wait for one: the worker enters
// the loop after it has done some, and reports which.
//
//	w := ordered.Start(real, file)
//	w.Write(off, data)                    // in the loop; data is copied
//	if seq := w.Barrier(true); !w.Completed(seq) {
//		w.After(seq, waiter)          // waiter.Written(err), in the loop
//	}
//
// # Guarantees
//
//   - An operation begins after all those added before it have ended. What a kill of the
//     process leaves is what the first so many of them did.
//   - A waiter is called after all operations up to the one that it waits for have
//     ended, in the order of After, once, with the first error of the file if there is any.
//   - One fdatasync serves all that wait for one while it is prepared: of up to
//     batchOps operations it comes last.
//   - Until an operation is reported it is in Pending, so that who reads the file can
//     put on top what is not in it yet.
//
// # Fast files
//
// A write into the host's page cache takes a few microseconds, and to wake the worker and
// the loop takes longer. So once fastOps operations in a row, but fdatasync, have each
// taken less than slowOp, who adds one does it at once, if none waits. The first that takes
// longer ends that. A file that has always been slow never blocks the loop; one that
// becomes slow does once.
//
// # Bounds
//
// MaxOps operations and MaxBytes of their data wait at most. From half of either on the
// worker is Full, and who can wait adds no more: see OnProgress. Who adds beyond the
// bound does the oldest operations in the worker's place, and blocks the loop.
//
// # Errors
//
// An error stays: see Err. Failed is called in the loop for each range that may lack what
// was written: that of a write that failed, and after an fdatasync that failed all
// that was written since the last one that did not.
package ordered

import (
	"sync"
	"sync/atomic"
	"time"

	"nbdbench/internal/buffer"
	"nbdbench/sim"
)

// The bounds of what waits for a Worker.
const (
	MaxOps   = 1024
	MaxBytes = 32 << 20
	// MaxPiece is the most data of one operation; longer writes are several.
	MaxPiece = 1 << 20
	// batchOps is how many operations are done before they are reported.
	batchOps = 64
	// fastOps and slowOp say when a file is fast.
	fastOps = 64
	slowOp  = time.Millisecond
	// maxUnsynced bounds the ranges that an fdatasync which fails may lose. What comes
	// then counts with the last one, and with all that is between.
	maxUnsynced = 1024
)

// Kind is what an operation does.
type Kind uint8

// The kinds of operations.
const (
	Write     Kind = iota // Data at Off
	Append                // Data at the end of the file
	Zero                  // zeros, which may be a hole
	Provision             // zeros that are no hole
	datasync              // fdatasync
)

// Op is an operation on the N bytes from Off on.
type Op struct {
	Kind   Kind
	Off, N uint64
	Data   []byte // N bytes of a Write or an Append
	buf    *buffer.Buffer
}

// File does operations. A goroutine of the worker calls it, or who adds too many, one at
// a time.
type File interface {
	Do(op *Op) error
	Sync() error // fdatasync
}

// A Waiter waits for an operation.
type Waiter interface {
	// Written is called in the loop. err is the file's first error so far.
	Written(err error)
}

type waiter struct {
	seq uint64
	w   Waiter
}

// span is a range of bytes.
type span struct{ off, end uint64 }

// failure is a range that an error has lost.
type failure struct {
	span
	err error
}

// Worker does the operations on a file. Its methods are for the loop's owner, but Close
// and Flush.
type Worker struct {
	real *sim.Real
	file File
	kick atomic.Bool // Flush has been asked for

	// Failed and OnProgress are called in the loop: with a range that may be lost, and
	// after operations have been reported. They may be nil.
	Failed     func(off, n uint64, err error)
	OnProgress func()

	// Of the loop.
	pending   []Op // added and not reported, from head on
	head      int
	bytes     uint64 // of their data
	added     uint64 // operations so far
	completed uint64 // of which so many have been reported
	dirty     bool   // there was another operation since the last fdatasync
	waiting   []waiter
	waited    int // of waiting: already called
	err       error

	// exec is held while operations are taken and done. mu is held for no longer than
	// to look; both come after the loop's lock, and exec before mu.
	exec     sync.Mutex
	batch    [batchOps]Op
	unsynced []span
	streak   int // operations in a row that were fast
	fast     atomic.Bool

	mu       sync.Mutex
	work     sync.Cond
	queue    []Op // from first on
	first    int
	done     uint64 // operations so far
	failures []failure
	stopping bool
	ended    chan struct{}
}

// Start returns the worker of a file.
func Start(real *sim.Real, f File) *Worker {
	w := &Worker{real: real, file: f, ended: make(chan struct{})}
	w.work.L = &w.mu
	go w.run()
	return w
}

// Write adds a write of data, which is copied.
func (w *Worker) Write(off uint64, data []byte) { w.addData(Write, off, data) }

// Append adds a write at the end of the file.
func (w *Worker) Append(data []byte) { w.addData(Append, 0, data) }

func (w *Worker) addData(k Kind, off uint64, data []byte) {
	for len(data) > 0 {
		n := min(len(data), MaxPiece)
		op := Op{Kind: k, Off: off, N: uint64(n), Data: data[:n]}
		if !w.doneAtOnce(op) {
			op.buf = buffer.Get(n)
			copy(op.buf.Data, op.Data)
			op.Data = op.buf.Data[:n]
			w.add(op)
		}
		off, data = off+uint64(n), data[n:]
	}
}

// Zero adds a write of n zeros, which may be a hole unless provision is set.
func (w *Worker) Zero(off, n uint64, provision bool) {
	k := Zero
	if provision {
		k = Provision
	}
	if op := (Op{Kind: k, Off: off, N: n}); !w.doneAtOnce(op) {
		w.add(op)
	}
}

// Barrier returns the number of the last operation so far, and with sync of an
// fdatasync after it, which it adds unless there is one. Who waits for it waits for all
// that was added.
func (w *Worker) Barrier(sync bool) uint64 {
	if sync && w.dirty {
		w.add(Op{Kind: datasync})
	}
	return w.added
}

// Completed reports whether an operation has been done, and reported.
func (w *Worker) Completed(seq uint64) bool { return w.completed >= seq }

// After calls t once an operation has been done that is not completed, after those for
// which it was asked before: seq is at least theirs.
func (w *Worker) After(seq uint64, t Waiter) {
	if w.Completed(seq) {
		panic("ordered: waits for what is completed")
	}
	w.waiting = append(w.waiting, waiter{seq, t})
}

// Pending are the operations that the file may lack, in their order. It is good until
// the next call.
func (w *Worker) Pending() []Op { return w.pending[w.head:] }

// Bytes is how much data they have.
func (w *Worker) Bytes() uint64 { return w.bytes }

// Full reports whether half of a bound is reached.
func (w *Worker) Full() bool {
	return len(w.pending)-w.head >= MaxOps/2 || w.bytes >= MaxBytes/2
}

// Err is the first error of the file that has been reported.
func (w *Worker) Err() error { return w.err }

// Close has the worker do what was added, and ends it; then it calls over in the loop.
// The loop's owner must not call it.
func (w *Worker) Close(over func()) {
	w.mu.Lock()
	w.stopping = true
	w.work.Signal()
	w.mu.Unlock()
	<-w.ended
	w.real.Do(func() { // what was added meanwhile has been done by who added it
		w.report()
		over()
	})
}

// Flush wakes the worker, once the loop has been left.
func (w *Worker) Flush() {
	w.kick.Store(false)
	w.mu.Lock()
	w.work.Signal()
	w.mu.Unlock()
}

// doneAtOnce does an operation, if the file is fast and none waits.
func (w *Worker) doneAtOnce(op Op) bool {
	if w.completed != w.added || !w.fast.Load() {
		return false
	}
	w.exec.Lock()
	w.batch[0] = op
	w.do(&w.batch[0])
	w.batch[0] = Op{}
	w.exec.Unlock()
	w.added++
	w.completed++
	w.dirty = true
	w.mu.Lock()
	w.done++
	failed := len(w.failures) > 0
	w.mu.Unlock()
	if failed {
		w.collect()
	}
	return true
}

func (w *Worker) add(op Op) {
	w.pending = append(w.pending, op)
	w.bytes += uint64(len(op.Data))
	w.added++
	w.dirty = op.Kind != datasync
	w.mu.Lock()
	w.queue = append(w.queue, op)
	stopping := w.stopping
	w.mu.Unlock()
	if !w.kick.Swap(true) {
		w.real.AfterLeave(w)
	}
	if w.exceeds() {
		w.collect() // what has been done and not reported
	}
	for w.exceeds() || stopping && len(w.pending) > w.head {
		w.doSome()
		w.collect()
	}
}

// exceeds reports whether more than a bound is pending.
func (w *Worker) exceeds() bool {
	return len(w.pending)-w.head > MaxOps || w.bytes > MaxBytes
}

// run is the worker's goroutine.
func (w *Worker) run() {
	defer close(w.ended)
	var reported uint64
	for {
		w.mu.Lock()
		for w.first == len(w.queue) && w.done == reported && !w.stopping {
			w.work.Wait()
		}
		over := w.first == len(w.queue) && w.done == reported
		w.mu.Unlock()
		if over {
			return
		}
		w.doSome()
		w.real.Enter()
		reported = w.report()
		w.real.Leave()
	}
}

// doSome does the oldest operations, if there are any.
func (w *Worker) doSome() {
	w.exec.Lock()
	defer w.exec.Unlock()
	n := w.take()
	sync := false
	for i := range w.batch[:n] {
		if op := &w.batch[i]; op.Kind == datasync {
			sync = true
		} else {
			w.do(op)
		}
	}
	if sync {
		w.sync()
	}
	clear(w.batch[:n])
	w.mu.Lock()
	w.done += uint64(n)
	w.mu.Unlock()
}

// do does an operation, and notes how long it takes. exec is held.
func (w *Worker) do(op *Op) {
	begin := w.real.Now()
	if err := w.file.Do(op); err != nil {
		w.fail(span{op.Off, op.Off + op.N}, err)
	} else {
		w.wrote(op)
	}
	if w.streak++; w.real.Now().Sub(begin) >= slowOp {
		w.streak = 0
	}
	w.fast.Store(w.streak >= fastOps)
}

// take moves the oldest operations from the queue to the batch.
func (w *Worker) take() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := copy(w.batch[:], w.queue[w.first:])
	w.queue, w.first = drop(w.queue, w.first, n)
	return n
}

// wrote notes what the next fdatasync makes durable.
func (w *Worker) wrote(op *Op) {
	if op.Kind == Append {
		return // to a log, of which nothing is read
	}
	if k := len(w.unsynced); k == maxUnsynced {
		last := &w.unsynced[k-1]
		*last = span{min(last.off, op.Off), max(last.end, op.Off+op.N)}
		return
	}
	w.unsynced = append(w.unsynced, span{op.Off, op.Off + op.N})
}

func (w *Worker) sync() {
	if err := w.file.Sync(); err != nil {
		w.fail(span{}, err)
		for _, s := range w.unsynced {
			w.fail(s, err)
		}
	}
	w.unsynced = w.unsynced[:0]
}

// fail notes an error, for the loop.
func (w *Worker) fail(s span, err error) {
	w.mu.Lock()
	w.failures = append(w.failures, failure{s, err})
	w.mu.Unlock()
}

// report calls who waits for what has been done. It returns how much that is.
func (w *Worker) report() uint64 {
	done := w.collect()
	w.completed = done
	for w.waited < len(w.waiting) && w.waiting[w.waited].seq <= done {
		t := w.waiting[w.waited].w
		w.waiting, w.waited = drop(w.waiting, w.waited, 1)
		t.Written(w.err)
	}
	if w.OnProgress != nil {
		w.OnProgress()
	}
	return done
}

// collect forgets what has been done, but who waits for it.
func (w *Worker) collect() uint64 {
	w.mu.Lock()
	done, failures := w.done, w.failures
	w.failures = nil
	w.mu.Unlock()
	for _, f := range failures {
		if w.err == nil {
			w.err = f.err
		}
		if w.Failed != nil {
			w.Failed(f.off, f.end-f.off, f.err)
		}
	}
	for n := w.added - uint64(len(w.pending)-w.head); n < done; n++ {
		op := &w.pending[w.head]
		w.bytes -= uint64(len(op.Data))
		op.buf.Release()
		*op = Op{}
		w.pending, w.head = drop(w.pending, w.head, 1)
	}
	return done
}

// drop removes the first n of what is in a slice from head on.
func drop[T any](s []T, head, n int) ([]T, int) {
	clear(s[head : head+n])
	head += n
	switch {
	case head == len(s):
		return s[:0], 0
	case head > MaxOps && 2*head > len(s):
		rest := copy(s, s[head:])
		clear(s[rest:])
		return s[:rest], 0
	}
	return s, head
}
