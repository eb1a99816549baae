package ssd_test

import (
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/ssd/ftl"
	"nbdbench/sim"
)

// gauge is the gauge of that name; its value must be within its scale.
func gauge(t *testing.T, d drive.Gauged, name string) drive.Gauge {
	t.Helper()
	for _, g := range d.Gauges(nil) {
		if g.Name != name {
			continue
		}
		if g.Value < 0 || g.Scale > 0 && g.Value > g.Scale {
			t.Fatalf("%+v: the value is outside its scale", g)
		}
		return g
	}
	t.Fatalf("there is no gauge %q: %+v", name, d.Gauges(nil))
	return drive.Gauge{}
}

func TestADriveOfOnlyLawsShowsItsCache(t *testing.T) {
	g := newRig(t, consumer, cached)
	for i := range 256 {
		g.do(write(i*8192, 4096, 0, 1))
	}
	if d := gauge(t, g.dev, "dirty bytes"); d.Value != 1<<20 || d.Scale != 64<<20 {
		t.Errorf("%+v, want 1 MiB of 64", d)
	}
	g.do(flush(1))
	if d := gauge(t, g.dev, "dirty bytes"); d.Value != 0 || len(g.dev.Gauges(nil)) != 1 {
		t.Errorf("after a FLUSH: %+v", g.dev.Gauges(nil))
	}
}

// TestTheRoomBeforeCollectionFallsRowByRow until there is none, and from then on
// what is collected holds valid data.
func TestTheRoomBeforeCollectionFallsRowByRow(t *testing.T) {
	cfg := tlc()
	cfg.Flash.Fill = ftl.Sequential
	const size = 256 << 20
	g := newRig(t, cfg, over(size, devices.CacheVolatile))
	room := gauge(t, g.dev, "room before collection")
	if room.Value != room.Scale {
		t.Errorf("before the first write: %+v, want all of it", room)
	}
	g.do(write(0, row, devices.FUA, 1))
	if after := gauge(t, g.dev, "room before collection"); room.Value-after.Value != row {
		t.Errorf("a row took %g bytes of the room, want %d", room.Value-after.Value, row)
	}
	draw := sim.Seed(1).Stream("addresses")
	for i := range uint64(4 * size / 4096) {
		g.do(write(int(draw.Uint64N(size/4096, i, 0))*4096, 4096, 0, 1))
	}
	left, valid := gauge(t, g.dev, "room before collection"), gauge(t, g.dev, "valid data in what is collected")
	if left.Value > 0.6*room.Value || valid.Value < 0.1*valid.Scale || valid.Value > 0.9*valid.Scale {
		t.Errorf("after four times the drive's size: %+v, %+v", left, valid)
	}
}

func TestPSLCFillsAndIsFoldedAtRest(t *testing.T) {
	cfg := tlc()
	cfg.Flash.SLC, cfg.Flash.SLCProgram, cfg.Flash.SLCRead = 32<<20, 200*us, 20*us
	common := over(256<<20, devices.CacheVolatile)
	common.IdleDestage = time.Millisecond
	g := newRig(t, cfg, common)
	if s := gauge(t, g.dev, "data in pSLC"); s.Value != 0 {
		t.Errorf("at first: %+v", s)
	}
	const n = 24 << 20
	for i := range n / row {
		g.do(write(i*row, row, devices.FUA, 1))
	}
	if s := gauge(t, g.dev, "data in pSLC"); s.Value < 0.9*n || s.Value > 1.1*n {
		t.Errorf("after 24 MiB: %+v", s)
	}
	g.loop.Run(g.loop.Now().Add(time.Minute))
	if s := gauge(t, g.dev, "data in pSLC"); s.Value > 0.5*n {
		t.Errorf("after a minute's rest: %+v", s)
	}
}

func TestAProtectedBufferShowsWhatIsToBeProgrammed(t *testing.T) {
	g := newRig(t, tlc(), over(256<<20, devices.CacheProtected))
	const name = "bytes to be programmed"
	for i := range 8 {
		g.do(write(i*8192, 4096, 0, 1))
	}
	if b := gauge(t, g.dev, name); b.Value != 8*4096 || b.Scale != 4<<20 {
		t.Errorf("%+v, want eight pages of 4 MiB", b)
	}
	common := over(256<<20, devices.CacheProtected)
	common.Capacity = 0
	g = newRig(t, tlc(), common)
	g.do(write(0, 4096, 0, 1))
	if b := gauge(t, g.dev, name); b.Value != 4096 || b.Scale != 0 {
		t.Errorf("%+v, want a page and no bound", b)
	}
}
