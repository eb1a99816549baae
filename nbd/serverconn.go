package nbd

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// Reply is what a ServerConn answers: a simple reply and a READ's data.
type Reply struct {
	Errno  devices.Errno
	Cookie uint64
	Data   uint32 // bytes of data on the wire
	devices.Payload

	buf *buffer  // whose part Payload.Bytes is, if it is from the pool
	due sim.Time // when the request came, and the device's time after that
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

	inflight int
	bytes    uint64
	draining bool
	disc     bool
	tally    tally
	free     *served
}

// served is a request that the server has submitted.
type served struct {
	devices.Request
	cookie uint64
	flags  devices.Flags // as they came
	data   uint32        // bytes of payload, in either direction
	began  sim.Time
	client *devices.Request // whose request it is, if in this process
	buf    *buffer
	next   *served
}

// NewServerConn serves dev, opened for export e, to one client. id numbers the
// connection.
func NewServerConn(loop *sim.Loop, e *Export, dev devices.Device, id uint32, out Replies) *ServerConn {
	info := dev.Info()
	return &ServerConn{loop: loop, dev: dev, under: info, info: e.describe(&info), id: id, out: out}
}

// Info is what the client was told.
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
		return uint64(h.Length)
	}
	return 0
}

// Receive takes a request. arrived is when it reached the server, if it has
// waited for Room since. The data of a WRITE, and the place for that of a READ,
// are p; the connection holds it until the reply.
func (s *ServerConn) Receive(h *Header, p devices.Payload, arrived sim.Time) {
	s.receive(h, p, nil, arrived)
}

func (s *ServerConn) receive(h *Header, p devices.Payload, buf *buffer, arrived sim.Time) {
	if h.Op == cmdDisc {
		s.disc = true
		return
	}
	e := s.info.validate(h)
	if e == devices.OK && (s.draining || s.disc) {
		e = devices.ESHUTDOWN // "Error values": the server is shutting down
	}
	if e != devices.OK {
		s.out.SendReply(Reply{Errno: replyErrno(e, h.Flags), Cookie: h.Cookie, buf: buf, due: arrived})
		return
	}
	r := s.take(h, p, buf, arrived)
	if h.Op == devices.OpFlush && !s.under.CanFlush {
		s.answer(r) // advertised by override alone
		return
	}
	s.dev.Submit(&r.Request)
}

// take makes the request that h asks for.
func (s *ServerConn) take(h *Header, p devices.Payload, buf *buffer, arrived sim.Time) *served {
	r := s.get()
	r.cookie, r.flags, r.buf, r.began = h.Cookie, h.Flags, buf, arrived
	r.data = uint32(dataLength(h))
	r.Op, r.Offset, r.Length, r.Payload = h.Op, h.Offset, uint64(h.Length), p
	r.Flags = s.below(h)
	r.Conn, r.Ref, r.Completer = s.id, r, s
	now := s.loop.Now()
	r.Intended, r.Submitted = arrived, now
	r.Begin(arrived)
	r.Charge(devices.ServerQueue, now)
	if s.peer != nil {
		s.adopt(r)
	}
	s.inflight++
	s.bytes += uint64(r.data)
	s.tally.count(h.Op, r.Flags)
	return r
}

// below is which flags reach the device: FUA where it means something.
func (s *ServerConn) below(h *Header) devices.Flags {
	if !h.Op.Modifies() || s.under.FUA == devices.FUANone {
		return h.Flags &^ devices.FUA
	}
	return h.Flags
}

// adopt says whose request r is, and for a READ where its data belongs.
func (s *ServerConn) adopt(r *served) {
	c := s.peer.lookup(r.cookie)
	if c == nil {
		return
	}
	r.client = c
	r.Conn, r.Stream, r.Txn, r.Step = c.Conn, c.Stream, c.Txn, c.Step
	if r.Op == devices.OpRead {
		r.Payload = c.Payload
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
		r.client.Absorb(devices.Wire, r.began, &r.Request)
	}
	reply := Reply{Errno: replyErrno(r.Errno, r.flags), Cookie: r.cookie, buf: r.buf, due: r.began.Add(now.Sub(r.Submitted))}
	if r.Op == devices.OpRead && reply.Errno == devices.OK {
		reply.Data, reply.Payload = r.data, r.Payload
	}
	s.inflight--
	s.bytes -= uint64(r.data)
	s.put(r)
	s.out.SendReply(reply)
}

func (s *ServerConn) get() *served {
	r := s.free
	if r == nil {
		return new(served)
	}
	s.free, r.next = r.next, nil
	r.Reset()
	return r
}

func (s *ServerConn) put(r *served) {
	r.client, r.buf, r.Payload = nil, nil, devices.Payload{}
	r.next = s.free
	s.free = r
}
