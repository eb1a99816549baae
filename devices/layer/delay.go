package layer

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

type delay struct {
	inner devices.Device
	loop  *sim.Loop
	gap   devices.Stage
	by    sim.Duration
}

// Delay adds a fixed time before every command, FLUSH included; nbdkit's delay
// filter has none for FLUSH. Commands keep their order.
func Delay(inner devices.Device, loop *sim.Loop, side Side, by sim.Duration) devices.Device {
	if loop == nil || by < 0 {
		panic("layer: a delay needs a loop and must not be negative")
	}
	if by == 0 {
		return inner
	}
	return &delay{inner, loop, side.gap(), by}
}

func (d *delay) Info() devices.Info { return d.inner.Info() }

func (d *delay) Submit(r *devices.Request) {
	r.Timer.Owner = r
	d.loop.After(&r.Timer, d.by, d)
}

// Fire passes on the command whose time has come.
func (d *delay) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	r.Charge(d.gap, d.loop.Now())
	d.inner.Submit(r)
}
