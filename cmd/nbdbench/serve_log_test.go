package main

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"nbdbench/internal/testcerts"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
)

// dialServed opens a connection to a served URI on TCP.
func dialServed(t *testing.T, s *served) net.Conn {
	t.Helper()
	_, address, _ := strings.Cut(s.uri, "://")
	address, _, _ = strings.Cut(address, "/")
	c, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// untilClosed reads c until the server closes it.
func untilClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
}

// speakHTTP sends what an HTTP client sends.
func speakHTTP(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: disk\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	untilClosed(t, c)
}

// breakProtocol opens the default export in the fixed newstyle, and then sends
// something that is no request.
func breakProtocol(t *testing.T, c net.Conn) {
	t.Helper()
	const optionExportName = "\x00\x00\x00\x03" + "IHAVEOPT" + "\x00\x00\x00\x01" + "\x00\x00\x00\x00"
	if _, err := io.ReadFull(c, make([]byte, 18)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, optionExportName); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, strings.Repeat("\x1b[2J", 7)); err != nil {
		t.Fatal(err)
	}
	untilClosed(t, c)
}

// recordsOf are the records on stderr of a server that has ended, each a JSON object.
func recordsOf(t *testing.T, s *served) (out []map[string]any) {
	t.Helper()
	text := strings.TrimPrefix(s.stderr.String(), "started\n") // which the test's own binary says
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q is no record: %v", line, err)
		}
		out = append(out, r)
	}
	return out
}

func count(records []map[string]any, msg string) (n int, last map[string]any) {
	for _, r := range records {
		if r["msg"] == msg {
			n, last = n+1, r
		}
	}
	return n, last
}

// What stderr has is one record for each event, and nothing else.
func TestServeReportsEventsAsRecords(t *testing.T) {
	s := startServe(t, "ram", "--size", "1MiB", "--listen", "nbd://127.0.0.1:0/disk", "-v", "--log-format", "json")
	speakHTTP(t, dialServed(t, s))
	s2 := startServe(t, "ram", "--size", "1MiB", "--listen", "nbd://127.0.0.1:0/", "-v", "--log-format", "json")
	breakProtocol(t, dialServed(t, s2))
	for _, c := range []struct {
		s    *served
		want map[string]int
		of   string
		has  string
	}{
		{s, map[string]int{"handshake failed": 1, "opened": 0, "closed": 0, "served": 1}, "handshake failed", "GET "},
		{s2, map[string]int{"handshake failed": 0, "opened": 1, "closed": 1, "protocol error": 1, "served": 1}, "protocol error", "magic"},
	} {
		if code, _ := c.s.stop(t, syscall.SIGTERM); code != 0 {
			t.Errorf("exit %d\n%s", code, c.s.stderr.String())
		}
		records := recordsOf(t, c.s)
		for msg, want := range c.want {
			if n, _ := count(records, msg); n != want {
				t.Errorf("%d records of %q, want %d\n%s", n, msg, want, c.s.stderr.String())
			}
		}
		if _, r := count(records, c.of); r != nil && !strings.Contains(fmt.Sprint(r["cause"]), c.has) {
			t.Errorf("the cause is %q, want it to have %q", r["cause"], c.has)
		}
	}
}

// Without -v and --log-format a client that speaks HTTP leaves one plain line, and one
// that breaks the protocol another, with nothing in it that a terminal would obey.
func TestServeReportsFailuresAsPlainLines(t *testing.T) {
	s := startServe(t, "ram", "--size", "1MiB", "--listen", "nbd://127.0.0.1:0/")
	speakHTTP(t, dialServed(t, s))
	breakProtocol(t, dialServed(t, s))
	s.stop(t, syscall.SIGTERM)
	text := strings.TrimPrefix(s.stderr.String(), "started\n")
	for _, want := range []string{"handshake with 127.0.0.1:", `broke the protocol on export ""`, "served 0 reads"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("expected %q once in\n%s", want, text)
		}
	}
	if strings.Contains(text, "opened") || strings.Contains(text, "\x1b") || strings.Count(text, "\n") != 3 {
		t.Errorf("expected three lines, got\n%q", text)
	}
}

// Whoever leaves because the two cannot agree on TLS is reported with the reason. A
// client that would rather have TLS, is refused and goes on without, is not.
func TestServeReportsThatTLSIsMissing(t *testing.T) {
	certs := testcerts.New(t)
	files := []string{"--tls-cert", certs.Path(testcerts.ServerCert), "--tls-key", certs.Path(testcerts.ServerKey)}
	for _, c := range []struct {
		name    string
		args    []string
		options []nbd.Option
		want    string
	}{
		{"the server requires TLS", files, []nbd.Option{nbd.OptList}, "requires TLS"},
		{"the server has none", nil, []nbd.Option{nbd.OptStartTLS}, "has no TLS"},
		{"the client goes on without", nil, []nbd.Option{nbd.OptStartTLS, nbd.OptExportName}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServe(t, append([]string{"ram", "--size", "1MiB", "--listen", "nbd://localhost:0/", "--log-format", "json"}, c.args...)...)
			for range 2 { // one report for both
				leaveAfter(t, s, c.options)
			}
			s.stop(t, syscall.SIGTERM)
			n, r := count(recordsOf(t, s), "handshake failed")
			if want := min(1, len(c.want)); n != want || n > 0 && !strings.Contains(fmt.Sprint(r["cause"]), c.want) {
				t.Errorf("expected %d handshakes that failed for %q, got\n%s", want, c.want, s.stderr.String())
			}
		})
	}
}

// leaveAfter sends these options without data, sends no more, and waits until the server
// has closed the connection, too.
func leaveAfter(t *testing.T, s *served, options []nbd.Option) {
	t.Helper()
	c := dialServed(t, s)
	sendOptions(t, c, options...)
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	untilClosed(t, c)
}

// sendOptions begins the fixed newstyle with these options, without data.
func sendOptions(t *testing.T, c net.Conn, options ...nbd.Option) {
	t.Helper()
	b := binary.BigEndian.AppendUint32(nil, 1) // fixed newstyle
	for _, o := range options {
		b = append(b, "IHAVEOPT"...)
		b = binary.BigEndian.AppendUint32(b, uint32(o))
		b = binary.BigEndian.AppendUint32(b, 0)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// A client that does not trust the server's certificate refuses TLS.
func TestServeReportsThatTLSWasRefused(t *testing.T) {
	certs, others := testcerts.New(t), testcerts.New(t)
	s := startServe(t, "ram", "--size", "1MiB", "--listen", "nbd://localhost:0/", "--log-format", "text",
		"--tls-cert", certs.Path(testcerts.ServerCert), "--tls-key", certs.Path(testcerts.ServerKey))
	u, err := socket.ParseURI(s.uri)
	if err != nil {
		t.Fatal(err)
	}
	config, err := (&socket.TLSFiles{CA: others.Path(testcerts.CA)}).Client(u)
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName = "localhost"
	c := dialServed(t, s)
	const greeting, optionReply = 18, 20
	sendOptions(t, c, nbd.OptStartTLS)
	if _, err := io.ReadFull(c, make([]byte, greeting+optionReply)); err != nil {
		t.Fatal(err)
	}
	if err := tls.Client(c, config).Handshake(); err == nil {
		t.Fatal("the client took a certificate that it has no reason to trust")
	}
	untilClosed(t, c)
	s.stop(t, syscall.SIGTERM)
	if text := s.stderr.String(); strings.Count(text, `level=WARN msg="handshake failed"`) != 1 || !strings.Contains(text, "TLS: ") {
		t.Errorf("expected one handshake that failed by TLS, got\n%s", text)
	}
}
