package workloads

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

const twoStreams = `
regions: [{name: log, size: 64k}, {name: data, offset: 64k}]
streams:
  - name: commits
    queue_depth: 2
    transaction: [{op: write, durable: true, size: 4k, region: log}]
  - name: noise
    count: 3
    transaction: [{op: write, size: 8k, region: data, pattern: random}]
`

func TestStreamsRunAtTheSameTimeAndCommitsAreCounted(t *testing.T) {
	dev := newFake(sim.NewLoop(), 0)
	dev.latency = func(r *devices.Request) sim.Duration { return ms / sim.Duration(1+r.Stream) }
	var end sim.Time
	o, r := run(t, dev, Config{Profile: profile(t, twoStreams), Seed: 1, Commits: 20, Sustain: true, Ends: func(at sim.Time, _ uint64) { end = at }})
	measured := map[uint32]int{}
	for _, c := range o.commits {
		if r.Measured(c.Intended, c.Txn) || c.Stream == 2 && c.Intended < end {
			measured[c.Stream]++
		}
	}
	// A commit lasts 1 ms, two at a time; what is noise lasts a third of that, three at a time.
	if end != sim.Time(10*ms) || measured[0] != 20 || measured[2] != 93 {
		t.Errorf("window to %v, measured %v; want 10ms, 20 commits and 93 others", end, measured)
	}
	if dev.maxInFlight != 2+3 || r.Stats().Iterations != 0 || r.Short() {
		t.Errorf("%d in flight, want 5; %+v", dev.maxInFlight, r.Stats())
	}
}

func TestCopiesGoToSharesOfARegionAndHaveDrawsOfTheirOwn(t *testing.T) {
	p := profile(t, `
streams:
  - {name: a, count: 2, transaction: [{op: write, size: 4k}, {op: write, size: 4k, pattern: random}]}
`)
	dev := newFake(sim.NewLoop(), ms)
	dev.info.Size = 64 << 10
	o, _ := run(t, dev, Config{Profile: p, Seed: 1, Commits: 16})
	places := map[uint32]map[uint32][]uint64{0: {}, 1: {}} // by step and slot
	for i := range o.submits {
		q := &o.submits[i]
		places[q.Step][q.Slot] = append(places[q.Step][q.Slot], q.Offset>>12)
	}
	want := map[uint32][]uint64{0: {0, 1, 2, 3, 4, 5, 6, 7}, 1: {8, 9, 10, 11, 12, 13, 14, 15}}
	if !reflect.DeepEqual(places[0], want) {
		t.Errorf("in order they go to %v, want %v", places[0], want)
	}
	if slices.Equal(places[1][0], places[1][1]) {
		t.Errorf("at random both go to %v", places[1][0])
	}
}

func TestStreamsHaveConnectionsOfTheirOwn(t *testing.T) {
	p := profile(t, `
streams:
  - {name: a, connections: 1, queue_depth: 2, transaction: [{op: flush}]}
  - {name: b, connections: 2, queue_depth: 3, transaction: [{op: read, size: 4k}]}
`)
	for connections, want := range map[uint32]string{3: "[0 0 1 2 1]", 1: "[0 0 0 0 0]"} {
		o, _ := run(t, newFake(sim.NewLoop(), ms), Config{Profile: p, Seed: 1, Commits: 2, Sustain: true, Connections: connections})
		conns := make([]uint32, 5)
		for i := range o.submits {
			conns[o.submits[i].Slot] = o.submits[i].Conn
		}
		if got := fmt.Sprint(conns); got != want {
			t.Errorf("of %d connections the slots use %s, want %s", connections, got, want)
		}
	}
}

func TestAStreamBeginsAfterItsDelay(t *testing.T) {
	for _, arrival := range []string{"", "arrival: constant, rate: 1000/s, "} {
		p := profile(t, `
streams:
  - {name: a, transaction: [{op: flush}]}
  - {name: b, `+arrival+`start_delay: 5500us, transaction: [{op: read, size: 4k}]}
`)
		o, _ := run(t, newFake(sim.NewLoop(), ms), Config{Profile: p, Seed: 1, Commits: 10, Sustain: true})
		var first sim.Time = -1
		reads := 0
		for i := range o.submits {
			if q := &o.submits[i]; q.Op == devices.OpRead {
				reads++
				if first < 0 {
					first = q.Submitted
				}
			}
		}
		if first != sim.Time(5500*us) || reads != 5 {
			t.Errorf("%q: %d reads from %v on, want 5 from 5.5ms on", arrival, reads, first)
		}
	}
}

func TestPhasesRunInSeriesEachWithItsWindow(t *testing.T) {
	p := profile(t, `
streams:
  - {name: fill, transactions: 7, transaction: [{op: write, size: 4k}]}
  - {name: a, transaction: [{op: flush}]}
  - {name: b, queue_depth: 4, transaction: [{op: read, size: 4k}]}
phases: [{streams: [fill]}, {streams: [a, b]}]
`)
	for _, sustain := range []bool{false, true} {
		var phases []string
		dev := newFake(sim.NewLoop(), ms)
		cfg := Config{Profile: p, Seed: 1, Commits: 10, Warmup: 2 * ms, Sustain: sustain}
		cfg.Phase = func(n int, from sim.Time) { phases = append(phases, fmt.Sprint(n, " from ", from)) }
		cfg.Ends = func(at sim.Time, last uint64) {
			if at != sim.Never && last != math.MaxUint64 {
				phases = append(phases, fmt.Sprint("to ", at))
			}
		}
		o, r := run(t, dev, cfg)
		ops := map[devices.Op]int{}
		for i := range o.submits {
			q := &o.submits[i]
			ops[q.Op]++
			if q.Op == devices.OpWrite != (q.Submitted < sim.Time(7*ms)) {
				t.Errorf("%v at %v", q, q.Submitted)
			}
		}
		// The first phase ends with its transactions, after 7 ms; the second has 2 ms
		// of warm-up and 10 commits of 1 ms.
		if ops[devices.OpWrite] != 7 || ops[devices.OpFlush] != 12 || r.Short() {
			t.Errorf("sustain %v: %v, short %v", sustain, ops, r.Short())
		}
		if want := []string{"to 7ms", "1 from 9ms", "to 19ms"}; sustain && !slices.Equal(phases, want) {
			t.Errorf("phases %v, want %v", phases, want)
		}
	}
}

func TestAPhaseDoesNotWaitForAStreamThatIsDueMuchLater(t *testing.T) {
	p := profile(t, `
streams:
  - {name: a, transaction: [{op: flush}]}
  - {name: rare, arrival: constant, rate: 1/h, transaction: [{op: read, size: 4k}]}
`)
	dev := newFake(sim.NewLoop(), ms)
	run(t, dev, Config{Profile: p, Seed: 1, Commits: 10, Sustain: true})
	if now := dev.loop.Now(); now != sim.Time(10*ms) {
		t.Errorf("the run ends at %v, want 10ms", now)
	}
}

func TestOpenStreamsAreCountedBesideClosedOnes(t *testing.T) {
	p := profile(t, `
streams:
  - {name: a, transaction: [{op: flush}]}
  - {name: load, arrival: constant, rate: 2000/s, queue_depth: 1, transaction: [{op: read, size: 4k}]}
`)
	for _, bound := range []Config{{Commits: 100}, {Duration: 100 * ms}} {
		bound.Profile, bound.Seed, bound.Sustain = p, 1, true
		_, r := run(t, newFake(sim.NewLoop(), ms), bound)
		// 200 are due in the window and 100 are done.
		if s := r.Stats(); s.Arrivals != 200 || s.Done < 99 || s.Done > 100 || s.BacklogMiddle < 49 || s.BacklogMiddle > 52 || s.BacklogEnd < 99 || s.BacklogEnd > 102 {
			t.Errorf("%+v: %+v", bound, s)
		}
	}
}

func TestStreamsThatStopLeaveNoTimer(t *testing.T) {
	p := profile(t, twoStreams+`
  - {name: late, start_delay: 1h, transaction: [{op: flush}]}
  - {name: rare, arrival: poisson, rate: 1/h, transaction: [{op: flush}]}
  - {name: lazy, think: 1h, transaction: [{op: flush}]}
`)
	dev := newFake(sim.NewLoop(), ms)
	r, err := NewRunner(dev.loop, dev, Config{Profile: p, Seed: 1, Commits: 100, Sustain: true})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	dev.loop.Run(sim.Time(5 * ms))
	r.Stop()
	dev.loop.Run(sim.Time(8 * ms))
	if next := dev.loop.Next(); next != sim.Never || !r.Finished() {
		t.Errorf("the next event is at %v, finished %v", next, r.Finished())
	}
}

func TestWhereStreamsGoDoesNotDependOnTheDevicesSpeed(t *testing.T) {
	p := profile(t, twoStreams)
	slow := newFake(sim.NewLoop(), 0)
	slow.latency = func(r *devices.Request) sim.Duration {
		return sim.Duration(1 + sim.Seed(5).Stream("jitter").Uint64N(uint64(ms), r.Txn, uint64(r.Step)))
	}
	cfg := Config{Profile: p, Seed: 7, Commits: 200, Sustain: true}
	fast, _ := run(t, newFake(sim.NewLoop(), us), cfg)
	other, _ := run(t, slow, cfg)
	for _, slot := range []uint32{2, 3, 4} { // one copy each
		a, b := ofSlot(fast, slot), ofSlot(other, slot)
		if n := min(len(a), len(b)); n < 50 || !slices.Equal(a[:n], b[:n]) {
			t.Errorf("slot %d goes elsewhere on a slower device", slot)
		}
	}
}

func ofSlot(o *record, slot uint32) (out []uint64) {
	for i := range o.submits {
		if o.submits[i].Slot == slot {
			out = append(out, o.submits[i].Offset)
		}
	}
	return out
}

func TestBurstsComeTogether(t *testing.T) {
	const n = 100000
	l := Load{Arrival: ArrivalBursts, Rate: 10000, On: units.Duration(100 * ms), Off: units.Duration(300 * ms)}
	start := sim.Time(7 * ms)
	open := l.opens(start, 3, "x")
	now, runs := start, 0
	for i := range uint64(n) {
		next := open.Due(i, now)
		if at := next.Sub(start) % (400 * ms); next < now || at >= 100*ms && next != now {
			t.Fatalf("arrival %d at %v, %v into its period", i, next, at)
		}
		if next.Sub(now) > 250*ms {
			runs++
		}
		now = next
	}
	if rate := n / now.Sub(start).Seconds(); math.Abs(rate/l.mean()-1) > 0.02 || l.mean() != 2500 || runs < 95 || runs > 105 {
		t.Errorf("%.0f/s in %d bursts, want %.0f/s in about 100", rate, runs, l.mean())
	}
}

func TestAProfileWithStreamsIsValidatedWithItsPlaces(t *testing.T) {
	const a = "streams:\n  - {name: a, transaction: [{op: flush}]}\n"
	for _, c := range []struct{ yaml, want string }{
		{a + "queue_depth: 4\n", "f:4:14: queue_depth: expected none for a profile of several streams: say which, as in a=4"},
		{a + "transaction: [{op: flush}]\n", "f:4:1: transaction: expected none beside streams"},
		{a + "invariant: prefix\n", "f:4:12: invariant: expected none with streams"},
		{a + "  - {name: a, transaction: [{op: flush}]}\n", "f:4:12: streams[1].name: expected a name of its own"},
		{"streams: [{name: a=b, transaction: [{op: flush}]}]\n", "streams[0].name: expected a name"},
		{"streams: [{name: a}]\n", "streams[0].transaction: expected at least one step"},
		{"streams: [{name: a, transaction: [{op: trim, size: 5}]}]\n", "f:2:52: streams[0].transaction[0].size: expected a multiple"},
		{"streams: [{name: a, rate: 5/s, transaction: [{op: flush}]}]\n", "f:2:27: streams[0].rate: expected none in a closed loop"},
		{"streams: [{name: a, count: 5000, transaction: [{op: flush}]}]\n", "f:2:28: streams[0].count: expected at most 1024"},
		{"streams: [{name: a, start_delay: -1s, transaction: [{op: flush}]}]\n", "streams[0].start_delay: \"-1s\": expected a duration"},
		{"streams: [{name: a, arrival: bursts, rate: 5/s, transaction: [{op: flush}]}]\n", "streams[0].on: expected on and off above 0"},
		{"streams: [{name: a, on: 5s, transaction: [{op: flush}]}]\n", "streams[0].on: expected on and off only"},
		{a + "phases: [{streams: [b]}]\n", `f:4:21: phases[0].streams[0]: expected a stream of the profile, each in one phase, got "b"`},
		{a + "phases: [{streams: [a, a]}]\n", `phases[0].streams[1]: expected a stream`},
		{a + "phases: [{streams: []}]\n", `phases[0].streams: expected at least one`},
		{a + "  - {name: b, transaction: [{op: flush}]}\nphases: [{streams: [a]}]\n", "streams[1].name: expected b in one of the phases"},
		{"transaction: [{op: flush}]\nphases: [{streams: [a]}]\n", "phases: expected none without streams"},
	} {
		_, err := Parse("f", []byte("name: x\n"+c.yaml))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.yaml, err, c.want)
		}
	}
	p := profile(t, "streams: [{name: a, count: 1000, queue_depth: 100, transaction: [{op: flush}]}]\n")
	if err := (&Config{Profile: p, Commits: 1}).Validate(devices.Info{Size: 1 << 20}); err == nil || !strings.Contains(err.Error(), "at most 16384 transactions") {
		t.Errorf("got %v", err)
	}
	p = profile(t, "streams: [{name: a, count: 1000, transaction: [{op: write, size: 4k}]}]\n")
	if err := p.Fits(devices.Info{Size: 1 << 20}); field(err) != "streams[0].transaction[0].region" {
		t.Errorf("got %v", err)
	}
}

func TestAStreamIsOverriddenByItsName(t *testing.T) {
	p := profile(t, twoStreams)
	q, err := p.WithStream("noise", Override{QueueDepth: 8, Rate: 100})
	if err != nil || q.Validate() != nil || q.Streams[1].QueueDepth != 8 || q.Streams[1].Arrival != ArrivalConstant || p.Streams[1].QueueDepth != 0 {
		t.Errorf("%+v, %v", q.Streams[1].Load, err)
	}
	if _, err := p.WithStream("commit", Override{}); err == nil || !strings.Contains(err.Error(), `expected one of commits, noise, got "commit"`) {
		t.Errorf("got %v", err)
	}
	all := p.With(Override{QueueDepth: 4})
	if err := all.Validate(); err == nil || !strings.Contains(err.Error(), "commits=4") {
		t.Errorf("got %v", err)
	}
	if q.Depth() != 2+3*8 || !q.Open() || p.Open() || !p.HasCommits() || !p.Durable() {
		t.Errorf("depth %d, open %v and %v, commits %v, durable %v", q.Depth(), q.Open(), p.Open(), p.HasCommits(), p.Durable())
	}
}

func TestStreamsAreDescribedAndStored(t *testing.T) {
	p := profile(t, twoStreams+"  - {name: b, start_delay: 1s, transactions: 5, connections: 2, arrival: bursts, rate: 5/s, on: 1s, off: 2s, transaction: [{op: flush}], between: [{op: flush}]}\nphases: [{streams: [noise]}, {streams: [commits, b]}]\n")
	text := p.Describe()
	for _, want := range []string{
		"\nphase 1: noise\nphase 2: commits, b\n",
		"\nstream commits: closed loop, at most 2 transactions in progress\n\na commit:\n  1. durable write of 4KiB",
		"\nstream noise: closed loop, one transaction at a time, 3 copies\n\na transaction, which is no commit:\n",
		"stream b: open loop, bursts of 1s at 5/s with 2s between two, one transaction at a time, 2 connections of its own, beginning after 1s, 5 transactions\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	doc, err := p.Document()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseDocument(conf.Within{File: "run.json"}, doc)
	if err != nil || !reflect.DeepEqual(again, p.filled()) {
		t.Errorf("%s is read as %+v, %v", doc, again, err)
	}
}

func TestNothingIsAllocatedPerTransactionOfSeveralStreams(t *testing.T) {
	dev := newFake(sim.NewLoop(), us)
	p := profile(t, twoStreams+"  - {name: b, arrival: bursts, rate: 1000/ms, on: 10us, off: 5us, queue_depth: 4, transaction: [{op: flush}]}\n")
	r, err := NewRunner(dev.loop, dev, Config{Profile: p, Seed: 1, Duration: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	dev.loop.Run(dev.loop.Now().Add(ms))
	if n := testing.AllocsPerRun(100, func() { dev.loop.Run(dev.loop.Now().Add(ms)) }); n != 0 {
		t.Errorf("%v allocations in a millisecond", n)
	}
}
