package layer

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// NbdkitDepth is how many requests nbdkit has in progress on a connection: its
// default number of threads.
const NbdkitDepth = 16

// depth bounds the commands in progress on each connection; the others wait in
// the order in which they came.
type depth struct {
	inner devices.Device
	loop  *sim.Loop
	gap   devices.Stage
	limit int

	conns map[uint32]*slots
	idle  []*slots // of connections with nothing in progress
	hooks *hook
}

// slots is what is in progress on one connection.
type slots struct {
	conn    uint32
	running int
	waiting devices.Queue
}

// hook takes the place of a request's completer while the request is in
// progress.
type hook struct {
	depth     *depth
	slots     *slots
	completer devices.Completer
	next      *hook
}

// Depth lets at most limit commands of a connection be in progress below it; 0
// is no limit.
func Depth(inner devices.Device, loop *sim.Loop, side Side, limit int) devices.Device {
	if loop == nil || limit < 0 {
		panic("layer: a depth needs a loop and must not be negative")
	}
	if limit == 0 {
		return inner
	}
	return &depth{inner: inner, loop: loop, gap: side.gap(), limit: limit, conns: make(map[uint32]*slots)}
}

func (d *depth) Info() devices.Info { return d.inner.Info() }

func (d *depth) Submit(r *devices.Request) {
	s := d.of(r.Conn)
	if s.running == d.limit {
		s.waiting.Push(r)
		return
	}
	d.start(s, r)
}

func (d *depth) start(s *slots, r *devices.Request) {
	h := d.hooks
	if h == nil {
		h = &hook{depth: d}
	} else {
		d.hooks = h.next
	}
	h.slots, h.completer = s, r.Completer
	s.running++
	r.Completer = h
	r.Charge(d.gap, d.loop.Now())
	d.inner.Submit(r)
}

// Done gives r its completer back and its place to the next that waits.
func (h *hook) Done(r *devices.Request) {
	d, s := h.depth, h.slots
	r.Completer = h.completer
	h.completer, h.slots, h.next = nil, nil, d.hooks
	d.hooks = h
	s.running--
	if next := s.waiting.Pop(); next != nil {
		d.start(s, next)
	} else if s.running == 0 {
		d.release(s)
	}
	r.Completer.Done(r)
}

func (d *depth) of(conn uint32) *slots {
	s := d.conns[conn]
	if s != nil {
		return s
	}
	if n := len(d.idle); n > 0 {
		s, d.idle = d.idle[n-1], d.idle[:n-1]
	} else {
		s = new(slots)
	}
	s.conn = conn
	d.conns[conn] = s
	return s
}

// release forgets a connection with nothing in progress, so that a server that
// has had many keeps nothing of them.
func (d *depth) release(s *slots) {
	delete(d.conns, s.conn)
	d.idle = append(d.idle, s)
}
