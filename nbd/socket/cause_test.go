package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
)

// mute is a listener whose connections hear nothing, with how many there are.
func mute(t *testing.T) (URI, <-chan net.Conn) {
	t.Helper()
	l, u, err := Listen(URI{Network: "unix", Address: filepath.Join(t.TempDir(), "mute")})
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			conns <- c
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return u, conns
}

func TestNegotiationEndsWithItsContextAndItsBound(t *testing.T) {
	u, conns := mute(t)
	ctx, cancel := context.WithCancel(within(t))
	go func() {
		<-conns
		cancel()
	}()
	if _, err := Dial(ctx, u, newReal(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	var late *nbd.TimeoutError
	d := Dialer{Timeouts: nbd.Timeouts{Reply: 20 * time.Millisecond}}
	if _, err := d.Dial(within(t), u, newReal(t)); !errors.As(err, &late) || late.Awaited != "greeting" {
		t.Errorf("out of time: %v", err)
	}
	go func() {
		for c := range conns {
			_ = c.Close()
		}
	}()
	var lost *LostError
	if _, err := Dial(within(t), u, newReal(t)); !errors.As(err, &lost) || lost.Awaited != "greeting" {
		t.Errorf("lost: %v", err)
	}
}

// TestAConnectionKeepsItsCause, in each dialect and by each kind of socket's
// shell: what ended it, and what was not answered.
func TestAConnectionKeepsItsCause(t *testing.T) {
	for name, options := range dialects {
		for _, inProcess := range []bool{false, true} {
			s := newSite(t, "unix")
			s.dev.Held = true
			real := newReal(t)
			d := Dialer{Options: options, InProcess: inProcess, Timeouts: nbd.Timeouts{Reply: 250 * time.Millisecond, Flush: time.Hour}}
			c, err := d.DialAll(within(t), s.uri, real, 2)
			if err != nil {
				t.Fatal(err)
			}
			do(t, real, c, &devices.Request{Op: devices.OpRead, Length: 512, Conn: 1})
			var cause error
			real.Do(func() { cause = c.Cause() })
			var late *nbd.TimeoutError
			if !errors.As(cause, &late) || late.Awaited != "reply to READ of 512 bytes at 0" {
				t.Errorf("%s, in process %v: %v", name, inProcess, cause)
			}
			if err := c.Abort(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestALostConnectionReportsItsCause(t *testing.T) {
	s := newSite(t, "unix")
	for want, down := range map[string]func(int, io.Writer, io.Reader){
		"the server closed it":                            func(_ int, to io.Writer, from io.Reader) { _, _ = io.CopyN(to, from, negotiated(t, s)) },
		"the server closed it in the middle of a message": func(_ int, to io.Writer, from io.Reader) { _, _ = io.CopyN(to, from, negotiated(t, s)+nbd.ReplySize/2) },
	} {
		real := newReal(t)
		c, err := Dial(within(t), relay(t, s, pass, down), real)
		if err != nil {
			t.Fatal(err)
		}
		do(t, real, c, &devices.Request{Op: devices.OpFlush})
		var cause error
		real.Do(func() { cause = c.Cause() })
		// A server that closes with a request unread may be seen to reset the connection,
		// and one that closes at once may be seen to before the request is sent.
		reset := "the server reset it"
		var lost *LostError
		if !errors.As(cause, &lost) || lost.InFlight > 1 || !strings.HasSuffix(cause.Error(), want) && !strings.HasSuffix(cause.Error(), reset) {
			t.Errorf("got %v, want %s or %s", cause, want, reset)
		}
		_ = c.Close()
	}
}

// negotiated is how many bytes a server sends before transmission.
func negotiated(t *testing.T, s *site) (n int64) {
	t.Helper()
	conn, err := net.Dial(s.uri.Network, s.uri.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h := nbd.NewClientHandshake(nbd.OptGo, s.uri.Export)
	for b := make([]byte, 1024); !h.Done(); {
		k, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		n += int64(k)
		h.Feed(b[:k])
		if _, err := conn.Write(h.Output()); err != nil {
			t.Fatal(err)
		}
	}
	return n
}
