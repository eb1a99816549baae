package catalog_test

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// client keeps some requests in flight, of all kinds, at random places.
type client struct {
	t    *testing.T
	dev  catalog.Device
	loop *sim.Loop
	draw sim.Stream
	n    uint64
	busy int
	left int
	rs   [32]devices.Request
}

func (c *client) Done(r *devices.Request) {
	if r.Errno != devices.OK {
		c.t.Fatalf("%v: %v", r, r.Errno)
	}
	c.busy--
	c.next(r)
}

func (c *client) next(r *devices.Request) {
	if c.left == 0 {
		return
	}
	c.left--
	c.n++
	info := c.dev.Info()
	r.Reset()
	r.Op, r.Offset, r.Length = devices.OpWrite, c.draw.Uint64N(info.Size/65536, c.n, 0)*65536, 4096<<c.draw.Uint64N(4, c.n, 1)
	switch k := c.draw.Uint64N(64, c.n, 2); {
	case k == 0 && info.CanFlush:
		r.Op, r.Offset, r.Length = devices.OpFlush, 0, 0
	case k < 8 && info.FUA == devices.FUANative:
		r.Flags = devices.FUA
	case k < 16:
		r.Op = devices.OpRead
	case k < 20 && info.CanTrim:
		r.Op = devices.OpTrim
	case k < 24 && info.CanZero:
		r.Op = devices.OpWriteZeroes
	}
	r.Txn, r.Stamp, r.Completer, r.Submitted = c.n, devices.Stamp(c.n), c, c.loop.Now()
	r.Begin(r.Submitted)
	c.busy++
	c.dev.Submit(r)
}

// serve has n requests served.
func (c *client) serve(n int) {
	c.left = n
	for i := range c.rs {
		c.next(&c.rs[i])
	}
	c.loop.RunWhile(func() bool { return c.busy > 0 })
}

// TestGaugesOfEveryProfileKeepTheirBounds under a mixture of requests: the same
// ones in the same order, with values from 0 to their scale, and nothing allocated.
func TestGaugesOfEveryProfileKeepTheirBounds(t *testing.T) {
	for _, name := range catalog.List() {
		loop := sim.NewLoop()
		dev, err := catalog.Open(name, loop, catalog.Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		c := &client{t: t, dev: dev, loop: loop, draw: sim.Seed(1).Stream("gauges")}
		first := dev.Gauges(nil)
		now := make([]drive.Gauge, 0, len(first))
		moved := make([]bool, len(first))
		for range 60 {
			c.serve(100)
			now = dev.Gauges(now[:0])
			if len(now) != len(first) {
				t.Fatalf("%s: %d gauges, at first there were %d", name, len(now), len(first))
			}
			for i, g := range now {
				if g.Name != first[i].Name || g.Of != first[i].Of || g.Scale != first[i].Scale {
					t.Fatalf("%s: gauge %d is %+v, at first it was %+v", name, i, g, first[i])
				}
				if g.Value < 0 || g.Scale > 0 && g.Value > g.Scale {
					t.Fatalf("%s: %+v is outside its scale", name, g)
				}
				moved[i] = moved[i] || g.Value != first[i].Value
			}
		}
		for i := range moved {
			switch first[i].Name {
			case "valid data in what is collected", "room before collection": // which take more
			default:
				if !moved[i] {
					t.Errorf("%s: %q never moved", name, first[i].Name)
				}
			}
		}
		if n := testing.AllocsPerRun(10, func() { now = dev.Gauges(now[:0]) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestEveryDeviceWithAStateShowsIt: only what has no state but its queues and its
// content has no gauges.
func TestEveryDeviceWithAStateShowsIt(t *testing.T) {
	for _, name := range catalog.List() {
		p, err := catalog.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		dev, err := p.Open(sim.NewLoop(), catalog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		state := p.Kind == "raid" || p.Kind == "hdd" || p.Cache.Mode == "volatile" || p.Lies.Capacitor ||
			p.SSD != nil && p.SSD.Flash != nil || p.Cloud != nil && p.Cloud.IOPSBurst > 0
		if got := len(dev.Gauges(nil)) > 0; got != state {
			t.Errorf("%s has gauges: %v, want %v", name, got, state)
		}
	}
}
