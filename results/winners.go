package results

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

const (
	winnerRow    = 24
	winnerHead   = 26
	winnerRows   = 40 // devices in one figure
	winnerColumn = 6  // workloads in one figure
	leastWinners = 2  // devices or workloads: one alone needs no map
)

// winners are the figures with the winner of every device and workload: a map for who
// looks for a pattern.
func (r *Run) winners() (out []*chart.Chart) {
	m := r.matrix()
	if m == nil || len(m.Rows) < leastWinners && len(m.Columns) < leastWinners {
		return nil
	}
	for i := 0; i < len(m.Rows); i += winnerRows {
		for k := 0; k < len(m.Columns); k += winnerColumn {
			part := &pageMatrix{Columns: m.Columns[k:min(k+winnerColumn, len(m.Columns))]}
			for _, row := range m.Rows[i:min(i+winnerRows, len(m.Rows))] {
				row.Cells = row.Cells[k:min(k+winnerColumn, len(row.Cells))]
				part.Rows = append(part.Rows, row)
			}
			out = append(out, r.winnersPage(part))
		}
	}
	return out
}

// winnersTitle says who a winner is.
func (r *Run) winnersTitle() string {
	if r.noCommits() {
		return "The fastest strategy"
	}
	return "The fastest strategy that kept every commit"
}

func (r *Run) winnersPage(m *pageMatrix) *chart.Chart {
	fr := chart.Frame{
		Title:    r.winnersTitle(),
		Subtitle: "by device and workload; then the next, and how many times as long it takes",
		Footer:   r.footer("= : equivalent. or: not separated by the runs that there are."),
	}
	return fr.Chart("winners", vg.Length(winnerHead+winnerRow*len(m.Rows)), func(c draw.Canvas) { drawWinners(c, m) })
}

func drawWinners(c draw.Canvas, m *pageMatrix) {
	bold := chart.Bold(chart.TextSize, chart.Ink)
	names := vg.Length(0)
	for _, row := range m.Rows {
		names = max(names, bold.Width(row.Name))
	}
	names = min(names, maxName) + 8
	width := (c.Max.X - c.Min.X - names) / vg.Length(len(m.Columns))
	for k, name := range m.Columns {
		c.FillText(chart.Centred(bold), vg.Point{X: c.Min.X + names + (vg.Length(k)+0.5)*width, Y: c.Max.Y - 4}, chart.Shorten(bold, name, width-6))
	}
	for i, row := range m.Rows {
		top := c.Max.Y - winnerHead - vg.Length(i)*winnerRow
		c.FillText(chart.Rightward(bold), vg.Point{X: c.Min.X, Y: top - winnerRow/2}, chart.Shorten(bold, row.Name, names-8))
		for k := range row.Cells {
			left := c.Min.X + names + vg.Length(k)*width
			box := vg.Rectangle{Min: vg.Point{X: left + 1, Y: top - winnerRow + 1}, Max: vg.Point{X: left + width - 1, Y: top - 1}}
			row.Cells[k].draw(c, box)
		}
	}
}

// draw fills the box of one winner with its colour, and writes who it is.
func (w *pageWinner) draw(c draw.Canvas, box vg.Rectangle) {
	if w.Winner == "" {
		return
	}
	var fill color.Color = chart.Rule
	if w.Class == OutcomeWins {
		fill = chart.Translucent(lookOf(w.Winner).color)
	}
	c.FillPolygon(fill, chart.Corners(box))
	name, note := chart.Bold(chart.SmallSize, chart.Ink), chart.Letter(chart.SmallSize-1, chart.Faint)
	middle, y := (box.Min.X+box.Max.X)/2, box.Max.Y-2
	if w.Note == "" {
		y -= 4
	}
	room := box.Max.X - box.Min.X - 4
	c.FillText(chart.Centred(name), vg.Point{X: middle, Y: y}, chart.Shorten(name, w.Winner, room))
	if w.Note != "" {
		c.FillText(chart.Centred(note), vg.Point{X: middle, Y: box.Max.Y - 12}, chart.Shorten(note, w.Note, room))
	}
}
