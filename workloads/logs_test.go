package workloads

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/sim"
)

// groups keeps what a runner tells of groups besides.
type groups struct {
	record
	shared map[devices.Stamp][]devices.Record
}

func (o *groups) Group(r *devices.Request, records []devices.Record) {
	if o.shared == nil {
		o.shared = map[devices.Stamp][]devices.Record{}
	}
	o.shared[r.Stamp] = slices.Clone(records)
}

// script runs a profile on a device that takes 10 µs for everything and writes down
// all requests with their instants, and all commits.
func script(t *testing.T, yaml string, cfg Config) (text string, o *groups) {
	t.Helper()
	dev := newFake(sim.NewLoop(), 10*us)
	var lines []string
	o = new(groups)
	cfg.Profile, cfg.Seed, cfg.Observer = profile(t, yaml), 1, Observers{&placeObserver{dev.loop, &lines}, o}
	run(t, dev, cfg)
	return strings.Join(lines, "\n"), o
}

// placeObserver writes down where requests go.
type placeObserver struct {
	loop *sim.Loop
	out  *[]string
}

func (o *placeObserver) Submit(r *devices.Request) {
	line := fmt.Sprintf("%v %s", o.loop.Now(), opName(r))
	if r.Op != devices.OpFlush {
		line += fmt.Sprintf(" %d+%d", r.Offset, r.Length)
	}
	*o.out = append(*o.out, line)
}
func (o *placeObserver) Op(*devices.Request) {}
func (o *placeObserver) Commit(c *devices.Commit) {
	*o.out = append(*o.out, fmt.Sprintf("%v commit %d", o.loop.Now(), c.Txn))
}

const walOf = `
regions: [{name: wal, offset: 64k, size: 64k}]
transaction: [{op: commit, log: wal, record: 3000}]
`

func TestCommitsThatComeDuringAGroupShareTheNextOne(t *testing.T) {
	got, o := script(t, "logs: {wal: {region: wal}}\nqueue_depth: 4\n"+walOf, Config{Commits: 4})
	// The first record is alone; three have come when its flush is done. They go on in
	// the block in which it ends.
	want := `0s write 65536+4096
10µs flush
20µs write 65536+12288
20µs commit 1
30µs flush
40µs commit 3
40µs commit 4
40µs commit 5`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	shared := []devices.Record{{Txn: 3, Offset: 65536 + 3000, Length: 3000}, {Txn: 4, Offset: 65536 + 6000, Length: 3000}, {Txn: 5, Offset: 65536 + 9000, Length: 3000}}
	if !reflect.DeepEqual(o.shared[2], shared) {
		t.Errorf("the group holds %v, want %v", o.shared[2], shared)
	}
	for _, c := range o.commits {
		if c.Stages.Total() != c.Acked.Sub(c.Intended) {
			t.Errorf("commit %d: stages sum to %v, not %v", c.Txn, c.Stages.Total(), c.Acked.Sub(c.Intended))
		}
	}
}

func TestALogFinishesByFUAAndWrapsAround(t *testing.T) {
	got, _ := script(t, "logs: {wal: {region: wal, finish: fua, block: 8k}}\nregions: [{name: wal, size: 16k}]\ntransaction: [{op: commit, log: wal, record: 5000}]\n", Config{Commits: 4})
	want := `0s write+fua 0+8192
10µs commit 1
10µs write+fua 0+16384
20µs commit 3
20µs write+fua 8192+8192
30µs commit 5
30µs write+fua 0+8192
40µs commit 7`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAFileThatGrowsCommitsItsFileSystemsJournal(t *testing.T) {
	const yaml = "logs: {aof: {region: aof, journal: journal, metadata: 2, finish: %s}}\n" +
		"regions: [{name: aof, size: 16k}, {name: journal, offset: 64k, size: 40k}]\ntransaction: [{op: commit, log: aof, record: 3000}]\n"
	got, o := script(t, fmt.Sprintf(yaml, "fua"), Config{Commits: 3})
	// The third commit of the journal does not fit behind the second.
	want := `0s write 0+4096
10µs write 65536+12288
20µs flush
30µs write+fua 77824+4096
40µs commit 1
40µs write 0+8192
50µs write 81920+12288
60µs flush
70µs write+fua 94208+4096
80µs commit 3
80µs write 4096+8192
90µs write 65536+12288
100µs flush
110µs write+fua 77824+4096
120µs commit 5`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// A commit is lost with its record, and with any part of what the journal commits.
	for stamp, want := range map[devices.Stamp][]devices.Record{
		1: {{Txn: 1, Offset: 0, Length: 3000}}, 2: {{Txn: 1, Offset: 65536, Length: 12288}}, 3: {{Txn: 1, Offset: 77824, Length: 4096}},
	} {
		if !slices.Equal(o.shared[stamp], want) {
			t.Errorf("write %d: got %v, want %v", stamp, o.shared[stamp], want)
		}
	}
	got, _ = script(t, fmt.Sprintf(yaml, "flush"), Config{Commits: 1})
	want = `0s write 0+4096
10µs write 65536+12288
20µs flush
30µs write 77824+4096
40µs flush
50µs commit 1`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAPreallocatedFileCommitsTheJournalOnlyForNewBlocks(t *testing.T) {
	got, _ := script(t, "logs: {wal: {region: wal, journal: journal, preallocated: true, finish: fua}}\n"+
		"regions: [{name: wal, size: 8k}, {name: journal, offset: 64k, size: 64k}]\ntransaction: [{op: commit, log: wal, record: 2000}]\n", Config{Commits: 5})
	// Two records are in the first block, and the third reaches into the second. What
	// follows is in a new file.
	want := `0s write 0+4096
10µs write 65536+8192
20µs flush
30µs write+fua 73728+4096
40µs commit 1
40µs write 0+4096
50µs flush
60µs commit 3
60µs write 0+8192
70µs write 77824+8192
80µs flush
90µs write+fua 86016+4096
100µs commit 5
100µs write 4096+4096
110µs flush
120µs commit 7
120µs write 0+4096
130µs write 90112+8192
140µs flush
150µs write+fua 98304+4096
160µs commit 9`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAGroupWaitsForSiblings(t *testing.T) {
	// The first transaction begins alone, so none waits.
	got, _ := script(t, "logs: {wal: {region: wal, delay: 5us, siblings: 1}}\nqueue_depth: 4\n"+walOf, Config{Commits: 4})
	want := `0s write 65536+4096
10µs flush
20µs commit 1
25µs write 65536+12288
35µs flush
45µs commit 3
45µs commit 4
45µs commit 5`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got, _ = script(t, "logs: {wal: {region: wal, delay: 5us, siblings: 4}}\nqueue_depth: 4\n"+walOf, Config{Commits: 4})
	if !strings.Contains(got, "20µs write 65536+12288") {
		t.Errorf("without four others a group waits:\n%s", got)
	}
}

func TestAJournalWaitsForItsMembersDataAndIsOneForAll(t *testing.T) {
	got, o := script(t, `
regions: [{name: data, size: 64k}, {name: journal, offset: 64k, size: 64k}]
logs: {journal: {region: journal, finish: fua}}
streams:
  - {name: one, transaction: [{op: write, size: 4k, region: data}, {op: commit, log: journal, blocks: 2}]}
  - {name: two, transaction: [{op: write, size: 4k, count: 2, region: data}, {op: commit, log: journal, blocks: 1}]}
`, Config{Commits: 2})
	// Both begin before the first has come to its commit: one group of a descriptor and
	// three blocks, which waits for the second one's data.
	want := `0s write 0+4096
0s write 0+4096
10µs write 4096+4096
20µs write 65536+16384
30µs flush
40µs write+fua 81920+4096
50µs commit 1
50µs commit 2`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	all := func(offset, length uint64) []devices.Record {
		return []devices.Record{{Txn: 1, Offset: offset, Length: length}, {Txn: 2, Offset: offset, Length: length}}
	}
	if !reflect.DeepEqual(o.shared[4], all(65536, 16384)) || !reflect.DeepEqual(o.shared[5], all(81920, 4096)) {
		t.Errorf("%v", o.shared)
	}
}

func TestAMemberThatFailsLeavesItsJournal(t *testing.T) {
	p := profile(t, `
regions: [{name: data, size: 64k}, {name: journal, offset: 64k}]
logs: {journal: {region: journal, finish: flush}}
queue_depth: 3
transaction: [{op: write, size: 4k, region: data}, {op: commit, log: journal, blocks: 1}]
`)
	dev := newFake(sim.NewLoop(), 0)
	dev.latency = func(r *devices.Request) sim.Duration { return 10*us + sim.Duration(r.Slot)*us }
	dev.errno = func(r *devices.Request) devices.Errno {
		if r.Offset < 64<<10 && r.Op == devices.OpWrite && r.Txn%3 == 0 {
			return devices.EIO
		}
		return devices.OK
	}
	o, r := run(t, dev, Config{Profile: p, Seed: 1, Commits: 300})
	if s := r.Stats(); s.Begun != 300 || s.Failed < 60 || s.Failed > 140 || len(o.commits) != 300 {
		t.Errorf("%+v", s)
	}
	dev.errno = func(r *devices.Request) devices.Errno {
		if r.Op == devices.OpFlush {
			return devices.EIO
		}
		return devices.OK
	}
	dev.loop = sim.NewLoop()
	_, r = run(t, dev, Config{Profile: p, Seed: 1, Commits: 50})
	if s := r.Stats(); s.Failed != 50 {
		t.Errorf("a flush that fails: %+v", s)
	}
}

func TestALogIsWrittenByContent(t *testing.T) {
	p := profile(t, "logs: {wal: {region: wal, block: 512}}\nqueue_depth: 4\n"+walOf)
	dev := newFake(sim.NewLoop(), us)
	dev.latency = func(r *devices.Request) sim.Duration {
		for i := 0; r.Op == devices.OpWrite && i < len(r.Bytes); i += devices.Sector {
			if l, ok := ReadLabel(r.Bytes[i : i+devices.Sector]); !ok || l != (Label{9, r.Offset + uint64(i), r.Stamp, r.Txn}) {
				t.Errorf("sector %d of %v: %+v", i, r, l)
			}
		}
		if r.Op == devices.OpWrite && uint64(len(r.Bytes)) != r.Length {
			t.Errorf("%v has %d bytes", r, len(r.Bytes))
		}
		return us
	}
	run(t, dev, Config{Profile: p, Seed: 9, Commits: 30, Content: Bytes})
}

func TestWhatIsWrongWithALogIsSaid(t *testing.T) {
	const steps = "transaction: [{op: commit, log: l, record: 1}]\n"
	for _, c := range []struct{ yaml, want string }{
		{steps, `f:2:33: transaction[0].log: expected one of the profile's logs, got "l"`},
		{"logs: {l: {region: r}}\n" + steps, `f:2:20: logs.l.region: expected one of the profile's regions`},
		{"logs: {l: {finish: x}}\n" + steps, `logs.l.finish: expected flush or fua, got "x"`},
		{"logs: {l: {block: 1000}}\n" + steps, "logs.l.block: expected a multiple"},
		{"logs: {l: {delay: 11s}}\n" + steps, "logs.l.delay: expected at least 0"},
		{"logs: {l: {siblings: 5}}\n" + steps, "logs.l.siblings: expected with a delay"},
		{"logs: {l: {journal: x}}\n" + steps, `logs.l.journal: expected one of the profile's regions, got "x"`},
		{"logs: {l: {metadata: 1}}\n" + steps, "logs.l.metadata: expected with a journal"},
		{"logs: {l: {preallocated: true}}\n" + steps, "logs.l.preallocated: expected with a journal"},
		{"logs: {l: {journal: j, metadata: 2000}}\nregions: [{name: j}]\n" + steps, "logs.l.metadata: expected at most 1024"},
		{"logs: {l: {journal: j}}\nregions: [{name: j}]\ntransaction: [{op: commit, log: l, blocks: 1}]\n", "transaction[0].blocks: expected record"},
		{"logs: {l: {}}\ninvariant: prefix\n" + steps, "invariant: expected none with logs"},
		{"logs: {l: {}}\ntransaction: [{op: commit, log: l}]\n", "transaction[0].record: expected either record"},
		{"logs: {l: {}}\ntransaction: [{op: commit, log: l, record: 1, blocks: 1}]\n", "transaction[0].record: expected either record"},
		{"logs: {l: {}}\ntransaction: [{op: commit, log: l, record: 9m}]\n", "transaction[0].record: expected at most"},
		{"logs: {l: {}}\ntransaction: [{op: commit, log: l, blocks: 2000}]\n", "transaction[0].blocks: expected at most"},
		{"logs: {l: {}}\ntransaction: [{op: commit, log: l, record: 1, size: 4k}]\n", "transaction[0].op: expected commit with log"},
		{"logs: {l: {}}\ntransaction: [{op: commit, log: l, record: 1, count: 2}]\n", "transaction[0].op: expected commit with log"},
		{"logs: {l: {}}\ntransaction: [{op: read, log: l, size: 4k}]\n", "transaction[0].log: expected log and blocks only"},
		{"logs: {l: {}}\ntransaction: [{op: commit, log: l, record: 1}, {op: commit, log: l, blocks: 1}]\n", "transaction[1].log: expected either records or blocks"},
		{"logs: {l: {}, m: {}}\ntransaction: [{op: commit, log: l, blocks: 1}, {op: commit, log: m, blocks: 1}]\n", "transaction[1].log: expected at most one"},
		{"logs: {l: {}}\n" + steps + "between: [{op: commit, log: l, record: 1}]\n", "between[0].op: expected no commit"},
	} {
		_, err := Parse("f", []byte("name: x\n"+c.yaml))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.yaml, err, c.want)
		}
	}
	for _, c := range []struct {
		yaml string
		info devices.Info
		path string
	}{
		{"logs: {l: {}}\n" + steps, devices.Info{Size: 1 << 20}, ""},
		{"logs: {l: {}}\n" + steps, devices.Info{Size: 1 << 20, ReadOnly: true}, "logs.l"},
		{"logs: {l: {block: 512}}\n" + steps, devices.Info{Size: 1 << 20, MinIO: 4096}, "logs.l.block"},
		{"logs: {l: {block: 8k, region: r}}\nregions: [{name: r, size: 4k}]\n" + steps, devices.Info{Size: 1 << 20}, "logs.l.region"},
		{"logs: {l: {journal: j}}\nregions: [{name: j, size: 12k}]\n" + steps, devices.Info{Size: 1 << 20}, ""},
		{"logs: {l: {journal: j}}\nregions: [{name: j, size: 8k}]\n" + steps, devices.Info{Size: 1 << 20}, "logs.l.journal"},
		{"logs: {l: {journal: j, metadata: 400}}\nregions: [{name: j, size: 2m}]\n" + steps, devices.Info{Size: 1 << 30, MaxPayload: 1 << 20}, "logs.l.metadata"},
		{"logs: {l: {block: 8k, journal: j}}\nregions: [{name: j, size: 64k}]\n" + steps, devices.Info{Size: 1 << 20, MinIO: 8192}, "logs.l.journal"},
		{"logs: {l: {}}\nqueue_depth: 100\ntransaction: [{op: commit, log: l, blocks: 3}]\n", devices.Info{Size: 1 << 20}, "logs.l.region"},
		{"logs: {l: {}}\nqueue_depth: 100\ntransaction: [{op: commit, log: l, blocks: 3}]\n", devices.Info{Size: 1 << 30, MaxPayload: 1 << 20}, "logs.l"},
	} {
		p := profile(t, c.yaml)
		if err := p.Fits(c.info); field(err) != c.path || (err == nil) != (c.path == "") {
			t.Errorf("%s: got %v, want an error about %q", c.yaml, err, c.path)
		}
	}
}

func TestALogIsDescribedStoredAndKnown(t *testing.T) {
	p := profile(t, "logs: {wal: {region: wal, finish: fua, delay: 1ms, siblings: 5}}\n"+walOf)
	for _, want := range []string{
		"\nlog: wal, one group at a time, padded to 4KiB in wal, made durable by FUA, after 1ms beside at least 5 others\n",
		"  1. commit of a record of 3000 bytes to wal\n",
	} {
		if !strings.Contains(p.Describe(), want) {
			t.Errorf("%q is not in\n%s", want, p.Describe())
		}
	}
	doc, err := p.Document()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseDocument(conf.Within{File: "x"}, doc); err != nil || !reflect.DeepEqual(again, p.filled()) {
		t.Errorf("%s: %v", doc, err)
	}
	off, end, exclusive := p.Footprint(1 << 20)
	fua, flush := p.Asks()
	if off != 64<<10 || end != 128<<10 || exclusive || !fua || flush || !p.HasCommits() || !p.Durable() || p.Aligned(4096) || !p.Aligned(512) {
		t.Errorf("[%d, %d) exclusive %v, FUA %v, FLUSH %v, durable %v", off, end, exclusive, fua, flush, p.Durable())
	}
	for steps, want := range map[string]bool{
		"{op: write, size: 4k}, {op: commit, log: flush, record: 1}": true,
		"{op: write, size: 4k}, {op: commit, log: fua, record: 1}":   false,
		"{op: write, size: 4k}, {op: commit, log: fuaj, blocks: 1}":  true,
		"{op: commit, log: fua, record: 1}, {op: write, size: 4k}":   false,
		"{op: write, size: 4k}, {op: commit, log: file, record: 1}":  true,
	} {
		p := profile(t, "regions: [{name: j}]\nlogs: {flush: {}, fua: {finish: fua}, fuaj: {finish: fua}, file: {finish: fua, journal: j}}\ntransaction: ["+steps+"]\n")
		if p.Durable() != want {
			t.Errorf("%s: durable %v", steps, p.Durable())
		}
	}
}

func TestNothingIsAllocatedPerGroup(t *testing.T) {
	dev := newFake(sim.NewLoop(), us)
	r := grouped(t, dev, nil)
	dev.loop.Run(dev.loop.Now().Add(ms))
	before := r.Stats().Commits
	if n := testing.AllocsPerRun(100, func() { dev.loop.Run(dev.loop.Now().Add(ms)) }); n != 0 {
		t.Errorf("%v allocations in a millisecond", n)
	}
	if n := r.Stats().Commits - before; n < 1000 {
		t.Errorf("only %d commits", n)
	}
}

// grouped starts a run of a log and a journal that does not end by itself.
func grouped(t testing.TB, dev *fakeDevice, o Observer) *Runner {
	p := profile(t, `
regions: [{name: wal, size: 1m}, {name: data, offset: 1m, size: 16m}, {name: journal, offset: 32m}]
logs: {wal: {region: wal, finish: fua}, journal: {region: journal}, file: {region: wal, journal: journal, preallocated: true}}
streams:
  - {name: c, queue_depth: 8, transaction: [{op: commit, log: file, record: 3000}]}
  - {name: a, queue_depth: 8, transaction: [{op: commit, log: wal, record: 300}]}
  - {name: b, count: 4, transaction: [{op: write, size: 4k, region: data}, {op: commit, log: journal, blocks: 1}]}
`)
	r, err := NewRunner(dev.loop, dev, Config{Profile: p, Seed: 1, Duration: 1 << 60, Observer: o})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	return r
}

func BenchmarkGroups(b *testing.B) {
	dev := newFake(sim.NewLoop(), us)
	r := grouped(b, dev, nil)
	b.ReportAllocs()
	for b.Loop() {
		dev.loop.Step()
	}
	b.ReportMetric(float64(r.Stats().Commits)/b.Elapsed().Seconds(), "commits/s")
}
