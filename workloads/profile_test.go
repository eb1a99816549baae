package workloads

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

func TestShippedProfilesAreValidNamedAsTheirFilesAndExplained(t *testing.T) {
	names := List()
	for _, want := range []string{"sync-4k", "wal", "wal-noisy", "ext4-journal", "xfs-log", "btrfs-tree-log"} {
		if !strings.Contains(strings.Join(names, " ")+" ", want+" ") {
			t.Errorf("%s is not shipped", want)
		}
	}
	for _, name := range names {
		p, err := Get(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Name != name || len(p.Description) < 40 || len(p.Source) < 10 {
			t.Errorf("%s: name %q, description %q, source %q", name, p.Name, p.Description, p.Source)
		}
		if p.HasCommits() && !p.Durable() {
			t.Errorf("%s: a commit is not durable", name)
		}
		for _, size := range []uint64{16 << 20, 100 << 20, 1 << 30, 12345678912, 8e12} {
			if err := p.Fits(devices.Info{Size: size, CanTrim: true, CanZero: true}); err != nil {
				t.Errorf("%s on %d bytes: %v", name, size, err)
			}
		}
	}
}

func TestDescribe(t *testing.T) {
	p, err := Get("wal-noisy")
	if err != nil {
		t.Fatal(err)
	}
	want := `wal-noisy

The same log, on a disk that is also written for other reasons: between two
commits, 32 random 4 KiB blocks are written without asking for durability, all
in flight together. They are done before the next commit is due and are not part
of any commit's latency; but a flush must write them out, and FUA need not.

A database's data pages beside its log; 32 dirty extents, as in the disk model's
flush_n check

load: closed loop, one transaction at a time
region: log, 5%, at most 64MiB from 0
region: data, all that follows from 10%

a commit, from when it is due until its last reply:
  1. durable write of 4KiB blocks that hold a record of 2300 bytes, append in log

between two of them, not part of their latency:
  1. 32 times write of 4KiB, random in data, all in flight together

who waits for what, if every request takes as long (█ write or read, ▓ FUA, ▒ flush, · waits):
  commit 1  write with FUA of 2300 bytes, log  ▓▓▓▓▓▓

After a power cut (prefix): where a record is there, so is every one that was acknowledged before it was begun.
`
	if got := p.Describe(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	p = p.With(Override{QueueDepth: 4, Rate: 500})
	p.Transaction = []Step{{Op: ActionRead, Size: 512}, {Op: ActionFlush, Count: 2}}
	for _, part := range []string{
		"open loop, constant arrivals, 500/s, at most 4 transactions", "read of 512, sequential in the whole device",
		"2. flush, flush\n", "does not ask for all that it wrote to be durable",
	} {
		if !strings.Contains(p.Describe(), part) {
			t.Errorf("%q is not in\n%s", part, p.Describe())
		}
	}
	p = Profile{Name: "again", Transaction: []Step{{Op: ActionReplay, File: "trace.gz"}}}
	if got := p.Describe(); strings.Contains(got, "a commit") || !strings.Contains(got, "It has no commits, so strategies are compared by the latency of these operations.") {
		t.Errorf("got\n%s", got)
	}
}

func TestWhatIsWrongWithAProfileIsSaidWithItsPlace(t *testing.T) {
	const one = "transaction: [{op: write, size: 4k}]\n"
	for _, c := range []struct{ yaml, want string }{
		{"", "f:1:1: transaction: expected at least one step"},
		{one + "per_commit: {flushes: -1}\n", "per_commit.flushes: expected at least 0"},
		{one + "per_commit: {fuas: 5000}\n", "per_commit.fuas: expected at least 0 and at most 4096, got 5000"},
		{one + "per_commit: {bytes: 1000000000000}\n", "per_commit.bytes: expected at most"},
		{one + "queue_depht: 3\n", `f:3:1: unknown key "queue_depht", expected name, description, source, per_commit, queue_depth, arrival`},
		{one + "queue_depth: 20000\n", "f:3:14: queue_depth: expected at most 16384"},
		{one + "arrival: sometimes\n", `f:3:10: arrival: expected closed, constant, poisson, bursts or replayed, got "sometimes"`},
		{one + "arrival: poisson\n", "f:1:1: rate: expected a rate above 0"},
		{one + "arrival: poisson\nrate: 0/s\n", "f:4:7: rate: expected a rate above 0"},
		{one + "rate: 5/s\n", "f:3:7: rate: expected none in a closed loop"},
		{one + "arrival: poisson\nrate: 5/s\nthink: 1s\n", "f:5:8: think: expected none with poisson arrivals"},
		{one + "regions: [{offset: 0}]\n", "f:3:11: regions[0].name: expected a name of its own"},
		{one + "regions: [{name: a}, {name: a}]\n", "f:3:29: regions[1].name: expected a name of its own"},
		{one + "regions: [{name: a, offset: 100}]\n", "f:3:29: regions[0].offset: expected a multiple of 512"},
		{one + "regions: [{name: a, size: 0}]\n", "f:3:27: regions[0].size: expected a multiple of 512 bytes, above 0"},
		{one + "regions: [{name: a, size: 101%}]\n", `f:3:27: regions[0].size: "101%": expected a size such as 64MiB or a percentage`},
		{one + "regions: [{name: a, at_most: 1}]\n", "f:3:30: regions[0].at_most: expected a multiple"},
		{"transaction: [{op: erase}]\n", `f:2:20: transaction[0].op: expected write, read, flush, trim, write_zeroes, mix, commit or replay, got "erase"`},
		{"transaction: [{size: 4k}]\n", `f:2:15: transaction[0].op: expected write`},
		{"transaction: [{op: write}]\n", "f:2:15: transaction[0].size: expected a size above 0, got 0"},
		{"transaction: [{op: trim, size: 1000}]\n", "f:2:32: transaction[0].size: expected a multiple of 512"},
		{"transaction: [{op: write, size: 64m}]\n", "f:2:33: transaction[0].size: expected at most 32MiB in one write"},
		{"transaction: [{op: trim, size: 4g}]\n", "f:2:32: transaction[0].size: expected at most"},
		{"transaction: [{op: write, size: 4k, record: 33m, pattern: append}]\n", "transaction[0].size: expected at most 32MiB"},
		{"transaction: [{op: read, size: 4k, durable: true}]\n", "f:2:45: transaction[0].durable: expected only on write"},
		{"transaction: [{op: trim, size: 4k, preflush: true}]\n", "f:2:46: transaction[0].preflush: expected only on write"},
		{"transaction: [{op: flush, size: 4k}]\n", "f:2:20: transaction[0].op: expected only flush"},
		{"transaction: [{op: write, size: 4k, pattern: spiral}]\n", "transaction[0].pattern: expected sequential, random, zipf, append, shuffled, pareto, normal, zoned or stride"},
		{"transaction: [{op: write, size: 4k, pattern: append}]\n", "f:2:15: transaction[0].record: expected with pattern append"},
		{"transaction: [{op: write, size: 4k, record: 5}]\n", "f:2:45: transaction[0].record: expected with pattern append"},
		{"transaction: [{op: write, size: 4k, theta: 0.5}]\n", "transaction[0].theta: expected between 0 and 1"},
		{"transaction: [{op: write, size: 4k, theta: 1, pattern: zipf}]\n", "transaction[0].theta: expected between 0 and 1"},
		{"transaction: [{op: write, size: 4k, region: log}]\n", `f:2:45: transaction[0].region: expected one of the profile's regions, got "log"`},
		{"transaction: [{op: write, size: 4k, count: 5000}]\n", "f:2:44: transaction[0].count: expected at most 4096 requests"},
		{one + "between: [{op: write, size: 4k}, {op: trim, size: 1}]\n", "f:3:51: between[1].size: expected a multiple of 512"},
		{one + "description: 5\n", "f:3:14: description: expected text"},
	} {
		_, err := Parse("f", []byte("name: x\n"+c.yaml))
		var e *conf.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.yaml, err, c.want)
		}
	}
	if _, err := Parse("f", []byte(one)); err == nil || !strings.Contains(err.Error(), "name: expected a name") {
		t.Errorf("without a name: %v", err)
	}
}

func TestWhatDoesNotFitTheDeviceIsSaid(t *testing.T) {
	all := devices.Info{Size: 1 << 20, CanTrim: true, CanZero: true}
	for _, c := range []struct {
		yaml string
		info devices.Info
		path string // "" fits
	}{
		{"transaction: [{op: write, size: 4k}]\n", all, ""},
		{"transaction: [{op: write, size: 1m}]\n", all, ""},
		{"transaction: [{op: write, size: 4k, count: 257}]\n", all, "transaction[0].region"},
		{"transaction: [{op: write, size: 512k}, {op: write, size: 512k}]\n", all, ""},
		{"transaction: [{op: write, size: 512k}, {op: write, size: 512k}, {op: write, size: 512}]\n", all, "transaction[0].region"},
		{"transaction: [{op: write, size: 2m, pattern: random}]\n", all, "transaction[0].region"},
		{"transaction: [{op: write, size: 4k, record: 1m, pattern: append}]\n", all, ""},
		{"transaction: [{op: write, size: 4k, record: 1048577, pattern: append}]\n", all, "transaction[0].region"},
		{"transaction: [{op: trim, size: 4k}]\n", devices.Info{Size: 1 << 20}, "transaction[0].op"},
		{"transaction: [{op: write_zeroes, size: 4k}]\n", devices.Info{Size: 1 << 20}, "transaction[0].op"},
		{"transaction: [{op: write, size: 4k}]\n", devices.Info{Size: 1 << 20, ReadOnly: true}, "transaction[0].op"},
		{"transaction: [{op: read, size: 4k}]\n", devices.Info{Size: 1 << 20, ReadOnly: true}, ""},
		{"transaction: [{op: read, size: 4k}]\n", devices.Info{Size: 1 << 20, MaxPayload: 2048}, "transaction[0].size"},
		{"transaction: [{op: read, size: 6k}]\n", devices.Info{Size: 1 << 20, MinIO: 4096}, "transaction[0].size"},
		{"transaction: [{op: read, size: 4k, region: a}]\nregions: [{name: a, offset: 512}]\n", devices.Info{Size: 1 << 20, MinIO: 4096}, "transaction[0].size"},
		{"transaction: [{op: read, size: 8k, region: a}]\nregions: [{name: a, offset: 50%}]\n", devices.Info{Size: 1 << 20, MinIO: 4096}, ""},
		{"transaction: [{op: flush}]\nregions: [{name: a, offset: 2m}]\n", all, "regions[0]"},
		{"transaction: [{op: flush}]\nregions: [{name: a, offset: 50%, size: 51%}]\n", all, "regions[0]"},
		{"transaction: [{op: flush}]\nregions: [{name: a, offset: 50%, size: 50%}]\n", all, ""},
		{"transaction: [{op: flush}]\nregions: [{name: a, offset: 50%, size: 1g, at_most: 512k}]\n", all, ""},
		{"transaction: [{op: flush}]\nbetween: [{op: trim, size: 4k}]\n", devices.Info{Size: 1 << 20}, "between[0].op"},
	} {
		p := profile(t, c.yaml)
		if err := p.Fits(c.info); field(err) != c.path || (err == nil) != (c.path == "") {
			t.Errorf("%s: got %v, want an error about %q", c.yaml, err, c.path)
		}
	}
}

func TestARunHasBounds(t *testing.T) {
	p := profile(t, "transaction: [{op: write, size: 32m, count: 40, parallel: true}]\n")
	info := devices.Info{Size: 8 << 30}
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "expected a number of commits or a duration"},
		{Config{Commits: MaxCommits + 1}, "commits: expected at most"},
		{Config{Duration: -1}, "expected no negative duration"},
		{Config{Commits: 1, Warmup: -1}, "expected no negative duration"},
		{Config{Commits: 1, Connections: 5000}, "connections: expected at most 1024"},
		{Config{Commits: 1, QueueDepth: 1 << 15}, "queue_depth: expected at most 16384"},
		{Config{Commits: 1, QueueDepth: 1 << 13}, "requests in flight"},
		{Config{Commits: 1, Content: Bytes}, "of payload in flight"},
		{Config{Commits: 1}, ""},
	} {
		c.cfg.Profile = p
		err := c.cfg.Validate(info)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestOverrides(t *testing.T) {
	closed := Load{QueueDepth: 2, Think: 5}
	open := Load{Arrival: ArrivalPoisson, Rate: 10}
	for _, c := range []struct{ base, override, want Load }{
		{closed, Override{}, closed},
		{closed, Override{QueueDepth: 8}, Load{QueueDepth: 8, Think: 5}},
		{closed, Override{Rate: 5}, Load{QueueDepth: 2, Arrival: ArrivalConstant, Rate: 5}},
		{closed, Override{Arrival: ArrivalPoisson, Rate: 5}, Load{QueueDepth: 2, Arrival: ArrivalPoisson, Rate: 5}},
		{open, Override{Rate: 20}, Load{Arrival: ArrivalPoisson, Rate: 20}},
		{open, Override{Arrival: ArrivalClosed}, Load{Arrival: ArrivalClosed}},
		{open, Override{Arrival: ArrivalClosed, Think: 7}, Load{Arrival: ArrivalClosed, Think: 7}},
	} {
		if got := (Profile{Load: c.base}).With(c.override).Load; got != c.want {
			t.Errorf("%+v with %+v: got %+v, want %+v", c.base, c.override, got, c.want)
		}
	}
}

func TestARefIsANameOrAMapping(t *testing.T) {
	var plan struct {
		Workloads []Ref `yaml:"workloads"`
	}
	const text = "workloads: [wal, {name: sync-4k, queue_depth: 8, rate: 100/s}, {name: none}]\n"
	if err := conf.Decode("plan", []byte(text), &plan); err != nil {
		t.Fatal(err)
	}
	want := []Ref{{Name: "wal"}, {Name: "sync-4k", Override: Override{QueueDepth: 8, Rate: 100}}, {Name: "none"}}
	if !reflect.DeepEqual(plan.Workloads, want) {
		t.Errorf("got %+v", plan.Workloads)
	}
	p, err := plan.Workloads[1].Resolve()
	if err != nil || p.QueueDepth != 8 || p.Arrival != ArrivalConstant {
		t.Errorf("got %+v, %v", p.Load, err)
	}
	if _, err := plan.Workloads[2].Resolve(); err == nil || !strings.Contains(err.Error(), `workload "none": expected one of backup, bluestore, btrfs-commit, btrfs-tree-log, doublewrite, etcd`) {
		t.Errorf("got %v", err)
	}
	if _, err := (Ref{Name: "wal", Override: Override{Arrival: ArrivalPoisson}}).Resolve(); field(errors.Unwrap(err)) != "rate" {
		t.Errorf("got %v", err)
	}
	if err := conf.Decode("plan", []byte("workloads: [[wal]]"), &plan); err == nil {
		t.Error("a list is a Ref")
	}
}

func TestOpenTakesANameOrAPath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte("name: mine\ntransaction: [{op: flush}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{file: "mine", "wal": "wal"} {
		if p, err := Open(arg); err != nil || p.Name != want {
			t.Errorf("%s: %q, %v", arg, p.Name, err)
		}
	}
	for _, arg := range []string{file + ".yaml", "../wal", "", "none", "profiles"} {
		if p, err := Open(arg); err == nil {
			t.Errorf("%q opens %q", arg, p.Name)
		}
	}
}

func TestDurableProfiles(t *testing.T) {
	for _, c := range []struct {
		steps string
		want  bool
	}{
		{"{op: write, size: 4k}", false},
		{"{op: read, size: 4k}", false},
		{"{op: flush}", false},
		{"{op: write, size: 4k, durable: true}", true},
		{"{op: write, size: 4k}, {op: flush}", true},
		{"{op: flush}, {op: write, size: 4k}", false},
		{"{op: write, size: 4k}, {op: write, size: 4k, durable: true}", false},
		{"{op: write, size: 4k}, {op: flush}, {op: write, size: 4k, durable: true}", true},
		{"{op: write, size: 4k}, {op: flush}, {op: read, size: 4k}", true},
		{"{op: trim, size: 4k}", false},
	} {
		p := profile(t, "transaction: ["+c.steps+"]\n")
		if p.Durable() != c.want {
			t.Errorf("%s: got %v", c.steps, p.Durable())
		}
	}
}

// placesOf lists where the first n transactions of a profile go.
func placesOf(t *testing.T, p Profile, size, n uint64) (out [][2]uint64) {
	t.Helper()
	info := devices.Info{Size: size, CanTrim: true, CanZero: true}
	if err := p.Fits(info); err != nil {
		t.Fatal(err)
	}
	s := compile(&p, "workload/commit", p.Transaction, 0, 1, info, 1)
	for i := range n {
		for _, phase := range s.stages {
			for j := range phase {
				offset, length := phase[j].place.at(i, phase[j].step)
				out = append(out, [2]uint64{offset, length})
			}
		}
	}
	return out
}

func TestSequentialGoesThroughItsRegionAndWraps(t *testing.T) {
	p := profile(t, `
regions: [{name: a, offset: 8k, size: 20k}, {name: b, offset: 32k, size: 4k}]
transaction:
  - {op: write, size: 4k, region: a}
  - {op: write, size: 4k, region: b}
  - {op: write, size: 2k, count: 2, region: a, parallel: true}
`)
	const k = 1024
	want := [][2]uint64{
		{8 * k, 4 * k},
		{32 * k, 4 * k},
		{12 * k, 2 * k},
		{14 * k, 2 * k},
		{16 * k, 4 * k},
		{32 * k, 4 * k},
		{20 * k, 2 * k},
		{22 * k, 2 * k},
		{8 * k, 4 * k},
		{32 * k, 4 * k},
		{12 * k, 2 * k},
		{14 * k, 2 * k},
	}
	if got := placesOf(t, p, 1<<20, 3); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAppendWritesTheBlocksThatHoldTheRecord(t *testing.T) {
	p := profile(t, `
regions: [{name: log, offset: 4k, size: 9k}]
transaction: [{op: write, size: 4k, record: 3000, region: log, pattern: append}]
`)
	// Two blocks of 4096 hold two records of 3000: bytes 0 to 2999 and 3000 to 5999.
	want := [][2]uint64{{4096, 4096}, {4096, 8192}, {4096, 4096}, {4096, 8192}}
	if got := placesOf(t, p, 1<<20, 4); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSequentialStepsOfOneRegionFollowEachOther(t *testing.T) {
	p := profile(t, "transaction: [{op: write, size: 512, count: 3}, {op: flush}, {op: write, size: 1k, count: 2, parallel: true}, {op: write, size: 512}]\n")
	want := [][2]uint64{{0, 512}, {512, 512}, {1024, 512}, {0, 0}, {1536, 1024}, {2560, 1024}, {3584, 512}, {4096, 512}}
	if got := placesOf(t, p, 1<<20, 2); !reflect.DeepEqual(got[:8], want) {
		t.Errorf("got %v, want %v", got[:8], want)
	}
}

func TestRecordsThatFillTheirBlocksTakeNoOthers(t *testing.T) {
	for record, want := range map[string][][2]uint64{
		"2k": {{0, 4096}, {0, 4096}, {4096, 4096}},
		"4k": {{0, 4096}, {4096, 4096}, {8192, 4096}},
		"8k": {{0, 8192}, {8192, 8192}, {16384, 8192}},
		"1":  {{0, 4096}, {0, 4096}, {0, 4096}},
	} {
		p := profile(t, "transaction: [{op: write, size: 4k, pattern: append, record: "+record+"}]\n")
		if got := placesOf(t, p, 1<<20, 3); !reflect.DeepEqual(got, want) {
			t.Errorf("records of %s: got %v, want %v", record, got, want)
		}
		if longest := p.Transaction[0].longest(); longest != want[0][1] {
			t.Errorf("records of %s: room for %d bytes", record, longest)
		}
	}
}

func TestTheTailOfALogIsWrittenAgain(t *testing.T) {
	p, err := Get("wal")
	if err != nil {
		t.Fatal(err)
	}
	again, long := 0, 0
	places := placesOf(t, p, 1<<30, 100000)
	for i := 1; i < len(places); i++ {
		before, now := places[i-1], places[i]
		if now[0] < before[0]+before[1] && now[0] >= before[0] {
			again++
		}
		if now[1] == 8192 {
			long++
		}
		if now[0]+now[1] > 1<<30/20 || now[1] > 8192 {
			t.Fatalf("record %d at %v", i, now)
		}
	}
	// A record of 2300 crosses a boundary with probability 2299/4096.
	if long < 56000 || long > 56300 || again < 99900 {
		t.Errorf("of 100000 records %d take two blocks and %d begin in the last one's", long, again)
	}
}

func TestRandomStaysAlignedWithinItsRegionAndReachesAll(t *testing.T) {
	for _, pattern := range []string{"random", "zipf"} {
		p := profile(t, `
regions: [{name: a, offset: 5k, size: 67k}]
transaction: [{op: write, size: 4k, count: 4, region: a, pattern: `+pattern+`}]
`)
		seen := map[uint64]int{}
		for _, at := range placesOf(t, p, 1<<20, 4000) {
			if at[0] < 5<<10 || at[0]+at[1] > 72<<10 || (at[0]-5<<10)%4096 != 0 || at[1] != 4096 {
				t.Fatalf("%s: %v", pattern, at)
			}
			seen[at[0]]++
		}
		if pattern == "random" {
			checkEven(t, seen, 16, 1000)
		}
	}
}

func checkEven(t *testing.T, seen map[uint64]int, blocks, each int) {
	t.Helper()
	if len(seen) != blocks {
		t.Errorf("%d blocks of %d were written", len(seen), blocks)
	}
	for at, n := range seen {
		if float64(n) < 0.85*float64(each) || float64(n) > 1.15*float64(each) {
			t.Errorf("block at %d was written %d times of %d expected", at, n, each)
		}
	}
}

func TestZipfRanksFallAsTheyShould(t *testing.T) {
	const blocks, draws = 1000, 200000
	z := newZipf(random{blocks: blocks, size: 512}, sim.Seed(1).Stream("s"), 0.9)
	counts := make([]float64, blocks)
	stream := sim.Seed(2).Stream("u")
	for i := range uint64(draws) {
		counts[z.rank(stream.Float64(i, 0))]++
	}
	// From ranks 10 to 100 the frequency falls by 10^0.9, the continuous form
	// of the distribution being close there.
	ratio := (counts[9] + counts[10] + counts[8]) / (counts[99] + counts[100] + counts[98])
	if want := math.Pow(10, 0.9); ratio < 0.8*want || ratio > 1.25*want {
		t.Errorf("rank 10 is %.2f times as frequent as rank 100, want %.2f", ratio, want)
	}
	if z.rank(0) != 0 || z.rank(math.Nextafter(1, 0)) != blocks-1 {
		t.Errorf("ranks go from %d to %d", z.rank(0), z.rank(math.Nextafter(1, 0)))
	}
}

func TestConstantArrivalsDoNotDrift(t *testing.T) {
	c := Constant{Start: 1000, Rate: 3}
	for n, want := range map[uint64]sim.Time{0: 1000, 1: 333334333, 2: 666667667, 3: 1000001000, 3e6: 1e15 + 1000} {
		if got := c.Due(n, 0); got != want {
			t.Errorf("transaction %d is due at %d, want %d", n, got, want)
		}
	}
}

func TestPoissonArrivalsHaveTheirRateAndTheirSpread(t *testing.T) {
	const n = 200000
	p := Poisson{Rate: units.Rate(300000), Draws: sim.Seed(4).Stream("a")}
	var now sim.Time
	var squares float64
	for i := range uint64(n) {
		next := p.Due(i, now)
		gap := float64(next.Sub(now))
		squares += gap * gap
		now = next
	}
	mean := float64(now) / n
	if want := 1e9 / 300000.0; math.Abs(mean/want-1) > 0.01 {
		t.Errorf("mean gap %.2f ns, want %.2f", mean, want)
	}
	if spread := math.Sqrt(squares/n-mean*mean) / mean; math.Abs(spread-1) > 0.02 {
		t.Errorf("coefficient of variation %.3f, want 1", spread)
	}
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct {
		in   string
		of   uint64
		text string
	}{
		{"0", 0, "0"}, {"0%", 0, "0"}, {"10%", 98304, "10%"}, {"100%", 999424, "100%"}, {"64k", 65536, "64KiB"}, {"33.5%", 331776, "33.5%"},
	} {
		var a Amount
		if err := a.UnmarshalText([]byte(c.in)); err != nil || a.of(1000000) != c.of || a.String() != c.text {
			t.Errorf("%s: got %d, %q, %v; want %d, %q", c.in, a.of(1000000), a, err, c.of, c.text)
		}
	}
	for _, bad := range []string{"", "%", "-1%", "x", "101%", "nan%", "5 %"} {
		if err := new(Amount).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is an amount", bad)
		}
	}
}

// FuzzParse: whatever the bytes, the answer is an error or a profile that runs.
func FuzzParse(f *testing.F) {
	for _, name := range List() {
		data, err := shipped.ReadFile("profiles/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("f", data)
		info := devices.Info{Size: testSize, CanTrim: true, CanZero: true}
		if err != nil || p.Fits(info) != nil {
			return
		}
		_ = p.Describe()
		for _, s := range p.All() {
			for _, steps := range [][]Step{s.Transaction, s.Between} {
				checkPlaces(t, compile(&p, "x", steps, s.copies()-1, s.copies(), info, 1))
			}
		}
		if doc, err := p.Document(); err != nil {
			t.Fatal(err)
		} else if _, err := ParseDocument(conf.Within{File: "f"}, doc); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		cfg := Config{Profile: p, Commits: 3}
		if cfg.Validate(info) == nil && p.Depth() < 100 {
			runShortly(t, cfg)
		}
	})
}

// checkPlaces checks that a program's requests lie within the device, in whole
// sectors.
func checkPlaces(t *testing.T, p program) {
	for _, stage := range p.stages {
		for i := range stage {
			offset, length := stage[i].place.at(1e9, stage[i].step)
			if offset+length > testSize || offset%512 != 0 || length%512 != 0 || length > stage[i].longest {
				t.Fatalf("%+v goes to %d+%d", stage[i], offset, length)
			}
		}
	}
}

// runShortly runs cfg for some events: no group may be waited for in vain.
func runShortly(t *testing.T, cfg Config) {
	dev := newFake(sim.NewLoop(), 10*us)
	r, err := NewRunner(dev.loop, dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	for range 100_000 {
		if !dev.loop.Step() {
			break
		}
	}
	if !r.Finished() && dev.loop.Next() == sim.Never {
		t.Fatalf("%d transactions wait for nothing", r.Busy())
	}
}
