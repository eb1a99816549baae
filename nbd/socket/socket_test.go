package socket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// testTimeout is how long a test waits for what must happen: far longer than it
// takes, so that only a hang fails.
const testTimeout = 20 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// site is a server on a socket.
type site struct {
	*Server
	real *sim.Real
	dev  *nbdtest.RAM
	uri  URI
}

var dedicateAfterFlag = flag.Int("socket.dedicated", 0, "have servers' readers block after so many reads in a row")

func newReal(t testing.TB) *sim.Real {
	t.Helper()
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = real.Close() })
	return real
}

// newSite serves RAM; prepare is done to the server before that.
func newSite(t testing.TB, network string, prepare ...func(*Server)) *site {
	t.Helper()
	u := URI{Network: "tcp", Address: "127.0.0.1:0", Export: "disk"}
	if network == "unix" {
		u = URI{Network: "unix", Address: filepath.Join(t.TempDir(), "s"), Export: "disk"}
	}
	l, u, err := Listen(u)
	if err != nil {
		t.Fatal(err)
	}
	real := newReal(t)
	s := &site{real: real, dev: nbdtest.NewRAM(real.Loop(), nbdtest.Size), uri: u}
	s.Server = NewServer(real, &nbd.Export{Name: "disk", Device: s.dev})
	s.dedicateAfter = *dedicateAfterFlag
	for _, p := range prepare {
		p(s.Server)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return s
}

// raw is a connection on which the handshake is over.
type raw struct {
	t testing.TB
	net.Conn
}

func dialRaw(t testing.TB, u URI, export ...string) *raw {
	t.Helper()
	name := append(export, "disk")[0]
	c, err := net.Dial(u.Network, u.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	r := &raw{t, c}
	r.send(nbdtest.Unhex(t, "00000003"+nbdtest.HexOption+"00000001"+nbdtest.HexString(name)))
	r.expect(nbd.GreetingSize + nbd.ExportReplySize)
	return r
}

func (r *raw) send(b []byte) {
	r.t.Helper()
	if _, err := r.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) expect(n int) []byte {
	r.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		r.t.Fatal(err)
	}
	return b
}

// reply takes a reply's header.
func (r *raw) reply() (devices.Errno, uint64) {
	r.t.Helper()
	var b [nbd.RequestSize]byte
	copy(b[:], r.expect(nbd.ReplySize))
	e, cookie, err := nbd.DecodeReply(&b)
	if err != nil {
		r.t.Fatal(err)
	}
	return e, cookie
}

// closes checks that the server closes the connection without another byte.
func (r *raw) closes() {
	r.t.Helper()
	if n, err := r.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
		r.t.Errorf("read %d bytes, %v", n, err)
	}
}

// waiter completes requests into a channel, from the loop.
type waiter chan *devices.Request

func (w waiter) Done(r *devices.Request) { w <- r }

// do submits requests on a client's loop and waits for all of them.
func do(t testing.TB, real *sim.Real, dev devices.Device, rs ...*devices.Request) {
	t.Helper()
	w := make(waiter, len(rs))
	real.Do(func() {
		for _, r := range rs {
			r.Completer = w
			r.Begin(real.Loop().Now())
			dev.Submit(r)
		}
	})
	for range rs {
		select {
		case <-w:
		case <-time.After(testTimeout):
			t.Fatal("requests hang")
		}
	}
}

func TestSocketsFourConnections(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			s := newSite(t, network)
			real := newReal(t) // another process in all but name
			d, err := DialAll(within(t), s.uri, real, 4)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if i := d.Info(); i.Size != nbdtest.Size || !i.MultiConn || i.FUA != devices.FUANative {
				t.Errorf("info %+v", i)
			}
			const n, size = 64, nbdtest.Size / 64
			var writes, reads []*devices.Request
			for i := range uint64(n) {
				data := bytes.Repeat([]byte{byte(i + 1)}, size)
				writes = append(writes, &devices.Request{Op: devices.OpWrite, Offset: i * size, Length: size, Conn: uint32(i), Payload: devices.Payload{Bytes: data}})
				reads = append(reads, &devices.Request{Op: devices.OpRead, Offset: i * size, Length: size, Conn: uint32(i + 1), Payload: devices.Payload{Bytes: make([]byte, size)}})
			}
			do(t, real, d, writes...)
			do(t, real, d, &devices.Request{Op: devices.OpFlush})
			do(t, real, d, reads...)
			for i, r := range reads {
				if r.Errno != devices.OK || !bytes.Equal(r.Bytes, writes[i].Bytes) {
					t.Errorf("read %d: %v", i, r.Errno)
				}
				if r.Stages.Total() != r.Stages[devices.Wire] || r.Stages.Total() == 0 {
					t.Errorf("read %d: stages %v are not the wire's alone", i, r.Stages)
				}
			}
			if c := s.Counts(); c != (nbd.Counts{Read: n, Write: n, Flush: 1}) || d.Counts() != c {
				t.Errorf("counts %+v", c)
			}
			_ = d.Close()
			s.idles(t) // lateness is noted after the reply has gone out
			if s.Lateness().Count() != 2*n+1 {
				t.Errorf("lateness %v", s.Lateness())
			}
		})
	}
}

func TestSocketSlowFlushHoldsUpNoRead(t *testing.T) {
	s := newSite(t, "unix")
	s.dev.Flush = 50 * time.Millisecond
	c := dialRaw(t, s.uri)
	c.send(append(encode(nbd.Header{Op: devices.OpFlush, Cookie: 1}), encode(nbd.Header{Op: devices.OpRead, Cookie: 2, Length: 512})...))
	if _, cookie := c.reply(); cookie != 2 {
		t.Fatalf("the first reply is to %d", cookie)
	}
	c.expect(512)
	if _, cookie := c.reply(); cookie != 1 {
		t.Errorf("the second reply is to %d", cookie)
	}
}

func TestSocketRefusedWriteHasItsPayloadSkipped(t *testing.T) {
	s := newSite(t, "unix")
	c := dialRaw(t, s.uri)
	c.send(encode(nbd.Header{Op: devices.OpWrite, Cookie: 1, Offset: nbdtest.Size, Length: 3 << 20}, make([]byte, 3<<20)...))
	c.send(encode(nbd.Header{Op: devices.OpRead, Cookie: 2, Length: 512}))
	if e, cookie := c.reply(); e != devices.ENOSPC || cookie != 1 {
		t.Fatalf("replied %v to %d", e, cookie)
	}
	if e, cookie := c.reply(); e != devices.OK || cookie != 2 {
		t.Errorf("replied %v to %d", e, cookie)
	}
}

func TestSocketPayloadBeyondAllBoundsDisconnects(t *testing.T) {
	s := newSite(t, "unix")
	c := dialRaw(t, s.uri)
	c.send(encode(nbd.Header{Op: devices.OpWrite, Length: 1<<32 - 1}))
	c.closes()
}

func TestSocketBadMagicDisconnects(t *testing.T) {
	s := newSite(t, "unix")
	c := dialRaw(t, s.uri)
	c.send(make([]byte, nbd.RequestSize))
	c.closes()
}

func TestSocketDiscFinishesWhatIsInFlight(t *testing.T) {
	s := newSite(t, "unix")
	s.dev.Service = 10 * time.Millisecond
	c := dialRaw(t, s.uri)
	c.send(append(encode(nbd.Header{Op: devices.OpWrite, Cookie: 1, Length: 4}, 1, 2, 3, 4), encode(nbd.Header{Op: nbd.CmdDisc, Cookie: 2})...))
	if e, cookie := c.reply(); e != devices.OK || cookie != 1 {
		t.Errorf("replied %v to %d", e, cookie)
	}
	c.closes()
}

// A connection that ends at any byte of a conversation must leave nothing
// behind and hold nobody up.
func TestSocketTruncatedAtEveryByte(t *testing.T) {
	const goDisk = nbdtest.HexOption + "00000007 0000000a 00000004 6469736b 0000"
	for name, negotiate := range map[string]string{
		"simple": goDisk, "structured": nbdtest.HexStructuredReply + nbdtest.HexSetMeta("0000000a", "6469736b", nbdtest.HexBaseAllocation) + goDisk,
		"extended": nbdtest.HexExtendedHeaders + nbdtest.HexSetMeta("0000000a", "6469736b", nbdtest.HexBaseAllocation) + goDisk,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "unix")
			d := nbd.Dialect{Structured: name != "simple", Extended: name == "extended"}
			talk := nbdtest.Unhex(t, "00000003"+negotiate)
			for _, h := range []nbd.Header{{Op: devices.OpWrite, Length: 16}, {Op: devices.OpRead, Length: 16}, {Op: devices.OpBlockStatus, Length: 512}, {Op: devices.OpFlush}} {
				var b [nbd.MaxHeaderSize]byte
				talk = append(talk, b[:d.EncodeRequest(&b, &h)]...)
				talk = append(talk, make([]byte, d.PayloadSize(&h))...)
			}
			for n := range len(talk) + 1 {
				diesAfter(t, s, talk[:n])
			}
			s.idles(t)
		})
	}
}

// diesAfter sends this and no more, and waits for the server to close.
func diesAfter(t *testing.T, s *site, talk []byte) {
	t.Helper()
	c, err := net.Dial(s.uri.Network, s.uri.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write(talk)
	_ = c.(*net.UnixConn).CloseWrite()
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	_, err = io.Copy(io.Discard, c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("after %d bytes the server does not close: %v", len(talk), err)
	}
}

// idles waits until the server has no connection left, and holds no memory.
func (s *site) idles(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(testTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		n := len(s.conns)
		s.mu.Unlock()
		if n == 0 && s.memory.held.Load() == 0 && s.memory.base.Load() == 0 {
			return
		}
	}
	t.Errorf("left behind: %+v", s.MemoryUse())
}

// A peer that never reads stalls itself: the server stops reading from it, and
// serves others.
func TestSocketSlowReaderStallsOnlyItself(t *testing.T) {
	s := newSite(t, "unix")
	slow := dialRaw(t, s.uri)
	one := encode(nbd.Header{Op: devices.OpRead, Length: nbdtest.Size})
	n := 2*nbd.MaxInFlightBytes/nbdtest.Size + 10
	slow.send(bytes.Repeat(one, n))
	for s.Counts().Read == 0 { // its side of the server may not have begun
		time.Sleep(time.Millisecond)
	}
	fast := dialRaw(t, s.uri)
	for i := range uint64(50) {
		fast.send(encode(nbd.Header{Op: devices.OpRead, Cookie: i, Length: 512}))
		if e, cookie := fast.reply(); e != devices.OK || cookie != i {
			t.Fatalf("replied %v to %d", e, cookie)
		}
		fast.expect(512)
	}
	s.real.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for k := range s.conns {
			if queued := k.out.work.Left(); queued > nbd.MaxInFlightBytes+nbdtest.Size {
				t.Errorf("%d bytes are queued", queued)
			}
		}
	})
	for range n { // it goes on once it reads
		slow.reply()
		slow.expect(nbdtest.Size)
	}
}

func TestShutdownDrains(t *testing.T) {
	s := newSite(t, "unix")
	s.dev.Service = 30 * time.Millisecond
	c := dialRaw(t, s.uri)
	c.send(encode(nbd.Header{Op: devices.OpWrite, Cookie: 1, Length: 4}, 1, 2, 3, 4))
	for s.Counts().Write == 0 {
		time.Sleep(time.Millisecond)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(within(t)) }()
	for draining := false; !draining; time.Sleep(time.Millisecond) {
		s.real.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			draining = s.closed
			for k := range s.conns {
				draining = draining && k.draining
			}
		})
	}
	_, _ = c.Write(encode(nbd.Header{Op: devices.OpWrite, Cookie: 2, Length: 4}, 1, 2, 3, 4))
	got := map[uint64]devices.Errno{}
	for range 2 {
		e, cookie := c.reply()
		got[cookie] = e
	}
	if got[1] != devices.OK || got[2] != devices.ESHUTDOWN {
		t.Errorf("replies %v", got)
	}
	c.closes()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial(s.uri.Network, s.uri.Address); err == nil {
		t.Error("still accepts")
	}
}

func TestShutdownGivesUpWhenItsContextEnds(t *testing.T) {
	s := newSite(t, "unix")
	s.dev.Held = true // never completes
	c := dialRaw(t, s.uri)
	c.send(encode(nbd.Header{Op: devices.OpFlush}))
	for s.Counts().Flush == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v", err)
	}
	c.closes()
}

func TestClientWhoseServerDies(t *testing.T) {
	s := newSite(t, "unix")
	s.dev.Held = true
	real := newReal(t)
	c, err := Dial(within(t), s.uri, real)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		for s.Counts().Read == 0 {
			time.Sleep(time.Millisecond)
		}
		_ = s.Close()
	}()
	r := &devices.Request{Op: devices.OpRead, Length: 512}
	do(t, real, c, r)
	if r.Errno != devices.ESHUTDOWN {
		t.Errorf("ended with %v", r.Errno)
	}
	late := &devices.Request{Op: devices.OpFlush}
	do(t, real, c, late)
	if late.Errno != devices.ESHUTDOWN {
		t.Errorf("a later request ended with %v", late.Errno)
	}
}

func TestClientClosesWithDisc(t *testing.T) {
	s := newSite(t, "tcp")
	c, err := Dial(within(t), s.uri, newReal(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	s.idles(t)
}

func TestStampsTravelAsBytes(t *testing.T) {
	s := newSite(t, "unix")
	real := newReal(t)
	c, err := Dial(within(t), s.uri, real)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := &devices.Request{Op: devices.OpWrite, Length: 1024, Payload: devices.Payload{Stamp: 0x1234}}
	r := &devices.Request{Op: devices.OpRead, Length: 1536, Payload: devices.Payload{Versions: make([]devices.Stamp, 3)}}
	do(t, real, c, w)
	do(t, real, c, r)
	if v := r.Versions; v[0] != 0x1234 || v[1] != 0x1234 || v[2] != 0 {
		t.Errorf("read versions %v", v)
	}
	s.real.Do(func() {
		if got := binary.BigEndian.Uint64(s.dev.Data[512:]); got != 0x1234 {
			t.Errorf("the second sector begins with %#x", got)
		}
	})
}

func TestDialRefusedExport(t *testing.T) {
	s := newSite(t, "unix")
	u := s.uri
	u.Export = "other"
	var refusal *nbd.OptionError
	if _, err := Dial(within(t), u, newReal(t)); !errors.As(err, &refusal) || refusal.Reply != nbd.RepErrUnknown {
		t.Errorf("got %v", err)
	}
	if _, names, err := Ask(within(t), s.uri, nbd.OptList); err != nil || len(names) != 1 || names[0] != "disk" {
		t.Errorf("listed %v, %v", names, err)
	}
	if x, _, err := Ask(within(t), s.uri, nbd.OptInfo); err != nil || x.Size != nbdtest.Size {
		t.Errorf("got %+v, %v", x, err)
	}
}

func TestListenReplacesTheSocketOfADeadServer(t *testing.T) {
	u := URI{Network: "unix", Address: filepath.Join(t.TempDir(), "s")}
	l, err := net.Listen("unix", u.Address)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Listen(u); err == nil {
		t.Fatal("took the socket of a living server")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	l, _, err = Listen(u)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

func TestManyClientsInParallel(t *testing.T) {
	s := newSite(t, "unix")
	s.dev.Service = 20 * time.Microsecond
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := dialRaw(t, s.uri)
			for i := range uint64(200) {
				if _, err := c.Write(encode(nbd.Header{Op: devices.OpFlush, Cookie: i})); err != nil {
					t.Error(err)
					return
				}
				if e, cookie := c.reply(); e != devices.OK || cookie != i {
					t.Errorf("replied %v to %d", e, cookie)
				}
			}
		})
	}
	wg.Wait()
}

// TestAnAddressOfIPv4IsTheOnlyOneListenedAt: Go would take 0.0.0.0 for all of IPv6, too.
func TestAnAddressOfIPv4IsTheOnlyOneListenedAt(t *testing.T) {
	for address, want := range map[string]map[string]bool{
		"0.0.0.0:0":   {"127.0.0.1": true, "::1": false},
		"127.0.0.1:0": {"127.0.0.1": true, "::1": false},
		"[::]:0":      {"127.0.0.1": true, "::1": true},
		"[::1]:0":     {"127.0.0.1": false, "::1": true},
	} {
		l, u, err := Listen(URI{Network: "tcp", Address: address})
		if err != nil {
			t.Logf("%s: %v", address, err) // no IPv6 here
			continue
		}
		host, port, err := net.SplitHostPort(u.Address)
		if err != nil || net.JoinHostPort(host, "0") != address {
			t.Errorf("%s: listens at %s", address, u.Address)
		}
		for from, ok := range want {
			c, err := net.Dial("tcp", net.JoinHostPort(from, port))
			if ok != (err == nil) {
				t.Errorf("%s: connecting to %s: %v", address, from, err)
			}
			if err == nil {
				_ = c.Close()
			}
		}
		_ = l.Close()
	}
}

func TestHandshakeTimeGrowsWithTheExportsThatWereListed(t *testing.T) {
	began := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name    string
		stepped time.Duration // since the beginning
		listed  int
		until   time.Duration
	}{
		{"without LIST there is one time for all", 20 * time.Second, 0, 30 * time.Second},
		{"with it, a second more for each export", 20 * time.Second, 5, 35 * time.Second},
		{"but none for one option", 20 * time.Second, 1024, 50 * time.Second},
		{"and an end", 1053 * time.Second, 1024, 1054 * time.Second},
	} {
		got := handshakeTime{NegotiationTimeout}.until(began, began.Add(test.stepped), test.listed)
		if got != began.Add(test.until) {
			t.Errorf("%s: until %v, expected %v", test.name, got.Sub(began), test.until)
		}
	}
}
