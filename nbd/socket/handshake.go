package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// NegotiationTimeout is how long the whole handshake may take, at either end,
// and for a client that lists exports a second more for each, as it asks about
// every one. A client that takes longer is disconnected, also if its next
// option takes that long.
const NegotiationTimeout = 30 * time.Second

// exportsPerTimeout is how many listed exports make a handshake's time longer by
// what it is for a client that lists none.
const exportsPerTimeout = 30

// handshakeTime is how long a handshake may take.
type handshakeTime struct{ basic time.Duration }

// until is when a handshake ends that began at this time, has taken its last
// step at another, and in which so many exports were listed.
func (t handshakeTime) until(began, stepped time.Time, listed int) time.Time {
	end := began.Add(t.basic + t.basic*time.Duration(listed)/exportsPerTimeout)
	if next := stepped.Add(t.basic); next.Before(end) {
		return next
	}
	return end
}

// engine is either end of the negotiation.
type engine interface {
	Feed(b []byte)
	Output() []byte
	Done() bool
	Err() error
	Rest() []byte
	Upgrade() (rest []byte, ok bool)
	Secured()
	Progress() (steps, listed int)
	// work is what the next step waits for: it is to be done without the loop, and
	// before Feed. It is nil if there is nothing.
	Work() func(context.Context)
}

// runHandshake runs a handshake over a socket. own runs what touches a device, secure
// is this end's part of TLS. stream is what to go on with in place of c.
func runHandshake(ctx context.Context, c net.Conn, h engine, most handshakeTime, own func(func()), secure func(net.Conn) *tls.Conn) (stream net.Conn, rest []byte, err error) {
	began := time.Now()
	_ = c.SetDeadline(most.until(began, began, 0))
	stream = c
	b := make([]byte, 1024)
	for steps := 0; ; {
		if out := h.Output(); len(out) > 0 {
			if _, err := stream.Write(out); err != nil {
				return stream, nil, err
			}
			own(func() { h.Feed(nil) }) // with what it has left for later
			continue
		}
		if h.Done() {
			break
		}
		if work := h.Work(); work != nil {
			from := time.Now()
			work(ctx)
			if ctx.Err() != nil {
				return stream, nil, net.ErrClosed
			}
			began = began.Add(time.Since(from)) // the peer is not to blame for it
			_ = c.SetDeadline(most.until(began, time.Now(), 0))
			own(func() { h.Feed(nil) })
			continue
		}
		if n, listed := h.Progress(); n > steps {
			steps = n
			_ = c.SetDeadline(most.until(began, time.Now(), listed))
		}
		if rest, ok := h.Upgrade(); ok {
			t := secure(&prefixed{c, rest})
			if err := t.Handshake(); err != nil {
				return stream, nil, &tlsError{err}
			}
			stream = t
			own(h.Secured)
			continue
		}
		acknowledge(c)
		n, err := stream.Read(b)
		if err != nil {
			return stream, nil, unexpected(err)
		}
		own(func() { h.Feed(b[:n]) })
	}
	_ = c.SetDeadline(time.Time{})
	return stream, h.Rest(), h.Err()
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
