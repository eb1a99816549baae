package history

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// Tap is a Device that tells sinks of every request that passes, and otherwise
// leaves it alone: the same request goes on.
type Tap struct {
	inner devices.Device
	loop  *sim.Loop
	sinks []Sink
	seq   uint64
	event Event // the one that the sinks are looking at
	free  *tapped
}

// tapped takes the place of a request's completer while it is below the tap.
type tapped struct {
	tap       *Tap
	completer devices.Completer
	submitted uint64
	next      *tapped
}

// NewTap returns a tap on the way to inner. Its place is at the wire, between
// the server's connections and its layers: what arrives there was received, and
// what is done there is replied to.
func NewTap(inner devices.Device, loop *sim.Loop, sinks ...Sink) *Tap {
	if loop == nil {
		panic("history: a tap needs a loop")
	}
	return &Tap{inner: inner, loop: loop, sinks: sinks}
}

// Info is the inner device's.
func (t *Tap) Info() devices.Info { return t.inner.Info() }

// Submit tells of r and forwards it.
func (t *Tap) Submit(r *devices.Request) {
	p := t.free
	if p == nil {
		p = &tapped{tap: t}
	} else {
		t.free = p.next
	}
	p.submitted = t.tell(Submit, 0, r)
	p.completer, r.Completer = r.Completer, p
	t.inner.Submit(r)
}

// Done tells that r is done and gives it its completer back.
func (p *tapped) Done(r *devices.Request) {
	t := p.tap
	r.Completer, p.completer = p.completer, nil
	of := p.submitted
	p.next, t.free = t.free, p
	t.tell(Done, of, r)
	r.Completer.Done(r)
}

func (t *Tap) tell(k Kind, of uint64, r *devices.Request) uint64 {
	t.seq++
	e := &t.event
	*e = Event{
		Seq: t.seq, Of: of, Time: t.loop.Now(), Kind: k,
		Op: r.Op, Flags: r.Flags, Conn: r.Conn, Stream: r.Stream, Txn: r.Txn,
		Offset: r.Offset, Length: r.Length,
	}
	if r.Op.Modifies() {
		e.Stamp = r.Stamp
	}
	if k == Done {
		e.Errno = r.Errno
	}
	for _, s := range t.sinks {
		s.Observe(e)
	}
	return e.Seq
}
