package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"nbdbench/nbd"
)

// broken is the cause for an error of the negotiation's socket.
func broken(ctx context.Context, err error, awaited string, after time.Duration) error {
	var violated *nbd.ProtocolError
	var refused *nbd.OptionError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &violated), errors.As(err, &refused):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &nbd.TimeoutError{Awaited: awaited, After: after}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return &LostError{Awaited: awaited, Err: err}
	}
	return err
}

// handshakeTimeout bounds the negotiation of a client with such timeouts.
func handshakeTimeout(t *nbd.Timeouts) time.Duration {
	if t.Reply > 0 {
		return min(t.Reply, NegotiationTimeout)
	}
	return NegotiationTimeout
}

// A LostError is a connection that ended without the client's DISC.
type LostError struct {
	Awaited  string // in the negotiation: what was to come, such as "reply to GO"
	InFlight int    // after it: commands that awaited a reply
	Err      error  // of the socket
}

func (e *LostError) Error() string {
	how := e.Err.Error()
	switch {
	case errors.Is(e.Err, io.ErrUnexpectedEOF):
		how = "the server closed it in the middle of a message"
	case errors.Is(e.Err, io.EOF):
		how = "the server closed it"
	case errors.Is(e.Err, syscall.ECONNRESET), errors.Is(e.Err, syscall.EPIPE):
		how = "the server reset it"
	}
	when := fmt.Sprintf("with %d commands in flight", e.InFlight)
	if e.Awaited != "" {
		when = "before the " + e.Awaited
	}
	return fmt.Sprintf("nbd: the connection was lost %s: %s", when, how)
}

func (e *LostError) Unwrap() error { return e.Err }
