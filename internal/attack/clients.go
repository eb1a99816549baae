package attack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
)

// stall is how long a client that does not read waits for a server to take more,
// before it is content: the server has stopped reading.
const stall = 500 * time.Millisecond

// payload is the greatest payload of a READ or WRITE.
const payload = nbd.DefaultMaxPayload

// Kind is a way to do harm.
type Kind struct {
	Name string
	// Clients do it at the same time, and share the exchanges.
	Clients int
	Options nbd.ClientOptions
	// Do has exchanges with the server, as many as n or until it is stalled. The
	// connection stays open after it.
	Do func(c *Client, n int, r *rand.Rand) error
}

// Kinds are all ways but those that end the connection.
var Kinds = []Kind{
	{"READs of 1 byte, never reading", 1, nbd.ClientOptions{}, flood(nbd.Header{Op: devices.OpRead, Length: 1})},
	{"READs of 1 byte on 64 connections, never reading", 64, nbd.ClientOptions{}, flood(nbd.Header{Op: devices.OpRead, Length: 1})},
	{"structured READs of 1 byte, never reading", 1, nbd.ClientOptions{Structured: true}, flood(nbd.Header{Op: devices.OpRead, Length: 1})},
	{"extended READs of 1 byte, never reading", 1, nbd.ClientOptions{Structured: true, Extended: true}, flood(nbd.Header{Op: devices.OpRead, Length: 1})},
	{"WRITEs of 1 byte, never reading", 1, nbd.ClientOptions{}, flood(nbd.Header{Op: devices.OpWrite, Length: 1})},
	{"FLUSHes, never reading", 4, nbd.ClientOptions{}, flood(nbd.Header{Op: devices.OpFlush})},
	{"TRIMs, never reading", 1, nbd.ClientOptions{}, flood(nbd.Header{Op: devices.OpTrim, Length: 512})},
	{"unknown commands, never reading", 1, nbd.ClientOptions{}, flood(nbd.Header{Op: 99})},
	{"BLOCK_STATUS of all, never reading", 16, nbd.ClientOptions{Structured: true, Allocation: true}, flood(nbd.Header{Op: devices.OpBlockStatus, Length: 32 << 20})},
	{"READs of 32 MiB, never reading", 64, nbd.ClientOptions{}, flood(nbd.Header{Op: devices.OpRead, Length: payload})},
	{"READs of all lengths, never reading", 64, nbd.ClientOptions{}, anyLength},
	{"WRITEs that are refused", 4, nbd.ClientOptions{}, refused},
	{"WRITEs of 32 MiB short of one byte", 64, nbd.ClientOptions{}, short(stall)},
	{"READs of 1 byte, reading at last", 1, nbd.ClientOptions{}, late},
}

// flood sends the same request again and again, and reads no reply.
func flood(h nbd.Header) func(*Client, int, *rand.Rand) error {
	return func(c *Client, n int, _ *rand.Rand) error {
		data := make([]byte, writes(h))
		for i := range n {
			h.Cookie = uint64(i)
			if err := c.send(h, data); stalled(err) {
				return nil
			} else if err != nil {
				return err
			}
		}
		return ignoreStall(c.flushSoon())
	}
}

func writes(h nbd.Header) uint64 {
	if h.Op == devices.OpWrite {
		return h.Length
	}
	return 0
}

// send is Request that gives up when the server takes nothing for a while.
func (c *Client) send(h nbd.Header, data []byte) error {
	_ = c.SetWriteDeadline(time.Now().Add(stall))
	return c.Request(h, data)
}

func (c *Client) flushSoon() error {
	_ = c.SetWriteDeadline(time.Now().Add(stall))
	return c.Flush()
}

func stalled(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func ignoreStall(err error) error {
	if stalled(err) {
		return nil
	}
	return err
}

// anyLength reads lengths for which the server has buffers of every size.
func anyLength(c *Client, n int, r *rand.Rand) error {
	for range n {
		length := uint64(1) << r.IntN(26)
		if err := c.send(nbd.Header{Op: devices.OpRead, Length: length}, nil); err != nil {
			return ignoreStall(err)
		}
	}
	return ignoreStall(c.flushSoon())
}

// refused sends WRITEs beyond the end, some at a time, and reads the replies.
func refused(c *Client, n int, _ *rand.Rand) error {
	const some = 8
	data := make([]byte, 4<<10)
	for i := 0; i < n; i += some {
		for j := i; j < i+some; j++ {
			h := nbd.Header{Op: devices.OpWrite, Cookie: uint64(j), Offset: c.Info.Size, Length: uint64(len(data))}
			if err := c.Request(h, data); err != nil {
				return err
			}
		}
		if err := c.Flush(); err != nil {
			return err
		}
		for j := i; j < i+some; j++ {
			if cookie, err := c.Reply(0); err != nil || cookie != uint64(j) {
				return fmt.Errorf("reply to %d, expected to %d: %w", cookie, j, err)
			}
		}
	}
	return nil
}

// short sends a WRITE of the greatest payload but its last byte, and is content when
// the server takes nothing more for so long.
func short(stall time.Duration) func(*Client, int, *rand.Rand) error {
	return func(c *Client, _ int, _ *rand.Rand) error {
		if err := c.send(nbd.Header{Op: devices.OpWrite, Length: payload}, nil); err != nil {
			return ignoreStall(err)
		}
		piece := make([]byte, 1<<20)
		for left := payload - 1; left > 0; left -= len(piece) {
			_ = c.SetWriteDeadline(time.Now().Add(stall))
			if _, err := c.out.Write(piece[:min(left, len(piece))]); err != nil {
				return ignoreStall(err)
			}
		}
		return ignoreStall(c.Flush())
	}
}

// late sends all requests, and begins to read when all were sent or the server has
// stalled; it expects every reply to what was sent.
func late(c *Client, n int, _ *rand.Rand) error {
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if err := c.Request(nbd.Header{Op: devices.OpRead, Cookie: uint64(i), Length: 1}, nil); err != nil {
				sent <- err
				return
			}
		}
		sent <- c.Flush()
	}()
	select {
	case err := <-sent:
		sent <- err
	case <-time.After(stall):
	}
	seen := make([]bool, n)
	for i := range n {
		cookie, err := c.Reply(1)
		if err != nil || cookie >= uint64(n) || seen[cookie] {
			return fmt.Errorf("reply %d is to %d: %w", i, cookie, err)
		}
		seen[cookie] = true
	}
	return <-sent
}

// Break connects, does something that ends the connection, and leaves. The server
// may close first, so errors of the connection say nothing.
func Break(u socket.URI, r *rand.Rand) error {
	conn, err := net.Dial(u.Network, u.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(negotiationTimeout))
	if r.IntN(4) == 0 {
		noise := make([]byte, r.IntN(256))
		for i := range noise {
			noise[i] = byte(r.Uint32())
		}
		_, _ = conn.Write(noise)
		return nil
	}
	h := nbd.NewClientHandshake(nbd.OptGo, u.Export)
	h.SetOptions(nbd.ClientOptions{Structured: r.IntN(2) == 0, Extended: r.IntN(2) == 0})
	if err := negotiate(conn, h); err != nil {
		return err
	}
	request := nbd.Header{Op: devices.Op(r.IntN(9)), Length: uint64(r.IntN(64 << 10)), Cookie: r.Uint64()}
	var b [nbd.RequestSize]byte
	nbd.EncodeHeader(&b, &request)
	switch r.IntN(3) {
	case 0:
		b[r.IntN(4)] ^= 1 // the magic
	case 1:
		_, _ = conn.Write(b[:r.IntN(len(b))])
		return nil
	}
	_, _ = conn.Write(b[:])
	return nil
}
