package nbd

import (
	"fmt"
	"strings"
	"time"

	"nbdbench/devices"
)

// Why a client's connection ended, or may no longer be used, is one of four
// types: a *ProtocolError, a *TimeoutError, a *ShutdownError or, from package socket, a
// *LostError.

// A TimeoutError is a reply that a server did not send within its bound.
type TimeoutError struct {
	Awaited string // such as "reply to WRITE with FUA of 4096 bytes at 0"
	After   time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("nbd: no %s within %v", e.Awaited, e.After) }

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
