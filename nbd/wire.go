package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Wire is a connection within one process and one loop: a Client and a
// ServerConn with a link in each direction, one event for each message. What
// travels is the encoded header, and the data by reference.
type Wire struct {
	Client *Client
	Server *ServerConn

	loop     *sim.Loop
	dialect  Dialect
	up, down *sim.Link
	frames   frames
	held     fifo // arrived, but the server has no room
	draining bool
	cut      bool
}

// The meanings of a frame's timer.
const (
	toServer = iota
	toClient
)

// Connect opens export e over a virtual wire, negotiating at this instant by
// the bytes that a socket would carry. Connections that share a link share its
// bandwidth; a nil link takes no time. id is the connection's number, for the
// requests that reach the device.
func Connect(loop *sim.Loop, e *Export, id uint32, up, down *sim.Link) (*Wire, error) {
	return ConnectWith(loop, e, id, up, down, ClientOptions{})
}

// ConnectWith is Connect by a client that asks for more than the plain
// protocol.
func ConnectWith(loop *sim.Loop, e *Export, id uint32, up, down *sim.Link, options ClientOptions) (*Wire, error) {
	client, server := NewClientHandshake(OptGo, e.Name), NewServerHandshake([]*Export{e}, ConnInfo{ID: id})
	client.SetOptions(options)
	if err := Negotiate(client, server); err != nil {
		return nil, fmt.Errorf("connection %d: %w", id, err)
	}
	w := &Wire{loop: loop, up: orNone(up), down: orNone(down)}
	chosen, dev := server.Chosen()
	w.Server = NewServerConn(loop, chosen, dev, id, w)
	w.Server.SetDialect(server.Dialect())
	w.dialect = server.Dialect()
	w.Client = NewClient(loop, client.Export(), w)
	w.Server.peer = &w.Client.table
	return w, nil
}

func orNone(l *sim.Link) *sim.Link {
	if l == nil {
		return sim.NewLink(0, 0)
	}
	return l
}

// ConnectAll opens n connections, numbered from 0, over the same two links, and
// returns them beside the device that they make together.
func ConnectAll(loop *sim.Loop, e *Export, n int, up, down *sim.Link) (Multi, []*Wire, error) {
	m, wires := make(Multi, n), make([]*Wire, n)
	for i := range wires {
		w, err := Connect(loop, e, uint32(i), up, down)
		if err != nil {
			return nil, nil, err
		}
		m[i], wires[i] = w.Client, w
	}
	return m, wires, nil
}

// InChain says that the server is number n of a chain of proxies, counted from the
// client, at most devices.MaxHops: requests then have their HopTimes of it. It comes
// before the first request.
func (w *Wire) InChain(n int) {
	if n < 0 || n > devices.MaxHops {
		panic(fmt.Sprintf("nbd: server %d of a chain of at most %d proxies", n, devices.MaxHops))
	}
	w.Client.chain, w.Server.chain = n+1, n+1
}

// ErrCut is why requests fail on a wire that was cut.
var ErrCut = errors.New("nbd: the connection was cut")

// Cut breaks the connection: nothing on the wire arrives, and the client's
// requests fail. What the server has received is served all the same, and a
// READ among it still fills the buffer that its request brought.
func (w *Wire) Cut() {
	w.cut = true
	w.Client.Fail(ErrCut)
}

// SendRequest puts a request on the wire. It is for the Client to call.
func (w *Wire) SendRequest(h Header, p devices.Payload) {
	f := w.frames.get()
	n := uint64(w.dialect.EncodeRequest(&f.header, &h)) + w.dialect.PayloadSize(&h)
	f.payload = p
	f.timer.Tag = toServer
	w.loop.At(&f.timer, w.up.Arrival(w.loop.Now(), n), w)
}

// SendReply puts a reply on the wire. It is for the ServerConn to call.
func (w *Wire) SendReply(r Reply) {
	f := w.frames.get()
	n := uint64(w.dialect.EncodeReply(&f.header, &r)) + uint64(r.Data)
	f.payload = r.Payload
	f.timer.Tag = toClient
	w.loop.At(&f.timer, w.down.Arrival(w.loop.Now(), n), w)
	if w.held.head != nil {
		w.drainHeld()
	}
}

// Fire is a frame's arrival. It is for the loop to call.
func (w *Wire) Fire(t *sim.Timer) {
	f := t.Owner.(*frame)
	switch {
	case w.cut:
		w.frames.put(f)
	case t.Tag == toClient:
		w.reply(f)
	default:
		f.arrived = w.loop.Now()
		w.request(f)
	}
}

// request hands f to the server, or holds it up behind those that wait.
func (w *Wire) request(f *frame) {
	var h Header
	if err := w.dialect.DecodeRequest(f.header[:w.dialect.HeaderSize()], &h); err != nil {
		panic(err) // a Client encoded it
	}
	if w.held.head != nil || !w.Server.Room(&h) {
		w.held.push(f)
		return
	}
	p, arrived := f.payload, f.arrived
	w.frames.put(f)
	w.Server.Receive(&h, p, arrived)
}

// drainHeld hands over what was held up, for as long as there is room. A reply that
// the server gives meanwhile does not begin another round.
func (w *Wire) drainHeld() {
	if w.draining {
		return
	}
	w.draining = true
	for f := w.held.head; f != nil; f = w.held.head {
		var h Header
		_ = w.dialect.DecodeRequest(f.header[:w.dialect.HeaderSize()], &h) // was decoded when it arrived
		if !w.Server.Room(&h) {
			break
		}
		p, arrived := f.payload, f.arrived
		w.held.pop()
		w.frames.put(f)
		w.Server.Receive(&h, p, arrived)
	}
	w.draining = false
}

// reply hands f to the client. Its data is where the request wants it already,
// and so are its extents: the server's end has seen to that.
func (w *Wire) reply(f *frame) {
	var c Chunk
	n, err := w.dialect.DecodeReply(f.header[:], &c)
	if err != nil {
		panic(err) // a ServerConn encoded it
	}
	e, p := c.Errno, f.payload
	if c.Type.isError() {
		e = knownErrno(devices.Errno(binary.BigEndian.Uint32(f.header[n:])))
	}
	w.frames.put(f)
	if err := w.Client.Receive(e, c.Cookie, p); err != nil {
		panic(err)
	}
}
