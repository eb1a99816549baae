package nbd

import (
	"fmt"
	"math"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Requests takes a client's requests on their way.
type Requests interface {
	SendRequest(h Header, p devices.Payload)
}

// Client is the client's end of one connection in the transmission phase, and a
// device whose medium is at the other end. Like libnbd in strict mode it never
// sends what the server did not advertise: such a request ends with EINVAL, or
// EPERM for a write to a read-only export, and nothing is emulated.
//
// Where the server is in another process, all of a request's time from sending
// to the reply is charged to devices.Wire, and Stages says nothing more.
type Client struct {
	loop  *sim.Loop
	info  ExportInfo
	out   Requests
	table table
	wait  devices.Queue // what the table has no slot for
	err   error
	tally tally
	chain int // 1 more than the place of its server in a chain of proxies; 0 is no chain

	shutBy   *ShutdownError // the server is shutting down
	watchdog *watchdog      // nil: replies have no bound
}

// NewClient returns a client of the export that was negotiated, which sends by
// out.
func NewClient(loop *sim.Loop, info ExportInfo, out Requests) *Client {
	return &Client{loop: loop, info: info, out: out}
}

// Info is what the server said about the export.
func (c *Client) Info() devices.Info { return c.info.Info() }

// Export is what the server said, in the protocol's words.
func (c *Client) Export() ExportInfo { return c.info }

// Counts are the commands that were sent.
func (c *Client) Counts() Counts { return c.tally.counts() }

// InFlight is how many requests await a reply.
func (c *Client) InFlight() int { return c.table.used }

// Err is why the connection ended, or nil.
func (c *Client) Err() error { return c.err }

// Submit sends r, or queues it.
func (c *Client) Submit(r *devices.Request) {
	if r.Bytes != nil && uint64(len(r.Bytes)) != r.Length && dataOp(r.Op) {
		panic(fmt.Sprintf("nbd: %v with %d bytes of data", r, len(r.Bytes)))
	}
	if e := c.check(r); e != devices.OK {
		c.refuse(r, e)
		return
	}
	if c.table.used == MaxClientInFlight {
		c.wait.Push(r)
		return
	}
	c.send(r)
}

func dataOp(op devices.Op) bool { return op == devices.OpRead || op == devices.OpWrite }

// check is what libnbd's strict mode checks, before anything is sent.
// "Transmission flags": a client MUST NOT use what was not advertised.
func (c *Client) check(r *devices.Request) devices.Errno {
	f := c.info.Flags
	switch {
	case c.err != nil || c.shutBy != nil:
		return devices.ESHUTDOWN
	case r.Flags&devices.FUA != 0 && f&SendFUA == 0:
		return devices.EINVAL
	case f&needs[r.Op&7] != needs[r.Op&7]:
		return devices.EINVAL
	case r.Op == devices.OpBlockStatus && !c.info.Allocation || r.Flags&devices.DF != 0 && f&SendDF == 0:
		return devices.EINVAL
	case r.Op.Modifies() && f&ReadOnly != 0:
		return devices.EPERM
	case r.Flags&devices.FastZero != 0 && f&SendFastZero == 0:
		return devices.EINVAL
	case r.Length > math.MaxUint32 && !c.info.Extended || dataOp(r.Op) && r.Length > uint64(c.info.MaxPayload):
		return devices.EINVAL
	case (r.Offset|r.Length)&uint64(c.info.MinBlock-1) != 0 && r.Op != devices.OpFlush:
		return devices.EINVAL // "Block size constraints": who asked for them MUST obey
	}
	return devices.OK
}

// refuse completes r with e at this instant, but after Submit has returned.
func (c *Client) refuse(r *devices.Request, e devices.Errno) {
	r.Submitted, r.Errno = c.loop.Now(), e
	r.Timer.Owner = r
	c.loop.After(&r.Timer, 0, c)
}

// Fire completes a refused request. It is for the loop to call.
func (c *Client) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	c.finish(r, devices.ClientQueue, r.Errno)
}

func (c *Client) send(r *devices.Request) {
	now := c.loop.Now()
	r.Submitted = now
	r.Charge(devices.ClientQueue, now)
	h := Header{
		Flags: r.Flags, Op: r.Op, Cookie: c.table.add(r),
		Offset: r.Offset, Length: r.Length,
	}
	if !r.Op.Modifies() {
		h.Flags &^= devices.FUA // SHOULD NOT be set where it means nothing
	}
	c.tally.count(h.Op, h.Flags)
	var p devices.Payload
	if r.Op == devices.OpWrite {
		p = r.Payload
	}
	c.out.SendRequest(h, p)
	if c.watchdog != nil {
		c.watchdog.sent(r)
	}
}

// Expect is the request that a reply with this cookie answers, so that whoever
// reads knows whether and where data follows; nil if there is none.
func (c *Client) Expect(cookie uint64) *devices.Request { return c.table.lookup(cookie) }

// Receive takes a reply. The data of a READ is already where the request wants
// it; p has its stamp. A cookie that was not sent ends the connection.
func (c *Client) Receive(e devices.Errno, cookie uint64, p devices.Payload) error {
	r := c.table.lookup(cookie)
	if r == nil {
		err := violation("a reply has the cookie of a request in flight", "%#x", cookie)
		c.Fail(err)
		return err
	}
	c.table.remove(cookie)
	if r.Op == devices.OpRead {
		r.Stamp = p.Stamp
	}
	if e == devices.ESHUTDOWN && c.shutBy == nil { // "Error values": MUST then send nothing but DISC
		c.shutBy = &ShutdownError{command(r)}
	}
	c.finish(r, devices.Wire, e)
	c.sendWaiting()
	return nil
}

func (c *Client) sendWaiting() {
	for c.table.used < MaxClientInFlight && c.err == nil {
		r := c.wait.Pop()
		switch {
		case r == nil:
			return
		case c.shutBy != nil:
			c.finish(r, devices.ClientQueue, devices.ESHUTDOWN)
		default:
			c.send(r)
		}
	}
}

func (c *Client) finish(r *devices.Request, stage devices.Stage, e devices.Errno) {
	now := c.loop.Now()
	r.Completed = now
	r.Charge(stage, now)
	if c.chain > 0 {
		r.PassLink(c.chain - 1)
	}
	r.Finish(e)
}

// Fail ends the connection because of err: all that is in flight or waits, and
// all that is submitted from now on, completes with ESHUTDOWN. Whether a write
// in flight took place is not known. Only the first call counts.
func (c *Client) Fail(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	if c.watchdog != nil {
		c.loop.Cancel(&c.watchdog.timer)
	}
	for i := range c.table.slots {
		if r := c.table.slots[i].r; r != nil {
			c.table.remove(c.table.cookie(uint32(i)))
			c.finish(r, devices.Wire, devices.ESHUTDOWN)
		}
	}
	for r := c.wait.Pop(); r != nil; r = c.wait.Pop() {
		c.finish(r, devices.ClientQueue, devices.ESHUTDOWN)
	}
}

// table has a connection's requests in flight by slot. A slot's generation is
// part of the cookie, so that a stale or repeated reply is found out. In one
// process the server's end looks into it too.
type table struct {
	slots []slot
	free  []uint32
	used  int
}

type slot struct {
	r   *devices.Request
	gen uint32

	errno devices.Errno // of the chunks so far
	seen  uint64        // bytes of a READ's data in them, or 1 for a status
	got   coverage      // where that data is
}

// slot is where the request of a cookie is that lookup finds.
func (t *table) slot(cookie uint64) *slot { return &t.slots[uint32(cookie)] }

func (t *table) add(r *devices.Request) (cookie uint64) {
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
	}
	t.used++
	s := &t.slots[i]
	s.r, s.errno, s.seen, s.got = r, devices.OK, 0, s.got[:0]
	return t.cookie(i)
}

func (t *table) cookie(i uint32) uint64 { return uint64(t.slots[i].gen)<<32 | uint64(i) }

func (t *table) lookup(cookie uint64) *devices.Request {
	i := uint32(cookie)
	if uint64(i) >= uint64(len(t.slots)) || t.slots[i].gen != uint32(cookie>>32) {
		return nil
	}
	return t.slots[i].r
}

// oldest is the request that was sent first, or nil.
func (t *table) oldest() (first *devices.Request) {
	for i := range t.slots {
		if r := t.slots[i].r; r != nil && (first == nil || r.Submitted < first.Submitted) {
			first = r
		}
	}
	return first
}

func (t *table) remove(cookie uint64) {
	i := uint32(cookie)
	t.slots[i].r = nil
	t.slots[i].gen++
	t.free = append(t.free, i)
	t.used--
}
