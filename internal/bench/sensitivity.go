package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"nbdbench/devices/catalog"
	"nbdbench/internal/pool"
	"nbdbench/internal/stack"
	"nbdbench/results"
	"nbdbench/sim"
)

const (
	// jointPoints is at how many points all estimates are varied at once.
	jointPoints = 32
	// pointRuns is the fewest runs that give a verdict, and pointCommits the fewest
	// commits of a run that have a p99.
	pointRuns    = 6
	pointCommits = 1000
	pointCuts    = 5
)

// point is a device with other values of its estimates.
type point struct {
	device   *varied
	place    int // within the device's
	profile  *catalog.Profile
	values   map[string]float64
	clamped  map[string]float64
	verdicts []results.Verdict // by workload, in the plan's order; none if it was not run
	err      error
}

// varied is one device of a plan.
type varied struct {
	label     string
	cells     []Cell // that may take part in a verdict
	estimates []catalog.Parameter
	// points are first that with the profile's own values, then two for each
	// estimate, of which the lower may be none, then the joint ones.
	points []*point
}

// vary runs the plan again with other values of what its devices' profiles call an
// estimate, and adds to the document what becomes of the verdicts. Kept are the
// outcomes of the plan's cells.
func (p *Plan) vary(ctx context.Context, cells []Cell, kept [][]outcome, doc *results.Run, progress Progress) error {
	if !p.Sensitivity {
		return nil
	}
	devices, err := p.varied(cells, kept)
	if err != nil {
		return err
	}
	var all []*point
	total := 0
	for _, d := range devices {
		all = append(all, d.points...)
		total += len(d.points) * len(d.cells) * pointRuns
	}
	q := p.atPoint()
	var mu sync.Mutex
	done := 0
	pool.Each(0, len(all), func(i int) {
		all[i].run(ctx, &q)
		mu.Lock()
		defer mu.Unlock()
		if done += len(all[i].device.cells) * pointRuns; progress != nil {
			progress(done, total, "what verdicts depend on, "+all[i].device.label)
		}
	})
	doc.Partial = doc.Partial || ctx.Err() != nil
	doc.Sensitivity = []results.Sensitivity{}
	for _, d := range devices {
		doc.Sensitivity = append(doc.Sensitivity, d.rows(&q)...)
	}
	return nil
}

// atPoint is the plan as it is run at each point.
func (p *Plan) atPoint() Plan {
	q := *p
	q.Runs, q.MoreRuns, q.Raw = pointRuns, false, false
	q.Commits, q.Cuts = min(p.Commits, pointCommits), min(p.Cuts, pointCuts)
	return q
}

// varied are the plan's devices with their points.
func (p *Plan) varied(cells []Cell, kept [][]outcome) ([]*varied, error) {
	var out []*varied
	for i := range cells {
		c := &cells[i]
		if len(out) == 0 || out[len(out)-1].label != c.Device {
			out = append(out, &varied{label: c.Device})
		}
		if d := out[len(out)-1]; c.Strategy.Durable || lostNothing(kept[i]) {
			d.cells = append(d.cells, *c)
		}
	}
	for _, d := range out {
		if len(d.cells) == 0 || d.cells[0].Plugin != "" {
			continue
		}
		prof := d.cells[0].Profile
		d.estimates = p.estimatesOf(prof, d.label)
		if err := d.layOut(prof, sim.Seed(p.Seed)); err != nil {
			return nil, fmt.Errorf("device %s: %w", prof.Name, err)
		}
	}
	return out, nil
}

// lostNothing reports whether power was cut and no commit lost.
func lostNothing(runs []outcome) bool {
	for _, o := range runs {
		if o.result == nil || !o.result.Durability.Measured() || !o.result.Durability.LostNothing() {
			return false
		}
	}
	return len(runs) > 0
}

// estimatesOf are the parameters of a device that are varied. A profile that was read
// from a document has a source for each, "estimate" where the profile's file names
// none: then the document says which were varied, or the program's own profile.
func (p *Plan) estimatesOf(prof *catalog.Profile, label string) (out []catalog.Parameter) {
	if from := p.kept.from; from != nil && from.Devices != nil {
		if from.Sensitivity != nil {
			return storedEstimates(prof, label, from.Sensitivity)
		}
		if shipped, err := catalog.Load(prof.Name); err == nil && label == prof.Name {
			return shipped.Estimates()
		}
	}
	return prof.Estimates()
}

// storedEstimates are those that a document's rows name.
func storedEstimates(prof *catalog.Profile, label string, rows []results.Sensitivity) (out []catalog.Parameter) {
	for i := range rows {
		if rows[i].Device != label || slices.ContainsFunc(out, func(x catalog.Parameter) bool { return x.Path == rows[i].Parameter }) {
			continue
		}
		if x, err := prof.Parameter(rows[i].Parameter); err == nil {
			out = append(out, x)
		}
	}
	return out
}

// layOut makes the points.
func (d *varied) layOut(prof *catalog.Profile, seed sim.Seed) error {
	if len(d.estimates) == 0 {
		return nil
	}
	add := func(asked ...catalog.Parameter) error {
		x := &point{device: d, place: len(d.points), profile: prof, values: map[string]float64{}, clamped: map[string]float64{}}
		d.points = append(d.points, x)
		return x.set(asked)
	}
	if err := add(); err != nil {
		return err
	}
	for _, e := range d.estimates {
		low, high := e, e
		low.Value, high.Value = prof.RangeOf(e)
		if err := add(low); err != nil {
			return err
		}
		if err := add(high); err != nil {
			return err
		}
	}
	for _, joint := range hypercube(prof, d.estimates, seed.Sub("sensitivity", 0)) {
		if err := add(joint...); err != nil {
			return err
		}
	}
	return nil
}

// set gives the point's profile the values, one after the other, so that each is valid
// beside those before it.
func (x *point) set(asked []catalog.Parameter) error {
	for _, a := range asked {
		profile, got, err := x.profile.With(a.Path, a.Value)
		if err != nil {
			return err
		}
		x.profile, x.values[a.Path] = profile, got.Value
		if math.Abs(got.Value-a.Value) > 0.5 && math.Abs(got.Value/a.Value-1) > 1e-9 {
			x.clamped[a.Path] = a.Value
		}
	}
	return nil
}

// hypercube is a Latin hypercube: each parameter has one value in each of as many parts
// of its range, of equal width on a log scale, as there are points, in an order of its
// own. What is counted is rounded.
func hypercube(p *catalog.Profile, parameters []catalog.Parameter, seed sim.Seed) [jointPoints][]catalog.Parameter {
	var out [jointPoints][]catalog.Parameter
	for _, x := range parameters {
		draw := seed.Stream(x.Path)
		var parts [jointPoints]int
		for i := range parts {
			parts[i] = i
		}
		for i := len(parts) - 1; i > 0; i-- {
			j := draw.Uint64N(uint64(i+1), uint64(i), 0)
			parts[i], parts[j] = parts[j], parts[i]
		}
		low, high := p.RangeOf(x)
		for i, part := range parts {
			u := (float64(part) + draw.Float64(uint64(i), 1)) / jointPoints
			v := low * math.Exp(u*math.Log(high/low))
			if x.Unit != catalog.Number {
				v = math.Round(v)
			}
			out[i] = append(out[i], catalog.Parameter{Path: x.Path, Value: v, Unit: x.Unit})
		}
	}
	return out
}

// run runs the device's cells at the point.
func (x *point) run(ctx context.Context, p *Plan) {
	if x.isOwn() && x.place > 0 { // a value that cannot be lower: as the first point
		return
	}
	cells := slices.Clone(x.device.cells)
	for i := range cells {
		cells[i].Profile = x.profile
	}
	stop := func() bool { return ctx.Err() != nil }
	if x.err = settleCells(ctx, p, cells); x.err != nil {
		return
	}
	doc := results.NewRun(results.Tool{}, nil, sim.Seed(p.Seed))
	doc.Decide = p.Decide
	for i := range cells {
		var outcomes []outcome
		for run := range p.Runs {
			if stop() {
				x.err = stack.ErrNotRun
				return
			}
			o := runVirtual(p, &cells[i], task{i, run}, stop)
			if o.err != nil && !isCellError(o.err) {
				x.err = o.err
				return
			}
			outcomes = append(outcomes, o)
		}
		c := results.NewCell(cellConfig(p, &cells[i], nil))
		giveRuns(c, outcomes)
		doc.Add(c)
	}
	if stop() {
		x.err = stack.ErrNotRun
		return
	}
	doc.Finish()
	x.verdicts = doc.Verdicts
}

// isOwn reports whether the point has the profile's own values.
func (x *point) isOwn() bool {
	for _, e := range x.device.estimates {
		if v, ok := x.values[e.Path]; ok && v != e.Value {
			return false
		}
	}
	return true
}

// rows are the device's part of the document.
func (d *varied) rows(p *Plan) (out []results.Sensitivity) {
	if len(d.points) == 0 {
		return nil
	}
	for _, workload := range d.workloads() {
		row := results.Sensitivity{Device: d.label, Workload: workload, Runs: p.Runs, Commits: p.Commits, Cuts: p.Cuts}
		if v := d.points[0].verdict(workload); v != nil {
			row.Baseline = v.Answer()
		}
		for i, e := range d.estimates {
			r := row
			r.Parameter, r.Unit, r.Value = e.Path, string(e.Unit), new(e.Value)
			both := d.points[1+2*i : 3+2*i]
			r.Low, r.High = new(both[0].values[e.Path]), new(both[1].values[e.Path])
			for _, x := range both {
				r.Points = append(r.Points, x.row(&r))
			}
			r.Conclude()
			out = append(out, r)
		}
		row.Parameter = results.Joint
		for _, x := range d.points[1+2*len(d.estimates):] {
			row.Points = append(row.Points, x.row(&row))
		}
		row.Conclude()
		out = append(out, row)
	}
	return out
}

// workloads are those of the device's cells, in their order.
func (d *varied) workloads() (out []string) {
	for i := range d.cells {
		if n := d.cells[i].Name; !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// verdict is the point's verdict for a workload; nil without one.
func (x *point) verdict(workload string) *results.Verdict {
	if x.isOwn() {
		x = x.device.points[0]
	}
	i := slices.IndexFunc(x.verdicts, func(v results.Verdict) bool { return v.Workload == workload })
	if i < 0 {
		return nil
	}
	return &x.verdicts[i]
}

// row is the point in the document.
func (x *point) row(r *results.Sensitivity) results.SensitivityPoint {
	out := results.SensitivityPoint{Values: x.values, Clamped: x.clamped}
	if v := x.verdict(r.Workload); v != nil {
		out.At(v, r.Baseline)
		return out
	}
	out.NotRun, out.Reason = true, "interrupted"
	if x.err != nil && !isCellError(x.err) {
		out.NotRun, out.Reason = false, x.err.Error()
	}
	return out
}

// doubtful is the parameter of the cell's device that says how many requests it serves
// at once, where that is an estimate and is not varied.
func (p *Plan) doubtful(c *Cell) string {
	if p.Sensitivity || c.Profile == nil || c.Plugin != "" {
		return ""
	}
	path := c.Profile.EstimatedParallelism()
	if path == "ssd.fua_programs" && !c.Workload.HasCommits() {
		return ""
	}
	return path
}
