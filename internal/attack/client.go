package attack

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
)

// Client is a raw connection to a server, in the transmission phase.
type Client struct {
	net.Conn
	Info nbd.ExportInfo

	out *bufio.Writer
}

// negotiationTimeout is how long a server may take to connect and negotiate.
const negotiationTimeout = 30 * time.Second

// Dial connects, and negotiates the options.
func Dial(u socket.URI, options nbd.ClientOptions) (*Client, error) {
	conn, err := net.Dial(u.Network, u.Address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(negotiationTimeout))
	h := nbd.NewClientHandshake(nbd.OptGo, u.Export)
	h.SetOptions(options)
	if err := negotiate(conn, h); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("negotiate with %v: %w", u, err)
	}
	_ = conn.SetDeadline(time.Time{})
	return &Client{Conn: conn, Info: h.Export(), out: bufio.NewWriterSize(conn, 64<<10)}, nil
}

func negotiate(conn net.Conn, h *nbd.ClientHandshake) error {
	b := make([]byte, 1024)
	for {
		if _, err := conn.Write(h.Output()); err != nil {
			return err
		}
		if h.Done() {
			return h.Err()
		}
		n, err := conn.Read(b)
		if err != nil {
			return err
		}
		h.Feed(b[:n])
	}
}

// Request buffers a request with its payload in the negotiated form.
func (c *Client) Request(h nbd.Header, data []byte) error {
	if c.Info.Extended {
		var b [nbd.ExtRequestSize]byte
		if h.Op == devices.OpWrite {
			h.Flags |= devices.PayloadLen
		}
		nbd.EncodeExtHeader(&b, &h)
		_, _ = c.out.Write(b[:])
	} else {
		var b [nbd.RequestSize]byte
		nbd.EncodeHeader(&b, &h)
		_, _ = c.out.Write(b[:])
	}
	_, err := c.out.Write(data) // which says what has failed before, too
	return err
}

// Flush sends what is buffered.
func (c *Client) Flush() error { return c.out.Flush() }

// Reply takes a simple reply with n bytes of data if it is good.
func (c *Client) Reply(n int64) (cookie uint64, err error) {
	var b [nbd.RequestSize]byte
	if _, err := io.ReadFull(c, b[:nbd.ReplySize]); err != nil {
		return 0, err
	}
	e, cookie, err := nbd.DecodeReply(&b)
	if err == nil && e == devices.OK {
		_, err = io.CopyN(io.Discard, c, n)
	}
	return cookie, err
}

// Pair writes 4 KiB and reads them again, and reports whether they are the same.
func (c *Client) Pair(offset uint64, seed uint64) error {
	var data [4096]byte
	binary.BigEndian.PutUint64(data[:], seed)
	if err := c.Request(nbd.Header{Op: devices.OpWrite, Cookie: 1, Offset: offset, Length: 4096}, data[:]); err != nil {
		return err
	}
	if err := c.Request(nbd.Header{Op: devices.OpRead, Cookie: 2, Offset: offset, Length: 4096}, nil); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, nbd.ReplySize+nbd.ReplySize))
	if err == nil {
		var got [4096]byte
		if _, err = io.ReadFull(c, got[:]); err == nil && got != data {
			err = fmt.Errorf("read %x at %d after %x was written there", got[:8], offset, data[:8])
		}
	}
	return err
}
