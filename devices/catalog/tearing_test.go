package catalog

import (
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/sim"
)

// tornAfterwards overwrites durable data with 16 KiB that nobody flushes, and counts the
// images of cuts in the time after the reply: those with some of it, and with any.
func tornAfterwards(t *testing.T, name string) (mixed, any, images int) {
	t.Helper()
	p, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	const length, sectors = 16 << 10, 16 << 10 / devices.Sector
	h := &host{loop: sim.NewLoop()}
	if h.device, err = p.Open(h.loop, Options{Seed: 1}); err != nil {
		t.Fatal(err)
	}
	write := func(s devices.Stamp) {
		r := &devices.Request{Op: devices.OpWrite, Offset: 1 << 20, Length: length, Completer: h}
		r.Stamp = s
		h.submit(r)
	}
	write(1)
	h.submit(&devices.Request{Op: devices.OpFlush})
	for h.loop.Step() {
	}
	write(2)
	for range 40 {
		h.loop.Run(h.loop.Now().Add(sim.Duration(100 * time.Microsecond)))
		for seed := range sim.Seed(4) {
			images++
			fresh := newSectors(t, h.device.Cut(seed))
			if fresh > 0 {
				any++
			}
			if fresh > 0 && fresh < sectors {
				mixed++
			}
			if fresh%8 != 0 {
				t.Errorf("%s: %d sectors: an atomic unit of 4 KiB is torn", name, fresh)
			}
		}
	}
	return mixed, any, images
}

// TestTheTearingAdversaryTearsWhatIsNotFlushed: most cuts within 4 ms leave a page of
// 16 KiB in part; the adversary leaves nothing of it.
func TestTheTearingAdversaryTearsWhatIsNotFlushed(t *testing.T) {
	if mixed, any, images := tornAfterwards(t, "adversary"); any > 0 {
		t.Errorf("adversary: %d of %d images have some of it, %d are torn", any, images, mixed)
	}
	if mixed, any, images := tornAfterwards(t, "adversary-tearing"); mixed < images/2 {
		t.Errorf("adversary-tearing: %d of %d images have some of it, expected at least half torn, got %d", any, images, mixed)
	}
}
