package stack

import (
	"errors"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/layer"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// counter counts the requests that pass it, by operation.
type counter struct {
	devices.Device
	ops map[devices.Op]int
}

func (c *counter) Submit(r *devices.Request) {
	c.ops[r.Op]++
	c.Device.Submit(r)
}

// connect wires a strategy on a simulated drive of this name.
func connect(t *testing.T, loop *sim.Loop, drive, strategy string, c Config) (*Stack, error) {
	t.Helper()
	model, err := catalog.Open(drive, loop, catalog.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var ok bool
	if c.Strategy, ok = layer.Lookup(strategy); !ok {
		t.Fatalf("no strategy %s", strategy)
	}
	c.Loop, c.Connections = loop, 1
	c.Up, c.Down = sim.NewLink(time.Microsecond, 1e9), sim.NewLink(time.Microsecond, 1e9)
	return Connect(model, c)
}

type completed struct{ errno devices.Errno }

func (c *completed) Done(r *devices.Request) { c.errno = r.Errno }

// One durable write: under none the client's half makes a write and a flush of it, above
// the wire; under emulate the server's half does, behind it.
func TestTheHalvesOfAStrategyAreOnTheirSidesOfTheWire(t *testing.T) {
	for _, c := range []struct {
		strategy       string
		onWire, served map[devices.Op]int
	}{
		{"none", map[devices.Op]int{devices.OpWrite: 1, devices.OpFlush: 1}, map[devices.Op]int{devices.OpWrite: 1, devices.OpFlush: 1}},
		{"emulate", map[devices.Op]int{devices.OpWrite: 1}, map[devices.Op]int{devices.OpWrite: 1}},
	} {
		loop := sim.NewLoop()
		onWire, served := &counter{ops: map[devices.Op]int{}}, &counter{ops: map[devices.Op]int{}}
		s, err := connect(t, loop, "nvme-990pro", c.strategy, Config{
			OnWire: func(d devices.Device) devices.Device { onWire.Device = d; return onWire },
			Served: func(d devices.Device) devices.Device { served.Device = d; return served },
		})
		if err != nil {
			t.Fatal(err)
		}
		done := &completed{errno: devices.EIO}
		r := &devices.Request{Op: devices.OpWrite, Length: 4096, Flags: devices.FUA, Completer: done}
		r.Begin(loop.Now())
		s.Top.Submit(r)
		for loop.Step() {
		}
		if done.errno != devices.OK {
			t.Fatalf("%s: %v", c.strategy, done.errno)
		}
		for _, side := range []struct {
			name      string
			got, want map[devices.Op]int
		}{{"on the wire", onWire.ops, c.onWire}, {"served", served.ops, c.served}} {
			for _, op := range []devices.Op{devices.OpWrite, devices.OpFlush} {
				if side.got[op] != side.want[op] {
					t.Errorf("%s, %s: %d of %v, want %d", c.strategy, side.name, side.got[op], op, side.want[op])
				}
			}
		}
	}
}

func TestAStrategyThatTheDeviceCannotCarryOutIsUnsupported(t *testing.T) {
	var unsupported *layer.Unsupported
	if _, err := connect(t, sim.NewLoop(), "hdd-7200-sata", "native", Config{}); !errors.As(err, &unsupported) {
		t.Errorf("native on a disk without FUA: got %v, want *layer.Unsupported", err)
	}
}

func TestCanRunNamesWhatIsNotAdvertised(t *testing.T) {
	durable := &workloads.Profile{Transaction: []workloads.Step{{Op: workloads.ActionWrite, Durable: true}}}
	flush := &workloads.Profile{Between: []workloads.Step{{Op: workloads.ActionFlush}}}
	zeroes := &workloads.Profile{Transaction: []workloads.Step{{Op: workloads.ActionWriteZeroes}}}
	for _, c := range []struct {
		load *workloads.Profile
		info devices.Info
		want string
	}{
		{durable, devices.Info{CanFlush: true}, "the export does not advertise FUA"},
		{durable, devices.Info{FUA: devices.FUANative}, ""},
		{flush, devices.Info{FUA: devices.FUANative}, "the export does not advertise FLUSH"},
		{flush, devices.Info{CanFlush: true}, ""},
		{zeroes, devices.Info{}, "the export does not advertise WRITE_ZEROES"},
		{zeroes, devices.Info{CanZero: true}, ""},
	} {
		err := CanRun(c.load, c.info)
		var unsupported *layer.Unsupported
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.info, err)
		case c.want != "" && (!errors.As(err, &unsupported) || unsupported.Reason != c.want):
			t.Errorf("%+v: got %v, want %q", c.info, err, c.want)
		}
	}
}
