package fua

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

// backend is a device that answers every call one nanosecond later.
type backend struct {
	loop *sim.Loop
	info devices.Info
	say  func(*devices.Request) // nil: of no interest
	fail map[devices.Op]devices.Errno
}

func (b *backend) Info() devices.Info { return b.info }

func (b *backend) Submit(r *devices.Request) {
	if b.say != nil {
		b.say(r)
	}
	r.Timer.Owner = r
	b.loop.After(&r.Timer, 1, b)
}

func (b *backend) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	r.Charge(devices.MediaStage, b.loop.Now())
	r.Finish(b.fail[r.Op])
}

type ended struct {
	n     int
	errno devices.Errno
}

func (e *ended) Done(r *devices.Request) { e.n, e.errno = e.n+1, r.Errno }

// capable can do everything.
var capable = devices.Info{Size: 1 << 40, CanFlush: true, FUA: devices.FUANative, CanTrim: true, CanZero: true, CanFastZero: true, CanCache: true, MultiConn: true}

func mustResolve(t *testing.T, b Backend, m Mode) Resolution {
	t.Helper()
	r, err := Resolve(b, m, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var everyOp = []devices.Op{
	devices.OpRead, devices.OpWrite, devices.OpFlush, devices.OpTrim, devices.OpCache, devices.OpWriteZeroes, devices.OpBlockStatus,
}

// Where nothing is left to do there is no layer.
func TestADeviceThatDoesAllByItselfIsServedItself(t *testing.T) {
	loop := sim.NewLoop()
	for mode := ModeAbsent; mode <= ModeDiscard; mode++ {
		b := &backend{loop: loop, info: capable}
		itself := NewDevice(loop, b, mustResolve(t, BackendOf(capable), mode)) == devices.Device(b)
		if want := mode == ModeAbsent || mode == ModeNative || mode == ModePass; itself != want {
			t.Errorf("%v: served itself: %v, want %v", mode, itself, want)
		}
	}
}

// What becomes one identical call reaches the backend as the same request.
func TestAnIdenticalCallIsTheSameRequest(t *testing.T) {
	loop := sim.NewLoop()
	declared := BackendOf(capable)
	declared.ZeroCertain = false
	var got *devices.Request
	b := &backend{loop: loop, info: capable, say: func(r *devices.Request) { got = r }}
	d := NewDevice(loop, b, mustResolve(t, declared, ModePass))
	for _, op := range everyOp {
		for _, flags := range []devices.Flags{0, devices.FUA} {
			var end ended
			r := &devices.Request{Op: op, Flags: flags, Length: 512, Completer: &end}
			r.Begin(loop.Now())
			d.Submit(r)
			if got != r || r.Flags != flags {
				t.Errorf("%v, flags %#x: the backend has %p (%v), want %p", op, flags, got, got, r)
			}
			loop.Run(sim.Never)
			if end.n != 1 || r.Completer != devices.Completer(&end) || r.Stages.Total() != 1 {
				t.Errorf("%v, flags %#x: ended %d times, completer %T, stages %v", op, flags, end.n, r.Completer, r.Stages)
			}
		}
	}
}

// TestADeviceServesWhatItAdvertises: without a mode, a device's own Info is what
// its resolution shows, except that a read-only one offers nothing that writes.
func TestADeviceServesWhatItAdvertises(t *testing.T) {
	loop := sim.NewLoop()
	for bits := range 1 << 6 {
		on := func(i int) bool { return bits>>i&1 != 0 }
		for level := devices.FUANone; level <= devices.FUANative; level++ {
			info := devices.Info{Size: 1 << 20, CanFlush: on(0), FUA: level, CanTrim: on(1), CanZero: on(2), CanFastZero: on(3), MultiConn: on(4), ReadOnly: on(5)}
			want := info
			if info.ReadOnly {
				want.FUA, want.CanTrim, want.CanZero = devices.FUANone, false, false
			}
			for _, mode := range []Mode{ModeAbsent, ModePass} {
				d := NewDevice(loop, &backend{loop: loop, info: info}, mustResolve(t, BackendOf(info), mode))
				if got := d.Info(); got != want {
					t.Errorf("%v: got %+v, want %+v", mode, got, want)
				}
			}
		}
	}
}

func TestTheModeDecidesTheLevel(t *testing.T) {
	native, emulate := Backend{API: 2, Flush: true, CanFUA: Native}, Backend{API: 2, Flush: true}
	for _, test := range []struct {
		b    Backend
		mode Mode
		want devices.FUASupport
	}{
		{native, ModeAbsent, devices.FUANative},
		{native, ModeNone, devices.FUANone},
		{native, ModeEmulate, devices.FUAEmulate},
		{native, ModeNative, devices.FUANative},
		{native, ModeForce, devices.FUANative},
		{native, ModePass, devices.FUANative},
		{native, ModeDiscard, devices.FUANative},
		{emulate, ModeAbsent, devices.FUAEmulate},
		{emulate, ModeNative, devices.FUAEmulate}, // silently
		{emulate, ModeForce, devices.FUAEmulate},
		{emulate, ModeDiscard, devices.FUANative},
		{Backend{}, ModeDiscard, devices.FUANative},
		{Backend{}, ModeAbsent, devices.FUANone},
	} {
		r := mustResolve(t, test.b, test.mode)
		if got := r.Level(); got != test.want {
			t.Errorf("%+v, %v: %v, want %v", test.b, test.mode, got, test.want)
		}
	}
}

// TestNoCommandAllocates has each backend under each mode serve every command,
// zeroes that are written among them.
func TestNoCommandAllocates(t *testing.T) {
	for _, b := range []Backend{
		BackendOf(capable),
		{API: 2, Flush: true, Trim: true, Zero: true, CanFUA: Native},
		{API: 2, Flush: true, Trim: true, Zero: true},
		{API: 2, Flush: true, Trim: true},
		{API: 1, Flush: true},
	} {
		for mode := ModeAbsent; mode <= ModeDiscard; mode++ {
			for _, e := range []devices.Errno{devices.OK, devices.ENOTSUP} {
				loop := sim.NewLoop()
				inner := &backend{loop: loop, info: capable, fail: map[devices.Op]devices.Errno{devices.OpWriteZeroes: e}}
				d := NewDevice(loop, inner, mustResolve(t, b, mode))
				var end ended
				requests := make([]devices.Request, 4*len(everyOp))
				all := func() {
					for i := range requests {
						r := &requests[i]
						r.Reset()
						r.Op, r.Length, r.Completer = everyOp[i/4], 2*ZeroChunk+512, &end
						if i%2 != 0 {
							r.Flags = devices.FUA
						}
						r.Begin(loop.Now())
						d.Submit(r)
					}
					loop.Run(sim.Never)
				}
				if n := testing.AllocsPerRun(20, all); n != 0 {
					t.Errorf("%+v, %v, zero answers %v: %v allocations", b, mode, e, n)
				}
				if end.n != 21*len(requests) {
					t.Errorf("%+v, %v: %d requests ended, want %d", b, mode, end.n, 21*len(requests))
				}
			}
		}
	}
}

// calls has d serve one command and returns the backend's calls and the errno.
func (b *backend) calls(d devices.Device, op devices.Op, flags devices.Flags, length uint64) string {
	var words []string
	b.say = func(r *devices.Request) {
		word := fmt.Sprintf("%v@%d+%d", r.Op, r.Offset, r.Length)
		if r.Flags != 0 {
			word += fmt.Sprintf(" flags=%#x", uint16(r.Flags))
		}
		words = append(words, word)
	}
	var end ended
	r := &devices.Request{Op: op, Flags: flags, Length: length, Completer: &end}
	r.Begin(b.loop.Now())
	begun := b.loop.Now()
	d.Submit(r)
	if end.n != 0 {
		return "done within Submit"
	}
	b.loop.Run(sim.Never)
	words = append(words, end.errno.String())
	if end.n != 1 || r.Stages.Total() != b.loop.Now().Sub(begun) {
		words = append(words, fmt.Sprintf("ended %d times, stages %v", end.n, r.Stages))
	}
	return strings.Join(words, "; ")
}

func TestZeroes(t *testing.T) {
	const chunk = ZeroChunk
	native, emulate := BackendOf(capable), Backend{API: 2, Flush: true, Zero: true}
	native.ZeroCertain = false
	written := func(b Backend) Backend { b.CanZero = Emulate; return b }
	v1 := Backend{API: 1, Flush: true, Zero: true}
	for _, test := range []struct {
		name   string
		b      Backend
		mode   Mode
		result devices.Errno // of .zero
		flags  devices.Flags
		length uint64
		want   string
	}{
		{"native", native, ModeAbsent, devices.OK, devices.FUA | devices.NoHole, 512, "write_zeroes@0+512 flags=0x3; OK"},
		{
			"unsupported, native: FUA on every part", native, ModeAbsent, devices.ENOTSUP, devices.FUA | devices.NoHole, chunk + 512,
			fmt.Sprintf("write_zeroes@0+%d flags=0x3; write@0+%d flags=0x1; write@%d+512 flags=0x1; OK", chunk+512, chunk, chunk),
		},
		{
			"unsupported, emulate: one flush", emulate, ModeAbsent, devices.ENOTSUP, devices.FUA, chunk + 512,
			fmt.Sprintf("write_zeroes@0+%d; write@0+%d; write@%d+512; flush@0+0; OK", chunk+512, chunk, chunk),
		},
		{"unsupported, without FUA", native, ModeAbsent, devices.ENOTSUP, 0, 512, "write_zeroes@0+512; write@0+512; OK"},
		{"unsupported, force", native, ModeForce, devices.ENOTSUP, 0, 512, "write_zeroes@0+512 flags=0x1; write@0+512 flags=0x1; OK"},
		{"unsupported, discard", native, ModeDiscard, devices.ENOTSUP, devices.FUA, 512, "write_zeroes@0+512; write@0+512; OK"},
		{"unsupported and fast", native, ModeAbsent, devices.ENOTSUP, devices.FastZero, 512, "write_zeroes@0+512 flags=0x10; ENOTSUP"},
		{"unsupported and fast, emulate", emulate, ModeAbsent, devices.ENOTSUP, devices.FastZero | devices.FUA, 512, "write_zeroes@0+512 flags=0x10; ENOTSUP"},
		{"fails", native, ModeAbsent, devices.EIO, devices.FUA, 512, "write_zeroes@0+512 flags=0x1; EIO"},
		{"fails, emulate: no flush", emulate, ModeAbsent, devices.EIO, devices.FUA, 512, "write_zeroes@0+512; EIO"},
		{"always written, native", written(native), ModeAbsent, devices.OK, devices.FUA, 512, "write@0+512 flags=0x1; OK"},
		{"always written, emulate", written(emulate), ModeAbsent, devices.OK, devices.FUA, 512, "write@0+512; flush@0+0; OK"},
		{"always written, fast", written(native), ModeAbsent, devices.OK, devices.FastZero, 512, "ENOTSUP"},
		{"always written, of nothing", written(native), ModeAbsent, devices.OK, 0, 0, "OK"},
		{"API 1, fast: it has no such flag", v1, ModeAbsent, devices.OK, devices.FastZero, 512, "ENOTSUP"},
		{"API 1", v1, ModeAbsent, devices.OK, devices.FUA, 512, "write_zeroes@0+512; flush@0+0; OK"},
		{"emulate without .flush", Backend{API: 2, CanFUA: Emulate}, ModeAbsent, devices.OK, devices.FUA, 512, "write@0+512; EINVAL"},
		{"not advertised", Backend{API: 2, CanZero: No}, ModeAbsent, devices.OK, 0, 512, "EINVAL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			loop := sim.NewLoop()
			b := &backend{loop: loop, info: capable, fail: map[devices.Op]devices.Errno{devices.OpWriteZeroes: test.result}}
			d := NewDevice(loop, b, mustResolve(t, test.b, test.mode))
			for range 2 { // the second one finds the first one's leftovers
				if got := b.calls(d, devices.OpWriteZeroes, test.flags, test.length); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
			}
		})
	}
}

// A chunk that cannot be written ends the zeroing: no flush, no more chunks.
func TestZeroesThatCannotBeWritten(t *testing.T) {
	loop := sim.NewLoop()
	b := &backend{loop: loop, info: capable, fail: map[devices.Op]devices.Errno{devices.OpWrite: devices.ENOSPC}}
	d := NewDevice(loop, b, mustResolve(t, Backend{API: 2, Flush: true}, ModeAbsent))
	want := fmt.Sprintf("write@0+%d; ENOSPC", ZeroChunk)
	if got := b.calls(d, devices.OpWriteZeroes, devices.FUA, 3*ZeroChunk); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A zero of 8 EiB is 2^37 chunks: nothing is made for each of them in advance.
func TestTheLongestZeroHoldsNoMore(t *testing.T) {
	loop := sim.NewLoop()
	b := &backend{loop: loop, info: capable}
	d := NewDevice(loop, b, mustResolve(t, Backend{API: 2, Flush: true}, ModeAbsent))
	var offsets []uint64
	b.say = func(r *devices.Request) { offsets = append(offsets, r.Offset) }
	d.Submit(&devices.Request{Op: devices.OpWriteZeroes, Length: 1<<63 - 512, Completer: &ended{}})
	loop.Step()
	loop.Step()
	if want := []uint64{0, ZeroChunk, 2 * ZeroChunk}; !slices.Equal(offsets, want) {
		t.Errorf("chunks at %v, want %v", offsets, want)
	}
}

// What was not advertised is refused without a call, though the server has
// refused it before.
func TestWhatWasNotAdvertisedIsRefused(t *testing.T) {
	loop := sim.NewLoop()
	b := &backend{loop: loop, info: devices.Info{Size: 1 << 20}}
	d := NewDevice(loop, b, mustResolve(t, BackendOf(b.info), ModePass))
	for _, op := range []devices.Op{devices.OpFlush, devices.OpTrim, devices.OpWriteZeroes} {
		if got := b.calls(d, op, 0, 512); got != "EINVAL" {
			t.Errorf("%v: %s", op, got)
		}
	}
	if got := b.calls(d, devices.OpWrite, devices.FUA, 512); got != "EINVAL" {
		t.Errorf("write with FUA: %s", got)
	}
	r, err := Resolve(BackendOf(capable), ModeForce, true)
	if err != nil {
		t.Fatal(err)
	}
	d = NewDevice(loop, b, r)
	for _, op := range []devices.Op{devices.OpWrite, devices.OpTrim, devices.OpWriteZeroes} {
		if got := b.calls(d, op, 0, 512); got != "EPERM" {
			t.Errorf("read-only, %v: %s", op, got)
		}
	}
}
