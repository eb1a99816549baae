package volume_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/devices/volume"
	"nbdbench/sim"
)

type nobody struct{}

func (nobody) Done(*devices.Request) {}

// noted notes the reply.
type noted struct{ done bool }

func (n *noted) Done(*devices.Request) { n.done = true }

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
	loop, medium := sim.NewLoop(), drive.NewMedia(drive.Versions)
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
		if draw.IntN(3) == 0 { // zeros, which a cache only notes
			r.Op, r.Stamp = devices.OpWriteZeroes, 0
			r.Flags |= devices.Flags(draw.IntN(2)) * devices.NoHole
		}
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
	v, err := volume.NewRAID(loop, controller, info, drive.NewMedia(drive.Versions), &disk{loop: loop, info: info})
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

// The bytes of a medium that outlives the volume are those of what was acknowledged
// last: data and zeros, into the cache and past it, whether they may be holes or not.
func TestAMediumThatOutlivesTheVolumeHasTheBytesAndTheZeros(t *testing.T) {
	loop, medium := sim.NewLoop(), drive.NewMedia(drive.RealBytes)
	v, err := volume.NewRAID(loop, controller, info, medium, &disk{loop: loop, info: info})
	if err != nil {
		t.Fatal(err)
	}
	v.KeepAtOnce()
	draw := rand.New(rand.NewPCG(1, 2))
	want, got := make([]byte, 64*block), make([]byte, 64*block)
	for n := range 300 {
		off, length := draw.Uint64N(40)*block, (1+draw.Uint64N(3))*block
		if draw.IntN(10) == 0 {
			length = 20 * block // longer than the cache
		}
		reply := new(noted)
		r := &devices.Request{Op: devices.OpWrite, Offset: off, Length: length, Completer: reply}
		r.Bytes = bytes.Repeat([]byte{byte(n)}, int(length))
		if k := draw.IntN(4); k > 1 {
			r.Op, r.Bytes, r.Flags = devices.OpWriteZeroes, nil, devices.Flags(k&1)*devices.NoHole
			clear(want[off : off+length])
		}
		copy(want[off:], r.Bytes)
		r.Begin(loop.Now())
		v.Submit(r)
		loop.RunWhile(func() bool { return !reply.done })
		medium.Read(0, uint64(len(got)), &devices.Payload{Bytes: got})
		if !bytes.Equal(got, want) {
			t.Fatalf("after %v, request %d, the medium has other bytes than were acknowledged", r, n)
		}
	}
}
