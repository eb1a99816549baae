package socket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/testcerts"
	"nbdbench/nbd"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// noted keeps what a server reports.
type noted struct {
	mu    sync.Mutex
	lines []string
}

func (n *noted) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

// take waits for the first report and returns all there are.
func (n *noted) take(t *testing.T) []string {
	t.Helper()
	for end := time.Now().Add(testTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		n.mu.Lock()
		lines := n.lines
		n.mu.Unlock()
		if len(lines) > 0 {
			return lines
		}
	}
	t.Fatal("nothing is reported")
	return nil
}

func (n *noted) notices() Notices {
	return Notices{
		HandshakeFailed: func(client, cause string, unreported uint64) {
			n.add("%s: %s (%d before)", client, cause, unreported)
		},
		LacksPayloadLen: func(client, export string) { n.add("%s writes to %s", client, export) },
	}
}

// TestWritesAsQEMUSendsThemUnderExtendedHeaders: QEMU 10's bytes for a FUA WRITE
// have no PAYLOAD_LEN. It is served, counted, and reported once for an export.
func TestWritesAsQEMUSendsThemUnderExtendedHeaders(t *testing.T) {
	skipPortable(t)
	var n noted
	s := newSite(t, "unix", func(s *Server) { s.Notify(n.notices()) })
	const writes = 3
	for i := range 2 {
		c := dialExtended(t, s.uri)
		for j := range writes {
			cookie, data := uint64(0x10*i+j), strings.Repeat(string(rune('a'+j)), 512)
			c.send(nbdtest.Unhex(t, fmt.Sprintf("21e41c71 0001 0001 %016x %016x %016x %x", cookie, 512*j, 512, data)))
			want := nbdtest.Unhex(t, fmt.Sprintf("6e8a278c 0001 0000 %016x %016x %016x", cookie, 512*j, 0))
			if got := c.expect(nbd.ExtReplySize); string(got) != string(want) {
				t.Fatalf("replied %x, expected %x", got, want)
			}
			var got string
			s.real.Do(func() { got = string(s.dev.Data[512*j : 512*(j+1)]) })
			if got != data {
				t.Errorf("write %d left %.8q...", j, got)
			}
		}
	}
	if got := s.LackingPayloadLen(); got != 2*writes {
		t.Errorf("counted %d, expected %d", got, 2*writes)
	}
	want := fmt.Sprintf("process %d writes to disk", os.Getpid())
	if got := n.take(t); !slices.Equal(got, []string{want}) {
		t.Errorf("reported %q, expected only %q", got, want)
	}
}

// TestWritesWithPayloadLenAreNotReported and neither are those of the plain
// protocol.
func TestWritesWithPayloadLenAreNotReported(t *testing.T) {
	var n noted
	s := newSite(t, "unix", func(s *Server) { s.Notify(n.notices()) })
	c := dialExtended(t, s.uri)
	c.send(encodeExt(nbd.Header{Op: devices.OpWrite, Flags: devices.PayloadLen, Length: 512}, make([]byte, 512)...))
	c.expect(nbd.ExtReplySize)
	plain := dialRaw(t, s.uri)
	plain.send(encode(nbd.Header{Op: devices.OpWrite, Length: 512}, make([]byte, 512)...))
	plain.expect(nbd.ReplySize)
	if s.LackingPayloadLen() != 0 || len(n.lines) > 0 {
		t.Errorf("counted %d, reported %q", s.LackingPayloadLen(), n.lines)
	}
}

// dialExtended negotiates extended headers for the export disk.
func dialExtended(t *testing.T, u URI) *raw {
	t.Helper()
	conn, err := net.Dial(u.Network, u.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	c := &raw{t, conn}
	c.send(nbdtest.Unhex(t, "00000003"+nbdtest.HexExtendedHeaders+nbdtest.HexOption+"00000007 0000000a 00000004"+fmt.Sprintf("%x", "disk")+"0000"))
	c.expect(nbd.GreetingSize + 2*nbd.OptionReplySize + 12 + nbd.OptionReplySize)
	return c
}

// TestAHandshakeThatFailsIsReportedWithItsCause: once, by who failed.
func TestAHandshakeThatFailsIsReportedWithItsCause(t *testing.T) {
	certs, strangers := testcerts.New(t), testcerts.New(t)
	for name, test := range map[string]struct {
		client func(*testing.T, URI)
		cause  string
	}{
		"a certificate of somebody else": {asks(clientWith(certs, strangers)), "TLS: x509: certificate signed by unknown authority"},
		"no certificate":                 {asks(clientFiles(certs, false)), "TLS: tls: client didn't provide a certificate"},
		"no trust in the server":         {asks(TLSFiles{CA: strangers.Path(testcerts.CA)}), "TLS: remote error: tls: "},
		"plain text in place of TLS":     {sends("00000003" + nbdtest.HexOption + "00000005 00000000" + strings.Repeat("00", 64)), "TLS: tls: first record does not look like a TLS handshake"},
		"an option without its magic":    {sends("00000003 0000000000000000 00000001 00000000"), "nbd: an option begins with its magic: got 0x0"},
		"a client flag that is unknown":  {sends("00000004"), "nbd: client flags are among those offered: got 0x4"},
	} {
		t.Run(name, func(t *testing.T) {
			var n noted
			config, err := (&TLSFiles{Cert: certs.Path(testcerts.ServerCert), Key: certs.Path(testcerts.ServerKey), CA: certs.Path(testcerts.CA)}).Server()
			if err != nil {
				t.Fatal(err)
			}
			s := newSite(t, "tcp", func(s *Server) { s.UseTLS(nbd.MayTLS, config); s.Notify(n.notices()) })
			for range 3 {
				test.client(t, s.uri)
			}
			s.idles(t)
			got := n.take(t)
			if len(got) != 1 || !strings.Contains(got[0], ": "+test.cause) || !strings.HasPrefix(got[0], "127.0.0.1:") {
				t.Errorf("reported %q, expected one line with the client's address and %q", got, test.cause)
			}
		})
	}
}

// TestAClientThatLeavesIsNotReported: it may do so at any time.
func TestAClientThatLeavesIsNotReported(t *testing.T) {
	var n noted
	s := newSite(t, "tcp", func(s *Server) { s.Notify(n.notices()) })
	sends("")(t, s.uri)
	sends("00000003"+nbdtest.HexOption)(t, s.uri)
	sends("00000003"+nbdtest.HexOption+"00000002 00000000")(t, s.uri)
	s.idles(t)
	if len(n.lines) > 0 {
		t.Errorf("reported %q", n.lines)
	}
}

func clientWith(trusts, has testcerts.Dir) TLSFiles {
	return TLSFiles{CA: trusts.Path(testcerts.CA), Cert: has.Path(testcerts.ClientCert), Key: has.Path(testcerts.ClientKey)}
}

// asks is a client that asks about the export, and is refused.
func asks(f TLSFiles) func(*testing.T, URI) {
	return func(t *testing.T, u URI) {
		t.Helper()
		u.TLS = true
		d := dialerWith(t, f, u)
		if _, _, err := d.Ask(within(t), u, nbd.OptInfo); err == nil {
			t.Error("the client was served")
		}
	}
}

// sends is a client that sends this and no more, and reads to the end.
func sends(hex string) func(*testing.T, URI) {
	return func(t *testing.T, u URI) {
		t.Helper()
		c, err := net.Dial(u.Network, u.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(testTimeout))
		if _, err := c.Write(nbdtest.Unhex(t, hex)); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
	}
}

func TestFailuresAreReportedOnceACauseInEachInterval(t *testing.T) {
	var f failures
	var now sim.Time
	admit := func(cause string) string {
		ok, unreported := f.admit(cause, now)
		return fmt.Sprint(ok, unreported)
	}
	for i, test := range []struct {
		cause, want string
		after       time.Duration
	}{
		{"a", "true 0", 0},
		{"a", "false 0", 0},
		{"a", "false 0", failureInterval - 1},
		{"b", "true 2", 0},
		{"a", "true 0", 1},
		{"a", "false 0", failureInterval - 1},
		{"a", "true 1", 1},
	} {
		now = now.Add(test.after)
		if got := admit(test.cause); got != test.want {
			t.Errorf("step %d, %q: %s, expected %s", i, test.cause, got, test.want)
		}
	}
	for i := range 2 * maxCauses {
		if got := admit(fmt.Sprint(i)); (got[:4] == "true") != (i < maxCauses-1) {
			t.Errorf("cause %d of an interval: %s", i+1, got)
		}
	}
}

func TestACauseHasNoAddresses(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4242}
	for _, test := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "read", Net: "tcp", Source: at, Addr: at, Err: os.ErrDeadlineExceeded}, "i/o timeout"},
		{&tlsError{&net.OpError{Op: "read", Net: "tcp", Source: at, Addr: at, Err: syscall.ECONNRESET}}, "TLS: connection reset by peer"},
		{&tlsError{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}}, "TLS: remote error: tls: bad certificate"},
		{errors.New(strings.Repeat("ü", maxCause)), strings.Repeat("ü", maxCause/2)},
		{errors.New("a" + strings.Repeat("ü", maxCause)), "a" + strings.Repeat("ü", maxCause/2-1)},
	} {
		if got := causeOf(test.err); got != test.want {
			t.Errorf("%v: %q, expected %q", test.err, got, test.want)
		}
	}
}

// TestConnectionsThatOpenAndCloseAreReported: with the cause where the client did not
// disconnect as the protocol asks.
func TestConnectionsThatOpenAndCloseAreReported(t *testing.T) {
	for name, test := range map[string]struct {
		client func(c *raw)
		want   []string
	}{
		"a client that disconnects": {func(c *raw) { c.send(encode(nbd.Header{Op: nbd.CmdDisc})) }, []string{"opened disk false", "closed disk <nil>"}},
		"a client that is gone":     {func(c *raw) { _ = c.Close() }, []string{"opened disk false", "closed disk <nil>"}},
		"a client that breaks off":  {func(c *raw) { c.send(make([]byte, 3)); _ = c.Close() }, []string{"opened disk false", "closed disk unexpected EOF"}},
		"no request": {func(c *raw) { c.send(make([]byte, nbd.RequestSize)) }, []string{
			"opened disk false", "broke disk: nbd: a request begins with its magic: got 0x0", "closed disk nbd: a request begins with its magic: got 0x0",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var n noted
			s := newSite(t, "tcp", func(s *Server) {
				s.Notify(Notices{
					Opened:        func(_, export string, secure bool) { n.add("opened %s %v", export, secure) },
					Closed:        func(_, export string, cause error) { n.add("closed %s %v", export, cause) },
					ProtocolError: func(_, export, cause string, _ uint64) { n.add("broke %s: %s", export, cause) },
				})
			})
			test.client(dialRaw(t, s.uri))
			s.idles(t)
			if got := n.take(t); !slices.Equal(got, test.want) {
				t.Errorf("reported %q, want %q", got, test.want)
			}
		})
	}
}

// TestASlowReaderIsReportedOnce: the queue calls slow while its write blocks, and a
// connection reports the first time alone.
func TestASlowReaderIsReportedOnce(t *testing.T) {
	var n noted
	s := &Server{notices: Notices{SlowReader: func(client, export string, waited time.Duration) { n.add("%s %s %v", client, export, waited) }}}
	k := &serverSocket{server: s, client: "somebody", exportName: "disk"}
	k.slowReader()
	k.slowReader()
	if got := n.take(t); !slices.Equal(got, []string{"somebody disk 5s"}) {
		t.Errorf("reported %q", got)
	}
	synctest.Test(t, func(t *testing.T) {
		blocked, peer := net.Pipe()
		q := newOutQueue(blocked)
		var calls atomic.Int32
		q.slow = func() { calls.Add(1) }
		q.rest = net.Buffers{[]byte("reply")}
		done := make(chan error)
		go func() { done <- q.block() }()
		time.Sleep(slowAfter - 1)
		synctest.Wait()
		if calls.Load() != 0 {
			t.Errorf("slow was called before %v", slowAfter)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if calls.Load() != 1 {
			t.Errorf("slow was called %d times after %v, want once", calls.Load(), slowAfter)
		}
		_ = peer.Close()
		<-done
	})
}
