package layer

import (
	"errors"
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

// onBothSides runs a script on emulate as the client makes it and as the server
// does.
func onBothSides(t *testing.T, text string) {
	t.Helper()
	newScript(t, flushOnly, made(Emulate, ClientSide)).run(text)
	newScript(t, flushOnly, half("emulate")).run(text)
}

func TestEmulateWritesThenFlushes(t *testing.T) {
	onBothSides(t, `
write a fua conn=3
	device 1: write 4096+4096 stamp=1 conn=3 txn=1
at 10us
complete 1
	device 2: flush 0+0 stamp=0 conn=3 txn=1
at 30us
complete 2
	a: OK
`)
}

func TestEmulateFlushesForEachRequest(t *testing.T) {
	onBothSides(t, `
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
trim b fua
	device 2: trim 8192+4096 stamp=2 conn=0 txn=2
zero c fua
	device 3: write_zeroes 12288+4096 stamp=3 conn=0 txn=3
complete 2
	device 4: flush 0+0 stamp=0 conn=0 txn=2
complete 1
	device 5: flush 0+0 stamp=0 conn=0 txn=1
complete 3
	device 6: flush 0+0 stamp=0 conn=0 txn=3
complete 5
	a: OK
complete 4
	b: OK
complete 6
	c: OK
`)
}

func TestEmulateForwardsAllElse(t *testing.T) {
	onBothSides(t, `
write a
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
flush b
	device 2: flush 0+0 stamp=0 conn=0 txn=2
read c fua
	device 3: read fua 12288+4096 stamp=0 conn=0 txn=3
complete 3
	c: OK
complete 2
	b: OK
complete 1
	a: OK
`)
}

func TestEmulateDoesNotFlushAFailedWrite(t *testing.T) {
	onBothSides(t, `
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
fail 1
	a: EIO
`)
}

func TestEmulateTheFlushsErrorIsTheWrites(t *testing.T) {
	onBothSides(t, `
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
complete 1
	device 2: flush 0+0 stamp=0 conn=0 txn=1
fail 2
	a: EIO
`)
}

func TestDepthHoldsBackOnOneConnectionOnly(t *testing.T) {
	wrap := func(d devices.Device, l *sim.Loop) devices.Device {
		return Depth(half("emulate")(d, l), l, ServerSide, 2)
	}
	newScript(t, flushOnly, wrap).run(`
write a fua conn=1
	device 1: write 4096+4096 stamp=1 conn=1 txn=1
read b conn=1
	device 2: read 8192+4096 stamp=0 conn=1 txn=2
read c conn=1
write d conn=2
	device 3: write 16384+4096 stamp=4 conn=2 txn=4
at 5us
complete 1
	device 4: flush 0+0 stamp=0 conn=1 txn=1
at 7us
complete 4
	device 5: read 12288+4096 stamp=0 conn=1 txn=3
	a: OK
at 9us
complete 2
	b: OK
complete 5
	c: OK
complete 3
	d: OK
`)
}

func TestDepthChargesTheWaitAndForgetsIdleConnections(t *testing.T) {
	loop := sim.NewLoop()
	f := &fake{loop: loop, info: flushOnly, say: func(string, ...any) {}}
	d := Depth(f, loop, ServerSide, 1)
	var end collector
	a, b := durableWrite(&end), durableWrite(&end)
	d.Submit(a)
	d.Submit(b)
	loop.Run(10)
	f.complete(1, devices.OK)
	loop.Run(25)
	f.complete(2, devices.OK)
	want := devices.Stages{}
	want[devices.ServerQueue], want[devices.CacheStage] = 10, 15
	if b.Stages != want || len(end) != 2 {
		t.Errorf("%d ended, stages %v, want %v", len(end), b.Stages, want)
	}
	if n := len(d.(*depth).conns); n != 0 {
		t.Errorf("%d connections are remembered", n)
	}
}

func TestTimeBeforeALayerIsChargedToItsQueue(t *testing.T) {
	for stage, wrap := range map[devices.Stage]func(devices.Device, *sim.Loop) devices.Device{
		devices.ClientQueue: made(Emulate, ClientSide),
		devices.ServerQueue: half("emulate"),
	} {
		loop := sim.NewLoop()
		f := &fake{loop: loop, info: flushOnly, say: func(string, ...any) {}}
		e := wrap(f, loop)
		var end collector
		r := durableWrite(&end)
		r.Begin(0)
		loop.Run(7)
		e.Submit(r)
		loop.Run(10)
		f.complete(1, devices.OK)
		loop.Run(30)
		f.complete(2, devices.OK)
		want := devices.Stages{}
		want[stage], want[devices.CacheStage] = 7, 23
		if r.Stages != want {
			t.Errorf("got %v, want %v", r.Stages, want)
		}
	}
}

func TestNoneRefusesFUA(t *testing.T) {
	newScript(t, withFUA, half("none")).run(`
write a fua
at 0s
	a: EINVAL
write b
	device 1: write 8192+4096 stamp=2 conn=0 txn=2
flush c
	device 2: flush 0+0 stamp=0 conn=0 txn=3
complete 1
	b: OK
complete 2
	c: OK
`)
}

func TestDiscardDropsFUAAndFlush(t *testing.T) {
	client := func(d devices.Device, l *sim.Loop) devices.Device { return Discard(d, l, ClientSide) }
	for _, wrap := range []func(devices.Device, *sim.Loop) devices.Device{client, half("discard")} {
		newScript(t, flushOnly, wrap).run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
flush b
at 3us
	b: OK
fail 1
	a: EIO
`)
	}
}

func TestForceMakesEveryWriteDurable(t *testing.T) {
	newScript(t, withFUA, half("force")).run(`
write a
	device 1: write fua 4096+4096 stamp=1 conn=0 txn=1
write b fua
	device 2: write fua 8192+4096 stamp=2 conn=0 txn=2
trim c
	device 3: trim fua 12288+4096 stamp=3 conn=0 txn=3
flush d
read e
	device 4: read 20480+4096 stamp=0 conn=0 txn=5
at 2us
	d: OK
complete 1
	a: OK
complete 2
	b: OK
fail 3
	c: EIO
complete 4
	e: OK
`)
}

func TestDelayKeepsTheOrder(t *testing.T) {
	wrap := func(d devices.Device, l *sim.Loop) devices.Device { return Delay(d, l, ServerSide, 10e3) }
	newScript(t, withFUA, wrap).run(`
write a fua
flush b
at 10us
	device 1: write fua 4096+4096 stamp=1 conn=0 txn=1
	device 2: flush 0+0 stamp=0 conn=0 txn=2
at 15us
complete 2
	b: OK
complete 1
	a: OK
`)
}

func TestAdvertiseOverridesWhatIsSaidAndNothingElse(t *testing.T) {
	f := &fake{info: withFUA}
	cases := []struct {
		text  string
		flush bool
		fua   devices.FUASupport
	}{
		{"", false, devices.FUANone},
		{"flush", true, devices.FUANone},
		{"fua", false, devices.FUANative},
		{"flush, fua", true, devices.FUANative},
	}
	for _, c := range cases {
		a, err := ParseAdvertised(c.text)
		if err != nil {
			t.Fatal(err)
		}
		want := withFUA
		want.CanFlush, want.FUA = c.flush, c.fua
		if got := Advertise(f, a).Info(); got != want {
			t.Errorf("advertise %q: got %+v, want %+v", c.text, got, want)
		}
	}
	if _, err := ParseAdvertised("flush,trim"); err == nil {
		t.Error("advertise flush,trim: no error")
	}
}

func TestStrategiesAdvertiseWhatTheTableStates(t *testing.T) {
	cases := []struct {
		name           string
		server, client devices.FUASupport // over a device with FUA
		plain          string             // why not over a device without FUA
		bare           string             // why not over a device without FLUSH and FUA
	}{
		{"native", devices.FUANative, devices.FUANative, "device has no FUA", "device has no FUA"},
		{"emulate", devices.FUAEmulate, devices.FUAEmulate, "", "device has no FLUSH"},
		{"emulate-grouped", devices.FUAEmulate, devices.FUAEmulate, "", "device has no FLUSH"},
		{"none", devices.FUANone, devices.FUAEmulate, "", "device has no FLUSH"},
		{"none-grouped", devices.FUANone, devices.FUAEmulate, "", "device has no FLUSH"},
		{"none-unsafe", devices.FUANone, devices.FUANative, "", "device has no FLUSH"},
		{"force", devices.FUANative, devices.FUANative, "device has no FUA", "device has no FUA"},
		{"discard", devices.FUANative, devices.FUANative, "", ""},
		{"pass", devices.FUANative, devices.FUANative, "", ""},
	}
	if len(cases) != len(Strategies()) {
		t.Fatalf("%d strategies, %d cases", len(Strategies()), len(cases))
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if Strategies()[i].Name != c.name {
				t.Errorf("strategy %d is %s", i, Strategies()[i].Name)
			}
			o := Options{Loop: sim.NewLoop(), Depth: NbdkitDepth}
			server, client := stack(t, c.name, withFUA, o)
			checkInfo(t, "server", server.Info(), c.server)
			checkInfo(t, "client", client.Info(), c.client)
			checkUnsupported(t, c.name, devices.Info{CanFlush: true}, c.plain)
			checkUnsupported(t, c.name, devices.Info{}, c.bare)
		})
	}
}

func stack(t *testing.T, name string, info devices.Info, o Options) (server, client devices.Device) {
	t.Helper()
	s, ok := Lookup(name)
	if !ok {
		t.Fatalf("no strategy %s", name)
	}
	server, err := s.Server(&fake{info: info}, o)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = s.Client(server, o); err != nil {
		t.Fatal(err)
	}
	return server, client
}

func checkInfo(t *testing.T, side string, got devices.Info, fua devices.FUASupport) {
	t.Helper()
	want := withFUA
	want.FUA = fua
	if got != want {
		t.Errorf("%s: got %+v, want %+v", side, got, want)
	}
}

func checkUnsupported(t *testing.T, name string, info devices.Info, reason string) {
	t.Helper()
	s, _ := Lookup(name)
	d, err := s.Server(&fake{info: info}, Options{Loop: sim.NewLoop()})
	if reason == "" {
		if err != nil {
			t.Errorf("%+v: %v", info, err)
		}
		return
	}
	if err == nil || err.Error() != reason || !errors.Is(err, ErrUnsupported) || d != nil {
		t.Errorf("%+v: got device %v, error %v; want %q", info, d, err, reason)
	}
}

func TestAClientThatSendsFUANeedsItAdvertised(t *testing.T) {
	for _, name := range []string{"native", "emulate", "emulate-grouped", "force", "discard"} {
		s, _ := Lookup(name)
		if _, err := s.Client(&fake{info: flushOnly}, Options{Loop: sim.NewLoop()}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestUnknownStrategy(t *testing.T) {
	if _, ok := Lookup("nonesuch"); ok {
		t.Error("found")
	}
}

func TestTimeInALayerIsChargedToItsSide(t *testing.T) {
	for side, stage := range map[Side]devices.Stage{ServerSide: devices.ServerQueue, ClientSide: devices.ClientQueue} {
		loop := sim.NewLoop()
		f := &fake{loop: loop, info: flushOnly, say: func(string, ...any) {}}
		g := made(EmulateGrouped, side)(f, loop)
		var end collector
		a, b := durableWrite(&end), durableWrite(&end)
		g.Submit(a)
		g.Submit(b)
		loop.Run(10)
		f.complete(1, devices.OK) // a; its flush is command 3
		loop.Run(15)
		f.complete(2, devices.OK) // b waits for the next flush
		loop.Run(40)
		f.complete(3, devices.OK)
		loop.Run(70)
		f.complete(4, devices.OK)
		want := devices.Stages{}
		want[devices.CacheStage], want[stage] = 15+30, 25
		if b.Stages != want {
			t.Errorf("side %d: got %v, want %v", side, b.Stages, want)
		}
		if len(end) != 2 {
			t.Errorf("side %d: %d requests ended", side, len(end))
		}
	}
}

type collector []*devices.Request

func (c *collector) Done(r *devices.Request) { *c = append(*c, r) }

func durableWrite(c devices.Completer) *devices.Request {
	return &devices.Request{Op: devices.OpWrite, Flags: devices.FUA, Length: 4096, Completer: c}
}

// A device that emulates FUA takes the flag itself, with or without FLUSH to offer.
func TestPassLeavesEmulatedFUAToTheDevice(t *testing.T) {
	for _, flush := range []bool{false, true} {
		info := withFUA
		info.FUA, info.CanFlush = devices.FUAEmulate, flush
		newScript(t, info, half("pass")).run(`
write a fua
	device 1: write fua 4096+4096 stamp=1 conn=0 txn=1
complete 1
	a: OK
`)
	}
}
