package simtest

import (
	"bytes"
	"encoding/binary"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// typist types at any byte of a range, one request after another, and knows
// what must stand there.
type typist struct {
	t    *testing.T
	w    *world
	d    dice
	text []byte
	done bool
	last devices.Request
}

// typed is the range in bytes.
const typed = 48 << 10

func (y *typist) Done(r *devices.Request) {
	y.done = true
	if r.Errno != devices.OK {
		y.t.Fatalf("%v: %v", r, r.Errno)
	}
}

func (y *typist) do(r devices.Request) {
	y.last, y.done = r, false
	y.last.Completer = y
	y.last.Begin(y.w.loop.Now())
	y.w.top.Submit(&y.last)
	y.w.loop.RunWhile(func() bool { return !y.done })
	if !y.done {
		y.t.Fatalf("%v was never completed\n%v", &y.last, y.w.setup)
	}
}

// step does one request and checks what it can.
func (y *typist) step() {
	off := y.d.upTo(typed)
	n := 1 + y.d.upTo(min(typed-off, pick(&y.d, uint64(3), 700, 9000, typed)))
	at := y.text[off : off+n]
	r := devices.Request{Op: devices.OpWrite, Offset: off, Length: n}
	switch y.d.intN(6) {
	case 0:
		r.Op, r.Bytes = devices.OpRead, make([]byte, n)
		y.do(r)
		if !bytes.Equal(y.last.Bytes, at) {
			y.t.Fatalf("%v does not return what was written", &y.last)
		}
		return
	case 1:
		if r.Op, r.Flags = devices.OpWriteZeroes, pick(&y.d, 0, devices.NoHole); !y.w.info.CanZero {
			return
		}
		clear(at)
	case 2:
		if y.w.info.CanFlush {
			y.do(devices.Request{Op: devices.OpFlush})
		}
		return
	default:
		for i := range at {
			at[i] = byte(y.d.intN(256))
		}
		r.Bytes = bytes.Clone(at)
	}
	if y.w.info.FUA != devices.FUANone && y.d.one(4) {
		r.Flags |= devices.FUA
	}
	y.do(r)
}

func TestBytesAtAnyOffsetAreReadBackAndSurviveAFlush(t *testing.T) {
	for seed := range atMost(240) {
		o := Options{Serial: true, Direct: seed%2 == 0}
		s, err := draw(sim.Seed(seed), o)
		if err != nil {
			t.Fatal(err)
		}
		s.mode = drive.RealBytes
		s.profile.LogicalBlock = devices.Sector // of larger ones no byte can be asked for
		w, err := newWorld(s, sim.Seed(seed), o)
		if err != nil {
			continue // the device cannot carry out the strategy
		}
		y := &typist{t: t, w: w, d: dice{stream: sim.Seed(seed).Stream("typist")}, text: make([]byte, typed)}
		for range 60 {
			y.step()
		}
		if !w.info.CanFlush || !s.strategy.Durable {
			continue
		}
		y.do(devices.Request{Op: devices.OpFlush})
		left := make([]byte, typed)
		w.model.Cut(sim.Seed(seed)).Media().Read(0, typed, &devices.Payload{Bytes: left})
		for i := range left {
			if left[i] != y.text[i] {
				t.Fatalf("seed %d: byte %d is not on the medium after a FLUSH and a cut\n%v", seed, i, s)
			}
		}
	}
}

func TestReadersRefuseAVersionThatWasOver(t *testing.T) {
	m := newReaders(0, 8)
	write := func(stamp devices.Stamp) *devices.Request {
		return &devices.Request{Op: devices.OpWrite, Length: devices.Sector, Payload: devices.Payload{Stamp: stamp}}
	}
	a, b, c := write(1), write(2), write(3)
	r := &devices.Request{Op: devices.OpRead, Length: devices.Sector}
	reads := func(v devices.Stamp) bool { return m.check(r, m.floors(r, nil), []devices.Stamp{v}) == nil }
	m.submit(a)
	if !reads(0) || !reads(1) || reads(0) {
		t.Error("while a write is in progress both versions are legal, until the new one was seen")
	}
	m.done(a)
	m.submit(b)
	m.submit(c)
	m.done(c)
	if !reads(2) || !reads(3) || !reads(2) || reads(1) || reads(7) {
		t.Error("writes in progress together are legal in either order, and nothing older")
	}
	m.done(b)
	zero := &devices.Request{Op: devices.OpTrim, Length: devices.Sector}
	m.submit(zero)
	if !reads(0) || !reads(3) {
		t.Error("while a TRIM is in progress zeros are legal")
	}
	m.done(zero)
	if reads(3) || !reads(0) {
		t.Error("after a TRIM only zeros are legal")
	}
}

func TestASectorOfTwoVersionsIsFound(t *testing.T) {
	w := &world{loop: sim.NewLoop()}
	sector := make([]byte, devices.Sector)
	if w.stampOf(sector); w.failed != nil {
		t.Error(w.failed)
	}
	binary.BigEndian.PutUint64(sector[504:], 5)
	if w.stampOf(sector); w.failed == nil {
		t.Error("not found")
	}
}
