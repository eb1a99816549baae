package layer

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

func withPreflush(half func(devices.Device, *sim.Loop, Side) (devices.Device, error)) func(devices.Device, *sim.Loop) devices.Device {
	return func(d devices.Device, loop *sim.Loop) devices.Device {
		if half != nil {
			d = made(half, ClientSide)(d, loop)
		}
		return Preflush(d, loop, ClientSide)
	}
}

func TestPreflushSendsAFlushAndThenTheWriteWithFUA(t *testing.T) {
	newScript(t, withFUA, withPreflush(nil)).run(`
write a preflush fua
	device 1: flush 0+0 stamp=0 conn=0 txn=1
at 1us
complete 1
	device 2: write fua 4096+4096 stamp=1 conn=0 txn=1
at 3us
complete 2
	a: OK
write b preflush
	device 3: flush 0+0 stamp=0 conn=0 txn=2
complete 3
	device 4: write 8192+4096 stamp=2 conn=0 txn=2
complete 4
	b: OK
`)
}

func TestPreflushWithoutFUAOfTheDeviceFlushesTwice(t *testing.T) {
	newScript(t, flushOnly, withPreflush(Emulate)).run(`
write a preflush fua
	device 1: flush 0+0 stamp=0 conn=0 txn=1
complete 1
	device 2: write 4096+4096 stamp=1 conn=0 txn=1
complete 2
	device 3: flush 0+0 stamp=0 conn=0 txn=1
complete 3
	a: OK
`)
}

func TestPreflushThatFailsSendsNoData(t *testing.T) {
	for _, wrap := range []func(devices.Device, *sim.Loop) devices.Device{withPreflush(nil), made(BlkFlush, ClientSide)} {
		newScript(t, flushOnly, wrap).run(`
write a preflush fua
	device 1: flush 0+0 stamp=0 conn=0 txn=1
fail 1
	a: EIO
`)
	}
}

func TestPreflushOfADeviceWithoutFlushIsDropped(t *testing.T) {
	info := withFUA
	info.CanFlush = false
	newScript(t, info, withPreflush(nil)).run(`
write a preflush fua
	device 1: write fua 4096+4096 stamp=1 conn=0 txn=1
complete 1
	a: OK
`)
}

// TestBlkFlushSharesPreflushes: a and b wait for one FLUSH; their data counts as in flight
// when that ends, so that the FLUSH of c waits for it (C2) and is theirs too: three FLUSHes
// would be sent otherwise.
func TestBlkFlushSharesPreflushes(t *testing.T) {
	newScript(t, flushOnly, made(BlkFlush, ClientSide)).run(`
flush z
	device 1: flush 0+0 stamp=0 conn=0 txn=1
write a preflush fua
write b preflush fua
complete 1
	device 2: flush 0+0 stamp=0 conn=0 txn=2
	z: OK
flush c
at 1us
complete 2
	device 3: write 8192+4096 stamp=2 conn=0 txn=2
	device 4: write 12288+4096 stamp=3 conn=0 txn=3
complete 3
at 2us
complete 4
	device 5: flush 0+0 stamp=0 conn=0 txn=4
complete 5
	c: OK
	a: OK
	b: OK
`)
}

func TestBlkFlushAPreflushWithoutFUAEndsWithItsData(t *testing.T) {
	newScript(t, flushOnly, made(BlkFlush, ClientSide)).run(`
write a preflush
	device 1: flush 0+0 stamp=0 conn=0 txn=1
complete 1
	device 2: write 4096+4096 stamp=1 conn=0 txn=1
flush b
complete 2
	device 3: flush 0+0 stamp=0 conn=0 txn=2
	a: OK
complete 3
	b: OK
`)
}

// TestEveryStrategyTakesPreflush: no layer under the client's half sees the flag.
func TestEveryStrategyTakesPreflush(t *testing.T) {
	for _, s := range Strategies() {
		loop := sim.NewLoop()
		seen := &flagged{Device: &instant{loop, withFUA}}
		o := Options{Loop: loop}
		server, err := s.Server(seen, o)
		if err != nil {
			t.Fatal(err)
		}
		top, err := s.Client(server, o)
		if err != nil {
			t.Fatal(err)
		}
		var done ignore
		r := &devices.Request{Op: devices.OpWrite, Flags: devices.Preflush | devices.FUA, Length: 4096, Completer: &done}
		r.Begin(loop.Now())
		top.Submit(r)
		loop.Run(sim.Never)
		if flushes := seen.flushes > 0; done.n != 1 || seen.flags&devices.Preflush != 0 || flushes == (s.Name == "none-unsafe" || s.Name == "force" || s.Name == "discard") {
			t.Errorf("%s: %d done, flags %#x, %d FLUSHes", s.Name, done.n, seen.flags, seen.flushes)
		}
	}
}

// flagged is a Device that notes flags and FLUSHes.
type flagged struct {
	devices.Device
	flags   devices.Flags
	flushes int
}

func (f *flagged) Submit(r *devices.Request) {
	f.flags |= r.Flags
	if r.Op == devices.OpFlush {
		f.flushes++
	}
	f.Device.Submit(r)
}
