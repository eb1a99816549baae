package results

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nbdbench/results/chart"
	"nbdbench/sim"
)

func TestAPointReadsAsItIsWritten(t *testing.T) {
	want := At{{"queue_depth", "4"}, {"link", "20µs,1GB/s"}, {"rate", "5000/s"}, {"device.ssd.sigma", "0.5"}, {"device.cache.mode", "none"}}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `{"queue_depth":4,"link":"20µs,1GB/s","rate":"5000/s","device.ssd.sigma":0.5,"device.cache.mode":"none"}` {
		t.Fatalf("%s: %v", text, err)
	}
	var got At
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v: %v", got, err)
	}
	if id := want.ID(); id != "@queue_depth=4,link=20us,1GB,rate=5000,device.ssd.sigma=0.5,device.cache.mode=none" {
		t.Errorf("id %s", id)
	}
	if s := want.String(); s != "queue depth 4, link 20µs,1GB/s, rate 5000/s, ssd.sigma 0.5, cache.mode none" {
		t.Errorf("in words: %s", s)
	}
	if s := (At{{"queue_depth.wal", "4"}}).String(); s != "queue depth of wal 4" {
		t.Errorf("a stream's depth in words: %s", s)
	}
	for _, bad := range []string{`[]`, `{"a":true}`, `{"a":{}}`, `4`} {
		if json.Unmarshal([]byte(bad), new(At)) == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestScalesOfAxes(t *testing.T) {
	for _, c := range []struct {
		values string
		want   []float64
		log    bool
	}{
		{"1 2 4 8", []float64{1, 2, 4, 8}, true},
		{"10 20 30", []float64{10, 20, 30}, false},
		{"0 1 10 100", []float64{0, 1, 10, 100}, false}, // 0 has no logarithm
		{"0s 50µs 1ms", []float64{0, 50e3, 1e6}, false},
		{"1000/s 2000/s 4000/s", []float64{1000, 2000, 4000}, true},
		{"4KiB 1MiB", []float64{4096, 1 << 20}, true},
		{"512 4KiB", []float64{512, 4096}, true},
		{"10% 50%", []float64{10, 50}, true},
		{"1GB/s 2GB/s", []float64{1e9, 2e9}, false},
		{"10µs,1GB/s 1ms,1GB/s", []float64{10e3, 1e6}, true},
		{"10µs,1GB/s 1ms,2GB/s", nil, false},
		{"unix lan", nil, false},
		{"none 4", nil, false},
		{"NaN 4", nil, false},
		{"-1e308 1e308", nil, false},
		{"Inf 4", nil, false},
	} {
		a := axis{values: strings.Fields(c.values)}
		a.scale = scaleOf(a.values)
		if !reflect.DeepEqual(a.scale, c.want) || a.multiplies() != c.log {
			t.Errorf("%s: got %v, by factors %v; want %v, %v", c.values, a.scale, a.multiplies(), c.want, c.log)
		}
	}
}

// cost is what a strategy takes at a point, in ns.
type cost func(at At, strategy string) sim.Duration

// sweptDocument has a cell of each strategy at each point, of constant times. Those of
// 0 are unsupported.
func sweptDocument(points []At, strategies string, takes cost) *Run {
	r := NewRun(Tool{Version: "v1.0.0", Go: "go1.26"}, json.RawMessage(`{}`), 1)
	for _, at := range points {
		for s := range strings.FieldsSeq(strategies) {
			c := NewCell(CellConfig{
				ID: "disk/load/" + s + at.ID(), At: at, Device: "disk", Workload: "load", Strategy: s, Clock: "virtual", Link: "unix",
				QueueDepth: 1, Connections: 1, Runs: 6, Durable: s != "none-unsafe", WhoDurable: "x",
			})
			d := takes(at, s)
			if d == 0 {
				c.Unsupported("cannot be had")
			}
			for k := 0; d > 0 && k < 6; k++ {
				h := NewHistogram()
				for range 1100 {
					h.Record(d + sim.Duration(k)*d/1000)
				}
				c.Add(&RunResult{Seed: sim.Seed(k + 1), Elapsed: 1100 * d, Commit: h.Freeze(), Service: new(Distribution), Lag: new(Distribution), Lateness: new(Distribution)})
			}
			r.Add(c)
		}
	}
	r.Finish()
	return r
}

func pointsOn(axis string, values ...string) (out []At) {
	for _, v := range values {
		out = append(out, At{{axis, v}})
	}
	return out
}

// TestCrossoversSayWhatTheCellsDo: by the words of each case, from the winners that its
// letters name at each point: n native, e emulate, t both alike, u neither.
func TestCrossoversSayWhatTheCellsDo(t *testing.T) {
	for _, c := range []struct{ axis, values, winners, want string }{
		{"queue_depth", "1 4 16 64", "nnee", "native wins at queue depth 1 and 4; emulate wins from 16 on"},
		{"queue_depth", "1 4 16 64", "nnne", "native wins at queue depth 1, 4 and 16; emulate wins at 64"},
		{"queue_depth", "1 2 4 8 16", "nnnne", "native wins at queue depth 1 to 8; emulate wins at 16"},
		{"queue_depth", "1 2 4 8", "nnnn", "native wins at every point, queue depth 1 to 8"},
		{"queue_depth", "1 2", "tn", "emulate and native tie at queue depth 1; native wins at 2"},
		{"queue_depth", "1 2 4", "nen", "native wins at queue depth 1; emulate wins at 2; native wins at 4"},
		{"queue_depth", "16 1 4", "enn", "native wins at queue depth 1 and 4; emulate wins at 16"}, // in the order of the axis
		{"queue_depth", "1 2 4", "unn", "nothing was measured at queue depth 1; native wins from 2 on"},
		{"link", "unix lan wan", "nee", "native wins at link unix; emulate wins at lan and wan"}, // nothing between names
		{"rate", "100/s 200/s 400/s", "nee", "native wins at rate 100/s; emulate wins from 200/s on"},
		{"device.ssd.flush_base", "100µs 1ms", "en", "emulate wins at ssd.flush_base 100µs; native wins at 1ms"},
	} {
		winner := map[string]byte{}
		for i, v := range strings.Fields(c.values) {
			winner[v] = c.winners[i]
		}
		r := sweptDocument(pointsOn(c.axis, strings.Fields(c.values)...), "native emulate", func(at At, s string) sim.Duration {
			switch w := winner[at.On(c.axis)]; {
			case w == 'u':
				return 0
			case w == 't' || w == s[0]:
				return 1e6
			}
			return 2e6
		})
		if len(r.Crossovers) != 1 || r.Crossovers[0].Sentence != "disk, load: "+c.want+"." {
			t.Errorf("%s %s: got %q, want %q", c.values, c.winners, r.Crossovers[0].Sentence, c.want)
		}
		for _, p := range r.Crossovers[0].Points { // as the cells' own verdicts
			switch w := winner[string(p.Value)]; {
			case w == 'n' && p.Winner != "native", w == 'e' && p.Winner != "emulate", w == 't' && len(p.Tied) != 2, w == 'u' && p.Outcome == OutcomeWins:
				t.Errorf("%s %s: %+v", c.values, c.winners, p)
			}
		}
	}
}

// TestOneStrategyAloneDoesNotWin: there was nothing to win against.
func TestOneStrategyAloneDoesNotWin(t *testing.T) {
	r := sweptDocument(pointsOn("queue_depth", "1", "4"), "native", func(At, string) sim.Duration { return 1e6 })
	if got, want := r.Crossovers[0].Sentence, "disk, load: only native was measured at every point, queue depth 1 and 4."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// grid is a sweep of two axes: who is faster depends on both.
func gridDocument() *Run {
	var points []At
	for _, depth := range []string{"1", "4", "16"} {
		for _, link := range []string{"unix", "lan"} {
			points = append(points, At{{"queue_depth", depth}, {"link", link}})
		}
	}
	return sweptDocument(points, "native emulate none-unsafe", func(at At, s string) sim.Duration {
		d := sim.Duration(1e6)
		if at.On("link") == "lan" && s == "emulate" {
			d /= 2
		}
		if at.On("queue_depth") == "16" && s == "native" {
			d /= 3
		}
		return d
	})
}

func TestATableOfASweepHasItsAxesAsColumns(t *testing.T) {
	r := gridDocument()
	text := string(written(t, r.Summary().CSV))
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if !strings.HasPrefix(lines[0], "device,workload,queue_depth,link,strategy,") || len(lines) != 1+18 {
		t.Fatalf("%d lines, the first %s", len(lines), lines[0])
	}
	if !strings.HasPrefix(lines[4], "disk,load,1,lan,native,") {
		t.Errorf("got %s", lines[4])
	}
	if len(r.Crossovers) != 2+3 || len(r.Verdicts) != 6 || len(r.Comparisons) == 0 || len(r.Comparisons[0].At) != 2 {
		t.Errorf("%d crossovers, %d verdicts", len(r.Crossovers), len(r.Verdicts))
	}
	if got := r.Crossovers[2].Sentence; got != "disk, load, queue depth 1: emulate and native tie at link unix; emulate wins at lan." {
		t.Errorf("got %s", got)
	}
	head := strings.Join(r.Summary().Head, "\n")
	if !strings.Contains(head, "sweep of queue depth 1, 4, 16 by link unix, lan") {
		t.Errorf("the head is %s", head)
	}
}

func TestChartsOfSweeps(t *testing.T) {
	linear := func(at At, s string) sim.Duration { return sim.Duration(1e6 * len(s)) }
	for name, c := range map[string]struct {
		doc    *Run
		charts map[string][]string // labels by name
	}{
		"one axis": {sweptDocument(pointsOn("queue_depth", "1", "4", "16", "64"), "native emulate none-unsafe", linear), map[string][]string{
			"sweep-queue_depth-disk-load": {"p99 of a commit", "commits a second", ">queue depth<", ">64<", "native wins at every point, queue depth 1 to 64", "none-unsafe (not durable)"},
		}},
		"two axes": {gridDocument(), map[string][]string{
			"sweep-queue_depth-disk-load":      {"link unix: p99 of a commit", "link lan: p99 of a commit"},
			"sweep-link-disk-load":             {"queue depth 16: p99", ">unix<", ">lan<"},
			"sweep-queue_depth-link-disk-load": {"of 6 points", ">emulate<", ">2 tie<", ">334 µs<", ">link<"},
		}},
		"zero on a line":         {sweptDocument(pointsOn("device.ssd.flush_base", "0s", "1ms", "10ms"), "native", linear), map[string][]string{"sweep-device.ssd.flush_base-disk-load": {">0s<", ">ssd.flush_base<"}}},
		"links of one bandwidth": {sweptDocument(pointsOn("link", "10µs,1GB/s", "100µs,1GB/s", "1ms,1GB/s"), "native emulate", linear), map[string][]string{"sweep-link-disk-load": {">10µs<", ">link, one way, of 1GB/s<"}}},
		"rates":                  {sweptDocument(pointsOn("rate", "10/s", "100/s", "1000/s"), "native emulate", func(at At, s string) sim.Duration { return sim.Duration(1e9 / scaleOf([]string{at.On("rate")})[0]) }), map[string][]string{"sweep-rate-disk-load": {">1000<", ">rate a second<", "as asked"}}},
		"holes": {sweptDocument(pointsOn("queue_depth", "1", "2", "4"), "native emulate", func(at At, s string) sim.Duration {
			return map[string]sim.Duration{"1": 0, "2": 1e6, "4": 2e6}[at.On("queue_depth")]
		}), map[string][]string{"sweep-queue_depth-disk-load": {">4<"}}},
		"nothing":   {sweptDocument(pointsOn("queue_depth", "1", "2"), "native", func(At, string) sim.Duration { return 0 }), nil},
		"one value": {sweptDocument(pointsOn("queue_depth", "1"), "native", linear), nil},
	} {
		got := map[string]string{}
		for _, x := range c.doc.Charts() {
			for _, format := range chart.Formats {
				if out := drawn(t, x, format); bytes.Contains(out, []byte("NaN")) || len(out) == 0 {
					t.Errorf("%s: %s as %s: NaN or nothing", name, x.Name, format)
				}
			}
			svg := drawn(t, x, "svg")
			if err := xml.Unmarshal(svg, new(struct{})); err != nil {
				t.Errorf("%s: %s: %v", name, x.Name, err)
			}
			got[x.Name] = string(svg) + x.Title
		}
		if len(got) != len(c.charts) {
			t.Errorf("%s: %d charts, want %d", name, len(got), len(c.charts))
		}
		for file, labels := range c.charts {
			for _, l := range labels {
				if !strings.Contains(got[file], l) {
					t.Errorf("%s: %s has no %q", name, file, l)
				}
			}
		}
	}
}

func TestAStoredSweepIsReadAgain(t *testing.T) {
	r := gridDocument()
	dir := filepath.Join(t.TempDir(), "run")
	if err := Save(dir, r); err != nil {
		t.Fatal(err)
	}
	again, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written(t, again.WriteJSON), written(t, r.WriteJSON)) || string(written(t, again.Summary().CSV)) != string(written(t, r.Summary().CSV)) {
		t.Error("a stored sweep reads differently")
	}
}

// searchedDocument is a search over rates, of three strategies of which two have
// intervals that meet.
func searchedDocument() *Run {
	r := sweptDocument(pointsOn("rate", "100/s"), "native emulate none none-unsafe", func(At, string) sim.Duration { return 1e6 })
	for _, c := range r.Cells {
		*c = *freshOf(c)
	}
	r.FindMax = &FindMax{Expression: "commit.p99<2ms", Over: "rate"}
	add := func(i int, value, low, high *float64, bounded bool) {
		r.FindMax.Maxima = append(r.FindMax.Maxima, &Maximum{Cell: r.Cells[i].ID, Value: value, Interval: [2]*float64{low, high}, Bounded: bounded, Tried: []Tried{{Value: 1, Runs: 6}}})
	}
	add(0, new(1000.0), new(950.0), new(1050.0), true)
	add(1, new(980.0), new(900.0), new(1000.0), true)
	add(2, nil, nil, nil, true)
	add(3, new(9e6), new(9e6), new(9e6), false)
	r.Finish()
	return r
}

// freshOf is a cell as before Finish.
func freshOf(c *Cell) *Cell {
	n := NewCell(CellConfig{ID: c.ID, At: c.At, Device: c.Device, Workload: c.Workload, Strategy: c.Strategy, Clock: c.Clock, Link: c.Link, QueueDepth: 1, Connections: 1, Runs: 6, Durable: c.Durable, WhoDurable: c.WhoDurable})
	n.runs = c.runs
	return n
}

func TestASearchSaysWhoHasTheMost(t *testing.T) {
	r := searchedDocument()
	want := "disk, load: the highest rate with commit.p99<2ms is not separated between native 1,000/s [950/s, 1,050/s] and emulate 980/s [900/s, 1,000/s]; the next, none, has none."
	if got := r.FindMax.Findings; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
	text := string(written(t, r.Summary().CSV))
	for _, want := range []string{"device,workload,highest,highest_low,highest_high,strategy", "disk,load,1000,950,1050,native", ",none-unsafe,", ",not durable\n", ",does not hold\n", ",inconclusive\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if len(r.Verdicts)+len(r.Comparisons)+len(r.Crossovers)+len(r.Charts()) != 0 {
		t.Error("cells of different loads are compared")
	}
	r.FindMax.Maxima[1].Interval[1] = new(940.0)
	r.addFindings()
	if got := r.FindMax.Findings[0]; !strings.HasPrefix(got, "disk, load: the highest rate with commit.p99<2ms is native 1,000/s [950/s, 1,050/s]; the next, emulate, has 980/s") {
		t.Errorf("got %s", got)
	}
}

func TestADocumentOfASearchThatCannotBeIsRefused(t *testing.T) {
	good := string(written(t, searchedDocument().WriteJSON))
	for _, c := range [][3]string{
		{`"over": "rate"`, `"over": "depth"`, "find_max.over: want queue_depth or rate"},
		{`"value": 980`, `"value": -1`, "find_max.maxima[1]: want loads from 0"},
		{"    1000\n", "    null\n", "find_max.maxima[1].interval: want an upper end beside a value"},
		{`"queue_depth":`, `"queue_depth":`, ""},
	} {
		path := filepath.Join(t.TempDir(), "run.json")
		bad := strings.Replace(good, c[0], c[1], 1)
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadDocument(path)
		if c[2] == "" && err != nil || c[2] != "" && (err == nil || !strings.Contains(err.Error(), c[2])) {
			t.Errorf("%s: %v, want %q", c[1], err, c[2])
		}
	}
	if err := (&FindMax{Over: "rate", Maxima: []*Maximum{nil}}).check(); err == nil {
		t.Error("a maximum that is null is taken")
	}
}
