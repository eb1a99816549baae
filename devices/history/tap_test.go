package history

import (
	"fmt"
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

// slow is a device that takes ten nanoseconds for each command, and FLUSH twice
// that.
type slow struct{ loop *sim.Loop }

func (d *slow) Info() devices.Info {
	return devices.Info{Size: 1 << 40, CanFlush: true, MultiConn: true}
}

func (d *slow) Submit(r *devices.Request) {
	r.Timer.Owner = r
	d.loop.After(&r.Timer, takes(r.Op), d)
}

func takes(op devices.Op) sim.Duration {
	if op == devices.OpFlush {
		return 20
	}
	return 10
}

func (d *slow) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	e := devices.OK
	if r.Op == devices.OpCache {
		e = devices.EINVAL
	}
	r.Finish(e)
}

type counter struct{ n int }

func (c *counter) Done(*devices.Request) { c.n++ }

func TestTapTellsOfBothEndsAndForwardsTheSameRequest(t *testing.T) {
	loop := sim.NewLoop()
	log := new(Log)
	tap := NewTap(&slow{loop}, loop, log)
	var done counter
	write := &devices.Request{Op: devices.OpWrite, Flags: devices.FUA, Offset: 512, Length: 512, Conn: 1, Stream: 2, Txn: 3, Completer: &done}
	write.Stamp = 5
	flush := &devices.Request{Op: devices.OpFlush, Completer: &done}
	cache := &devices.Request{Op: devices.OpCache, Length: 512, Completer: &done}
	tap.Submit(flush)
	tap.Submit(write)
	loop.Run(15)
	tap.Submit(cache)
	loop.Run(sim.Never)
	want := []string{
		"1 0s submit flush", "2 0s submit write fua 512+512 stamp=5",
		"3 10ns done write fua 512+512 stamp=5 of 2: OK", "4 15ns submit cache 0+512 stamp=0",
		"5 20ns done flush of 1: OK", "6 25ns done cache 0+512 stamp=0 of 4: EINVAL",
	}
	for i := range log.Events {
		if got := log.Events[i].String(); got != want[i] {
			t.Errorf("event %d: got %q, want %q", i+1, got, want[i])
		}
	}
	if e := log.Events[1]; e.Conn != 1 || e.Stream != 2 || e.Txn != 3 {
		t.Errorf("got %+v", e)
	}
	if done.n != 3 || write.Completer != devices.Completer(&done) || tap.Info() != (&slow{}).Info() {
		t.Errorf("%d done, completer %v", done.n, write.Completer)
	}
}

// overwrite writes each of the pages once and ends with a FLUSH.
func overwrite(loop *sim.Loop, top devices.Device, l *Ledger, requests []devices.Request, stamp *devices.Stamp) {
	for i := range requests {
		r := &requests[i]
		c := r.Completer
		r.Reset()
		r.Op, r.Offset, r.Length, r.Completer = devices.OpWrite, uint64(i)*4096, 4096, c
		if i == len(requests)-1 {
			r.Op = devices.OpFlush
		} else {
			*stamp++
			r.Stamp, r.Txn = *stamp, uint64(*stamp)
			if i%4 == 0 {
				r.Flags = devices.FUA
			}
		}
		l.Submit(r)
		top.Submit(r)
	}
	loop.Run(sim.Never)
}

// book passes completions to a ledger.
type book struct{ l *Ledger }

func (b *book) Done(r *devices.Request) {
	b.l.Op(r)
	b.l.Commit(&devices.Commit{Txn: r.Txn})
}

// newOverwrite returns a round of overwrite, its judge and its ledger, with
// tables that have room for rounds rounds.
func newOverwrite(pages, rounds int) (round func(), j *Judge, l *Ledger) {
	loop := sim.NewLoop()
	j, l = NewJudge(devices.Info{MultiConn: true}), NewLedger()
	n := pages * rounds
	j.versions = make([]version, 0, n+1)
	l.ops, l.byStamp = append(make([]op, 0, n+1), op{}), make([]uint32, 0, n+1)
	l.links, l.commits = append(make([]link, 0, n+1), link{}), append(make([]commit, 0, n+1), commit{})
	l.byTxn = make([]uint32, 0, n+1)
	tap := NewTap(&slow{loop}, loop, j)
	requests := make([]devices.Request, pages+1)
	b := &book{l}
	for i := range requests {
		requests[i].Completer = b
	}
	var stamp devices.Stamp
	return func() { overwrite(loop, tap, l, requests, &stamp) }, j, l
}

func TestNothingAllocatesButTheGrowthOfTables(t *testing.T) {
	round, j, _ := newOverwrite(64, 200)
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations in a round", n)
	}
	// a round's FLUSH comes with its writes and covers those of the round before
	if len(j.cells.pages) != 64 || j.Legal(0, 1) || len(j.acked[0].items) != 48 {
		t.Errorf("%d pages, version 1 legal: %v, %d writes wait for a flush", len(j.cells.pages), j.Legal(0, 1), len(j.acked[0].items))
	}
}

func TestLostAfterWrapAroundIsOfTheLastRoundOnly(t *testing.T) {
	round, _, l := newOverwrite(64, 10)
	for range 10 {
		round()
	}
	last := func(sector uint64) devices.Stamp { return devices.Stamp(9*64 + sector/8 + 1) }
	before := func(sector uint64) devices.Stamp { return last(sector) - 64 }
	first := func(uint64) devices.Stamp { return 0 }
	for _, c := range []struct {
		name string
		read func(uint64) devices.Stamp
		want int
	}{{"newest", last, 0}, {"one round older", before, 64}, {"nothing", first, 640}} {
		if got := l.Lost(l.Written, c.read).Commits; got != c.want {
			t.Errorf("%s: %d commits lost, want %d", c.name, got, c.want)
		}
	}
}

func TestACommitThatWasNotAcknowledgedIsNotLost(t *testing.T) {
	l := NewLedger()
	r := &devices.Request{Op: devices.OpWrite, Length: 4096, Txn: 1}
	r.Stamp = 1
	l.Submit(r)
	l.Op(r)
	none := func(uint64) devices.Stamp { return 0 }
	for _, c := range []struct {
		commit devices.Commit
		want   Loss
	}{
		{devices.Commit{Txn: 2, Acked: 5}, Loss{}},
		{devices.Commit{Txn: 1, Acked: 6, Errno: devices.EIO}, Loss{}},
		{devices.Commit{Txn: 1, Acked: 7}, Loss{Commits: 1, OldestAck: 7, OldestTxn: 1}},
	} {
		l.Commit(&c.commit)
		if got := l.Lost(l.Written, none); got != c.want {
			t.Errorf("after %+v: got %+v, want %+v", c.commit, got, c.want)
		}
	}
	if l.Acked() != 2 {
		t.Errorf("%d acknowledged", l.Acked())
	}
}

func Example() {
	loop := sim.NewLoop()
	drive := &slow{loop}
	judge := NewJudge(drive.Info())
	tap := NewTap(drive, loop, judge) // at the wire, below the server
	for stamp := devices.Stamp(1); stamp <= 2; stamp++ {
		r := &devices.Request{Op: devices.OpWrite, Flags: devices.FUA, Length: 4096, Completer: new(counter)}
		r.Stamp = stamp
		tap.Submit(r)
		loop.Run(sim.Never)
	}
	fmt.Println(judge.Check(3, 1)) // a power cut left the first version in sector 3
	// Output: lost-fua: sector 3 holds version 1, promised was 2 or later (by the completion in event 4) true
}

func BenchmarkTapJudgeLedger(b *testing.B) {
	round, _, _ := newOverwrite(64, 4096)
	writes := 0
	for b.Loop() {
		if writes += 64; writes > 64*4096 {
			b.StopTimer()
			round, _, _ = newOverwrite(64, 4096)
			writes = 64
			b.StartTimer()
		}
		round()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*64), "ns/write")
}

func BenchmarkJudge(b *testing.B) {
	j := NewJudge(devices.Info{MultiConn: true})
	j.versions = make([]version, 0, 1<<16)
	e := Event{Op: devices.OpWrite, Length: 4096}
	for b.Loop() {
		e.Seq++
		e.Stamp, e.Kind, e.Of = e.Stamp%(1<<15)+1, Submit, 0
		e.Offset = uint64(e.Stamp) * 40503 % (1 << 14) * 4096
		e.Flags = devices.Flags(e.Stamp & 1)
		j.Observe(&e)
		e.Of, e.Kind = e.Seq, Done
		e.Seq++
		j.Observe(&e)
		if e.Stamp%64 == 0 {
			f := Event{Op: devices.OpFlush, Kind: Done, Seq: e.Seq + 2, Of: e.Seq + 1}
			e.Seq += 2
			j.Observe(&f)
		}
	}
}

// A power cut is an event, and the end of what was in progress then is not.
func TestATapReportsAPowerCutAndNoLostRequest(t *testing.T) {
	loop := sim.NewLoop()
	log := new(Log)
	tap := NewTap(&slow{loop}, loop, log)
	var done counter
	submit := func() {
		tap.Submit(&devices.Request{Op: devices.OpWrite, Length: 512, Completer: &done})
	}
	submit()
	loop.Run(5)
	tap.Cut()
	submit()
	loop.Run(20)
	submit()
	tap.Abandon()
	loop.Run(sim.Never)
	want := []string{
		"1 0s submit write 0+512 stamp=0", "2 5ns power cut", "3 5ns submit write 0+512 stamp=0",
		"4 15ns done write 0+512 stamp=0 of 3: OK", "5 20ns submit write 0+512 stamp=0",
	}
	for i := range log.Events {
		if got := log.Events[i].String(); i >= len(want) || got != want[i] {
			t.Errorf("event %d: got %q, want %q", i+1, got, want[min(i, len(want)-1)])
		}
	}
	if len(log.Events) != len(want) || done.n != 3 {
		t.Errorf("%d events, %d done; want %d and 3", len(log.Events), done.n, len(want))
	}
}

// recorder is a Recorder that may be broken.
type recorder struct{ err error }

func (r *recorder) Observe(*Event) {}
func (r *recorder) Err() error     { return r.err }

// What cannot be recorded is not acknowledged; a READ is answered all the same.
func TestWhatATapCannotRecordIsNotAcknowledged(t *testing.T) {
	loop := sim.NewLoop()
	rec := &recorder{}
	tap := NewTap(&slow{loop}, loop, new(Log), rec)
	var done counter
	for _, broken := range []error{nil, devices.ENOSPC} {
		rec.err = broken
		for op, want := range map[devices.Op]devices.Errno{
			devices.OpWrite: devices.EIO, devices.OpTrim: devices.EIO, devices.OpFlush: devices.EIO, devices.OpRead: devices.OK, devices.OpCache: devices.EINVAL,
		} {
			if broken == nil && want == devices.EIO {
				want = devices.OK
			}
			r := &devices.Request{Op: op, Length: 512, Completer: &done}
			tap.Submit(r)
			loop.Run(sim.Never)
			if r.Errno != want {
				t.Errorf("%v after %v: %v, want %v", op, broken, r.Errno, want)
			}
		}
	}
}
