package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"nbdbench/devices"
)

// Why a client's connection ended, or may no longer be used, is one of four
// types: a *ProtocolError, a *TimeoutError, a *LostError or a *ShutdownError.

// A TimeoutError is a reply that a server did not send within its bound.
type TimeoutError struct {
	Awaited string // such as "reply to WRITE with FUA of 4096 bytes at 0"
	After   time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("nbd: no %s within %v", e.Awaited, e.After) }

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

// A ShutdownError is a reply of ESHUTDOWN, after which a client may send nothing
// but DISC ("Error values").
type ShutdownError struct{ Command string }

func (e *ShutdownError) Error() string {
	return fmt.Sprintf("nbd: the server answered %s with ESHUTDOWN, after which it takes no commands", e.Command)
}

// flagNames are the command flags in the protocol's words, by their bits.
var flagNames = [...]string{"FUA", "NO_HOLE", "DF", "REQ_ONE", "FAST_ZERO", "PAYLOAD_LEN"}

// command is a request in the protocol's words.
func command(r *devices.Request) string {
	var flags []string
	for i, name := range flagNames {
		if r.Flags>>i&1 != 0 {
			flags = append(flags, name)
		}
	}
	s := strings.ToUpper(r.Op.String())
	if len(flags) > 0 {
		s += " with " + strings.Join(flags, ", ")
	}
	if r.Op == devices.OpFlush {
		return s
	}
	return fmt.Sprintf("%s of %d bytes at %d", s, r.Length, r.Offset)
}

// Cause is why the connection ended or may no longer be used, or nil. It belongs
// to the loop.
func (c *Client) Cause() error {
	if c.err == nil && c.shutBy != nil {
		return c.shutBy
	}
	return c.err
}

// Oldest is the command that has awaited its reply the longest, in words; empty
// if there is none.
func (c *Client) Oldest() string { return Multi{c}.Oldest() }

// Cause is the first connection's that has one.
func (m Multi) Cause() error {
	for _, c := range m {
		if err := c.Cause(); err != nil {
			return err
		}
	}
	return nil
}

// Oldest is the command that has awaited its reply the longest, in words; empty
// if there is none.
func (m Multi) Oldest() string {
	var oldest *devices.Request
	for _, c := range m {
		if r := c.table.oldest(); r != nil && (oldest == nil || r.Submitted < oldest.Submitted) {
			oldest = r
		}
	}
	if oldest == nil {
		return ""
	}
	return command(oldest)
}

// broken is the cause for an error of the negotiation's socket.
func broken(ctx context.Context, err error, awaited string, after time.Duration) error {
	var violated *ProtocolError
	var refused *OptionError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &violated), errors.As(err, &refused):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &TimeoutError{Awaited: awaited, After: after}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return &LostError{Awaited: awaited, Err: err}
	}
	return err
}
