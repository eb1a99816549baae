package layer

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// preflush makes a FLUSH and a command of a command with devices.Preflush, as Linux does
// with REQ_PREFLUSH. A command whose FLUSH fails is not sent.
type preflush struct{ base }

// Preflush serves devices.Preflush on a device that has no such flag. Where the device
// offers no FLUSH it has no volatile cache, and the flag is dropped, as Linux does.
// BlkFlush has the flag itself, with FLUSHes that are shared.
func Preflush(inner devices.Device, loop *sim.Loop, side Side) devices.Device {
	return &preflush{newBase(inner, loop, side)}
}

func (p *preflush) Submit(r *devices.Request) {
	switch {
	case r.Flags&devices.Preflush == 0:
		p.inner.Submit(r)
	case !p.info.CanFlush:
		p.send(r, r.Flags&^devices.Preflush, p)
	default:
		c := p.free.Get()
		identify(c, r)
		c.Ref, c.Completer = r, p
		p.sendFlush(r, c)
	}
}

// Done is called when a child is done: the FLUSH's, then the command's.
func (p *preflush) Done(c *devices.Request) {
	parent := p.absorb(c)
	if c.Op == devices.OpFlush && c.Errno == devices.OK {
		p.free.Put(c)
		p.send(parent, parent.Flags&^devices.Preflush, p)
		return
	}
	p.finish(parent, c)
}
