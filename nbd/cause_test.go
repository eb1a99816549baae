package nbd

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
)

// ofClients are rules that a server breaks never: a client does.
var ofClients = map[string]bool{
	"a request begins with its magic": true, "an extended request begins with its magic": true,
	"handshake_server.go": true, "server.go": true, "serverconn.go": true, "intake.go": true,
}

// TestEachRuleForServersHasItsSection: a cause that names a rule says where it is
// written.
func TestEachRuleForServersHasItsSection(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || ofClients[name] {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if id, ok := call.Fun.(*ast.Ident); !ok || id.Name != "violation" {
				return true
			}
			rule, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if seen[rule] = true; sections[rule] == "" && !ofClients[rule] {
				t.Errorf("%s: %q has no section", name, rule)
			}
			return true
		})
	}
	for rule := range sections {
		if !seen[rule] {
			t.Errorf("nobody checks %q", rule)
		}
	}
}

// TestAnOverdueReplyIsFoundAtItsBound, of whatever command, whatever was answered
// before and after.
func TestAnOverdueReplyIsFoundAtItsBound(t *testing.T) {
	c, out, _ := newClient(everything)
	var got []*TimeoutError
	c.watch(Timeouts{Reply: time.Second, Flush: time.Minute}, func(e *TimeoutError) { got = append(got, e) })
	done := &counter{}
	c.Submit(request(devices.OpFlush, 0, 0, done))
	answered := 0
	for n := range 30 { // for nine seconds all but FLUSH is answered within 300 ms
		c.Submit(request(devices.OpWrite, 0, 512, done))
		c.loop.Run(c.loop.Now().Add(300 * time.Millisecond))
		if err := c.Receive(devices.OK, out.got[n+1].Cookie, devices.Payload{}); err != nil {
			t.Fatal(err)
		}
		answered++
	}
	if len(got) > 0 || len(done.done) != answered {
		t.Fatalf("within the bounds: %v, %d answered", got, len(done.done))
	}
	w := request(devices.OpWriteZeroes, 4096, 8192, done)
	w.Offset, w.Flags = 4096, devices.FUA|devices.NoHole
	c.Submit(w)
	c.loop.Run(c.loop.Now().Add(999 * time.Millisecond))
	if len(got) > 0 {
		t.Fatalf("too early: %v", got)
	}
	c.loop.Run(c.loop.Now().Add(time.Millisecond))
	if len(got) != 1 || got[0].Error() != "nbd: no reply to WRITE_ZEROES with FUA, NO_HOLE of 8192 bytes at 4096 within 1s" {
		t.Errorf("got %v", got)
	}
}

// TestALateFlushIsOverdueAfterItsOwnBound.
func TestALateFlushIsOverdueAfterItsOwnBound(t *testing.T) {
	c, _, _ := newClient(everything)
	var got *TimeoutError
	c.watch(Timeouts{Reply: time.Second, Flush: 10 * time.Second}, func(e *TimeoutError) { got = e })
	c.Submit(request(devices.OpFlush, 0, 0, &counter{}))
	c.loop.Run(c.loop.Now().Add(10*time.Second - 1))
	if got != nil {
		t.Fatalf("too early: %v", got)
	}
	c.loop.Run(c.loop.Now().Add(1))
	if got == nil || got.Error() != "nbd: no reply to FLUSH within 10s" {
		t.Errorf("got %v", got)
	}
}

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
	var late *TimeoutError
	d := Dialer{Timeouts: Timeouts{Reply: 20 * time.Millisecond}}
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
	for name, wishes := range dialects {
		for _, inProcess := range []bool{false, true} {
			s := newSite(t, "unix")
			s.dev.held = true
			real := newReal(t)
			d := Dialer{Wishes: wishes, InProcess: inProcess, Timeouts: Timeouts{Reply: 50 * time.Millisecond, Flush: time.Hour}}
			c, err := d.DialAll(within(t), s.uri, real, 2)
			if err != nil {
				t.Fatal(err)
			}
			do(t, real, c, &devices.Request{Op: devices.OpRead, Length: 512, Conn: 1})
			var cause error
			real.Do(func() { cause = c.Cause() })
			var late *TimeoutError
			if !errors.As(cause, &late) || late.Awaited != "reply to READ of 512 bytes at 0" {
				t.Errorf("%s, in process %v: %v", name, inProcess, cause)
			}
			if err := c.Abort(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestALostConnectionSaysHow(t *testing.T) {
	s := newSite(t, "unix")
	for want, down := range map[string]func(int, io.Writer, io.Reader){
		"the server closed it":                            func(_ int, to io.Writer, from io.Reader) { _, _ = io.CopyN(to, from, negotiated(t, s)) },
		"the server closed it in the middle of a message": func(_ int, to io.Writer, from io.Reader) { _, _ = io.CopyN(to, from, negotiated(t, s)+ReplySize/2) },
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
	h := NewClientHandshake(OptGo, s.uri.Export)
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

// TestESHUTDOWNIsACause.
func TestESHUTDOWNIsACause(t *testing.T) {
	c, out, _ := newClient(everything)
	c.Submit(request(devices.OpTrim, 0, 512, &counter{}))
	if err := c.Receive(devices.ESHUTDOWN, out.got[0].Cookie, devices.Payload{}); err != nil {
		t.Fatal(err)
	}
	var down *ShutdownError
	if !errors.As(c.Cause(), &down) || down.Command != "TRIM of 512 bytes at 0" {
		t.Errorf("got %v", c.Cause())
	}
}
