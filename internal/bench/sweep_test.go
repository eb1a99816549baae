package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"nbdbench/devices/history"
	"nbdbench/internal/conf"
	"nbdbench/internal/units"
	"nbdbench/results"
	"nbdbench/workloads"
)

func TestListsAndRanges(t *testing.T) {
	for _, c := range []struct {
		kind       kind
		text, want string
	}{
		{kindCount, "4", "4"},
		{kindCount, "1,4, 16", "1 4 16"},
		{kindCount, "1..256*2", "1 2 4 8 16 32 64 128 256"},
		{kindCount, "1..100*10", "1 10 100"},
		{kindCount, "1..99*10", "1 10"},
		{kindCount, "1..64+21", "1 22 43 64"},
		{kindCount, "0..3+1", "0 1 2 3"},
		{kindCount, "1..8*1.5", "1 2 3 5 8"}, // 1, 1.5, 2.25, 3.4, 5.1, 7.6 rounded
		{kindCount, "1,2,8..32*2", "1 2 8 16 32"},
		{kindNumber, "0.1..0.5+0.1", "0.1 0.2 0.3 0.4 0.5"},
		{kindDuration, "10us..1ms*10", "10µs 100µs 1ms"},
		{kindDuration, "0..1ms+500us", "0s 500µs 1ms"},
		{kindSize, "4k..64k*4", "4KiB 16KiB 64KiB"},
		{kindBandwidth, "1GB/s..4GB/s*2", "1GB/s 2GB/s 4GB/s"},
		{kindRate, "1000/s..8000/s*2,1/ms", "1000/s 2000/s 4000/s 8000/s 1000/s"},
		{words{}, "volatile, none", "volatile none"},
		{linkValues{}, "unix,20us,1GB/s,lan", "unix 20µs,1GB/s lan"},
		{linkValues{}, "10us..1ms*10,1GB/s,wan", "10µs,1GB/s 100µs,1GB/s 1ms,1GB/s wan"},
	} {
		got, err := c.kind.list(c.text)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %s, want %s: %v", c.text, strings.Join(got, " "), c.want, err)
		}
		for _, v := range got { // each value is its own spelling
			if again, err := c.kind.list(v); err != nil || len(again) != 1 || again[0] != v {
				t.Errorf("%s of %s is read as %v: %v", v, c.text, again, err)
			}
		}
	}
}

func TestKindsOfParameters(t *testing.T) {
	for _, c := range []struct {
		value any
		want  kind
	}{
		{time.Second, kindDuration},
		{units.Duration(1), kindDuration},
		{units.Size(1), kindSize},
		{units.Bandwidth(1), kindBandwidth},
		{units.Rate(1), kindRate},
		{3, kindCount},
		{uint32(3), kindCount},
		{0.5, kindNumber},
		{"sptf", words{}},
		{true, words{}},
	} {
		if got := kindOf(c.value); reflect.TypeOf(got) != reflect.TypeOf(c.want) || !sameWanted(got, c.want) {
			t.Errorf("%T: got %+v", c.value, got)
		}
	}
}

func sameWanted(a, b kind) bool {
	x, ok := a.(numbers)
	y, _ := b.(numbers)
	return !ok || x.wanted == y.wanted
}

// sweepFile is a plan of one device and workload, with a sweep in its last lines.
func sweepFile(t *testing.T, sweep string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plan.yaml")
	text := "devices: [nvme-990pro, nvme-980]\nworkloads: [sync-4k]\nstrategies: [native]\nruns: 1\ncuts: 0\n" + sweep
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBadSweepsAreRefusedWithTheirPlace(t *testing.T) {
	for sweep, want := range map[string]string{
		"sweep: 3\n":                                                           ":6:8: sweep: expected a mapping of axes such as queue_depth to lists or ranges, got a scalar",
		"sweep:\n  queue_depth: {a: 1}\n":                                      ":7:3: sweep.queue_depth: expected a list or a range such as 1..256*2, got a mapping",
		"sweep:\n  queue_depth:\n":                                             ": sweep.queue_depth: expected a list or a range",
		"sweep:\n  queue_depth: []\n":                                          ":7:3: sweep.queue_depth: expected at least one value",
		"sweep:\n  queue_depth: [[1]]\n":                                       ": sweep.queue_depth[0]: expected a value or a range, got a list",
		"sweep:\n  queue_depth: [1, many]\n":                                   `:7:20: sweep.queue_depth[1]: expected a number from 1 to 16384, or a range such as 1..256*2, got "many"`,
		"sweep:\n  queue_depth: [1, 0]\n":                                      `:7:20: sweep.queue_depth[1]: expected a number from 1 to 16384, got "0"`,
		"sweep:\n  queue_depth: [1, 2, 1]\n":                                   ":7:23: sweep.queue_depth[2]: expected each value once, got 1 again",
		"sweep:\n  queue_depth: 1..8\n":                                        ":7:16: sweep.queue_depth: expected a range with its step",
		"sweep:\n  queue_depth: 1..8*1\n":                                      "expected a factor greater than 1",
		"sweep:\n  queue_depth: 1..8+0\n":                                      "expected a step greater than 0",
		"sweep:\n  queue_depth: 8..1*2\n":                                      "expected a range that rises",
		"sweep:\n  queue_depth: 1..16384+1\n":                                  "expected at most 256 values",
		"sweep:\n  queue_depth: 1..16384*1.0000001\n":                          "expected at most 256 values",
		"sweep:\n  depth: [1]\n":                                               `:7:3: sweep.depth: expected an axis, one of queue_depth, connections, link, rate, device.PATH or workload.PATH, got "depth"`,
		"sweep:\n  link.a: [unix]\n":                                           "expected an axis, one of",
		"sweep:\n  link: [unix, far]\n":                                        `:7:16: sweep.link[1]: expected none, unix, lan, wan or LATENCY,BANDWIDTH, got "far"`,
		"sweep:\n  rate: [0/s]\n":                                              "expected more than 0",
		"sweep:\n  connections: [2000]\n":                                      "expected a number from 1 to 1024",
		"sweep:\n  device.: [1]\n":                                             "expected the path of a parameter after device.",
		"sweep:\n  device.hdd.rpm: [7200]\n":                                   `sweep.device.hdd.rpm: nvme-990pro: there is no "hdd" here`,
		"sweep:\n  device.ssd.speed: [1]\n":                                    `:7:3: sweep.device.ssd.speed: nvme-990pro: unknown key "speed", expected serial`,
		"sweep:\n  device.name: [a]\n":                                         "expected a parameter, got what describes the profile",
		"sweep:\n  device.ssd.flush_base: [1ms, fast]\n":                       `:7:32: sweep.device.ssd.flush_base[1]: expected a duration such as 15us`,
		"sweep:\n  device.cache.capacity: [1GiB, 1KiB]\n":                      ":7:33: sweep.device.cache.capacity[1]: nvme-990pro at 1KiB: cache.capacity: expected at least 64KiB",
		"sweep:\n  workload.transaction[1].size: [4k]\n":                       `:7:3: sweep.workload.transaction[1].size: sync-4k: expected one of 1 entries, from [0] on, got "[1]"`,
		"sweep:\n  workload.transaction[0].size: [4k, 64GB]\n":                 ":7:38: sweep.workload.transaction[0].size[1]: sync-4k at 64GB: transaction[0].size: expected",
		"sweep:\n  queue_depth.wal: [1, 2]\n":                                  `:7:21: sweep.queue_depth.wal[0]: sync-4k at 1: streams: expected`,
		"queue_depth: 4\nsweep: {queue_depth: [1, 2]}\n":                       ":7:9: sweep.queue_depth: expected queue_depth or its sweep, got both",
		"rate: 4/s\nsweep: {rate: [1/s, 2/s]}\n":                               "sweep.rate: expected rate or its sweep, got both",
		"sensitivity: true\nsweep: {queue_depth: [1, 2]}\n":                    ":6:14: sensitivity: expected false beside a sweep",
		"clock: real\nsweep: {link: [unix, lan]}\n":                            "expected none in real time",
		"sweep: {queue_depth: 1..200+1, connections: 1..200+1}\n":              ": sweep: expected at most 4096 points in the grid, got 40000",
		"sweep: {queue_depth: [1], queue_depth: [2]}\n":                        "expected each key once",
		"sweep: {queue_depth: 1..64+1, connections: 1..33+1}\n":                "the plan has 4224 cells: expected at most 4096",
		"find_max: commit.p99\nover: rate\n":                                   `:6:11: find_max: column 11: expected METRIC<VALUE such as commit.p99<2ms, got "commit.p99"`,
		"find_max: p99<2ms\nover: rate\n":                                      `find_max: column 1: expected a metric, one of commit.mean`,
		"find_max: commit.p99>2ms\nover: rate\n":                               `find_max: column 11: expected < or <=, got ">"`,
		"find_max: commit.p99<= fast\nover: rate\n":                            `find_max: column 14: expected a duration above 0 such as 2ms, got "fast"`,
		"find_max: commit.p99<2ms\n":                                           `over: expected queue_depth or rate, got ""`,
		"over: rate\n":                                                         ":6:7: over: expected find_max beside it",
		"find_max: commit.p99<2ms\nover: rate\nrate: 4/s\n":                    ":8:7: rate: expected none: it is searched for",
		"find_max: commit.p99<2ms\nover: queue_depth\nqueue_depth: 2\n":        "queue_depth: expected none",
		"find_max: commit.p99<2ms\nover: rate\nsweep: {queue_depth: [1, 2]}\n": "find_max: expected none beside a sweep",
		"find_max: commit.p99<2ms\nover: rate\nclock: real\n":                  "find_max: expected none in real time",
	} {
		_, err := Load(sweepFile(t, sweep))
		var located *conf.Error
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n%v\nwant %q", sweep, err, want)
		} else if !errors.As(err, &located) && !strings.Contains(want, "cells") {
			t.Errorf("%q: %T has no place in the file", sweep, err)
		}
	}
}

func TestTheGridIsEveryCombinationOfTheAxes(t *testing.T) {
	p, err := Load(sweepFile(t, "sweep:\n  queue_depth: 1..4*4\n  link: [unix, \"20us,1GB/s\"]\n  connections: 2\n  workload.transaction[0].size: 4k,8k\n"))
	if err != nil {
		t.Fatal(err)
	}
	cells, err := p.Cells()
	if err != nil {
		t.Fatal(err)
	}
	if len(cells) != 16 {
		t.Fatalf("%d cells, want 2 devices of 8 points", len(cells))
	}
	var ids []string
	for _, c := range cells[:4] {
		ids = append(ids, c.ID)
	}
	want := []string{
		"nvme-990pro/sync-4k/native@queue_depth=1,link=unix,connections=2,workload.transaction[0].size=4KiB",
		"nvme-990pro/sync-4k/native@queue_depth=1,link=unix,connections=2,workload.transaction[0].size=8KiB",
		"nvme-990pro/sync-4k/native@queue_depth=1,link=20us,1GB,connections=2,workload.transaction[0].size=4KiB",
		"nvme-990pro/sync-4k/native@queue_depth=1,link=20us,1GB,connections=2,workload.transaction[0].size=8KiB",
	}
	if !reflect.DeepEqual(ids, want) {
		t.Errorf("got %s", strings.Join(ids, "\n"))
	}
	last := cells[7]
	if last.Workload.Depth() != 4 || last.Connections != 2 || last.Link.Name != "20µs,1GB/s" || last.Workload.Transaction[0].Size != 8192 {
		t.Errorf("%s: depth %d, %d connections, link %s, size %v", last.ID, last.Workload.Depth(), last.Connections, last.Link, last.Workload.Transaction[0].Size)
	}
	if cells[0].Workload.Transaction[0].Size != 4096 {
		t.Error("a point changed another's workload")
	}
}

func TestASweepReadsAsItIsWritten(t *testing.T) {
	want := Sweep{{Name: "rate", Values: []string{"1000/s", "0.5/s"}}, {Name: "device.ssd.sigma", Values: []string{"0.5", "0.25"}}, {Name: "link", Values: []string{"unix", "20µs,1GB/s"}}}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `{"rate":["1000/s","0.5/s"],"device.ssd.sigma":[0.5,0.25],"link":["unix","20µs,1GB/s"]}` {
		t.Fatalf("%s: %v", text, err)
	}
	var got Sweep
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v: %v", got, err)
	}
	for _, bad := range []string{`[]`, `{"a":1}`, `{"a":[true]}`, `{"a":[{}]}`, `{"a":[null]}`} {
		if json.Unmarshal([]byte(bad), new(Sweep)) == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

// metrics is all that was measured of a cell, as JSON.
func metricsOf(t *testing.T, c *results.Cell) string {
	t.Helper()
	one := *c
	one.ID, one.At, one.Device = "", nil, ""
	text, err := json.Marshal(&one)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAPointOfASweepIsTheCellThatIsRunAlone: no seed depends on an axis.
func TestAPointOfASweepIsTheCellThatIsRunAlone(t *testing.T) {
	device := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(device, []byte("extends: nvme-990pro\nname: nvme-990pro\nssd: {flush_base: 1ms}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	small := func() Plan {
		p := plan("nvme-990pro", "sync-4k", "native emulate none-unsafe")
		p.Commits, p.Cuts, p.Warmup, p.Link = 60, 3, WarmupAuto, links["unix"]
		return p
	}
	for _, c := range []struct {
		axis, values, value string
		alone               func(p *Plan)
	}{
		{AxisQueueDepth, "1,4", "4", func(p *Plan) { p.QueueDepth = 4 }},
		{AxisConnections, "1,3", "3", func(p *Plan) { p.Connections = 3 }},
		{AxisLink, "unix,lan", "lan", func(p *Plan) { p.Link = links["lan"] }},
		{AxisRate, "50/s,100/s", "100/s", func(p *Plan) { p.Rate = 100 }},
		{"device.ssd.flush_base", "500us,1ms", "1ms", func(p *Plan) { p.Devices = []string{device} }},
		{"workload.queue_depth", "1,4", "4", func(p *Plan) { p.QueueDepth = 4 }},
	} {
		p, alone := small(), small()
		p.Sweep = Sweep{{Name: c.axis, Values: []string{c.values}}}
		c.alone(&alone)
		swept := map[string]string{}
		for _, cell := range mustRun(t, p).Cells {
			if cell.At.On(c.axis) == c.value {
				swept[cell.Strategy] = metricsOf(t, cell)
			}
		}
		if len(swept) != 3 {
			t.Fatalf("%s: %d cells at %s", c.axis, len(swept), c.value)
		}
		for _, cell := range mustRun(t, alone).Cells {
			if metricsOf(t, cell) != swept[cell.Strategy] {
				t.Errorf("%s at %s, %s is not as when it is run alone", c.axis, c.value, cell.Strategy)
			}
		}
	}
}

func TestASweepIsAFunctionOfPlanAndSeed(t *testing.T) {
	encode := func(procs, jobs int) []byte {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		p := plan("nvme-990pro", "sync-4k", "native none-grouped")
		p.Commits, p.Runs, p.Cuts, p.Jobs, p.Warmup = 100, 6, 2, jobs, WarmupAuto
		p.Sweep = Sweep{{Name: AxisQueueDepth, Values: []string{"1..4*2"}}, {Name: AxisLink, Values: []string{"unix,lan"}}}
		var b bytes.Buffer
		if err := mustRun(t, p).WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if !bytes.Equal(encode(1, 1), encode(2, 5)) {
		t.Error("the same sweep gave two documents")
	}
}

func TestAxesOfFlagsTakeThePlaceOfThePlansOwn(t *testing.T) {
	p := Default()
	p.QueueDepth, p.Rate = 3, 50
	use := func(axis, list string) {
		t.Helper()
		if err := p.UseAxis(axis, list); err != nil {
			t.Fatal(err)
		}
	}
	use(AxisQueueDepth, "1,2")
	use(AxisRate, "100/s,200/s")
	use(AxisLink, "lan")
	if p.QueueDepth != 0 || p.Rate != 0 || len(p.Sweep) != 2 || p.Link.Name != "lan" {
		t.Errorf("%+v", p)
	}
	use(AxisQueueDepth, "8")
	if p.QueueDepth != 8 || len(p.Sweep) != 1 {
		t.Errorf("depth %d, sweep %v", p.QueueDepth, p.Sweep)
	}
	use(AxisQueueDepth, "0")
	if p.QueueDepth != 0 {
		t.Error("0 is the workload's own depth")
	}
	use("queue_depth.wal", "1..4*2")
	use("rate.wal", "9/s")
	if p.axis("queue_depth.wal") == nil || p.Streams["wal"] != (workloads.Override{Rate: 9}) {
		t.Errorf("sweep %v, streams %v", p.Sweep, p.Streams)
	}
}

func TestAThresholdWithoutAPointIsOfAllPoints(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k", "native emulate")
	p.Commits, p.Runs = 60, 6
	p.Sweep = Sweep{{Name: AxisQueueDepth, Values: []string{"1,4"}}, {Name: "workload.transaction[0].size", Values: []string{"4k,8k"}}}
	const exact = "nvme-990pro/sync-4k/native@queue_depth=4,workload.transaction[0].size=8KiB"
	p.Thresholds = []string{"*/*/emulate:commit.p50<1h", exact + ":commit.p50<1ns", "*/*/native@queue_depth=1,*:commit.p50<1h"}
	var got []string
	for _, th := range mustRun(t, p).Thresholds {
		got = append(got, th.Expression)
	}
	if len(got) != 4+1+2 || got[4] != exact+":commit.p50<1ns" {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
}

func TestARunOfASweepIsRecordedAgain(t *testing.T) {
	p := plan("nvme-990pro nvme-980", "sync-4k wal", "native emulate")
	p.Commits, p.Runs, p.Arrival = 40, 1, "poisson"
	p.Sweep = Sweep{{Name: AxisRate, Values: []string{"50/s", "100/s"}}, {Name: "device.ssd.flush_base", Values: []string{"1ms", "2ms"}}}
	doc := mustRun(t, p)
	for _, i := range []int{0, 5, 11, len(doc.Cells) - 1} {
		if err := Record(doc, doc.Cells[i].ID, 0, new(countSink), func() bool { return false }); err != nil {
			t.Errorf("%s: %v", doc.Cells[i].ID, err)
		}
	}
}

// TestFindMaxFindsWhatAScanDoes compares the search with every queue depth.
func TestFindMaxFindsWhatAScanDoes(t *testing.T) {
	const bound = 26 * time.Millisecond
	scan := plan("nvme-990pro", "sync-4k", "none emulate")
	scan.Commits, scan.Runs = 1000, 6
	search := scan
	scan.Sweep = Sweep{{Name: AxisQueueDepth, Values: []string{"1..20+1"}}}
	search.FindMax, search.Over = "commit.p99<26ms", AxisQueueDepth
	type ends struct{ value, all, some float64 }
	want := map[string]ends{}
	swept := map[string]string{}
	for _, c := range mustRun(t, scan).Cells {
		swept[c.ID] = metricsOf(t, c)
		e, depth := want[c.Strategy], float64(c.QueueDepth)
		holds := 0
		for _, r := range c.PerRun {
			if time.Duration(*r.Commit.P99) < bound {
				holds++
			}
		}
		if time.Duration(*c.Commit.P99) < bound {
			e.value = depth
		}
		if holds == c.Runs {
			e.all = depth
		}
		if holds > 0 {
			e.some = depth
		}
		want[c.Strategy] = e
	}
	doc := mustRun(t, search)
	for i, m := range doc.FindMax.Maxima {
		c := doc.Cells[i]
		got := ends{*m.Value, *m.Interval[0], *m.Interval[1]}
		if w := want[c.Strategy]; got != w || w.value < 3 || !m.Bounded {
			t.Errorf("%s: got %+v, bounded %v, the scan has %+v", c.Strategy, got, m.Bounded, w)
		}
		if m.Cell != c.ID || metricsOf(t, c) != swept[c.ID] {
			t.Errorf("%s, %s: the cell is not as in the scan", m.Cell, c.ID)
		}
	}
	if len(doc.Verdicts)+len(doc.Comparisons) != 0 || len(doc.FindMax.Findings) != 1 {
		t.Errorf("verdicts %v, findings %v", doc.Verdicts, doc.FindMax.Findings)
	}
}

func TestFindMaxOfRates(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k", "emulate none-unsafe")
	p.Commits, p.Runs, p.QueueDepth = 400, 6, 4
	p.FindMax, p.Over = "commit.p99<40ms", AxisRate
	doc := mustRun(t, p)
	m := doc.FindMax.Maxima[0]
	if m.Value == nil || !m.Bounded {
		t.Fatalf("%+v", m)
	}
	between(t, "emulate's highest rate", *m.Value, 580, 700) // a closed loop does 625 a second
	if *m.Interval[0] > *m.Value || *m.Interval[1] < *m.Value {
		t.Errorf("%v is not within %v, %v", *m.Value, *m.Interval[0], *m.Interval[1])
	}
	for i, x := range m.Tried {
		if i > 0 && x.Value <= m.Tried[i-1].Value {
			t.Errorf("tried %v after %v", x.Value, m.Tried[i-1].Value)
		}
		if x.Value > *m.Value && x.Holds == x.Runs {
			t.Errorf("holds in all runs at %v, above %v", x.Value, *m.Value)
		}
	}
}

func TestFindMaxSaysWhereNothingHoldsAndWhereAllDoes(t *testing.T) {
	p := plan("nvme-990pro testdata/no-fua.yaml", "sync-4k", "native emulate none-unsafe")
	p.Commits, p.Runs = 60, 2
	p.FindMax, p.Over = "commit.mean<=1ms", AxisQueueDepth
	doc := mustRun(t, p)
	if m := doc.FindMax.Maxima[0]; m.Value != nil || m.Interval[0] != nil || m.Interval[1] != nil || len(m.Tried) != 1 {
		t.Errorf("native of 4 ms holds 1 ms: %+v", m)
	}
	last := doc.FindMax.Maxima[2]
	if last.Value == nil || *last.Value != MaxFoundDepth || last.Bounded {
		t.Errorf("none-unsafe: %+v", last)
	}
	if c := doc.Cells[3]; c.Status != results.StatusUnsupported || len(doc.FindMax.Maxima) != 5 {
		t.Errorf("%s is %s, and %d of 6 cells have a maximum", c.ID, c.Status, len(doc.FindMax.Maxima))
	}
}

func TestAnInterruptedSearchFindsNothing(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k", "native none")
	p.Commits, p.Runs, p.Jobs = 60, 2, 1
	p.FindMax, p.Over = "commit.mean<20ms", AxisQueueDepth
	ctx, stop := context.WithCancel(context.Background())
	doc, err := Run(ctx, &p, func(done, _ int, _ string) { stop() })
	if err != nil || !doc.Partial || len(doc.FindMax.Maxima) != 1 {
		t.Fatalf("partial %v, %d maxima: %v", doc.Partial, len(doc.FindMax.Maxima), err)
	}
	if c := doc.Cells[1]; c.Status != results.StatusPartial || c.ID != "nvme-990pro/sync-4k/none" {
		t.Errorf("%s is %s", c.ID, c.Status)
	}
}

// countSink counts what passes.
type countSink int

func (n *countSink) Observe(*history.Event) { *n++ }
