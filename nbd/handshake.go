package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"nbdbench/internal/text"
)

// ErrEnded is why a handshake ends that was aborted or only asked questions.
var ErrEnded = errors.New("nbd: the handshake ended without transmission")

// A handshake is one end of the negotiation as a state machine: bytes in, bytes
// out. It is done once there is transmission to begin or an error.
type handshake struct {
	in   []byte // come, and not yet looked at
	out  []byte // to be sent
	done bool
	err  error

	upgrade bool // TLS is to begin, and nothing is looked at before
}

// Upgrade reports whether, once the Output has been sent, both ends are to
// begin TLS, over which the negotiation goes on. What Rest has by then is of
// TLS. It reports so once.
func (h *handshake) Upgrade() (rest []byte, ok bool) {
	if !h.upgrade {
		return nil, false
	}
	h.upgrade = false
	rest, h.in = h.in, nil
	return rest, true
}

// Work is for ends of which a step may take its time.
func (h *handshake) Work() func(context.Context) { return nil }

// Progress is for ends that take their time only on the peer's behalf.
func (h *handshake) Progress() (steps, listed int) { return 0, 0 }

// Output takes what is to be sent.
func (h *handshake) Output() []byte {
	b := h.out
	h.out = nil
	return b
}

// Done reports whether nothing more is to be fed.
func (h *handshake) Done() bool { return h.done }

// Err is why the connection must be closed, or nil. What Output still has is to
// be sent first.
func (h *handshake) Err() error { return h.err }

// Rest is what came after the handshake: the transmission phase's first bytes.
func (h *handshake) Rest() []byte { return h.in }

// take removes n bytes of what came, or reports that they have not all come.
func (h *handshake) take(n int) ([]byte, bool) {
	if len(h.in) < n {
		return nil, false
	}
	b := h.in[:n:n]
	h.in = h.in[n:]
	return b, true
}

func (h *handshake) end(err error) {
	h.done, h.err = true, err
}

func (h *handshake) put16(v uint16) { h.out = binary.BigEndian.AppendUint16(h.out, v) }
func (h *handshake) put32(v uint32) { h.out = binary.BigEndian.AppendUint32(h.out, v) }
func (h *handshake) put64(v uint64) { h.out = binary.BigEndian.AppendUint64(h.out, v) }

// Negotiate passes bytes between both ends until both are done, as a socket
// would without any delay.
func Negotiate(c *ClientHandshake, s *ServerHandshake) error {
	for !c.Done() || !s.Done() {
		if work := s.Work(); work != nil {
			work(context.Background())
			s.Feed(nil)
			continue
		}
		toClient, toServer := s.Output(), c.Output()
		if len(toClient)+len(toServer) == 0 {
			return errors.Join(c.Err(), s.Err(), errors.New("nbd: the handshake is stuck"))
		}
		c.Feed(toClient)
		s.Feed(toServer)
	}
	if c.Err() != nil {
		return c.Err()
	}
	return s.Err()
}

// An OptionError is an error reply to an option.
type OptionError struct {
	Option  Option
	Reply   OptionReply
	Message string // as the server put it
}

func (e *OptionError) Error() string {
	s := fmt.Sprintf("nbd: the server answered %v with %v", e.Option, e.Reply)
	if e.Message != "" {
		s += ": " + text.Line(e.Message)
	}
	return s
}

var optionNames = map[Option]string{
	OptExportName: "EXPORT_NAME", OptAbort: "ABORT", OptList: "LIST", OptStartTLS: "STARTTLS", OptInfo: "INFO", OptGo: "GO",
	OptStructuredReply: "STRUCTURED_REPLY", OptListMetaContext: "LIST_META_CONTEXT", OptSetMetaContext: "SET_META_CONTEXT",
	OptExtendedHeaders: "EXTENDED_HEADERS",
}

func (o Option) String() string {
	if s, ok := optionNames[o]; ok {
		return s
	}
	return fmt.Sprintf("option %d", uint32(o))
}

var optionReplyNames = map[OptionReply]string{
	RepAck: "ACK", RepServer: "SERVER", RepInfo: "INFO", RepErrUnsup: "ERR_UNSUP", RepErrPolicy: "ERR_POLICY",
	RepErrInvalid: "ERR_INVALID", RepErrUnknown: "ERR_UNKNOWN", RepErrShutdown: "ERR_SHUTDOWN",
	RepErrBlockSizeReqd: "ERR_BLOCK_SIZE_REQD", RepErrTooBig: "ERR_TOO_BIG", RepMeta: "META_CONTEXT",
	RepErrPlatform: "ERR_PLATFORM", RepErrTLSReqd: "ERR_TLS_REQD", RepErrExtHeaderReqd: "ERR_EXT_HEADER_REQD",
}

func (r OptionReply) isError() bool { return r>>31 != 0 }

func (r OptionReply) String() string {
	if s, ok := optionReplyNames[r]; ok {
		return s
	}
	return fmt.Sprintf("reply %#x", uint32(r))
}
