package volume_test

import (
	"math/rand/v2"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/devices/volume"
	"nbdbench/sim"
)

type nobody struct{}

func (nobody) Done(*devices.Request) {}

// TestAMediumThatOutlivesTheVolumeHasAllThatWasAcknowledged: at any moment the
// process that simulates the volume may be killed, and the medium is what is left.
func TestAMediumThatOutlivesTheVolumeHasAllThatWasAcknowledged(t *testing.T) {
	for _, keep := range []bool{true, false} {
		broken := 0
		for seed := range uint64(20) {
			broken += killed(t, seed, keep)
		}
		if keep != (broken == 0) {
			t.Errorf("kept at once %v: %d promises broken by what is left; without it some must be", keep, broken)
		}
	}
}

// killed counts the promises that the medium breaks, after any event of a run.
func killed(t *testing.T, seed uint64, keep bool) (broken int) {
	t.Helper()
	loop, medium := sim.NewLoop(), devices.NewMedia(devices.Versions)
	d := &disk{loop: loop, info: info}
	v, err := volume.NewRAID(loop, controller, info, medium, d)
	if err != nil {
		t.Fatal(err)
	}
	if keep {
		v.KeepAtOnce()
	}
	judge := history.NewJudge(v.Info())
	top := history.NewTap(v, loop, judge)
	draw := rand.New(rand.NewPCG(seed, 1))
	for n := range 60 {
		// Mostly blocks that meet again; one of ten is longer than the cache.
		r := write(draw.Uint64N(24)*block, block)
		if draw.IntN(10) == 0 {
			r = write(draw.Uint64N(4)*block, 20*block)
		}
		r.Flags, r.Stamp, r.Completer = devices.FUA, devices.Stamp(n+1), nobody{}
		r.Begin(loop.Now())
		top.Submit(r)
		for range draw.IntN(6) {
			loop.Step()
			broken += judge.CheckImage(medium.Stamp, func(history.Violation) {})
			if n := judge.CheckImage(v.Cut(sim.Seed(n)).Stamp, func(history.Violation) {}); n > 0 {
				t.Fatalf("seed %d, kept at once %v: a power cut breaks %d promises", seed, keep, n)
			}
		}
	}
	return broken
}

func TestAMediumThatOutlivesTheVolumeTellsItsHoles(t *testing.T) {
	loop := sim.NewLoop()
	v, err := volume.NewRAID(loop, controller, info, devices.NewMedia(devices.Versions), &disk{loop: loop, info: info})
	if err != nil {
		t.Fatal(err)
	}
	v.KeepAtOnce()
	var b devices.BlockStatus
	b.Reset(8)
	for _, r := range []*devices.Request{write(0, block), {Op: devices.OpBlockStatus, Length: 2 * block, Payload: devices.Payload{Status: &b}}} {
		r.Completer = nobody{}
		r.Begin(loop.Now())
		v.Submit(r)
		for loop.Step() {
		}
	}
	if got := b.Extents; len(got) != 2 || got[0].Flags != 0 || got[1].Flags != devices.StatusZero|devices.StatusHole {
		t.Errorf("a block of data and a hole are %+v", got)
	}
}
