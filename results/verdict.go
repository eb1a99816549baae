package results

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is the finding for one device under one workload.
type Verdict struct {
	Device   string `json:"device"`
	Workload string `json:"workload"`
	// Winner is the fastest of the strategies that lost nothing, or empty where
	// several tie or none qualifies; Tied names those that tie.
	Winner   string   `json:"winner"`
	Outcome  string   `json:"outcome"`
	Tied     []string `json:"tied"`
	Metric   string   `json:"metric"` // what decided; empty where nothing did
	Headline string   `json:"headline"`
	Sentence string   `json:"sentence"`
}

// The outcomes of a verdict.
const (
	OutcomeWins         = "wins"         // one is faster than all others, or alone
	OutcomeEquivalent   = "equivalent"   // several, within the margin of the fastest
	OutcomeInconclusive = "inconclusive" // several, which the runs do not separate
	OutcomeNone         = "none"         // no strategy kept every commit
)

// decisive are the metrics by which a winner is sought, in this order: the tail
// is what a client waits for, and the next decides only where it cannot.
var decisive = []metric{metricP99, metricP50, metricMean}

// judge fills in the document's verdicts.
func (r *Run) judge(f *inference) {
	r.Verdicts = []Verdict{}
	for _, g := range r.groups() {
		j := judgement{group: g, f: f}
		r.Verdicts = append(r.Verdicts, j.verdict())
	}
}

// judgement is the making of one verdict.
type judgement struct {
	*group
	f      *inference
	first  []*Cell // those that nothing beats; one is the winner
	by     metric  // what decided, or the last that was tried
	runner *Cell   // the fastest that was beaten by the first, by that metric
}

func (j *judgement) verdict() Verdict {
	v := Verdict{Device: j.device, Workload: j.workload, Outcome: OutcomeNone, Tied: []string{}}
	safe, unsafe := j.split()
	if len(safe)+len(unsafe) == 0 {
		v.Headline = "nothing was measured"
		v.Sentence = sentences(j.subject() + v.Headline)
		return v
	}
	if len(safe) == 0 {
		v.Headline = "no strategy kept every acknowledged commit"
		v.Sentence = sentences(j.subject()+v.Headline, j.definition(), j.losses(nil, unsafe))
		return v
	}
	j.contest(safe)
	best := j.first[0]
	if len(j.first) == 1 {
		v.Winner, v.Metric, v.Outcome = best.Strategy, metricNames[j.by], OutcomeWins
	} else {
		v.Tied, v.Outcome = names(j.first), j.tieOutcome()
	}
	v.Headline = j.headline(len(safe))
	v.Sentence = sentences(j.subject()+j.result(len(safe)), j.definition(), j.losses(best, unsafe))
	return v
}

func (j *judgement) subject() string { return j.device + ", " + j.workload + ": " }

// sentences ends each part with a full stop.
func sentences(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return strings.Join(parts, ". ") + "."
}

func names(cells []*Cell) []string {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = c.Strategy
	}
	return out
}

// split parts the usable cells into those that may win and the others.
func (j *judgement) split() (safe, unsafe []*Cell) {
	for _, c := range j.cells {
		switch {
		case !c.usable():
		case c.safe():
			safe = append(safe, c)
		default:
			unsafe = append(unsafe, c)
		}
	}
	return safe, unsafe
}

// contest finds the first: by each metric in turn, all whose interval does not
// lie above the lowest's; until one is left.
func (j *judgement) contest(safe []*Cell) {
	j.first = slices.Clone(safe)
	first := numMetrics
	for _, m := range decisive {
		if slices.ContainsFunc(j.first, func(c *Cell) bool { return c.told(m) == nil }) {
			continue
		}
		j.by = m
		if first == numMetrics {
			first = m
		}
		slices.SortStableFunc(j.first, func(a, b *Cell) int { return int(min(max(*a.told(m)-*b.told(m), -1), 1)) })
		best := j.first[0]
		tied := []*Cell{best}
		for _, c := range j.first[1:] {
			if e := j.f.compare(c, best, m); e == nil || e.verdict() != Slower {
				tied = append(tied, c)
			}
		}
		if j.first = tied; len(tied) == 1 {
			j.findRunner(safe)
			return
		}
	}
	j.by = first
	j.findRunner(safe)
}

// findRunner finds the lowest of the beaten, by the metric that decided.
func (j *judgement) findRunner(safe []*Cell) {
	for _, c := range safe {
		if slices.Contains(j.first, c) || c.told(j.by) == nil {
			continue
		}
		if j.runner == nil || *c.told(j.by) < *j.runner.told(j.by) {
			j.runner = c
		}
	}
}

// headline fits a chart's title.
func (j *judgement) headline(safe int) string {
	best := j.first[0]
	switch {
	case safe == 1 && best.Durability.Measured():
		return best.Strategy + " alone lost nothing"
	case safe == 1:
		return best.Strategy + " alone is durable by definition"
	}
	s := best.Strategy + " wins"
	if len(j.first) > 1 {
		s = join(names(j.first)) + " " + tieVerb(j.tieOutcome())
	}
	if j.runner == nil {
		return s
	}
	if e := j.f.compare(j.runner, best, j.by); e != nil {
		s += fmt.Sprintf("; %s takes %sx (%s)", j.runner.Strategy, significant(e.ratio), shortMetric(metricNames[j.by]))
	}
	return s
}

// result is the first sentence: who wins and by how much.
func (j *judgement) result(safe int) string {
	best := j.first[0]
	switch {
	case safe == 1:
		return fmt.Sprintf("%s alone %s (%s)", best.Strategy, j.kept(best, "is"), figures(best))
	case len(j.first) > 1:
		return j.tie()
	}
	s := fmt.Sprintf("%s wins among those that %s", best.Strategy, j.kept(best, "are"))
	if best.told(j.by) != nil {
		s += fmt.Sprintf(": %s %s", shortMetric(metricNames[j.by]), formatNS(*best.told(j.by)))
	}
	if j.runner == nil {
		return s
	}
	if e := j.f.compare(j.runner, best, j.by); e != nil {
		s += fmt.Sprintf(" against %s for %s, which takes %s as long", formatNS(*j.runner.told(j.by)), j.runner.Strategy, factor(e.ratio, e.span, e.exact))
	}
	return s + j.aside(best)
}

// aside tells how the first two compare by the other percentile.
func (j *judgement) aside(best *Cell) string {
	other := metricP50
	if j.by == metricP50 {
		other = metricP99
	}
	e := j.f.compare(j.runner, best, other)
	if e == nil {
		return ""
	}
	name := shortMetric(metricNames[other])
	switch e.verdict() {
	case Faster:
		return fmt.Sprintf(", though by %s only %s", name, factor(e.ratio, e.span, e.exact))
	case Slower:
		return fmt.Sprintf(" (by %s %s)", name, factor(e.ratio, e.span, e.exact))
	case Equivalent:
		return fmt.Sprintf(" (by %s they are equivalent)", name)
	}
	return fmt.Sprintf(" (by %s they cannot be told apart)", name)
}

func (j *judgement) tie() string {
	best := j.first[0]
	var ratios []string
	for _, c := range j.first[1:] {
		if e := j.f.compare(c, best, j.by); e != nil {
			ratios = append(ratios, fmt.Sprintf("%s/%s %s", c.Strategy, best.Strategy, factor(e.ratio, e.span, e.exact)))
		}
	}
	how := "cannot be told apart"
	if j.tieOutcome() == OutcomeEquivalent {
		how = fmt.Sprintf("are equivalent within %.0f%%", 100*Margin)
	} else if len(best.runs) < minRuns {
		how = fmt.Sprintf("cannot be ranked by fewer than %d runs", minRuns)
	}
	s := fmt.Sprintf("%s %s among those that %s (%s: %s)", join(names(j.first)), how, j.kept(best, "are"),
		shortMetric(metricNames[j.by]), strings.Join(ratios, ", "))
	if j.runner == nil {
		return s
	}
	if e := j.f.compare(j.runner, best, j.by); e != nil {
		s += fmt.Sprintf("; the next, %s, takes %s as long", j.runner.Strategy, factor(e.ratio, e.span, e.exact))
	}
	return s
}

// tieOutcome tells strategies that are alike from those not separated.
func (j *judgement) tieOutcome() string {
	for _, c := range j.first[1:] {
		if e := j.f.compare(c, j.first[0], j.by); e == nil || e.verdict() != Equivalent {
			return OutcomeInconclusive
		}
	}
	return OutcomeEquivalent
}

// tieVerb says in a title what several strategies do.
func tieVerb(outcome string) string {
	if outcome == OutcomeEquivalent {
		return "tie"
	}
	return "are not separated"
}

// kept says how it is known that commits were safe, after one strategy (verb
// "is") or several ("are").
func (j *judgement) kept(c *Cell, verb string) string {
	if c.Durability.Measured() {
		return "lost nothing in " + plural(c.Durability.Cuts, "power cut")
	}
	return verb + " durable by definition"
}

// definition says once that nothing was cut.
func (j *judgement) definition() string {
	for _, c := range j.cells {
		if c.usable() && c.Durability.Measured() {
			return ""
		}
	}
	return "No power was cut: who is durable is by definition, not measured"
}

func figures(c *Cell) string {
	var parts []string
	for _, m := range []metric{metricP50, metricP99} {
		if v := c.told(m); v != nil {
			parts = append(parts, shortMetric(metricNames[m])+" "+formatNS(*v))
		}
	}
	if len(parts) == 0 {
		return "mean " + formatNS(*c.Commit.Mean)
	}
	return strings.Join(parts, ", ")
}

// losses says what each of the others would gain, and what it loses.
func (j *judgement) losses(best *Cell, unsafe []*Cell) string {
	var parts []string
	for _, c := range unsafe {
		parts = append(parts, c.Strategy+" "+j.gain(best, c)+c.loss())
	}
	return strings.Join(parts, ". ")
}

func (j *judgement) gain(best, c *Cell) string {
	if best == nil {
		return ""
	}
	for _, m := range decisive {
		e := j.f.compare(c, best, m)
		if e == nil {
			continue
		}
		if e.verdict() == Slower || e.verdict() == Equivalent {
			return "would be no faster, and "
		}
		return fmt.Sprintf("would be %s as fast by %s, but ", factor(1/e.ratio, e.span.inverse(), e.exact), shortMetric(metricNames[m]))
	}
	return ""
}

// loss says what power cuts did to the cell.
func (c *Cell) loss() string {
	d := c.Durability
	if !d.Measured() {
		return "makes nothing durable (" + c.WhoDurable + ")"
	}
	s := ""
	switch {
	case d.CommitsLost > 0:
		s = fmt.Sprintf("a power cut lost %s acknowledged commits on average (up to %s; %s of %s cuts)",
			formatAverage(d.CommitsLost, d.Cuts), formatCount(d.MaxCommitsLost), formatCount(d.CutsWithLoss), formatCount(d.Cuts))
	case d.CommitsAtRisk > 0:
		s = fmt.Sprintf("a power cut put %s acknowledged commits at risk on average (none was lost in %s)",
			formatAverage(d.CommitsAtRisk, d.Cuts), plural(d.Cuts, "cut"))
	}
	if d.Violations > 0 {
		if s != "" {
			s += " and "
		}
		s += plural(d.Violations, "promise") + " at the wire broken"
	}
	return s
}
