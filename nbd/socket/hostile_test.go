package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/nbdtest"
)

// TestASlowLorisIsDisconnected: bytes that come one by one do not extend the
// time that a handshake has, and hold nobody up meanwhile.
func TestASlowLorisIsDisconnected(t *testing.T) {
	s := newSite(t, "unix", func(s *Server) { s.handshakeTimeout = 100 * time.Millisecond })
	loris, err := net.Dial(s.uri.Network, s.uri.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer loris.Close()
	gone := make(chan error, 1)
	go func() {
		for {
			if _, err := loris.Write([]byte{0}); err != nil { // a flags' or an option's byte
				gone <- err
				return
			}
			time.Sleep(30 * time.Millisecond)
		}
	}()
	if x, _, err := Ask(within(t), s.uri, nbd.OptInfo); err != nil || x.Size != nbdtest.Size {
		t.Errorf("another client got %+v, %v", x, err)
	}
	select {
	case <-gone:
	case <-time.After(testTimeout):
		t.Error("it is still connected")
	}
	s.idles(t)
}

// TestAHalfOpenConnectionIsDisconnected: one that never says a word.
func TestAHalfOpenConnectionIsDisconnected(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		s := newSite(t, network, func(s *Server) { s.handshakeTimeout = 50 * time.Millisecond })
		c, err := net.Dial(s.uri.Network, s.uri.Address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(testTimeout))
		if n, err := io.Copy(io.Discard, c); n != nbd.GreetingSize || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes, %v", n, err)
		}
		_ = c.Close()
		s.idles(t)
	}
}

// TestConnectionsBeyondTheBoundAreClosed and those within it are served on.
func TestConnectionsBeyondTheBoundAreClosed(t *testing.T) {
	s := newSite(t, "unix")
	first := dialRaw(t, s.uri)
	s.mu.Lock()
	for i := len(s.conns); i < MaxConnections; i++ {
		s.conns[&serverSocket{server: s.Server, sock: socket{conn: first.Conn}, id: uint32(1e6 + i)}] = true
	}
	s.mu.Unlock()
	c, err := net.Dial(s.uri.Network, s.uri.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	if n, _ := io.Copy(io.Discard, c); n != 0 {
		t.Errorf("it was sent %d bytes", n)
	}
	first.send(encode(nbd.Header{Op: devices.OpFlush, Cookie: 9}))
	if e, cookie := first.reply(); e != devices.OK || cookie != 9 {
		t.Errorf("the first got %v for %d", e, cookie)
	}
	s.mu.Lock()
	for k := range s.conns {
		if k.done == nil {
			delete(s.conns, k)
		}
	}
	s.mu.Unlock()
}

// TestAWriteThatIsOnlyClaimedAllocatesItsLengthAtMost: the longest payload there
// is, of which nothing comes.
func TestAWriteThatIsOnlyClaimedAllocatesItsLengthAtMost(t *testing.T) {
	s := newSite(t, "unix")
	for range 64 { // one after another: a buffer is used again
		c := dialRaw(t, s.uri)
		c.send(encode(nbd.Header{Op: devices.OpWrite, Length: nbdtest.Size}))
		_ = c.Close()
	}
	s.idles(t)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 256<<20 {
		t.Errorf("%d MiB are in use", m.HeapAlloc>>20)
	}
}
