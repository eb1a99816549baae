package catalog

import (
	"bytes"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// changes are the commands that FUA can be asked of, with the flags that may come
// beside it: qemu-io's write -z -f sends WRITE_ZEROES with FUA and NO_HOLE.
var changes = []struct {
	name  string
	op    devices.Op
	flags devices.Flags
}{
	{"WRITE", devices.OpWrite, 0},
	{"TRIM", devices.OpTrim, 0},
	{"WRITE_ZEROES", devices.OpWriteZeroes, 0},
	{"WRITE_ZEROES with NO_HOLE", devices.OpWriteZeroes, devices.NoHole},
	{"WRITE_ZEROES with FAST_ZERO", devices.OpWriteZeroes, devices.FastZero},
	{"WRITE_ZEROES with NO_HOLE and FAST_ZERO", devices.OpWriteZeroes, devices.NoHole | devices.FastZero},
}

// What was acknowledged with FUA is there after a cut at once, whatever command it
// was and whatever flags stood beside: over data that is durable, and over data
// that is only in the cache.
func TestEachCommandWithFUAIsDurableWhenItIsAnswered(t *testing.T) {
	for _, name := range List() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		info := p.Info()
		if info.FUA == devices.FUANone || p.Lies != (Lies{}) {
			continue
		}
		for _, c := range changes {
			if c.op == devices.OpTrim && !info.CanTrim || c.op == devices.OpWriteZeroes && !info.CanZero {
				continue
			}
			for _, cached := range []bool{false, true} {
				if got, want := afterFUA(t, p, c.op, c.flags, cached); !bytes.Equal(got, want) {
					t.Errorf("%s: %s, over data in the cache %v: after a cut the block is %d..., expected %d", name, c.name, cached, got[0], want[0])
				}
			}
		}
	}
}

// afterFUA changes a block with FUA and cuts the power.
func afterFUA(t *testing.T, p *Profile, op devices.Op, flags devices.Flags, cached bool) (got, want []byte) {
	t.Helper()
	const block = 4096
	h := &host{loop: sim.NewLoop()}
	var err error
	if h.device, err = p.Open(h.loop, Options{Mode: drive.RealBytes, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	old := &devices.Request{Op: devices.OpWrite, Offset: block, Length: block}
	old.Bytes = bytes.Repeat([]byte{1}, block)
	h.submit(old)
	if !cached && p.Advertise.Flush {
		h.submit(&devices.Request{Op: devices.OpFlush})
	}
	r := &devices.Request{Op: op, Flags: devices.FUA | flags, Offset: block, Length: block}
	want = make([]byte, block)
	if op == devices.OpWrite {
		r.Bytes = bytes.Repeat([]byte{2}, block)
		copy(want, r.Bytes)
	}
	h.submit(r)
	got = make([]byte, block)
	h.device.Cut(1).Media().Read(block, block, &devices.Payload{Bytes: got})
	return got, want
}
