package fua

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// NewDevice is inner with its commands carried out as r says: a write, trim or zero
// with or without FUA, and a flush. A zero may answer ENOTSUP, and is then written.
func NewDevice(loop *sim.Loop, inner devices.Device, r Resolution) devices.Device {
	return newResolved(loop, inner, r)
}

// resolved is a Device that carries out a Resolution on the plugin's device.
type resolved struct {
	inner devices.Device
	loop  *sim.Loop
	res   Resolution
	info  devices.Info
	free  devices.Freelist
	idle  *course

	zeroes []byte // as long as was needed so far; nobody writes to them

	plain [2]Action // of TRIM and WRITE_ZEROES without FUA, where .zero is there
}

// course is a client's request on its way through the calls of its action.
type course struct {
	d      *resolved
	parent *devices.Request
	action Action
	i      int    // the call in progress
	offset uint64 // of the next chunk, where zeroes are written
	left   uint64
	chunks bool
	next   *course
}

func newResolved(loop *sim.Loop, inner devices.Device, r Resolution) *resolved {
	d := &resolved{inner: inner, loop: loop, res: r, info: inner.Info()}
	d.info.CanFlush, d.info.CanTrim, d.info.CanZero, d.info.ReadOnly = r.Flush, r.Trim, r.Zero, r.ReadOnly
	d.info.FUA = devices.FUANone
	if r.FUA {
		d.info.FUA = max(r.fua, devices.FUAEmulate)
	}
	d.plain = [2]Action{{Calls: []Call{CallTrim}}, {Calls: []Call{CallZero}}}
	if r.force {
		d.plain = [2]Action{r.durable(CallTrim), r.durable(CallZero)}
	}
	return d
}

// Info is the plugin device's, with what was resolved.
func (d *resolved) Info() devices.Info { return d.info }

// Submit begins r's action. READ and advice go to the plugin as they are.
func (d *resolved) Submit(r *devices.Request) {
	if !r.Op.Modifies() && r.Op != devices.OpFlush {
		d.inner.Submit(r)
		return
	}
	c := d.take(r)
	switch {
	case r.Op == devices.OpFlush:
		c.action = d.res.FlushAction
	case r.Op == devices.OpWrite:
		c.action = d.pick(r, d.res.Write, d.res.WriteFUA)
	case r.Op == devices.OpTrim:
		c.action = d.pick(r, d.plain[0], d.res.TrimFUA)
	case d.res.zero == Native:
		c.action = d.pick(r, d.plain[1], d.res.durable(CallZero))
	default:
		c.fallBack()
	}
	c.advance()
}

func (d *resolved) pick(r *devices.Request, plain, durable Action) Action {
	if r.Flags&devices.FUA != 0 {
		return durable
	}
	return plain
}

func (d *resolved) take(r *devices.Request) *course {
	c := d.idle
	if c == nil {
		c = &course{d: d}
	} else {
		d.idle = c.next
	}
	*c = course{d: d, parent: r}
	return c
}

// fallBack turns a WRITE_ZEROES into writes of chunks: server/backend.c,
// backend_zero. FAST_ZERO has it fail instead.
func (c *course) fallBack() {
	r := c.parent
	c.i, c.chunks, c.offset, c.left = 0, true, r.Offset, r.Length
	chunks := int((r.Length + ZeroChunk - 1) / ZeroChunk)
	switch {
	case r.Flags&devices.FastZero != 0:
		c.action = Action{Errno: devices.ENOTSUP}
	case r.Flags&devices.FUA != 0 || c.d.res.force:
		c.action = c.d.res.zeroByWriting(chunks)
	default:
		c.action = Action{Calls: make([]Call, chunks)} // CallWrite is 0
	}
}

// advance begins the next call, or ends the request. It ends one without calls
// on the loop, because it may still be inside Submit.
func (c *course) advance() {
	if c.i < len(c.action.Calls) {
		c.call(c.action.Calls[c.i])
		return
	}
	if len(c.action.Calls) == 0 {
		c.parent.Errno = c.action.Errno
		c.parent.Timer.Owner = c
		c.d.loop.After(&c.parent.Timer, 0, c)
		return
	}
	c.end(c.action.Errno)
}

// Fire ends a request without calls.
func (c *course) Fire(*sim.Timer) {
	c.parent.Charge(devices.ServerQueue, c.d.loop.Now())
	c.end(c.parent.Errno)
}

// The command and flags that make each call.
var callOps = [...]devices.Op{
	CallWrite: devices.OpWrite, CallWriteFUA: devices.OpWrite, CallTrim: devices.OpTrim, CallTrimFUA: devices.OpTrim,
	CallZero: devices.OpWriteZeroes, CallZeroFUA: devices.OpWriteZeroes, CallFlush: devices.OpFlush,
}

func (c *course) call(k Call) {
	p, q := c.parent, c.d.free.Get()
	q.Op = callOps[k]
	q.Flags = p.Flags &^ devices.FUA
	if k == CallWriteFUA || k == CallTrimFUA || k == CallZeroFUA {
		q.Flags |= devices.FUA
	}
	switch {
	case k == CallFlush:
		q.Flags = 0
	case c.chunks:
		q.Flags &^= devices.NoHole | devices.FastZero
		q.Offset, q.Length = c.offset, min(c.left, ZeroChunk)
		q.Payload = devices.Payload{Bytes: c.d.zeroesOf(q.Length)}
		c.offset, c.left = c.offset+q.Length, c.left-q.Length
	default:
		q.Offset, q.Length, q.Payload = p.Offset, p.Length, p.Payload
	}
	q.Conn, q.Stream, q.Txn, q.Step, q.Intended = p.Conn, p.Stream, p.Txn, p.Step, p.Intended
	q.Ref, q.Completer = c, c
	q.Submitted = c.d.loop.Now()
	q.Begin(q.Submitted)
	c.d.inner.Submit(q)
}

// Done goes on to the next call if this one succeeded. A zero that the plugin
// does not support is written instead.
func (c *course) Done(q *devices.Request) {
	c.parent.Absorb(devices.ServerQueue, q.Submitted, q)
	e, op := q.Errno, q.Op
	c.d.free.Put(q)
	switch {
	case e == devices.ENOTSUP && op == devices.OpWriteZeroes && !c.chunks:
		c.fallBack()
		c.advance()
	case e != devices.OK:
		c.end(e)
	default:
		c.i++
		c.advance()
	}
}

func (c *course) end(e devices.Errno) {
	p := c.parent
	c.parent, c.action = nil, Action{}
	c.next, c.d.idle = c.d.idle, c
	p.Finish(e)
}

// zeroesOf returns n zero bytes to write from; n is at most ZeroChunk.
func (d *resolved) zeroesOf(n uint64) []byte {
	if uint64(len(d.zeroes)) < n {
		d.zeroes = make([]byte, n)
	}
	return d.zeroes[:n]
}
