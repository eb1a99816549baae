package nbd

import (
	"slices"
	"sync"

	"nbdbench/devices"
	"nbdbench/internal/buffer"
	"nbdbench/sim"
)

// Reply is what a ServerConn answers, with a READ's data or a BLOCK_STATUS's
// extents. Status is good until SendReply returns.
type Reply struct {
	Errno  devices.Errno
	Op     devices.Op // what is answered; of a request that was refused too
	Cookie uint64
	Offset uint64 // the request's
	Data   uint32 // bytes of data on the wire, extents included
	devices.Payload

	Due  sim.Time // when the request came, and the device's time after that
	Hold Hold     // as it came with the request
}

// Hold is what a transport has taken for a request. The ServerConn hands it back
// with the reply, once for each request. The zero value is nothing.
type Hold struct {
	Buffer   *buffer.Buffer // whose part Payload.Bytes is, if it is from the pool
	Bytes    int32          // of memory
	Reserved bool           // the memory is beyond the bounds of the connection
}

// Transport is what a ServerConn is to know of whoever hands it requests.
type Transport struct {
	// MaxFree is how many records of requests the connection keeps for its next
	// ones. What is beyond is shared by all connections.
	MaxFree int
	// Lend, where set, is called with what a request holds whose payload the device
	// keeps beyond the reply. It returns what the reply gives back, h without what
	// belongs to the payload, and what is to be called when the device returns the
	// payload, or nil.
	Lend func(h Hold) (rest Hold, returned func())
}

// Replies takes a server's replies on their way. It must not call back into
// the ServerConn's Receive before it returns, except through Room.
type Replies interface {
	SendReply(r Reply)
}

// ServerConn is the server's end of one connection in the transmission phase.
// It is handed requests, submits them to a device, and hands out replies in
// whatever order they complete. It belongs to the device's loop.
type ServerConn struct {
	loop  *sim.Loop
	dev   devices.Device
	info  ExportInfo
	under devices.Info // of the device, which an override may contradict
	id    uint32
	out   Replies
	peer  *table // the client's requests, if it is in this process

	transport Transport

	inflight int
	bytes    uint64
	draining bool
	disc     bool
	tally    tally
	chain    int // as a Client's
	free     *served
	frees    int // in the list of free
}

// MaxRecord bounds what a ServerConn itself keeps for a request, in bytes, without the
// extents of a BLOCK_STATUS.
const MaxRecord = 768

// served is a request that the server has submitted.
type served struct {
	devices.Request
	cookie uint64
	flags  devices.Flags // as they came
	status devices.BlockStatus
	data   uint32 // bytes of payload, in either direction
	began  sim.Time
	client *devices.Request // whose request it is, if in this process
	hold   Hold
	next   *served
}

// maxFreeExtents is for how many extents a record has room that is kept. Beyond
// that they are garbage: ten thousand idle connections may each have been busy.
const maxFreeExtents = 64

var freeServed = sync.Pool{New: func() any { return new(served) }}

// NewServerConn serves dev, opened for export e, to one client. id numbers the
// connection.
func NewServerConn(loop *sim.Loop, e *Export, dev devices.Device, id uint32, out Replies) *ServerConn {
	info := dev.Info()
	return &ServerConn{loop: loop, dev: dev, under: info, info: e.describe(&info), id: id, out: out, transport: Transport{MaxFree: MaxInFlight}}
}

// SetDialect sets the dialect that was negotiated. It comes before the first
// request.
func (s *ServerConn) SetDialect(d Dialect) { s.info = s.info.in(d) }

// SetTransport sets what the connection is to know of its transport. It comes
// before the first request.
func (s *ServerConn) SetTransport(t Transport) { s.transport = t }

// Info is what the client was sent about the export.
func (s *ServerConn) Info() ExportInfo { return s.info }

// InFlight is how many requests have come and have not been answered.
func (s *ServerConn) InFlight() int { return s.inflight }

// Counts are the commands that were submitted to the device.
func (s *ServerConn) Counts() Counts { return s.tally.counts() }

// Drain lets what is in flight finish and answers all that comes from now on
// with ESHUTDOWN.
func (s *ServerConn) Drain() { s.draining = true }

// Disconnected reports whether the client has sent DISC. What is in flight is
// still to be answered.
func (s *ServerConn) Disconnected() bool { return s.disc }

// Room reports whether a request may be received now. Where it may not, whoever
// reads stops until a reply has gone out.
func (s *ServerConn) Room(h *Header) bool {
	if s.inflight == 0 {
		return true
	}
	return s.inflight < MaxInFlight && s.bytes+dataLength(h) <= MaxInFlightBytes
}

// dataLength is how many bytes of data h sends or asks for.
func dataLength(h *Header) uint64 {
	if h.Op == devices.OpWrite || h.Op == devices.OpRead {
		return h.Length
	}
	return 0
}

// Receive takes a request. arrived is when it reached the server, if it has
// waited for Room since. The data of a WRITE, and the place for that of a READ,
// are p; the connection holds it until the reply.
func (s *ServerConn) Receive(h *Header, p devices.Payload, arrived sim.Time) {
	s.ReceiveHeld(h, p, Hold{}, arrived)
}

// ReceiveHeld is Receive of a request for which the transport holds something. A
// DISC must hold nothing: it has no reply.
func (s *ServerConn) ReceiveHeld(h *Header, p devices.Payload, hold Hold, arrived sim.Time) {
	if h.Op == CmdDisc { // "Request types", DISC: finish what is in flight, no reply
		s.disc = true
		return
	}
	e := s.info.Validate(h)
	if e == devices.OK && (s.draining || s.disc) {
		e = devices.ESHUTDOWN // "Error values": the server is shutting down
	}
	if e != devices.OK {
		s.out.SendReply(Reply{Errno: replyErrno(e, h.Flags), Op: h.Op, Offset: h.Offset, Cookie: h.Cookie, Due: arrived, Hold: hold})
		return
	}
	r := s.begin(h, p, arrived)
	r.hold = hold
	if h.Op == devices.OpFlush && !s.under.CanFlush {
		s.answer(r) // advertised only by override
		return
	}
	s.dev.Submit(&r.Request)
}

// begin makes the request that h asks for.
func (s *ServerConn) begin(h *Header, p devices.Payload, arrived sim.Time) *served {
	r := s.get()
	r.cookie, r.flags, r.began = h.Cookie, h.Flags, arrived
	r.data = uint32(dataLength(h))
	r.Op, r.Offset, r.Length, r.Payload = h.Op, h.Offset, h.Length, p
	r.Flags = s.deviceFlags(h)
	r.Conn, r.Ref, r.Completer = s.id, r, s
	now := s.loop.Now()
	r.Intended, r.Submitted = arrived, now
	r.Begin(arrived)
	r.Charge(devices.ServerQueue, now)
	if h.Op == devices.OpBlockStatus {
		r.askStatus(h)
	}
	if s.peer != nil {
		s.link(r)
	}
	s.inflight++
	s.bytes += uint64(r.data)
	s.tally.count(h.Op, r.Flags)
	return r
}

// askStatus provides for a BLOCK_STATUS's answer. "Request types",
// BLOCK_STATUS: REQ_ONE wants one extent.
func (r *served) askStatus(h *Header) {
	r.Length = min(h.Length, maxStatusSpan)
	most := devices.MaxStatusExtents
	if h.Flags&devices.ReqOne != 0 {
		most = 1
	}
	r.status.Reset(most)
	r.Status = &r.status
}

// deviceFlags are those of h that reach the device: FUA where it means something,
// and nothing that is about the form of messages.
func (s *ServerConn) deviceFlags(h *Header) devices.Flags {
	f := h.Flags &^ (devices.PayloadLen | devices.DF | devices.ReqOne)
	if !h.Op.Modifies() || s.under.FUA == devices.FUANone {
		return f &^ devices.FUA
	}
	return f
}

// link links r to the client's request, and for a READ to the place for its data.
func (s *ServerConn) link(r *served) {
	c := s.peer.lookup(r.cookie)
	if c == nil {
		return
	}
	r.client = c
	r.Conn, r.Stream, r.Txn, r.Step = c.Conn, c.Stream, c.Txn, c.Step
	switch {
	case r.Op == devices.OpRead:
		r.Payload = c.Payload
	case r.Op == devices.OpBlockStatus && c.Status != nil:
		r.Status = c.Status
	}
}

// Done is the device's answer. It is for devices to call.
func (s *ServerConn) Done(r *devices.Request) {
	s.answer(r.Ref.(*served))
}

func (s *ServerConn) answer(r *served) {
	now := s.loop.Now()
	if r.client != nil && s.peer.lookup(r.cookie) == r.client {
		r.Charge(devices.ServerQueue, now)
		if s.chain > 0 {
			r.PassServer(s.chain - 1)
		}
		r.client.Absorb(devices.Wire, r.began, &r.Request)
	}
	reply := Reply{Errno: replyErrno(r.Errno, r.flags), Op: r.Op, Offset: r.Offset, Cookie: r.cookie, Due: r.began.Add(now.Sub(r.Submitted)), Hold: r.hold}
	if r.Op == devices.OpRead && reply.Errno == devices.OK {
		reply.Data, reply.Payload = r.data, r.Payload
	}
	if r.Op == devices.OpBlockStatus && reply.Errno == devices.OK {
		s.alignStatus(r)
		reply.Data, reply.Status = uint32(len(r.Status.Extents)*s.info.descriptorSize()), r.Status
	}
	s.inflight--
	s.bytes -= uint64(r.data)
	if r.Loan != nil {
		s.lend(r, &reply)
	}
	s.out.SendReply(reply) // which may refer to r's extents
	s.put(r)
}

// lend leaves r's payload to the device. The reply gives back the rest of what the
// request holds.
func (s *ServerConn) lend(r *served, reply *Reply) {
	reply.Data, reply.Payload = 0, devices.Payload{}
	if s.transport.Lend != nil {
		reply.Hold, r.Loan.Returned = s.transport.Lend(reply.Hold)
	}
}

func (s *ServerConn) get() *served {
	r := s.free
	if r == nil {
		r = freeServed.Get().(*served)
	} else {
		s.free, r.next = r.next, nil
		s.frees--
	}
	r.Reset()
	return r
}

// align rounds extents to multiples of unit. A block of several states is in
// none of them that does not hold for all of it.
func align(b *devices.BlockStatus, unit uint64) {
	if !slices.ContainsFunc(b.Extents, func(e devices.StatusExtent) bool { return e.Length%unit != 0 }) {
		return
	}
	was := slices.Clone(b.Extents)
	b.Extents = b.Extents[:0]
	var part devices.StatusExtent
	for _, e := range was {
		if part.Length > 0 {
			n := min(unit-part.Length, e.Length)
			part.Length, part.Flags, e.Length = part.Length+n, part.Flags&e.Flags, e.Length-n
			if part.Length < unit {
				continue
			}
			if !b.Add(part.Length, part.Flags) {
				return
			}
			part.Length = 0
		}
		if whole := e.Length / unit * unit; whole > 0 && !b.Add(whole, e.Flags) {
			return
		}
		part = devices.StatusExtent{Length: e.Length % unit, Flags: e.Flags}
	} // what is left of a block comes from a device that had no more room
}

// alignStatus makes a device's answer to BLOCK_STATUS one for the wire: of whole
// minimum blocks ("Block size constraints"), and not empty.
func (s *ServerConn) alignStatus(r *served) {
	unit := uint64(s.info.MinBlock)
	align(r.Status, unit)
	if len(r.Status.Extents) == 0 {
		r.Status.Add(max(unit, r.Length/unit*unit), 0)
	}
}

// put takes r back.
func (s *ServerConn) put(r *served) {
	r.client, r.hold, r.Payload = nil, Hold{}, devices.Payload{}
	if cap(r.status.Extents) > maxFreeExtents {
		r.status = devices.BlockStatus{}
	}
	if s.frees >= s.transport.MaxFree {
		freeServed.Put(r)
		return
	}
	r.next = s.free
	s.free = r
	s.frees++
}
