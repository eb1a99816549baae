package layer

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// discard promises everything and keeps nothing: FUA is dropped from the
// commands and FLUSH succeeds at once.
type discard struct {
	base
	finisher devices.Finisher // of FLUSH
}

// Discard advertises FLUSH and FUA and does neither, as a nobarrier mount does on
// the client.
func Discard(inner devices.Device, loop *sim.Loop, side Side) devices.Device {
	d := &discard{newBase(inner, loop, side), devices.Finisher{Loop: loop, Stage: side.gap()}}
	d.info.CanFlush, d.info.FUA = true, devices.FUANative
	return d
}

func (d *discard) Submit(r *devices.Request) {
	switch {
	case r.Op == devices.OpFlush:
		d.finisher.Finish(r, devices.OK)
	case r.Durable():
		d.send(r, r.Flags&^devices.FUA, d)
	default:
		d.inner.Submit(r)
	}
}

// Done is called when a child is done.
func (d *discard) Done(c *devices.Request) { d.finish(d.absorb(c), c) }
