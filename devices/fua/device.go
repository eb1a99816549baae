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
		CanFUA: No, CanZero: No,
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
// that becomes no call ends from the loop, at the instant of Submit.
func NewDevice(loop *sim.Loop, inner devices.Device, r Resolution) devices.Device {
	if loop == nil {
		panic("fua: no loop")
	}
	d := &device{inner: inner, loop: loop, info: r.info(inner.Info()), writes: r.zero != Native, flagless: r.flagless}
	for _, op := range []devices.Op{devices.OpRead, devices.OpCache, devices.OpBlockStatus} {
		d.forward[op] = [2]bool{true, true}
	}
	d.set(devices.OpWrite, r.Write, r.WriteFUA)
	d.set(devices.OpTrim, r.trim, r.TrimFUA)
	d.set(devices.OpWriteZeroes, r.zeroes, r.zeroesFUA)
	d.set(devices.OpFlush, r.FlushAction, r.FlushAction)
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

	// By command and FUA: what becomes of it, and whether that is the same command.
	actions [8][2]Action
	forward [8][2]bool

	writes   bool // zeroes are written: there is no .zero to try
	flagless bool // .zero does not know FAST_ZERO
	idle     *zeroing
}

// info is what a backend that says in of itself shows under r.
func (r *Resolution) info(in devices.Info) devices.Info {
	in.CanFlush, in.CanTrim, in.CanZero, in.ReadOnly = r.Flush, r.Trim, r.Zero, r.ReadOnly
	in.FUA = r.Level()
	return in
}

// set says what becomes of op without FUA and with it.
func (d *device) set(op devices.Op, plain, durable Action) {
	for f, a := range [2]Action{plain, durable} {
		d.actions[op][f] = a
		d.forward[op][f] = len(a.Calls) == 1 && a.Errno == devices.OK && a.Calls[0].is(op, f == 1)
	}
}

// The command that makes each call.
var callOps = [...]devices.Op{
	CallWrite: devices.OpWrite, CallWriteFUA: devices.OpWrite, CallTrim: devices.OpTrim, CallTrimFUA: devices.OpTrim,
	CallZero: devices.OpWriteZeroes, CallZeroFUA: devices.OpWriteZeroes, CallFlush: devices.OpFlush,
}

// durable reports whether the call has the flag.
func (c Call) durable() bool { return c == CallWriteFUA || c == CallTrimFUA || c == CallZeroFUA }

// is reports whether op, with FUA or without, makes the call as it stands. A
// flush has no flags.
func (c Call) is(op devices.Op, fua bool) bool {
	return callOps[c] == op && (c.durable() == fua || c == CallFlush)
}

// Info is inner's, with what was resolved.
func (d *device) Info() devices.Info { return d.info }

// Submit forwards r or begins its action.
func (d *device) Submit(r *devices.Request) {
	op, f := r.Op&7, r.Flags&devices.FUA
	a := &d.actions[op][f]
	switch {
	case op == devices.OpWriteZeroes && len(a.Calls) > 0:
		d.zero(r, d.forward[op][f])
	case d.forward[op][f]:
		d.inner.Submit(r)
	case len(a.Calls) == 0:
		d.later(r, a.Errno)
	default:
		d.call(r, d.free.Get(), 0)
	}
}

// call makes the call of r's action that has this index. q is its child.
func (d *device) call(r, q *devices.Request, index uint32) {
	k := d.actions[r.Op&7][r.Flags&devices.FUA].Calls[index]
	q.Op, q.Flags, q.Errno = callOps[k], 0, devices.OK
	q.Offset, q.Length, q.Payload = 0, 0, devices.Payload{}
	if k != CallFlush {
		q.Flags = r.Flags &^ devices.FUA
		q.Offset, q.Length, q.Payload = r.Offset, r.Length, r.Payload
	}
	if k.durable() {
		q.Flags |= devices.FUA
	}
	q.Slot = index
	d.send(r, q, d)
}

// send submits q on r's behalf.
func (d *device) send(r, q *devices.Request, done devices.Completer) {
	now := d.loop.Now()
	q.Conn, q.Stream, q.Txn, q.Step, q.Intended = r.Conn, r.Stream, r.Txn, r.Step, r.Intended
	q.Ref, q.Completer, q.Submitted = r, done, now
	q.Begin(now)
	r.Seq = uint64(now)
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
	a := &d.actions[r.Op&7][r.Flags&devices.FUA]
	if next := q.Slot + 1; int(next) < len(a.Calls) {
		d.call(r, q, next)
		return
	}
	d.finish(r, q, a.Errno)
}

func (d *device) finish(r, q *devices.Request, e devices.Errno) {
	d.free.Put(q)
	r.Finish(e)
}

// later ends r with e from the loop, at this instant.
func (d *device) later(r *devices.Request, e devices.Errno) {
	r.Errno = e
	r.Timer.Owner = r
	d.loop.After(&r.Timer, 0, d)
}

// Fire ends a command without calls.
func (d *device) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	r.Charge(devices.ServerQueue, d.loop.Now())
	r.Finish(r.Errno)
}
