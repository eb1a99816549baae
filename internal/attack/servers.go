package attack

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The protocol's numbers that a server sends.
const (
	greeting         = "NBDMAGICIHAVEOPT"
	magicOptionReply = 0x0003e889045565a9
	magicReply       = 0x67446698
	magicChunk       = 0x668e33ef

	optionGo  = 7
	repAck    = 1
	repInfo   = 3
	repUnsup  = 1<<31 + 1
	repPolicy = 1<<31 + 2
	handshake = 3 // fixed newstyle, no zeroes
	// exportFlags are HAS_FLAGS, SEND_FLUSH, SEND_FUA and CAN_MULTI_CONN.
	exportFlags = 1<<0 | 1<<2 | 1<<3 | 1<<8

	exportSize = 1 << 30
	maxOption  = 64 << 10
	maxData    = 32 << 20
)

// The commands and errors that a server looks at and sends.
const (
	commandRead  = 0
	commandWrite = 1
	commandDisc  = 2
	commandFlush = 3

	errIO       = 5
	errSpace    = 28
	errShutdown = 108
)

// Order is one request as it came.
type Order struct {
	Command uint16
	Cookie  uint64
	Length  uint32
	Number  int // of its connection, from 1
}

// Misdeed is one way in which a server does wrong: in the negotiation, or when it
// answers requests. What it does not set is done right.
type Misdeed struct {
	Name string
	// Greet, Option and Reply take the place of what is right. io.EOF ends the
	// connection, and errStall leaves it open and silent.
	Greet  func(c net.Conn) error
	Option func(c net.Conn, option uint32) error
	Reply  func(c net.Conn, o Order) error // to all but FLUSH
	Flush  func(c net.Conn, o Order) error
	// Cause is part of what the client must say. A # stands for any number.
	Cause string
	// Timeout is the client's --timeout; 0 is 2 s.
	Timeout time.Duration
}

// errStall is for a server that says nothing more.
var errStall = errors.New("stall")

// Misdeeds are what a client must find out.
func Misdeeds() []Misdeed { return append(negotiations(), transmissions()...) }

func negotiations() []Misdeed {
	be := binary.BigEndian
	return []Misdeed{
		{Name: "another protocol", Greet: sends([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), Cause: `a server greets with NBDMAGIC: got 0x485454502f312e31 (NBD specification, "Newstyle negotiation")`},
		{Name: "silence", Greet: func(net.Conn) error { return errStall }, Cause: "no greeting within 2s"},
		{Name: "half a greeting", Greet: func(c net.Conn) error { return errors.Join(write(c, []byte("NBDMAGIC")), errStall) }, Cause: "no greeting within 2s"},
		{Name: "leaves before the greeting", Greet: func(net.Conn) error { return io.EOF }, Cause: "the connection was lost before the greeting"},
		{Name: "stalls in the negotiation", Option: func(net.Conn, uint32) error { return errStall }, Cause: "no reply to GO within 2s"},
		{Name: "leaves in the negotiation", Option: func(net.Conn, uint32) error { return io.EOF }, Cause: "the connection was lost before the reply to GO"},
		{Name: "option reply without magic", Option: func(c net.Conn, _ uint32) error { return write(c, make([]byte, 20)) }, Cause: "an option's reply begins with its magic: got 0x0"},
		{Name: "ACK without INFO", Option: func(c net.Conn, o uint32) error { return optionReply(c, o, repAck, nil) }, Cause: "INFO_EXPORT comes before the ACK"},
		{
			Name: "option replies without end", Cause: "a server comes to an end of its replies",
			Option: func(c net.Conn, o uint32) error {
				for {
					if err := optionReply(c, o, repInfo, be.AppendUint16(nil, 99)); err != nil {
						return err
					}
				}
			},
		},
	}
}

func transmissions() []Misdeed {
	const shares = 2 // of the requests fail, one in so many
	fails := func(errno uint32, one int) func(net.Conn, Order) error {
		return func(c net.Conn, o Order) error {
			if o.Number%one != 0 {
				return reply(c, magicReply, 0, o)
			}
			return reply(c, magicReply, errno, o)
		}
	}
	return []Misdeed{
		{Name: "wrong magic", Reply: delayed(func(c net.Conn, o Order) error { return reply(c, 0x12345678, 0, o) }), Cause: `a reply begins with its magic: got 0x12345678 (NBD specification, "Simple reply message")`},
		{
			Name: "chunks never negotiated", Cause: "a reply comes in chunks only where that was negotiated",
			Reply: delayed(func(c net.Conn, o Order) error { return reply(c, magicChunk, 1<<16, o) }),
		},
		{
			Name: "wrong cookie", Cause: `a reply has the cookie of a request in flight: got 0x`,
			Reply: delayed(func(c net.Conn, o Order) error { o.Cookie ^= 1 << 40; return reply(c, magicReply, 0, o) }),
		},
		{
			Name: "reply twice", Cause: "a reply has the cookie of a request in flight",
			Reply: delayed(func(c net.Conn, o Order) error {
				return errors.Join(reply(c, magicReply, 0, o), reply(c, magicReply, 0, o))
			}),
		},
		{
			Name: "reply unasked", Cause: "a reply has the cookie of a request in flight",
			Reply: delayed(func(c net.Conn, o Order) error {
				return errors.Join(reply(c, magicReply, 0, Order{Cookie: 1 << 50}), reply(c, magicReply, 0, o))
			}),
		},
		{Name: "leaves in a reply", Reply: delayed(func(c net.Conn, o Order) error { return errors.Join(write(c, header(magicReply, 0, o)[:8]), io.EOF) }), Cause: "the server closed it in the middle of a message"},
		{Name: "leaves", Reply: delayed(func(net.Conn, Order) error { return io.EOF }), Cause: "the connection was lost with 1 commands in flight: the server closed it"},
		{Name: "stalls in a reply", Reply: delayed(func(c net.Conn, o Order) error { return errors.Join(write(c, header(magicReply, 0, o)[:8]), errStall) }), Cause: "no reply to WRITE with FUA of 4096 bytes at"},
		{Name: "never replies", Reply: func(net.Conn, Order) error { return nil }, Cause: "no reply to WRITE with FUA of 4096 bytes at"},
		{Name: "replies no more", Reply: delayed(func(net.Conn, Order) error { return nil }), Cause: "no reply to WRITE with FUA of 4096 bytes at"},
		{Name: "never flushes", Flush: func(net.Conn, Order) error { return nil }, Timeout: 500 * time.Millisecond, Cause: "no reply to FLUSH within 5s"},
		{Name: "EIO for FLUSH", Flush: fails(errIO, 1), Cause: "the flush before a run failed: EIO"},
		{Name: "EIO always", Reply: fails(errIO, 1), Cause: "# of # commits failed (100%; EIO #)"},
		{Name: "EIO often", Reply: fails(errIO, shares), Cause: "# of # commits failed (#%; EIO #)"},
		{Name: "EIO once", Reply: fails(errIO, 150), Cause: "1 of # commits failed (#%; EIO 1)"},
		{Name: "ENOSPC", Reply: fails(errSpace, 3), Cause: "# of # commits failed (33%; ENOSPC #)"},
		{Name: "an error of no protocol", Reply: fails(12345, 100), Cause: "# of # commits failed (#%; EINVAL #)"},
		{Name: "ESHUTDOWN", Reply: fails(errShutdown, 50), Cause: "the server answered WRITE with FUA of 4096 bytes at"},
	}
}

// right answers as a server should.
func right(c net.Conn, o Order) error { return reply(c, magicReply, 0, o) }

// lateBy is how many requests a late misdeed does right before.
const lateBy = 20

// delayed does right by the first requests.
func delayed(f func(net.Conn, Order) error) func(net.Conn, Order) error {
	return func(c net.Conn, o Order) error {
		if o.Number <= lateBy {
			return right(c, o)
		}
		return f(c, o)
	}
}

func sends(b []byte) func(net.Conn) error { return func(c net.Conn) error { return write(c, b) } }

func write(c net.Conn, b []byte) error {
	_, err := c.Write(b)
	return err
}

func header(magic, errno uint32, o Order) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	b = binary.BigEndian.AppendUint32(b, errno)
	return binary.BigEndian.AppendUint64(b, o.Cookie)
}

// reply answers o, with zeros for a READ that succeeds.
func reply(c net.Conn, magic, errno uint32, o Order) error {
	b := header(magic, errno, o)
	if o.Command == commandRead && errno == 0 {
		b = append(b, make([]byte, o.Length)...)
	}
	return write(c, b)
}

func optionReply(c net.Conn, option, kind uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, magicOptionReply)
	for _, v := range []uint32{option, kind, uint32(len(data))} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return write(c, append(b, data...))
}

// Server is a server that does one thing wrong.
type Server struct {
	Deed     Misdeed
	Accepted atomic.Int64 // connections

	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	serving  sync.WaitGroup
}

// Misbehave serves on a Unix socket until Close.
func Misbehave(path string, deed Misdeed) (*Server, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	s := &Server{Deed: deed, listener: l}
	s.serving.Go(s.accept)
	return s, nil
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.Accepted.Add(1)
		s.serving.Go(func() { s.serve(c) })
	}
}

// Close ends all connections, and returns when nothing of the server is left.
func (s *Server) Close() {
	_ = s.listener.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

func (s *Server) serve(c net.Conn) {
	err := s.negotiate(c)
	if err == nil {
		err = s.transmit(c)
	}
	if errors.Is(err, errStall) {
		_, _ = io.Copy(io.Discard, c) // until the client has enough
	}
	_ = c.Close()
}

func (s *Server) negotiate(c net.Conn) error {
	if s.Deed.Greet != nil {
		if err := s.Deed.Greet(c); err != nil {
			return err
		}
		return errStall
	}
	if err := write(c, append([]byte(greeting), 0, handshake)); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(c, flags[:]); err != nil {
		return err
	}
	for {
		done, err := s.option(c)
		if done || err != nil {
			return err
		}
	}
}

// option answers one option; after GO it is done.
func (s *Server) option(c net.Conn) (done bool, err error) {
	var b [16]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return false, err
	}
	option, n := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	if n > maxOption {
		return false, io.EOF
	}
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		return false, err
	}
	switch {
	case s.Deed.Option != nil:
		return false, s.Deed.Option(c, option)
	case option != optionGo:
		return false, optionReply(c, option, repUnsup, nil)
	}
	info := binary.BigEndian.AppendUint64([]byte{0, 0}, exportSize)
	info = binary.BigEndian.AppendUint16(info, exportFlags)
	return true, errors.Join(optionReply(c, option, repInfo, info), optionReply(c, option, repAck, nil))
}

func (s *Server) transmit(c net.Conn) error {
	for n := 1; ; {
		var b [28]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return err
		}
		o := Order{Command: binary.BigEndian.Uint16(b[6:]), Cookie: binary.BigEndian.Uint64(b[8:]), Length: binary.BigEndian.Uint32(b[24:]), Number: n}
		if o.Command == commandDisc || o.Length > maxData {
			return io.EOF
		}
		if o.Command == commandWrite {
			if _, err := io.CopyN(io.Discard, c, int64(o.Length)); err != nil {
				return err
			}
		}
		answer := s.Deed.Reply
		if o.Command == commandFlush {
			answer = s.Deed.Flush
		} else {
			n++
		}
		if answer == nil {
			answer = right
		}
		if err := answer(c, o); err != nil {
			return err
		}
	}
}
