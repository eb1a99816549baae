package nbdtest_test

import (
	"bytes"
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// done counts what has completed.
type done int

func (d *done) Done(*devices.Request) { *d++ }

// TestRAMKeepsWhatIsWritten, and completes a held request only when it is asked to.
func TestRAMKeepsWhatIsWritten(t *testing.T) {
	loop, n := sim.NewLoop(), done(0)
	d := nbdtest.NewRAM(loop, nbdtest.Size)
	data := bytes.Repeat([]byte{7}, 512)
	w := &devices.Request{Op: devices.OpWrite, Offset: 512, Length: 512, Payload: devices.Payload{Bytes: data}, Completer: &n}
	d.Submit(w)
	loop.Run(sim.Never)
	d.Held = true
	r := &devices.Request{Op: devices.OpRead, Offset: 512, Length: 512, Payload: devices.Payload{Bytes: make([]byte, 512)}, Completer: &n}
	d.Submit(r)
	loop.Run(sim.Never)
	if n != 1 {
		t.Fatalf("%d requests completed, expected only the write", n)
	}
	d.Complete(0)
	if n != 2 || !bytes.Equal(r.Bytes, data) {
		t.Errorf("%d requests completed, read %x", n, r.Bytes[:4])
	}
}

// TestHexRoundTrips.
func TestHexRoundTrips(t *testing.T) {
	if got := nbdtest.Unhex(t, nbdtest.HexString("ab")); string(got) != "\x00\x00\x00\x02ab" {
		t.Errorf("got %q", got)
	}
	const want = "IHAVEOPT" + "\x00\x00\x00\x0a" + "\x00\x00\x00\x12" + "\x00\x00\x00\x01f" + "\x00\x00\x00\x01" + "\x00\x00\x00\x05base:"
	if got := nbdtest.Unhex(t, nbdtest.HexSetMeta("0000000a", "66", nbdtest.HexBase)); string(got) != want {
		t.Errorf("got %q, expected %q", got, want)
	}
}
