package layer

import (
	"math"

	"nbdbench/devices"
	"nbdbench/sim"
)

// FlushPendingTimeout bounds how long a flush waits for flushed data in flight:
// FLUSH_PENDING_TIMEOUT of Linux's block/blk-flush.c.
const FlushPendingTimeout sim.Duration = 5e9

// group makes FUA commands durable with FLUSHes that they share. A command
// joins a FLUSH only if it completed before that FLUSH is submitted: the order
// of events decides, never a mark set before the write.
//
// It is Linux's block/blk-flush.c, whose rules are
//
//	C1 one FLUSH is in flight; those who come meanwhile wait for the next;
//	C2 a FLUSH waits while data that is itself to be flushed is in flight;
//	C3 but not longer than FlushPendingTimeout.
//
// A command with devices.Preflush waits for a FLUSH first, is sent when that is done, and
// where it has FUA waits for another one. It counts as data in flight before the next FLUSH
// may start, as blk_flush_complete_seq has it, so that C2 defers that one.
//
// Linux looks at C3 when something else completes; here a timer does, so that
// the bound holds when nothing completes.
type group struct {
	base
	perConn bool // a machine of its own for each connection
	defers  bool // C2 and C3 apply
	joins   bool // FLUSH commands join the shared ones; else they are forwarded

	lanes map[uint32]*lane
}

// lane is one blk_flush_queue.
type lane struct {
	pending devices.Queue // completed; they wait for the next FLUSH
	running devices.Queue // the FLUSH in flight is theirs
	since   sim.Time      // when pending was last empty
	flush   *devices.Request
	begun   sim.Time // when flush was sent
	data    int      // commands in flight that will want a FLUSH, or had one before
	timer   sim.Timer
}

// EmulateGrouped serves FUA on a device that need only have FLUSH, with one
// FLUSH for all commands that completed before it started (C1 alone). FLUSH
// commands are forwarded: theirs is a promise about other commands too, and
// their errors are their own. Where the device's FLUSH holds for one connection
// only, so does the grouping.
func EmulateGrouped(inner devices.Device, loop *sim.Loop, side Side) (devices.Device, error) {
	if err := needFlush(inner); err != nil {
		return nil, err
	}
	return newGroup(inner, loop, side, group{perConn: !inner.Info().MultiConn}), nil
}

// BlkFlush serves FUA on a device that need only have FLUSH, as Linux does it
// for a disk with a volatile cache and without FUA (C1, C2 and C3), for each
// connection on its own. FLUSH commands join the same machine, as Linux's empty
// flushes do.
func BlkFlush(inner devices.Device, loop *sim.Loop, side Side) (devices.Device, error) {
	if err := needFlush(inner); err != nil {
		return nil, err
	}
	return newGroup(inner, loop, side, group{perConn: true, defers: true, joins: true}), nil
}

func newGroup(inner devices.Device, loop *sim.Loop, side Side, g group) *group {
	g.base = newBase(inner, loop, side)
	g.info.FUA = devices.FUAEmulate
	g.lanes = make(map[uint32]*lane)
	return &g
}

func (g *group) Submit(r *devices.Request) {
	switch {
	case r.Flags&devices.Preflush != 0:
		r.Seq = unflushed
		g.enqueue(g.lane(r), r)
	case r.Durable():
		g.sendData(g.lane(r), r)
	case r.Op == devices.OpFlush && g.joins:
		g.enqueue(g.lane(r), r)
	default:
		g.inner.Submit(r)
	}
}

// unflushed is the Seq of a request that waits for its preflush: later it is an instant.
const unflushed = math.MaxUint64

// preflushing reports whether the FLUSH that r waits for is the one before its data.
func preflushing(r *devices.Request) bool {
	return r.Flags&devices.Preflush != 0 && r.Seq == unflushed
}

// sendData sends the data of a command that is itself to be flushed: REQ_FSEQ_DATA.
func (g *group) sendData(l *lane, r *devices.Request) {
	l.data++
	g.send(r, r.Flags&^(devices.FUA|devices.Preflush), g)
}

func (g *group) lane(r *devices.Request) *lane {
	var key uint32
	if g.perConn {
		key = r.Conn
	}
	l := g.lanes[key]
	if l == nil {
		l = new(lane)
		l.timer.Owner = l
		g.lanes[key] = l
	}
	return l
}

// Done is called when a child is done: a command's, or a shared FLUSH.
func (g *group) Done(c *devices.Request) {
	if l, ok := c.Ref.(*lane); ok {
		g.flushed(l, c)
		return
	}
	parent := g.absorb(c)
	l := g.lane(parent)
	l.data--
	if c.Errno == devices.OK && parent.Durable() {
		g.free.Put(c)
		g.enqueue(l, parent)
		return
	}
	g.kick(l)
	g.finish(parent, c)
}

// enqueue lets r wait for the next FLUSH.
func (g *group) enqueue(l *lane, r *devices.Request) {
	if l.pending.Len() == 0 {
		l.since = g.loop.Now()
	}
	l.pending.Push(r)
	g.kick(l)
}

// kick sends a FLUSH if one is wanted and the rules allow it: blk_kick_flush.
func (g *group) kick(l *lane) {
	if l.flush != nil || l.pending.Len() == 0 { // C1
		return
	}
	if g.defers && l.data > 0 { // C2
		if limit := l.since.Add(FlushPendingTimeout); g.loop.Now() < limit { // C3
			g.loop.At(&l.timer, limit, (*timeout)(g))
			return
		}
	}
	g.loop.Cancel(&l.timer)
	l.running, l.pending = l.pending, devices.Queue{}
	l.flush, l.begun = g.free.Get(), g.loop.Now()
	c := l.flush
	c.Op, c.Ref, c.Completer, c.Submitted = devices.OpFlush, l, g, l.begun
	identify(c, l.running.Peek())
	c.Begin(l.begun)
	g.inner.Submit(c)
}

// flushed ends all whose FLUSH c was, and sends the data of those whose preflush it was.
// The next one starts before any is ended, who may submit more, which must not hold it up
// (C2). It is after data that came before.
func (g *group) flushed(l *lane, c *devices.Request) {
	done := l.running
	l.running, l.flush = devices.Queue{}, nil
	begun := l.begun
	for r := done.Peek(); r != nil && preflushing(r) && c.Errno == devices.OK; r = done.Peek() {
		done.Pop().Absorb(g.gap, begun, c)
		g.sendData(l, r)
	}
	g.kick(l)
	for r := done.Pop(); r != nil; r = done.Pop() {
		r.Absorb(g.gap, begun, c)
		if preflushing(r) && c.Errno == devices.OK {
			g.sendData(l, r)
			continue
		}
		r.Finish(c.Errno)
	}
	g.free.Put(c)
}

// timeout is group as the handler of C3's timers.
type timeout group

// Fire sends the FLUSH that has waited too long.
func (t *timeout) Fire(timer *sim.Timer) { (*group)(t).kick(timer.Owner.(*lane)) }
