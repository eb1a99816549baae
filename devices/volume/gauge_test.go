package volume_test

import (
	"testing"
	"time"

	"nbdbench/devices/drive"
	"nbdbench/devices/volume"
)

func TestCreditsAreSpentAndComeBack(t *testing.T) {
	g := newCloud(t, volume.CloudConfig{
		Mean: us, Min: us, IOPS: volume.Limit{Rate: 100, Burst: 1000}, Bytes: volume.Limit{Rate: 1 << 20, Burst: 16 << 20},
	})
	expect := func(when string, ios, bytes float64) {
		t.Helper()
		gs := g.dev.(drive.Gauged).Gauges(nil)
		if len(gs) != 2 || gs[0].Name != "I/O credits" || gs[0].Scale != 1000 || gs[1].Name != "byte credits" || gs[1].Scale != 16<<20 {
			t.Fatalf("%s: %+v", when, gs)
		}
		// What came in while they were used: at most 1 ms' worth.
		near(t, when+": I/O credits", gs[0].Value+1, ios+1, 0.001)
		near(t, when+": byte credits", gs[1].Value+1, bytes+1, 0.001)
	}
	expect("at first", 1000, 16<<20)
	for i := range uint64(400) {
		g.do(write(i*4096, 4096))
	}
	expect("after 400 writes", 600, 16<<20-400*4096)
	g.loop.Run(g.loop.Now().Add(time.Second))
	expect("a second later", 700, 16<<20-400*4096+1<<20)
	g.loop.Run(g.loop.Now().Add(time.Hour))
	expect("an hour later", 1000, 16<<20)
	for i := range uint64(1200) {
		g.do(write(i*4096, 4096))
	}
	if gs := g.dev.(drive.Gauged).Gauges(nil); gs[0].Value > 1 {
		t.Errorf("after 1200 writes: %+v", gs)
	}
}

func TestAVolumeWithoutBurstsHasNoGauges(t *testing.T) {
	g := newCloud(t, volume.CloudConfig{Mean: us, Min: us, IOPS: volume.Limit{Rate: 100}})
	if gs := g.dev.(drive.Gauged).Gauges(nil); len(gs) != 0 {
		t.Errorf("%+v", gs)
	}
}

// shown is a disk that shows its state.
type shown struct{ *disk }

func (shown) Gauges(dst []drive.Gauge) []drive.Gauge {
	return append(dst, drive.Level("dirty bytes", "the cache", 3, 4))
}

func TestAControllerShowsItsCacheAndItsDisk(t *testing.T) {
	g := newRAID(t, controller, &disk{})
	for i := range uint64(4) {
		g.do(scattered(i))
	}
	gs := g.raid.Gauges(nil)
	if want := (drive.Gauge{Name: "dirty bytes", Of: "the controller's cache", Value: 4 * block, Scale: 16 * block}); len(gs) != 1 || gs[0] != want {
		t.Errorf("%+v, want %+v", gs, want)
	}
	v, err := volume.NewRAID(g.loop, controller, info, drive.NewMedia(drive.Versions), shown{g.disk})
	if err != nil {
		t.Fatal(err)
	}
	if gs := v.Gauges(nil); len(gs) != 2 || gs[0].Of != "the controller's cache" || gs[1].Of != "the cache" || gs[1].Value != 3 {
		t.Errorf("%+v, want the controller's and the disk's", gs)
	}
}
