package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"nbdbench/internal/text"
	"nbdbench/sim"
)

// Schema names the run document's format.
const Schema = "nbdbench/run/v1"

// Tool says what made a document.
type Tool struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	// Revision is the commit that the program was built from, and Modified says that
	// the source was not as that commit has it. Empty where the build does not know.
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
}

// Host describes the machine, where a real clock makes it matter.
type Host struct {
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Kernel  string `json:"kernel"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Started string `json:"started"` // RFC 3339, UTC
	// RoundTrip is the median latency of a write over the run's kind of socket to
	// a device that takes no time; null where it was not measured.
	RoundTrip *sim.Duration `json:"socket_round_trip_ns"`
	// Governor is that of the processors' frequency: of each kind once.
	Governor   *string      `json:"governor"`
	LoadBefore *LoadAverage `json:"load_before"`
	LoadAfter  *LoadAverage `json:"load_after"`
	Target     *Target      `json:"target"` // null where the run has its own server
	// Storage is the host's storage that stands for devices, by its name in the cells'
	// ids.
	Storage map[string]*Storage `json:"storage,omitempty"`
}

// Run is the document of one benchmark: what run.json holds. Make it with
// NewRun, Add its cells in the plan's order, then Finish.
type Run struct {
	Schema string          `json:"schema"`
	Tool   Tool            `json:"tool"`
	Host   *Host           `json:"host"`
	Plan   json.RawMessage `json:"plan"`
	// Devices and Workloads are the profiles that the cells were made with, by their
	// names in the cells' ids. Documents of earlier programs have none.
	Devices   map[string]*Stored `json:"devices,omitempty"`
	Workloads map[string]*Stored `json:"workloads,omitempty"`
	Seed      sim.Seed           `json:"seed"`
	Partial   bool               `json:"partial"` // interrupted: some cell has fewer runs than planned
	// Decide is the one metric that decides verdicts.
	Decide string `json:"decide"`
	// Order is the cells' ids in the order in which a run in real time measured
	// them, block by block; null in virtual time, where it changes nothing.
	Order       [][]string   `json:"order"`
	Cells       []*Cell      `json:"cells"`
	Comparisons []Comparison `json:"comparisons"`
	Verdicts    []Verdict    `json:"verdicts"`
	// Crossovers are, in a sweep, the verdicts along each axis.
	Crossovers []Crossover `json:"crossovers,omitempty"`
	// FindMax is a search for the highest load; then there are no comparisons and no
	// verdicts: each cell has another load.
	FindMax *FindMax `json:"find_max,omitempty"`
	// Models are how far simulated devices are off the host's storage beside them.
	Models     []ModelError `json:"models,omitempty"`
	Thresholds []Threshold  `json:"thresholds"`
	// Sensitivity is null where no parameter was varied.
	Sensitivity []Sensitivity `json:"sensitivity,omitzero"`

	compared             *comparisonIndex // made when it is needed
	path                 string           // that it was read from
	planLine, planColumn int              // of Plan there
}

// NewRun returns a document without cells. Plan is any JSON value.
func NewRun(tool Tool, plan json.RawMessage, seed sim.Seed) *Run {
	if plan == nil {
		plan = json.RawMessage("{}")
	}
	return &Run{Schema: Schema, Tool: tool, Plan: plan, Seed: seed, Decide: metricNames[metricP99], Cells: []*Cell{}, Thresholds: []Threshold{}}
}

// Add appends a cell.
func (r *Run) Add(c *Cell) { r.Cells = append(r.Cells, c) }

// Finish computes everything that follows from the cells' runs: figures,
// intervals, comparisons and verdicts. It is called once, after the last Add.
func (r *Run) Finish() {
	for _, c := range r.Cells {
		c.summarise(r.decide())
		r.Partial = r.Partial || c.Status == StatusPartial
	}
	r.conclude()
}

// conclude computes what follows from more than one cell.
func (r *Run) conclude() {
	for _, g := range r.groups() {
		for _, c := range g.cells {
			if g.drift != "" && c.usable() {
				c.Warn("%s", g.drift)
			}
		}
	}
	r.compareAll()
	r.addModels()
	r.judge()
	r.addCrossovers()
	r.addFindings()
	r.addSensitivity()
}

// DecideNames are the metrics that may decide a verdict: those of commits, and of the
// operations of a load that has none.
func DecideNames() []string { return Metrics() }

// WriteJSON writes the document as run.json holds it.
func (r *Run) WriteJSON(w io.Writer) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(r.published()); err != nil {
		return fmt.Errorf("run document: %w", err)
	}
	_, err := w.Write(text.EscapeJSON(b.Bytes()))
	return err
}
