package nbd

import (
	"errors"
	"slices"
	"testing"
	"time"
	"unsafe"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// replies keeps what a ServerConn answers.
type replies struct{ got []Reply }

func (r *replies) SendReply(x Reply) { r.got = append(r.got, x) }

func (r *replies) cookies() (c []uint64) {
	for _, x := range r.got {
		c = append(c, x.Cookie)
	}
	return c
}

func (r *replies) last() Reply { return r.got[len(r.got)-1] }

// newServer returns a ServerConn over a device that answers when the test says so.
func newServer(e *Export) (*ServerConn, *nbdtest.RAM, *replies) {
	loop := sim.NewLoop()
	d, out := nbdtest.NewRAM(loop, nbdtest.Size), &replies{}
	d.Held, d.Log = true, true
	e.Device = d
	return NewServerConn(loop, e, d, 7, out), d, out
}

func give(s *ServerConn, h Header) { s.Receive(&h, devices.Payload{}, s.loop.Now()) }

func TestServerFUAReachesTheDeviceOnlyWhereItMeansSomething(t *testing.T) {
	for _, test := range []struct {
		h    Header
		want devices.Flags
	}{
		{Header{Op: devices.OpWrite, Flags: devices.FUA, Length: 1}, devices.FUA},
		{Header{Op: devices.OpTrim, Flags: devices.FUA, Length: 1}, devices.FUA},
		{Header{Op: devices.OpWriteZeroes, Flags: devices.FUA | devices.NoHole, Length: 1}, devices.FUA | devices.NoHole},
		{Header{Op: devices.OpRead, Flags: devices.FUA, Length: 1}, 0},
		{Header{Op: devices.OpFlush, Flags: devices.FUA}, 0},
		{Header{Op: devices.OpCache, Flags: devices.FUA, Length: 1}, 0},
	} {
		s, d, _ := newServer(&Export{})
		give(s, test.h)
		if len(d.Seen) != 1 || d.Seen[0].Flags != test.want || d.Seen[0].Op != test.h.Op || d.Seen[0].Conn != 7 {
			t.Errorf("%+v reached the device as %v", test.h, d.Seen)
		}
	}
}

func TestServerFUAOnlyByOverrideDoesNothing(t *testing.T) {
	loop, out := sim.NewLoop(), &replies{}
	d := nbdtest.NewRAM(loop, nbdtest.Size)
	d.Held, d.Log = true, true
	d.Desc.FUA, d.Desc.CanFlush = devices.FUANone, false
	s := NewServerConn(loop, &Export{Set: SendFUA | SendFlush}, d, 0, out)
	give(s, Header{Op: devices.OpWrite, Flags: devices.FUA, Length: 512})
	give(s, Header{Op: devices.OpFlush, Cookie: 2})
	if len(d.Seen) != 1 || d.Seen[0].Flags != 0 {
		t.Errorf("the device saw %v", d.Seen)
	}
	if len(out.got) != 1 || out.last().Cookie != 2 || out.last().Errno != devices.OK {
		t.Errorf("FLUSH was answered with %+v", out.got)
	}
}

func TestServerRepliesInTheOrderOfCompletion(t *testing.T) {
	s, d, out := newServer(&Export{})
	for i := range uint64(4) {
		give(s, Header{Op: devices.OpWrite, Cookie: 10 + i, Length: 512})
	}
	for _, i := range []int{2, 0, 1, 0} {
		d.Complete(i)
	}
	if got := out.cookies(); !slices.Equal(got, []uint64{12, 10, 13, 11}) || s.InFlight() != 0 {
		t.Errorf("replied %v, %d in flight", got, s.InFlight())
	}
}

func TestServerSlowFlushHoldsUpNoRead(t *testing.T) {
	s, d, out := newServer(&Export{})
	give(s, Header{Op: devices.OpFlush, Cookie: 1})
	give(s, Header{Op: devices.OpRead, Cookie: 2, Length: 512})
	d.Complete(1)
	if got := out.cookies(); !slices.Equal(got, []uint64{2}) {
		t.Errorf("replied %v", got)
	}
}

func TestServerReadErrorHasNoData(t *testing.T) {
	s, d, out := newServer(&Export{})
	give(s, Header{Op: devices.OpRead, Length: 512})
	d.Errno = devices.EIO
	d.Complete(0)
	if r := out.last(); r.Errno != devices.EIO || r.Data != 0 {
		t.Errorf("replied %+v", r)
	}
}

func TestServerDiscFinishesWhatIsInFlightWithoutAReply(t *testing.T) {
	s, d, out := newServer(&Export{})
	give(s, Header{Op: devices.OpWrite, Cookie: 1, Length: 512})
	give(s, Header{Op: CmdDisc, Cookie: 2})
	if !s.Disconnected() || len(out.got) != 0 || s.InFlight() != 1 {
		t.Fatalf("disconnected %v, replies %v", s.Disconnected(), out.got)
	}
	d.Complete(0)
	if got := out.cookies(); !slices.Equal(got, []uint64{1}) {
		t.Errorf("replied %v", got)
	}
}

func TestServerDrainAnswersESHUTDOWN(t *testing.T) {
	s, d, out := newServer(&Export{})
	give(s, Header{Op: devices.OpWrite, Cookie: 1, Length: 512})
	s.Drain()
	give(s, Header{Op: devices.OpWrite, Cookie: 2, Length: 512})
	if r := out.last(); r.Cookie != 2 || r.Errno != devices.ESHUTDOWN {
		t.Errorf("replied %+v", r)
	}
	d.Complete(0)
	if r := out.last(); r.Cookie != 1 || r.Errno != devices.OK {
		t.Errorf("replied %+v", r)
	}
}

func TestServerRefusalReachesNoDevice(t *testing.T) {
	s, d, out := newServer(&Export{Clear: SendFUA})
	give(s, Header{Op: devices.OpWrite, Flags: devices.FUA, Cookie: 5, Length: 512})
	if r := out.last(); len(d.Seen) != 0 || r.Errno != devices.EINVAL || r.Cookie != 5 || s.InFlight() != 0 {
		t.Errorf("replied %+v, device saw %v", r, d.Seen)
	}
}

func TestServerHasRoomUpToItsBounds(t *testing.T) {
	s, d, _ := newServer(&Export{})
	s.info.Size = 1 << 40
	whole := Header{Op: devices.OpRead, Length: DefaultMaxPayload}
	for range MaxInFlightBytes / DefaultMaxPayload {
		if !s.Room(&whole) {
			t.Fatal("no room below the bound")
		}
		give(s, whole)
	}
	if s.Room(&Header{Op: devices.OpRead, Length: 1}) {
		t.Error("room for a byte beyond the bound")
	}
	if !s.Room(&Header{Op: devices.OpFlush}) {
		t.Error("FLUSH has no data and needs no room")
	}
	d.Queue[0].Finish(devices.EIO)
	if !s.Room(&whole) {
		t.Error("no room after a reply")
	}
	for s.InFlight() < MaxInFlight {
		give(s, Header{Op: devices.OpFlush})
	}
	if s.Room(&Header{Op: devices.OpFlush}) {
		t.Error("room for a request beyond the bound")
	}
}

func TestServerCountsCommands(t *testing.T) {
	s, _, _ := newServer(&Export{})
	for _, h := range []Header{
		{Op: devices.OpRead, Flags: devices.FUA, Length: 1},
		{Op: devices.OpWrite, Length: 1},
		{Op: devices.OpWrite, Flags: devices.FUA, Length: 1},
		{Op: devices.OpWrite, Length: 0}, // refused
		{Op: devices.OpFlush},
		{Op: devices.OpTrim, Flags: devices.FUA, Length: 1},
		{Op: devices.OpWriteZeroes, Length: 1},
	} {
		give(s, h)
	}
	if got, want := s.Counts(), (Counts{Read: 1, Write: 1, WriteFUA: 1, Flush: 1, TrimFUA: 1, WriteZeroes: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// requests keeps what a Client sends.
type requests struct{ got []Header }

func (r *requests) SendRequest(h Header, _ devices.Payload) { r.got = append(r.got, h) }

func newClient(f TransmissionFlags) (*Client, *requests, *sim.Loop) {
	loop, out := sim.NewLoop(), &requests{}
	return NewClient(loop, *exportWith(f), out), out, loop
}

func request(op devices.Op, flags devices.Flags, length uint64, c devices.Completer) *devices.Request {
	return &devices.Request{Op: op, Flags: flags, Length: length, Completer: c}
}

func TestClientNeverSendsWhatWasNotAdvertised(t *testing.T) {
	for _, test := range []struct {
		name   string
		flags  TransmissionFlags
		op     devices.Op
		with   devices.Flags
		length uint64
		want   devices.Errno
	}{
		{"fua", everything &^ SendFUA, devices.OpWrite, devices.FUA, 512, devices.EINVAL},
		{"flush", everything &^ SendFlush, devices.OpFlush, 0, 0, devices.EINVAL},
		{"trim", everything &^ SendTrim, devices.OpTrim, 0, 512, devices.EINVAL},
		{"write_zeroes", everything &^ SendWriteZeroes, devices.OpWriteZeroes, 0, 512, devices.EINVAL},
		{"fast_zero", everything &^ SendFastZero, devices.OpWriteZeroes, devices.FastZero, 512, devices.EINVAL},
		{"cache", everything &^ SendCache, devices.OpCache, 0, 512, devices.EINVAL},
		{"block_status", everything, devices.OpBlockStatus, 0, 512, devices.EINVAL},
		{"write to read-only", everything | ReadOnly, devices.OpWrite, 0, 512, devices.EPERM},
		{"more than the maximum payload", everything, devices.OpRead, 0, 256<<10 + 1, devices.EINVAL},
		{"more than 32 bits of length", everything, devices.OpTrim, 0, 1 << 32, devices.EINVAL},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, out, loop := newClient(test.flags)
			done := &counter{}
			r := request(test.op, test.with, test.length, done)
			c.Submit(r)
			if len(done.done) != 0 {
				t.Fatal("completed within Submit")
			}
			loop.Run(sim.Never)
			if len(done.done) != 1 || r.Errno != test.want || len(out.got) != 0 {
				t.Errorf("ended with %v, want %v; sent %v", r.Errno, test.want, out.got)
			}
		})
	}
}

func TestClientCompletesOutOfOrder(t *testing.T) {
	c, out, _ := newClient(everything)
	done := &counter{}
	var rs []*devices.Request
	for range 3 {
		r := request(devices.OpWrite, 0, 512, done)
		rs = append(rs, r)
		c.Submit(r)
	}
	for _, i := range []int{1, 2, 0} {
		if err := c.Receive(devices.OK, out.got[i].Cookie, devices.Payload{}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(done.done, []*devices.Request{rs[1], rs[2], rs[0]}) || c.InFlight() != 0 {
		t.Errorf("completed %v", done.done)
	}
}

func TestClientStaleCookieEndsTheConnection(t *testing.T) {
	c, out, loop := newClient(everything)
	done := &counter{}
	a, b := request(devices.OpWrite, 0, 512, done), request(devices.OpWrite, 0, 512, done)
	c.Submit(a)
	old := out.got[0].Cookie
	_ = c.Receive(devices.OK, old, devices.Payload{})
	c.Submit(b) // takes the same slot, of another generation
	var violated *ProtocolError
	if err := c.Receive(devices.OK, old, devices.Payload{}); !errors.As(err, &violated) {
		t.Fatalf("a repeated reply: %v", err)
	}
	if b.Errno != devices.ESHUTDOWN || len(done.done) != 2 || !errors.As(c.Err(), &violated) {
		t.Errorf("what was in flight ended with %v; %v", b.Errno, c.Err())
	}
	after := request(devices.OpWrite, 0, 512, done)
	c.Submit(after)
	loop.Run(sim.Never)
	if after.Errno != devices.ESHUTDOWN {
		t.Errorf("a later request ended with %v", after.Errno)
	}
}

func TestClientSendsNothingAfterESHUTDOWN(t *testing.T) {
	c, out, loop := newClient(everything)
	done := &counter{}
	a, b := request(devices.OpWrite, 0, 512, done), request(devices.OpWrite, 0, 512, done)
	c.Submit(a)
	c.Submit(b)
	_ = c.Receive(devices.ESHUTDOWN, out.got[0].Cookie, devices.Payload{})
	late := request(devices.OpWrite, 0, 512, done)
	c.Submit(late)
	loop.Run(sim.Never)
	_ = c.Receive(devices.OK, out.got[1].Cookie, devices.Payload{})
	if late.Errno != devices.ESHUTDOWN || b.Errno != devices.OK || len(out.got) != 2 {
		t.Errorf("late %v, in flight %v, sent %d", late.Errno, b.Errno, len(out.got))
	}
}

func TestClientQueuesBeyondItsBound(t *testing.T) {
	c, out, _ := newClient(everything)
	done := &counter{}
	for range MaxClientInFlight + 3 {
		c.Submit(request(devices.OpWrite, 0, 512, done))
	}
	if len(out.got) != MaxClientInFlight {
		t.Fatalf("sent %d", len(out.got))
	}
	for i := 0; i < len(out.got); i++ {
		_ = c.Receive(devices.OK, out.got[i].Cookie, devices.Payload{})
	}
	if len(done.done) != MaxClientInFlight+3 {
		t.Errorf("completed %d", len(done.done))
	}
}

func TestClientInfoIsWhatWasNegotiated(t *testing.T) {
	c, _, _ := newClient(everything &^ SendFUA &^ CanMultiConn)
	if i := c.Info(); i.FUA != devices.FUANone || !i.CanFlush || i.MultiConn || i.Size != nbdtest.Size || i.MaxPayload != 256<<10 {
		t.Errorf("%+v", i)
	}
	c, _, _ = newClient(HasFlags | SendFUA | ReadOnly | Rotational)
	if i := c.Info(); i.FUA != devices.FUANative || i.CanFlush || !i.ReadOnly || !i.Rotational || i.Cache != devices.CacheNone {
		t.Errorf("%+v", i)
	}
}

// connect joins a client to a device over a virtual wire of 10 µs each way.
func testWire(t *testing.T, e *Export) (*Wire, *sim.Loop, *nbdtest.RAM) {
	t.Helper()
	loop := sim.NewLoop()
	d := nbdtest.NewRAM(loop, nbdtest.Size)
	d.Log = true
	e.Device = d
	w, err := Connect(loop, e, 3, sim.NewLink(10*time.Microsecond, 0), sim.NewLink(10*time.Microsecond, 1e9))
	if err != nil {
		t.Fatal(err)
	}
	return w, loop, d
}

func TestWireStagesSumToTheWholeTime(t *testing.T) {
	w, loop, d := testWire(t, &Export{})
	d.Service = 7 * time.Microsecond
	done := &counter{}
	r := request(devices.OpRead, 0, 4096, done)
	r.Bytes = make([]byte, 4096)
	loop.Run(1000)
	r.Intended = 400
	r.Begin(r.Intended)
	w.Client.Submit(r)
	loop.Run(sim.Never)
	want := devices.Stages{
		devices.ClientQueue: 600, devices.MediaStage: 7 * time.Microsecond,
		devices.Wire: 20*time.Microsecond + (ReplySize+4096)*time.Nanosecond,
	}
	if len(done.done) != 1 || r.Stages != want || r.Stages.Total() != r.Completed.Sub(r.Intended) {
		t.Errorf("stages %v, want %v; total %v of %v", r.Stages, want, r.Stages.Total(), r.Completed.Sub(r.Intended))
	}
}

func TestWireCarriesWhoseRequestItIs(t *testing.T) {
	w, loop, d := testWire(t, &Export{})
	r := request(devices.OpWrite, devices.FUA, 512, &counter{})
	r.Conn, r.Stream, r.Txn, r.Step = 9, 5, 77, 2
	w.Client.Submit(r)
	loop.Run(sim.Never)
	if s := d.Seen[0]; s.Conn != 9 || s.Stream != 5 || s.Txn != 77 || s.Step != 2 || s.Flags != devices.FUA {
		t.Errorf("the device saw %+v", s)
	}
}

func TestWireCarriesBytes(t *testing.T) {
	w, loop, _ := testWire(t, &Export{})
	write := request(devices.OpWrite, 0, 512, &counter{})
	write.Offset, write.Bytes = 1024, slices.Repeat([]byte{0xab}, 512)
	w.Client.Submit(write)
	loop.Run(sim.Never)
	read := request(devices.OpRead, 0, 512, &counter{})
	read.Offset, read.Bytes = 1024, make([]byte, 512)
	w.Client.Submit(read)
	loop.Run(sim.Never)
	if !slices.Equal(read.Bytes, write.Bytes) {
		t.Error("read something else than was written")
	}
}

func TestWireTakesTheLinksTime(t *testing.T) {
	loop := sim.NewLoop()
	d := nbdtest.NewRAM(loop, nbdtest.Size)
	m, _, err := ConnectAll(loop, &Export{Device: d}, 2, sim.NewLink(time.Millisecond, 1e6), sim.NewLink(time.Millisecond, 1e6))
	if err != nil {
		t.Fatal(err)
	}
	done := &counter{}
	for i := range uint32(2) {
		r := request(devices.OpWrite, 0, 972, done) // with its header 1000 bytes: 1 ms
		r.Conn = i
		m.Submit(r)
	}
	loop.Run(sim.Never)
	first, second := done.done[0].Completed, done.done[1].Completed
	if want := sim.Time(3*time.Millisecond + ReplySize*time.Microsecond); first != want {
		t.Errorf("the first took %v, want %v", first, want)
	}
	if second.Sub(first) != time.Millisecond {
		t.Errorf("the second, by the same link, came %v later", second.Sub(first))
	}
}

func TestWireWithoutLatency(t *testing.T) {
	loop := sim.NewLoop()
	d := nbdtest.NewRAM(loop, nbdtest.Size)
	w, err := Connect(loop, &Export{Device: d}, 0, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := &counter{}
	w.Client.Submit(request(devices.OpWrite, 0, 512, done))
	if len(done.done) != 0 {
		t.Error("completed within Submit")
	}
	loop.Run(sim.Never)
	if len(done.done) != 1 || loop.Now() != 0 {
		t.Errorf("completed %d by %v", len(done.done), loop.Now())
	}
}

func TestWireHoldsUpWhatTheServerHasNoRoomFor(t *testing.T) {
	w, loop, d := testWire(t, &Export{})
	d.Service = time.Millisecond
	done := &counter{}
	for range MaxClientInFlight {
		r := request(devices.OpWrite, 0, 256<<10, done)
		r.Begin(0)
		w.Client.Submit(r)
	}
	loop.Run(sim.Time(500 * time.Microsecond))
	if got, want := w.Server.InFlight(), MaxInFlightBytes/(256<<10); got != want {
		t.Errorf("%d in flight, want %d", got, want)
	}
	loop.Run(sim.Never)
	if len(done.done) != MaxClientInFlight {
		t.Fatalf("completed %d", len(done.done))
	}
	last := done.done[len(done.done)-1]
	if last.Stages[devices.ServerQueue] != time.Millisecond || last.Stages.Total() != last.Completed.Sub(0) {
		t.Errorf("the last one's stages are %v of %v", last.Stages, last.Completed)
	}
}

func TestWireCutFailsWhatIsInFlight(t *testing.T) {
	w, loop, d := testWire(t, &Export{})
	d.Service = time.Millisecond
	done := &counter{}
	r := request(devices.OpWrite, 0, 512, done)
	w.Client.Submit(r)
	loop.Run(sim.Time(100 * time.Microsecond))
	w.Cut()
	loop.Run(sim.Never)
	if len(done.done) != 1 || r.Errno != devices.ESHUTDOWN || w.Server.InFlight() != 0 {
		t.Errorf("ended with %v, %d left at the server", r.Errno, w.Server.InFlight())
	}
}

func TestWireRefusedExport(t *testing.T) {
	_, err := Connect(sim.NewLoop(), &Export{Open: func(ConnInfo) (devices.Device, error) {
		return nil, errors.New("no FUA here")
	}}, 0, sim.NewLink(0, 0), sim.NewLink(0, 0))
	var refusal *OptionError
	if !errors.As(err, &refusal) || refusal.Message != "no FUA here" {
		t.Errorf("got %v", err)
	}
}

func TestWireAllocatesNothing(t *testing.T) {
	loop := sim.NewLoop()
	d := nbdtest.NewRAM(loop, nbdtest.Size)
	d.Service = time.Microsecond
	w, err := Connect(loop, &Export{Device: d}, 0, sim.NewLink(time.Microsecond, 0), sim.NewLink(time.Microsecond, 0))
	if err != nil {
		t.Fatal(err)
	}
	r := request(devices.OpWrite, devices.FUA, 4096, nothingElse{})
	once := func() {
		r.Begin(loop.Now())
		w.Client.Submit(r)
		loop.Run(sim.Never)
	}
	once()
	if n := testing.AllocsPerRun(100, once); n != 0 {
		t.Errorf("%v allocations for one I/O", n)
	}
}

type nothingElse struct{}

func (nothingElse) Done(*devices.Request) {}

// TestARecordIsWithinItsBound, which servers charge for.
func TestARecordIsWithinItsBound(t *testing.T) {
	if n := unsafe.Sizeof(served{}); n > MaxRecord {
		t.Errorf("a request takes %d bytes, expected at most %d", n, MaxRecord)
	}
}
