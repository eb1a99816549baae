package results

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"

	"nbdbench/results/chart"
	"nbdbench/results/table"
)

// The parts of a page: its frame, its style sheet and the one script, which adds to a
// page that works without it.
var (
	//go:embed page.html.tmpl
	pageText string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
)

var pageTemplate = template.Must(template.New(FileReport).Parse(pageText))

// pagePolicy forbids requests, and any script but the page's own.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageScript))
	return "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// page is what the template shows.
type page struct {
	Title    string
	Head     []string
	Contents []pageLink
	Matrix   *pageMatrix
	Many     bool // lists are folded

	FindingsTitle      string
	Findings, Warnings []string

	TableTitle, Caption string
	Columns             []table.Column
	Sections            []pageSection
	Toggles             []string // strategies
	Notes               []string

	Explorer   pageExplorer
	Charts     []pageChart
	Folded     bool // each chart is in closed details
	MoreCharts string

	Comparisons        []pageComparison
	ComparisonsCaption string
	// Estimates are the rows of SensitivityTable, none where nothing was varied.
	Estimates       []pageGroup
	EstimateColumns []table.Column
	Plan, Footer    string
}

// Policy is the page's Content-Security-Policy.
func (p *page) Policy() string { return pagePolicy }

// Style is the style sheet.
func (p *page) Style() template.CSS { return template.CSS(pageStyle + p.alignment()) }

// Script is the script.
func (p *page) Script() template.JS { return template.JS(pageScript) }

// alignment is the style of columns of numbers: once, and not in each cell.
func (p *page) alignment() (s string) {
	for i, c := range p.Columns {
		if c.Right {
			s += fmt.Sprintf("table.cells tr:not(.group) :is(td,th):nth-child(%d){text-align:right}\n", i+1)
		}
	}
	return s
}

type pageLink struct{ ID, Name string }

// pageSection is one table of cells; with a name it is in closed details.
type pageSection struct {
	Name   string
	Groups []pageGroup
}

type pageGroup struct {
	Name, ID string
	Rows     []pageRow

	device string
}

type pageRow struct {
	Class  string
	Values []string
}

type pageChart struct {
	Title, ID string
	SVG       template.HTML
}

type pageComparison struct {
	Comparison
	Ratio, Interval string
}

type pageMatrix struct {
	Caption string
	Columns []string
	Rows    []pageMatrixRow
}

type pageMatrixRow struct {
	Name  string
	Cells []pageWinner
}

type pageWinner struct{ Winner, Note, Class, Ref string }

// pageExplorer is the data of the chart that the script draws.
type pageExplorer struct {
	Groups []exploredGroup `json:"groups"`
}

type exploredGroup struct {
	Name   string          `json:"name"`
	Curves []exploredCurve `json:"curves"`
}

// exploredCurve has latencies in ns by -log10 of the share of commits beyond.
type exploredCurve struct {
	Name  string    `json:"name"`
	Color string    `json:"color"`
	Dash  string    `json:"dash"`
	X     []float64 `json:"x"`
	NS    []int64   `json:"ns"`
}

func groupID(i int) string { return fmt.Sprintf("group%d", i) }

// setGroups lays out the rows: in one table, or of many in one for each section.
func (p *page) setGroups(groups []pageGroup, section func(*pageGroup) string) {
	for i := range groups {
		g := &groups[i]
		g.ID = groupID(i)
		name := ""
		if p.Many {
			name = section(g)
		}
		if n := len(p.Sections); n == 0 || p.Sections[n-1].Name != name {
			p.Sections = append(p.Sections, pageSection{Name: name})
		}
		s := &p.Sections[len(p.Sections)-1]
		s.Groups = append(s.Groups, *g)
	}
}

// addCharts draws charts as SVG without the prolog that only a file has, as far as
// there is room. What it marks as safe is our own drawing, in which text is escaped.
func (p *page) addCharts(charts []*chart.Chart) error {
	p.Folded = len(charts) > manyCharts
	room := maxChartBytes
	for i, c := range charts {
		var b bytes.Buffer
		if err := c.Write(&b, "svg"); err != nil {
			return err
		}
		svg := b.Bytes()
		svg = svg[max(0, bytes.Index(svg, []byte("<svg"))):]
		if room -= len(svg); room < 0 {
			p.MoreCharts = fmt.Sprintf("%d more charts are in the directory %s of the run.", len(charts)-i, DirCharts)
			return nil
		}
		p.Charts = append(p.Charts, pageChart{Title: c.Title, ID: "chart-" + c.Name, SVG: template.HTML(svg)})
	}
	return nil
}

// contents lists the page's parts.
func (p *page) contents() (out []pageLink) {
	for _, l := range []struct {
		there bool
		link  pageLink
	}{
		{p.Matrix != nil, pageLink{"winners", "Winners"}},
		{len(p.Findings) > 0, pageLink{"verdicts", p.FindingsTitle}},
		{len(p.Warnings) > 0, pageLink{"warnings", "Warnings"}},
		{true, pageLink{"cells", p.TableTitle}},
		{len(p.Charts) > 0, pageLink{"charts", "Charts"}},
		{len(p.Comparisons) > 0, pageLink{"comparisons", "Comparisons"}},
		{len(p.Estimates) > 0, pageLink{"estimates", "What a verdict depends on"}},
		{p.Plan != "", pageLink{"plan", "Plan"}},
	} {
		if l.there {
			out = append(out, l.link)
		}
	}
	return out
}

func (p *page) write(w io.Writer) error {
	p.Contents = p.contents()
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// exploredStep is how far apart the points of an explored curve are, as a power of ten
// of the share beyond.
const exploredStep = 0.1

// explored is the cell's curve for the script, over all runs.
func (c *Cell) explored(name string) (e exploredCurve, ok bool) {
	d := c.Commits()
	if d.Count() == 0 {
		return e, false
	}
	l := lookOf(name)
	e = exploredCurve{Name: name, Color: fmt.Sprintf("#%02x%02x%02x", l.color.R, l.color.G, l.color.B)}
	for i, n := range l.dash {
		if i > 0 {
			e.Dash += " "
		}
		e.Dash += fmt.Sprint(float64(n))
	}
	end := math.Log10(float64(d.n) / minBeyond)
	seen, k := int64(0), 0
	for x := 0.0; ; x = min(x+exploredStep, end) {
		rank := rankBeyond(x, d.n)
		for seen+d.buckets[k].count < rank {
			seen += d.buckets[k].count
			k++
		}
		e.X, e.NS = append(e.X, math.Round(x*1000)/1000), append(e.NS, d.clamp(d.buckets[k].value))
		if x >= end {
			return e, true
		}
	}
}

// explorer has the curves of the groups; of very many cells none.
func (r *Run) explorer() (out pageExplorer) {
	if len(r.Cells) > maxExplored {
		return out
	}
	for _, g := range r.groups() {
		e := exploredGroup{Name: subject(g.device, g.workload, g.at)}
		for _, c := range g.cells {
			if curve, ok := c.explored(c.Strategy); ok && c.usable() {
				e.Curves = append(e.Curves, curve)
			}
		}
		if e.Curves != nil {
			out.Groups = append(out.Groups, e)
		}
	}
	return out
}
