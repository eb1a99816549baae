package results

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"nbdbench/results/table"
	"nbdbench/sim"
)

// summaryColumn is a column of the main table, and its value for a cell.
type summaryColumn struct {
	table.Column
	value func(r *Run, c *Cell) table.Value
}

// everywhere are all places that a table is shown in.
const everywhere = table.InText | table.InPage | table.InData

// summaryColumns are the main table's. The title of ratio is made for a run: it
// names the metric that decides, and the baseline.
var summaryColumns = []summaryColumn{
	{table.Column{Key: "device", Title: "device", Heading: true, Place: table.InPage | table.InData}, func(_ *Run, c *Cell) table.Value { return textValue(c.Device) }},
	{table.Column{Key: "workload", Title: "workload", Heading: true, Place: table.InPage | table.InData}, func(_ *Run, c *Cell) table.Value { return textValue(c.Workload) }},
	{table.Column{Key: "strategy", Title: "strategy", Place: everywhere}, func(_ *Run, c *Cell) table.Value { return textValue(c.Strategy) }},
	{table.Column{Key: "status", Title: "status", Place: table.InData}, func(_ *Run, c *Cell) table.Value { return textValue(c.Status) }},
	{table.Column{Key: "who_durable", Title: "made durable by", Shorten: 1, Cut: ":,", Drop: 5, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return textValue(c.WhoDurable) }},
	{table.Column{Key: "arrival", Place: table.InData}, func(_ *Run, c *Cell) table.Value { return textValue(c.Arrival) }},
	{table.Column{Key: "offered_per_s", Title: "asked/s", Right: true, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return rateValue(c.Offered) }},
	{table.Column{Key: "achieved_per_s", Title: "done/s", Right: true, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return rateValue(c.Achieved) }},
	{table.Column{Key: "commits_per_s", Title: "commits/s", Right: true, Drop: 4, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return c.rate(false) }},
	{table.Column{Key: "ops_per_s", Title: "ops/s", Right: true, Drop: 4, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return c.rate(true) }},
	{table.Column{Key: "service_p99_ns", Title: "service p99", Right: true, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return c.service() }},
	{table.Column{Key: "p50_ns", Title: "p50", Right: true, Drop: 7, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return c.duration(metricP50) }},
	{table.Column{Key: "p99_ns", Title: "p99", Right: true, Shorten: 6, Cut: "±", Place: everywhere}, func(_ *Run, c *Cell) table.Value { return c.p99() }},
	{table.Column{Key: "p99_ci_low_ns", Place: table.InData}, func(_ *Run, c *Cell) table.Value { return c.p99End(0) }},
	{table.Column{Key: "p99_ci_high_ns", Place: table.InData}, func(_ *Run, c *Cell) table.Value { return c.p99End(1) }},
	{table.Column{Key: "p999_ns", Title: "p99.9", Right: true, Place: table.InPage | table.InData}, func(_ *Run, c *Cell) table.Value { return c.p999() }},
	{table.Column{Key: "ratio", Right: true, Shorten: 8, Cut: "[", Place: everywhere}, (*Run).ratio},
	{table.Column{Key: "ratio_metric", Place: table.InData}, (*Run).ratioMetric},
	{table.Column{Key: "ratio_low", Place: table.InData}, func(r *Run, c *Cell) table.Value { return r.ratioEnd(c, 0) }},
	{table.Column{Key: "ratio_high", Place: table.InData}, func(r *Run, c *Cell) table.Value { return r.ratioEnd(c, 1) }},
	{table.Column{Key: "p_adjusted", Place: table.InData}, func(*Run, *Cell) table.Value { return table.Value{} }}, // the interval alone decides
	{table.Column{Key: "flushes_per_commit", Title: "flush/c", Right: true, Drop: 2, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return c.flushes() }},
	{table.Column{Key: "lost_per_cut", Title: "lost/cut", Right: true, Drop: 9, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return c.lost() }},
	{table.Column{Key: "at_risk_per_cut", Place: table.InData}, func(_ *Run, c *Cell) table.Value { return c.risk() }},
	{table.Column{Key: "kernel_sent", Title: "kernel sent/c", Place: everywhere}, func(_ *Run, c *Cell) table.Value { return c.sent() }},
	{table.Column{Key: "model_off", Title: "model/drive", Shorten: 3, Cut: ",", Drop: 6, Place: everywhere}, (*Run).off},
	{table.Column{Key: "plugin_calls", Title: "plugin calls/c", Drop: 3, Place: everywhere}, func(_ *Run, c *Cell) table.Value { return c.called() }},
	{table.Column{Key: "verdict", Title: "verdict", Place: everywhere}, func(r *Run, c *Cell) table.Value { v, _ := r.rowVerdict(c); return textValue(v) }},
}

// LinkKernel is the link of a cell whose requests went through the kernel's
// /dev/nbd: its Wire is what the kernel made of them.
const LinkKernel = "kernel"

// throughKernel reports whether it is known of any cell what the kernel sent.
func (r *Run) throughKernel() bool {
	return slices.ContainsFunc(r.Cells, func(c *Cell) bool { return c.Link == LinkKernel || c.Sent != nil })
}

// Sent is what the kernel sent to a disk during a pass of a cell's load that is apart
// from its runs.
type Sent struct {
	// Source is SentTraced, or SentSummed: then WriteFUA and Other are not observable and
	// part of Write, and all that use the disk are counted.
	Source   string `json:"source"`
	Commits  int64  `json:"commits"`
	Write    int64  `json:"write"` // without FUA
	WriteFUA *int64 `json:"write_fua"`
	Flush    int64  `json:"flush"`
	Other    *int64 `json:"other"` // writes to other sectors, as of a file system's journal
}

// The sources of Sent.
const (
	SentTraced = "tracefs" // the block tracepoints
	SentSummed = "stat"    // the sums of /sys/block
)

// each is what was sent for each commit.
func (s *Sent) each() table.Value {
	if s.Source == SentSummed {
		return eachOf(s.Commits, counted{"WRITE or WRITE+FUA", s.Write}, counted{"FLUSH", s.Flush})
	}
	return eachOf(s.Commits, counted{"WRITE", s.Write}, counted{"WRITE+FUA", *s.WriteFUA}, counted{"FLUSH", s.Flush}, counted{"other", *s.Other})
}

// sentLegend says where the counts are from.
func (r *Run) sentLegend() string {
	var sources []string
	for _, c := range r.Cells {
		if c.Sent != nil && !slices.Contains(sources, c.Sent.Source) {
			sources = append(sources, c.Sent.Source)
		}
	}
	switch {
	case len(sources) == 0:
		return ""
	case slices.Contains(sources, SentSummed):
		return " kernel sent/c: what the disk was sent for each commit in a pass of its own, by the sums of /sys/block, which do not tell FUA and other users of the disk apart."
	}
	return " kernel sent/c: what the disk was sent for each commit in a pass of its own, by the block tracepoints; other: writes to sectors that are not the storage's."
}

// sent is what makes a commit durable, for each commit: what the kernel sent to the
// disk of the host's storage, or what crossed the wire by the server's count.
func (c *Cell) sent() table.Value {
	if s := c.Sent; s != nil && s.Commits > 0 {
		return s.each()
	}
	if c.Link != LinkKernel || !c.usable() || c.Wire == nil {
		return none
	}
	return c.each(counted{"WRITE", c.Wire.Write}, counted{"WRITE+FUA", c.Wire.WriteFUA}, counted{"FLUSH", c.Wire.Flush})
}

// called is what a plugin was called for, for each commit.
func (c *Cell) called() table.Value {
	n := c.PluginCalls
	if n == nil || !c.usable() {
		return none
	}
	return c.each(counted{"pwrite", n.PWrite}, counted{"pwrite(fua)", n.PWriteFUA}, counted{"flush", n.Flush},
		counted{"zero", n.Zero}, counted{"zero(fua)", n.ZeroFUA}, counted{"trim", n.Trim}, counted{"trim(fua)", n.TrimFUA})
}

// counted is how often there was something, over all runs.
type counted struct {
	name string
	n    int64
}

// each says how often there was what for each commit.
func (c *Cell) each(all ...counted) table.Value { return eachOf(c.Commit.Count, all...) }

func eachOf(commits int64, all ...counted) table.Value {
	var words []string
	for _, w := range all {
		if w.n > 0 {
			words = append(words, significant(float64(w.n)/float64(commits))+" "+w.name)
		}
	}
	s := strings.Join(words, ", ")
	return table.Value{Text: s, Data: s}
}

// Summary is the main table: one row a cell, grouped by device and workload.
func (r *Run) Summary() *table.Table {
	t := &table.Table{Head: r.head()}
	columns := r.columns()
	for i := range columns {
		column := columns[i].Column
		if column.Key == "ratio" {
			column.Title = shortMetric(metricNames[r.decide()]) + "/" + r.baseName()
		}
		t.Columns = append(t.Columns, column)
	}
	for _, g := range r.groups() {
		for _, c := range g.cells {
			_, mark := r.rowVerdict(c)
			row := table.Row{Group: g.device + " · " + g.workload, Mark: mark}
			for i := range columns {
				row.Values = append(row.Values, columns[i].value(r, c))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	t.Notes = r.notes()
	if !r.throughKernel() {
		t.Remove("kernel_sent")
	}
	if len(r.Models) == 0 {
		t.Remove("model_off")
	}
	if !slices.ContainsFunc(r.Cells, func(c *Cell) bool { return c.PluginCalls != nil }) {
		t.Remove("plugin_calls")
	}
	open := r.openLoops()
	for _, key := range []string{"offered_per_s", "achieved_per_s", "service_p99_ns"} {
		searched := r.FindMax != nil && key == "offered_per_s" // it is the load that was found
		if open == 0 || searched {
			t.Remove(key)
		}
	}
	if r.FindMax != nil {
		t.Remove("ratio")
	}
	if open == len(r.Cells) { // it is what was done
		t.Remove("commits_per_s")
		t.Remove("ops_per_s")
	}
	r.withoutCommits(t)
	return t
}

// columns are the main table's, with those of a sweep's axes after the headings.
func (r *Run) columns() []summaryColumn {
	const headings = 2
	var axes []summaryColumn
	for _, a := range r.axes() {
		axes = append(axes, summaryColumn{
			table.Column{Key: a.name, Title: axisName(a.name), Right: a.scale != nil, Place: everywhere},
			func(_ *Run, c *Cell) table.Value { return textValue(c.At.On(a.name)) },
		})
	}
	if r.FindMax != nil {
		axes = r.FindMax.columns()
	}
	return slices.Concat(summaryColumns[:headings], axes, summaryColumns[headings:])
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
func rateValue(x *float64) table.Value {
	if x == nil {
		return none
	}
	return table.Value{Text: formatRate(*x), Data: *x}
}

// service is the p99 of an open loop's service time, without the wait for a slot.
func (c *Cell) service() table.Value {
	if c.Service == nil || c.Service.P99 == nil || !c.usable() {
		return none
	}
	return table.Value{Text: formatNS(*c.Service.P99), Data: *c.Service.P99}
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

// textValue is the same to people and to machines.
func textValue(s string) table.Value { return table.Value{Text: s, Data: s} }

// p99 is the p99 with its interval.
func (c *Cell) p99() table.Value {
	v := c.duration(metricP99)
	if c.hasP99Interval() {
		v.Text += plusMinus(*c.Commit.P99, c.CI95.P99)
	}
	return v
}

func (c *Cell) hasP99Interval() bool { return c.usable() && c.CI95 != nil && c.CI95.P99 != nil }

// p99End is an end of the p99's interval, 0 the lower one.
func (c *Cell) p99End(end int) table.Value {
	if !c.hasP99Interval() {
		return table.Value{}
	}
	return table.Value{Data: c.CI95.P99[end]}
}

// none is what is not observable or does not apply.
var none = table.Value{Text: "-"}

func (c *Cell) duration(m metric) table.Value {
	if v := c.at(m); v != nil && c.usable() {
		return table.Value{Text: formatNS(*v), Data: *v}
	}
	return none
}

func (c *Cell) p999() table.Value {
	if !c.usable() || c.Commit.P999 == nil {
		return none
	}
	return table.Value{Text: formatNS(*c.Commit.P999), Data: *c.Commit.P999}
}

// rate is that of commits, or of the operations of a cell without any.
func (c *Cell) rate(noCommits bool) table.Value {
	if c.Rates == nil || !c.usable() || c.NoCommits != noCommits {
		return none
	}
	return table.Value{Text: formatRate(c.Rates.Commits), Data: c.Rates.Commits}
}

func (c *Cell) flushes() table.Value {
	var n float64
	switch {
	case !c.usable() || c.NoCommits:
		return none
	case c.PluginCalls != nil:
		n = float64(c.PluginCalls.Flush)
	case c.Stats != nil:
		n = float64(c.Stats.Flushes)
	default:
		return none
	}
	x := n / float64(c.Commit.Count)
	return table.Value{Text: fmt.Sprintf("%.2f", x), Data: x}
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

// lost is how many commits a cut lost, on average; what was at risk is beside it
// where that is another number.
func (c *Cell) lost() table.Value {
	d := c.Durability
	if !d.Measured() {
		return none
	}
	v := averageValue(d.CommitsLost, d.Cuts)
	if risk := c.risk(); v.Text != risk.Text {
		v.Text += " (" + risk.Text + ")"
	}
	return v
}

// risk is how many commits were at risk in a cut, on average.
func (c *Cell) risk() table.Value {
	d := c.Durability
	if !d.Measured() {
		return none
	}
	return averageValue(d.CommitsAtRisk, d.Cuts)
}

func averageValue(total, n int64) table.Value {
	return table.Value{Text: formatAverage(total, n), Data: float64(total) / float64(n)}
}

// ComparisonOf is the cell's row of the comparisons by the metric that decides; nil
// for the baseline and for what is not compared.
func (r *Run) ComparisonOf(c *Cell) *Comparison {
	if r.compared == nil || r.compared.of != len(r.Comparisons) {
		r.compared = indexOf(r.Comparisons)
	}
	i, ok := r.compared.places[comparisonKey{c.Device, c.Workload, c.At.ID(), c.Strategy, c.metricName(r.decide())}]
	if !ok {
		return nil
	}
	return &r.Comparisons[i]
}

// comparisonIndex finds comparisons in a document of many cells.
type comparisonIndex struct {
	of     int // comparisons
	places map[comparisonKey]int
}

type comparisonKey struct{ device, workload, at, strategy, metric string }

func indexOf(all []Comparison) *comparisonIndex {
	x := &comparisonIndex{len(all), map[comparisonKey]int{}}
	for i := range all {
		c := &all[i]
		x.places[comparisonKey{c.Device, c.Workload, c.At.ID(), c.A, c.Metric}] = i
	}
	return x
}

// ratio is the cell's ratio to the baseline by the metric that decides.
func (r *Run) ratio(c *Cell) table.Value {
	x := r.ComparisonOf(c)
	if x == nil {
		return table.Value{Text: r.baselineMark(c)}
	}
	out := table.Value{Text: significant(x.Ratio), Data: x.Ratio}
	switch {
	case x.Exact:
		out.Text += " exact"
	case x.CI95 != nil && c.safe(): // else it is not another way of doing the same
		out.Text = formatEstimate(x.Ratio, x.CI95[0], x.CI95[1]) + " " + formatSpan(x.CI95[0], x.CI95[1])
	}
	return out
}

// ratioMetric is the metric of the ratio.
func (r *Run) ratioMetric(c *Cell) table.Value {
	x := r.ComparisonOf(c)
	if x == nil {
		return table.Value{}
	}
	return table.Value{Data: x.Metric}
}

// ratioEnd is an end of the ratio's interval, 0 the lower one.
func (r *Run) ratioEnd(c *Cell, end int) table.Value {
	x := r.ComparisonOf(c)
	if x == nil || x.CI95 == nil {
		return table.Value{}
	}
	return table.Value{Data: x.CI95[end]}
}

// baselineMark names the cell that the others are compared with.
func (r *Run) baselineMark(c *Cell) string {
	g := group{decide: r.decide()}
	for _, x := range r.Cells {
		if x.Device == c.Device && x.Workload == c.Workload && slices.Equal(x.At, c.At) {
			g.cells = append(g.cells, x)
		}
	}
	if g.baseline() == c {
		return "baseline"
	}
	return none.Text
}

// rowVerdict is the last column, one or two words, and how the row stands out.
func (r *Run) rowVerdict(c *Cell) (string, table.Mark) {
	switch {
	case r.FindMax != nil:
		return r.maximumVerdict(c)
	case c.Status == StatusUnsustained:
		return "did " + c.sustained(), table.Unmarked
	case c.Status != StatusOK:
		return c.Status, table.Qualified
	case !c.safe():
		return "not durable", table.Qualified
	case c.Settled == false:
		return "not settled", table.Qualified
	}
	i := slices.IndexFunc(r.Verdicts, func(v Verdict) bool {
		return v.Device == c.Device && v.Workload == c.Workload && slices.Equal(v.At, c.At)
	})
	if i >= 0 && r.Verdicts[i].Outcome == OutcomeWithheld {
		return "no verdict", table.Qualified
	}
	if i >= 0 && r.Verdicts[i].Winner == c.Strategy {
		return "wins", table.Best
	}
	if i >= 0 && slices.Contains(r.Verdicts[i].Tied, c.Strategy) {
		if r.Verdicts[i].Outcome == OutcomeEquivalent {
			return "ties", table.Best
		}
		return Inconclusive, table.Unmarked
	}
	if x := r.ComparisonOf(c); x != nil {
		return x.Verdict, table.Unmarked
	}
	if i >= 0 && r.Verdicts[i].Outcome != OutcomeNone {
		return "beaten", table.Unmarked // the baseline
	}
	return none.Text, table.Unmarked
}

// head says what was done, in one or two lines.
func (r *Run) head() []string {
	name := strings.TrimSpace("nbdbench " + r.Tool.Version)
	lines := []string{fmt.Sprintf("%s · seed %d", name, r.Seed)}
	if s := r.sweepLine(); s != "" {
		lines = append(lines, s)
	}
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
		return fmt.Sprintf("%s x %s %s", plural(int64(c.Runs), "run"), formatCount(c.Commit.Count/int64(c.Runs)), c.noun().many)
	})
	add(func(c *Cell) string {
		if c.NoCommits {
			return ""
		}
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
	out = append(out, r.findingSentences()...)
	out = append(out, r.modelNotes()...)
	for i := range r.Thresholds {
		out = append(out, r.Thresholds[i].note())
	}
	out = append(out, "", r.legend())
	if r.FindMax != nil {
		out = append(out, "", r.FindMax.note())
	}
	if below := append(r.reasons(), r.warnings()...); len(below) > 0 {
		out = append(append(out, ""), below...)
	}
	return out
}

// legend explains columns, and names who makes a commit durable in full.
func (r *Run) legend() string {
	s := fmt.Sprintf("Latencies are of whole %s, from when they were due: a run's percentile, averaged over runs; ± is its 95%% interval "+
		"and [] that of the ratio, all ratios of the table at once (they cover seeds, not model error). %s alone decides: the "+
		"interval of its ratio against a margin of %.0f%%.", nounOf(r.Cells).many, shortMetric(metricNames[r.decide()]), 100*Margin)
	if r.noCommits() {
		return s + r.sensitivityLegend()
	}
	s += " flush/c: flushes that the device served for each commit; " +
		"lost/cut: acknowledged commits that a power cut lost on average, over cuts at any time of the run (in the worst legal image)."
	var who []string
	for _, c := range r.Cells {
		if w := c.Strategy + " = " + c.WhoDurable; c.WhoDurable != "" && !slices.Contains(who, w) {
			who = append(who, w)
		}
	}
	if len(who) > 0 {
		s += " Made durable by: " + strings.Join(who, "; ") + "."
	}
	return s + r.sentLegend() + r.sensitivityLegend()
}

// reasons says why cells are not ok, each reason once.
func (r *Run) reasons() []string {
	return gather(r.Cells, func(c *Cell) []string {
		switch {
		case c.Status == StatusOK:
			return nil
		case c.Status == StatusUnsustained && len(c.At) > 0: // of each point its own numbers, which the table has
			return []string{c.Status + ": the device does not keep up, and latency grows as long as the run lasts"}
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
