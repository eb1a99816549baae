package hdd_test

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
)

// gauge is the value of the gauge of that name, as a part of its scale.
func gauge(t *testing.T, d drive.Gauged, name string) float64 {
	t.Helper()
	for _, g := range d.Gauges(nil) {
		if g.Name != name {
			continue
		}
		if g.Value < 0 || g.Value > g.Scale {
			t.Fatalf("%+v: the value is outside its scale", g)
		}
		return g.Value / g.Scale
	}
	t.Fatalf("there is no gauge %q: %+v", name, d.Gauges(nil))
	return 0
}

const meanAddress = "the mean address of the dirty data"

func TestGaugesShowHowFullTheCacheIsAndWhere(t *testing.T) {
	g := newRig(t, disk7200)
	expect := func(name string, want float64) {
		t.Helper()
		if got := gauge(t, g.dev, name); got < want-1e-4 || got > want+1e-4 {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	expect("dirty bytes", 0)
	const n = 1 << 12 // 16 MiB: a quarter of the cache
	far := disk7200.Size / 2 / 4096 * 4096
	for i := range uint64(n) {
		g.do(write(far+i*8192, 0))
	}
	expect("dirty bytes", 0.25)
	expect(meanAddress, 0.25*0.5)
	g.do(flush())
	expect("dirty bytes", 0)
	expect(meanAddress, 0)
}

// TestTheMeanAddressRisesWhileTheArmWritesWhatIsNear: with the arm sent back to
// the beginning of the disk each time, the cache stays as full as it is and comes
// to hold what is far.
func TestTheMeanAddressRisesWhileTheArmWritesWhatIsNear(t *testing.T) {
	g := newRig(t, disk7200)
	draw := 0
	mean := func() float64 {
		for range 40_000 {
			draw++
			g.do(write(uint64(draw)*0x9e3779b97f4a7c15%(disk7200.Size/4096)*4096, 0))
			if draw%32 == 0 {
				g.do(write(uint64(draw)*4096, devices.FUA))
			}
		}
		return gauge(t, g.dev, meanAddress) / gauge(t, g.dev, "dirty bytes")
	}
	first := mean()
	if then := mean(); then < first+0.05 || first < 0.5 {
		t.Errorf("the mean address went from %.3f of the disk to %.3f, want it to rise", first, then)
	}
}

func TestTheReadCacheFills(t *testing.T) {
	g := newRigWithoutCache(t, disk7200)
	before := gauge(t, g.dev, "data read ahead")
	for i := range uint64(16) {
		g.do(&devices.Request{Op: devices.OpRead, Offset: i << 30, Length: 64 << 10})
	}
	// The first 64 KiB at least; what is read ahead ends with the next read.
	if after := gauge(t, g.dev, "data read ahead"); before != 0 || after < 16*64.0/(16*2048) {
		t.Errorf("it went from %g to %g of the read cache", before, after)
	}
}
