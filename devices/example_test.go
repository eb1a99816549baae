package devices_test

import (
	"fmt"
	"time"

	"nbdbench/devices"
	"nbdbench/sim"
)

// fixed is a device that serves every request in 80 µs, all at once.
type fixed struct{ loop *sim.Loop }

func (d *fixed) Info() devices.Info {
	return devices.Info{Size: 1 << 30, LogicalBlock: 512, AtomicUnit: 512, CanFlush: true}
}

func (d *fixed) Submit(r *devices.Request) {
	r.Timer.Owner = r
	d.loop.After(&r.Timer, 80*time.Microsecond, d)
}

func (d *fixed) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	r.Charge(devices.MediaStage, d.loop.Now())
	r.Finish(devices.OK)
}

// printer prints what completes.
type printer struct{ loop *sim.Loop }

func (p printer) Done(r *devices.Request) {
	fmt.Println(r, "in", p.loop.Now().Sub(r.Submitted))
	fmt.Println("on the medium:", r.Stages[devices.MediaStage])
}

// A device of one's own: Submit never blocks, and the request completes later, on
// the loop.
func ExampleDevice() {
	loop := sim.NewLoop()
	var device devices.Device = &fixed{loop}
	r := &devices.Request{Op: devices.OpWrite, Offset: 4096, Length: 4096, Completer: printer{loop}}
	r.Begin(loop.Now())
	device.Submit(r)
	loop.Run(sim.Never - 1)
	// Output:
	// write offset=4096 length=4096 conn=0 txn=0 in 80µs
	// on the medium: 80µs
}
