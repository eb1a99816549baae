package results

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"nbdbench/results/chart"
	"nbdbench/sim"
)

// stalled is a run of a commit of 1 ms every 10 ms, over 5 s, in which those that are due
// from 3.0 s to 3.2 s wait for a stall to end.
func stalled() *RunResult {
	s, all := newSeries(0), NewHistogram()
	for at := sim.Duration(0); at < 5e9; at += 10e6 {
		latency := sim.Duration(1e6)
		if at >= 3000e6 && at < 3200e6 {
			latency += 3200e6 - at
		}
		s.record(at, latency)
		all.Record(latency)
	}
	return &RunResult{Seed: 1, Elapsed: 5e9, Commit: all.Freeze(), Service: new(Distribution), Lag: new(Distribution), Lateness: new(Distribution), Intervals: s.freeze()}
}

// TestAHeatMapShowsAStallWhereItWas: in the two intervals of 100 ms that it took, and in
// no other, some commits are in the upper half.
func TestAHeatMapShowsAStallWhereItWas(t *testing.T) {
	r := stalled()
	y := chart.Scale{Lo: 5, Hi: 9} // 100 us to 1 s
	for _, v := range r.Intervals {
		column, above := v.heat(y), int64(0)
		for _, n := range column[heatRows/2:] {
			above += n
		}
		want := int64(0)
		if v.Start >= 3000e6 && v.Start < 3200e6 {
			want = 10
		}
		if above != want || v.Count != 10 {
			t.Errorf("at %v: %d of %d commits are above 10 ms, want %d", v.Start, above, v.Count, want)
		}
	}
}

// TestOnlyTheFirstRunHasAHeatMap, and a document stores it as it was.
func TestOnlyTheFirstRunHasAHeatMap(t *testing.T) {
	c := NewCell(CellConfig{ID: `d/w/native@"a",b`, Device: "d", Workload: "w", Strategy: "native", Clock: "virtual", Link: "unix", QueueDepth: 1, Connections: 1, Runs: 2, Durable: true})
	c.Add(stalled())
	c.Add(stalled())
	if len(c.runs[0].Intervals[0].Latencies) != 1 || c.runs[1].Intervals[0].Latencies != nil {
		t.Errorf("%+v, %+v", c.runs[0].Intervals[0], c.runs[1].Intervals[0])
	}
	r := &Run{Cells: []*Cell{c}}
	z := written(t, r.WriteHeat)
	want := c.runs[0].Intervals[30].Latencies
	if len(want) < 2 {
		t.Fatalf("the stall is %+v", want)
	}
	for i := range c.runs[0].Intervals {
		c.runs[0].Intervals[i].Latencies = nil
	}
	if err := readHeat(r.byKey(), bytes.NewReader(z)); err != nil {
		t.Fatal(err)
	}
	if got := written(t, r.WriteHeat); !bytes.Equal(got, z) {
		t.Error("what was read is written otherwise")
	}
	c.ID = "d/w/native"
	for rows, want := range map[string]string{
		"d/w/native,0,50,1,1":                          "line 2: start_ns: 50 is no interval of intervals.csv",
		"d/w/native,0,0,1000,11":                       "line 2: expected a count of at most 10, got 11",
		"d/w/native,0,0,1000,5\nd/w/native,0,0,1000,5": "line 3: latency_ns: expected more than 1000, got 1000",
		"d/w/native,2,0,1000,5":                        `line 2: no run 2 of cell "d/w/native" in run.json`,
		"d/w/native,0,0,-1,5":                          `line 2, column 4: expected a number, got "-1"`,
	} {
		for i := range c.runs[0].Intervals {
			c.runs[0].Intervals[i].Latencies = nil
		}
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte("cell,run,start_ns,latency_ns,commits\n" + rows + "\n")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := readHeat(r.byKey(), &b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", rows, err, want)
		}
	}
}

// TestCommitsOfASweepsCellAreRead: its id has commas.
func TestCommitsOfASweepsCellAreRead(t *testing.T) {
	c := NewCell(CellConfig{ID: "d/w/native@queue_depth=1,link=lan", Device: "d", Workload: "w", Strategy: "native"})
	c.Add(&RunResult{Raw: []RawCommit{{1, 2, 3}}})
	r := &Run{Cells: []*Cell{c}}
	z := written(t, r.WriteRaw)
	c.runs[0].Raw = nil
	if err := readRaw(r.byKey(), bytes.NewReader(z)); err != nil || len(c.runs[0].Raw) != 1 || c.runs[0].Raw[0] != (RawCommit{1, 2, 3}) {
		t.Errorf("%+v, %v", c.runs[0].Raw, err)
	}
}
