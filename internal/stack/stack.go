package stack

import (
	"fmt"

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
	// Hops are proxies between the client and the server, from the client on, at most
	// devices.MaxHops.
	Hops []Proxy
	// Served and OnWire put a device of the caller's on each side of the client's wire.
	// Nil puts nothing there.
	Served, OnWire func(devices.Device) devices.Device
	// InHop, where set, puts a device of the caller's into the proxy of that index,
	// between its server and its client of the next one.
	InHop       func(hop int, d devices.Device) devices.Device
	Connections int       // at least 1, of each link
	Up, Down    *sim.Link // to the server, and back
}

// Stack is what Connect has wired.
type Stack struct {
	Top    devices.Device // what the workload uses
	Client nbd.Multi      // the client's connections
	Legs   []nbd.Multi    // the connections of each link, from the client's on
	Wires  []*nbd.Wire    // one for each connection, those of the client's link first
}

// Connect puts the strategy's server side, the wire and its client side on d, and then,
// from the last to the first, the same of each proxy. The error is a
// *layer.Unsupported if d cannot carry out the strategy, or a proxy its own.
func Connect(d devices.Device, c Config) (*Stack, error) {
	last := len(c.Hops)
	s := &Stack{Legs: make([]nbd.Multi, last+1), Top: d}
	for n := last; n >= 0; n-- {
		p := Proxy{c.Strategy, c.Up, c.Down}
		if n < last {
			p = c.Hops[n]
			if c.InHop != nil {
				s.Top = c.InHop(n, s.Top)
			}
		}
		if err := s.add(n, p, &c); err != nil {
			if n < last {
				err = &layer.Unsupported{Reason: fmt.Sprintf("hop %d (%s): what it forwards to is not enough: %v", n+1, p.Strategy.Name, err)}
			}
			return nil, err
		}
	}
	s.Client = s.Legs[0]
	return s, nil
}

// add puts server n, its link and the client's side of that on the stack.
func (s *Stack) add(n int, p Proxy, c *Config) error {
	options := layer.Options{Loop: c.Loop}
	served, err := p.Strategy.Server(s.Top, options)
	if err != nil {
		return err
	}
	if n == 0 && c.Served != nil {
		served = c.Served(served)
	}
	var wires []*nbd.Wire
	s.Legs[n], wires, err = nbd.ConnectAll(c.Loop, &nbd.Export{Device: served}, c.Connections, p.Up, p.Down)
	if err != nil {
		return err
	}
	s.Wires = append(wires, s.Wires...)
	if len(c.Hops) > 0 {
		for _, w := range wires {
			w.InChain(n)
		}
	}
	var onWire devices.Device = s.Legs[n]
	if n == 0 && c.OnWire != nil {
		onWire = c.OnWire(onWire)
	}
	s.Top, err = p.Strategy.Client(onWire, options)
	return err
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
