package torture

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"nbdbench/results/table"
)

// Schema is that of the document.
const Schema = "nbdbench/torture/v1"

// Outcome is what became of one power cut.
type Outcome uint8

// The outcomes, which add up to the cuts.
const (
	Kept        Outcome = iota // all that was acknowledged is there
	Bounded                    // what is missing is within --allow-loss
	Lost                       // something that was acknowledged is missing
	Corrupt                    // what is there contradicts itself
	Unmountable                // the file system does not mount
)

func (o Outcome) String() string {
	return [...]string{"kept", "bounded", "lost", "corrupt", "unmountable"}[o]
}

// failed reports whether an outcome is a failure of the program or of what is below it.
func (o Outcome) failed() bool { return o >= Lost }

// viaImage is Document.Via of an image that is checked again.
const viaImage = "image"

// Document is what a run found.
type Document struct {
	Schema string `json:"schema"`
	Via    string `json:"via"`
	// Commands is which of the commands that make data durable reach the device.
	Commands string  `json:"commands"`
	Seed     uint64  `json:"seed"`
	Image    string  `json:"image"`
	Partial  bool    `json:"partial"`
	Cells    []*Cell `json:"cells"`
}

// Cell is one program on one file system on one device.
type Cell struct {
	Device      string `json:"device"`
	Strategy    string `json:"strategy"`
	FS          string `json:"fs"`
	App         string `json:"app"`
	Cuts        int    `json:"cuts"`
	Kept        int    `json:"kept"`
	Bounded     int    `json:"bounded"`
	Lost        int    `json:"lost"`
	Corrupt     int    `json:"corrupt"`
	Unmountable int    `json:"unmountable"`
	Acks        int    `json:"acks"`      // lines acknowledged before the last cut
	AcksLost    int    `json:"acks_lost"` // the most that one cut lost, as the check said
	// MaxLostWindowNS is the longest time from the oldest lost acknowledgement to its
	// cut, if the checks said how many they lost; else 0.
	MaxLostWindowNS int64    `json:"max_lost_window_ns"`
	Torn            int      `json:"torn"` // torn pages, as the checks said
	Fsck            int      `json:"fsck"` // images in which fsck found errors
	MaxExposedBytes uint64   `json:"max_exposed_bytes"`
	FirstFailure    *Failure `json:"first_failure"`
	// Requests that the device has completed.
	Reads   uint64 `json:"reads"`
	Writes  uint64 `json:"writes"`
	Flushes uint64 `json:"flushes"`
	Zeroes  uint64 `json:"zeroes"`
}

// Failure is the first cut that failed.
type Failure struct {
	Seed    uint64 `json:"seed"`
	Cut     int    `json:"cut"` // from 1
	Outcome string `json:"outcome"`
	Image   string `json:"image"` // the kept image's file
	Replay  string `json:"replay"`
	// Reduced is the image with fewer losses; null if none was sought.
	Reduced *Reduced `json:"reduced"`
}

// count adds a cut.
func (c *Cell) count(o Outcome) {
	c.Cuts++
	*[...]*int{&c.Kept, &c.Bounded, &c.Lost, &c.Corrupt, &c.Unmountable}[o]++
}

// Failed reports whether anything was lost, corrupt or unmountable.
func (d *Document) Failed() bool {
	for _, c := range d.Cells {
		if c.Lost+c.Corrupt+c.Unmountable > 0 {
			return true
		}
	}
	return false
}

// JSON writes the document.
func (d *Document) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// Text writes a table, and what a reader of it has to know.
func (d *Document) Text(w io.Writer) error { return d.Table().Text(w, table.Width) }

// notes say what the table does not.
func (d *Document) notes() (notes []string) {
	if d.Partial {
		notes = append(notes, "interrupted: the cuts so far")
	}
	for _, c := range d.Cells {
		if d.Via != viaImage {
			notes = append(notes, fmt.Sprintf("via %s, %s: of what makes data durable, the device gets %s; %d writes, %d flushes; image %s, seed %d. A run in real time does not repeat by its seed.",
				d.Via, c.Strategy, d.Commands, c.Writes, c.Flushes, d.Image, d.Seed))
		}
		if c.MaxLostWindowNS > 0 {
			notes = append(notes, "the oldest loss was acknowledged "+time.Duration(c.MaxLostWindowNS).Round(10*time.Microsecond).String()+" before its cut")
		}
		if c.Acks == 0 && c.Cuts > 0 {
			notes = append(notes, "nothing was acknowledged: the check alone decided")
		}
		if c.Fsck > 0 {
			notes = append(notes, fmt.Sprintf("fsck found errors in %d of %d images", c.Fsck, c.Cuts))
		}
		if f := c.FirstFailure; f != nil {
			notes = append(notes, fmt.Sprintf("first failure: cut %d, %s; check it again: %s", f.Cut, f.Outcome, f.Replay))
			if f.Reduced != nil {
				notes = append(notes, f.Reduced.String())
			}
		}
	}
	return notes
}

// Markdown writes the table for a document.
func (d *Document) Markdown(w io.Writer) error { return d.Table().Markdown(w) }

// Table has a row for each cell.
func (d *Document) Table() *table.Table {
	everywhere := table.InText | table.InPage
	t := &table.Table{Notes: d.notes(), Columns: []table.Column{
		{Key: "device", Title: "device", Place: everywhere},
		{Key: "fs", Title: "fs", Place: everywhere},
		{Key: "program", Title: "program", Place: everywhere},
	}}
	for _, c := range []string{"cuts", "kept", "bounded", "lost", "corrupt", "unmountable", "acks", "most lost"} {
		t.Columns = append(t.Columns, table.Column{Key: c, Title: c, Right: true, Place: everywhere})
	}
	for _, c := range d.Cells {
		row := table.Row{Values: []table.Value{{Text: c.Device}, {Text: c.FS}, {Text: c.App}}}
		for _, n := range []int{c.Cuts, c.Kept, c.Bounded, c.Lost, c.Corrupt, c.Unmountable, c.Acks, c.AcksLost} {
			row.Values = append(row.Values, table.Value{Text: strconv.Itoa(n), Data: n})
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
