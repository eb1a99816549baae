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
	"syscall"
	"time"

	"nbdbench/nbd"
	"nbdbench/sim"
)

// Notices are what a server reports to whoever runs it, and to no client. The
// zero value is silent. They are called by a goroutine of the connection: one that
// blocks holds up only that client. A client is named by its address, or by its
// process on a Unix socket.
type Notices struct {
	// Opened reports a client that has begun transmission; secure is with TLS.
	Opened func(client, export string, secure bool)
	// Closed reports the end of such a client's connection. The cause is nil if it
	// disconnected as the protocol asks, or closed the socket between two requests.
	Closed func(client, export string, cause error)
	// ProtocolError reports a client that broke the protocol in transmission. Causes
	// are limited as those of HandshakeFailed.
	ProtocolError func(client, export, cause string, unreported uint64)
	// SlowReader reports a client that has taken no reply for slowAfter while some
	// were due, once for each connection.
	SlowReader func(client, export string, waited time.Duration)
	// HandshakeFailed reports a client that did not get as far as transmission: it
	// broke the protocol, could not set up TLS, or left after it was refused over TLS.
	// Each cause is reported once a minute; unreported is how many more failures
	// there were since the last report.
	HandshakeFailed func(client, cause string, unreported uint64)
	// LacksPayloadLen reports the first client of an export that sends WRITE
	// without NBD_CMD_FLAG_PAYLOAD_LEN under extended headers.
	LacksPayloadLen func(client, export string)
}

// Notify sets who is notified. It comes before Serve.
func (s *Server) Notify(n Notices) { s.notices = n }

// slowAfter is how long a client may take no reply before it is reported.
const slowAfter = 5 * time.Second

// slowReader reports that the connection's client has taken nothing for slowAfter.
func (k *serverSocket) slowReader() {
	if !k.slow.Swap(true) {
		k.server.notices.SlowReader(k.client, k.exportName, slowAfter)
	}
}

// closed reports the end of a connection that had begun transmission, and why. What
// the server ends by itself is not reported.
func (k *serverSocket) closed(err error) {
	s := k.server
	if s.ctx.Err() != nil {
		return
	}
	var violated *nbd.ProtocolError
	if f := s.notices.ProtocolError; f != nil && errors.As(err, &violated) {
		cause := causeOf(err)
		if ok, unreported := s.failures.admit(cause, s.real.Now()); ok {
			f(k.client, k.exportName, cause, unreported)
		}
	}
	if f := s.notices.Closed; f != nil {
		f(k.client, k.exportName, err)
	}
}

// LackingPayloadLen is how many WRITEs have come without NBD_CMD_FLAG_PAYLOAD_LEN
// under extended headers.
func (s *Server) LackingPayloadLen() uint64 { return s.lacking.Load() }

// lacksPayloadLen counts one such WRITE, and reports the first of an export.
func (k *serverSocket) lacksPayloadLen() {
	s := k.server
	s.lacking.Add(1)
	if k.lacks {
		return
	}
	k.lacks = true
	if f := s.notices.LacksPayloadLen; f != nil && s.firstLacking(k.export) {
		defer k.reacquireTimers(k.releaseTimers()) // that may take its time
		f(k.client, k.export.Name)
	}
}

// firstLacking reports whether e had no such client before.
func (s *Server) firstLacking(e *nbd.Export) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.lackers, e) {
		return false
	}
	s.lackers = append(s.lackers, e)
	return true
}

// handshakeFailed reports why a handshake ended, if that is a failure. A client that
// leaves after it was refused over TLS fails by that.
func (s *Server) handshakeFailed(k *serverSocket, err, refused error) {
	if refused != nil && !isFailure(err) {
		err = refused
	}
	if s.notices.HandshakeFailed == nil || s.ctx.Err() != nil || !isFailure(err) || s.interrupted(err) {
		return
	}
	cause := causeOf(err)
	if ok, unreported := s.failures.admit(cause, s.real.Now()); ok {
		s.notices.HandshakeFailed(k.client, cause, unreported)
	}
}

// interrupted reports whether a handshake ended by err because the server ends: it
// then lets all deadlines pass.
func (s *Server) interrupted(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed && errors.Is(err, os.ErrDeadlineExceeded)
}

// isFailure reports whether something went wrong when a handshake ended by err.
// A client may leave at any time, but not while TLS is set up: then it does not
// trust the server, or the two cannot agree.
func isFailure(err error) bool {
	var t *tlsError
	if errors.As(err, &t) {
		return !errors.Is(err, net.ErrClosed)
	}
	return !slices.ContainsFunc([]error{
		nbd.ErrEnded, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE,
	}, func(e error) bool { return errors.Is(err, e) })
}

// tlsError is why TLS could not be set up.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "TLS: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// maxCause is the longest cause that is reported, in bytes: parts of it are the
// client's own words.
const maxCause = 256

// causeOf is err without addresses, which differ from client to client.
func causeOf(err error) string {
	text := err.Error()
	var op *net.OpError
	if errors.As(err, &op) && (op.Source != nil || op.Addr != nil) {
		text = strings.Replace(text, op.Error(), op.Err.Error(), 1)
	}
	return strings.ToValidUTF8(text[:min(len(text), maxCause)], "")
}

// The bounds of what is reported: maxCauses different ones in failureInterval.
const (
	failureInterval = time.Minute
	maxCauses       = 16
)

// failures limits how many failed handshakes are reported.
type failures struct {
	mu         sync.Mutex
	began      sim.Time // the interval
	reported   []string // causes, in it
	unreported uint64
}

// admit says whether a failure at this time is to be reported, and then how many
// before it were not.
func (f *failures) admit(cause string, now sim.Time) (ok bool, unreported uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.began) >= failureInterval {
		f.began, f.reported = now, f.reported[:0]
	}
	if len(f.reported) == maxCauses || slices.Contains(f.reported, cause) {
		f.unreported++
		return false, 0
	}
	f.reported = append(f.reported, cause)
	unreported, f.unreported = f.unreported, 0
	return true, unreported
}

// clientName says who is at the other end: an address, or the process at the
// other end of a Unix socket.
func clientName(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return c.RemoteAddr().String()
	}
	if pid := peerProcess(u); pid != 0 {
		return fmt.Sprintf("process %d", pid)
	}
	return "unix"
}
