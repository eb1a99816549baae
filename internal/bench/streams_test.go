package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/results"
	"nbdbench/workloads"
)

// fileOfLoad writes a workload to a file and returns its path.
func fileOfLoad(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(path, []byte("name: "+name+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const mixed = `
regions: [{name: log, size: 64M}, {name: data, offset: 10%}]
streams:
  - {name: log, transaction: [{op: write, durable: true, size: 4k, region: log}]}
  - {name: reads, count: 2, queue_depth: 4, transaction: [{op: read, size: 4k, region: data, pattern: random}]}
`

func TestACellTellsItsStreams(t *testing.T) {
	p := plan("nvme-pm963", fileOfLoad(t, "mixed", mixed), "native none")
	p.Cuts = 20
	doc := mustRun(t, p)
	for _, id := range []string{"nvme-pm963/mixed/native", "nvme-pm963/mixed/none"} {
		c := cellOf(t, doc, id)
		if len(c.Streams) != 2 || c.Streams[0].Name != "log" || c.Streams[1].Name != "reads" || c.QueueDepth != 9 || c.Arrival != "closed" {
			t.Fatalf("%s: %+v", id, c.Streams)
		}
		log, reads := c.Streams[0], c.Streams[1]
		if c.Commit.Count != 800 || log.Commit.Count != 800 || reads.Commit != nil || log.Ops.Read != nil && log.Ops.Read.Count != 0 {
			t.Errorf("%s: %d commits, of the log %d; reads have %v", id, c.Commit.Count, log.Commit.Count, reads.Commit)
		}
		if n := reads.Ops.Read.Count; n < 800 || n != c.Ops.Read.Count || n != c.Wire.Read {
			t.Errorf("%s: %d reads of the stream, %d of the cell", id, n, c.Ops.Read.Count)
		}
		if got, want := log.Rates.IOPS+reads.Rates.IOPS, c.Rates.IOPS; got < 0.999*want || got > 1.001*want || reads.Rates.Commits != 0 {
			t.Errorf("%s: the streams have %v IOPS, the cell %v", id, got, want)
		}
		if d := c.Durability; d.Cuts != 40 || d.CommitsAcked == 0 || !d.LostNothing() {
			t.Errorf("%s: %+v", id, d)
		}
	}
}

const filled = `
regions: [{name: data, size: 64M}]
streams:
  - {name: fill, transactions: 100, transaction: [{op: write, size: 64k, region: data}]}
  - {name: log, transaction: [{op: write, durable: true, size: 4k}]}
  - {name: more, transaction: [{op: write, size: 4k}, {op: flush}]}
phases: [{streams: [fill]}, {streams: [log]}, {streams: [more]}]
`

func TestPhasesHaveWindowsAndCutsOfTheirOwn(t *testing.T) {
	p := plan("nvme-990pro", fileOfLoad(t, "filled", filled), "native none-unsafe")
	p.Cuts = 10
	doc := mustRun(t, p)
	c := cellOf(t, doc, "nvme-990pro/filled/native")
	fill, log, more := c.Streams[0], c.Streams[1], c.Streams[2]
	if fill.Phase != 0 || log.Phase != 1 || more.Phase != 2 || fill.Ops.Write.Count != 200 || log.Commit.Count != 800 || more.Commit.Count != 800 || c.Commit.Count != 1600 {
		t.Errorf("fill %+v, log %+v, more %+v", fill, log, more)
	}
	if c.Stats.HostWrittenBytes != 200*64<<10+1600*4<<10 {
		t.Errorf("the device counted %d bytes", c.Stats.HostWrittenBytes)
	}
	if c.Little != nil {
		t.Errorf("Little's law holds of one queue depth, and gives %v here", *c.Little)
	}
	if d := c.Durability; d.Cuts < 2*2*10 || d.Cuts > 3*2*10 || !d.LostNothing() {
		t.Errorf("%+v", d)
	}
	if d := cellOf(t, doc, "nvme-990pro/filled/none-unsafe").Durability; d.CommitsLost == 0 {
		t.Errorf("none-unsafe lost nothing: %+v", d)
	}
	// Rates of a stream are over its own phase.
	if r := log.Rates.Commits * float64(*log.Commit.Mean) / 1e9; r < 0.99 || r > 1.01 {
		t.Errorf("%v commits a second of %v ns each, one at a time", log.Rates.Commits, *log.Commit.Mean)
	}
}

func TestARunOfStreamsIsRunAgainByteForByte(t *testing.T) {
	p := plan("nvme-990pro", fileOfLoad(t, "mixed", mixed)+" sync-4k", "native")
	p.UseStream("reads", workloads.Override{QueueDepth: 2})
	doc := mustRun(t, p)
	var first, second bytes.Buffer
	if err := doc.WriteJSON(&first); err != nil {
		t.Fatal(err)
	}
	read, err := results.Decode(first.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	again, err := Rerun(read)
	if err != nil {
		t.Fatal(err)
	}
	if err := mustRun(t, again).WriteJSON(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("got\n%s\nwant\n%s", second.Bytes(), first.Bytes())
	}
	if c := cellOf(t, doc, "nvme-990pro/mixed/native"); c.QueueDepth != 1+2*2 {
		t.Errorf("queue depth %d", c.QueueDepth)
	}
}

func TestALoadOfSeveralStreamsIsRefusedForAllOfThem(t *testing.T) {
	path := fileOfLoad(t, "mixed", mixed)
	for _, c := range []struct {
		change func(*Plan)
		want   string
	}{
		{func(p *Plan) { p.QueueDepth = 4 }, "queue_depth: expected none for a profile of several streams: say which, as in log=4"},
		{func(p *Plan) { p.Rate = 4 }, "as in log=4"},
		{func(p *Plan) { p.UseStream("logs", workloads.Override{QueueDepth: 4}) }, `logs=: expected a stream of one of the workloads mixed, got "logs"`},
		{func(p *Plan) { p.UseStream("log", workloads.Override{QueueDepth: 1 << 20}) }, "streams[0].queue_depth: expected at most"},
	} {
		p := plan("nvme-990pro", path, "native")
		c.change(&p)
		if _, err := p.Cells(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestALoadWithoutCommitsHasNoPowerCuts(t *testing.T) {
	p := plan("nvme-990pro", fileOfLoad(t, "reads", "transaction: [{op: read, size: 4k, pattern: random}]\n"), "native")
	p.Cuts = 20
	p.Strategies, p.Runs = []string{"native", "none-unsafe"}, 6
	doc := mustRun(t, p)
	if c := cellOf(t, doc, "nvme-990pro/reads/native"); c.Durability != nil || c.Commit.Count != 6*400 || !c.NoCommits || c.WhoDurable != "" {
		t.Errorf("%+v", c)
	}
	if doc.Decide != "ops.p99" || doc.Verdicts[0].Metric != "" || doc.Comparisons[0].Metric != "ops.mean" {
		t.Errorf("decided by %s, %s; compared by %s", doc.Decide, doc.Verdicts[0].Metric, doc.Comparisons[0].Metric)
	}
	if v := doc.Verdicts[0]; v.Outcome != results.OutcomeEquivalent || strings.Contains(v.Sentence, "durable") || strings.Contains(v.Sentence, "power") {
		t.Errorf("%s", v.Sentence)
	}
}

func TestAnOpenStreamBesideAClosedOneIsSustainedOrNot(t *testing.T) {
	load := func(rate string) string {
		return fileOfLoad(t, "beside", "streams:\n  - {name: log, transaction: [{op: write, durable: true, size: 4k}]}\n"+
			"  - {name: reads, arrival: poisson, rate: "+rate+", queue_depth: 8, transaction: [{op: read, size: 4k, pattern: random}]}\n")
	}
	doc := mustRun(t, plan("nvme-990pro", load("1000/s"), "native"))
	if c := cellOf(t, doc, "nvme-990pro/beside/native"); c.Arrival != "mixed" || c.Offered == nil || *c.Offered < 800 || *c.Offered > 1200 || c.Rates.Commits < 200 {
		t.Errorf("offered %v, %+v", c.Offered, c.Rates)
	}
	doc = mustRun(t, plan("nvme-990pro", load("1000000/s"), "native"))
	if c := doc.Cells[0]; c.Status != results.StatusUnsustained {
		t.Errorf("%s: %s", c.Status, c.Reason)
	}
}

// TestMetricsOfALoadWithoutCommitsAreThoseOfItsOperations, in thresholds, searches and
// what decides.
func TestMetricsOfALoadWithoutCommitsAreThoseOfItsOperations(t *testing.T) {
	reads := fileOfLoad(t, "reads", "transaction: [{op: read, size: 4k, pattern: random}]\n")
	p := plan("nvme-990pro", reads, "native")
	p.Runs, p.Thresholds = 6, []string{"*/*/*:ops.p50<1s", "*/*/*:rates.ops_per_s>1"}
	for _, th := range mustRun(t, p).Thresholds {
		if th.OK == nil || !*th.OK {
			t.Errorf("%+v", th)
		}
	}
	for _, c := range []struct {
		load   string
		change func(p *Plan)
		want   string
	}{
		{reads, func(p *Plan) { p.Thresholds = []string{"*/*/*:commit.p50<1s"} }, "the workload makes no commits"},
		{reads, func(p *Plan) { p.Thresholds = []string{"*/*/*:durability.commits_lost<1"} }, "the workload makes no commits"},
		{"sync-4k", func(p *Plan) { p.Thresholds = []string{"*/*/*:ops.p50<1s"} }, "the workload makes commits"},
		{"sync-4k", func(p *Plan) { p.Decide = "ops.p50" }, "decide: expected commit.p50"},
		{reads, func(p *Plan) { p.FindMax, p.Over = "commit.p99<2ms", AxisQueueDepth }, "find_max: expected ops.p99"},
		{"sync-4k", func(p *Plan) { p.FindMax, p.Over = "ops.p99<2ms", AxisQueueDepth }, "find_max: expected commit.p99"},
	} {
		p := plan("nvme-990pro", c.load, "native")
		c.change(&p)
		if _, err := p.Cells(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
