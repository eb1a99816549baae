package nbd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/sim"
)

// scribe is a plugin's device that writes down its calls.
type scribe struct {
	loop  *sim.Loop
	info  devices.Info
	calls []string
	fail  map[devices.Op]devices.Errno
}

func (s *scribe) Info() devices.Info { return s.info }

func (s *scribe) Submit(r *devices.Request) {
	r.Timer.Owner = r
	s.loop.After(&r.Timer, 10, s)
}

func (s *scribe) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	call := map[devices.Op]string{devices.OpWrite: "pwrite", devices.OpTrim: "trim", devices.OpWriteZeroes: "zero", devices.OpFlush: "flush"}[r.Op]
	if r.Flags&devices.FUA != 0 {
		call += "(fua)"
	}
	if r.Op == devices.OpWrite && r.Length != 4096 {
		call += fmt.Sprintf("@%d+%d", r.Offset, r.Length)
	}
	s.calls = append(s.calls, call)
	r.Charge(devices.MediaStage, s.loop.Now())
	r.Finish(s.fail[r.Op])
}

// backendExport is an export of a backend that declares b and whose calls go to
// device, under a fua filter in the given mode. Each connection is resolved when it is
// opened; an error of fua.Resolve refuses it.
func backendExport(loop *sim.Loop, b fua.Backend, device devices.Device, mode fua.Mode, readOnly bool) *Export {
	e := &Export{ReadOnly: readOnly}
	e.Open = func(ConnInfo) (devices.Device, error) {
		r, err := fua.Resolve(b, mode, readOnly)
		if err != nil {
			return nil, err
		}
		return fua.NewDevice(loop, device, r), nil
	}
	return e
}

// plug opens a plugin's export over a virtual wire.
func plug(t *testing.T, b fua.Backend, mode fua.Mode, readOnly bool) (*scribe, *Wire, error) {
	t.Helper()
	loop := sim.NewLoop()
	s := &scribe{loop: loop, info: devices.Info{Size: 1 << 30}, fail: map[devices.Op]devices.Errno{}}
	w, err := Connect(loop, backendExport(loop, b, s, mode, readOnly), 0, nil, nil)
	return s, w, err
}

// ask sends one command past the client's own checks and tells the calls that
// it made, then its errno.
func (s *scribe) ask(t *testing.T, w *Wire, op devices.Op, flags devices.Flags, length uint64) string {
	t.Helper()
	s.calls = nil
	out := &replies{}
	server := NewServerConn(s.loop, &Export{}, w.Server.dev, 0, out)
	h := Header{Op: op, Flags: flags, Cookie: 1, Length: length}
	var p devices.Payload
	if op == devices.OpWrite {
		p.Bytes = make([]byte, length)
	}
	server.Receive(&h, p, s.loop.Now())
	s.loop.Run(sim.Never)
	answer := s.calls
	if e := out.last().Errno; e != devices.OK {
		answer = append(answer, e.String())
	}
	if len(answer) == 0 {
		return "nop"
	}
	return strings.Join(answer, ";")
}

// TestPluginServesEveryCombinationAsResolved has every kind of plugin under
// every mode serve a connection, and compares the calls that reach it with the
// decision table.
func TestPluginServesEveryCombinationAsResolved(t *testing.T) {
	served, refused := 0, 0
	everyBackend(func(b fua.Backend, mode fua.Mode, readOnly bool) {
		want, err := fua.Resolve(b, mode, readOnly)
		s, w, refusal := plug(t, b, mode, readOnly)
		if err != nil {
			refused++
			if refusal == nil || !strings.Contains(refusal.Error(), err.Error()) {
				t.Errorf("%+v %v: refused with %v, want %v", b, mode, refusal, err)
			}
			return
		}
		served++
		x := w.Client.Export()
		for flag, on := range map[TransmissionFlags]bool{SendFlush: want.Flush, SendFUA: want.FUA, SendTrim: want.Trim, SendWriteZeroes: want.Zero, ReadOnly: want.ReadOnly} {
			if (x.Flags&flag != 0) != on {
				t.Errorf("%+v %v: flags %#x, resolved to %+v", b, mode, x.Flags, want)
			}
		}
		for name, c := range map[string]struct {
			op     devices.Op
			flags  devices.Flags
			action fua.Action
		}{
			"write":     {devices.OpWrite, 0, want.Write},
			"fua write": {devices.OpWrite, devices.FUA, want.WriteFUA},
			"fua trim":  {devices.OpTrim, devices.FUA, want.TrimFUA},
			"fua zero":  {devices.OpWriteZeroes, devices.FUA, want.WriteZeroesFUA(4096, devices.OK, false)},
			"flush":     {devices.OpFlush, 0, want.FlushAction},
		} {
			length := uint64(4096)
			if c.op == devices.OpFlush {
				length = 0
			}
			if got := s.ask(t, w, c.op, c.flags, length); got != c.action.String() {
				t.Errorf("%+v %v readonly=%v: a %s makes %s, want %v", b, mode, readOnly, name, got, c.action)
			}
		}
	})
	t.Logf("%d combinations served, %d refused", served, refused)
}

// trimsAndZeroes are what backends declare of the two, each answer at least once.
var trimsAndZeroes = []fua.Backend{
	{Trim: true, Zero: true},
	{Trim: true, Zero: true, CanZero: fua.No},
	{Trim: true, Zero: true, CanZero: fua.Emulate},
	{Trim: true, Zero: true, CanZero: fua.Native},
	{},
	{CanTrim: fua.Yes, CanZero: fua.Native}, // a promise without a callback
	{Trim: true, CanTrim: fua.No, CanZero: fua.Emulate},
	{Trim: true, CanTrim: fua.Yes, Zero: true, CanZero: fua.Failed},
	{Trim: true, CanTrim: fua.Failed, Zero: true},
}

func everyBackend(visit func(fua.Backend, fua.Mode, bool)) {
	bools := []bool{false, true}
	for _, api := range []int{1, 2} {
		for _, flush := range bools {
			for _, canFlush := range []fua.Answer{fua.Absent, fua.No, fua.Yes, fua.Failed} {
				for _, canFUA := range []fua.Answer{fua.Absent, fua.No, fua.Emulate, fua.Native, fua.Other, fua.Failed} {
					for _, b := range trimsAndZeroes {
						b.API, b.Flush, b.CanFlush, b.CanFUA = api, flush, canFlush, canFUA
						for mode := fua.ModeAbsent; mode <= fua.ModeDiscard; mode++ {
							for _, readOnly := range bools {
								visit(b, mode, readOnly)
							}
						}
					}
				}
			}
		}
	}
}

func TestPluginFUAWriteThatFailsIsNotFlushed(t *testing.T) {
	s, w, err := plug(t, fua.Backend{API: 2, Flush: true}, fua.ModeAbsent, false)
	if err != nil {
		t.Fatal(err)
	}
	s.fail[devices.OpWrite] = devices.ENOSPC
	if got := s.ask(t, w, devices.OpWrite, devices.FUA, 4096); got != "pwrite;ENOSPC" {
		t.Errorf("got %s", got)
	}
}

func TestPluginFlushThatFailsFailsTheWrite(t *testing.T) {
	s, w, err := plug(t, fua.Backend{API: 2, Flush: true}, fua.ModeAbsent, false)
	if err != nil {
		t.Fatal(err)
	}
	s.fail[devices.OpFlush] = devices.EIO
	if got := s.ask(t, w, devices.OpWrite, devices.FUA, 4096); got != "pwrite;flush;EIO" {
		t.Errorf("got %s", got)
	}
}

// TestPluginZeroFallbackAdvances covers what nbdkit's fallback gets wrong: it
// writes the first 64 MiB again and again.
func TestPluginZeroFallbackAdvances(t *testing.T) {
	const chunk = fua.ZeroChunk
	for _, c := range []struct {
		fua  fua.Answer
		want string
	}{
		{fua.Native, fmt.Sprintf("zero(fua);pwrite(fua)@0+%d;pwrite(fua)@%d+512", chunk, chunk)},
		{fua.Emulate, fmt.Sprintf("zero;pwrite@0+%d;pwrite@%d+512;flush", chunk, chunk)},
	} {
		s, w, err := plug(t, fua.Backend{API: 2, Flush: true, Zero: true, CanFUA: c.fua}, fua.ModeAbsent, false)
		if err != nil {
			t.Fatal(err)
		}
		s.fail[devices.OpWriteZeroes] = devices.ENOTSUP
		if got := s.ask(t, w, devices.OpWriteZeroes, devices.FUA, chunk+512); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestPluginForceMakesPlainTrimAndZeroDurable(t *testing.T) {
	s, w, err := plug(t, fua.Backend{API: 2, Flush: true, Trim: true, Zero: true, CanFUA: fua.Native}, fua.ModeForce, false)
	if err != nil {
		t.Fatal(err)
	}
	for op, want := range map[devices.Op]string{devices.OpTrim: "trim(fua)", devices.OpWriteZeroes: "zero(fua)"} {
		if got := s.ask(t, w, op, 0, 4096); got != want {
			t.Errorf("%v makes %s, want %s", op, got, want)
		}
	}
}

func TestPluginStagesSumToTheWholeTime(t *testing.T) {
	_, w, err := plug(t, fua.Backend{API: 2, Flush: true}, fua.ModeAbsent, false)
	if err != nil {
		t.Fatal(err)
	}
	done := &counter{}
	r := request(devices.OpWrite, devices.FUA, 4096, done)
	r.Begin(w.loop.Now())
	w.Client.Submit(r)
	w.loop.Run(sim.Never)
	if len(done.done) != 1 || r.Stages.Total() != 20 || r.Stages[devices.MediaStage] != 20 {
		t.Errorf("%d done, stages %v", len(done.done), r.Stages)
	}
}

// tape is a legacy backend: bytes, and a count of Syncs.
type tape struct {
	data  [8192]byte
	syncs int
	err   error
}

func (b *tape) ReadAt(p []byte, off int64) (int, error)  { return copy(p, b.data[off:]), b.err }
func (b *tape) WriteAt(p []byte, off int64) (int, error) { return copy(b.data[off:], p), b.err }
func (b *tape) Sync() error                              { b.syncs++; return b.err }

func TestLegacyBackendIsClampedToEmulate(t *testing.T) {
	loop, backend := sim.NewLoop(), &tape{}
	p := plugin.FromInterfaces(backend, backend, uint64(len(backend.data)))
	opens := p.Open
	p.Open = func(ctx context.Context, c plugin.ConnInfo) (*plugin.Conn, error) {
		conn, err := opens(ctx, c)
		conn.CanFUA = func(context.Context) (fua.Answer, error) { return fua.Native, nil } // a claim that its calls cannot keep
		return conn, err
	}
	w, err := Connect(loop, HostExport("", "", plugin.NewHost(p, plugin.Options{Loop: loop})), 0, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f := w.Client.Export().Flags; f&SendFUA == 0 || f&SendFlush == 0 {
		t.Errorf("flags %#x", f)
	}
	done := &counter{}
	r := request(devices.OpWrite, devices.FUA, 4096, done)
	r.Bytes = []byte(strings.Repeat("x", 4096))
	w.Client.Submit(r)
	loop.Run(sim.Never)
	if r.Errno != devices.OK || backend.syncs != 1 || backend.data[4095] != 'x' {
		t.Errorf("%v, %d syncs", r.Errno, backend.syncs)
	}
	backend.err = errors.New("medium error")
	r = request(devices.OpFlush, 0, 0, done)
	w.Client.Submit(r)
	loop.Run(sim.Never)
	if r.Errno != devices.EIO {
		t.Errorf("a failing Sync is %v", r.Errno)
	}
}
