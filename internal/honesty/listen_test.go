package honesty

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const testToken = "a secret"

// site is a listener that works.
type site struct {
	t       *testing.T
	address string
	record  string
	mu      sync.Mutex
	said    []string
}

func newSite(t *testing.T, record string, most int64) *site {
	t.Helper()
	x := &site{t: t, record: record}
	l, err := NewListener(ListenerConfig{Token: testToken, Record: record, MaxRecord: most, Report: x.say})
	if err != nil {
		t.Fatal(err)
	}
	on, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.address = on.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx, on) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func (x *site) say(line string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.said = append(x.said, line)
}

// lines are those of the record, without their times.
func (x *site) lines() (out []string) {
	x.t.Helper()
	b, err := os.ReadFile(x.record)
	if err != nil {
		x.t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		if i > 0 {
			_, line, _ = strings.Cut(line, " ")
		}
		out = append(out, line)
	}
	return out
}

// client is a writer or a reader, line by line.
func (x *site) client(mode string) *conn {
	x.t.Helper()
	c, err := dial(x.t.Context(), x.address, testToken, mode)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = c.Close() })
	return c
}

// say sends lines and returns what comes then.
func say(t *testing.T, c *conn, lines ...string) string {
	t.Helper()
	if err := c.send(strings.Join(lines, "\n")); err != nil {
		t.Fatal(err)
	}
	line, err := c.line(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

const begun = "start 0123456789abcdef 4 512 disk"

func TestWhatIsStoredIsSaidAfterwards(t *testing.T) {
	x := newSite(t, filepath.Join(t.TempDir(), "record"), 1<<20)
	c := x.client(modeWrite)
	if got := say(t, c, begun, "intent 1 1", "promise 1 1 fua", "sync 7"); got != "stored 7" {
		t.Fatalf("got %q", got)
	}
	if got, want := x.lines(), []string{recordHeader, begun, "intent 1 1", "promise 1 1 fua"}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
	s, err := (&VerifyConfig{Server: x.address, Token: testToken}).session(t.Context())
	if err != nil || s.units[1].promised != 1 || s.session != testSession {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{"intent 1 1"}, "no expected start, got intent"},
		{[]string{begun, "intent 4 1"}, "no expected a unit below 4, got 4"},
		{[]string{begun, "promise 1 1 fua"}, "no expected a version above 0 and up to 0"},
		{[]string{begun, "hello\x1b[2J"}, "no expected start, intent, promise or stop"},
		{[]string{"sync x"}, "no expected sync N"},
		{[]string{begun, "intent 1 1", "intent 2 1", "intent 3 1"}, "no the record is full"},
	} {
		x := newSite(t, filepath.Join(t.TempDir(), "record"), 150)
		if got := say(t, x.client(modeWrite), c.lines...); !strings.HasPrefix(got, c.want) || strings.ContainsRune(got, 0x1b) {
			t.Errorf("%q: got %q, expected %q", c.lines, got, c.want)
		}
	}
}

func TestWithoutTheTokenNothingIsStoredOrShown(t *testing.T) {
	x := newSite(t, filepath.Join(t.TempDir(), "record"), 1<<20)
	for _, mode := range []string{modeWrite, modeRead} {
		if c, err := dial(t.Context(), x.address, "another secret", mode); err == nil || !strings.Contains(err.Error(), "wrong token") {
			t.Errorf("%s: got %v, %v", mode, c, err)
		}
	}
	// A proof for reading is none for writing.
	nc, err := net.Dial("tcp", x.address)
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(nc)
	defer func() { _ = c.Close() }()
	line, err := c.line(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got := say(t, c, modeWrite+" "+proof(testToken, modeRead, strings.TrimPrefix(line, hello+" "))); got != "no wrong token" {
		t.Errorf("got %q", got)
	}
	if got := x.lines(); len(got) != 1 {
		t.Errorf("the record has %q", got)
	}
}

// A writer that comes back after its power loss ends the one that is left of before.
func TestALaterWriterTakesThePlace(t *testing.T) {
	x := newSite(t, filepath.Join(t.TempDir(), "record"), 1<<20)
	first, second := x.client(modeWrite), x.client(modeWrite)
	if got := say(t, second, "sync 1"); got != "stored 1" {
		t.Fatalf("got %q", got)
	}
	_ = first.send(begun) // it may have noticed
	if line, err := first.line(time.Minute); err == nil && line != "no another writer has begun" {
		t.Errorf("got %q", line)
	}
	if got := say(t, second, begun, "sync 2"); got != "stored 2" {
		t.Fatalf("got %q", got)
	}
	if got := x.lines(); len(got) != 2 {
		t.Errorf("the record has %q", got)
	}
}

func TestARecordIsAddedTo(t *testing.T) {
	name := filepath.Join(t.TempDir(), "record")
	if err := os.WriteFile(name, []byte(record("1 "+begun)+"2 intent 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := newSite(t, name, 1<<20)
	if _, err := NewListener(ListenerConfig{Token: testToken, Record: name, MaxRecord: 1 << 20}); err == nil || !strings.Contains(err.Error(), "another listener has it") {
		t.Errorf("a second listener got %v", err)
	}
	if got := say(t, x.client(modeWrite), begun, "sync 1"); got != "stored 1" {
		t.Fatalf("got %q", got)
	}
	if got, want := x.lines(), []string{recordHeader, begun, begun}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
	if _, err := NewListener(ListenerConfig{Token: "short", Record: name}); err == nil {
		t.Error("a short token is taken")
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewListener(ListenerConfig{Token: testToken, Record: bad}); err == nil || !strings.HasPrefix(err.Error(), bad+":1:1: ") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(bad); string(b) != "something else\n" {
		t.Errorf("the file was changed to %q", b)
	}
}
