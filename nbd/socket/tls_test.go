package socket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/testcerts"
	"nbdbench/nbd"
	"nbdbench/nbd/nbdtest"
)

func serverFiles(d testcerts.Dir, clients bool) TLSFiles {
	f := TLSFiles{Cert: d.Path(testcerts.ServerCert), Key: d.Path(testcerts.ServerKey)}
	if clients {
		f.CA = d.Path(testcerts.CA)
	}
	return f
}

func clientFiles(d testcerts.Dir, own bool) TLSFiles {
	f := TLSFiles{CA: d.Path(testcerts.CA)}
	if own {
		f.Cert, f.Key = d.Path(testcerts.ClientCert), d.Path(testcerts.ClientKey)
	}
	return f
}

// secureSite is a site with TLS, and a dialer that it trusts.
func secureSite(t *testing.T, network string, p nbd.TLSPolicy, files TLSFiles) *site {
	t.Helper()
	config, err := files.Server()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, network, func(s *Server) { s.UseTLS(p, config) })
	s.uri.TLS = true
	return s
}

func dialerWith(t *testing.T, f TLSFiles, u URI) Dialer {
	t.Helper()
	c, err := f.Client(u)
	if err != nil {
		t.Fatal(err)
	}
	return Dialer{TLS: c}
}

func TestEveryCommandOverTLS(t *testing.T) {
	certs := testcerts.New(t)
	for _, network := range []string{"tcp", "unix"} {
		for name, options := range dialects {
			t.Run(network+", "+name, func(t *testing.T) {
				s := secureSite(t, network, nbd.ForcedTLS, serverFiles(certs, true))
				dialer := dialerWith(t, clientFiles(certs, true), s.uri)
				dialer.Options = options
				real := newReal(t)
				c, err := dialer.Dial(within(t), s.uri, real)
				if err != nil {
					t.Fatal(err)
				}
				everyCommand(t, c, real)
				if d := c.Export().Dialect; d.Structured != (name != "simple") {
					t.Errorf("agreed on %+v", d)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				s.idles(t)
			})
		}
	}
}

// TestWhoIsRefusedByTLS: each way not to be trusted.
func TestWhoIsRefusedByTLS(t *testing.T) {
	certs, strangers := testcerts.New(t), testcerts.New(t)
	for _, test := range []struct {
		name   string
		policy nbd.TLSPolicy
		server TLSFiles
		client TLSFiles
		ok     bool
	}{
		{"nobody", nbd.ForcedTLS, serverFiles(certs, true), clientFiles(certs, true), true},
		{"a client without a certificate, where none is wanted: nobody", nbd.MayTLS, serverFiles(certs, false), clientFiles(certs, false), true},
		{"a client without a certificate", nbd.ForcedTLS, serverFiles(certs, true), clientFiles(certs, false), false},
		{"a client with a certificate of somebody else's", nbd.ForcedTLS, serverFiles(certs, true), TLSFiles{CA: certs.Path(testcerts.CA), Cert: strangers.Path(testcerts.ClientCert), Key: strangers.Path(testcerts.ClientKey)}, false},
		{"a server with a certificate of somebody else's", nbd.ForcedTLS, serverFiles(strangers, false), clientFiles(certs, false), false},
		{"a server of another name", nbd.ForcedTLS, serverFiles(certs, false), TLSFiles{CA: certs.Path(testcerts.CA), ServerName: "elsewhere"}, false},
		{"a client with a server's certificate", nbd.ForcedTLS, serverFiles(certs, true), TLSFiles{CA: certs.Path(testcerts.CA), Cert: certs.Path(testcerts.ServerCert), Key: certs.Path(testcerts.ServerKey)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := secureSite(t, "tcp", test.policy, test.server)
			dialer := dialerWith(t, test.client, s.uri)
			_, _, err := dialer.Ask(within(t), s.uri, nbd.OptInfo)
			if test.ok != (err == nil) {
				t.Errorf("got %v", err)
			}
			s.idles(t)
		})
	}
}

// TestKeysOfEachAlgorithm of CA and clients, by each version of TLS. GnuTLS before
// 3.8.13 shows an RSA client's certificate in TLS 1.3 only if the server names no CA.
func TestKeysOfEachAlgorithm(t *testing.T) {
	for _, authorities := range []testcerts.Algorithm{testcerts.EC, testcerts.RSA} {
		for _, leaves := range []testcerts.Algorithm{testcerts.EC, testcerts.RSA} {
			certs := testcerts.NewOf(t, authorities, leaves)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				t.Run(string(authorities+" CA, "+leaves+" client, ")+tls.VersionName(version), func(t *testing.T) {
					asksOfClients(t, certs, version)
				})
			}
		}
	}
}

// asksOfClients checks that a client with a certificate is served, and which
// CAs the server named.
func asksOfClients(t *testing.T, certs testcerts.Dir, version uint16) {
	t.Helper()
	s := secureSite(t, "tcp", nbd.ForcedTLS, serverFiles(certs, true))
	d := dialerWith(t, clientFiles(certs, true), s.uri)
	own, asked := d.TLS.Certificates[0], 0
	d.TLS.MaxVersion, d.TLS.MinVersion = version, version
	d.TLS.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if asked++; len(r.AcceptableCAs) > 0 {
			t.Errorf("the server names %d CAs", len(r.AcceptableCAs))
		}
		return &own, r.SupportsCertificate(&own)
	}
	if x, _, err := d.Ask(within(t), s.uri, nbd.OptInfo); err != nil || x.Size != nbdtest.Size || asked != 1 {
		t.Errorf("got %+v, asked %d times: %v", x, asked, err)
	}
}

// TestACertificateIsVerifiedAgainWhenASessionIsResumed: the client, which has a
// ticket of an earlier server with the same key, is not asked for it.
func TestACertificateIsVerifiedAgainWhenASessionIsResumed(t *testing.T) {
	certs, strangers := testcerts.New(t), testcerts.New(t)
	resuming := func(ca testcerts.Dir) (*site, *atomic.Int32) {
		resumed := new(atomic.Int32)
		config, err := (&TLSFiles{Cert: certs.Path(testcerts.ServerCert), Key: certs.Path(testcerts.ServerKey), CA: ca.Path(testcerts.CA)}).Server()
		if err != nil {
			t.Fatal(err)
		}
		config.SetSessionTicketKeys([][32]byte{{1}})
		verify := config.VerifyConnection
		config.VerifyConnection = func(c tls.ConnectionState) error {
			if c.DidResume {
				resumed.Add(1)
			}
			return verify(c)
		}
		s := newSite(t, "tcp", func(s *Server) { s.UseTLS(nbd.ForcedTLS, config) })
		s.uri.TLS = true
		return s, resumed
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		first, again := resuming(certs)
		other, elsewhere := resuming(strangers)
		d := dialerWith(t, clientFiles(certs, true), first.uri)
		d.TLS.ClientSessionCache, d.TLS.MaxVersion = tls.NewLRUClientSessionCache(1), version
		for range 2 {
			if _, _, err := d.Ask(within(t), first.uri, nbd.OptInfo); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := d.Ask(within(t), other.uri, nbd.OptInfo); err == nil {
			t.Errorf("%s: a server of another CA took the ticket for a certificate", tls.VersionName(version))
		}
		if again.Load() != 1 || elsewhere.Load() != 1 {
			t.Errorf("%s: %d and %d sessions were resumed, expected 1 and 1", tls.VersionName(version), again.Load(), elsewhere.Load())
		}
	}
}

func TestPlainTextIsRefusedWhereTLSIsRequired(t *testing.T) {
	s := secureSite(t, "tcp", nbd.ForcedTLS, serverFiles(testcerts.New(t), false))
	plain := s.uri
	plain.TLS = false
	var refusal *nbd.OptionError
	if _, err := Dial(within(t), plain, newReal(t)); !errors.As(err, &refusal) || refusal.Reply != nbd.RepErrTLSReqd {
		t.Errorf("got %v", err)
	}
}

func TestPlainTextIsTakenWhereTLSIsAllowed(t *testing.T) {
	s := secureSite(t, "tcp", nbd.MayTLS, serverFiles(testcerts.New(t), false))
	plain := s.uri
	plain.TLS = false
	if x, _, err := Ask(within(t), plain, nbd.OptInfo); err != nil || x.Size != nbdtest.Size {
		t.Errorf("got %+v, %v", x, err)
	}
}

func TestAServerWithoutTLSIsNotTalkedToInPlainText(t *testing.T) {
	s := newSite(t, "tcp")
	u := s.uri
	u.TLS = true
	var refusal *nbd.OptionError
	if _, _, err := Ask(within(t), u, nbd.OptInfo); !errors.As(err, &refusal) || refusal.Option != nbd.OptStartTLS {
		t.Errorf("got %v", err)
	}
}

// begun connects and gets to where TLS is to begin.
func begun(t *testing.T, s *site) net.Conn {
	t.Helper()
	c, err := net.Dial(s.uri.Network, s.uri.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	if _, err := c.Write(nbdtest.Unhex(t, "00000003"+nbdtest.HexOption+"00000005 00000000")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, nbd.GreetingSize+nbd.OptionReplySize)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGarbageInPlaceOfTLS ends the connection, and nothing else.
func TestGarbageInPlaceOfTLS(t *testing.T) {
	s := secureSite(t, "tcp", nbd.ForcedTLS, serverFiles(testcerts.New(t), false))
	for _, garbage := range [][]byte{
		bytes.Repeat([]byte{0}, 4096), bytes.Repeat([]byte{0xff}, 4096), []byte("GET / HTTP/1.1\r\n\r\n"),
		nbdtest.Unhex(t, nbdtest.HexGoF), nbdtest.Unhex(t, "16 0301 0005 01 000001 00"), nbdtest.Unhex(t, "16 0303 ffff"), nbdtest.Unhex(t, "15 0303 0002 0228"),
	} {
		c := begun(t, s)
		_, _ = c.Write(garbage)
		_ = c.(*net.TCPConn).CloseWrite()
		var timeout net.Error
		if _, err := io.Copy(io.Discard, c); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("after %.8x the server does not close", garbage)
		}
	}
	s.idles(t)
}

// TestWhatWasInjectedBeforeTLSIsNotBelieved: an option that somebody on the way
// sends along with STARTTLS in plain text (CVE-2021-3716 of nbdkit) is taken for
// TLS, and does not fit.
func TestWhatWasInjectedBeforeTLSIsNotBelieved(t *testing.T) {
	certs := testcerts.New(t)
	s := secureSite(t, "tcp", nbd.ForcedTLS, serverFiles(certs, false))
	c, err := net.Dial(s.uri.Network, s.uri.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	if _, err := c.Write(nbdtest.Unhex(t, "00000003"+nbdtest.HexOption+"00000005 00000000"+nbdtest.HexStructuredReply)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, nbd.GreetingSize+nbd.OptionReplySize)); err != nil {
		t.Fatal(err)
	}
	if err := tls.Client(c, dialerWith(t, clientFiles(certs, false), s.uri).TLS).Handshake(); err == nil {
		t.Error("the handshake went on")
	}
}

func TestTLSFilesThatDoNotDo(t *testing.T) {
	certs := testcerts.New(t)
	empty := certs.Path("empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := serverFiles(certs, true)
	for name, f := range map[string]TLSFiles{
		"no certificate":     {},
		"no key":             {Cert: good.Cert},
		"a key of another":   {Cert: good.Cert, Key: certs.Path(testcerts.ClientKey)},
		"a file not there":   {Cert: good.Cert + "x", Key: good.Key},
		"a CA not there":     {Cert: good.Cert, Key: good.Key, CA: good.CA + "x"},
		"a CA without one":   {Cert: good.Cert, Key: good.Key, CA: empty},
		"a certificate's CA": {Cert: empty, Key: good.Key, CA: good.CA},
	} {
		if _, err := f.Server(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestTLSShutdownDrains: a write in flight is answered over TLS too.
func TestTLSShutdownDrains(t *testing.T) {
	certs := testcerts.New(t)
	s := secureSite(t, "tcp", nbd.ForcedTLS, serverFiles(certs, false))
	s.dev.Service = 30 * time.Millisecond
	dialer, real := dialerWith(t, clientFiles(certs, false), s.uri), newReal(t)
	c, err := dialer.Dial(within(t), s.uri, real)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := make(waiter, 1)
	r := &devices.Request{Op: devices.OpWrite, Length: 512, Payload: devices.Payload{Bytes: make([]byte, 512)}, Completer: w}
	real.Do(func() { c.Submit(r) })
	for s.Counts().Write == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
	if <-w; r.Errno != devices.OK {
		t.Errorf("ended with %v", r.Errno)
	}
}
