package stack

import (
	"errors"
	"fmt"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/layer"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// Path is what becomes of one durable write of the client's on its way through a chain of
// proxies to the device.
type Path struct {
	Strategy string
	// Unsupported says why the chain cannot be had; the rest is then empty.
	Unsupported string
	// Sent is what each link carries for it, from the client's on, and then what the
	// device gets: "write+FUA", "write, FLUSH", "write".
	Sent []string
	// Durable says that the device has it by the client's reply. Maker is then the place
	// that sees to it: 0 is the client, then come the proxies, the server and the device.
	Durable bool
	Maker   int

	every bool // a server has every write durable
}

// probe is a device of which only the commands count.
type probe struct {
	info     devices.Info
	finisher devices.Finisher
	counts   nbd.Counts
}

func (p *probe) Info() devices.Info { return p.info }

// Submit counts r and finishes it.
func (p *probe) Submit(r *devices.Request) {
	switch {
	case r.Durable():
		p.counts.WriteFUA++
	case r.Op == devices.OpFlush:
		p.counts.Flush++
	default:
		p.counts.Write++
	}
	p.finisher.Finish(r, devices.OK)
}

// ignored is a request of which the end is not waited for.
type ignored struct{}

// Done does nothing.
func (ignored) Done(*devices.Request) {}

// everyWrite is the strategy that has every write made durable.
const everyWrite = "force"

// PathOf sends one durable write through the chain, over its engines, to a device that can
// do what info says.
func PathOf(info devices.Info, strategy layer.Strategy, hops []Hop) Path {
	path := Path{Strategy: strategy.Name, every: strategy.Name == everyWrite}
	for _, h := range hops {
		path.every = path.every || h.Strategy == everyWrite
	}
	loop := sim.NewLoop()
	device := &probe{info: info, finisher: devices.Finisher{Loop: loop}}
	s, err := Connect(device, Config{Loop: loop, Strategy: strategy, Hops: Proxies(hops), Connections: 1})
	if err == nil && s.Top.Info().FUA == devices.FUANone {
		err = errors.New("the export does not advertise FUA")
	}
	if err != nil {
		path.Unsupported = err.Error()
		return path
	}
	write := devices.Request{Op: devices.OpWrite, Flags: devices.FUA, Length: uint64(max(4096, s.Top.Info().MinIO)), Completer: ignored{}}
	write.Stamp = 1
	write.Begin(0)
	s.Top.Submit(&write)
	loop.Run(sim.Never)
	sent := []nbd.Counts{}
	for _, leg := range s.Legs {
		sent = append(sent, leg.Counts())
	}
	path.follow(append(sent, device.counts))
	return path
}

// follow fills in what was sent from place to place.
func (p *Path) follow(sent []nbd.Counts) {
	last := sent[len(sent)-1]
	p.Durable = last.WriteFUA+last.Flush > 0
	p.Maker = len(sent)
	for n := range sent {
		p.Sent = append(p.Sent, commands(&sent[n]))
		if last.WriteFUA == 0 && sent[n].Flush > 0 && (n == 0 || sent[n-1].Flush == 0) {
			p.Maker = n // it gets no FLUSH, and sends one
		}
	}
}

// commands are what was sent for one write.
func commands(c *nbd.Counts) string {
	var out []string
	if c.WriteFUA > 0 {
		out = append(out, "write+FUA")
	}
	if c.Write > 0 {
		out = append(out, "write")
	}
	if c.Flush > 0 {
		out = append(out, "FLUSH")
	}
	return strings.Join(out, ", ")
}

// place names the place n of a chain.
func (p *Path) place(n int) string {
	switch {
	case n == 0:
		return "client"
	case n == len(p.Sent):
		return "device"
	case n == len(p.Sent)-1:
		return "server"
	}
	return fmt.Sprintf("hop %d", n)
}

// WhoDurable says in words who makes the write durable.
func (p *Path) WhoDurable() string {
	switch {
	case !p.Durable:
		return "nobody"
	case p.Maker == len(p.Sent) && p.every:
		return "device, every write"
	case p.Maker == len(p.Sent):
		return "device, that write alone"
	}
	return p.place(p.Maker) + ": write, then flush"
}
