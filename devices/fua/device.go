package fua

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// BackendOf is what a device declares, whose Info says what it can do. Its calls
// take all flags. A device that cannot zero is one that does not offer to: a
// plugin's can_zero of false is Emulate, which has zeroes written.
func BackendOf(info devices.Info) Backend {
	b := Backend{
		API: 2, Flush: info.CanFlush, Trim: info.CanTrim, Zero: info.CanZero,
		CanFlush: answer(info.CanFlush), CanWrite: answer(!info.ReadOnly), CanTrim: answer(info.CanTrim),
		CanFUA: No, CanZero: No, ZeroCertain: true,
	}
	switch info.FUA {
	case devices.FUAEmulate:
		b.CanFUA = Emulate
	case devices.FUANative:
		b.CanFUA = Native
	}
	if info.CanZero {
		b.CanZero = Native
	}
	return b
}

func answer(yes bool) Answer {
	if yes {
		return Yes
	}
	return No
}

// NewDevice returns inner with its commands carried out as r says. inner serves
// the calls; a zero may answer ENOTSUP, and is then written. loop must not be nil.
//
// A command that becomes one identical call is inner's at once: the same request,
// no allocation. Any other one is held while children make its calls, one after
// another. What passes between them is charged to devices.ServerQueue. A command
// that becomes no call ends from the loop, at the instant of Submit. Where every
// command is forwarded and inner already says what is advertised, it is inner.
func NewDevice(loop *sim.Loop, inner devices.Device, r Resolution) devices.Device {
	if loop == nil {
		panic("fua: no loop")
	}
	d := &device{inner: inner, loop: loop, info: r.info(inner.Info()), writes: r.zero != Native, flagless: r.flagless, certain: r.certain}
	d.finisher = devices.Finisher{Loop: loop, Stage: devices.ServerQueue}
	for _, op := range []devices.Op{devices.OpRead, devices.OpCache, devices.OpBlockStatus} {
		d.plans[op<<1].forward, d.plans[op<<1|1].forward = true, true
	}
	d.set(devices.OpWrite, r.Write, r.WriteFUA)
	d.set(devices.OpTrim, r.trim, r.TrimFUA)
	d.set(devices.OpWriteZeroes, r.zeroes, r.zeroesFUA)
	d.set(devices.OpFlush, r.FlushAction, r.FlushAction)
	if r.certain && d.info == inner.Info() && d.forwardsAll() {
		return inner
	}
	return d
}

// device carries out a Resolution on a backend's device.
//
// While a command is held its Seq is the instant at which the call in progress
// began. The child's Ref is the command and its Slot is which of the calls it is.
type device struct {
	inner devices.Device
	loop  *sim.Loop
	info  devices.Info
	free  devices.Freelist
	// finisher ends the commands that become no call.
	finisher devices.Finisher

	plans [16]plan // by planOf

	writes   bool // zeroes are written: there is no .zero to try
	flagless bool // .zero does not know FAST_ZERO
	certain  bool // .zero never asks for the zeroes to be written
	idle     *zeroing
}

// plan is an Action in the form in which it is carried out.
type plan struct {
	forward bool // the command is the one call
	n       uint8
	steps   [2]step
	errno   devices.Errno // after the steps
}

// step is a call: a command, and FUA or no flags.
type step struct {
	op    devices.Op
	flags devices.Flags
}

// planOf is r's place among the plans: that of its command, with FUA or without.
func planOf(r *devices.Request) uint8 {
	return uint8(r.Op)&7<<1 | uint8(r.Flags&devices.FUA)
}

// info is what a backend that says in of itself shows under r.
func (r *Resolution) info(in devices.Info) devices.Info {
	in.CanFlush, in.CanTrim, in.CanZero, in.ReadOnly = r.Flush, r.Trim, r.Zero, r.ReadOnly
	in.FUA = r.Level()
	return in
}

// forwardsAll reports whether each command is the one call that it becomes.
func (d *device) forwardsAll() bool {
	for op := devices.OpRead; op <= devices.OpBlockStatus; op++ {
		known := op != 2 // DISC, which reaches no device
		if known && !(d.plans[op<<1].forward && d.plans[op<<1|1].forward) {
			return false
		}
	}
	return true
}

// set says what becomes of op without FUA and with it.
func (d *device) set(op devices.Op, plain, durable Action) {
	for f, a := range [2]Action{plain, durable} {
		p := plan{n: uint8(len(a.Calls)), errno: a.Errno}
		for i, c := range a.Calls {
			p.steps[i] = steps[c]
		}
		same := step{op, devices.Flags(f)}
		if op == devices.OpFlush {
			same.flags = 0 // a flush has none
		}
		p.forward = p.n == 1 && p.errno == devices.OK && p.steps[0] == same
		d.plans[int(op)<<1|f] = p
	}
}

// steps are what makes each call.
var steps = [...]step{
	CallWrite: {devices.OpWrite, 0}, CallWriteFUA: {devices.OpWrite, devices.FUA},
	CallTrim: {devices.OpTrim, 0}, CallTrimFUA: {devices.OpTrim, devices.FUA},
	CallZero: {devices.OpWriteZeroes, 0}, CallZeroFUA: {devices.OpWriteZeroes, devices.FUA},
	CallFlush: {devices.OpFlush, 0},
}

// Info is inner's, with what was resolved.
func (d *device) Info() devices.Info { return d.info }

// Submit forwards r or begins its plan. A zero may have to be written as well.
func (d *device) Submit(r *devices.Request) {
	p := &d.plans[planOf(r)]
	switch {
	case p.forward && r.Op != devices.OpWriteZeroes:
		d.inner.Submit(r)
	case p.n == 0:
		d.finisher.Finish(r, p.errno)
	case r.Op == devices.OpWriteZeroes:
		d.zero(r, p.forward)
	default:
		d.call(r, d.child(r), p.steps[0], 0)
	}
}

// child is a new request on r's behalf.
func (d *device) child(r *devices.Request) *devices.Request {
	q := d.free.Get()
	q.Conn, q.Stream, q.Txn, q.Step, q.Intended = r.Conn, r.Stream, r.Txn, r.Step, r.Intended
	q.Ref = r
	return q
}

// call has q, a child of r, make r's call of this index, which is s.
func (d *device) call(r, q *devices.Request, s step, index uint32) {
	q.Op, q.Errno, q.Slot = s.op, devices.OK, index
	if s.op == devices.OpFlush {
		q.Flags, q.Offset, q.Length, q.Payload = 0, 0, 0, devices.Payload{}
	} else {
		q.Flags = r.Flags&^devices.FUA | s.flags
		q.Offset, q.Length, q.Payload = r.Offset, r.Length, r.Payload
	}
	d.send(r, q, d)
}

// send submits q, a child of r.
func (d *device) send(r, q *devices.Request, done devices.Completer) {
	now := d.loop.Now()
	r.Seq = uint64(now)
	q.Completer, q.Submitted = done, now
	q.Begin(now)
	d.inner.Submit(q)
}

// absorb gives q's time to the command on whose behalf it was sent.
func (d *device) absorb(q *devices.Request) *devices.Request {
	r := q.Ref.(*devices.Request)
	r.Absorb(devices.ServerQueue, sim.Time(r.Seq), q)
	return r
}

// Done goes on with the next call after one that succeeded. A zero that the
// backend does not support is written.
func (d *device) Done(q *devices.Request) {
	r := d.absorb(q)
	switch {
	case q.Errno == devices.OK:
		d.step(r, q)
	case unsupported(r, q):
		d.free.Put(q)
		d.take(r).begin()
	default:
		d.finish(r, q, q.Errno)
	}
}

// step makes the call after q's, or ends r.
func (d *device) step(r, q *devices.Request) {
	p := &d.plans[planOf(r)]
	if i := q.Slot + 1; i < uint32(p.n) {
		d.call(r, q, p.steps[i], i)
		return
	}
	d.finish(r, q, p.errno)
}

func (d *device) finish(r, q *devices.Request, e devices.Errno) {
	d.free.Put(q)
	r.Finish(e)
}
