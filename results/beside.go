package results

import (
	"fmt"
	"slices"
	"strings"

	"nbdbench/results/table"
)

// ModelError is how far a simulated device is off the host's storage that was measured
// beside it, in the same blocks of the same run.
type ModelError struct {
	Model    string `json:"model"`
	Drive    string `json:"drive"`
	Workload string `json:"workload"`
	At       At     `json:"at,omitempty"`
	Strategy string `json:"strategy"`
	Metric   string `json:"metric"`
	ModelNS  int64  `json:"model_ns"`
	DriveNS  int64  `json:"drive_ns"`
	// Ratio is the model's over the drive's, and CI95 its interval, of this ratio alone;
	// null with too few runs.
	Ratio float64 `json:"ratio"`
	CI95  *Ratio  `json:"ci95"`
}

// offMetrics are those that a model is compared by.
var offMetrics = []metric{metricP50, metricP90, metricP99}

// addModels compares each simulated device with the first storage of the host in the
// run, under each workload and strategy.
func (r *Run) addModels() {
	r.Models = nil
	i := slices.IndexFunc(r.Cells, func(c *Cell) bool { return c.Storage })
	if i < 0 || r.FindMax != nil {
		return
	}
	drive := r.Cells[i].Device
	for _, c := range r.Cells {
		if c.Storage || !c.usable() || c.NoCommits {
			continue
		}
		k := slices.IndexFunc(r.Cells, func(d *Cell) bool {
			return d.Device == drive && d.Workload == c.Workload && d.Strategy == c.Strategy && slices.Equal(d.At, c.At)
		})
		if k < 0 || !r.Cells[k].usable() {
			continue
		}
		for _, m := range offMetrics {
			e := compare(c, r.Cells[k], m, 1)
			if e == nil {
				continue
			}
			r.Models = append(r.Models, ModelError{
				Model: c.Device, Drive: drive, Workload: c.Workload, At: c.At, Strategy: c.Strategy, Metric: metricNames[m],
				ModelNS: *c.at(m), DriveNS: *r.Cells[k].at(m), Ratio: e.ratio, CI95: e.span,
			})
		}
	}
}

// off is how far the cell's device is off the drive beside it, by percentile.
func (r *Run) off(c *Cell) table.Value {
	var words []string
	for _, m := range r.Models {
		if m.Model == c.Device && m.Workload == c.Workload && m.Strategy == c.Strategy && slices.Equal(m.At, c.At) {
			words = append(words, shortMetric(m.Metric)+" "+significant(m.Ratio)+"x")
		}
	}
	if words == nil {
		return none
	}
	s := strings.Join(words, ", ")
	return table.Value{Text: s, Data: s}
}

// modelNotes say for each model and workload how far it is off, with intervals.
func (r *Run) modelNotes() (out []string) {
	var last string
	for i := range r.Models {
		m := &r.Models[i]
		if s := fmt.Sprintf("%s beside %s, %s", m.Model, m.Drive, subject(m.Workload, m.Strategy, m.At)); s != last {
			out, last = append(out, s+": "), s
		} else {
			out[len(out)-1] += "; "
		}
		word := fmt.Sprintf("%s %s for %s", shortMetric(m.Metric), formatNS(m.ModelNS), formatNS(m.DriveNS))
		if m.CI95 != nil {
			word += ", " + formatEstimate(m.Ratio, m.CI95[0], m.CI95[1]) + "x " + formatSpan(m.CI95[0], m.CI95[1])
		} else {
			word += ", " + significant(m.Ratio) + "x"
		}
		out[len(out)-1] += word
	}
	return out
}
