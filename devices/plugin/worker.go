package plugin

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"nbdbench/devices"
	"nbdbench/sim"
)

// pool runs calls on at most limit goroutines. They exist as long as there are calls:
// a connection that is idle has none.
type pool struct {
	host  *Host
	limit int

	kicked atomic.Bool // Flush has been asked for
	watch  sim.Timer   // set while there are calls, if they have a bound; the loop's

	mu       sync.Mutex
	queue    devices.Queue // waits for a worker
	running  int           // workers in use, with those that are lost
	lost     int           // workers in calls that have timed out
	workers  []*worker
	idle     []*worker
	done     devices.Queue   // ended, and not yet completed
	returned []*devices.Loan // of calls that have returned after all
	panics   []*Handle
}

func newPool(h *Host, limit int) *pool { return &pool{host: h, limit: limit} }

// submitted takes a request of a handle. On the loop, like submit.
func (p *pool) submitted(r *devices.Request) {
	p.mu.Lock()
	lost := p.lost == p.limit
	if !lost {
		p.queue.Push(r)
	}
	p.mu.Unlock()
	if lost {
		d := r.Timer.Owner.(*Handle)
		r.Timer.Owner = r
		p.host.o.Loop.After(&r.Timer, 0, d) // which refuses it
		return
	}
	p.kick()
}

// task is another call than those for data, or several.
type task struct {
	devices.Request
	owner *Handle // nil if it is nobody's
	keep  bool    // it closes owner, and waits also if no worker is left
	run   func(w *worker)
	then  func(e devices.Errno) // on the loop
}

// submit takes a task.
func (p *pool) submit(r *devices.Request, t *task) {
	r.Timer.Owner, r.Completer = t, t
	if t.owner != nil {
		t.owner.calls++
	}
	p.mu.Lock()
	lost := p.lost == p.limit && !t.keep
	if !lost {
		p.queue.Push(r)
	}
	p.mu.Unlock()
	if lost {
		r.Finish(devices.EIO)
		return
	}
	p.kick()
}

// Done ends the task, whose call may not have returned yet.
func (t *task) Done(r *devices.Request) {
	t.then(r.Errno)
	l := r.Loan
	if l == nil {
		t.over()
		return
	}
	late := l.Returned
	l.Returned = func() {
		if late != nil {
			late()
		}
		t.over()
	}
}

func (t *task) over() {
	switch d := t.owner; {
	case d == nil:
	case t.keep:
		d.closed()
	default:
		d.returned()
	}
}

// kick has workers started once the loop is left, and the calls watched.
func (p *pool) kick() {
	o := &p.host.o
	if o.Timeout > 0 && !p.watch.Pending() {
		o.Loop.After(&p.watch, o.Timeout, p)
	}
	if !p.kicked.Swap(true) {
		o.Real.AfterLeave(p)
	}
}

// Flush starts workers for what waits.
func (p *pool) Flush() {
	p.kicked.Store(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := min(p.limit-p.running, p.queue.Len()); n > 0; n-- {
		p.running++
		go p.spare().run()
	}
}

// spare is a worker that is not in use. p.mu is held.
func (p *pool) spare() *worker {
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return w
	}
	w := &worker{host: p.host, pool: p}
	w.renew()
	p.workers = append(p.workers, w)
	return w
}

// Fire fails the calls that have taken too long, and all that waits if no worker is
// left. A call of which the deadline comes later sets the timer anew.
func (p *pool) Fire(*sim.Timer) {
	o := &p.host.o
	var late devices.Queue
	p.mu.Lock()
	now := o.Real.Now()
	next := now.Add(o.Timeout)
	for _, w := range p.workers {
		if w.r == nil {
			continue
		}
		if due := sim.Time(w.began.Load()).Add(o.Timeout); due > now {
			next = min(next, due)
		} else {
			late.Push(w.abandon())
		}
	}
	all := p.lost == p.limit
	if all {
		p.refuse(&late)
	}
	busy := p.running > p.lost || p.queue.Len() > 0
	p.mu.Unlock()
	for r := late.Pop(); r != nil; r = late.Pop() {
		if d, ok := r.Timer.Owner.(*Handle); ok {
			d.late(r)
		} else {
			r.Finish(devices.EIO)
		}
	}
	if all {
		p.host.stuck(p)
	}
	if busy && !p.watch.Pending() {
		o.Loop.At(&p.watch, next, p)
	}
}

// refuse moves what waits to late, but for what closes. p.mu is held.
func (p *pool) refuse(late *devices.Queue) {
	var kept devices.Queue
	for r := p.queue.Pop(); r != nil; r = p.queue.Pop() {
		if t, ok := r.Timer.Owner.(*task); ok && t.keep {
			kept.Push(r)
		} else {
			late.Push(r)
		}
	}
	p.queue = kept
}

// isLost reports whether no worker is left.
func (p *pool) isLost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost == p.limit
}

// cancel cancels the contexts of all calls in progress.
func (p *pool) cancel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		w.stop()
	}
}

// complete completes what has ended. On the loop.
func (p *pool) complete() {
	p.mu.Lock()
	done, returned, panics := p.done, p.returned, p.panics
	p.done, p.returned, p.panics = devices.Queue{}, nil, nil
	p.mu.Unlock()
	for _, d := range panics {
		d.check()
	}
	for r := done.Pop(); r != nil; r = done.Pop() {
		if d, ok := r.Timer.Owner.(*Handle); ok {
			d.done(r, r.Errno)
		} else {
			r.Finish(r.Errno)
		}
	}
	for _, l := range returned {
		l.Return()
	}
}

// worker runs one request or task after another.
type worker struct {
	host *Host
	pool *pool
	ctx  context.Context
	stop context.CancelFunc

	began     atomic.Int64 // the call in progress
	abandoned atomic.Bool
	r         *devices.Request // nil if there is none, or it was abandoned; under pool.mu
	loan      *devices.Loan    // of the one that was

	// What is run is copied here: an abandoned request is somebody else's.
	op             devices.Op
	flags          devices.Flags
	offset, length uint64
	bytes          []byte
	handle         *Handle
	task           *task
	panicked       string
}

// renew makes w ready after a call that was abandoned.
func (w *worker) renew() {
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.abandoned.Store(false)
}

// take makes r what w runs.
func (w *worker) take(r *devices.Request, d *Handle, t *task) {
	w.op, w.flags, w.offset, w.length, w.bytes = r.Op, r.Flags, r.Offset, r.Length, r.Bytes
	w.handle, w.task, w.panicked = d, t, ""
}

// step says that a call begins.
func (w *worker) step() {
	if w.pool != nil && w.host.o.Timeout > 0 {
		w.began.Store(int64(w.host.o.Real.Now()))
	}
}

// run runs what waits until nothing does.
func (w *worker) run() {
	p, clean := w.pool, false
	defer func() {
		if !clean { // the plugin has ended its goroutine
			w.panicked = "the plugin called runtime.Goexit"
			w.end(devices.EIO)
			go w.run()
		}
	}()
	p.mu.Lock()
	for r := p.queue.Pop(); r != nil; r = p.queue.Pop() {
		d, _ := r.Timer.Owner.(*Handle)
		t, _ := r.Timer.Owner.(*task)
		w.r = r
		w.take(r, d, t)
		w.step()
		e, broken := devices.EIO, d != nil && d.panicked != ""
		p.mu.Unlock()
		if !broken {
			e = w.do()
		}
		w.end(e)
		p.mu.Lock()
	}
	p.running--
	p.idle = append(p.idle, w)
	p.mu.Unlock()
	clean = true
}

// end hands over what has ended. Who is the first to do so completes it, and what
// others hand over until it is in the loop.
func (w *worker) end(e devices.Errno) {
	p := w.pool
	p.mu.Lock()
	first, only := p.done.Len() == 0 && len(p.returned) == 0, p.running == 1
	if d := w.handle; w.panicked != "" && d != nil && d.panicked == "" {
		d.panicked = w.panicked
		p.panics = append(p.panics, d)
	}
	if w.r != nil {
		w.r.Errno = e
		p.done.Push(w.r)
		w.r = nil
	} else {
		p.lost--
		p.returned = append(p.returned, w.loan)
		w.loan = nil
		w.renew()
	}
	w.bytes, w.handle, w.task = nil, nil, nil
	p.mu.Unlock()
	if first {
		if !only { // calls that need no more than a turn end first, and are replied to together
			runtime.Gosched()
		}
		real := p.host.o.Real
		real.Enter()
		p.complete()
		real.Leave()
	}
}

// abandon gives up w's call, which goes on. pool.mu is held.
func (w *worker) abandon() *devices.Request {
	r := w.r
	w.r, w.loan = nil, &devices.Loan{}
	r.Loan = w.loan
	w.abandoned.Store(true)
	w.stop()
	w.pool.lost++
	return r
}

// await waits until done has something or is closed, or ctx ends.
func await[T any](ctx context.Context, done <-chan T) error {
	select {
	case v := <-done:
		if err, ok := any(v).(error); ok {
			return err
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
