package stack

import (
	"nbdbench/devices"
	"nbdbench/devices/layer"
	"nbdbench/nbd"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// InterruptEvery is how many events a run in virtual time goes on before it looks
// whether the user has stopped it.
const InterruptEvery = 1 << 14

// Config is a stack in virtual time.
type Config struct {
	Loop     *sim.Loop
	Strategy layer.Strategy
	// Served and OnWire put a device of the caller's on each side of the wire. Nil puts
	// nothing there.
	Served, OnWire func(devices.Device) devices.Device
	Connections    int       // at least 1
	Up, Down       *sim.Link // to the server, and back
}

// Stack is what Connect has wired.
type Stack struct {
	Top    devices.Device // what the workload uses
	Client nbd.Multi      // the client's connections
	Wires  []*nbd.Wire    // one for each connection
}

// Connect puts the strategy's server side, the wire and its client side on d. The error
// is a *layer.Unsupported if d cannot carry out the strategy.
func Connect(d devices.Device, c Config) (*Stack, error) {
	options := layer.Options{Loop: c.Loop}
	served, err := c.Strategy.Server(d, options)
	if err != nil {
		return nil, err
	}
	if c.Served != nil {
		served = c.Served(served)
	}
	s := &Stack{}
	s.Client, s.Wires, err = nbd.ConnectAll(c.Loop, &nbd.Export{Device: served}, c.Connections, c.Up, c.Down)
	if err != nil {
		return nil, err
	}
	var onWire devices.Device = s.Client
	if c.OnWire != nil {
		onWire = c.OnWire(onWire)
	}
	s.Top, err = c.Strategy.Client(onWire, options)
	return s, err
}

// CanRun says, as a *layer.Unsupported, which request of the workload a device with
// this description does not take. Under the strategy pass nothing stands in for FUA.
func CanRun(w *workloads.Profile, client devices.Info) error {
	for _, step := range w.Steps() {
		if step.Op == workloads.ActionWriteZeroes && !client.CanZero {
			return &layer.Unsupported{Reason: "the export does not advertise WRITE_ZEROES"}
		}
	}
	switch fua, flush := w.Asks(); {
	case fua && client.FUA == devices.FUANone:
		return &layer.Unsupported{Reason: "the export does not advertise FUA"}
	case flush && !client.CanFlush:
		return &layer.Unsupported{Reason: "the export does not advertise FLUSH"}
	}
	return nil
}
