package nbd_test

import (
	"fmt"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// disk takes 20 µs for a write with FUA, and has nothing else.
type disk struct{ loop *sim.Loop }

func (d disk) Info() devices.Info {
	return devices.Info{Size: 1 << 20, LogicalBlock: 512, CanFlush: true, FUA: devices.FUANative}
}

func (d disk) Submit(r *devices.Request) {
	r.Timer.Owner = r
	d.loop.After(&r.Timer, 20*time.Microsecond, d)
}

func (d disk) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	r.Charge(devices.MediaStage, d.loop.Now())
	r.Finish(devices.OK)
}

type printer struct{}

func (printer) Done(r *devices.Request) {
	fmt.Println(r, "took", r.Completed.Sub(r.Intended), "of which link", r.Stages[devices.Wire], "media", r.Stages[devices.MediaStage])
}

// One durable write over a virtual wire of 15 µs each way.
func ExampleConnect() {
	loop := sim.NewLoop()
	wire, err := nbd.Connect(loop, &nbd.Export{Name: "disk", Device: disk{loop}}, 0,
		sim.NewLink(15*time.Microsecond, 4e9), sim.NewLink(15*time.Microsecond, 4e9))
	if err != nil {
		fmt.Println(err)
		return
	}
	r := &devices.Request{Op: devices.OpWrite, Flags: devices.FUA, Length: 4096, Completer: printer{}}
	r.Begin(loop.Now())
	wire.Client.Submit(r)
	loop.Run(sim.Never)
	// Output: write fua offset=0 length=4096 conn=0 txn=0 took 51.035µs of which link 31.035µs media 20µs
}
