package stack

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/layer"
	"nbdbench/sim"
)

// steady is a device of which each command takes a fixed time, one after another.
type steady struct {
	loop         *sim.Loop
	write, flush sim.Duration
	info         devices.Info
	n            int
}

func (s *steady) Info() devices.Info { return s.info }

func (s *steady) Submit(r *devices.Request) {
	s.n++
	d := s.write
	if r.Op == devices.OpFlush {
		d = s.flush
	}
	r.Timer.Owner = r
	s.loop.After(&r.Timer, d, s)
}

func (s *steady) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	r.Charge(devices.MediaStage, s.loop.Now())
	r.Finish(devices.OK)
}

// noted is a completer that keeps when a request was done, and with what.
type noted struct {
	loop  *sim.Loop
	at    sim.Time
	errno devices.Errno
	n     int
}

func (d *noted) Done(r *devices.Request) { d.at, d.errno, d.n = d.loop.Now(), r.Errno, d.n+1 }

var full = devices.Info{Size: 1 << 20, LogicalBlock: 512, CanFlush: true, CanTrim: true, CanZero: true, FUA: devices.FUANative, MultiConn: true}

func named(t testing.TB, name string) layer.Strategy {
	t.Helper()
	s, ok := layer.Lookup(name)
	if !ok {
		t.Fatalf("no strategy %s", name)
	}
	return s
}

func hops(t testing.TB, texts string) (out []Hop) {
	t.Helper()
	for _, s := range strings.Fields(texts) {
		h, err := ParseHop(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	if err := CheckHops(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// durable is one durable write of 4 KiB, ready to be sent.
func durable(done devices.Completer) *devices.Request {
	r := &devices.Request{Op: devices.OpWrite, Flags: devices.FUA, Length: 4096, Completer: done}
	r.Stamp = 1
	r.Begin(0)
	return r
}

// Links of 1 GB/s: a byte takes 1 ns. A request has 28 bytes, a WRITE 4096 more, and a
// simple reply 16. The device takes 100 us for a write and 300 us for a FLUSH.
func TestAChainCostsItsLinksAndItsDevice(t *testing.T) {
	const us, trip, flush = sim.Duration(1000), 28 + 4096 + 16, 28 + 16
	for _, c := range []struct {
		name, hops, strategy string
		links                []sim.Duration // of each link, the server's last
		device               sim.Duration
	}{
		{"FUA goes all the way", "20us,1GB/s:native 30us,1GB/s:native", "native", []sim.Duration{40*us + trip, 60*us + trip, 10*us + trip}, 100 * us},
		{"the first proxy flushes", "20us,1GB/s:emulate 30us,1GB/s:native", "native", []sim.Duration{40*us + trip, 120*us + trip + flush, 20*us + trip + flush}, 400 * us},
		{"the second proxy flushes", "20us,1GB/s:native 30us,1GB/s:emulate", "native", []sim.Duration{40*us + trip, 60*us + trip, 20*us + trip + flush}, 400 * us},
		{"the server flushes", "20us,1GB/s:pass 30us,1GB/s:native", "emulate", []sim.Duration{40*us + trip, 60*us + trip, 10*us + trip}, 400 * us},
		{"the client flushes", "20us,1GB/s:none 30us,1GB/s:native", "native", []sim.Duration{80*us + trip + flush, 120*us + trip + flush, 20*us + trip + flush}, 400 * us},
		{"the first proxy flushes for the second", "20us,1GB/s:pass 30us,1GB/s:none", "native", []sim.Duration{40*us + trip, 120*us + trip + flush, 20*us + trip + flush}, 400 * us},
		{"the second proxy flushes for the server", "20us,1GB/s:native 30us,1GB/s:pass", "none", []sim.Duration{40*us + trip, 60*us + trip, 20*us + trip + flush}, 400 * us},
		{"nobody flushes", "20us,1GB/s:pass 30us,1GB/s:discard", "native", []sim.Duration{40*us + trip, 60*us + trip, 10*us + trip}, 100 * us},
		{"nobody has the first proxy flush", "20us,1GB/s:pass 30us,1GB/s:none-unsafe", "native", []sim.Duration{40*us + trip, 60*us + trip, 10*us + trip}, 100 * us},
		{"every write has FUA after the second proxy", "20us,1GB/s:emulate 30us,1GB/s:force", "native", []sim.Duration{40*us + trip, 120*us + trip + flush, 10*us + trip}, 100 * us},
	} {
		loop := sim.NewLoop()
		link := Link{Latency: 5 * time.Microsecond, Bandwidth: 1e9}
		s, err := Connect(&steady{loop: loop, write: 100 * us, flush: 300 * us, info: full}, Config{
			Loop: loop, Strategy: named(t, c.strategy), Hops: Proxies(hops(t, c.hops)), Connections: 1, Up: link.One(), Down: link.One(),
		})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		done := &noted{loop: loop}
		r := durable(done)
		s.Top.Submit(r)
		loop.Run(sim.Never)
		want := c.device
		for n, d := range c.links {
			want += d
			behind := sim.Duration(0)
			if n+1 < len(c.links) {
				behind = r.Hops()[n+1].Link
			}
			if got := r.Hops()[n].Link - behind; got != d {
				t.Errorf("%s: link %d took %v, want %v", c.name, n, got, d)
			}
		}
		if got := done.at.Sub(0); got != want || done.n != 1 || r.Stages.Total() != want || r.Stages[devices.MediaStage] != c.device {
			t.Errorf("%s: took %v, want %v; charged %v", c.name, got, want, r.Stages)
		}
	}
}

// A proxy that is busy is a wait of its client's, or of its own: here the link to the
// server is so slow that two writes wait for each other there.
func TestWhatWaitsForALinkIsChargedToThatLink(t *testing.T) {
	loop := sim.NewLoop()
	link := Link{Bandwidth: 1e9}
	s, err := Connect(&steady{loop: loop, info: full}, Config{
		Loop: loop, Strategy: named(t, "native"), Hops: Proxies(hops(t, "0s,0:native")), Connections: 1, Up: link.One(), Down: link.One(),
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := durable(&noted{loop: loop}), durable(&noted{loop: loop})
	s.Top.Submit(a)
	s.Top.Submit(b)
	loop.Run(sim.Never)
	const one = 28 + 4096
	if got := b.Hops()[1].Link; got != 2*one+16 {
		t.Errorf("the second write was on the server's link for %v, want %v", got, sim.Duration(2*one+16))
	}
	if got := b.Hops()[0].Link - b.Hops()[1].Link; got != 0 {
		t.Errorf("and on the proxy's for %v, want 0", got)
	}
}

func TestAProxyAdvertisesWhatItHas(t *testing.T) {
	noFUA, nothing := full, full
	noFUA.FUA = devices.FUANone
	nothing.FUA, nothing.CanFlush = devices.FUANone, false
	for _, c := range []struct {
		device         devices.Info
		hops, strategy string
		flush          bool
		fua            devices.FUASupport
		err            string
	}{
		{full, "lan:native unix:native", "native", true, devices.FUANative, ""},
		{full, "lan:none unix:native", "native", true, devices.FUAEmulate, ""}, // the client's own
		{noFUA, "lan:pass unix:pass", "pass", true, devices.FUANone, ""},
		{noFUA, "lan:native unix:emulate", "pass", true, devices.FUANative, ""},
		{noFUA, "lan:native unix:native", "pass", false, 0, "hop 2 (native): what it forwards to is not enough: device has no FUA"},
		{full, "lan:native", "none", false, 0, "hop 1 (native): what it forwards to is not enough: device has no FUA"},
		{nothing, "lan:emulate", "pass", false, 0, "hop 1 (emulate): what it forwards to is not enough: device has no FLUSH"},
		{noFUA, "lan:pass", "native", false, 0, "device has no FUA"},
	} {
		loop := sim.NewLoop()
		s, err := Connect(&steady{loop: loop, info: c.device}, Config{Loop: loop, Strategy: named(t, c.strategy), Hops: Proxies(hops(t, c.hops)), Connections: 1})
		switch {
		case c.err != "":
			if err == nil || err.Error() != c.err || !errors.Is(err, layer.ErrUnsupported) {
				t.Errorf("%s, %s: %v, want %s", c.hops, c.strategy, err, c.err)
			}
		case err != nil:
			t.Errorf("%s, %s: %v", c.hops, c.strategy, err)
		case s.Top.Info().CanFlush != c.flush || s.Top.Info().FUA != c.fua:
			t.Errorf("%s, %s: %+v", c.hops, c.strategy, s.Top.Info())
		}
	}
}

func TestAPathSaysWhoMakesAWriteDurable(t *testing.T) {
	for _, c := range []struct{ hops, strategy, who, sent string }{
		{"lan:native unix:native", "native", "device, that write alone", "write+FUA|write+FUA|write+FUA|write+FUA"},
		{"lan:emulate unix:native", "native", "hop 1: write, then flush", "write+FUA|write, FLUSH|write, FLUSH|write, FLUSH"},
		{"lan:native unix:emulate", "native", "hop 2: write, then flush", "write+FUA|write+FUA|write, FLUSH|write, FLUSH"},
		{"lan:emulate unix:emulate", "emulate", "hop 1: write, then flush", "write+FUA|write, FLUSH|write, FLUSH|write, FLUSH"},
		{"lan:native unix:native", "emulate", "server: write, then flush", "write+FUA|write+FUA|write+FUA|write, FLUSH"},
		{"lan:none unix:native", "native", "client: write, then flush", "write, FLUSH|write, FLUSH|write, FLUSH|write, FLUSH"},
		{"lan:native unix:pass", "none", "hop 2: write, then flush", "write+FUA|write+FUA|write, FLUSH|write, FLUSH"},
		{"lan:emulate unix:discard", "native", "nobody", "write+FUA|write, FLUSH|write|write"},
		{"lan:discard unix:force", "native", "device, every write", "write+FUA|write|write+FUA|write+FUA"},
		{"lan:emulate unix:force", "emulate", "server: write, then flush", "write+FUA|write, FLUSH|write+FUA|write, FLUSH"},
		{"lan:none-unsafe unix:native", "native", "nobody", "write|write|write|write"},
	} {
		p := PathOf(full, named(t, c.strategy), hops(t, c.hops))
		if p.Unsupported != "" || p.WhoDurable() != c.who || strings.Join(p.Sent, "|") != c.sent || p.Durable != (c.who != "nobody") {
			t.Errorf("%s, %s: %+v, %s; want %s: %s", c.hops, c.strategy, p, p.WhoDurable(), c.who, c.sent)
		}
	}
	if p := PathOf(full, named(t, "none"), hops(t, "lan:native")); !strings.HasPrefix(p.Unsupported, "hop 1 (native)") {
		t.Errorf("%+v", p)
	}
}

// A proxy whose connections break fails what is in flight, once, and holds nothing that
// was acknowledged.
func TestABrokenConnectionBehindAProxyFailsWhatIsInFlight(t *testing.T) {
	for broken := range 3 {
		for _, strategy := range []string{"native", "emulate", "none", "emulate-grouped", "force"} {
			loop := sim.NewLoop()
			link := Links()["unix"]
			device := &steady{loop: loop, write: 100, flush: 300, info: full}
			s, err := Connect(device, Config{
				Loop: loop, Strategy: named(t, "native"), Hops: Proxies(hops(t, "lan:pass unix:"+strategy)), Connections: 2, Up: link.One(), Down: link.One(),
			})
			if err != nil {
				t.Fatal(err)
			}
			first, second, third := &noted{loop: loop}, &noted{loop: loop}, &noted{loop: loop}
			s.Top.Submit(durable(first))
			loop.Run(sim.Never)
			s.Top.Submit(durable(second))
			loop.Run(loop.Now().Add(70_000)) // it is on its way
			for _, w := range s.Wires[2*broken : 2*broken+2] {
				w.Cut()
			}
			s.Top.Submit(durable(third))
			loop.Run(sim.Never)
			if first.errno != devices.OK || second.errno != devices.ESHUTDOWN || third.errno != devices.ESHUTDOWN || second.n != 1 || third.n != 1 {
				t.Errorf("%s, link %d: %v, %v (%d times), %v (%d times)", strategy, broken, first.errno, second.errno, second.n, third.errno, third.n)
			}
		}
	}
}

func TestWiresAndLegsAreInTheOrderOfTheChain(t *testing.T) {
	loop := sim.NewLoop()
	s, err := Connect(&steady{loop: loop, info: full}, Config{Loop: loop, Strategy: named(t, "native"), Hops: Proxies(hops(t, "lan:native unix:native")), Connections: 3})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Wires) != 9 || len(s.Legs) != 3 {
		t.Fatalf("%d wires, %d legs", len(s.Wires), len(s.Legs))
	}
	for n, leg := range s.Legs {
		for i, c := range leg {
			if s.Wires[3*n+i].Client != c {
				t.Errorf("leg %d, connection %d is not its wire's", n, i)
			}
		}
	}
	if !slices.Equal(s.Client, s.Legs[0]) {
		t.Error("the client's connections are not the first leg")
	}
}

func TestHopsAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]string{
		"lan:emulate": "lan:emulate", "lan": "lan:pass", ":native": "unix:native", "": "unix:pass", "50us,1GB/s:none": "50µs,1GB/s:none", "5ms,0": "5ms,0:pass",
	} {
		h := []Hop{{}}
		var err error
		if h[0], err = ParseHop(text); err != nil {
			t.Fatal(err)
		}
		if err := CheckHops(h); err != nil || h[0].String() != want {
			t.Errorf("%q: %v, %v; want %s", text, h[0], err, want)
		}
		if again, err := ParseHop(h[0].String()); err != nil || again != h[0] {
			t.Errorf("%q: %v again is %v, %v", text, h[0], again, err)
		}
	}
	for text, want := range map[string]string{
		"foo:native": "expected none, unix, lan, wan", "lan:nativ": "hops[0].strategy: expected one of native", "5ms": "expected none",
	} {
		h, err := ParseHop(text)
		if err == nil {
			err = CheckHops([]Hop{h})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if err := CheckHops(make([]Hop, devices.MaxHops+1)); err == nil || !strings.Contains(err.Error(), "expected at most 8, got 9") {
		t.Errorf("nine proxies: %v", err)
	}
}

// ends submits the same write again as long as there are any left.
type ends struct {
	s    *Stack
	loop *sim.Loop
	left int
}

func (e *ends) Done(r *devices.Request) {
	if e.left--; e.left > 0 {
		r.Begin(e.loop.Now())
		e.s.Top.Submit(r)
	}
}

func TestAChainAllocatesNothingPerRequest(t *testing.T) {
	for _, text := range []string{"lan:native unix:native", "lan:emulate unix:native", "lan:pass unix:none", "lan:emulate-grouped unix:pass"} {
		loop := sim.NewLoop()
		link := Links()["unix"]
		s, err := Connect(&steady{loop: loop, write: 100, flush: 300, info: full}, Config{
			Loop: loop, Strategy: named(t, "native"), Hops: Proxies(hops(t, text)), Connections: 1, Up: link.One(), Down: link.One(),
		})
		if err != nil {
			t.Fatal(err)
		}
		e := &ends{s: s, loop: loop}
		r := durable(e)
		if n := testing.AllocsPerRun(20, func() {
			e.left = 50
			r.Begin(loop.Now())
			s.Top.Submit(r)
			loop.Run(sim.Never)
		}); n != 0 {
			t.Errorf("%s: %v allocations for 50 requests", text, n)
		}
	}
}

func TestTheDrawingMarksWhoMakesAWriteDurable(t *testing.T) {
	chain := hops(t, "lan:emulate unix:native")
	var paths []Path
	for _, s := range []string{"native", "none", "discard"} {
		paths = append(paths, PathOf(full, named(t, s), chain))
	}
	want := `                native        discard
client
  | lan         write+FUA     write+FUA
hop 1, emulate  *
  | unix        write, FLUSH  write, FLUSH
hop 2, native
  | wan         write, FLUSH  write, FLUSH
server
  |             write, FLUSH  write
disk
durable by      hop 1         nobody
none is unsupported: hop 2 (native): what it forwards to is not enough: device has no FUA
`
	if got := DrawPaths("disk", chain, Links()["wan"], paths); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
