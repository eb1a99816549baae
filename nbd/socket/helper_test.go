package socket

import (
	"io"
	"net"
	"path/filepath"
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd"
)

// dialects are all that two ends can agree on, by name.
var dialects = map[string]nbd.ClientOptions{
	"simple":     {},
	"structured": {Structured: true, Allocation: true},
	"extended":   {Extended: true, Allocation: true},
}

// encode is a request with compact headers and its data.
func encode(h nbd.Header, data ...byte) []byte {
	var b [nbd.RequestSize]byte
	nbd.EncodeHeader(&b, &h)
	return append(b[:], data...)
}

// encodeExt is a request with extended headers and its data.
func encodeExt(h nbd.Header, data ...byte) []byte {
	var b [nbd.ExtRequestSize]byte
	nbd.EncodeExtHeader(&b, &h)
	return append(b[:], data...)
}

// relay is a listener in front of a site. Each connection's bytes go through the
// two functions, one for each direction.
func relay(t *testing.T, s *site, up, down func(n int, to io.Writer, from io.Reader)) URI {
	t.Helper()
	u := URI{Network: "unix", Address: filepath.Join(t.TempDir(), "relay"), Export: "disk"}
	l, u, err := Listen(u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial(s.uri.Network, s.uri.Address)
			if err != nil {
				_ = near.Close()
				return
			}
			ends := func(f func(int, io.Writer, io.Reader), to, from net.Conn) {
				f(n, to, from)
				_ = to.Close()
				_ = from.Close()
			}
			go ends(up, far, near)
			go ends(down, near, far)
		}
	}()
	return u
}

func pass(_ int, to io.Writer, from io.Reader) { _, _ = io.Copy(to, from) }

// drip forwards pieces of every awkward size, over and over.
func drip(_ int, to io.Writer, from io.Reader) {
	b := make([]byte, 60001)
	for {
		for _, size := range []int{1, 2, 15, 16, 17, 20, 21, 27, 28, 29, 32, 33, 40, 41, 511, 4099, len(b)} {
			n, err := from.Read(b[:size])
			if err != nil {
				return
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
}

// skipPortable skips a test of what the portable form does not have.
func skipPortable(t *testing.T) {
	t.Helper()
	if !rawSockets {
		t.Skip("the portable form leaves sockets to Go's poller")
	}
}

// answers expects success for a cookie.
func (r *raw) answers(want uint64) {
	r.t.Helper()
	if e, cookie := r.reply(); e != devices.OK || cookie != want {
		r.t.Fatalf("replied %v to %d, expected success to %d", e, cookie, want)
	}
}
