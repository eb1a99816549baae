package serve

import (
	"bytes"
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

// rest lets time pass until the drive has nothing to do: what is dirty is written back.
func (b *deviceRig) rest() {
	for b.loop.Step() {
	}
}

// What a drive has written back on its own is durable for the image device alone; what a
// FLUSH or FUA that it carried out has, for all.
func TestIdleDestagesAreNotDurableForTheWorstImage(t *testing.T) {
	for _, device := range []string{"hdd-7200", "nvme-990pro", "nvme-980"} {
		b := newDeviceRig(t, device)
		b.do(pattern(1, 0, 16, 0))
		b.do(aFlush())
		b.do(pattern(2, 0, 16, 0))
		b.rest()
		b.do(&devices.Request{Op: devices.OpWriteZeroes, Offset: 16 * rigBlock, Length: 4 * rigBlock})
		b.do(pattern(3, 20, 2, 0))
		b.rest()
		want := func(image string, blocks ...byte) {
			t.Helper()
			if got := b.blocks(b.clone(1, image), len(blocks)); !bytes.Equal(got, blocks) {
				t.Errorf("%s: image %s has blocks %v, expected %v", device, image, got, blocks)
			}
		}
		old, written := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 16)
		want(imageDevice, append(bytes.Clone(written), 0, 0, 0, 0, 3, 3)...)
		want(imageWorst, append(bytes.Clone(old), 0, 0, 0, 0, 0, 0)...)
		different := map[string]bool{}
		for seed := range sim.Seed(8) {
			got := b.blocks(b.clone(seed, imageRandom), 16)
			different[string(got)] = true
			if len(bytes.Trim(got, "\x01\x02")) > 0 {
				t.Errorf("%s: seed %d gives blocks %v", device, seed, got)
			}
		}
		if len(different) < 6 {
			t.Errorf("%s: 8 seeds give %d images", device, len(different))
		}
		b.do(pattern(4, 3, 2, devices.FUA))
		copy(old[3:], []byte{4, 4})
		want(imageWorst, old...)
		b.do(aFlush())
		copy(written[3:], []byte{4, 4})
		want(imageWorst, append(bytes.Clone(written), 0, 0, 0, 0, 3, 3)...)
		b.do(pattern(5, 0, 8, 0))
		b.rest()
		b.cut(1, imageWorst)
		if got := b.blocks(b.device, 16); !bytes.Equal(got, written) {
			t.Errorf("%s: after a cut blocks %v, expected %v", device, got, written)
		}
	}
}

// A drive that lies loses all that it claimed, however long ago it wrote it back.
func TestALyingDriveLosesWhatItClaimed(t *testing.T) {
	b := newDeviceRig(t, "lying")
	b.do(pattern(1, 0, 8, devices.FUA))
	b.do(aFlush())
	b.rest()
	if got := b.blocks(b.clone(1, imageDevice), 8); !bytes.Equal(got, bytes.Repeat([]byte{1}, 8)) {
		t.Errorf("image device has blocks %v, of data that was written back", got)
	}
	if got := b.blocks(b.clone(1, imageWorst), 8); !bytes.Equal(got, make([]byte, 8)) {
		t.Errorf("image worst has blocks %v, expected zeros: no FLUSH was carried out", got)
	}
}

// FUA of a part of a kept page leaves the old version of the rest.
func TestFUAOfAPartOfAPageKeepsTheRest(t *testing.T) {
	b := newDeviceRig(t, "nvme-990pro")
	b.do(pattern(1, 0, 2, devices.FUA))
	b.do(pattern(2, 0, 2, 0))
	b.rest()
	part := pattern(3, 0, 1, devices.FUA)
	part.Offset, part.Length, part.Bytes = 512, 1024, part.Bytes[:1024]
	b.do(part)
	l := b.clone(1, imageWorst)
	b.connect(l)
	r := &devices.Request{Op: devices.OpRead, Length: rigBlock}
	r.Bytes = make([]byte, rigBlock)
	b.do(r)
	want := bytes.Repeat([]byte{1}, rigBlock)
	copy(want[512:], bytes.Repeat([]byte{3}, 1024))
	if !bytes.Equal(r.Bytes, want) {
		t.Errorf("sectors %d %d %d, expected 1 3 1", r.Bytes[0], r.Bytes[512], r.Bytes[2048])
	}
}

// What does not fit into the bound counts as durable, and the cut says so.
func TestSupersededVersionsHaveABound(t *testing.T) {
	b := newDeviceRig(t, "nvme-990pro")
	b.device.kept.end = maxKeptFile - 4*keptPage
	b.do(pattern(1, 0, 16, devices.FUA))
	b.do(pattern(2, 0, 16, 0))
	b.rest()
	_, out, err := b.device.clone("clone", 1, imageWorst)
	if err != nil || !out.SupersededFull || out.SupersededBytes != 4*keptPage {
		t.Errorf("%v, %+v", err, out)
	}
}
