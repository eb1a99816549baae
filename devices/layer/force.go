package layer

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// force is write-through: every write command is made durable on its own, so
// that nothing is left for FLUSH.
type force struct{ base }

// Force adds FUA to every write command; FLUSH succeeds at once. The device
// must have FUA of its own: a flush for every write would be another strategy.
func Force(inner devices.Device, loop *sim.Loop, side Side) (devices.Device, error) {
	if err := needNative(inner); err != nil {
		return nil, err
	}
	f := &force{newBase(inner, loop, side)}
	f.info.CanFlush = true
	return f, nil
}

func (f *force) Submit(r *devices.Request) {
	switch {
	case r.Op == devices.OpFlush:
		f.later(r, devices.OK)
	case r.Op.Modifies() && !r.Durable():
		f.send(r, r.Flags|devices.FUA, f)
	default:
		f.inner.Submit(r)
	}
}

// Done is told that a child is done.
func (f *force) Done(c *devices.Request) { f.finish(f.absorb(c), c) }
