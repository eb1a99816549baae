package results

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// summaryColumns are the main table's. Base names the baseline.
func summaryColumns(base string) []Column {
	return []Column{
		{Key: "device", Title: "device", Place: InPage | InData},
		{Key: "workload", Title: "workload", Place: InPage | InData},
		{Key: "strategy", Title: "strategy", Place: InText | InPage | InData},
		{Key: "status", Title: "status", Place: InData},
		{Key: "who_durable", Title: "made durable by", Shorten: true, Place: InText | InPage | InData},
		{Key: "commits_per_s", Title: "commits/s", Right: true, Drop: 4, Place: InText | InPage | InData},
		{Key: "p50_ns", Title: "p50", Right: true, Drop: 5, Place: InText | InPage | InData},
		{Key: "p99_ns", Title: "p99", Right: true, Place: InText | InPage | InData},
		{Key: "p99_ci_low_ns", Place: InData},
		{Key: "p99_ci_high_ns", Place: InData},
		{Key: "p999_ns", Title: "p99.9", Right: true, Place: InPage | InData},
		{Key: "ratio", Title: "p99/" + base, Right: true, Drop: 3, Place: InText | InPage | InData},
		{Key: "ratio_metric", Place: InData},
		{Key: "ratio_low", Place: InData},
		{Key: "ratio_high", Place: InData},
		{Key: "p_adjusted", Title: "p adj.", Right: true, Place: InPage | InData},
		{Key: "flushes_per_commit", Title: "flush/c", Right: true, Drop: 1, Place: InText | InPage | InData},
		{Key: "lost_per_cut", Title: "lost/cut", Right: true, Place: InText | InPage | InData},
		{Key: "at_risk_per_cut", Place: InData},
		{Key: "kernel_sent", Title: "kernel sent/c", Place: InText | InPage | InData},
		{Key: "verdict", Title: "verdict", Place: InText | InPage | InData},
	}
}

// LinkKernel is the link of a cell whose requests went through the kernel's
// /dev/nbd: its Wire is what the kernel made of them.
const LinkKernel = "kernel"

// throughKernel reports whether any cell's requests went through the kernel.
func (r *Run) throughKernel() bool {
	return slices.ContainsFunc(r.Cells, func(c *Cell) bool { return c.Link == LinkKernel })
}

// withoutColumn takes the column of this key out of the table.
func (t *Table) withoutColumn(key string) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Key == key })
	t.Columns = slices.Delete(t.Columns, i, i+1)
	for k := range t.Rows {
		t.Rows[k].Values = slices.Delete(t.Rows[k].Values, i, i+1)
	}
}

// sent is what crossed the wire for each commit, of what makes one durable, by
// the server's count.
func (c *Cell) sent() Value {
	if c.Link != LinkKernel || !c.usable() || c.Wire == nil {
		return none
	}
	var words []string
	for _, w := range []struct {
		name string
		n    int64
	}{{"WRITE", c.Wire.Write}, {"WRITE+FUA", c.Wire.WriteFUA}, {"FLUSH", c.Wire.Flush}} {
		if w.n > 0 {
			words = append(words, significant(float64(w.n)/float64(c.Commit.Count))+" "+w.name)
		}
	}
	s := strings.Join(words, ", ")
	return Value{s, s}
}

// Summary is the main table: one row a cell, grouped by device and workload.
func (r *Run) Summary() *Table {
	t := &Table{Head: r.head(), Columns: summaryColumns(r.baseName())}
	for _, g := range r.groups() {
		for _, c := range g.cells {
			t.Rows = append(t.Rows, Row{Group: g.device + " · " + g.workload, Values: r.summaryRow(c)})
		}
	}
	t.Notes = r.notes()
	if !r.throughKernel() {
		t.withoutColumn("kernel_sent")
	}
	return t
}

// baseName is the baseline of all groups, or the word where they differ.
func (r *Run) baseName() string {
	name := ""
	for _, g := range r.groups() {
		b := g.baseline()
		switch {
		case b == nil || b.Strategy == name:
		case name == "":
			name = b.Strategy
		default:
			return "baseline"
		}
	}
	if name == "" {
		return "baseline"
	}
	return name
}

// summaryRow is the cell's values in the order of summaryColumns.
func (r *Run) summaryRow(c *Cell) []Value {
	same := func(s string) Value { return Value{s, s} }
	ratio := r.ratioValues(c)
	p99 := c.duration(metricP99)
	low, high := Value{}, Value{}
	if c.usable() && c.CI95 != nil && c.CI95.P99 != nil {
		low, high = Value{Data: c.CI95.P99[0]}, Value{Data: c.CI95.P99[1]}
		p99.Text += plusMinus(*c.Commit.P99, c.CI95.P99)
	}
	lost, risk := c.lossValues()
	return []Value{
		same(c.Device),
		same(c.Workload),
		same(c.Strategy),
		same(c.Status),
		same(c.WhoDurable),
		c.rate(),
		c.duration(metricP50),
		p99,
		low,
		high,
		c.p999(),
		ratio[0],
		ratio[1],
		ratio[2],
		ratio[3],
		ratio[4],
		c.flushes(),
		lost,
		risk,
		c.sent(),
		same(r.rowVerdict(c)),
	}
}

// none is what is not observable or does not apply.
var none = Value{Text: "-"}

func (c *Cell) duration(m metric) Value {
	if v := c.told(m); v != nil && c.usable() {
		return Value{formatNS(*v), *v}
	}
	return none
}

func (c *Cell) p999() Value {
	if !c.usable() || c.Commit.P999 == nil {
		return none
	}
	return Value{formatNS(*c.Commit.P999), *c.Commit.P999}
}

func (c *Cell) rate() Value {
	if c.Rates == nil || !c.usable() {
		return none
	}
	return Value{formatRate(c.Rates.Commits), c.Rates.Commits}
}

func (c *Cell) flushes() Value {
	if c.Stats == nil || !c.usable() {
		return none
	}
	x := float64(c.Stats.Flushes) / float64(c.Commit.Count)
	return Value{fmt.Sprintf("%.2f", x), x}
}

// plusMinus is the farther end of the interval, in whole percents upwards.
func plusMinus(v int64, s *Span) string {
	far := max(v-s[0], s[1]-v)
	if far <= 0 || v <= 0 {
		return ""
	}
	return fmt.Sprintf(" ±%.0f%%", math.Ceil(100*float64(far)/float64(v)))
}

// lossValues are commits lost in a cut and those at risk, on average.
func (c *Cell) lossValues() (lost, risk Value) {
	d := c.Durability
	if !d.Measured() {
		return none, none
	}
	n := float64(d.Cuts)
	lost = Value{formatAverage(d.CommitsLost, d.Cuts), float64(d.CommitsLost) / n}
	risk = Value{formatAverage(d.CommitsAtRisk, d.Cuts), float64(d.CommitsAtRisk) / n}
	if lost.Text != risk.Text {
		lost.Text += " (" + risk.Text + ")"
	}
	return lost, risk
}

// comparisonOf is the cell's row of the comparisons by the first metric that
// can be told, of the tail first.
func (r *Run) comparisonOf(c *Cell) *Comparison {
	for _, m := range decisive {
		i := slices.IndexFunc(r.Comparisons, func(x Comparison) bool {
			return x.Device == c.Device && x.Workload == c.Workload && x.A == c.Strategy && x.Metric == metricNames[m]
		})
		if i >= 0 {
			return &r.Comparisons[i]
		}
	}
	return nil
}

// ratioValues are the ratio, its metric, both ends of its interval and p.
func (r *Run) ratioValues(c *Cell) [5]Value {
	x := r.comparisonOf(c)
	if x == nil {
		return [5]Value{{Text: r.baselineMark(c)}, {}, {}, {}, none}
	}
	out := [5]Value{{significant(x.Ratio), x.Ratio}, {Data: x.Metric}, {}, {}, {fmt.Sprintf("%.2g", x.P), x.P}}
	if x.CI95 != nil {
		out[2], out[3] = Value{Data: x.CI95[0]}, Value{Data: x.CI95[1]}
	}
	switch {
	case x.Exact:
		out[0].Text += " exact"
	case x.CI95 != nil && c.safe(): // else it is not another way of doing the same
		out[0].Text = formatEstimate(x.Ratio, x.CI95[0], x.CI95[1]) + " " + formatSpan(x.CI95[0], x.CI95[1])
	}
	if x.Metric != metricNames[metricP99] {
		out[0].Text += " " + shortMetric(x.Metric)
	}
	return out
}

// baselineMark names the cell that the others are compared with.
func (r *Run) baselineMark(c *Cell) string {
	for _, g := range r.groups() {
		if g.baseline() == c {
			return "baseline"
		}
	}
	return none.Text
}

// rowVerdict is the last column: one or two words.
func (r *Run) rowVerdict(c *Cell) string {
	if !c.usable() {
		return c.Status
	}
	if !c.safe() {
		return "not durable"
	}
	i := slices.IndexFunc(r.Verdicts, func(v Verdict) bool { return v.Device == c.Device && v.Workload == c.Workload })
	if i >= 0 && r.Verdicts[i].Winner == c.Strategy {
		return "wins"
	}
	if i >= 0 && slices.Contains(r.Verdicts[i].Tied, c.Strategy) {
		if r.Verdicts[i].Outcome == OutcomeEquivalent {
			return "ties"
		}
		return Inconclusive
	}
	if x := r.comparisonOf(c); x != nil {
		return x.Verdict
	}
	if i >= 0 && r.Verdicts[i].Outcome != OutcomeNone {
		return "beaten" // the baseline
	}
	return none.Text
}

// head says what was done, in one or two lines.
func (r *Run) head() []string {
	name := strings.TrimSpace("nbdbench " + r.Tool.Version)
	lines := []string{fmt.Sprintf("%s · seed %d", name, r.Seed)}
	if c := r.conditions(); len(c) > 0 {
		lines = append(lines, strings.Join(c, " · "))
	}
	if h := r.Host; h != nil {
		lines = append(lines, h.String())
	}
	if r.Partial {
		lines = append(lines, "Partial: the benchmark was interrupted.")
	}
	return lines
}

// String is the machine in one line.
func (h *Host) String() string {
	words := []string{fmt.Sprintf("%d x %s", h.CPUs, h.CPU), h.OS + " " + h.Kernel}
	if h.RoundTrip != nil {
		words = append(words, "socket round trip "+formatNS(int64(*h.RoundTrip)))
	}
	return strings.Join(words, " · ")
}

// conditions are those that all cells share: clock, link, depth, runs, cuts.
func (r *Run) conditions() []string {
	return conditionsOf(r.Cells)
}

func conditionsOf(cells []*Cell) []string {
	var out []string
	add := func(of func(c *Cell) string) {
		var seen []string
		for _, c := range cells {
			if s := of(c); s != "" && c.Status != StatusUnsupported && !slices.Contains(seen, s) {
				seen = append(seen, s)
			}
		}
		if len(seen) > 0 && len(seen) <= 2 {
			out = append(out, strings.Join(seen, " or "))
		}
	}
	add(func(c *Cell) string { return c.Clock + " time" })
	add(func(c *Cell) string { return "link " + c.Link })
	add(func(c *Cell) string {
		return fmt.Sprintf("queue depth %d on %s", c.QueueDepth, plural(int64(c.Connections), "connection"))
	})
	add(func(c *Cell) string {
		if c.Commit == nil || c.Runs == 0 {
			return ""
		}
		return fmt.Sprintf("%s x %s commits", plural(int64(c.Runs), "run"), formatCount(c.Commit.Count/int64(c.Runs)))
	})
	add(func(c *Cell) string {
		if !c.Durability.Measured() || c.Runs == 0 {
			return "no cuts"
		}
		return plural(c.Durability.Cuts/int64(c.Runs), "cut") + " a run"
	})
	return out
}

// notes stand below the table: what the columns mean, who is who, what is
// missing, what to beware of, and the verdicts.
func (r *Run) notes() []string {
	var out []string
	for _, v := range r.Verdicts {
		out = append(out, v.Sentence)
	}
	out = append(out, "", r.legend())
	if below := append(r.reasons(), r.warnings()...); len(below) > 0 {
		out = append(append(out, ""), below...)
	}
	return out
}

// legend explains columns, and names who makes a commit durable in full.
func (r *Run) legend() string {
	s := fmt.Sprintf("Latencies are of whole commits, from when they were due; ± and [] are 95%% intervals over runs (they cover seeds, "+
		"not model error); verdicts go by them and a margin of %.0f%%; flush/c: flushes that the device served for each commit; "+
		"lost/cut: acknowledged commits that a power cut lost on average (in the worst legal image).", 100*Margin)
	var who []string
	for _, c := range r.Cells {
		if w := c.Strategy + " = " + c.WhoDurable; c.WhoDurable != "" && !slices.Contains(who, w) {
			who = append(who, w)
		}
	}
	if len(who) > 0 {
		s += " Made durable by: " + strings.Join(who, "; ") + "."
	}
	return s
}

// reasons says why cells are not ok, each reason once.
func (r *Run) reasons() []string {
	return gather(r.Cells, func(c *Cell) []string {
		if c.Status == StatusOK {
			return nil
		}
		return []string{c.Status + ": " + c.Reason}
	}, "")
}

func (r *Run) warnings() []string {
	return gather(r.Cells, func(c *Cell) []string { return c.Warnings }, "warning: ")
}

// gather lists texts in the order in which they first appear, each with the
// cells that it is about.
func gather(cells []*Cell, of func(*Cell) []string, prefix string) []string {
	var texts []string
	about := map[string][]string{}
	for _, c := range cells {
		for _, t := range of(c) {
			if about[t] == nil {
				texts = append(texts, t)
			}
			about[t] = append(about[t], c.ID)
		}
	}
	for i, t := range texts {
		names := about[t]
		if len(names) > 3 {
			names = append(names[:3:3], fmt.Sprintf("%d more", len(about[t])-3))
		}
		texts[i] = prefix + join(names) + ": " + t
	}
	return texts
}
