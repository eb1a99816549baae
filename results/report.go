package results

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"

	"nbdbench/results/chart"
	"nbdbench/results/table"
)

//go:embed report.html.tmpl
var reportText string

var reportTemplate = template.Must(template.New(FileReport).Parse(reportText))

// page is what the report's template shows.
type page struct {
	Title       string
	Table       *table.Table
	Columns     []table.Column
	Groups      []pageGroup
	Notes       []string
	Findings    []string
	Warnings    []string
	Charts      []pageChart
	Comparisons []pageComparison
	// Estimates are the rows of SensitivityTable, none where nothing was varied.
	Estimates       []pageGroup
	EstimateColumns []table.Column
	Plan            string
}

type pageGroup struct {
	Name string
	Rows []pageRow
}

type pageRow struct {
	Class  string
	Values []pageValue
}

type pageValue struct {
	Text  string
	Right bool
}

type pageChart struct {
	Title string
	SVG   template.HTML
}

type pageComparison struct {
	Comparison
	Ratio, Interval string
}

// WriteHTML writes the report: one file that needs nothing else.
func (r *Run) WriteHTML(w io.Writer) error { return r.writeHTML(w, r.Charts()) }

func (r *Run) writeHTML(w io.Writer, charts []*chart.Chart) error {
	t := r.Summary()
	p := page{
		Title: r.title(), Table: t, Findings: r.findingSentences(),
		Warnings: r.warnings(), Notes: append([]string{r.legend()}, r.reasons()...),
		Columns: pageColumns(t), Groups: pageGroups(t), Comparisons: r.pageComparisons(),
	}
	p.EstimateColumns, p.Estimates = r.sensitivityOnPage()
	var err error
	if p.Charts, err = inline(charts); err != nil {
		return err
	}
	var plan bytes.Buffer
	if err := json.Indent(&plan, r.Plan, "", "  "); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	p.Plan = plan.String()
	var b bytes.Buffer
	if err := reportTemplate.Execute(&b, p); err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

// title is the page's.
func (r *Run) title() string {
	if r.noCommits() {
		return "nbdbench: what operations cost"
	}
	return "nbdbench: what a durable write costs, and loses"
}

// inline draws charts as SVG without the prolog that only a file has. What it
// marks as safe is our own drawing, in which text is escaped.
func inline(charts []*chart.Chart) ([]pageChart, error) {
	out := make([]pageChart, len(charts))
	for i, c := range charts {
		var b bytes.Buffer
		if err := c.Write(&b, "svg"); err != nil {
			return nil, err
		}
		svg := b.Bytes()
		svg = svg[max(0, bytes.Index(svg, []byte("<svg"))):]
		out[i] = pageChart{Title: c.Title, SVG: template.HTML(svg)}
	}
	return out, nil
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
	for i, r := range t.Rows {
		if i == 0 || r.Group != t.Rows[i-1].Group {
			out = append(out, pageGroup{Name: r.Group})
		}
		row := pageRow{Class: markClasses[r.Mark]}
		for _, i := range t.PageColumns() {
			row.Values = append(row.Values, pageValue{r.Values[i].Text, t.Columns[i].Right})
		}
		g := &out[len(out)-1]
		g.Rows = append(g.Rows, row)
	}
	return out
}

func (r *Run) pageComparisons() []pageComparison {
	out := make([]pageComparison, len(r.Comparisons))
	for i, c := range r.Comparisons {
		out[i] = pageComparison{Comparison: c, Ratio: significant(c.Ratio)}
		switch {
		case c.Exact:
			out[i].Interval = "exact"
		case c.CI95 != nil:
			out[i].Ratio = formatEstimate(c.Ratio, c.CI95[0], c.CI95[1])
			out[i].Interval = formatSpan(c.CI95[0], c.CI95[1])
		}
	}
	return out
}
