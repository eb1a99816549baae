package results

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"nbdbench/internal/text"
)

// runFigure is a figure of one run that exports have.
type runFigure struct {
	key, unit string // in CSV, and of Go's benchmarks
	higher    bool   // is better
	value     func(p *PerRun) (float64, bool)
}

func latencyFigure(get func(l *Latency) *int64) func(p *PerRun) (float64, bool) {
	return func(p *PerRun) (float64, bool) {
		if v := get(p.Commit); v != nil {
			return float64(*v), true
		}
		return 0, false
	}
}

func rateFigure(get func(r *Rates) float64) func(p *PerRun) (float64, bool) {
	return func(p *PerRun) (float64, bool) {
		if p.Rates == nil {
			return 0, false
		}
		return get(p.Rates), true
	}
}

// runFigures are all of them; latencies are in nanoseconds. The first is the mean, of
// which each run with commits has one.
var runFigures = []runFigure{
	{"commit.mean_ns", "ns/op", false, func(p *PerRun) (float64, bool) {
		return float64(p.CommitSum) / float64(p.Commit.Count), p.Commit.Count > 0
	}},
	{"commit.p50_ns", "p50-ns/op", false, latencyFigure(func(l *Latency) *int64 { return l.P50 })},
	{"commit.p90_ns", "p90-ns/op", false, latencyFigure(func(l *Latency) *int64 { return l.P90 })},
	{"commit.p99_ns", "p99-ns/op", false, latencyFigure(func(l *Latency) *int64 { return l.P99 })},
	{"commit.max_ns", "max-ns/op", false, latencyFigure(func(l *Latency) *int64 { return l.Max })},
	{"rates.commits_per_s", "commits/s", true, rateFigure(func(r *Rates) float64 { return r.Commits })},
	{"rates.iops", "IO/s", true, rateFigure(func(r *Rates) float64 { return r.IOPS })},
	{"rates.bytes_per_s", "B/s", true, rateFigure(func(r *Rates) float64 { return r.Bytes })},
}

// WriteBenchfmt writes the document in the format of Go's benchmarks, one line for each
// run, so that benchstat compares documents by their runs. Cells without a result are
// left out.
func (r *Run) WriteBenchfmt(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "nbdbench: %s\nseed: %d\n", benchWord(r.Tool.Version), r.Seed)
	for _, f := range runFigures {
		better := "lower"
		if f.higher {
			better = "higher"
		}
		fmt.Fprintf(b, "Unit %s better=%s\n", f.unit, better)
	}
	for _, c := range r.Cells {
		if !c.usable() {
			continue
		}
		name := fmt.Sprintf("Benchmark%s/device=%s/workload=%s/strategy=%s", c.noun().title(), benchWord(c.Device), benchWord(c.Workload), benchWord(c.Strategy))
		for _, k := range c.At {
			name += "/" + benchWord(k.Axis) + "=" + benchWord(k.Value)
		}
		for i := range c.PerRun {
			p := &c.PerRun[i]
			if p.Commit.Count == 0 {
				continue
			}
			fmt.Fprintf(b, "%s %d", name, p.Commit.Count)
			for _, f := range runFigures {
				if v, ok := f.value(p); ok {
					fmt.Fprintf(b, " %s %s", number(v), f.unit)
				}
			}
			b.WriteByte('\n')
		}
	}
	return b.Flush()
}

// number is the shortest decimal of a figure.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// benchWord is a name without what separates names.
func benchWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == '/' || r == '=' || r == 0x7f {
			return '_'
		}
		return r
	}, text.Line(s))
}

// WriteLongCSV writes the document as CSV with one figure in each row: those of the
// single runs, numbered from 0, and with an empty run those of the cell.
func (r *Run) WriteLongCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"cell", "device", "workload", "at", "strategy", "status", "run", "metric", "value"}}
	for _, c := range r.Cells {
		add := func(run, metric, value string) {
			if rest, ok := strings.CutPrefix(metric, commitPrefix); ok && c.NoCommits {
				metric = operationPrefix + rest
			}
			rows = append(rows, []string{text.Cell(c.ID), text.Cell(c.Device), text.Cell(c.Workload), text.Cell(c.At.String()), text.Cell(c.Strategy), c.Status, run, metric, value})
		}
		for i := range c.PerRun {
			p := &c.PerRun[i]
			add(strconv.Itoa(i), "commit.count", strconv.FormatInt(p.Commit.Count, 10))
			for _, f := range runFigures {
				if v, ok := f.value(p); ok {
					add(strconv.Itoa(i), f.key, number(v))
				}
			}
		}
		c.eachFigure(func(metric string, v float64) { add("", metric, number(v)) })
	}
	return out.WriteAll(rows)
}

// eachFigure are the figures of all runs of a cell together.
func (c *Cell) eachFigure(add func(metric string, v float64)) {
	if l := c.Commit; l != nil {
		add("commit.count", float64(l.Count))
		for _, m := range []struct {
			name string
			v    *int64
		}{{"commit.mean_ns", l.Mean}, {"commit.p50_ns", l.P50}, {"commit.p90_ns", l.P90}, {"commit.p99_ns", l.P99}, {"commit.p999_ns", l.P999}, {"commit.max_ns", l.Max}} {
			if m.v != nil {
				add(m.name, float64(*m.v))
			}
		}
	}
	if c.Rates != nil {
		add("rates.commits_per_s", c.Rates.Commits)
		add("rates.iops", c.Rates.IOPS)
		add("rates.bytes_per_s", c.Rates.Bytes)
	}
	if c.Wire != nil {
		for _, k := range c.Wire.each() {
			add("wire."+k.name, float64(k.n))
		}
	}
	if d := c.Durability; d.Measured() {
		add("durability.cuts", float64(d.Cuts))
		add("durability.commits_lost", float64(d.CommitsLost))
		add("durability.commits_at_risk", float64(d.CommitsAtRisk))
	}
}

// each are the requests by their keys in JSON.
func (w *Wire) each() []counted {
	return []counted{
		{"read", w.Read},
		{"write", w.Write},
		{"write_fua", w.WriteFUA},
		{"flush", w.Flush},
		{"trim", w.Trim},
		{"trim_fua", w.TrimFUA},
		{"write_zeroes", w.WriteZeroes},
		{"write_zeroes_fua", w.WriteZeroesFUA},
	}
}

// family is one metric of OpenMetrics, and its samples for a cell.
type family struct {
	name, kind, unit, help string
	write                  func(b *bufio.Writer, c *Cell, name, labels string)
}

// families are the metrics, in seconds and bytes.
var families = []family{
	{"nbdbench_commit_latency_seconds", "histogram", "seconds", "Latency of commits, from when they were due until they were durable.", writeHistogram},
	{"nbdbench_operation_latency_seconds", "histogram", "seconds", "Latency of the transactions of loads without commits, from when they were due.", writeHistogram},
	{"nbdbench_commits_per_second", "gauge", "", "Rate of commits, or of the transactions of loads without commits.", func(b *bufio.Writer, c *Cell, name, labels string) {
		if c.Rates != nil {
			fmt.Fprintf(b, "%s{%s} %s\n", name, labels, number(c.Rates.Commits))
		}
	}},
	{"nbdbench_requests", "counter", "", "Requests on the wire, by kind.", func(b *bufio.Writer, c *Cell, name, labels string) {
		if c.Wire == nil {
			return
		}
		for _, k := range c.Wire.each() {
			fmt.Fprintf(b, "%s_total{%s,op=\"%s\"} %d\n", name, labels, k.name, k.n)
		}
	}},
	{"nbdbench_power_cuts", "counter", "", "Power cuts.", func(b *bufio.Writer, c *Cell, name, labels string) {
		if c.Durability.Measured() {
			fmt.Fprintf(b, "%s_total{%s} %d\n", name, labels, c.Durability.Cuts)
		}
	}},
	{"nbdbench_lost_commits", "counter", "", "Acknowledged commits that power cuts lost.", func(b *bufio.Writer, c *Cell, name, labels string) {
		if c.Durability.Measured() {
			fmt.Fprintf(b, "%s_total{%s} %d\n", name, labels, c.Durability.CommitsLost)
		}
	}},
}

// WriteOpenMetrics writes the document's cells as OpenMetrics text. Cells without a
// result are left out.
func (r *Run) WriteOpenMetrics(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, f := range families {
		fmt.Fprintf(b, "# TYPE %s %s\n", f.name, f.kind)
		if f.unit != "" {
			fmt.Fprintf(b, "# UNIT %s %s\n", f.name, f.unit)
		}
		fmt.Fprintf(b, "# HELP %s %s\n", f.name, f.help)
		for _, c := range r.Cells {
			if c.usable() {
				f.write(b, c, f.name, c.labels())
			}
		}
	}
	b.WriteString("# EOF\n")
	return b.Flush()
}

// labels name the cell in OpenMetrics.
func (c *Cell) labels() string {
	s := fmt.Sprintf("device=%s,workload=%s,strategy=%s", labelValue(c.Device), labelValue(c.Workload), labelValue(c.Strategy))
	if len(c.At) > 0 {
		s += ",at=" + labelValue(c.At.String())
	}
	return s
}

func labelValue(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text.Line(s)) + `"`
}

// The buckets of the histogram end at 1, 2 and 5 times the powers of ten from 1 µs to
// 100 s.
const (
	firstBucket = -6
	lastBucket  = 2
)

func writeHistogram(b *bufio.Writer, c *Cell, name, labels string) {
	d := c.Commits()
	if d == nil || strings.HasPrefix(name, "nbdbench_operation") != c.NoCommits {
		return
	}
	var seen int64
	i := 0
	for e := firstBucket; e <= lastBucket; e++ {
		for _, m := range []float64{1, 2, 5} {
			end := m * math.Pow10(e)
			for i < len(d.buckets) && float64(d.buckets[i].value) <= end*1e9 {
				seen += d.buckets[i].count
				i++
			}
			fmt.Fprintf(b, "%s_bucket{%s,le=\"%s\"} %d\n", name, labels, strconv.FormatFloat(end, 'g', 3, 64), seen)
			if e == lastBucket {
				break
			}
		}
	}
	fmt.Fprintf(b, "%s_bucket{%s,le=\"+Inf\"} %d\n", name, labels, d.n)
	fmt.Fprintf(b, "%s_sum{%s} %s\n%s_count{%s} %d\n", name, labels, number(float64(d.sum)/1e9), name, labels, d.n)
}
