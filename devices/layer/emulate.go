package layer

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// emulate makes a FUA command of a command and a FLUSH, for that one alone: a
// failed command is not flushed, and the FLUSH's error becomes the command's
// although its data is in the cache.
type emulate struct{ base }

// Emulate serves FUA on a device that need only have FLUSH. FLUSH is forwarded.
func Emulate(inner devices.Device, loop *sim.Loop, side Side) (devices.Device, error) {
	if err := needFlush(inner); err != nil {
		return nil, err
	}
	e := &emulate{newBase(inner, loop, side)}
	e.info.FUA = devices.FUAEmulate
	return e, nil
}

func (e *emulate) Submit(r *devices.Request) {
	if !r.Durable() {
		e.inner.Submit(r)
		return
	}
	e.send(r, r.Flags&^devices.FUA, e)
}

// Done is called when a child is done: the command's, then the FLUSH's.
func (e *emulate) Done(c *devices.Request) {
	parent := e.absorb(c)
	if c.Op != devices.OpFlush && c.Errno == devices.OK {
		e.sendFlush(parent, c)
		return
	}
	e.finish(parent, c)
}
