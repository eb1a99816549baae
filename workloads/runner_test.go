package workloads

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nbdbench/devices"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

const (
	us = sim.Duration(1000)
	ms = 1000 * us
)

func TestTheWayOfOneExt4Commit(t *testing.T) {
	dev := newFake(sim.NewLoop(), 10*us)
	p, err := Get("ext4-journal")
	if err != nil {
		t.Fatal(err)
	}
	var script []string
	o := &scriptObserver{loop: dev.loop, out: &script}
	run(t, dev, Config{Profile: p, Seed: 1, Commits: 1, Observer: o})
	want := `0s submit write txn=1 step=0 stamp=1
10µs done write step=0
10µs submit write txn=1 step=1 stamp=2
20µs done write step=1
20µs submit flush txn=1 step=2 stamp=0
30µs done flush step=2
30µs submit write+fua txn=1 step=3 stamp=3
40µs done write+fua step=3
40µs commit txn=1 took=40µs`
	if got := strings.Join(script, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// scriptObserver records all calls, as a lab notebook would.
type scriptObserver struct {
	loop *sim.Loop
	out  *[]string
}

func (o *scriptObserver) add(format string, args ...any) {
	*o.out = append(*o.out, fmt.Sprintf("%v ", o.loop.Now())+fmt.Sprintf(format, args...))
}

func (o *scriptObserver) Submit(r *devices.Request) {
	o.add("submit %s txn=%d step=%d stamp=%d", opName(r), r.Txn, r.Step, r.Stamp)
}
func (o *scriptObserver) Op(r *devices.Request) { o.add("done %s step=%d", opName(r), r.Step) }
func (o *scriptObserver) Commit(c *devices.Commit) {
	o.add("commit txn=%d took=%v", c.Txn, c.Acked.Sub(c.Intended))
}

func opName(r *devices.Request) string {
	if r.Durable() {
		return r.Op.String() + "+fua"
	}
	return r.Op.String()
}

func TestNoiseRunsBetweenCommitsAndOutsideTheirLatency(t *testing.T) {
	dev := newFake(sim.NewLoop(), 10*us)
	dev.latency = func(r *devices.Request) sim.Duration {
		if r.Stream == StreamBetween {
			return 5 * ms
		}
		return 10 * us
	}
	p, err := Get("wal-noisy")
	if err != nil {
		t.Fatal(err)
	}
	o, r := run(t, dev, Config{Profile: p, Seed: 1, Commits: 3})
	for i, c := range o.commits {
		want := devices.Commit{Stream: StreamCommit, Txn: uint64(2*i + 1)}
		want.Intended = sim.Time(i) * sim.Time(5*ms+10*us)
		want.Started, want.Acked = want.Intended, want.Intended.Add(10*us)
		want.Stages[devices.ClientQueue] = 10 * us
		if c != want {
			t.Errorf("commit %d: got %+v, want %+v", i, c, want)
		}
	}
	noise := o.where(StreamBetween)
	if len(noise) != 2*32 || dev.maxInFlight != 32 || r.Stats().Between != 2 {
		t.Errorf("%d noise writes, %d in flight together, %d times; want 64, 32, 2", len(noise), dev.maxInFlight, r.Stats().Between)
	}
	for _, n := range noise {
		if !strings.HasPrefix(n, "write ") {
			t.Errorf("noise asks for %s", n)
		}
	}
}

func TestTransactionsAndStampsAreUniqueAndRise(t *testing.T) {
	p := profile(t, `
queue_depth: 4
transaction: [{op: write, size: 4k, count: 3}, {op: trim, size: 4k}, {op: flush}]
between: [{op: write_zeroes, size: 8k, pattern: random}, {op: read, size: 4k}]
`)
	o, _ := run(t, newFake(sim.NewLoop(), 7*us), Config{Profile: p, Seed: 3, Commits: 50})
	var stamp devices.Stamp
	txns := map[uint64]uint32{}
	highest := uint64(0)
	for i := range o.submits {
		r := &o.submits[i]
		if stream, seen := txns[r.Txn]; seen && stream != r.Stream || !seen && r.Txn != highest+1 {
			t.Fatalf("transaction %d of stream %d after %d", r.Txn, r.Stream, highest)
		}
		txns[r.Txn] = r.Stream
		highest = max(highest, r.Txn)
		if !r.Op.Modifies() {
			if r.Stamp != 0 {
				t.Fatalf("%v has stamp %d", r, r.Stamp)
			}
			continue
		}
		if r.Stamp != stamp+1 {
			t.Fatalf("stamp %d after %d", r.Stamp, stamp)
		}
		stamp = r.Stamp
	}
	if len(o.commits) != 50 {
		t.Errorf("%d commits", len(o.commits))
	}
}

func TestAddressesDoNotDependOnTheDevicesSpeed(t *testing.T) {
	for _, name := range List() {
		for _, depth := range []uint32{1, 4} {
			p, err := Get(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Streams) > 0 {
				continue // see TestWhereStreamsGoDoesNotDependOnTheDevicesSpeed
			}
			cfg := Config{Profile: p, QueueDepth: depth, Seed: 7, Commits: 200}
			slow := newFake(sim.NewLoop(), 0)
			slow.latency = func(r *devices.Request) sim.Duration {
				return sim.Duration(1 + sim.Seed(5).Stream("jitter").Uint64N(uint64(ms), r.Txn, uint64(r.Step)))
			}
			fast, _ := run(t, newFake(sim.NewLoop(), us), cfg)
			other, _ := run(t, slow, cfg)
			if got, want := byOrdinal(other, StreamCommit), byOrdinal(fast, StreamCommit); !reflect.DeepEqual(got, want) {
				t.Errorf("%s at depth %d: the commits go elsewhere on a slower device", name, depth)
			}
			got, want := byOrdinal(other, StreamBetween), byOrdinal(fast, StreamBetween)
			n := min(len(got), len(want)) // how many there are does depend on timing, by a queue depth
			if !reflect.DeepEqual(got[:n], want[:n]) || len(got)-n+len(want)-n > int(depth) {
				t.Errorf("%s at depth %d: what runs between goes elsewhere on a slower device", name, depth)
			}
		}
	}
}

// byOrdinal lists where each transaction of a stream goes, in the order of
// their numbers.
func byOrdinal(o *record, stream uint32) (out []string) {
	index := map[uint64]int{}
	for i := range o.submits {
		r := &o.submits[i]
		if r.Stream != stream {
			continue
		}
		if _, ok := index[r.Txn]; !ok {
			index[r.Txn] = len(out)
			out = append(out, "")
		}
		out[index[r.Txn]] += fmt.Sprintf("%d: %s %d+%d; ", r.Step, opName(r), r.Offset, r.Length)
	}
	return out
}

func TestTheSameSeedGivesTheSameRunAndAnotherAnotherOne(t *testing.T) {
	p, err := Get("wal-noisy")
	if err != nil {
		t.Fatal(err)
	}
	p = p.With(Override{Arrival: ArrivalPoisson, Rate: 1000, QueueDepth: 3})
	all := func(seed sim.Seed) string {
		var script []string
		dev := newFake(sim.NewLoop(), 300*us)
		o := &scriptObserver{dev.loop, &script}
		run(t, dev, Config{Profile: p, Seed: seed, Commits: 100, Observer: o})
		return strings.Join(script, "\n")
	}
	first := all(1)
	if all(1) != first {
		t.Error("seed 1 gave two different runs")
	}
	if all(2) == first {
		t.Error("seeds 1 and 2 gave the same run")
	}
}

const oneWrite = "transaction: [{op: write, durable: true, size: 4k}]\n"

func TestAClosedLoopWaitsForTheDevice(t *testing.T) {
	p := profile(t, "think: 5us\n"+oneWrite)
	o, r := run(t, newFake(sim.NewLoop(), 100*us), Config{Profile: p, Seed: 1, Commits: 10})
	for i, c := range o.commits {
		due := sim.Time(i) * sim.Time(105*us)
		if c.Intended != due || c.Started != due || c.Acked != due.Add(100*us) {
			t.Errorf("commit %d: due %v, started %v, done %v; want %v, and 100µs", i, c.Intended, c.Started, c.Acked, due)
		}
	}
	if r.Stats().MaxLag != 0 {
		t.Errorf("a closed loop lags by %v", r.Stats().MaxLag)
	}
}

func TestAnOpenLoopCountsFromWhenItWasDue(t *testing.T) {
	p := profile(t, "arrival: constant\nrate: 20/ms\n"+oneWrite) // every 50µs
	o, r := run(t, newFake(sim.NewLoop(), 80*us), Config{Profile: p, Seed: 1, Commits: 100})
	for i, c := range o.commits {
		due, started := sim.Time(i)*sim.Time(50*us), sim.Time(i)*sim.Time(80*us)
		if c.Intended != due || c.Started != started || c.Acked != started.Add(80*us) {
			t.Fatalf("commit %d: due %v, started %v, done %v; want %v, %v and 80µs", i, c.Intended, c.Started, c.Acked, due, started)
		}
		if c.Stages.Total() != c.Acked.Sub(c.Intended) || c.Stages[devices.ClientQueue] < c.Started.Sub(c.Intended) {
			t.Fatalf("commit %d: stages %v do not show the wait", i, c.Stages)
		}
	}
	if want := 99 * 30 * us; r.Stats().MaxLag != want || r.Stats().SumLag != 99*100/2*30*us {
		t.Errorf("lag is at most %v, sum %v; want %v", r.Stats().MaxLag, r.Stats().SumLag, want)
	}
}

func TestAnOpenLoopIsOnTimeWhileSlotsAreFree(t *testing.T) {
	p := profile(t, "arrival: constant\nrate: 10/ms\nqueue_depth: 4\n"+oneWrite) // every 100µs
	dev := newFake(sim.NewLoop(), 350*us)
	o, r := run(t, dev, Config{Profile: p, Seed: 1, Commits: 100, Connections: 3})
	if r.Stats().MaxLag != 0 || dev.maxInFlight != 4 || len(o.commits) != 100 {
		t.Errorf("lag %v, %d in flight, %d commits; want none, 4, 100", r.Stats().MaxLag, dev.maxInFlight, len(o.commits))
	}
	for i := range o.submits {
		if got, want := o.submits[i].Conn, uint32(i%4%3); got != want {
			t.Fatalf("request %d came by connection %d, want %d", i, got, want)
		}
	}
}

func TestOperationsDueInTheWindowAreIssuedEvenIfLate(t *testing.T) {
	p := profile(t, "arrival: constant\nrate: 1/ms\n"+oneWrite)
	cfg := Config{Profile: p, Seed: 1, Warmup: 10 * ms, Duration: 20 * ms}
	o, r := run(t, newFake(sim.NewLoop(), 3*ms), cfg)
	measured := 0
	for _, c := range o.commits {
		if r.Measured(c.Intended, c.Txn) {
			measured++
		}
	}
	if len(o.commits) != 30 || measured != 20 {
		t.Errorf("%d commits, %d measured; want 30 and 20", len(o.commits), measured)
	}
}

func TestWarmUpComesOnTopOfCommits(t *testing.T) {
	o, r := run(t, newFake(sim.NewLoop(), ms), Config{Profile: profile(t, oneWrite), Seed: 1, Warmup: 10 * ms, Commits: 5})
	if len(o.commits) != 15 || r.Measured(sim.Time(9*ms), 10) || !r.Measured(sim.Time(10*ms), 11) {
		t.Errorf("%d commits, want 10 in warm-up and 5 after it", len(o.commits))
	}
}

func TestADurationEndsAClosedLoopInTheMiddleOfPauses(t *testing.T) {
	p := profile(t, "think: 3ms\nqueue_depth: 5\n"+oneWrite)
	o, _ := run(t, newFake(sim.NewLoop(), ms), Config{Profile: p, Seed: 1, Duration: 10 * ms})
	if len(o.commits) != 15 { // due at 0, 4 and 8 ms
		t.Errorf("%d commits, want 15", len(o.commits))
	}
}

func TestABacklogHasABound(t *testing.T) {
	p := profile(t, "arrival: poisson\nrate: 1000/ms\n"+oneWrite)
	_, r := run(t, newFake(sim.NewLoop(), ms), Config{Profile: p, Seed: 1, Commits: 1e6})
	if r.Err() != nil || !r.Stats().Overrun || !r.Short() {
		t.Errorf("error %v, overrun %v, short %v; want an overrun", r.Err(), r.Stats().Overrun, r.Short())
	}
	if begun := r.Stats().Begun; begun < 60 || begun > 70 { // 65536 due at 1000/ms is 65.5 ms
		t.Errorf("%d begun", begun)
	}
}

func TestWhatWillNeverBeginIsNoBacklog(t *testing.T) {
	p := profile(t, "arrival: constant\nrate: 1000/ms\n"+oneWrite)
	o, r := run(t, newFake(sim.NewLoop(), 100*ms), Config{Profile: p, Seed: 1, Commits: 20})
	if r.Err() != nil || len(o.commits) != 20 {
		t.Errorf("%d commits, %v", len(o.commits), r.Err())
	}
}

func TestSlotsAndConnectionsOfAnOpenLoopTakeTurns(t *testing.T) {
	p := profile(t, "arrival: constant\nrate: 1/ms\nqueue_depth: 3\n"+oneWrite)
	o, _ := run(t, newFake(sim.NewLoop(), us), Config{Profile: p, Seed: 1, Commits: 9, Connections: 3})
	for i := range o.submits {
		if o.submits[i].Slot != uint32(i%3) || o.submits[i].Conn != uint32(i%3) {
			t.Errorf("request %d is slot %d's, connection %d", i, o.submits[i].Slot, o.submits[i].Conn)
		}
	}
}

func TestAStoppedRunLeavesNoTimer(t *testing.T) {
	for _, head := range []string{"think: 1h\nqueue_depth: 2\n", "arrival: constant\nrate: 1/h\nqueue_depth: 2\n"} {
		dev := newFake(sim.NewLoop(), ms)
		r, err := NewRunner(dev.loop, dev, Config{Profile: profile(t, head+oneWrite), Seed: 1, Commits: 10})
		if err != nil {
			t.Fatal(err)
		}
		r.Start()
		dev.loop.Run(sim.Time(2 * ms))
		r.Stop()
		if next := dev.loop.Next(); next != sim.Never || !r.Finished() {
			t.Errorf("%q: the next event is at %v, finished %v", head, next, r.Finished())
		}
	}
}

func TestASlotThatRetiresDoesNotEndAnothersPause(t *testing.T) {
	dev := newFake(sim.NewLoop(), 0)
	dev.latency = func(r *devices.Request) sim.Duration { return 2*ms + sim.Duration(r.Slot)*4*ms }
	p := profile(t, "think: 3ms\nqueue_depth: 2\n"+oneWrite)
	o, _ := run(t, dev, Config{Profile: p, Seed: 1, Duration: 10 * ms})
	if len(o.commits) != 4 { // slot 0 is due at 0 and 5 ms, slot 1 at 0 and 9 ms
		t.Errorf("%d commits, want 4", len(o.commits))
	}
}

func TestFailuresCountOnlyInARow(t *testing.T) {
	dev := newFake(sim.NewLoop(), us)
	dev.errno = func(r *devices.Request) devices.Errno {
		if r.Txn%MaxFailures != 0 {
			return devices.EIO
		}
		return devices.OK
	}
	_, r := run(t, dev, Config{Profile: profile(t, oneWrite), Seed: 1, Commits: 3 * MaxFailures})
	if s := r.Stats(); r.Err() != nil || s.Commits != 3 {
		t.Errorf("%+v, %v", s, r.Err())
	}
}

func TestStopDrains(t *testing.T) {
	for name, head := range map[string]string{"closed": "think: 1ms\n", "open": "arrival: constant\nrate: 1/ms\n"} {
		t.Run(name, func(t *testing.T) {
			dev := newFake(sim.NewLoop(), 10*ms)
			r, err := NewRunner(dev.loop, dev, Config{Profile: profile(t, "queue_depth: 3\n"+head+oneWrite), Seed: 1, Commits: 1000})
			if err != nil {
				t.Fatal(err)
			}
			r.Start()
			dev.loop.Run(sim.Time(25 * ms))
			r.Stop()
			if r.Finished() {
				t.Fatal("finished with transactions in flight")
			}
			begun := r.Stats().Begun
			dev.loop.Run(sim.Never)
			if s := r.Stats(); !r.Finished() || s.Begun != begun || s.Commits != begun || r.Err() != nil {
				t.Errorf("finished %v, stats %+v, %d begun before, %v", r.Finished(), s, begun, r.Err())
			}
		})
	}
}

func TestAFailedRequestFailsItsTransactionAndNothingMore(t *testing.T) {
	p := profile(t, "transaction: [{op: write, size: 4k, count: 2, parallel: true}, {op: flush}]\n")
	dev := newFake(sim.NewLoop(), us)
	dev.errno = func(r *devices.Request) devices.Errno {
		switch {
		case r.Txn == 2 && r.Step == 0:
			return devices.EIO
		case r.Txn == 2:
			return devices.ENOSPC
		}
		return devices.OK
	}
	o, r := run(t, dev, Config{Profile: p, Seed: 1, Commits: 3})
	var errnos []devices.Errno
	for _, c := range o.commits {
		errnos = append(errnos, c.Errno)
		if c.Stages.Total() != c.Acked.Sub(c.Intended) {
			t.Errorf("stages %v do not sum to %v", c.Stages, c.Acked.Sub(c.Intended))
		}
	}
	if !slices.Equal(errnos, []devices.Errno{devices.OK, devices.EIO, devices.OK}) || len(o.ops) != 3+2+3 {
		t.Errorf("errnos %v, %d requests; want the second EIO, without its flush", errnos, len(o.ops))
	}
	if s := r.Stats(); s.Commits != 2 || s.Failed != 1 || r.Err() != nil {
		t.Errorf("stats %+v, %v", s, r.Err())
	}
}

func TestADeviceThatOnlyFailsEndsTheRun(t *testing.T) {
	dev := newFake(sim.NewLoop(), 0)
	dev.errno = func(*devices.Request) devices.Errno { return devices.EIO }
	_, r := run(t, dev, Config{Profile: profile(t, oneWrite), Seed: 1, Duration: ms})
	var errno devices.Errno
	if !errors.As(r.Err(), &errno) || errno != devices.EIO || r.Stats().Failed != MaxFailures {
		t.Errorf("got %v after %d failures", r.Err(), r.Stats().Failed)
	}
}

func TestStagesSumExactlyOnAnyProfileAndDevice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Profile{Name: "any", Load: anyLoad(t), Transaction: anySteps(t, 1)}
		p.Regions = []Region{{Name: "a", Size: &Amount{Percent: 10}}, {Name: "b", Offset: Amount{Bytes: 512 << 20}}}
		p.Between = anySteps(t, 0)
		p.Logs = map[string]Log{"wal": {Region: "a", Finish: rapid.SampledFrom(finishes).Draw(t, "finish"), Block: 512 * units.Size(rapid.Uint64Range(1, 16).Draw(t, "block"))}}
		dev := newFake(sim.NewLoop(), 0)
		draws := sim.Seed(rapid.Uint64().Draw(t, "device")).Stream("device")
		dev.latency = func(r *devices.Request) sim.Duration {
			return sim.Duration(draws.Uint64N(uint64(ms), r.Txn, uint64(r.Step)))
		}
		dev.charge = func(r *devices.Request, done sim.Time) {
			at := r.Charged()
			for i := uint64(0); i < 4; i++ {
				at = min(at.Add(sim.Duration(draws.Uint64N(uint64(ms), r.Txn, 100+i))), done)
				r.Charge(devices.Stage(draws.Uint64N(uint64(devices.NumStages), r.Txn, 200+i)), at)
			}
		}
		checkStages(t, dev, p)
	})
}

func checkStages(t *rapid.T, dev *fakeDevice, p Profile) {
	o := new(record)
	r, err := NewRunner(dev.loop, dev, Config{Profile: p, Seed: 1, Commits: 20, Observer: o})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	dev.loop.Run(sim.Never)
	if !r.Finished() || r.Err() != nil || len(o.commits) != 20 {
		t.Fatalf("finished %v, %v, %d commits", r.Finished(), r.Err(), len(o.commits))
	}
	for _, c := range o.commits {
		if c.Stages.Total() != c.Acked.Sub(c.Intended) {
			t.Fatalf("%+v: stages sum to %v, not %v", c, c.Stages.Total(), c.Acked.Sub(c.Intended))
		}
	}
	for i := range o.ops {
		q := &o.ops[i]
		if q.Stages.Total() != q.Completed.Sub(q.Intended) || q.Errno != devices.OK {
			t.Fatalf("%v: stages sum to %v, not %v", q, q.Stages.Total(), q.Completed.Sub(q.Intended))
		}
		if q.Op != devices.OpFlush && (q.Offset%devices.Sector != 0 || q.Length == 0 || q.End() > testSize) {
			t.Fatalf("%v is not within the device", q)
		}
	}
}

func anyLoad(t *rapid.T) Load {
	l := Load{
		QueueDepth: rapid.Uint32Range(0, 9).Draw(t, "depth"),
		Arrival:    rapid.SampledFrom([]Arrival{ArrivalClosed, ArrivalConstant, ArrivalPoisson, ArrivalBursts, ""}).Draw(t, "arrival"),
	}
	if l.Open() {
		l.Rate = units.Rate(rapid.Float64Range(100, 1e6).Draw(t, "rate"))
		if l.Arrival == ArrivalBursts {
			l.On = units.Duration(rapid.Int64Range(1, int64(ms)).Draw(t, "on"))
			l.Off = units.Duration(rapid.Int64Range(1, int64(ms)).Draw(t, "off"))
		}
	} else {
		l.Think = units.Duration(rapid.Int64Range(0, int64(ms)).Draw(t, "think"))
	}
	return l
}

func anySteps(t *rapid.T, atLeast int) []Step {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Step {
		s := Step{Op: rapid.SampledFrom(actions[:len(actions)-1]).Draw(t, "op"), Count: rapid.Uint32Range(0, 5).Draw(t, "count")}
		if s.Op == ActionCommit && atLeast > 0 {
			return Step{Op: ActionCommit, Log: "wal", Record: units.Size(rapid.Uint64Range(1, 10000).Draw(t, "record"))}
		} else if s.Op == ActionCommit {
			s.Op = ActionFlush
		}
		if s.Op == ActionFlush {
			return s
		}
		s.Size = devices.Sector * units.Size(rapid.Uint64Range(1, 64).Draw(t, "sectors"))
		s.Pattern = rapid.SampledFrom(patterns).Draw(t, "pattern")
		if s.Op == ActionMix {
			s.Mix = &Mix{Read: 3, Write: 2, Trim: rapid.Float64Range(0, 3).Draw(t, "trims"), WriteZeroes: 1}
		}
		s.Durable = s.modifies() && rapid.Bool().Draw(t, "durable")
		s.Parallel = rapid.Bool().Draw(t, "parallel")
		s.Region = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "region")
		s.Zones = nil
		switch s.Pattern {
		case PatternAppend:
			s.Record = units.Size(rapid.Uint64Range(1, 10000).Draw(t, "record"))
		case PatternStride:
			s.Stride = s.Size + devices.Sector*units.Size(rapid.Uint64Range(0, 64).Draw(t, "gap"))
		case PatternSequential:
			s.RandomPercent = rapid.Float64Range(0, 100).Draw(t, "random")
		case PatternRandom, PatternZipf, PatternPareto, PatternNormal, PatternZoned:
			s.drawSizes(t)
		}
		return s
	}), atLeast, 6).Draw(t, "steps")
}

// drawSizes gives the step sizes that are drawn, or of bytes.
func (s *Step) drawSizes(t *rapid.T) {
	switch rapid.IntRange(0, 3).Draw(t, "sizes") {
	case 0:
		s.MaxSize = s.Size * units.Size(rapid.Uint64Range(1, 9).Draw(t, "most")) // also one that is no multiple
		s.MaxSize += devices.Sector
	case 1:
		s.Split = []SizeShare{{s.Size, 1}, {512, 3}, {64 << 10, 0.5}}
		s.Size = 0
	case 2:
		if s.Op == ActionRead || s.Op == ActionWrite {
			s.Size++
		}
	}
}

func TestADeviceThatChargesBeyondTheReplyIsCaught(t *testing.T) {
	dev := newFake(sim.NewLoop(), us)
	dev.charge = func(r *devices.Request, done sim.Time) { r.Charge(devices.MediaStage, done.Add(1)) }
	r, err := NewRunner(dev.loop, dev, Config{Profile: profile(t, oneWrite), Seed: 1, Commits: 1})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	dev.loop.Run(sim.Never)
}

func TestContentBytesIsWhatItIsNamed(t *testing.T) {
	p := profile(t, "transaction: [{op: write, size: 8k, count: 2, parallel: true}, {op: read, size: 4k}]\n")
	dev := newFake(sim.NewLoop(), us)
	dev.latency = func(r *devices.Request) sim.Duration {
		if r.Op == devices.OpRead && len(r.Bytes) != 4096 {
			t.Errorf("%v has %d bytes to read into", r, len(r.Bytes))
		}
		for i := 0; r.Op == devices.OpWrite && i < len(r.Bytes); i += devices.Sector {
			l, ok := ReadLabel(r.Bytes[i : i+devices.Sector])
			if want := (Label{9, r.Offset + uint64(i), r.Stamp, r.Txn}); !ok || l != want {
				t.Errorf("sector %d of %v: got %+v, %v; want %+v", i, r, l, ok, want)
			}
		}
		return us
	}
	run(t, dev, Config{Profile: p, Seed: 9, Commits: 3, Content: Bytes})
}

func TestReadsOfStampsGetRoomForThem(t *testing.T) {
	p := profile(t, "transaction: [{op: read, size: 8k, count: 2, parallel: true}, {op: write, size: 4k}]\n")
	dev := newFake(sim.NewLoop(), us)
	dev.latency = func(r *devices.Request) sim.Duration {
		want := 0
		if r.Op == devices.OpRead {
			want = 16
		}
		if len(r.Versions) != want || r.Bytes != nil {
			t.Errorf("%v: room for %d versions, want %d", r, len(r.Versions), want)
		}
		return us
	}
	run(t, dev, Config{Profile: p, Seed: 9, Commits: 2})
}

func TestAHarmedSectorIsNotRead(t *testing.T) {
	sector := make([]byte, devices.Sector)
	Label{1, 2, 3, 4}.Fill(sector)
	for i := range sector {
		sector[i] ^= 1
		if l, ok := ReadLabel(sector); ok {
			t.Fatalf("with byte %d changed it reads as %+v", i, l)
		}
		sector[i] ^= 1
	}
	if _, ok := ReadLabel(sector); !ok {
		t.Error("unharmed, it is not read")
	}
	if _, ok := ReadLabel(sector[:511]); ok {
		t.Error("a part of it is read")
	}
}

func TestNothingIsAllocatedPerTransaction(t *testing.T) {
	for _, arrival := range []string{"", "arrival: poisson\nrate: 1000/ms\n"} {
		dev := newFake(sim.NewLoop(), us)
		r := longRun(t, dev, arrival)
		dev.loop.Run(dev.loop.Now().Add(ms))
		before := r.Stats().Commits
		if n := testing.AllocsPerRun(100, func() { dev.loop.Run(dev.loop.Now().Add(ms)) }); n != 0 {
			t.Errorf("%q: %v allocations in a millisecond", arrival, n)
		}
		if r.Stats().Commits-before < 1000 {
			t.Errorf("%q: only %d commits", arrival, r.Stats().Commits-before)
		}
	}
}

// longRun starts a run with all kinds of steps that does not end by itself.
func longRun(t testing.TB, dev *fakeDevice, head string) *Runner {
	p := profile(t, head+`
queue_depth: 8
transaction:
  - {op: write, size: 4k, count: 4, parallel: true, pattern: random}
  - {op: write, size: 4k, record: 2300, pattern: append}
  - {op: read, size: 4k, pattern: zipf}
  - {op: flush}
  - {op: write, durable: true, size: 4k}
between: [{op: write, size: 4k, count: 4, parallel: true, pattern: random}]
`)
	r, err := NewRunner(dev.loop, dev, Config{Profile: p, Seed: 1, Duration: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	return r
}

// BenchmarkRunner is the cost of a transaction in the runner alone: the device is one
// event.
func BenchmarkRunner(b *testing.B) {
	for _, c := range []struct {
		name, profile string
		content       Content
	}{
		{"stamps", "queue_depth: 8\n" + oneWrite, Stamps},
		{"bytes", "queue_depth: 8\n" + oneWrite, Bytes},
		{"streams", `
streams:
  - {name: a, queue_depth: 2, transaction: [{op: write, durable: true, size: 4k}]}
  - {name: b, count: 3, queue_depth: 2, transaction: [{op: write, durable: true, size: 4k}]}
`, Stamps},
		{"log", `
regions: [{name: wal, size: 1m}]
logs: {wal: {region: wal, finish: fua}}
streams: [{name: a, count: 4, queue_depth: 2, transaction: [{op: commit, log: wal, record: 300}]}]
`, Stamps},
	} {
		b.Run(c.name, func(b *testing.B) {
			dev := newFake(sim.NewLoop(), us)
			r, err := NewRunner(dev.loop, dev, Config{Profile: profile(b, c.profile), Seed: 1, Commits: uint64(b.N), Content: c.content})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			r.Start()
			dev.loop.Run(sim.Never)
			b.ReportMetric(float64(r.Stats().Commits)/b.Elapsed().Seconds(), "commits/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(r.Stats().Requests), "ns/request")
		})
	}
}

// windowOf runs cfg with the load kept up, and returns what was measured and when
// the window ended.
func windowOf(t *testing.T, dev *fakeDevice, cfg Config) (measured []devices.Commit, end sim.Time, r *Runner) {
	t.Helper()
	cfg.Seed, cfg.Sustain, cfg.Ends = 1, true, func(at sim.Time, _ uint64) { end = at }
	o, r := run(t, dev, cfg)
	for _, c := range o.commits {
		if r.Measured(c.Intended, c.Txn) {
			measured = append(measured, c)
		}
	}
	return measured, end, r
}

func TestTheWindowEndsWhenTheNextCommitIsDue(t *testing.T) {
	for _, c := range []struct {
		name, profile string
		cfg           Config
		measured      int
		end           sim.Time
	}{
		{"closed", oneWrite, Config{Commits: 5}, 5, sim.Time(5 * ms)},
		{"closed, warm", oneWrite, Config{Commits: 5, Warmup: 10 * ms}, 5, sim.Time(15 * ms)},
		{"closed, thinking", "think: 3ms\n" + oneWrite, Config{Commits: 5}, 5, sim.Time(20 * ms)},
		{"closed, between", oneWrite + "between: [{op: write, size: 4k, count: 2}]\n", Config{Commits: 5}, 5, sim.Time(15 * ms)},
		{"closed, 4 slots", "queue_depth: 4\n" + oneWrite, Config{Commits: 20}, 20, sim.Time(5 * ms)},
		{"duration", "queue_depth: 4\n" + oneWrite, Config{Duration: 10 * ms}, 40, sim.Time(10 * ms)},
		{"open", "arrival: constant\nrate: 500/s\n" + oneWrite, Config{Commits: 5}, 5, sim.Time(10 * ms)},
		{"open, warm", "arrival: constant\nrate: 500/s\n" + oneWrite, Config{Commits: 5, Warmup: 3 * ms}, 5, sim.Time(14 * ms)},
	} {
		measured, end, r := windowOf(t, newFake(sim.NewLoop(), ms), func() Config { c.cfg.Profile = profile(t, c.profile); return c.cfg }())
		if len(measured) != c.measured || end != c.end || r.Short() {
			t.Errorf("%s: %d commits, window to %v, short %v; want %d to %v", c.name, len(measured), end, r.Short(), c.measured, c.end)
		}
	}
}

// TestNoMeasuredCommitRunsBesideIdleSlots: if a run stopped at its last measured
// commit, those of a deep queue would end on a device that is nearly idle.
func TestNoMeasuredCommitRunsBesideIdleSlots(t *testing.T) {
	dev := newFake(sim.NewLoop(), 0)
	dev.latency = func(r *devices.Request) sim.Duration { return ms + sim.Duration(r.Slot)*100*us }
	o := new(besides)
	var end sim.Time
	_, r := run(t, dev, Config{
		Profile: profile(t, "queue_depth: 8\n"+oneWrite), Commits: 100, Seed: 1, Sustain: true,
		Ends: func(at sim.Time, _ uint64) { end = at }, Observer: o,
	})
	measured := 0
	for i, c := range o.commits {
		if !r.Measured(c.Intended, c.Txn) {
			continue
		}
		measured++
		if o.others[i] != 7 {
			t.Errorf("commit %d ended beside %d others, want 7", i, o.others[i])
		}
	}
	if measured != 100 || r.Stats().Iterations != 100 {
		t.Errorf("%d measured commits, %d iterations; want 100", measured, r.Stats().Iterations)
	}
	rate := 100 / end.Sub(0).Seconds()
	if depth := rate * r.Stats().IterationTime.Seconds() / 100; depth < 7.5 || depth > 8.5 {
		t.Errorf("Little's law gives a depth of %.2f, want 8 within the edges", depth)
	}
}

// besides notes how many other transactions were in progress at each commit.
type besides struct {
	inFlight int
	commits  []devices.Commit
	others   []int
}

func (o *besides) Submit(*devices.Request) { o.inFlight++ }
func (o *besides) Op(*devices.Request)     { o.inFlight-- }
func (o *besides) Commit(c *devices.Commit) {
	o.commits, o.others = append(o.commits, *c), append(o.others, o.inFlight)
}

func TestAnOpenLoopCountsArrivalsAndBacklog(t *testing.T) {
	p := profile(t, "arrival: constant\nrate: 1000/s\n"+oneWrite)
	for _, c := range []struct {
		name           string
		latency        sim.Duration
		arrivals, done uint64
		middle, end    int64
		overrun        bool
	}{
		{"kept up with", 500 * us, 100, 100, 0, 0, false},
		{"at three quarters", 1333 * us, 100, 75, 13, 25, false},
		{"at a third", 3 * ms, 100, 33, 34, 67, true},
	} {
		_, _, r := windowOf(t, newFake(sim.NewLoop(), c.latency), Config{Profile: p, Duration: 100 * ms})
		s := r.Stats()
		if s.Arrivals != c.arrivals || s.Done != c.done || s.BacklogMiddle != c.middle || s.BacklogEnd != c.end || s.Overrun != c.overrun {
			t.Errorf("%s: %d arrivals, %d done, backlog %d and %d, overrun %v; want %d, %d, %d, %d, %v",
				c.name, s.Arrivals, s.Done, s.BacklogMiddle, s.BacklogEnd, s.Overrun, c.arrivals, c.done, c.middle, c.end, c.overrun)
		}
	}
}

// TestFailuresAreCountedByTheirErrors, of both streams.
func TestFailuresAreCountedByTheirErrors(t *testing.T) {
	dev := newFake(sim.NewLoop(), 0)
	dev.errno = func(r *devices.Request) devices.Errno {
		switch r.Txn % 4 {
		case 0:
			return devices.EIO
		case 2:
			return devices.ENOSPC
		}
		return devices.OK
	}
	_, r := run(t, dev, Config{Profile: profile(t, oneWrite), Seed: 1, Commits: 40})
	if s := r.Stats(); !slices.Equal(s.Failures, []Failure{{devices.ENOSPC, 10}, {devices.EIO, 10}}) || s.Failed != 20 || s.Commits != 20 {
		t.Errorf("got %+v", s)
	}
}

func TestADeviceThatHasShutDownEndsTheRunAtOnce(t *testing.T) {
	dev := newFake(sim.NewLoop(), 0)
	dev.errno = func(r *devices.Request) devices.Errno {
		if r.Txn < 5 {
			return devices.OK
		}
		return devices.ESHUTDOWN
	}
	_, r := run(t, dev, Config{Profile: profile(t, oneWrite), Seed: 1, Commits: 1000})
	if s := r.Stats(); !errors.Is(r.Err(), devices.ESHUTDOWN) || s.Failed != 1 || s.Commits != 4 {
		t.Errorf("got %+v, %v", s, r.Err())
	}
}
