package results

import (
	"slices"
	"strings"

	"nbdbench/results/table"
)

// A cell without commits has the latencies of its transactions where one with commits
// has those of its commits, and so all figures are computed alike. It is distinguished
// where a figure has a name: in the document, in metrics, and in words.

const (
	commitPrefix    = "commit."
	operationPrefix = "ops."
)

// metricName is the metric's name for a load with or without commits.
func metricName(m metric, noCommits bool) string {
	if noCommits {
		return operationPrefix + shortMetric(metricNames[m])
	}
	return metricNames[m]
}

// metricOf is the metric of that name, with either prefix; negative of another name.
func metricOf(name string) metric {
	for m := range numMetrics {
		if name == metricNames[m] || name == metricName(m, true) {
			return m
		}
	}
	return -1
}

func (c *Cell) metricName(m metric) string { return metricName(m, c.NoCommits) }

// noun is what the latencies of cells are of, one and several.
type noun struct{ one, many string }

var (
	commitNoun      = noun{"commit", "commits"}
	operationNoun   = noun{"operation", "operations"}
	transactionNoun = noun{"transaction", "transactions"} // either
)

func (c *Cell) noun() noun { return nounOf([]*Cell{c}) }

// title is the noun at the beginning of a sentence.
func (n noun) title() string { return strings.ToUpper(n.one[:1]) + n.one[1:] }

// nounIn is nounOf the cells of groups.
func nounIn(groups []*group) noun { return nounOf(cellsOf(groups)) }

// nounOf is the word for what all of the cells measured.
func nounOf(cells []*Cell) noun {
	with := slices.ContainsFunc(cells, func(c *Cell) bool { return !c.NoCommits })
	without := slices.ContainsFunc(cells, func(c *Cell) bool { return c.NoCommits })
	switch {
	case with && without:
		return transactionNoun
	case without:
		return operationNoun
	}
	return commitNoun
}

// article is the noun with its article.
func (n noun) article() string {
	if n == operationNoun {
		return "an " + n.one
	}
	return "a " + n.one
}

// noCommits reports whether no cell has commits.
func (r *Run) noCommits() bool { return nounOf(r.Cells) == operationNoun }

// withoutCommits removes from the main table what only commits have where no cell has
// any, and what only operations have where none lacks them.
func (r *Run) withoutCommits(t *table.Table) {
	if !slices.ContainsFunc(r.Cells, func(c *Cell) bool { return c.NoCommits }) {
		t.Remove("ops_per_s")
	}
	if !r.noCommits() {
		return
	}
	for _, key := range []string{"who_durable", "commits_per_s", "flushes_per_commit", "lost_per_cut", "at_risk_per_cut"} {
		t.Remove(key)
	}
	for i := range t.Columns {
		if c := &t.Columns[i]; strings.HasSuffix(c.Title, "/c") {
			c.Title = strings.TrimSuffix(c.Title, "c") + "op"
		}
	}
}

// published is the document as it is written: cells without commits have their
// transactions under ops, and nothing under commit.
func (r *Run) published() *Run {
	if !slices.ContainsFunc(r.Cells, func(c *Cell) bool { return c.NoCommits }) {
		return r
	}
	out := *r
	out.Cells = make([]*Cell, len(r.Cells))
	for i, c := range r.Cells {
		out.Cells[i] = c
		if c.NoCommits {
			out.Cells[i] = c.published()
		}
	}
	return &out
}

func (c *Cell) published() *Cell {
	out := *c
	out.Commit = nil
	if c.Ops != nil {
		ops := *c.Ops
		ops.All, out.Ops = c.Commit, &ops
	}
	if s := c.CI95; s != nil {
		out.CI95 = &CI95{OpsMean: s.Mean, OpsP50: s.P50, OpsP90: s.P90, OpsP99: s.P99}
	}
	if e := c.Errors; e != nil {
		out.Errors = &Errors{Op: e.Op, Transaction: e.Commit}
	}
	out.Rates = c.Rates.published()
	out.PerRun = slices.Clone(c.PerRun)
	for i := range out.PerRun {
		p := &out.PerRun[i]
		p.Commit, p.Ops = nil, p.Commit
		p.CommitSum, p.OpsSum = 0, p.CommitSum
		p.Rates = p.Rates.published()
	}
	return &out
}

func (r *Rates) published() *Rates {
	if r == nil {
		return nil
	}
	out := *r
	out.Commits, out.Ops = 0, r.Commits
	return &out
}

// restore is the inverse of published, of a cell that was read.
func (c *Cell) restore() {
	if !c.NoCommits {
		return
	}
	if c.Ops != nil {
		c.Commit, c.Ops.All = c.Ops.All, nil
	}
	if s := c.CI95; s != nil {
		c.CI95 = &CI95{Mean: s.OpsMean, P50: s.OpsP50, P90: s.OpsP90, P99: s.OpsP99}
	}
	if c.Errors != nil {
		c.Errors.Commit, c.Errors.Transaction = c.Errors.Transaction, 0
	}
	c.Rates.restore()
	for i := range c.PerRun {
		p := &c.PerRun[i]
		p.Commit, p.Ops = p.Ops, nil
		p.CommitSum, p.OpsSum = p.OpsSum, 0
		p.Rates.restore()
	}
}

func (r *Rates) restore() {
	if r != nil {
		r.Commits, r.Ops = r.Ops, 0
	}
}
