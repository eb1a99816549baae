package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/buffer"
	"nbdbench/internal/wake"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// MaxConnections is how many connections a server has at a time. Those beyond
// are closed at once.
const MaxConnections = 16384

// maxParsed is how many requests are parsed before the loop is entered.
const maxParsed = 64

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("nbd: the server is closed")

// Server serves exports to sockets in real time. All connections share one
// loop; each has a goroutine that reads, and one that writes when the peer does
// not read fast enough.
type Server struct {
	real   *sim.Real
	late   sim.Lateness
	policy nbd.TLSPolicy
	tls    *tls.Config

	handshakeTimeout time.Duration

	dedicateAfter int           // see UseDedicatedReader; 0 is never
	latest        *serverSocket // from which requests came last, and inRow times; the loop's
	inRow         int
	changes       int          // of latest, since one was the only active one
	dedicated     atomic.Int32 // sockets that have left Go's poller

	memory memory

	onContention func(contended bool) // see OnContention
	contentionMu sync.Mutex
	contended    atomic.Bool // what onContention was last called with

	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	exports   []*nbd.Export // replaced, never changed: handshakes hold it
	nextID    uint32
	listeners map[net.Listener]bool
	conns     map[*serverSocket]bool
	closed    bool
	past      nbd.Counts // of connections that have ended

	notices  Notices
	failures failures
	lacking  atomic.Uint64 // WRITEs without PAYLOAD_LEN
	lackers  []*nbd.Export // of which clients send such; under mu
}

// NewServer returns a server of these exports, of which all devices are on
// real's loop. It panics if there are more than MaxExports.
func NewServer(real *sim.Real, exports ...*nbd.Export) *Server {
	if len(exports) > nbd.MaxExports {
		panic(fmt.Sprintf("nbd: %d exports, at most %d", len(exports), nbd.MaxExports))
	}
	s := &Server{exports: slices.Clone(exports), real: real, handshakeTimeout: NegotiationTimeout, listeners: map[net.Listener]bool{}, conns: map[*serverSocket]bool{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.memory.limit, s.memory.trim = defaultMemory, func() { go s.trim() }
	return s
}

// LimitMemory bounds what all clients together can have the server hold: data,
// requests, replies that they do not read, and what each connection takes by being
// there. Within it a connection may hold at most half of what is free, and
// connections may be as many as fit into a quarter of it. The default is 1 GiB; less
// than MinMemory panics. Go's heap may be twice as large for a while. It comes before
// Serve.
func (s *Server) LimitMemory(bytes int64) {
	if bytes < MinMemory {
		panic(fmt.Sprintf("nbd: a server is limited to %d bytes, expected at least %d", bytes, MinMemory))
	}
	s.memory.limit = bytes
}

// MemoryUse is what clients have a server hold.
type MemoryUse struct {
	Connections int
	Held, Limit int64 // bytes
}

// MemoryUse is what clients have the server hold now.
func (s *Server) MemoryUse() MemoryUse {
	s.mu.Lock()
	defer s.mu.Unlock()
	return MemoryUse{Connections: len(s.conns), Held: s.memory.held.Load(), Limit: s.memory.limit}
}

// trimEvery is how often the trimmer looks.
const trimEvery = 3 * time.Second

// trim gives memory back to the system that clients needed and do not need any
// more. It ends when there is little.
func (s *Server) trim() {
	m := &s.memory
	for kept := int64(0); ; {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(trimEvery):
		}
		used := m.peak.Swap(m.held.Load())
		if kept = max(kept, used); kept-used > trimAbove {
			runtime.GC() // the pools keep what they have for one collection
			debug.FreeOSMemory()
			kept = used
		}
		if kept > trimAbove {
			continue
		}
		m.trims.Store(false)
		if m.peak.Load() <= trimAbove || !m.trims.CompareAndSwap(false, true) {
			return
		}
	}
}

// UseTLS has the server offer TLS or insist on it. It comes before Serve.
func (s *Server) UseTLS(p nbd.TLSPolicy, c *tls.Config) { s.policy, s.tls = p, c }

// AddExport offers e to clients that connect from now on, for which its device
// must be on the server's loop.
func (s *Server) AddExport(e *nbd.Export) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrServerClosed
	case len(s.exports) >= nbd.MaxExports:
		return fmt.Errorf("nbd: a server has at most %d exports", nbd.MaxExports)
	case !nbd.ValidString(e.Name):
		return fmt.Errorf("nbd: export %q: expected UTF-8 without NUL of at most %d bytes", e.Name, nbd.MaxString)
	case slices.ContainsFunc(s.exports, func(x *nbd.Export) bool { return x.Name == e.Name }):
		return fmt.Errorf("nbd: there is an export %q already", e.Name)
	}
	s.exports = append(slices.Clone(s.exports), e)
	return nil
}

// RemoveExport takes the export of that name away. Its connections drain: new
// requests get ESHUTDOWN, those in flight finish, then they are closed; if ctx
// ends first they are closed as they are, and the error is a *DrainError. After it has
// returned nothing reaches the export's device any more by this server, except
// what was in flight when ctx ended.
func (s *Server) RemoveExport(ctx context.Context, name string) error {
	s.mu.Lock()
	i := slices.IndexFunc(s.exports, func(x *nbd.Export) bool { return x.Name == name })
	if i < 0 {
		s.mu.Unlock()
		return fmt.Errorf("nbd: there is no export %q", name)
	}
	gone := s.exports[i]
	s.exports = slices.Delete(slices.Clone(s.exports), i, i+1)
	s.lackers = slices.DeleteFunc(s.lackers, func(x *nbd.Export) bool { return x == gone })
	s.mu.Unlock()

	var conns []*serverSocket
	s.real.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for k := range s.conns {
			if k.sc != nil && k.export == gone {
				k.sc.Drain()
				conns = append(conns, k)
			}
		}
	})
	return s.end(ctx, conns)
}

// Cut closes the connections of the exports of these names at once, as a loss of
// power does, and calls then before anything else happens on the loop: no reply
// that was not ready before is sent. What is in flight completes in the device,
// without a reply. The exports stay.
func (s *Server) Cut(names []string, then func()) {
	s.real.Do(func() {
		s.mu.Lock()
		for k := range s.conns {
			if k.sc != nil && slices.Contains(names, k.export.Name) {
				_ = k.sock.Close()
				k.wake()
			}
		}
		s.mu.Unlock()
		then()
	})
}

// end waits until conns have nothing in flight and closes them. If ctx ends first
// the error is a *DrainError.
func (s *Server) end(ctx context.Context, conns []*serverSocket) error {
	err := s.real.RunWhile(ctx, func() bool { return busy(conns) })
	var late []Held
	if err != nil {
		late = s.undrained(conns)
	}
	for _, k := range conns {
		if err != nil {
			_ = k.sock.Close()
		}
		k.endHandshake()
		k.sock.endReads() // its reader then finishes
		k.wake()
	}
	for _, k := range conns {
		select {
		case <-k.done:
		case <-ctx.Done():
			if err == nil {
				err, late = ctx.Err(), s.undrained(conns)
			}
			_ = k.sock.Close()
			k.wake()
		}
	}
	if len(late) > 0 {
		return &DrainError{late, err}
	}
	return err
}

// has reports whether e is still exported.
func (s *Server) has(e *nbd.Export) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.exports, e)
}

// Lateness is by how much replies began to be written later than the request's arrival
// and the device's time together ask for: what the host adds to the model.
func (s *Server) Lateness() *sim.Lateness { return &s.late }

// Counts are the commands of all connections so far.
func (s *Server) Counts() (sum nbd.Counts) {
	s.real.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		sum = s.past
		for c := range s.conns {
			if c.sc != nil {
				sum.Add(c.sc.Counts())
			}
		}
	})
	return sum
}

// Serve accepts connections from l until Shutdown or Close, and then returns
// ErrServerClosed. It closes l.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.track(l) {
		return ErrServerClosed
	}
	for {
		c, err := l.Accept()
		if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return ErrServerClosed
		}
		switch {
		case err == nil:
			go func() { _ = s.ServeConn(c) }()
		case !isTransientAcceptError(err):
			return err
		default:
			select {
			case <-s.ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
}

// maxFree is how many records of requests each connection keeps for its next ones.
const maxFree = 32

// acceptPause is how long no connection is accepted after one could not be for
// want of descriptors or memory. It waits in the listener's queue.
const acceptPause = 20 * time.Millisecond

// isTransientAcceptError reports whether an error of accept is the peer's, or
// one that ends when others close their connections.
func isTransientAcceptError(err error) bool {
	return slices.ContainsFunc([]error{
		syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	}, func(e error) bool { return errors.Is(err, e) })
}

func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = true
	return true
}

// ServeConn serves one connection until it ends, and closes it. The error is
// nil if the client disconnected as the protocol asks.
func (s *Server) ServeConn(c net.Conn) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	k := &serverSocket{server: s, endHandshake: cancel, sock: socket{conn: c}, client: clientName(c), done: make(chan struct{}), room: make(chan struct{}, 1)}
	defer k.free()
	if !s.add(k) {
		return ErrServerClosed
	}
	defer s.remove(k)
	k.setSendBuffer(c)
	return k.serve(ctx, c)
}

func (s *Server) add(k *serverSocket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) == MaxConnections || !s.memory.connect(connCost+handshakeCost) {
		return false
	}
	k.base = connCost + handshakeCost
	s.nextID++
	k.id = s.nextID - 1
	s.conns[k] = true
	return true
}

func (s *Server) remove(k *serverSocket) {
	s.real.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, k)
		if k.sc != nil {
			s.past.Add(k.sc.Counts())
		}
		if k.closes != nil {
			k.closes()
		}
	})
	s.memory.disconnect(k.base)
	close(k.done)
}

// Shutdown drains: it accepts nothing more, answers new requests with
// ESHUTDOWN, lets those in flight finish, and closes the connections. If ctx
// ends first it closes them as they are, and the error is a *DrainError.
func (s *Server) Shutdown(ctx context.Context) error {
	conns := s.stop()
	s.real.Do(func() {
		for _, k := range conns {
			if k.draining = true; k.sc != nil {
				k.sc.Drain()
			}
		}
	})
	err := s.end(ctx, conns)
	return errors.Join(err, s.Close())
}

func busy(conns []*serverSocket) bool {
	for _, k := range conns {
		if k.sc != nil && k.sc.InFlight() > 0 {
			return true
		}
	}
	return false
}

// stop closes the listeners and returns the connections there are.
func (s *Server) stop() []*serverSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for l := range s.listeners {
		_ = l.Close()
	}
	clear(s.listeners)
	conns := make([]*serverSocket, 0, len(s.conns))
	for k := range s.conns {
		conns = append(conns, k)
	}
	return conns
}

// Close ends all connections at once. What devices have in flight still
// completes there, without a reply.
func (s *Server) Close() error {
	conns := s.stop()
	s.cancel()
	for _, k := range conns {
		_ = k.sock.Close()
		k.wake()
	}
	return nil
}

// serverSocket is a ServerConn and its socket.
type serverSocket struct {
	server *Server
	sock   socket
	secure bool // what goes over it is TLS
	id     uint32
	client string      // see clientName
	slow   atomic.Bool // it has been reported as a slow reader
	lacks  bool        // it has sent WRITE without PAYLOAD_LEN; the reader's
	out    *outQueue
	in     *inputBuffer
	done   chan struct{}

	sc           *nbd.ServerConn // nil until negotiated; the loop's, like export, closes and draining
	export       *nbd.Export
	closes       func()             // ends the device's session, or nil
	endHandshake context.CancelFunc // ends what a handshake waits for
	draining     bool
	info         nbd.ExportInfo // the reader's copies: this, and
	exportName   string

	began    sim.Time      // the last write; its writer's
	requests wake.Int64    // received of which the reply is not written
	held     wake.Int64    // bytes that these hold
	reserved atomic.Int32  // of them FLUSHes beyond the bounds
	base     int64         // bytes that the connection holds without any
	sleeper  wake.Sleeper  // the reader, while it waits for room
	room     chan struct{} // there may be some
	schedule wake.Schedule // of a test, or nil
	queued   queuedConn

	parsed     []parsed
	guard      sim.PreemptionGuard // of the reader, while it is out of Go's poller
	ownsTimers bool                // the reader owns the loop's timers
}

// parsed is a request that was read but not yet received.
type parsed struct {
	nbd.Header
	ok   bool     // it is valid
	at   sim.Time // when all of it had come
	hold nbd.Hold // with the place of its data
}

func (k *serverSocket) serve(ctx context.Context, c net.Conn) error {
	real := k.server.real
	h := nbd.NewServerHandshake(k.server.offered(), nbd.ConnInfo{ID: k.id, Remote: c.RemoteAddr().String(), Fail: k.fail})
	h.Offer(k.server.policy)
	defer real.Do(h.EndSession) // what it has not handed over
	stream, rest, err := runHandshake(ctx, c, h, handshakeTime{k.server.handshakeTimeout}, real.Do, func(c net.Conn) *tls.Conn { return tls.Server(c, k.server.tls) })
	defer func() { _ = stream.Close() }() // tells the peer, where that is TLS's way; with an error, too
	if err != nil {
		k.server.handshakeFailed(k, err, h.TLSRefused())
		return err
	}
	k.out = newOutQueue(stream)
	if k.secure = stream != c; !k.secure {
		k.out.conn = &k.sock
		k.base -= handshakeCost // with TLS, its buffers take that
		k.server.memory.disconnect(handshakeCost)
	}
	k.out.before, k.out.written, k.out.freed = k.writes, k.written, k.freed
	if k.server.notices.SlowReader != nil {
		k.out.slow = k.slowReader
	}
	if !k.begin(h) {
		return ErrServerClosed
	}
	k.in = newInputBuffer(stream, rest)
	k.in.grow = k.growInput
	if f := k.server.notices.Opened; f != nil {
		f(k.client, k.exportName, k.secure)
	}
	go k.out.writer(k.done)
	err = k.read()
	k.finish()
	k.closed(err)
	return err
}

// offered are the exports at this moment.
func (s *Server) offered() []*nbd.Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exports
}

// begin begins transmission, unless the server drains by now or the export has
// been taken away.
func (k *serverSocket) begin(h *nbd.ServerHandshake) (ok bool) {
	real := k.server.real
	e, dev := h.Chosen()
	real.Do(func() {
		if ok = !k.draining && k.server.has(e); ok {
			k.export = e
			k.sc = nbd.NewServerConn(real.Loop(), e, dev, k.id, k)
			k.sc.SetDialect(h.Dialect())
			k.sc.SetTransport(nbd.Transport{MaxFree: maxFree, Lend: k.lend})
			k.closes = h.TakeSession().Close
			k.info, k.exportName = k.sc.Info(), e.Name
		}
	})
	return ok
}

// fail ends the connection because of its device. Whether it has begun or not: a
// handshake that fails ends by itself.
func (k *serverSocket) fail() {
	if k.sc != nil {
		k.sc.Drain()
		k.sock.endReads()
		k.wake()
	}
}

// finish lets what is in flight complete, and its replies go out.
func (k *serverSocket) finish() {
	_ = k.server.real.RunWhile(k.server.ctx, func() bool { return k.sc.InFlight() > 0 })
	k.out.drain()
}

// read parses as many requests as have come with one system call, before it
// enters the loop with all of them.
func (k *serverSocket) read() error {
	defer k.releaseTimers()
	for {
		if err := k.in.need(k.info.HeaderSize()); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		err := k.parse()
		k.in.many = k.in.many || k.in.filled && len(k.parsed) > manyMessages
		disc, sole := k.receive()
		if disc || err != nil {
			return err
		}
		k.switchMode(sole)
	}
}

// parse reads requests with their data until what has come is used up.
func (k *serverSocket) parse() error {
	now, size := k.server.real.Now(), k.info.HeaderSize()
	k.parsed = k.parsed[:0]
	for len(k.in.have()) >= size && len(k.parsed) < maxParsed {
		p := parsed{at: now}
		if err := k.info.DecodeRequest(k.in.have()[:size], &p.Header); err != nil {
			return err
		}
		if k.info.LacksPayloadLen(&p.Header) {
			k.lacksPayloadLen()
		}
		if p.Op == devices.OpRead && k.out.failed.Load() {
			k.in.take(size) // nobody can get the data
			continue
		}
		p.ok = k.info.Validate(&p.Header) == devices.OK
		whole := k.info.PayloadSize(&p.Header) <= uint64(len(k.in.have())-size)
		if !whole && len(k.parsed) > 0 {
			return nil // first what has all come
		}
		if ok := k.admit(&p); !ok && len(k.parsed) > 0 {
			return nil // their replies may make room
		} else if !ok && !k.await(&p) {
			return net.ErrClosed
		}
		k.in.take(size)
		if err := k.data(&p); err != nil {
			k.drop(&p)
			return err
		}
		if !whole {
			p.at = k.server.real.Now()
		}
		k.parsed = append(k.parsed, p)
	}
	return nil
}

// data reads a WRITE's data, or throws away that of one that will be refused.
func (k *serverSocket) data(p *parsed) error {
	n := k.info.PayloadSize(&p.Header)
	switch {
	case !p.ok:
		if err := nbd.CheckSkip(n); err != nil {
			return err
		}
		defer k.reacquireTimers(k.releaseTimers())
		return k.in.discard(n)
	case p.Op == devices.OpWrite:
		p.hold.Buffer = buffer.Get(int(n))
		if n < longData {
			return k.in.full(p.hold.Buffer.Data[:n])
		}
		defer k.reacquireTimers(k.releaseTimers()) // that may take its time
		return k.in.full(p.hold.Buffer.Data[:n])
	}
	return nil
}

// drop gives back what a request holds that will not be received.
func (k *serverSocket) drop(p *parsed) {
	p.hold.Buffer.Release()
	if p.hold.Bytes == 0 {
		return // DISC
	}
	var f freed
	f.add(p.hold)
	k.freed(f)
}

// receive hands the parsed requests to the engine. It reports whether the
// client has disconnected, and whether no other one is busy.
func (k *serverSocket) receive() (disc, sole bool) {
	if len(k.parsed) == 0 {
		return false, k.sock.plain != nil
	}
	real := k.server.real
	real.Enter()
	sole, contended := k.server.noteActivity(k)
	for i := range k.parsed {
		k.submit(&k.parsed[i])
	}
	disc = k.sc.Disconnected()
	spins := !disc && k.in.raw != nil && !k.ownsTimers && real.BeginSpin()
	real.Leave()
	if sole || contended {
		k.server.notifyContention(contended)
	}
	if spins {
		real.SpinUntilIdle(k.in.ready)
	}
	return disc, sole
}

// submit hands one request to the engine, a READ with a place for its data.
func (k *serverSocket) submit(p *parsed) {
	if p.Op == devices.OpRead && p.ok {
		p.hold.Buffer = buffer.Get(int(p.Length))
	}
	var data devices.Payload
	if p.hold.Buffer != nil {
		data.Bytes = p.hold.Buffer.Data[:p.Length]
	}
	k.sc.ReceiveHeld(&p.Header, data, p.hold, p.at)
}

// sleep blocks until someone calls wake. It reports false if the server has been
// closed.
func (k *serverSocket) sleep() bool {
	if k.schedule != nil {
		k.schedule.Await(wake.Forever, func() bool { return len(k.room) > 0 || k.server.ctx.Err() != nil })
	}
	select {
	case <-k.room:
		return true
	case <-k.server.ctx.Done():
		return false
	}
}

// wake has the reader look for room again, if it waits.
func (k *serverSocket) wake() {
	if k.sleeper.Wake(0) {
		select {
		case k.room <- struct{}{}:
		default: // it is about to
		}
	}
}

// SendReply queues a reply. It is for the ServerConn to call.
func (k *serverSocket) SendReply(r nbd.Reply) {
	m := message{due: r.Due, hold: r.Hold}
	m.size = k.info.EncodeReply(&m.header, &r)
	switch {
	case r.Data == 0:
	case r.Op == devices.OpBlockStatus:
		m.hold.Buffer = buffer.Get(int(r.Data))
		m.data = m.hold.Buffer.Data[:r.Data]
		k.info.PutStatus(m.data, r.Status)
	default:
		m.data = r.Bytes
	}
	k.out.push(&m, k.server.real)
}

// writes notes when a write begins: in the system call the kernel may well run
// the peer before it returns.
func (k *serverSocket) writes() { k.began = k.server.real.Now() }

func (k *serverSocket) written(batch []message) {
	for i := range batch {
		k.server.late.Observe(k.began.Sub(batch[i].due))
	}
}
