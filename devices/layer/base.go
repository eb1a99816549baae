package layer

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// Side is the end of the wire at which a layer works; it decides to which stage
// the time that requests wait in the layer is charged.
type Side uint8

// The sides of the wire.
const (
	ServerSide Side = iota
	ClientSide
)

func (s Side) gap() devices.Stage {
	if s == ClientSide {
		return devices.ClientQueue
	}
	return devices.ServerQueue
}

// base is what the layers that make child requests share.
//
// While a parent is held its Seq is the instant at which its child was sent;
// the child's Ref is the parent.
type base struct {
	inner devices.Device
	loop  *sim.Loop
	gap   devices.Stage
	info  devices.Info
	free  devices.Freelist
}

func newBase(inner devices.Device, loop *sim.Loop, side Side) base {
	if loop == nil {
		panic("layer: no loop")
	}
	return base{inner: inner, loop: loop, gap: side.gap(), info: inner.Info()}
}

// Info is what the layer can do, which it knew when it was made.
func (b *base) Info() devices.Info { return b.info }

// send submits a copy of parent with other flags on its behalf.
func (b *base) send(parent *devices.Request, flags devices.Flags, done devices.Completer) {
	c := b.free.Get()
	c.Op, c.Flags, c.Offset, c.Length = parent.Op, flags, parent.Offset, parent.Length
	c.Payload = parent.Payload
	identify(c, parent)
	c.Ref, c.Completer = parent, done
	b.begin(parent, c)
}

// identify says on whose behalf c is submitted.
func identify(c, parent *devices.Request) {
	c.Conn, c.Stream, c.Txn, c.Step = parent.Conn, parent.Stream, parent.Txn, parent.Step
	c.Intended = parent.Intended
}

// sendFlush makes the child that carried parent's data its FLUSH and submits it.
func (b *base) sendFlush(parent, c *devices.Request) {
	c.Op, c.Flags, c.Errno, c.Offset, c.Length = devices.OpFlush, 0, devices.OK, 0, 0
	c.Payload = devices.Payload{}
	b.begin(parent, c)
}

func (b *base) begin(parent, c *devices.Request) {
	now := b.loop.Now()
	parent.Seq = uint64(now)
	c.Submitted = now
	c.Begin(now)
	b.inner.Submit(c)
}

// absorb gives the child's time to its parent.
func (b *base) absorb(c *devices.Request) *devices.Request {
	parent := c.Ref.(*devices.Request)
	parent.Absorb(b.gap, sim.Time(parent.Seq), c)
	return parent
}

// finish ends the parent of c with c's result.
func (b *base) finish(parent, c *devices.Request) {
	e := c.Errno
	b.free.Put(c)
	parent.Finish(e)
}
