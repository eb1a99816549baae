package catalog

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// tornLength is the length of the write that is torn: of several atomic units.
const tornLength = 64 << 10

// torn writes 64 KiB over 64 KiB that are durable, and counts the images of cuts
// in between that hold some of both; seeds are how many there are at each moment.
func torn(t *testing.T, p *Profile, flags devices.Flags) (mixed, images int) {
	t.Helper()
	const seeds = 8
	h := &host{loop: sim.NewLoop()}
	var err error
	if h.device, err = p.Open(h.loop, Options{Seed: 1}); err != nil {
		t.Fatal(err)
	}
	write := func(s devices.Stamp) *devices.Request {
		r := &devices.Request{Op: devices.OpWrite, Flags: flags, Offset: 1 << 20, Length: tornLength, Completer: h}
		r.Stamp = s
		return r
	}
	h.submit(write(1))
	h.submit(&devices.Request{Op: devices.OpFlush})
	for h.loop.Step() {
	}
	r := write(2)
	r.Begin(h.loop.Now())
	h.done = false
	for h.device.Submit(r); !h.done; h.loop.Step() {
		for seed := range sim.Seed(seeds) {
			images++
			if fresh := newSectors(t, h.device.Cut(seed)); fresh > 0 && fresh < tornLength/devices.Sector {
				mixed++
			}
		}
	}
	for seed := range sim.Seed(seeds) {
		if fresh := newSectors(t, h.device.Cut(seed)); p.Cache.Mode != "volatile" && !p.Lies.Capacitor && fresh != tornLength/devices.Sector {
			t.Errorf("%s: an acknowledged write has %d sectors after a cut", p.Name, fresh)
		}
	}
	return mixed, images
}

// newSectors counts the sectors of version 2, by the cut and by its medium.
func newSectors(t *testing.T, k *drive.Cut) (fresh int) {
	t.Helper()
	m := k.Media()
	for i := range uint64(tornLength / devices.Sector) {
		s := k.Stamp(1<<20/devices.Sector + i)
		if on := m.Stamp(1<<20/devices.Sector + i); on != s {
			t.Fatalf("sector %d is version %d by the cut and %d on its medium", i, s, on)
		}
		if s == 2 {
			fresh++
		}
	}
	return fresh
}

// A write that is in flight when the power goes may be there in part, whatever
// cache the drive has, unless all of it was in a volatile one. What is acknowledged
// by a drive without one is there as a whole.
func TestAPowerCutTearsAWriteInFlight(t *testing.T) {
	for _, name := range List() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Kind == "ram" { // it takes no time
			continue
		}
		for _, flags := range []devices.Flags{0, devices.FUA} {
			volatile := p.Cache.Mode == "volatile" || p.Lies.Capacitor
			if flags != 0 && p.Advertise.FUA != "native" || p.Lies.FUA {
				continue
			}
			mixed, images := torn(t, p, flags)
			want := !volatile || flags != 0 && !p.Lies.Capacitor
			want = want && p.Kind != "log" // a record of the log is there whole, or it is not replayed
			if (mixed > 0) != want {
				t.Errorf("%s, FUA %v: %d of %d images are torn", name, flags != 0, mixed, images)
			}
		}
	}
}
