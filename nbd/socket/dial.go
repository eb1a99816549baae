package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/buffer"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// ClientConn is a Client and its socket: a device whose medium is in another
// process. A clientPoller reads the replies, or, where the socket is more than a plain
// one, a goroutine of its own.
//
// A WRITE without bytes goes out as sectors that each begin with the version
// stamp, big endian, and are zero after that; a READ with Versions takes them
// from there.
type ClientConn struct {
	*nbd.Client // the loop's
	dialect     nbd.Dialect
	uri         URI
	notices     ClientNotices

	conn    io.Closer
	plain   *plainSocket // which a clientPoller serves; nil is a goroutine of its own
	real    *sim.Real
	in      *inputBuffer
	needs   int          // bytes to be there before replies are looked at
	replies func() error // looks at them, by the dialect
	late    late
	owed    int               // requests that awaited replies when some were last taken
	leaving bool              // the loop's: we end the connection
	expired *nbd.TimeoutError // the loop's: why we do
	out     *outQueue
	closing chan struct{} // the writer is to end
	ended   chan struct{} // the reader has
}

// late is a reply of which the payload has not all come.
type late struct {
	nbd.Chunk
	r       *devices.Request // whose data it is; nil for the body of another chunk
	offset  uint64           // of the data, on the device
	buf     *buffer.Buffer   // where it goes, if the request brought no place
	all     []byte
	missing []byte // the part of all that is still to come
}

// Dialer is how a client connects. The zero value speaks the plain protocol, as
// Linux's client does.
type Dialer struct {
	Options nbd.ClientOptions // TLS is the URI's to ask for
	TLS     *tls.Config       // for nbds://; nil is the system's certificates and the URI's host
	// InProcess says that the server is in this process: then both ends are left
	// to Go's poller, which goes from one to the other without another thread. A
	// round trip is 20 µs that way, and 60 with a clientPoller.
	InProcess bool
	Timeouts  nbd.Timeouts
	Notices   ClientNotices
}

// Dial connects to the export that u names. The client is a device on real's
// loop.
func Dial(ctx context.Context, u URI, real *sim.Real) (*ClientConn, error) {
	var d Dialer
	return d.Dial(ctx, u, real)
}

// Dial connects to the export that u names. The client is a device on real's
// loop.
func (d *Dialer) Dial(ctx context.Context, u URI, real *sim.Real) (*ClientConn, error) {
	all, err := d.DialAll(ctx, u, real, 1)
	if err != nil {
		return nil, err
	}
	return all.Conns[0], nil
}

// dial connects. The connection is still to be started.
func (d *Dialer) dial(ctx context.Context, u URI, real *sim.Real) (*ClientConn, error) {
	h := nbd.NewClientHandshake(nbd.OptGo, u.Export)
	conn, rest, err := d.negotiate(ctx, u, h)
	if err != nil {
		d.Notices.handshakeFailed(u, err)
		return nil, fmt.Errorf("negotiate with %v: %w", u, err)
	}
	d.Notices.opened(u)
	c := &ClientConn{uri: u, notices: d.Notices, real: real, needs: nbd.ReplySize, closing: make(chan struct{}), ended: make(chan struct{})}
	if !d.InProcess {
		c.plain = plainOf(conn)
	}
	if c.plain != nil {
		c.conn, c.in, c.out = c.plain, newInputBuffer(c.plain, rest), newPlainQueue(c.plain)
	} else {
		c.conn, c.in, c.out = conn, newInputBuffer(conn, rest), newOutQueue(conn)
	}
	c.Client = nbd.NewClient(real.Loop(), h.Export(), c)
	c.dialect = h.Export().Dialect
	c.Watch(d.Timeouts, c.expire)
	c.replies = c.simple
	if c.dialect.Structured {
		c.replies = c.chunks
	}
	return c, nil
}

// start has all connections read.
func (d *Dialed) start() {
	var plain []*ClientConn
	for _, c := range d.Conns {
		if c.plain != nil {
			plain = append(plain, c)
			continue
		}
		go c.out.writer(c.closing)
		go c.read()
	}
	pollClients(plain)
}

// negotiate connects and runs the handshake.
func (d *Dialer) negotiate(ctx context.Context, u URI, h *nbd.ClientHandshake) (net.Conn, []byte, error) {
	options, config := d.Options, d.TLS
	if options.TLS = u.TLS; u.TLS && config == nil {
		var files TLSFiles
		var err error
		if config, err = files.Client(u); err != nil {
			return nil, nil, err
		}
	}
	h.SetOptions(options)
	timeout := handshakeTimeout(&d.Timeouts)
	conn, err := connectWithin(ctx, u, timeout)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	stream, rest, err := runHandshake(ctx, conn, h, handshakeTime{timeout}, func(f func()) { f() }, func(c net.Conn) *tls.Conn { return tls.Client(c, config) })
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, broken(ctx, err, h.Awaited(), timeout)
	}
	return stream, rest, nil
}

// connectWithin is connect with a bound.
func connectWithin(ctx context.Context, u URI, limit time.Duration) (net.Conn, error) {
	in, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := connect(in, u)
	if err != nil && ctx.Err() == nil && in.Err() != nil {
		return nil, &nbd.TimeoutError{Awaited: "connection", After: limit}
	}
	return conn, err
}

// Dialed is several connections to one export.
type Dialed struct {
	nbd.Multi // the loop's
	Conns     []*ClientConn
}

// DialAll makes n connections to the export that u names. More than one to a
// server that does not advertise multi-conn is allowed, and Info says so.
func DialAll(ctx context.Context, u URI, real *sim.Real, n int) (*Dialed, error) {
	var d Dialer
	return d.DialAll(ctx, u, real, n)
}

// DialAll makes n connections to the export that u names.
func (dialer *Dialer) DialAll(ctx context.Context, u URI, real *sim.Real, n int) (*Dialed, error) {
	d := &Dialed{}
	var err error
	for len(d.Conns) < n && err == nil {
		var c *ClientConn
		if c, err = dialer.dial(ctx, u, real); err == nil {
			d.Conns, d.Multi = append(d.Conns, c), append(d.Multi, c.Client)
		}
	}
	d.start()
	switch {
	case ctx.Err() != nil:
		return nil, errors.Join(err, d.Abort())
	case err != nil:
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close closes all connections.
func (d *Dialed) Close() error { return hangUp(d.Conns, closeTimeout) }

// Abort closes all connections without a word to the server, as is right where it
// does not answer any more.
func (d *Dialed) Abort() error { return hangUp(d.Conns, 0) }

// Ask negotiates with the server that u names for information only: by INFO
// about u's export, or by LIST for the names of all.
func Ask(ctx context.Context, u URI, question nbd.Option) (nbd.ExportInfo, []string, error) {
	var d Dialer
	return d.Ask(ctx, u, question)
}

// Ask negotiates with the server that u names for information only: by INFO
// about u's export, or by LIST for the names of all.
func (d *Dialer) Ask(ctx context.Context, u URI, question nbd.Option) (nbd.ExportInfo, []string, error) {
	h := nbd.NewClientHandshake(question, u.Export)
	conn, _, err := d.negotiate(ctx, u, h)
	if err != nil {
		d.Notices.handshakeFailed(u, err)
		return nbd.ExportInfo{}, nil, fmt.Errorf("ask %v: %w", u, err)
	}
	_ = conn.Close()
	return h.Export(), h.Names(), nil
}

// closeTimeout is how long a server may take to close after DISC.
const closeTimeout = time.Second

// Close tells the server that the client goes, waits a while for it to close
// ("Terminating the transmission phase"), and closes the socket. Where it owes
// replies that matters: nbdkit 1.32.5 aborts when it can no longer send them. What is in flight by then fails with
// ESHUTDOWN. Not for the loop's owner.
func (c *ClientConn) Close() error { return hangUp([]*ClientConn{c}, closeTimeout) }

// Abort closes the socket without a word to the server.
func (c *ClientConn) Abort() error { return hangUp([]*ClientConn{c}, 0) }

// hangUp ends connections, for all of which a server has so long to close after
// DISC. With none they end without DISC.
func hangUp(conns []*ClientConn, timeout time.Duration) error {
	for _, c := range conns {
		c.real.Do(func() {
			c.leaving = true
			if c.Err() == nil && timeout > 0 {
				c.push(nbd.Header{Op: nbd.CmdDisc}, nil, nil)
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var errs []error
	for _, c := range conns {
		select {
		case <-c.ended:
		case <-ctx.Done():
		}
		if err := c.conn.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
		<-c.ended
	}
	return errors.Join(errs...)
}

// expire ends the connection because a reply is overdue. The reader notices: until
// then it may still write to where a READ wants its data.
func (c *ClientConn) expire(e *nbd.TimeoutError) {
	if c.expired == nil && !c.leaving {
		c.expired = e
		go func() { _ = c.conn.Close() }() // TLS may take its time over it
	}
}

// SendRequest queues a request. It is for the Client to call.
func (c *ClientConn) SendRequest(h nbd.Header, p devices.Payload) {
	data, buf := p.Bytes, (*buffer.Buffer)(nil)
	if n := int(c.dialect.PayloadSize(&h)); n > 0 && data == nil {
		buf = buffer.Get(n)
		data = buf.Data[:n]
		nbd.PutStamps(data, p.Stamp)
	}
	c.push(h, data, buf)
}

func (c *ClientConn) push(h nbd.Header, data []byte, buf *buffer.Buffer) {
	m := message{data: data, hold: nbd.Hold{Buffer: buf}}
	m.size = c.dialect.EncodeRequest(&m.header, &h)
	c.out.push(&m, c.real)
}

// read takes replies until the connection ends.
func (c *ClientConn) read() {
	var err error
	for err == nil {
		err = c.take()
	}
	c.end(err)
}

// end fails what is in flight because of err, and gives the socket back.
func (c *ClientConn) end(err error) {
	_ = c.conn.Close()
	c.late.buf.Release()
	var leaving bool
	c.real.Do(func() {
		leaving, err = c.leaving, c.causeOf(err)
		c.Fail(err)
	})
	c.notices.closed(c.uri, leaving, err)
	close(c.closing)
	if c.plain != nil {
		c.out.end()
		c.plain.release()
	}
	close(c.ended)
}

// causeOf is why the connection has ended, whose reader has ended with err.
func (c *ClientConn) causeOf(err error) error {
	var violated *nbd.ProtocolError
	switch {
	case c.expired != nil:
		return c.expired
	case c.leaving || errors.As(err, &violated):
		return err
	case errors.Is(err, net.ErrClosed): // by our writer, because of an error
		err = c.out.failure(err)
	}
	return &LostError{InFlight: c.InFlight(), Err: err}
}

// leave ends what a reply has begun.
func (c *ClientConn) leave() {
	c.owed = c.InFlight()
	c.real.Leave()
}

// take reads once, or until the payload of a late reply is there, and completes
// all requests of which the reply has come.
func (c *ClientConn) take() error {
	if len(c.late.missing) == 0 {
		if err := c.in.need(c.needs); err != nil {
			return err
		}
		if err := c.replies(); err != nil || len(c.late.missing) == 0 {
			return err
		}
	}
	n, err := c.in.into(c.late.missing)
	if c.late.missing = c.late.missing[n:]; err != nil {
		return err
	}
	return c.completeLate()
}

// completeLate completes the request of a reply that has now all come.
func (c *ClientConn) completeLate() error {
	l := c.late
	c.late = late{}
	defer l.buf.Release()
	c.real.Enter()
	defer c.leave()
	switch {
	case l.r == nil:
		return c.ReceiveWhole(&l.Chunk, l.all)
	case l.Simple:
		nbd.GetStamps(l.r, l.r.Offset, l.all)
		return c.Receive(l.Errno, l.Cookie, devices.Payload{})
	default:
		nbd.GetStamps(l.r, l.offset, l.all)
		return c.ReceiveChunk(&l.Chunk, nil)
	}
}

// simple completes, with the loop entered once, all requests of which the reply
// has come, up to one of which the data has not.
func (c *ClientConn) simple() error {
	c.real.Enter()
	defer c.leave()
	n := 0
	for len(c.in.have()) >= nbd.ReplySize {
		n++
		c.in.many = c.in.many || c.in.filled && n > manyMessages
		r, reply, err := c.header()
		if err != nil {
			return err
		}
		if uint64(reply.Data) > uint64(len(c.in.have())) {
			c.await(late{Chunk: nbd.Chunk{Simple: true, Errno: reply.Errno, Cookie: reply.Cookie}, r: r, offset: r.Offset}, r.Length)
			return nil
		}
		if reply.Data > 0 {
			data := c.in.have()[:reply.Data]
			copy(r.Bytes, data)
			nbd.GetStamps(r, r.Offset, data)
			c.in.take(len(data))
		}
		if err := c.Receive(reply.Errno, reply.Cookie, devices.Payload{}); err != nil {
			return err
		}
	}
	return nil
}

// await has l read, n bytes of payload.
func (c *ClientConn) await(l late, n uint64) {
	if l.r != nil && l.r.Bytes != nil {
		at := l.offset - l.r.Offset
		l.all = l.r.Bytes[at : at+n]
	} else {
		l.buf = buffer.Get(int(n))
		l.all = l.buf.Data[:n]
	}
	l.missing = l.all
	c.late = l
}

// header takes a reply's header and finds the request that it answers, which is
// nil if there is none.
func (c *ClientConn) header() (*devices.Request, nbd.Reply, error) {
	var b [nbd.RequestSize]byte
	copy(b[:], c.in.have()[:nbd.ReplySize])
	e, cookie, err := nbd.DecodeReply(&b)
	reply := nbd.Reply{Errno: e, Cookie: cookie}
	if err != nil {
		return nil, reply, err
	}
	c.in.take(nbd.ReplySize)
	r := c.Expect(cookie)
	if r != nil && r.Op == devices.OpRead && e == devices.OK {
		reply.Data = uint32(r.Length)
	}
	return r, reply, nil
}
