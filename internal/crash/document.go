package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/internal/stack"
	"nbdbench/internal/text"
	"nbdbench/results"
	"nbdbench/results/table"
)

// Schema is that of the document.
const Schema = "nbdbench/crash/v1"

// Document is what a call of the checker found.
type Document struct {
	Schema string `json:"schema"`
	Seed   uint64 `json:"seed"`
	Fault  string `json:"fault"`
	// Hops are the proxies between client and server, the one next to the client first.
	Hops []stack.Hop `json:"hops,omitempty"`
	Cuts int64       `json:"cuts"`
	// Images were built and judged; ImagesLog2Total is the binary logarithm of
	// how many are legal, over all cuts.
	Images          uint64  `json:"images"`
	ImagesLog2Total float64 `json:"images_log2_total"`
	// Coverage is exhaustive if, of each cut, all images were built in which the
	// workload's invariant can differ. Promises and commits are always judged in
	// all images.
	Coverage      string        `json:"coverage"`
	CommitsAcked  int64         `json:"commits_acked"`
	CommitsLost   int64         `json:"commits_lost"`
	CommitsAtRisk int64         `json:"commits_at_risk"`
	Violations    []*Violation  `json:"violations"`
	Cells         []*CellResult `json:"cells"`
	Partial       bool          `json:"partial"`
	// Torn says where the history's file was cut short, by a kill of who wrote it:
	// what is before was replayed.
	Torn string `json:"history_torn,omitempty"`

	invariant bool // of a history that was replayed
}

// CellResult is what one cell showed.
type CellResult struct {
	Device   string `json:"device"`
	Workload string `json:"workload"`
	Strategy string `json:"strategy"`
	Durable  bool   `json:"durable"`
	Status   string `json:"status"` // ok, unsupported or partial
	Reason   string `json:"reason"`

	Runs            int64   `json:"runs"`
	Cuts            int64   `json:"cuts"`
	EveryMoment     bool    `json:"every_moment"` // every moment of its runs was cut
	Images          uint64  `json:"images"`
	ImagesLog2Total float64 `json:"images_log2_total"`
	ImagesLog2Max   float64 `json:"images_log2_max"` // of one cut
	CutsExhaustive  int64   `json:"cuts_exhaustive"`
	Coverage        string  `json:"coverage"`
	// InvariantBroken counts the cuts in which an image breaks the workload's
	// invariant, under a strategy that promises nothing too.
	InvariantBroken int64 `json:"invariant_broken"`
	// FirstBroken is the number of the first cut with a violation; 0 is none.
	FirstBroken int64              `json:"first_broken"`
	Durability  results.Durability `json:"durability"`
	Violations  []*Violation       `json:"violations"`
	// Promises counts the writes that were promised at the wire, over all runs.
	Promises uint64 `json:"promises"`
	// Judged says by what a history was judged that was judged by its own FLUSH and FUA:
	// invariant, check, both, or nothing. PowerCuts are those that it has.
	Judged    string `json:"judged,omitempty"`
	PowerCuts uint64 `json:"power_cuts,omitempty"`

	history       bool // it was replayed, and no workload ran
	invariant     bool // of the history, which was judged too
	everyEvent    bool
	log2, maxLog2 float64
}

// Violation is one way in which a promise is broken, in its shortest history.
type Violation struct {
	Class    history.Class   `json:"class"`
	Cell     string          `json:"cell"`
	Sector   uint64          `json:"sector"`
	Expected []devices.Stamp `json:"expected"` // the versions that would have been legal
	Found    devices.Stamp   `json:"found"`
	// CoveredBy is the FLUSH or FUA that made the promise: the event of its reply.
	CoveredBy string `json:"covered_by"`
	CutNs     int64  `json:"cut_ns"`
	CutEvent  uint64 `json:"cut_event"`
	Images    string `json:"images"` // of which set: device or contract
	Image     uint64 `json:"image"`  // its number there
	Text      string `json:"text"`
	Replay    string `json:"replay"`
	Seed      uint64 `json:"seed"`
	Requests  int    `json:"requests"` // of the shortest history

	Timeline *Timeline `json:"timeline"`
}

func newDocument(c *Config, cells []*CellResult, partial bool) *Document {
	d := &Document{
		Schema: Schema, Seed: c.Seed, invariant: c.Invariant != "", Fault: c.Fault.String(), Hops: c.Hops, Coverage: "exhaustive", Violations: []*Violation{}, Cells: []*CellResult{}, Partial: partial,
	}
	total := math.Inf(-1)
	for _, r := range cells {
		if r == nil {
			continue
		}
		r.finish()
		d.Cells = append(d.Cells, r)
		d.Cuts += r.Cuts
		d.Images += r.Images
		if r.Cuts > 0 {
			total = addLog2(total, r.log2)
		}
		if r.Coverage == "sampled" {
			d.Coverage = r.Coverage
		}
		d.CommitsAcked += r.Durability.CommitsAcked
		d.CommitsLost += r.Durability.CommitsLost
		d.CommitsAtRisk += r.Durability.CommitsAtRisk
		d.Violations = append(d.Violations, r.Violations...)
	}
	if d.Cuts > 0 {
		d.ImagesLog2Total = total
	}
	return d
}

func (r *CellResult) finish() {
	r.Coverage = "exhaustive"
	if r.CutsExhaustive < r.Cuts {
		r.Coverage = "sampled"
	}
	if r.Judged != "" {
		r.Coverage = coverageOf(r.Judged)
	}
	if r.Cuts > 0 {
		r.ImagesLog2Total, r.ImagesLog2Max = r.log2, r.maxLog2
	}
	r.EveryMoment = r.everyEvent && r.Cuts > 0
	if r.Violations == nil {
		r.Violations = []*Violation{}
	}
}

// Broken reports whether a promise was broken or a durable strategy lost a
// commit.
func (d *Document) Broken() bool { return len(d.Violations) > 0 }

// WriteJSON writes the document.
func (d *Document) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(text.JSON(w))
	e.SetIndent("", " ")
	return e.Encode(d)
}

// WriteText writes a table of the cells for a terminal of the given width, and below it
// the violations with their timelines.
func (d *Document) WriteText(w io.Writer, width int) error {
	if err := d.Table().Text(w, width); err != nil {
		return err
	}
	for _, v := range d.Violations {
		if _, err := fmt.Fprintf(w, "\n%s\n", v); err != nil {
			return err
		}
	}
	return nil
}

// Table is one row for each cell.
func (d *Document) Table() *table.Table {
	t := &table.Table{Columns: []table.Column{
		{Key: "device", Title: "device", Place: table.InPage},
		{Key: "workload", Title: "workload", Place: table.InText | table.InPage},
		{Key: "strategy", Title: "strategy", Place: table.InText | table.InPage},
		{Key: "cuts", Title: "cuts", Right: true, Place: table.InText | table.InPage},
		{Key: "images", Title: "images built", Right: true, Drop: 2, Place: table.InText | table.InPage},
		{Key: "legal", Title: "of at most", Right: true, Drop: 1, Place: table.InText | table.InPage},
		{Key: "coverage", Title: "coverage", Drop: 3, Place: table.InText | table.InPage},
		{Key: "lost", Title: "lost", Right: true, Drop: 4, Place: table.InText | table.InPage},
		{Key: "at_risk", Title: "at risk", Right: true, Place: table.InText | table.InPage},
		{Key: "verdict", Title: "verdict", Place: table.InText | table.InPage},
	}}
	for _, r := range d.Cells {
		t.Rows = append(t.Rows, r.row())
	}
	t.Notes = append([]string{d.summary()}, d.unsupported()...)
	if len(d.Hops) > 0 {
		t.Notes = append(t.Notes, "Through proxies, from the client on: "+proxies(d.Hops)+". They hold no data: a power cut of the device ends their connections.")
	}
	t.Notes = append(t.Notes, "", legend)
	switch {
	case d.ofHistory() && d.Cells[0].Judged != "":
		t.Notes = append(t.Notes[:len(t.Notes)-2], "", fmt.Sprintf(ownLegend, d.Cells[0].Promises, d.Cells[0].PowerCuts))
	case d.ofHistory():
		legend := historyLegend
		if d.invariant {
			legend = invariantLegend
		}
		t.Notes = append(t.Notes, "", legend)
	}
	if d.Torn != "" {
		t.Notes = append(t.Notes, "", "warning: "+d.Torn+": what is before it was replayed")
	}
	return t
}

// proxies names them as flags do.
func proxies(hops []stack.Hop) string {
	var names []string
	for _, h := range hops {
		names = append(names, h.String())
	}
	return strings.Join(names, ", ")
}

// ofHistory reports whether a history was replayed.
func (d *Document) ofHistory() bool { return len(d.Cells) > 0 && d.Cells[0].history }

// historyLegend says what a history is judged by.
const historyLegend = "A history has no commits and no invariant: what is judged is what it was promised, by FUA and by FLUSH; under a strategy that drops one of them, what the history asked for. " +
	"Whether an application would find its data whole is not judged: --invariant commit-record does that. nothing promised: the history has no FUA and no FLUSH."

// invariantLegend says it with --invariant.
const invariantLegend = "Of a history, what it was promised is judged, by FUA and by FLUSH, in all images; and commit-record in the images that were built. A history has no commits. " +
	"Under a strategy that drops FLUSH or FUA, what the history asked for counts as promised."

// ownLegend says what a history is judged by that is judged by its own FLUSH and FUA.
const ownLegend = "Judged by the FLUSH and FUA that the log itself has, for any drive with a volatile cache and atomic units of 4 KiB: %d writes are promised by them; power cuts in the log: %d. " +
	"--invariant commit-record looks at each FUA write, which decides all images of all cuts. --check sees five of the images of a cut. What neither was asked for is not judged."

// unsupported says why there are cells without a result: each reason, and of how
// many cells.
func (d *Document) unsupported() (notes []string) {
	cells := map[string]int{}
	var reasons []string
	for _, r := range d.Cells {
		if r.Status != "unsupported" {
			continue
		}
		if cells[r.Reason]++; cells[r.Reason] == 1 {
			reasons = append(reasons, r.Reason)
		}
	}
	for _, reason := range reasons {
		notes = append(notes, "unsupported, "+count(cells[reason], "cell")+": "+reason)
	}
	return notes
}

// count is n of something, in words.
func count[N int | int64 | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

const legend = "lost: acknowledged commits that the seeded image of a cut does not have, over all cuts; at risk: that the worst legal image does not have. " +
	"of at most: the legal images of the cut that has the most. Promises and commits are judged in all of them; images are built for the workload's invariant."

func (r *CellResult) row() table.Row {
	values := []string{r.Device, r.Workload, r.Strategy}
	if r.Status == "unsupported" {
		values = append(values, "", "", "", "", "", "", r.Status)
	} else {
		values = append(values, strconv.FormatInt(r.Cuts, 10), strconv.FormatUint(r.Images, 10), "2^"+strconv.FormatFloat(r.ImagesLog2Max, 'f', 0, 64),
			r.coverage(), r.commits(r.Durability.CommitsLost), r.commits(r.Durability.CommitsAtRisk), r.verdict())
	}
	row := table.Row{Group: r.Device}
	for _, v := range values {
		row.Values = append(row.Values, table.Value{Text: v})
	}
	return row
}

// commits is a number of commits, of which a history knows nothing.
func (r *CellResult) commits(n int64) string {
	if r.history {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func (r *CellResult) coverage() string {
	if r.EveryMoment {
		return r.Coverage + ", every moment"
	}
	return r.Coverage
}

func (r *CellResult) verdict() string {
	switch {
	case r.Judged == "nothing":
		return "not judged"
	case r.Judged != "" && len(r.Violations) > 0:
		return fmt.Sprintf("VIOLATED: at %d of %d moments", r.InvariantBroken, r.Cuts)
	case r.Judged != "" && r.Cuts == 0:
		return "not judged: no FUA write"
	case r.Judged == "invariant":
		return "invariant holds"
	case r.Judged != "":
		return "no image failed"
	case len(r.Violations) > 0:
		var classes []string
		for _, v := range r.Violations {
			classes = append(classes, string(v.Class))
		}
		return "VIOLATED: " + strings.Join(classes, ", ")
	case r.history && r.Promises == 0:
		return "nothing promised" + r.alsoHolds()
	case r.history:
		return "promises kept" + r.alsoHolds()
	case r.InvariantBroken > 0:
		return fmt.Sprintf("invariant broken at %d cuts", r.InvariantBroken)
	case r.Durability.CommitsAtRisk > 0:
		return "loses commits"
	}
	return "kept"
}

// alsoHolds is what a verdict says of the invariant of a history.
func (r *CellResult) alsoHolds() string {
	if r.invariant {
		return ", invariant holds"
	}
	return ""
}

func (d *Document) summary() string {
	if d.ofHistory() {
		return fmt.Sprintf("%s, %s built, coverage %s; %s.", count(d.Cuts, "cut"), count(d.Images, "image"), d.Coverage, count(len(d.Violations), "violation"))
	}
	return fmt.Sprintf("%s, %s built, coverage %s; %s acknowledged before them, %d lost, %d at risk; %s.",
		count(d.Cuts, "cut"), count(d.Images, "image"), d.Coverage, count(d.CommitsAcked, "commit"), d.CommitsLost, d.CommitsAtRisk, count(len(d.Violations), "violation"))
}
