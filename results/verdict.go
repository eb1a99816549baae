package results

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Verdict is the finding for one device under one workload, in a sweep at one point.
type Verdict struct {
	Device   string `json:"device"`
	Workload string `json:"workload"`
	At       At     `json:"at,omitempty"` // in a sweep
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
	OutcomeWithheld     = "withheld"     // what was measured does not allow one; the sentence says why
)

// judge fills in the document's verdicts.
func (r *Run) judge() {
	r.Verdicts = []Verdict{}
	if r.FindMax != nil {
		return
	}
	for _, g := range r.groups() {
		j := judgement{group: g}
		r.Verdicts = append(r.Verdicts, j.verdict())
	}
}

// judgement is the making of one verdict.
type judgement struct {
	*group
	safe   []*Cell // kept every commit, and may be compared
	out    []*Cell // kept every commit, and may not: unfit says why
	unsafe []*Cell
	first  []*Cell // those that nothing beats; one is the winner
	runner *Cell   // the fastest that was beaten
}

func (j *judgement) verdict() Verdict {
	v := Verdict{Device: j.device, Workload: j.workload, At: j.at, Outcome: OutcomeNone, Tied: []string{}}
	j.split()
	switch {
	case len(j.safe)+len(j.out)+len(j.unsafe) == 0:
		v.Headline = "nothing was measured"
		v.Sentence = sentences(j.subject() + v.Headline)
	case len(j.safe)+len(j.out) == 0:
		v.Headline = "no strategy kept every acknowledged commit"
		v.Sentence = sentences(j.subject()+v.Headline, j.definition(), j.losses(nil))
	default:
		j.decideIt(&v)
	}
	return v
}

// decideIt fills in the verdict where some strategy kept every commit.
func (j *judgement) decideIt(v *Verdict) {
	if why := j.withheld(); why != "" {
		v.Outcome, v.Headline = OutcomeWithheld, "no verdict: "+why
		v.Sentence = sentences(j.subject()+v.Headline, j.definition(), j.losses(nil))
		return
	}
	if best := j.only(); best != nil {
		v.Winner, v.Outcome = best.Strategy, OutcomeWins
		v.Headline = best.Strategy + " alone " + j.figureOf(best)
		v.Sentence = sentences(j.subject()+v.Headline+" ("+figures(best)+")", j.exceptions(), j.definition(), j.losses(best), j.doubt())
		return
	}
	j.contest()
	best := j.first[0]
	if len(j.first) == 1 {
		v.Winner, v.Metric, v.Outcome = best.Strategy, best.metricName(j.decide), OutcomeWins
	} else {
		v.Tied, v.Outcome = names(j.first), j.tieOutcome()
	}
	if why := j.late(); why != "" {
		v.Winner, v.Tied, v.Outcome, v.Metric = "", []string{}, OutcomeWithheld, ""
		v.Headline = "no verdict: " + why
		v.Sentence = sentences(j.subject()+v.Headline, j.definition(), j.losses(nil))
		return
	}
	v.Headline = j.headline()
	v.Sentence = sentences(j.subject()+j.result(), j.exceptions(), j.definition(), j.losses(best), j.doubt())
}

// withheld says why no verdict can be given on the cells as they are.
func (j *judgement) withheld() string {
	switch {
	case j.drift != "":
		return j.drift
	case len(j.safe) == 0:
		return reasonsOf(j.decide, j.out)
	}
	for _, c := range j.out {
		if len(c.Outliers) > 0 && c.Status == StatusOK { // it may be as fast as any
			return reasonsOf(j.decide, j.out)
		}
	}
	if len(j.safe) == 1 && j.only() == nil {
		return reasonsOf(j.decide, j.out) + ", and one strategy alone is no comparison"
	}
	return ""
}

// reasonsOf says of each cell why it takes no part.
func reasonsOf(m metric, cells []*Cell) string {
	var parts []string
	for _, c := range cells {
		parts = append(parts, c.Strategy+" "+c.unfit(m))
	}
	return join(parts)
}

// only is the strategy that is left without a comparison: the only one that kept
// every commit, or that sustained the rate.
func (j *judgement) only() *Cell {
	if len(j.safe) != 1 {
		return nil
	}
	for _, c := range j.out {
		if c.Status != StatusUnsustained {
			return nil
		}
	}
	return j.safe[0]
}

// figureOf is what the only strategy did.
func (j *judgement) figureOf(c *Cell) string {
	switch {
	case len(j.out) > 0:
		return "sustained " + formatRate(*c.Offered) + "/s"
	case c.NoCommits:
		return "was measured"
	case c.Durability.Measured():
		return "lost nothing in " + plural(c.Durability.Cuts, "power cut")
	}
	return "is " + c.durable()
}

// exceptions says who took no part, and why.
func (j *judgement) exceptions() string {
	if len(j.out) == 0 {
		return ""
	}
	return reasonsOf(j.decide, j.out) + ": no part in this verdict"
}

func (j *judgement) subject() string { return subject(j.device, j.workload, j.at) + ": " }

// subject is what a sentence is about.
func subject(device, workload string, at At) string {
	s := device + ", " + workload
	if len(at) > 0 {
		s += ", " + at.String()
	}
	return s
}

// sentences ends each part with a full stop.
func sentences(parts ...string) string { return sentence(parts...) + "." }

// sentence is sentences without the last full stop.
func sentence(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ". ")
}

func names(cells []*Cell) []string {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = c.Strategy
	}
	return out
}

// split parts the usable cells into those that may win, those that kept every
// commit but cannot be compared, and the others.
func (j *judgement) split() {
	for _, c := range j.cells {
		switch {
		case !c.usable():
		case !c.safe():
			j.unsafe = append(j.unsafe, c)
		case c.unfit(j.decide) != "":
			j.out = append(j.out, c)
		default:
			j.safe = append(j.safe, c)
		}
	}
}

// contest finds the first, by the one metric that decides: the lowest, and all
// whose interval against it does not lie above the margin.
func (j *judgement) contest() {
	order := slices.Clone(j.safe)
	slices.SortStableFunc(order, func(a, b *Cell) int { return cmp.Compare(*a.at(j.decide), *b.at(j.decide)) })
	best := order[0]
	j.first = []*Cell{best}
	for _, c := range order[1:] {
		e := j.against(c, best)
		switch {
		case e == nil || e.verdict() != Slower:
			j.first = append(j.first, c)
		case j.runner == nil:
			j.runner = c
		}
	}
}

// against compares two cells by the metric that decides.
func (j *judgement) against(a, b *Cell) *effect { return compare(a, b, j.decide, j.family) }

// late says why a winner or a tie may be the host's doing: replies were later than
// the device asked for by more than what parts the strategies.
func (j *judgement) late() string {
	for _, c := range j.safe {
		if c.Late == nil {
			return ""
		}
	}
	best := j.first[0]
	lateness := func(c *Cell) float64 {
		if j.decide == metricP99 {
			return float64(c.Late.P99)
		}
		return float64(c.Late.P50)
	}
	for _, c := range j.safe {
		if c == best {
			continue
		}
		a, b := float64(*c.at(j.decide)), float64(*best.at(j.decide))
		tied := slices.Contains(j.first, c)
		if !tied && a-lateness(c) > b*(1+Margin) || tied && max(lateness(c), lateness(best)) <= Margin*b {
			continue
		}
		return fmt.Sprintf("replies of %s were up to %s late, which is enough to change it", c.Strategy, formatNS(int64(max(lateness(c), lateness(best)))))
	}
	return ""
}

// headline fits a chart's title.
func (j *judgement) headline() string {
	best := j.first[0]
	s := best.Strategy + " wins"
	if len(j.first) > 1 {
		s = join(names(j.first)) + " " + tieVerb(j.tieOutcome())
	}
	if j.runner == nil {
		return s
	}
	if e := j.against(j.runner, best); e != nil {
		s += fmt.Sprintf("; %s takes %sx (%s)", j.runner.Strategy, significant(e.ratio), shortMetric(metricNames[j.decide]))
	}
	return s
}

// result is the first sentence: who wins and by how much.
func (j *judgement) result() string {
	best := j.first[0]
	if len(j.first) > 1 {
		return j.tie()
	}
	s := fmt.Sprintf("%s wins%s: %s %s", best.Strategy, j.among(best),
		shortMetric(metricNames[j.decide]), formatNS(*best.at(j.decide)))
	if j.runner == nil {
		return s
	}
	if e := j.against(j.runner, best); e != nil {
		s += fmt.Sprintf("; the next, %s, takes %s as long", j.runner.Strategy, factor(e.ratio, e.span, e.exact))
		if by := j.byRate(e.ratio, best, j.runner); by != "" {
			s += "; " + best.Strategy + " does " + by
		}
	}
	return s
}

// byRate is the ratio of rates where the deciding percentile does not show it: in
// a closed loop, time that passes between commits or in the few slowest.
func (j *judgement) byRate(ratio float64, best, other *Cell) string {
	if best.open() || best.Rates == nil || other.Rates == nil || other.Rates.Commits <= 0 {
		return ""
	}
	rates := best.Rates.Commits / other.Rates.Commits
	if max(rates/ratio, ratio/rates) < hidden {
		return ""
	}
	return fmt.Sprintf("%s times the %s a second (%s against %s)", significant(rates), best.noun().many, formatRate(best.Rates.Commits), formatRate(other.Rates.Commits))
}

// hidden is how far the ratio of rates must be from that of the percentile to be
// given beside it.
const hidden = 1.25

// tie is the first sentence where several are first.
func (j *judgement) tie() string {
	best := j.first[0]
	var ratios []string
	for _, c := range j.first[1:] {
		if e := j.against(c, best); e != nil {
			ratios = append(ratios, fmt.Sprintf("%s/%s %s", c.Strategy, best.Strategy, factor(e.ratio, e.span, e.exact)))
		}
	}
	how := "cannot be told apart"
	if j.tieOutcome() == OutcomeEquivalent {
		how = fmt.Sprintf("are equivalent within %.0f%%", 100*Margin)
	}
	s := fmt.Sprintf("%s %s%s (%s: %s)", join(names(j.first)), how, j.among(best),
		shortMetric(metricNames[j.decide]), strings.Join(ratios, ", "))
	if j.runner == nil {
		return s
	}
	if e := j.against(j.runner, best); e != nil {
		s += fmt.Sprintf("; the next, %s, takes %s as long", j.runner.Strategy, factor(e.ratio, e.span, e.exact))
	}
	return s
}

// tieOutcome tells strategies that are alike from those not separated.
func (j *judgement) tieOutcome() string {
	for _, c := range j.first[1:] {
		if e := j.against(c, j.first[0]); e == nil || e.verdict() != Equivalent {
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

// among says between whom the best was found: those that keep commits, where there
// are any to keep.
func (j *judgement) among(best *Cell) string {
	if best.NoCommits {
		return ""
	}
	return " among those that " + j.kept(best, "are")
}

// kept says how it is known that commits were safe, after one strategy (verb
// "is") or several ("are").
func (j *judgement) kept(c *Cell, verb string) string {
	if c.Durability.Measured() {
		return "lost nothing in " + plural(c.Durability.Cuts, "power cut")
	}
	return verb + " " + c.durable()
}

// durable says how it is known that the cell's commits are durable where no power was
// cut.
func (c *Cell) durable() string {
	if c.Storage {
		return "durable if the drive keeps its word"
	}
	return "durable by definition"
}

// definition says once that nothing was cut.
func (j *judgement) definition() string {
	for _, c := range j.cells {
		if c.usable() && (c.Durability.Measured() || c.NoCommits) {
			return ""
		}
	}
	if len(j.cells) > 0 && j.cells[0].Storage {
		return sentence("No power was cut: loss is not observed on the host's storage", j.withoutFUA())
	}
	return "No power was cut: who is durable is by definition, not measured"
}

// WithoutFUA says in Cell.WhoDurable that the kernel makes a write and a FLUSH of a write
// with FUA, because the disk's queue has no FUA.
const WithoutFUA = "kernel: write+flush"

// withoutFUA names the strategies whose FUA is not the disk's.
func (j *judgement) withoutFUA() string {
	var all []*Cell
	for _, c := range j.cells {
		if c.usable() && c.WhoDurable == WithoutFUA {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "The disk's queue has no FUA: under " + join(names(all)) + " the kernel sends a write and a FLUSH"
}

func figures(c *Cell) string {
	var parts []string
	for _, m := range []metric{metricP50, metricP99} {
		if v := c.at(m); v != nil {
			parts = append(parts, shortMetric(metricNames[m])+" "+formatNS(*v))
		}
	}
	if len(parts) == 0 {
		return "mean " + formatNS(*c.Commit.Mean)
	}
	return strings.Join(parts, ", ")
}

// losses says what each of the others would gain, and what it loses.
func (j *judgement) losses(best *Cell) string {
	var parts []string
	for _, c := range j.unsafe {
		gain := j.gain(best, c)
		if gain == "" {
			parts = append(parts, c.Strategy+": "+c.loss())
			continue
		}
		parts = append(parts, c.Strategy+" "+gain+c.loss())
	}
	return strings.Join(parts, ". ")
}

func (j *judgement) gain(best, c *Cell) string {
	if best == nil || c.unfit(j.decide) != "" {
		return ""
	}
	e := j.against(c, best)
	if e == nil {
		return ""
	}
	if e.verdict() == Slower || e.verdict() == Equivalent {
		return "would be no faster, and "
	}
	s := fmt.Sprintf("would be %s as fast by %s", factor(1/e.ratio, e.span.inverse(), e.exact), shortMetric(metricNames[j.decide]))
	if by := j.byRate(1/e.ratio, c, best); by != "" {
		s += " and do " + by
	}
	return s + ", but "
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
