package bench

import (
	"nbdbench/devices"
	"nbdbench/results"
	"nbdbench/sim"
)

// observe is a Device that shows a recorder every request that has passed it,
// with the instants at which it passed: the wire as the client sees it.
type observe struct {
	inner    devices.Device
	loop     *sim.Loop
	recorder *results.Recorder
	free     *passing
}

// passing takes the place of a request's completer while it is on its way.
type passing struct {
	at        *observe
	completer devices.Completer
	submitted sim.Time // at the wire
	before    sim.Time // what the request said before
	next      *passing
}

func newObserve(inner devices.Device, loop *sim.Loop, r *results.Recorder) *observe {
	return &observe{inner: inner, loop: loop, recorder: r}
}

func (o *observe) Info() devices.Info { return o.inner.Info() }

func (o *observe) Submit(r *devices.Request) {
	p := o.free
	if p == nil {
		p = &passing{at: o}
	} else {
		o.free = p.next
	}
	p.submitted, p.before = o.loop.Now(), r.Submitted
	p.completer, r.Completer = r.Completer, p
	o.inner.Submit(r)
}

// Done gives r its completer back.
func (p *passing) Done(r *devices.Request) {
	o := p.at
	r.Completer, p.completer = p.completer, nil
	r.Submitted, r.Completed = p.submitted, o.loop.Now()
	o.recorder.Op(r)
	r.Submitted = p.before
	p.next, o.free = o.free, p
	r.Completer.Done(r)
}
