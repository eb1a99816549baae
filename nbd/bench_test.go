package nbd

import (
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// nothing is a device that takes no event of its own for an I/O: what it costs
// is the engines and the wire. It completes a request when the next comes.
type nothing struct {
	info devices.Info
	last *devices.Request
}

func (d *nothing) Info() devices.Info { return d.info }

func (d *nothing) Submit(r *devices.Request) {
	if d.last != nil {
		d.last.Finish(devices.OK)
	}
	d.last = r
}

func benchmarkWire(b *testing.B, dev devices.Device, loop *sim.Loop, depth int) {
	m, _, err := ConnectAll(loop, &Export{Device: dev}, 1, sim.NewLink(15*time.Microsecond, 4e9), sim.NewLink(15*time.Microsecond, 4e9))
	if err != nil {
		b.Fatal(err)
	}
	s := &nbdtest.Resubmit{Dev: m, Loop: loop, Left: b.N}
	requests := make([]devices.Request, depth)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range requests {
		r := &requests[i]
		r.Op, r.Flags, r.Offset, r.Length, r.Completer = devices.OpWrite, devices.FUA, uint64(i)*4096, 4096, s
		s.Done(r)
	}
	loop.Run(sim.Never)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "io/s")
}

// BenchmarkVirtualWire is the cost of one I/O from Submit to Done over a
// virtual wire, with the least device there can be: one event.
func BenchmarkVirtualWire(b *testing.B) {
	for _, bench := range []struct {
		name  string
		depth int
	}{{"depth=1", 1}, {"depth=32", 32}} {
		b.Run(bench.name, func(b *testing.B) {
			loop := sim.NewLoop()
			d := nbdtest.NewRAM(loop, 1<<20)
			d.Service = 10 * time.Microsecond
			benchmarkWire(b, d, loop, bench.depth)
		})
	}
}

// BenchmarkVirtualWireWithoutDevice is the same without any device: two events.
func BenchmarkVirtualWireWithoutDevice(b *testing.B) {
	d := &nothing{info: nbdtest.NewRAM(nil, 1<<20).Desc}
	benchmarkWire(b, d, sim.NewLoop(), 32)
}
