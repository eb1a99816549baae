package array

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
)

// op is a request while the members work on it.
type op struct {
	array   *Array
	parent  *devices.Request
	pending int    // children that are not done
	done    uint32 // the members that have carried out a child, as bits
	errno   devices.Errno
	row     bool    // one row of a RAID 5; see rowOp
	copy    *resync // a page of a member that is brought up to date
	rowOp

	from, end uint64 // what is locked; end 0 is nothing
	next      *op    // in the list of locks, or free
}

func (a *Array) newOp(r *devices.Request) *op {
	o := a.free
	if o == nil {
		o = &op{array: a}
	} else {
		a.free = o.next
	}
	buffers := o.rowOp.buffers
	*o = op{array: a, parent: r, rowOp: rowOp{buffers: buffers}}
	return o
}

// child is a new request on behalf of o's parent.
func (a *Array) child(o *op) *devices.Request {
	c, r := a.requests.Get(), o.parent
	c.Conn, c.Stream, c.Txn, c.Step, c.Intended = r.Conn, r.Stream, r.Txn, r.Step, r.Intended
	c.Ref, c.Completer = o, a
	now := a.loop.Now()
	c.Submitted = now
	c.Begin(now)
	o.pending++
	return c
}

// send submits a request for o to member i.
func (a *Array) send(o *op, i int, what devices.Op, flags devices.Flags, off, n uint64, p devices.Payload) {
	c := a.child(o)
	c.Op, c.Flags, c.Offset, c.Length, c.Payload = what, flags, off, n, p
	m := &a.members[i]
	c.Slot = uint32(i) | m.life<<memberBits
	m.pending++
	m.dev.Submit(c)
}

// The lower bits of a child's Slot are its member, and the others which of its lives.
const (
	memberBits = 8
	ownRow     = 1<<memberBits - 1 // a row of the array's own, and no member's
)

// sent ends o if nothing of it was sent.
func (a *Array) sent(o *op) {
	if o.pending > 0 {
		return
	}
	e := devices.OK
	if a.dead() || o.parent.Op == devices.OpRead && o.parent.Length > 0 {
		e = devices.EIO
	}
	r := o.parent
	a.release(o)
	a.finisher.Finish(r, e)
}

// Done takes a child back. The time that its parent has spent is that of the one that
// ends last.
func (a *Array) Done(c *devices.Request) {
	o := c.Ref.(*op)
	i := int(c.Slot & ownRow)
	e := c.Errno
	if i != ownRow {
		e = a.returned(o, c, i)
	}
	o.pending--
	if o.errno == devices.OK {
		o.errno = e
	}
	if o.pending == 0 && o.copy == nil {
		o.parent.Absorb(devices.DeviceQueue, c.Submitted, c)
		if c.Op == devices.OpRead && c.Length == o.parent.Length && c.Versions == nil {
			o.parent.Stamp = c.Stamp
		}
	}
	a.requests.Put(c)
	if o.pending > 0 {
		return
	}
	switch {
	case o.copy != nil:
		o.copy.step(o)
	case o.row:
		a.rowStep(o)
	default:
		a.end(o)
	}
}

// returned is the result of a child that member i has done: a command that a member
// fails is another member's to carry out, if there is one that can.
func (a *Array) returned(o *op, c *devices.Request, i int) devices.Errno {
	m := &a.members[i]
	e := c.Errno
	gone := c.Slot>>memberBits != m.life
	if !gone {
		m.pending--
	} else if e == devices.OK {
		e = devices.EIO // its member has lost its power meanwhile
	}
	if e == devices.OK {
		o.done |= 1 << i
		return e
	}
	if !gone {
		a.drop(i)
	}
	if c.Op.Modifies() {
		m.note(c.Offset, c.End())
	}
	if o.row || o.copy != nil || m.reads() {
		return e // what makes a row is done again without the member
	}
	if c.Op == devices.OpRead && !a.dead() {
		return a.readAgain(o, c, i)
	}
	return e
}

// readAgain carries out a READ that member i has failed without it.
func (a *Array) readAgain(o *op, c *devices.Request, i int) devices.Errno {
	if a.cfg.Kind == Mirror {
		a.send(o, a.first(), c.Op, c.Flags, c.Offset, c.Length, c.Payload)
		return devices.OK
	}
	off, _ := a.layout.logical(i, c.Offset)
	a.rowRequest(o, off, c.Length, c.Payload)
	return devices.OK
}

// end finishes o's parent. A mirror has carried out what a leg that counts has.
func (a *Array) end(o *op) {
	r, e := o.parent, o.errno
	switch {
	case r.Op == devices.OpRead:
	case a.cfg.Kind == Mirror && a.counts(o.done):
		e = devices.OK
	case a.cfg.Kind == Mirror && e == devices.OK:
		e = devices.EIO // the leg that carried it out is gone
	case a.cfg.Kind == RAID5 && r.Op == devices.OpFlush && !a.dead():
		e = devices.OK
	}
	if r.Op == devices.OpRead && r.Versions != nil && e == devices.OK {
		for i, v := range r.Versions {
			r.Stamp = drive.FoldStamps(r.Stamp, v, i == 0)
		}
	}
	a.release(o)
	r.Finish(e)
}

// release gives back o and what it has locked.
func (a *Array) release(o *op) {
	if o.end > 0 {
		a.locks.release(o)
	}
	o.parent = nil
	o.next, a.free = a.free, o
}

// locks are ranges of bytes that are written, each by one op at a time. Those that wait
// go on in the order in which they came.
type locks struct {
	held        *op
	waits, last *op // in the order in which they came
	begin       func(*op)
}

// take begins o once it has [from, end).
func (l *locks) take(o *op, from, end uint64) {
	o.from, o.end, o.next = from, end, nil
	if l.busy(from, end) || meets(l.waits, nil, from, end) {
		if l.waits == nil {
			l.waits = o
		} else {
			l.last.next = o
		}
		l.last = o
		return
	}
	l.hold(o)
	l.begin(o)
}

func (l *locks) hold(o *op) { o.next, l.held = l.held, o }

// busy reports whether any of [from, end) is held.
func (l *locks) busy(from, end uint64) bool { return meets(l.held, nil, from, end) }

// meets reports whether one of the list before stop shares a byte with [from, end).
func meets(list, stop *op, from, end uint64) bool {
	for o := list; o != stop; o = o.next {
		if o.from < end && from < o.end {
			return true
		}
	}
	return false
}

// release gives up what o holds, and begins those that waited for it.
func (l *locks) release(o *op) {
	for p := &l.held; ; p = &(*p).next {
		if *p == o {
			*p = o.next
			break
		}
	}
	o.end = 0
	for again := true; again; {
		again = false
		var before *op
		for w := l.waits; w != nil; before, w = w, w.next {
			if l.busy(w.from, w.end) || meets(l.waits, w, w.from, w.end) {
				continue
			}
			l.unlink(before, w)
			l.hold(w)
			l.begin(w)
			again = true
			break
		}
	}
}

func (l *locks) unlink(before, w *op) {
	if before == nil {
		l.waits = w.next
	} else {
		before.next = w.next
	}
	if l.last == w {
		l.last = before
	}
}
