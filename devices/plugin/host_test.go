package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/sim"
)

// far is a bound for what ends by itself.
const far = 20 * time.Second

// site runs a plugin in real time.
type site struct {
	t    testing.TB
	real *sim.Real
	host *Host

	mu    sync.Mutex
	log   []string
	lines []string
}

func newSite(t *testing.T, p Plugin, o Options) *site { return newSiteOf(t, p, o) }

func newSiteOf(t testing.TB, p Plugin, o Options) *site {
	t.Helper()
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, real: real}
	o.Loop, o.Real = real.Loop(), real
	o.Report = func(line string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines = append(s.lines, line)
	}
	p.Name = "test"
	s.host = NewHost(p, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), far)
		defer cancel()
		if err := errors.Join(s.host.Close(ctx), real.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *site) noted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, " ")
}

func (s *site) reported() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func (s *site) open(id uint32) *Handle {
	s.t.Helper()
	d, err := s.host.Open(context.Background(), ConnInfo{ID: id}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *site) close(d *Handle) { s.real.Do(d.Close) }

// waiter is a completer that somebody waits for.
type waiter chan *devices.Request

func (w waiter) Done(r *devices.Request) { w <- r }

// start submits a request.
func (s *site) start(d *Handle, op devices.Op, f devices.Flags) waiter {
	w := make(waiter, 1)
	r := &devices.Request{Op: op, Flags: f, Length: 4096, Completer: w}
	if r.Bytes = make([]byte, 4096); op == devices.OpFlush {
		r.Length, r.Bytes = 0, nil
	}
	s.real.Do(func() { d.Submit(r) })
	return w
}

// end waits for the answer.
func (s *site) end(w waiter) *devices.Request {
	s.t.Helper()
	select {
	case r := <-w:
		return r
	case <-time.After(far):
		s.t.Fatalf("no answer; %s", s.noted())
	}
	return nil
}

func (s *site) ask(d *Handle, op devices.Op, f devices.Flags) devices.Errno {
	s.t.Helper()
	return s.end(s.start(d, op, f)).Errno
}

// until waits until a condition holds.
func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(far); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%s: not in time; %s; %s", what, s.noted(), s.reported())
		}
	}
}

// opens is a plugin of one kind of connection.
func opens(thread ThreadModel, conn func(c ConnInfo) *Conn) Plugin {
	return Plugin{Thread: thread, Open: func(_ context.Context, c ConnInfo) (*Conn, error) { return conn(c), nil }}
}

// plain is a Conn that does nothing.
func plain() *Conn {
	return &Conn{
		Size:   func(context.Context) (uint64, error) { return 1 << 20, nil },
		PRead:  func(context.Context, []byte, uint64) error { return nil },
		PWrite: func(context.Context, []byte, uint64, Flags) error { return nil },
	}
}

// noting is a Conn of which all functions say that they are called.
func (s *site) noting(answer fua.Answer) *Conn {
	yes := func(name string) func(context.Context) (bool, error) {
		return func(context.Context) (bool, error) { s.note("%s", name); return true, nil }
	}
	return &Conn{
		Size:  func(context.Context) (uint64, error) { s.note("get_size"); return 1 << 20, nil },
		PRead: func(context.Context, []byte, uint64) error { s.note("pread"); return nil },
		PWrite: func(_ context.Context, _ []byte, _ uint64, f Flags) error {
			s.note("pwrite(%d)", f)
			return nil
		},
		PZero: func(_ context.Context, _, _ uint64, f Flags) error { s.note("zero(%d)", f); return nil },
		PTrim: func(_ context.Context, _, _ uint64, f Flags) error { s.note("trim(%d)", f); return nil },
		Cache: func(context.Context, uint64, uint64) error { s.note("cache"); return nil },
		Flush: func(context.Context) error { s.note("flush"); return nil },
		Close: func() { s.note("close") },

		CanWrite: yes("can_write"), CanFlush: yes("can_flush"), CanTrim: yes("can_trim"), CanZero: yes("can_zero"),
		CanFastZero: yes("can_fast_zero"), CanCache: yes("can_cache"), CanMultiConn: yes("can_multi_conn"),
		CanFUA: func(context.Context) (fua.Answer, error) { s.note("can_fua"); return answer, nil },
	}
}

// The order is nbdkit's (server/protocol-handshake.c, protocol_common_open).
func TestAPluginIsAskedOnceInNbdkitsOrder(t *testing.T) {
	const (
		writes = "get_size can_write can_zero can_fast_zero can_trim can_fua can_flush can_multi_conn can_cache pwrite(0) flush pwrite(0) flush zero(2) trim(0) cache pread close"
		reads  = "get_size can_flush can_multi_conn can_cache flush cache pread close"
	)
	for _, test := range []struct {
		readOnly, inline bool
		want             string
	}{{false, false, writes}, {false, true, writes}, {true, false, reads}} {
		var s *site
		p := opens(Parallel, func(c ConnInfo) *Conn { return s.noting(fua.Emulate) })
		p.NonBlocking = test.inline
		s = newSite(t, p, Options{ReadOnly: test.readOnly})
		d := s.open(1)
		for _, r := range []struct {
			op devices.Op
			f  devices.Flags
		}{{devices.OpWrite, 0}, {devices.OpFlush, 0}, {devices.OpWrite, devices.FUA}, {devices.OpWriteZeroes, 0}, {devices.OpTrim, 0}, {devices.OpCache, 0}, {devices.OpRead, 0}} {
			if test.readOnly && r.op.Modifies() {
				continue // the server refuses it
			}
			if e := s.ask(d, r.op, r.f); e != devices.OK {
				t.Errorf("%v: %v", r.op, e)
			}
		}
		s.close(d)
		s.until("close", func() bool { return strings.HasSuffix(s.noted(), "close") })
		if got := s.noted(); got != test.want {
			t.Errorf("read-only %v, inline %v:\n%s, want\n%s", test.readOnly, test.inline, got, test.want)
		}
	}
}

func TestThreadModels(t *testing.T) {
	for _, test := range []struct {
		model            ThreadModel
		one, all, shared int // calls at once: of a connection, of two, and connections
	}{{SerializeConnections, 1, 1, 1}, {SerializeAllRequests, 1, 1, 2}, {SerializeRequests, 1, 2, 2}, {Parallel, MaxCalls, 2 * MaxCalls, 2}} {
		var running, most atomic.Int64
		gate := make(chan bool)
		s := newSite(t, opens(test.model, func(ConnInfo) *Conn {
			c := plain()
			c.PWrite = func(context.Context, []byte, uint64, Flags) error {
				n := running.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				<-gate
				running.Add(-1)
				return nil
			}
			return c
		}), Options{})
		var conns []*Handle
		for id := range uint32(test.shared) {
			conns = append(conns, s.open(id))
		}
		var waits []waiter
		for _, d := range conns {
			for range MaxCalls + 4 {
				waits = append(waits, s.start(d, devices.OpWrite, 0))
			}
		}
		s.until("calls", func() bool { return running.Load() == int64(test.all) })
		close(gate)
		for _, w := range waits {
			s.end(w)
		}
		if got := most.Load(); got != int64(test.all) {
			t.Errorf("model %d: %d calls at once, want %d", test.model, got, test.all)
		}
		for _, d := range conns {
			s.close(d)
		}
	}
}

func TestSerializeConnectionsOpensOneAfterAnother(t *testing.T) {
	var s *site
	s = newSite(t, opens(SerializeConnections, func(c ConnInfo) *Conn {
		s.note("open%d", c.ID)
		n := plain()
		n.Close = func() { s.note("close%d", c.ID) }
		return n
	}), Options{})
	first := s.open(1)
	if first.Info().MultiConn {
		t.Error("MULTI_CONN")
	}
	opened := make(chan *Handle)
	go func() {
		d, _ := s.host.Open(context.Background(), ConnInfo{ID: 2}, nil)
		opened <- d
	}()
	s.until("a second that waits", func() (ok bool) {
		s.real.Do(func() { ok = len(s.host.waiting) == 1 })
		return ok
	})
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.host.Open(gone, ConnInfo{ID: 3}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a third that does not wait: %v", err)
	}
	s.close(first)
	s.close(<-opened)
	s.until("all closed", func() bool { return s.noted() == "open1 close1 open2 close2" })
}

// A slow negotiation waits for what another connection does after it has begun.
func TestASlowOpenHoldsUpNobody(t *testing.T) {
	other := make(chan bool)
	s := newSite(t, opens(Parallel, func(c ConnInfo) *Conn {
		if c.ID == 1 {
			<-other
		}
		return plain()
	}), Options{})
	slow := make(chan *Handle)
	go func() {
		d, _ := s.host.Open(context.Background(), ConnInfo{ID: 1}, nil)
		slow <- d
	}()
	s.until("the slow one", func() (ok bool) {
		s.real.Do(func() { ok = len(s.host.handles) == 1 })
		return ok
	})
	d := s.open(2)
	if e := s.ask(d, devices.OpWrite, 0); e != devices.OK {
		t.Error(e)
	}
	close(other)
	s.close(<-slow)
	s.close(d)
}

func TestRefusals(t *testing.T) {
	fails := func(context.Context) (bool, error) { return false, errors.New("no \x1b[31mmedium") }
	for want, change := range map[string]func(*Conn){
		"can_flush: no \x1b[31mmedium":   func(c *Conn) { c.CanFlush = fails },
		"can_write: no \x1b[31mmedium":   func(c *Conn) { c.CanWrite = fails },
		"the plugin lacks Size or PRead": func(c *Conn) { c.PRead = nil },
		"get_size: expected at most 2^63-1 bytes, got 18446744073709551615": func(c *Conn) {
			c.Size = func(context.Context) (uint64, error) { return 1<<64 - 1, nil }
		},
		"the plugin panicked in can_trim: boom":                      func(c *Conn) { c.CanTrim = func(context.Context) (bool, error) { panic("boom") } },
		"can_fua: expected fua.No, fua.Emulate or fua.Native, got 0": func(c *Conn) { c.CanFUA = func(context.Context) (fua.Answer, error) { return fua.Absent, nil } },
		"fuamode native requires a backend that can do FUA":          func(c *Conn) {},
	} {
		closed := make(chan bool, 2)
		s := newSite(t, opens(Parallel, func(ConnInfo) *Conn {
			c := plain()
			c.Close = func() { closed <- true }
			change(c)
			return c
		}), Options{Mode: fua.ModeNative})
		_, err := s.host.Open(context.Background(), ConnInfo{ID: 7}, nil)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		<-closed
		if r := s.reported(); !strings.Contains(r, "connection 7 is refused") || strings.Contains(r, "\x1b") {
			t.Errorf("reported %q", r)
		}
	}
}

func TestAPanicEndsOnlyItsConnection(t *testing.T) {
	var failed atomic.Int64
	s := newSite(t, opens(Parallel, func(c ConnInfo) *Conn {
		n := plain()
		n.PRead = func(context.Context, []byte, uint64) error {
			if c.ID == 1 {
				panic("bad \x1b[2J plugin")
			}
			return nil
		}
		return n
	}), Options{})
	bad, err := s.host.Open(context.Background(), ConnInfo{ID: 1}, func() { failed.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	good := s.open(2)
	if e := s.ask(bad, devices.OpRead, 0); e != devices.EIO || failed.Load() != 1 {
		t.Errorf("%v, failed %d times", e, failed.Load())
	}
	if e := s.ask(bad, devices.OpWrite, 0); e != devices.EIO {
		t.Errorf("after it: %v", e)
	}
	if n := s.host.Calls(); n[fua.CallWrite] != 0 {
		t.Error("the plugin was called after it had panicked")
	}
	if e := s.ask(good, devices.OpRead, 0); e != devices.OK {
		t.Errorf("another connection: %v", e)
	}
	if r := s.reported(); !strings.Contains(r, `connection 1 ends: the plugin panicked in read: bad \x1b[2J plugin`) || strings.Contains(r, "\x1b") {
		t.Errorf("reported %q", r)
	}
	s.close(bad)
	s.close(good)
}

// A call that does not return keeps its worker and its buffer; with no worker left
// requests fail at once. All of it ends when the calls return.
func TestCallsThatDoNotReturn(t *testing.T) {
	for _, model := range []ThreadModel{SerializeConnections, SerializeAllRequests, SerializeRequests, Parallel} {
		gate, closed := make(chan bool), make(chan bool)
		var canceled atomic.Int64
		s := newSite(t, opens(model, func(ConnInfo) *Conn {
			c := plain()
			c.PWrite = func(ctx context.Context, b []byte, _ uint64, _ Flags) error {
				<-ctx.Done()
				canceled.Add(1)
				<-gate
				b[0] = 7
				return nil
			}
			c.Close = func() { close(closed) }
			return c
		}), Options{Timeout: 20 * time.Millisecond})
		d := s.open(1)
		n := 1
		if model == Parallel {
			n = MaxCalls
		}
		var waits []waiter
		for range n + 3 {
			waits = append(waits, s.start(d, devices.OpWrite, 0))
		}
		var lent []*devices.Request
		for _, w := range waits {
			r := s.end(w)
			if r.Errno != devices.EIO {
				t.Errorf("model %d: %v", model, r.Errno)
			}
			if r.Loan != nil {
				lent = append(lent, r)
			}
		}
		if len(lent) != n {
			t.Errorf("model %d: %d buffers are kept, want %d", model, len(lent), n)
		}
		if e := s.ask(d, devices.OpRead, 0); e != devices.EIO {
			t.Errorf("model %d: with no worker left: %v", model, e)
		}
		s.close(d)
		select {
		case <-closed:
			t.Error("closed before its calls have returned")
		default:
		}
		s.until("canceled", func() bool { return canceled.Load() == int64(n) })
		close(gate)
		<-closed
		if lent[0].Bytes[0] != 7 {
			t.Error("the call did not have its buffer")
		}
		if r := s.reported(); !strings.Contains(r, "has not returned within 20ms") {
			t.Errorf("reported %q", r)
		}
	}
}

func TestAWorkerThatReturnsIsUsedAgain(t *testing.T) {
	gate := make(chan bool, 1)
	var calls atomic.Int64
	s := newSite(t, opens(SerializeRequests, func(ConnInfo) *Conn {
		c := plain()
		c.PWrite = func(context.Context, []byte, uint64, Flags) error {
			if calls.Add(1) == 1 {
				<-gate
			}
			return nil
		}
		c.Flush = func(ctx context.Context) error { return ctx.Err() }
		return c
	}), Options{Timeout: 20 * time.Millisecond})
	d := s.open(1)
	if e := s.ask(d, devices.OpWrite, devices.FUA); e != devices.EIO {
		t.Errorf("%v", e)
	}
	gate <- true
	s.until("the worker", func() bool { return !d.pool.isLost() })
	if e := s.ask(d, devices.OpWrite, devices.FUA); e != devices.OK {
		t.Errorf("after it has returned: %v", e)
	}
	if n := s.host.Calls(); n[fua.CallFlush] != 1 {
		t.Errorf("%d flushes: one that nobody waits for is not to be made", n[fua.CallFlush])
	}
	s.close(d)
}

func TestAnOpenThatIsLateIsClosed(t *testing.T) {
	gate, closed := make(chan bool), make(chan bool)
	s := newSite(t, opens(Parallel, func(ConnInfo) *Conn {
		<-gate
		c := plain()
		c.Close = func() { close(closed) }
		return c
	}), Options{Timeout: 20 * time.Millisecond})
	if _, err := s.host.Open(context.Background(), ConnInfo{}, nil); err == nil || err.Error() != "the plugin test has not answered within 20ms" {
		t.Errorf("%v", err)
	}
	close(gate)
	<-closed
}

func TestErrorsOfCalls(t *testing.T) {
	s := newSite(t, opens(Parallel, func(ConnInfo) *Conn {
		c := plain()
		c.PWrite = func(context.Context, []byte, uint64, Flags) error { return fmt.Errorf("quota: %w", devices.ENOSPC) }
		c.PRead = func(context.Context, []byte, uint64) error { return errors.New("head crash\r\n") }
		c.PZero = func(context.Context, uint64, uint64, Flags) error { return devices.ENOTSUP }
		c.PTrim = func(context.Context, uint64, uint64, Flags) error { return devices.ENOTSUP }
		return c
	}), Options{})
	d := s.open(1)
	for op, want := range map[devices.Op]devices.Errno{devices.OpWrite: devices.ENOSPC, devices.OpRead: devices.EIO, devices.OpWriteZeroes: devices.ENOSPC, devices.OpTrim: devices.EINVAL} {
		if e := s.ask(d, op, 0); e != want {
			t.Errorf("%v: %v, want %v", op, e, want)
		}
	}
	if r := s.reported(); !strings.Contains(r, `plugin test: connection 1: pread of 4096 bytes at 0: head crash\r\n`) {
		t.Errorf("reported %q", r)
	}
	s.close(d)
}

func TestReportsAreBounded(t *testing.T) {
	s := newSite(t, opens(Parallel, func(ConnInfo) *Conn {
		c := plain()
		c.PRead = func(context.Context, []byte, uint64) error { return errors.New(strings.Repeat("x", 1<<16)) }
		return c
	}), Options{})
	d := s.open(1)
	for range 5 * maxReports {
		s.ask(d, devices.OpRead, 0)
	}
	if r := s.reported(); len(r) > 2*maxReports*maxReport || strings.Count(r, "\n") >= maxReports {
		t.Errorf("%d bytes in %d lines", len(r), strings.Count(r, "\n")+1)
	}
	s.close(d)
}

// In virtual time calls run on the loop and take none of it.
func TestVirtualTime(t *testing.T) {
	loop := sim.NewLoop()
	var calls []string
	c := plain()
	c.PWrite = func(_ context.Context, b []byte, off uint64, _ Flags) error {
		calls = append(calls, fmt.Sprintf("pwrite %d", off))
		return nil
	}
	c.Flush = func(context.Context) error { calls = append(calls, "flush"); return nil }
	h := NewHost(opens(Parallel, func(ConnInfo) *Conn { return c }), Options{Loop: loop})
	d, err := h.Open(context.Background(), ConnInfo{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := make(waiter, 2)
	for i := range uint64(2) {
		d.Submit(&devices.Request{Op: devices.OpWrite, Flags: devices.FUA, Offset: i * 512, Length: 512, Payload: devices.Payload{Bytes: make([]byte, 512)}, Completer: w})
	}
	if len(w) > 0 {
		t.Error("completed within Submit")
	}
	loop.Run(sim.Never)
	if got := strings.Join(calls, ","); got != "pwrite 0,flush,pwrite 512,flush" || len(w) != 2 || loop.Now() != 0 {
		t.Errorf("%s, %d done at %v", got, len(w), loop.Now())
	}
}

func TestRegister(t *testing.T) {
	var got url.Values
	Register("a test", func(args url.Values) (Plugin, error) {
		got = args
		return opens(Parallel, func(ConnInfo) *Conn { return plain() }), CheckKeys(args, "path", "n")
	})
	if p, err := Lookup("go:a test?path=/x+y%20z%26&n=1"); err != nil || p.Name != "a test" || got.Get("path") != "/x+y z&" {
		t.Errorf("%v, %v", got, err)
	}
	for device, want := range map[string]string{
		"go:nobody":         `go:nobody: no plugin is registered as "nobody": expected one of a test`,
		"go:a test?x=1":     `go:a test?x=1: unknown key "x": expected one of path, n`,
		"go:a test?n=1&n=2": `go:a test?n=1&n=2: n is given 2 times, expected once`,
		"go:a test?n":       `go:a test?n: expected key=value, got "n"`,
		"go:a test?n=%":     `go:a test?n=%: n: invalid URL escape "%"`,
	} {
		if _, err := Lookup(device); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, name := range []string{"a test", "", "x?"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Register(%q) did not panic", name)
				}
			}()
			Register(name, func(url.Values) (Plugin, error) { return Plugin{}, nil })
		}()
	}
	if !slices.Contains(Registered(), "a test") {
		t.Error(Registered())
	}
}
