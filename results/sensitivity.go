package results

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"nbdbench/internal/units"
	"nbdbench/results/table"
)

// Joint is the parameter of the row of the points at which all estimates are varied
// at once.
const Joint = "joint"

// Sensitivity says what becomes of one verdict when a parameter of the device that its
// profile calls an estimate has another value, or all of them at once.
type Sensitivity struct {
	Device    string `json:"device"`
	Workload  string `json:"workload"`
	Parameter string `json:"parameter"` // the path in the profile, or Joint
	// Unit is that of all values: ns, bytes, bytes_per_s, per_s, count or number.
	Unit  string   `json:"unit"`
	Value *float64 `json:"value"` // the profile's own; null for Joint
	Low   *float64 `json:"low"`   // the ends of what was tried; null for Joint
	High  *float64 `json:"high"`
	// Baseline is the verdict at the profile's own values, from as many runs as each
	// point has: with it the points are compared.
	Baseline string `json:"baseline"`
	Verdict  string `json:"verdict"` // what becomes of it
	// ChangesVerdict is null where no point changes it and some have no verdict.
	ChangesVerdict *bool              `json:"changes_verdict"`
	Points         []SensitivityPoint `json:"points"`
	Runs           int                `json:"runs"`    // of each cell at each point
	Commits        uint64             `json:"commits"` // of each run; 0 is no such bound
	Cuts           int                `json:"cuts"`    // of each run
}

// SensitivityPoint is one device with other values of its estimates.
type SensitivityPoint struct {
	// Values are those of the parameters that were varied, by their paths. Clamped has
	// what was asked where the profile does not allow it: the nearest value that it
	// does was taken.
	Values  map[string]float64 `json:"values"`
	Clamped map[string]float64 `json:"clamped,omitempty"`
	// Verdict is who is first; empty where there is no verdict, and Reason says why.
	Verdict        string `json:"verdict"`
	Reason         string `json:"reason,omitempty"`
	ChangesVerdict *bool  `json:"changes_verdict"` // null without a verdict here or at the profile's own values
	NotRun         bool   `json:"not_run,omitempty"`
}

// Answer is the verdict in a few words, the same for the same strategies in whatever
// order they tie; empty where there is none.
func (v *Verdict) Answer() string {
	tied := slices.Sorted(slices.Values(v.Tied))
	switch v.Outcome {
	case OutcomeWins:
		return v.Winner + " wins"
	case OutcomeEquivalent, OutcomeInconclusive:
		return join(tied) + " " + tieVerb(v.Outcome)
	case OutcomeNone:
		return "no strategy keeps every commit"
	}
	return ""
}

// At completes a point with the verdict that was found there.
func (p *SensitivityPoint) At(v *Verdict, baseline string) {
	p.Verdict = v.Answer()
	switch {
	case p.Verdict == "":
		p.Reason = v.Headline
	case baseline != "":
		p.ChangesVerdict = new(p.Verdict != baseline)
	}
}

// Conclude fills in what the points come to.
func (s *Sensitivity) Conclude() {
	var changed []string
	unknown := 0
	for i := range s.Points {
		switch p := &s.Points[i]; {
		case p.ChangesVerdict == nil:
			unknown++
		case *p.ChangesVerdict && s.Parameter == Joint:
			changed = append(changed, p.Verdict)
		case *p.ChangesVerdict:
			changed = append(changed, s.show(p.Values[s.Parameter])+": "+p.Verdict)
		}
	}
	switch {
	case len(changed) > 0 && s.Parameter == Joint:
		holds, known := s.holding()
		s.Verdict, s.ChangesVerdict = fmt.Sprintf("holds at %d of %d points", holds, known), new(true)
	case len(changed) > 0:
		s.Verdict, s.ChangesVerdict = "changes at "+strings.Join(changed, "; at "), new(true)
	case unknown > 0:
		s.Verdict = fmt.Sprintf("no verdict at %d of %s", unknown, plural(int64(len(s.Points)), "point"))
	default:
		s.Verdict, s.ChangesVerdict = "holds", new(false)
	}
}

// holding counts the points at which the verdict is as it was, and those at which it is
// known.
func (s *Sensitivity) holding() (holds, known int) {
	for i := range s.Points {
		c := s.Points[i].ChangesVerdict
		if c != nil {
			known++
		}
		if c != nil && !*c {
			holds++
		}
	}
	return holds, known
}

// show prints a value of the row's unit.
func (s *Sensitivity) show(v float64) string {
	switch s.Unit {
	case "ns":
		return formatNS(int64(v))
	case "bytes":
		return units.Size(v).String()
	case "bytes_per_s":
		return units.Bandwidth(v).String()
	case "per_s":
		return formatRate(v) + "/s"
	case "count":
		return formatCount(int64(v))
	}
	return significant(v)
}

// addSensitivity ends each verdict's sentence with what it depends on.
func (r *Run) addSensitivity() {
	if r.Sensitivity == nil {
		return
	}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		d := dependence{verdict: v}
		for k := range r.Sensitivity {
			if s := &r.Sensitivity[k]; s.Device == v.Device && s.Workload == v.Workload {
				d.rows = append(d.rows, s)
			}
		}
		if parts := d.parts(); len(parts) > 0 {
			v.Sentence += " " + sentences(parts...)
		}
	}
}

// dependence is what one verdict depends on.
type dependence struct {
	verdict *Verdict
	rows    []*Sensitivity
}

func (d *dependence) parts() []string {
	if len(d.rows) == 0 {
		if d.verdict.Outcome == OutcomeNone { // none but such as promise nothing
			return nil
		}
		return []string{"The device's profile calls no parameter an estimate: there is nothing to vary"}
	}
	var parts []string
	first, gaps := d.rows[0], d.gaps()
	own := d.verdict.Answer()
	switch {
	case first.Baseline != "":
		parts = append(parts, d.result())
		if own != first.Baseline {
			parts = append(parts, "That is compared with the verdict from as few runs at the profile's own values: "+first.Baseline)
		}
	case own != "" && !d.interrupted():
		parts = append(parts, fmt.Sprintf("From the %d runs of a point there is no verdict at the profile's own values: what it depends on is not known", first.Runs))
	}
	return append(parts, gaps...)
}

// interrupted reports whether some points were not run.
func (d *dependence) interrupted() bool {
	return slices.ContainsFunc(d.rows, func(s *Sensitivity) bool {
		return slices.ContainsFunc(s.Points, func(p SensitivityPoint) bool { return p.NotRun })
	})
}

// result says for which values the verdict holds.
func (d *dependence) result() string {
	var single []string
	joint := ""
	fails, unknown := false, false
	for _, s := range d.rows {
		switch {
		case s.Parameter == Joint:
			holds, known := s.holding()
			joint = fmt.Sprintf("at %d of %d joint points", holds, known)
			fails = holds < known
		case s.ChangesVerdict == nil:
			unknown = true
		case *s.ChangesVerdict:
			single = append(single, s.change())
		}
	}
	switch {
	case len(single) > 0:
		return "The verdict changes " + strings.Join(single, ", ") + "; it holds " + joint
	case unknown:
		return "The verdict changes at no point that has one, and holds " + joint
	case fails:
		return "The verdict holds for each estimated parameter alone between half and double, but only " + joint
	}
	return "The verdict holds for each estimated parameter alone between half and double, and " + joint
}

// change says with which values another strategy is first: "if the drive serves 4 at
// once (`ssd.servers` is an estimate): native wins".
func (s *Sensitivity) change() string {
	var values, verdicts []string
	for i := range s.Points {
		if p := &s.Points[i]; p.ChangesVerdict != nil && *p.ChangesVerdict {
			values = append(values, s.show(p.Values[s.Parameter]))
			verdicts = append(verdicts, p.Verdict)
		}
	}
	what := fmt.Sprintf("if `%s` is %s and not %s (an estimate)", s.Parameter, strings.Join(values, " or "), s.show(*s.Value))
	switch s.Parameter {
	case "ssd.servers":
		what = fmt.Sprintf("if the drive serves %s at once (`%s` is an estimate)", strings.Join(values, " or "), s.Parameter)
	case "ssd.fua_programs":
		what = fmt.Sprintf("if the drive has %s programs of FUA writes in progress at once (`%s` is an estimate)", strings.Join(values, " or "), s.Parameter)
	}
	return what + ": " + strings.Join(slices.Compact(verdicts), " or ")
}

// gaps says what is missing, and what was asked and not to be had.
func (d *dependence) gaps() (parts []string) {
	notRun, without, clamped, all := 0, 0, 0, 0
	for _, s := range d.rows {
		for i := range s.Points {
			p := &s.Points[i]
			all++
			clamped += len(p.Clamped)
			switch {
			case p.NotRun:
				notRun++
			case p.Verdict == "":
				without++
			}
		}
	}
	if notRun > 0 {
		parts = append(parts, fmt.Sprintf("Interrupted: %d of %d points were not run", notRun, all))
	}
	if without > 0 {
		parts = append(parts, fmt.Sprintf("At %d of %d points there is no verdict", without, all))
	}
	if clamped > 0 {
		parts = append(parts, fmt.Sprintf("%s that the profile does not allow became the nearest that it does", plural(int64(clamped), "value")))
	}
	return parts
}

// sensitivityLegend says how it was found what verdicts depend on.
func (r *Run) sensitivityLegend() string {
	if len(r.Sensitivity) == 0 {
		return ""
	}
	s := &r.Sensitivity[0]
	runs := plural(int64(s.Runs), "run")
	if s.Commits > 0 {
		runs += " of " + plural(int64(s.Commits), "commit")
	}
	return fmt.Sprintf(" What a verdict depends on: each parameter that the device's profile calls an estimate, at half and at double "+
		"(what is counted at a quarter, at least 1, and at four times), and %s between these at which all have other values; "+
		"each point has %s of each strategy but of those that lose commits by definition, with %s a run.", plural(r.jointPoints(), "joint point"), runs, plural(int64(s.Cuts), "cut"))
}

func (r *Run) jointPoints() int64 {
	for i := range r.Sensitivity {
		if s := &r.Sensitivity[i]; s.Parameter == Joint {
			return int64(len(s.Points))
		}
	}
	return 0
}

// SensitivityTable is one row for each parameter and verdict; nil where nothing was
// varied.
func (r *Run) SensitivityTable() *table.Table {
	if len(r.Sensitivity) == 0 {
		return nil
	}
	t := &table.Table{Head: []string{"What a verdict depends on"}, Columns: []table.Column{
		{Key: "device", Title: "device", Heading: true, Place: table.InPage},
		{Key: "workload", Title: "workload", Heading: true, Place: table.InPage},
		{Key: "parameter", Title: "estimated parameter", Place: table.InPage | table.InText},
		{Key: "value", Title: "profile", Right: true, Place: table.InPage | table.InText},
		{Key: "low", Title: "low", Right: true, Place: table.InPage | table.InText},
		{Key: "high", Title: "high", Right: true, Place: table.InPage | table.InText},
		{Key: "baseline", Title: "verdict", Place: table.InPage | table.InText},
		{Key: "verdict", Title: "with other values", Place: table.InPage | table.InText},
	}}
	for i := range r.Sensitivity {
		t.Rows = append(t.Rows, table.Row{Group: r.Sensitivity[i].Device + " · " + r.Sensitivity[i].Workload, Values: r.Sensitivity[i].values()})
	}
	return t
}

// values are the row of a table.
func (s *Sensitivity) values() []table.Value {
	number := func(v *float64) table.Value {
		if v == nil {
			return none
		}
		return table.Value{Text: s.show(*v), Data: *v}
	}
	low, high := number(s.Low), number(s.High)
	if s.Parameter != Joint && len(s.Points) == 2 {
		low.Text += s.clamped(0)
		high.Text += s.clamped(1)
	}
	name := s.Parameter
	if name == Joint {
		name = plural(int64(len(s.Points)), "joint point")
	}
	verdict := s.Verdict
	if s.Parameter == Joint && s.ChangesVerdict != nil && !*s.ChangesVerdict {
		holds, known := s.holding()
		verdict = fmt.Sprintf("holds at %d of %d points", holds, known)
	}
	baseline := s.Baseline
	if baseline == "" {
		baseline = "no verdict"
	}
	return []table.Value{textValue(s.Device), textValue(s.Workload), textValue(name), number(s.Value), low, high, textValue(baseline), textValue(verdict)}
}

// clamped says what was asked in place of a point's value, if that is not the same.
func (s *Sensitivity) clamped(point int) string {
	asked, ok := s.Points[point].Clamped[s.Parameter]
	if !ok {
		return ""
	}
	return " (clamped from " + s.show(asked) + ")"
}

// WriteMarkdown writes the summary, and what the verdicts depend on.
func (r *Run) WriteMarkdown(w io.Writer) error {
	if err := r.Summary().Markdown(w); err != nil || len(r.Sensitivity) == 0 {
		return err
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return r.SensitivityTable().Markdown(w)
}

// sensitivityOnPage are the columns and the rows of that table on a page.
func (r *Run) sensitivityOnPage() (columns []table.Column, groups []pageGroup) {
	t := r.SensitivityTable()
	if t == nil {
		return nil, nil
	}
	return pageColumns(t), pageGroups(t)
}

// doubt says that the verdict depends on how many requests the device serves at once,
// where that is an estimate.
func (j *judgement) doubt() string {
	for _, c := range j.safe {
		if c.parallel != "" && c.QueueDepth > 1 {
			return fmt.Sprintf("The parallelism (`%s`) is an estimate; see --sensitivity", c.parallel)
		}
	}
	return ""
}
