package history

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// Tap is a Device that passes every request to sinks as an event, and otherwise
// leaves it unchanged: the same request goes on.
type Tap struct {
	inner devices.Device
	loop  *sim.Loop
	sinks []Sink
	seq   uint64
	event Event // the one that the sinks are looking at
	free  *tapped
	cuts  uint64 // so far

	recorder Recorder // the sink that is one, or nil
}

// A Recorder is a Sink without which nothing is acknowledged: once it has an error,
// write commands and FLUSHes that pass the tap end with EIO.
type Recorder interface {
	Sink
	Err() error
}

// tapped takes the place of a request's completer while it is below the tap.
type tapped struct {
	tap       *Tap
	completer devices.Completer
	submitted uint64
	cuts      uint64 // before it was submitted
	next      *tapped
}

// NewTap returns a tap on the way to inner. Its place is at the wire, between
// the server's connections and its layers: what arrives there was received, and
// what is done there is replied to.
func NewTap(inner devices.Device, loop *sim.Loop, sinks ...Sink) *Tap {
	if loop == nil {
		panic("history: a tap needs a loop")
	}
	t := &Tap{inner: inner, loop: loop, sinks: sinks}
	for _, s := range sinks {
		if r, ok := s.(Recorder); ok {
			t.recorder = r
		}
	}
	return t
}

// Cut reports that the power is cut. What is in progress has no end in the history.
func (t *Tap) Cut() {
	t.Abandon()
	t.seq++
	t.event = Event{Seq: t.seq, Time: t.loop.Now(), Kind: PowerCut}
	for _, s := range t.sinks {
		s.Observe(&t.event)
	}
}

// Info is the inner device's.
func (t *Tap) Info() devices.Info { return t.inner.Info() }

// Submit records r and forwards it.
func (t *Tap) Submit(r *devices.Request) {
	p := t.free
	if p == nil {
		p = &tapped{tap: t}
	} else {
		t.free = p.next
	}
	p.submitted, p.cuts = t.record(Submit, 0, r), t.cuts
	p.completer, r.Completer = r.Completer, p
	t.inner.Submit(r)
}

// Done records that r is done and restores its completer.
func (p *tapped) Done(r *devices.Request) {
	t := p.tap
	r.Completer, p.completer = p.completer, nil
	of := p.submitted
	p.next, t.free = t.free, p
	if p.cuts == t.cuts {
		t.record(Done, of, r)
	}
	if t.recorder != nil && (r.Op.Modifies() || r.Op == devices.OpFlush) && r.Errno == devices.OK && t.recorder.Err() != nil {
		r.Errno = devices.EIO
	}
	r.Completer.Done(r)
}

// Abandon has the sinks hear no more of what is in progress.
func (t *Tap) Abandon() { t.cuts++ }

func (t *Tap) record(k Kind, of uint64, r *devices.Request) uint64 {
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
		if k == Done && r.Op == devices.OpRead && r.Versions != nil {
			if reads, ok := s.(ReadSink); ok {
				reads.ObserveRead(e, r.Versions)
			}
		}
		s.Observe(e)
	}
	return e.Seq
}
