package results

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"nbdbench/sim"
)

// summaryColumns are the main table's. By names the metric that decides, base the
// baseline.
func summaryColumns(by, base string) []Column {
	return []Column{
		{Key: "device", Title: "device", Place: InPage | InData},
		{Key: "workload", Title: "workload", Place: InPage | InData},
		{Key: "strategy", Title: "strategy", Place: InText | InPage | InData},
		{Key: "status", Title: "status", Place: InData},
		{Key: "who_durable", Title: "made durable by", Shorten: true, Place: InText | InPage | InData},
		{Key: "arrival", Place: InData},
		{Key: "offered_per_s", Title: "asked/s", Right: true, Place: InText | InPage | InData},
		{Key: "achieved_per_s", Title: "done/s", Right: true, Place: InText | InPage | InData},
		{Key: "commits_per_s", Title: "commits/s", Right: true, Drop: 4, Place: InText | InPage | InData},
		{Key: "service_p99_ns", Title: "service p99", Right: true, Place: InText | InPage | InData},
		{Key: "p50_ns", Title: "p50", Right: true, Drop: 5, Place: InText | InPage | InData},
		{Key: "p99_ns", Title: "p99", Right: true, Place: InText | InPage | InData},
		{Key: "p99_ci_low_ns", Place: InData},
		{Key: "p99_ci_high_ns", Place: InData},
		{Key: "p999_ns", Title: "p99.9", Right: true, Place: InPage | InData},
		{Key: "ratio", Title: by + "/" + base, Right: true, Drop: 3, Place: InText | InPage | InData},
		{Key: "ratio_metric", Place: InData},
		{Key: "ratio_low", Place: InData},
		{Key: "ratio_high", Place: InData},
		{Key: "p_adjusted", Place: InData},
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
	t := &Table{Head: r.head(), Columns: summaryColumns(shortMetric(metricNames[r.decide()]), r.baseName())}
	for _, g := range r.groups() {
		for _, c := range g.cells {
			t.Rows = append(t.Rows, Row{Group: g.device + " · " + g.workload, Values: r.summaryRow(c)})
		}
	}
	t.Notes = r.notes()
	if !r.throughKernel() {
		t.withoutColumn("kernel_sent")
	}
	open := r.openLoops()
	for _, key := range []string{"offered_per_s", "achieved_per_s", "service_p99_ns"} {
		if open == 0 {
			t.withoutColumn(key)
		}
	}
	if open == len(r.Cells) { // it is what was done
		t.withoutColumn("commits_per_s")
	}
	return t
}

// openLoops is how many cells are open loops.
func (r *Run) openLoops() (n int) {
	for _, c := range r.Cells {
		if c.open() {
			n++
		}
	}
	return n
}

// rateValue is a rate that may not be there.
func rateValue(x *float64) Value {
	if x == nil {
		return none
	}
	return Value{formatRate(*x), *x}
}

// service is the p99 of an open loop's service time, without the wait for a slot.
func (c *Cell) service() Value {
	if c.Service == nil || c.Service.P99 == nil || !c.usable() {
		return none
	}
	return Value{formatNS(*c.Service.P99), *c.Service.P99}
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
		same(c.Arrival),
		rateValue(c.Offered),
		rateValue(c.Achieved),
		c.rate(),
		c.service(),
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
	if v := c.at(m); v != nil && c.usable() {
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

// plusMinus is the farther end of the interval, rounded upwards: in whole percents,
// and in tenths below one.
func plusMinus(v int64, s *Span) string {
	far := max(v-s[0], s[1]-v)
	if far <= 0 || v <= 0 {
		return ""
	}
	percent := 100 * float64(far) / float64(v)
	if percent < 1 {
		return fmt.Sprintf(" ±%.1f%%", math.Ceil(10*percent)/10)
	}
	return fmt.Sprintf(" ±%.0f%%", math.Ceil(percent))
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

// ComparisonOf is the cell's row of the comparisons by the metric that decides; nil
// for the baseline and for what is not compared.
func (r *Run) ComparisonOf(c *Cell) *Comparison {
	decide := metricNames[r.decide()]
	i := slices.IndexFunc(r.Comparisons, func(x Comparison) bool {
		return x.Device == c.Device && x.Workload == c.Workload && x.A == c.Strategy && x.Metric == decide
	})
	if i < 0 {
		return nil
	}
	return &r.Comparisons[i]
}

// ratioValues are the ratio, its metric, both ends of its interval and p.
func (r *Run) ratioValues(c *Cell) [5]Value {
	x := r.ComparisonOf(c)
	if x == nil {
		return [5]Value{{Text: r.baselineMark(c)}, {}, {}, {}, {}}
	}
	out := [5]Value{{significant(x.Ratio), x.Ratio}, {Data: x.Metric}, {}, {}, {}}
	if x.CI95 != nil {
		out[2], out[3] = Value{Data: x.CI95[0]}, Value{Data: x.CI95[1]}
	}
	switch {
	case x.Exact:
		out[0].Text += " exact"
	case x.CI95 != nil && c.safe(): // else it is not another way of doing the same
		out[0].Text = formatEstimate(x.Ratio, x.CI95[0], x.CI95[1]) + " " + formatSpan(x.CI95[0], x.CI95[1])
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
	switch {
	case c.Status == StatusUnsustained:
		return "did " + c.sustained()
	case c.Status != StatusOK:
		return c.Status
	case !c.safe():
		return "not durable"
	case c.Settled == false:
		return "not settled"
	}
	i := slices.IndexFunc(r.Verdicts, func(v Verdict) bool { return v.Device == c.Device && v.Workload == c.Workload })
	if i >= 0 && r.Verdicts[i].Outcome == OutcomeWithheld {
		return "no verdict"
	}
	if i >= 0 && r.Verdicts[i].Winner == c.Strategy {
		return "wins"
	}
	if i >= 0 && slices.Contains(r.Verdicts[i].Tied, c.Strategy) {
		if r.Verdicts[i].Outcome == OutcomeEquivalent {
			return "ties"
		}
		return Inconclusive
	}
	if x := r.ComparisonOf(c); x != nil {
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
		if !c.open() {
			return "closed loop"
		}
		if c.Offered == nil {
			return "open loop, " + c.Arrival
		}
		return fmt.Sprintf("open loop, %s, %s/s", c.Arrival, formatRate(*c.Offered))
	})
	out = append(out, startedFrom(cells)...)
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

// startedFrom says which question was asked: how a device does once it has
// settled, or from a clean one.
func startedFrom(cells []*Cell) []string {
	least, most := sim.Duration(math.MaxInt64), sim.Duration(0)
	clean, seen := false, false
	for _, c := range cells {
		if c.Status == StatusUnsupported {
			continue
		}
		if c.Settled == CleanDevice {
			clean = true
			continue
		}
		seen = true
		least, most = min(least, c.Warmup), max(most, c.Warmup)
	}
	switch {
	case clean && !seen:
		return []string{"from a clean device"}
	case !seen || most == 0:
		return nil
	case least == most:
		return []string{fmt.Sprintf("after a warm-up of %v", most)}
	}
	return []string{fmt.Sprintf("after a warm-up of %v to %v", least, most)}
}

// notes stand below the table: what the columns mean, who is who, what is
// missing, what to beware of, and the verdicts.
func (r *Run) notes() []string {
	var out []string
	for _, v := range r.Verdicts {
		out = append(out, v.Sentence)
	}
	for i := range r.Thresholds {
		out = append(out, r.Thresholds[i].note())
	}
	out = append(out, "", r.legend())
	if below := append(r.reasons(), r.warnings()...); len(below) > 0 {
		out = append(append(out, ""), below...)
	}
	return out
}

// legend explains columns, and names who makes a commit durable in full.
func (r *Run) legend() string {
	s := fmt.Sprintf("Latencies are of whole commits, from when they were due: a run's percentile, averaged over runs; ± is its 95%% interval "+
		"and [] that of the ratio, all ratios of the table at once (they cover seeds, not model error). %s alone decides: the "+
		"interval of its ratio against a margin of %.0f%%. flush/c: flushes that the device served for each commit; "+
		"lost/cut: acknowledged commits that a power cut lost on average, over cuts at any time of the run (in the worst legal image).", shortMetric(metricNames[r.decide()]), 100*Margin)
	var who []string
	for _, c := range r.Cells {
		if w := c.Strategy + " = " + c.WhoDurable; c.WhoDurable != "" && !slices.Contains(who, w) {
			who = append(who, w)
		}
	}
	if len(who) > 0 {
		s += " Made durable by: " + strings.Join(who, "; ") + "."
	}
	return s + r.sensitivityLegend()
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
