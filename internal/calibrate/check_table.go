package calibrate

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"nbdbench/devices/catalog"
	"nbdbench/internal/text"
	"nbdbench/results/table"
)

// checkColumns are the columns of a check's table. In text a row's device stands
// above it.
var checkColumns = []table.Column{
	{Key: "device", Title: "device", Place: table.InPage | table.InData},
	{Key: "op", Title: "op", Place: everywhere},
	{Key: "jobs", Title: "jobs", Right: true, Place: everywhere},
	{Key: "published", Title: "published", Right: true, Place: everywhere},
	{Key: "simulated", Title: "simulated", Right: true, Place: everywhere},
	{Key: "unit", Title: "unit", Place: everywhere},
	{Key: "ratio", Title: "ratio", Right: true, Place: everywhere},
	{Key: "tolerance", Title: "within", Right: true, Place: everywhere},
	{Key: "ok", Title: "ok", Place: everywhere},
	{Key: "kind", Title: "kind", Drop: 3, Place: everywhere},
	{Key: "sets", Title: "sets", Drop: 1, Place: everywhere},
	{Key: "confidence", Title: "confidence", Drop: 2, Place: everywhere},
	{Key: "source", Title: "source", Place: table.InPage | table.InData},
}

const everywhere = table.InText | table.InPage | table.InData

// Table is the check for people.
func (c *Check) Table() *table.Table {
	t := &table.Table{Columns: checkColumns, Head: []string{c.headline()}, Notes: c.notes()}
	for i := range c.Rows {
		r := &c.Rows[i]
		verdict := "ok"
		if !r.OK {
			verdict = "OUT"
		}
		sets := strings.Join(r.Sets, ", ")
		t.Rows = append(t.Rows, table.Row{Group: r.Device, Values: []table.Value{
			{Text: r.Device, Data: r.Device},
			{Text: r.Op, Data: r.Op},
			{Text: strconv.Itoa(r.Jobs), Data: r.Jobs},
			{Text: r.published(), Data: r.Published},
			{Text: figure(r.Simulated), Data: r.Simulated},
			{Text: r.Unit, Data: r.Unit},
			{Text: fmt.Sprintf("%.3f", r.Ratio), Data: r.Ratio},
			{Text: fmt.Sprintf("±%.0f%%", 100*r.Tolerance), Data: r.Tolerance},
			{Text: verdict, Data: r.OK},
			{Text: string(r.Kind), Data: string(r.Kind)},
			{Text: sets, Data: r.Sets},
			{Text: r.Confidence, Data: r.Confidence},
			{Text: r.Source, Data: r.Source},
		}})
	}
	return t
}

// published is the published figure, or the two of sources that disagree.
func (r *CheckRow) published() string {
	if len(r.Range) == 0 {
		return figure(r.Published)
	}
	return figure(r.Range[0]) + "-" + figure(r.Range[1])
}

// figure prints a figure with four digits or more, as figures are published.
func figure(x float64) string {
	switch {
	case x >= 1000:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 100:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

func (c *Check) headline() string {
	kinds, out := map[catalog.RowKind]int{}, map[catalog.RowKind]int{}
	for i := range c.Rows {
		kinds[c.Rows[i].Kind]++
		if !c.Rows[i].OK {
			out[c.Rows[i].Kind]++
		}
	}
	text := fmt.Sprintf("%d published figures", len(c.Rows))
	for _, k := range []catalog.RowKind{catalog.Fitted, catalog.Derived, catalog.Predicted} {
		text += fmt.Sprintf(" · %d of %d %s in tolerance", kinds[k]-out[k], kinds[k], k)
	}
	return text
}

func (c *Check) notes() []string {
	var notes []string
	if len(c.Rows) > 0 {
		notes = append(notes, "Fitted: the parameters under sets were chosen to match this figure. Derived: the reference is our own formula, not a measurement. "+
			"Predicted: no parameter was chosen to match it. Simulated on the device itself, in virtual time, without server, wire and host.")
	}
	for i := range c.Rows {
		if r := &c.Rows[i]; !r.OK {
			notes = append(notes, fmt.Sprintf("OUT: %s, %s, jobs %d: %.2f times the published %s %s (%s).",
				r.Device, r.Op, r.Jobs, r.Ratio, figure(r.Published), r.Unit, r.Source))
		}
	}
	if len(c.without) > 0 {
		notes = append(notes, "Nothing is published of "+strings.Join(c.without, ", ")+".")
	}
	return notes
}

// WriteText writes the check for a terminal of the given width.
func (c *Check) WriteText(w io.Writer, width int) error {
	if len(c.Rows) > 0 {
		return c.Table().Text(w, width)
	}
	_, err := fmt.Fprintln(w, strings.Join(c.notes(), "\n"))
	return err
}

// WriteJSON writes the check's document.
func (c *Check) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(text.JSON(w))
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(c)
}
