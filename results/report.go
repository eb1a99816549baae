package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"nbdbench/results/chart"
	"nbdbench/results/table"
)

// The bounds of a page, of a run of many cells: it is to be opened, and sent by mail.
const (
	// manyGroups is the number of devices under workloads beyond which a page has its
	// rows by device in closed details, and manyCharts that of charts.
	manyGroups = 24
	manyCharts = 12
	// maxChartBytes bounds the drawings of a page, and maxCompared its comparisons by
	// other metrics than the one that decides.
	maxChartBytes = 4 << 20
	maxCompared   = 1000
	maxExplored   = 3000 // cells
)

// WriteHTML writes the report: one file that needs nothing else.
func (r *Run) WriteHTML(w io.Writer) error { return r.writeHTML(w, r.Charts()) }

func (r *Run) writeHTML(w io.Writer, charts []*chart.Chart) error {
	t := r.Summary()
	p := page{
		Title: r.title(), Head: t.Head,
		FindingsTitle: "Verdicts", Findings: r.findingSentences(), Warnings: r.warnings(),
		TableTitle: "Cells", Caption: "Latency is from when " + nounOf(r.Cells).article() + " was due. Bold: the winner. Grey: without a result, or not to be ranked.",
		Notes: append([]string{r.legend()}, r.reasons()...), Columns: pageColumns(t), Toggles: strategiesOf(r.Cells),
		Comparisons: r.pageComparisons(), ComparisonsCaption: "Every strategy against the baseline. The intervals of one metric hold for all of the table at once.",
		Footer: "The data are in run.json, latency.hlog, intervals.csv and heatmap.csv.gz of the run directory.",
	}
	p.Many = len(r.groups()) > manyGroups
	p.setGroups(pageGroups(t), func(g *pageGroup) string { return g.device })
	p.Matrix = r.matrix()
	p.Explorer = r.explorer()
	p.EstimateColumns, p.Estimates = r.sensitivityOnPage()
	if err := p.addCharts(charts); err != nil {
		return err
	}
	var plan bytes.Buffer
	if err := json.Indent(&plan, r.Plan, "", "  "); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	p.Plan = plan.String()
	return p.write(w)
}

// title is the page's.
func (r *Run) title() string {
	if r.noCommits() {
		return "nbdbench: what operations cost"
	}
	return "nbdbench: what a durable write costs, and loses"
}

// strategiesOf are the strategies of cells, each once.
func strategiesOf(cells []*Cell) (out []string) {
	for _, c := range cells {
		if !slices.Contains(out, c.Strategy) {
			out = append(out, c.Strategy)
		}
	}
	return out
}

// markClasses are the classes of rows in the report's style sheet.
var markClasses = map[table.Mark]string{table.Best: "best", table.Qualified: "unsafe"}

func pageColumns(t *table.Table) []table.Column {
	var out []table.Column
	for _, i := range t.PageColumns() {
		out = append(out, t.Columns[i])
	}
	return out
}

func pageGroups(t *table.Table) []pageGroup {
	var out []pageGroup
	device := slices.IndexFunc(t.Columns, func(c table.Column) bool { return c.Key == "device" })
	for i, r := range t.Rows {
		if i == 0 || r.Group != t.Rows[i-1].Group {
			g := pageGroup{Name: r.Group}
			if device >= 0 {
				g.device = r.Values[device].Text
			}
			out = append(out, g)
		}
		row := pageRow{Class: markClasses[r.Mark]}
		for _, i := range t.PageColumns() {
			row.Values = append(row.Values, r.Values[i].Text)
		}
		g := &out[len(out)-1]
		g.Rows = append(g.Rows, row)
	}
	return out
}

// pageComparisons are the document's; of very many those by the metric that decides.
func (r *Run) pageComparisons() []pageComparison {
	var out []pageComparison
	for _, c := range r.Comparisons {
		if len(r.Comparisons) > maxCompared && shortMetric(c.Metric) != shortMetric(metricNames[r.decide()]) {
			continue
		}
		p := pageComparison{Comparison: c, Ratio: significant(c.Ratio)}
		switch {
		case c.Exact:
			p.Interval = "exact"
		case c.CI95 != nil:
			p.Ratio = formatEstimate(c.Ratio, c.CI95[0], c.CI95[1])
			p.Interval = formatSpan(c.CI95[0], c.CI95[1])
		}
		out = append(out, p)
	}
	return out
}

// matrix is the winners by device, in a sweep at each point, and workload. A search has
// none.
func (r *Run) matrix() *pageMatrix {
	if len(r.Verdicts) == 0 {
		return nil
	}
	m := &pageMatrix{Caption: r.winnersTitle() + ", by device and workload; then the next, and how many times as long it takes."}
	rows := map[string]int{}
	for i, g := range r.groups() {
		column := slices.Index(m.Columns, g.workload)
		if column < 0 {
			column = len(m.Columns)
			m.Columns = append(m.Columns, g.workload)
		}
		name := g.device
		if len(g.at) > 0 {
			name += ", " + g.at.String()
		}
		k, ok := rows[name]
		if !ok {
			k = len(m.Rows)
			rows[name], m.Rows = k, append(m.Rows, pageMatrixRow{Name: name})
		}
		row := &m.Rows[k]
		for len(row.Cells) <= column {
			row.Cells = append(row.Cells, pageWinner{})
		}
		row.Cells[column] = r.winner(g)
		row.Cells[column].Ref = groupID(i)
	}
	for i := range m.Rows {
		row := &m.Rows[i]
		row.Cells = append(row.Cells, make([]pageWinner, len(m.Columns)-len(row.Cells))...)
	}
	return m
}

// winner is the matrix's word on a group.
func (r *Run) winner(g *group) (w pageWinner) {
	v := r.verdictOn(g)
	if v == nil {
		return w
	}
	w.Class = v.Outcome
	switch v.Outcome {
	case OutcomeWins:
		w.Winner = v.Winner
	case OutcomeEquivalent:
		w.Winner = joinBy(v.Tied, " = ")
	case OutcomeInconclusive:
		w.Winner, w.Note = joinBy(v.Tied, " or "), "not separated"
	case OutcomeWithheld:
		w.Winner = "no verdict"
	default:
		w.Winner = "no strategy" // none is the name of one
	}
	j := judgement{group: g}
	j.split()
	if len(j.safe) < 2 || v.Metric == "" && len(v.Tied) == 0 {
		return w
	}
	j.contest()
	if j.runner == nil {
		return w
	}
	if e := j.against(j.runner, j.first[0]); e != nil {
		w.Note = "then " + j.runner.Strategy + " " + significant(e.ratio) + "x"
	}
	return w
}

func joinBy(words []string, by string) (s string) {
	for i, w := range words {
		if i > 0 {
			s += by
		}
		s += w
	}
	return s
}
