package table

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/tw"

	"nbdbench/internal/text"
)

// Width is how wide a text table is where nobody says, and its notes at most.
// MaxWidth bounds the grid of a wider one.
const (
	Width    = 120
	MaxWidth = 240
)

// Place is where a column is shown.
type Place uint8

// The places.
const (
	InText Place = 1 << iota // a terminal's table
	InPage                   // Markdown and HTML
	InData                   // CSV and JSON
)

// Column is one column of a table.
type Column struct {
	Key   string // in CSV and JSON
	Title string
	Right bool // numbers
	// Where room is short, columns change one after the other, in rising order of
	// Shorten and Drop; 0 is never. A shortened column's cells end before the first of
	// the characters in Cut, and a dropped one is left out.
	Shorten, Drop int
	Cut           string
	Heading       bool // where groups have headings, on a page of HTML, they say it already
	Place         Place
}

// Value is one cell of a table: as people read it and as machines do.
type Value struct {
	Text string
	Data any // nil where there is none
}

// Mark is how a row stands out on a page of HTML.
type Mark uint8

// The marks.
const (
	Unmarked  Mark = iota
	Best           // the best of its group
	Qualified      // not to be ranked: not durable, or without a result
)

// Row is one row. Rows of one group follow each other.
type Row struct {
	Group  string
	Values []Value
	Mark   Mark
}

// Table is a table of any format, with what stands above and below it.
type Table struct {
	Head    []string
	Columns []Column
	Rows    []Row
	Notes   []string // wrapped when they are printed; an empty one is a gap
}

// view is the columns of a table that are shown, by their index.
type view struct {
	*Table
	columns []int
	step    int // of Column.Shorten and Drop, up to which room was made
}

func (t *Table) at(p Place) view {
	v := view{Table: t}
	for i, c := range t.Columns {
		if c.Place&p != 0 {
			v.columns = append(v.columns, i)
		}
	}
	return v
}

// PageColumns are the indexes of the columns that a page of HTML shows.
func (t *Table) PageColumns() []int {
	return slices.DeleteFunc(t.at(InPage).columns, func(i int) bool { return t.Columns[i].Heading })
}

// Remove takes the column of this key out of the table, if it has one.
func (t *Table) Remove(key string) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Key == key })
	if i < 0 {
		return
	}
	t.Columns = slices.Delete(t.Columns, i, i+1)
	for k := range t.Rows {
		t.Rows[k].Values = slices.Delete(t.Rows[k].Values, i, i+1)
	}
}

// text is what the view shows of a cell.
func (v *view) text(row Row, column int) string {
	s := text.Line(row.Values[column].Text)
	if c := &v.Columns[column]; c.Shorten > 0 && c.Shorten <= v.step {
		if i := strings.IndexAny(s, c.Cut); i > 0 {
			s = strings.TrimRight(s[:i], " ")
		}
	}
	return s
}

func (v *view) width(column int) int {
	w := runes(v.Columns[column].Title)
	for _, r := range v.Rows {
		w = max(w, runes(v.text(r, column)))
	}
	return w
}

// gap is between two columns.
const gap = 2

func (v *view) total() int {
	sum := -gap
	for _, c := range v.columns {
		sum += v.width(c) + gap
	}
	return sum
}

// fit makes the view narrower, step by step, until it fits.
func (v *view) fit(width int) {
	for v.total() > width {
		next := 0
		for _, i := range v.columns {
			c := &v.Columns[i]
			for _, n := range [2]int{c.Shorten, c.Drop} {
				if n > v.step && (next == 0 || n < next) {
					next = n
				}
			}
		}
		if next == 0 {
			return
		}
		v.step = next
		v.columns = slices.DeleteFunc(v.columns, func(i int) bool { return v.Columns[i].Drop == next })
	}
}

// Text writes the table for a terminal of the given width, at most MaxWidth; 0 is
// Width.
func (t *Table) Text(w io.Writer, width int) error {
	lines, err := t.Lines(width)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text + "\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// Line is a line of a table's text. Lines that are no rows are unmarked.
type Line struct {
	Text string
	Mark Mark
}

// Lines are what Text writes, without characters that a terminal acts on.
func (t *Table) Lines(width int) ([]Line, error) {
	width = min(cmp.Or(max(width, 0), Width), MaxWidth)
	prose := min(width, Width)
	v := t.at(InText)
	v.fit(width)
	grid, err := v.grid()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range t.Head {
		out = append(out, wrap(text.Line(l), prose, "  ")...)
	}
	marks := make([]Mark, len(out)+1)
	rows, of := v.grouped(grid)
	out, marks = append(append(out, ""), rows...), append(marks, of...)
	if len(t.Notes) > 0 {
		out = append(out, "")
	}
	for _, n := range t.Notes {
		out = append(out, wrap(text.Line(n), prose, "  ")...)
	}
	lines := make([]Line, len(out))
	for i, l := range out {
		lines[i].Text = truncate(strings.TrimRight(l, " "), width)
		if i < len(marks) {
			lines[i].Mark = marks[i]
		}
	}
	return lines, nil
}

func truncate(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// grid is the header, its rule and one line for each row.
func (v *view) grid() ([]string, error) {
	var b bytes.Buffer
	align := make(tw.Alignment, len(v.columns))
	header := make([]any, len(v.columns))
	for i, c := range v.columns {
		header[i], align[i] = v.Columns[c].Title, tw.AlignLeft
		if v.Columns[c].Right {
			align[i] = tw.AlignRight
		}
	}
	t := newGrid(&b, align)
	t.Header(header...)
	for _, r := range v.Rows {
		line := make([]any, len(v.columns))
		for i, c := range v.columns {
			line[i] = v.text(r, c)
		}
		if err := t.Append(line...); err != nil {
			return nil, fmt.Errorf("table: %w", err)
		}
	}
	if err := t.Render(); err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(lines) != len(v.Rows)+2 {
		return nil, fmt.Errorf("table: %d lines for %d rows", len(lines), len(v.Rows))
	}
	lines[1] = strings.Repeat("─", v.total()) // the table's own has the last column's padding too
	return lines, nil
}

// newGrid is a table with a rule below its header and nothing else drawn.
func newGrid(w io.Writer, align tw.Alignment) *tablewriter.Table {
	columns := tw.CellAlignment{PerColumn: align}
	padding := tw.Padding{Right: strings.Repeat(" ", gap), Overwrite: true}
	return tablewriter.NewTable(
		w,
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone), tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithHeaderAlignmentConfig(columns), tablewriter.WithRowAlignmentConfig(columns),
		tablewriter.WithPadding(padding),
		tablewriter.WithRendition(tw.Rendition{
			Borders: tw.BorderNone, Symbols: tw.NewSymbols(tw.StyleLight),
			Settings: tw.Settings{Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off}},
		}),
	)
}

// grouped puts each group's name above its rows, and has the mark of each line.
func (v *view) grouped(grid []string) (out []string, marks []Mark) {
	out = slices.Clone(grid[:2])
	for i, l := range grid[2:] {
		if g := v.Rows[i].Group; i == 0 || g != v.Rows[i-1].Group {
			if i > 0 {
				out = append(out, "")
			}
			if g != "" {
				out = append(out, text.Line(g))
			}
		}
		marks = append(marks, make([]Mark, len(out)-len(marks))...)
		out, marks = append(out, l), append(marks, v.Rows[i].Mark)
	}
	return out, marks
}

var markdownEscape = strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "\n", " ")

// Markdown writes the table in GitHub's dialect.
func (t *Table) Markdown(w io.Writer) error {
	var b strings.Builder
	for _, l := range t.Head {
		b.WriteString(markdownEscape.Replace(l) + "  \n")
	}
	v := t.at(InPage)
	b.WriteString("\n|")
	for _, c := range v.columns {
		b.WriteString(" " + markdownEscape.Replace(t.Columns[c].Title) + " |")
	}
	b.WriteString("\n|")
	for _, c := range v.columns {
		b.WriteString(map[bool]string{true: " ---: |", false: " --- |"}[t.Columns[c].Right])
	}
	b.WriteString("\n")
	for _, r := range t.Rows {
		b.WriteString("|")
		for _, c := range v.columns {
			b.WriteString(" " + markdownEscape.Replace(r.Values[c].Text) + " |")
		}
		b.WriteString("\n")
	}
	for _, n := range t.Notes {
		if n == "" {
			continue
		}
		b.WriteString("\n" + markdownEscape.Replace(n) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// CSV writes the table's data with a header of keys; what is not observable is
// empty. No text is a formula to a spreadsheet.
func (t *Table) CSV(w io.Writer) error {
	v, out := t.at(InData), csv.NewWriter(w)
	line := make([]string, len(v.columns))
	for i, c := range v.columns {
		line[i] = t.Columns[c].Key
	}
	rows := [][]string{slices.Clone(line)}
	for _, r := range t.Rows {
		for i, c := range v.columns {
			line[i] = ""
			if d := r.Values[c].Data; d != nil {
				line[i] = fmt.Sprint(d)
				if s, ok := d.(string); ok {
					line[i] = text.Cell(s)
				}
			}
		}
		rows = append(rows, slices.Clone(line))
	}
	return out.WriteAll(rows)
}

// JSON writes the table's data as an array of objects, keys in column order.
func (t *Table) JSON(w io.Writer) error {
	v := t.at(InData)
	var b bytes.Buffer
	b.WriteString("[")
	for i, r := range t.Rows {
		b.WriteString(map[bool]string{true: "\n {", false: ",\n {"}[i == 0])
		for k, c := range v.columns {
			value, err := json.Marshal(r.Values[c].Data)
			if err != nil {
				return fmt.Errorf("table: column %s: %w", t.Columns[c].Key, err)
			}
			if k > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, "%q:%s", t.Columns[c].Key, value)
		}
		b.WriteString("}")
	}
	b.WriteString("\n]\n")
	_, err := w.Write(text.EscapeJSON(b.Bytes()))
	return err
}

// wrap breaks text at spaces into lines of at most width runes; the lines after
// the first begin with indent.
func wrap(text string, width int, indent string) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case runes(line)+1+runes(word) > width:
			lines = append(lines, line)
			line = indent + word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

func runes(s string) int { return len([]rune(s)) }
