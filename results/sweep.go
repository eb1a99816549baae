package results

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// axis is an axis of a sweep, as the document's cells have it.
type axis struct {
	name   string
	values []string  // in the order of the cells
	scale  []float64 // of values; nil where they are no numbers
}

// axes are those of the document's sweep, none without one.
func (r *Run) axes() (out []axis) {
	if r.FindMax != nil {
		return nil
	}
	seen := map[Coordinate]bool{}
	for _, c := range r.Cells {
		for _, k := range c.At {
			i := slices.IndexFunc(out, func(a axis) bool { return a.name == k.Axis })
			if i < 0 {
				i = len(out)
				out = append(out, axis{name: k.Axis})
			}
			if !seen[k] {
				seen[k] = true
				out[i].values = append(out[i].values, k.Value)
			}
		}
	}
	for i := range out {
		out[i].scale = scaleOf(out[i].values)
	}
	return out
}

// sweepLine says in the head of a table what is varied; nothing without a sweep.
func (r *Run) sweepLine() string {
	var parts []string
	for _, a := range r.axes() {
		parts = append(parts, axisName(a.name)+" "+a.list())
	}
	if parts == nil {
		return ""
	}
	return "sweep of " + strings.Join(parts, " by ")
}

// maxListed is how many values of an axis are named one by one.
const maxListed = 10

// list names the axis' values.
func (a *axis) list() string {
	if n := len(a.values); n > maxListed {
		return fmt.Sprintf("%s to %s (%d values)", a.values[0], a.values[n-1], n)
	}
	return strings.Join(a.values, ", ")
}

// Crossover is who wins where along one axis of a sweep, at the points that were
// measured.
type Crossover struct {
	Device   string           `json:"device"`
	Workload string           `json:"workload"`
	Axis     string           `json:"axis"`
	At       At               `json:"at,omitempty"` // on the other axes
	Points   []CrossoverPoint `json:"points"`
	Sentence string           `json:"sentence"`
}

// CrossoverPoint is the verdict at one point.
type CrossoverPoint struct {
	Value   AxisValue `json:"value"`
	Winner  string    `json:"winner"`
	Tied    []string  `json:"tied"`
	Outcome string    `json:"outcome"`

	answer string // in a few words, the same for the same strategies
}

// AxisValue is a value of an axis in the notation of a plan; in JSON it is a number if
// it is one without a unit.
type AxisValue string

// MarshalJSON writes a number or a text.
func (v AxisValue) MarshalJSON() ([]byte, error) { return json.Marshal(JSONValue(string(v))) }

// UnmarshalJSON reads what MarshalJSON has written.
func (v *AxisValue) UnmarshalJSON(text []byte) error {
	s, err := ValueOfJSON(text)
	*v = AxisValue(s)
	return err
}

// addCrossovers fills in the document's crossovers.
func (r *Run) addCrossovers() {
	r.Crossovers = nil
	axes := r.axes()
	for i := range axes {
		a := &axes[i]
		if len(a.values) < 2 {
			continue
		}
		for _, line := range r.linesAlong(a) {
			r.Crossovers = append(r.Crossovers, line.crossover(r))
		}
	}
}

// axisLine is the groups of one device and workload along an axis.
type axisLine struct {
	*axis
	at     At // on the other axes
	groups []*group
}

// linesAlong are the lines along an axis, in the order of the cells.
func (r *Run) linesAlong(a *axis) (out []*axisLine) {
	byName := map[[3]string]*axisLine{}
	for _, g := range r.groups() {
		at := g.at.without(a.name)
		name := [3]string{g.device, g.workload, at.ID()}
		l := byName[name]
		if l == nil {
			l = &axisLine{axis: a, at: at}
			byName[name], out = l, append(out, l)
		}
		l.groups = append(l.groups, g)
	}
	if place := a.places(); a.scale != nil {
		for _, l := range out {
			slices.SortStableFunc(l.groups, func(x, y *group) int { return cmp.Compare(place.at[x.at.On(a.name)], place.at[y.at.On(a.name)]) })
		}
	}
	return out
}

func (l *axisLine) crossover(r *Run) Crossover {
	g := l.groups[0]
	c := Crossover{Device: g.device, Workload: g.workload, Axis: l.name, At: l.at, Points: []CrossoverPoint{}}
	for _, g := range l.groups {
		p := CrossoverPoint{Value: AxisValue(g.at.On(l.name)), Outcome: OutcomeWithheld, Tied: []string{}}
		if v := r.verdictOn(g); v != nil {
			p.Winner, p.Tied, p.Outcome = v.Winner, v.Tied, v.Outcome
		}
		p.answer = p.words()
		switch {
		case len(g.cells) == 1 && p.Outcome == OutcomeWins:
			p.answer = "only " + p.Winner + " was measured"
		case g.overloaded():
			p.answer = "no strategy keeps up"
		case !slices.ContainsFunc(g.cells, (*Cell).usable):
			p.answer = "nothing was measured"
		}
		c.Points = append(c.Points, p)
	}
	c.Sentence = subject(c.Device, c.Workload, c.At) + ": " + c.found(l.scale != nil) + "."
	return c
}

// words is the verdict at a point in a few words.
func (p *CrossoverPoint) words() string {
	v := Verdict{Winner: p.Winner, Tied: p.Tied, Outcome: p.Outcome}
	if s := v.Answer(); s != "" {
		return s
	}
	return "there is no verdict"
}

// found says who wins where. It names points that were measured alone.
func (c *Crossover) found(numeric bool) string {
	name := axisName(c.Axis)
	var parts []string
	for from := 0; from < len(c.Points); {
		to := from + 1
		for to < len(c.Points) && c.Points[to].answer == c.Points[from].answer {
			to++
		}
		where := c.where(from, to, numeric)
		if from == 0 {
			where = name + " " + where
		}
		if from == 0 && to == len(c.Points) {
			where = "every point, " + name + " " + c.named(from, to, numeric)
		}
		parts = append(parts, c.Points[from].answer+" at "+where)
		from = to
	}
	s := strings.Join(parts, "; ")
	return strings.ReplaceAll(s, " at from ", " from ")
}

// where names the points of a stretch.
func (c *Crossover) where(from, to int, numeric bool) string {
	if numeric && to == len(c.Points) && to-from > 1 && from > 0 {
		return "from " + string(c.Points[from].Value) + " on"
	}
	return c.named(from, to, numeric)
}

// namedOneByOne is how many points of an axis of numbers are not named as a stretch.
const namedOneByOne = 3

// named names the points of a stretch one by one, or by its ends.
func (c *Crossover) named(from, to int, numeric bool) string {
	if numeric && to-from > namedOneByOne {
		return fmt.Sprintf("%s to %s", c.Points[from].Value, c.Points[to-1].Value)
	}
	var values []string
	for _, p := range c.Points[from:to] {
		values = append(values, string(p.Value))
	}
	return join(values)
}

// maxCrossovers is how many are printed.
const maxCrossovers = 40

// findingSentences are the verdicts, or in a sweep what they come to along its axes.
func (r *Run) findingSentences() (out []string) {
	if r.FindMax != nil {
		return r.FindMax.Findings
	}
	if len(r.Crossovers) == 0 {
		for _, v := range r.Verdicts {
			out = append(out, v.Sentence)
		}
		return out
	}
	for _, c := range r.Crossovers[:min(len(r.Crossovers), maxCrossovers)] {
		out = append(out, c.Sentence)
	}
	if n := len(r.Crossovers) - maxCrossovers; n > 0 {
		out = append(out, fmt.Sprintf("%d more are in run.json, as crossovers.", n))
	}
	return out
}
