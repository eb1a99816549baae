package nbd

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
)

// ofClients are rules that clients break, not servers, and files of such rules.
var ofClients = map[string]bool{
	"a request begins with its magic": true, "an extended request begins with its magic": true,
	"handshake_server.go": true, "serverconn.go": true, "a payload is of reasonable length": true,
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
	c.Watch(Timeouts{Reply: time.Second, Flush: time.Minute}, func(e *TimeoutError) { got = append(got, e) })
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
	c.Watch(Timeouts{Reply: time.Second, Flush: 10 * time.Second}, func(e *TimeoutError) { got = e })
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
