package layer

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

// instant is a device that completes every command one nanosecond later.
type instant struct {
	loop *sim.Loop
	info devices.Info
}

func (d *instant) Info() devices.Info { return d.info }

func (d *instant) Submit(r *devices.Request) {
	r.Timer.Owner = r
	d.loop.After(&r.Timer, 1, d)
}

func (d *instant) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	r.Charge(devices.CacheStage, d.loop.Now())
	r.Finish(devices.OK)
}

type ignore struct{ n int }

func (i *ignore) Done(*devices.Request) { i.n++ }

// everything runs one command of each kind through top.
func everything(loop *sim.Loop, top devices.Device, requests []devices.Request, done devices.Completer) {
	for i := range requests {
		r := &requests[i]
		r.Reset()
		r.Op, r.Length, r.Completer = devices.OpWrite, 4096, done
		switch i % 4 {
		case 0, 1:
			r.Flags, r.Conn = devices.FUA, uint32(i)
		case 2:
			r.Op = devices.OpFlush
		}
		r.Begin(loop.Now())
		top.Submit(r)
	}
	loop.Run(sim.Never)
}

func TestNoStrategyAllocatesPerRequest(t *testing.T) {
	for _, s := range Strategies() {
		loop := sim.NewLoop()
		o := Options{Loop: loop, Depth: 2}
		server, err := s.Server(&instant{loop, withFUA}, o)
		if err != nil {
			t.Fatal(err)
		}
		top, err := s.Client(Delay(server, loop, ServerSide, 5), o)
		if err != nil {
			t.Fatal(err)
		}
		var done ignore
		requests := make([]devices.Request, 16)
		if n := testing.AllocsPerRun(100, func() { everything(loop, top, requests, &done) }); n != 0 {
			t.Errorf("%s: %v allocations", s.Name, n)
		}
		if done.n != 101*16 {
			t.Errorf("%s: %d requests ended, want %d", s.Name, done.n, 101*16)
		}
	}
}

func BenchmarkStrategies(b *testing.B) {
	for _, s := range Strategies() {
		b.Run(s.Name, func(b *testing.B) {
			loop := sim.NewLoop()
			o := Options{Loop: loop}
			server, _ := s.Server(&instant{loop, withFUA}, o)
			top, _ := s.Client(server, o)
			requests := make([]devices.Request, 16)
			var done ignore
			for b.Loop() {
				everything(loop, top, requests, &done)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done.n), "ns/request")
		})
	}
}
