package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nbdbench/devices/catalog"
	"nbdbench/internal/conf"
	"nbdbench/results"
	"nbdbench/workloads"
)

// The axes of a sweep. AxisQueueDepth and AxisRate may be followed by a point and the
// name of a stream; the last two are followed by the path of a parameter.
const (
	AxisQueueDepth  = "queue_depth"
	AxisConnections = "connections"
	AxisLink        = "link"
	AxisRate        = "rate"
	AxisDevice      = "device."
	AxisWorkload    = "workload."
)

// The bounds of a sweep. MaxCells bounds the whole grid.
const (
	MaxAxes       = 4
	MaxAxisValues = 256 // of one axis
)

// Axis is one thing that a sweep varies.
type Axis struct {
	Name string
	// Values are in the notation of a plan: as they are given, with lists and ranges,
	// until the plan's cells are made, and then one by one.
	Values []string

	paths []string // in the plan, of Values, for errors; nil is that of the axis
}

// Sweep are the axes of a grid, in its order: the cells of the first one's first value
// come first.
type Sweep []Axis

// UnmarshalNode reads a mapping of axes to a list, or to one text with commas.
func (s *Sweep) UnmarshalNode(n conf.Node) error {
	if n.Kind() != conf.Mapping {
		return fmt.Errorf("expected a mapping of axes such as queue_depth to lists or ranges, got %v", n.Kind())
	}
	*s = nil
	return n.Each(func(key string, value conf.Node) error {
		a := Axis{Name: key}
		add := func(_ string, v conf.Node) error {
			if v.Kind() != conf.Scalar {
				return v.Errorf("expected a value or a range, got %v", v.Kind())
			}
			a.Values, a.paths = append(a.Values, v.Text()), append(a.paths, v.Path())
			return nil
		}
		err := value.Each(add)
		switch value.Kind() {
		case conf.Scalar:
			err = add("", value)
		case conf.Sequence:
		default:
			err = value.Errorf("expected a list or a range such as 1..256*2, got %v", value.Kind())
		}
		*s = append(*s, a)
		return err
	})
}

// MarshalJSON writes an object of lists, in the order of the axes.
func (s Sweep) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, a := range s {
		values := make([]any, len(a.Values))
		for k, v := range a.Values {
			values[k] = results.JSONValue(v)
		}
		key, err1 := json.Marshal(a.Name)
		list, err2 := json.Marshal(values)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), list...)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON has written.
func (s *Sweep) UnmarshalJSON(text []byte) error {
	*s = nil
	return results.EachEntry(text, func(key string, list json.RawMessage) error {
		var values []json.RawMessage
		if err := json.Unmarshal(list, &values); err != nil {
			return fmt.Errorf("%s: expected a list", key)
		}
		a := Axis{Name: key}
		for i, v := range values {
			text, err := results.ValueOfJSON(v)
			if err != nil {
				return fmt.Errorf("%s[%d]: %w", key, i, err)
			}
			a.Values = append(a.Values, text)
		}
		*s = append(*s, a)
		return nil
	})
}

// at is an error about a value of the axis; it may be one of no single value.
func (a *Axis) at(value int, format string, args ...any) error {
	path := "sweep." + a.Name
	if value >= 0 && value < len(a.paths) {
		path = a.paths[value]
	}
	return conf.At(path, format, args...)
}

// of is what an axis is about, and the stream or the path of the parameter.
func (a *Axis) of() (what, name string) {
	for _, prefix := range []string{AxisDevice, AxisWorkload} {
		if path, ok := strings.CutPrefix(a.Name, prefix); ok {
			return prefix, path
		}
	}
	what, name, _ = strings.Cut(a.Name, ".")
	return what, name
}

// expand makes single values of what is given, each in one spelling.
func (a *Axis) expand(k kind) error {
	var values, paths []string
	for i, text := range a.Values {
		list, err := k.list(text)
		if err != nil {
			return a.at(i, "%v", err)
		}
		for _, v := range list {
			if slices.Contains(values, v) {
				return a.at(i, "expected each value once, got %s again", v)
			}
			values = append(values, v)
			if a.paths != nil {
				paths = append(paths, a.paths[i])
			}
		}
		if len(values) > MaxAxisValues {
			return a.at(i, "expected at most %d values", MaxAxisValues)
		}
	}
	if len(values) == 0 {
		return a.at(-1, "expected at least one value")
	}
	a.Values, a.paths = values, paths
	return nil
}

// axisNames are the names of axes, for errors.
const axisNames = "queue_depth, connections, link, rate, device.PATH or workload.PATH"

// validateSweep checks the axes, and expands those that need no profile.
func (p *Plan) validateSweep() error {
	if len(p.Sweep) > MaxAxes {
		return conf.At("sweep", "expected at most %d axes, got %d", MaxAxes, len(p.Sweep))
	}
	seen := map[string]bool{}
	for i := range p.Sweep {
		a := &p.Sweep[i]
		if seen[a.Name] {
			return a.at(-1, "expected each axis once")
		}
		seen[a.Name] = true
		what, name := a.of()
		switch {
		case name == "" && (what == AxisDevice || what == AxisWorkload):
			return a.at(-1, "expected the path of a parameter after %s", what)
		case what == AxisDevice || what == AxisWorkload:
			continue
		case name != "" && what != AxisQueueDepth && what != AxisRate, fixedKinds[what] == nil:
			return conf.At("sweep."+a.Name, "expected an axis, one of %s, got %q", axisNames, a.Name)
		}
		if err := a.expand(fixedKinds[what]); err != nil {
			return err
		}
	}
	return p.validateAxes(seen)
}

// validateAxes checks the axes against the rest of the plan.
func (p *Plan) validateAxes(has map[string]bool) error {
	switch {
	case len(p.Sweep) == 0:
		return nil
	case has[AxisQueueDepth] && p.QueueDepth != 0:
		return conf.At("sweep."+AxisQueueDepth, "expected queue_depth or its sweep, got both")
	case has[AxisRate] && p.Rate != 0:
		return conf.At("sweep."+AxisRate, "expected rate or its sweep, got both")
	case has[AxisLink] && p.Clock == "real":
		return conf.At("sweep."+AxisLink, "expected none in real time, where the link is a socket")
	case p.Sensitivity:
		return conf.At("sensitivity", "expected false beside a sweep")
	}
	// What an axis takes the place of has one form in the document: the first value.
	for _, c := range coordinatesOf(p.firstPoint()) {
		switch c.what {
		case AxisConnections:
			p.Connections = c.count()
		case AxisLink:
			p.Link, _ = ParseLink(c.Value) // which was checked
		}
	}
	return nil
}

// firstPoint is the grid's first point.
func (p *Plan) firstPoint() (at results.At) {
	for i := range p.Sweep {
		at = append(at, results.Coordinate{Axis: p.Sweep[i].Name, Value: p.Sweep[i].Values[0]})
	}
	return at
}

// axis is the plan's axis of a name, or nil.
func (p *Plan) axis(name string) *Axis {
	i := slices.IndexFunc(p.Sweep, func(a Axis) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Sweep[i]
}

// UseAxis takes the values of an axis that needs no profile, a list or a range in one
// text: several become a sweep in place of the plan's own value, and one becomes that.
func (p *Plan) UseAxis(name, list string) error {
	a := Axis{Name: name, Values: []string{list}}
	what, stream := a.of()
	values, err := fixedKinds[what].list(list)
	if err != nil && isZero(what, list) { // the workload's own
		values, err = []string{list}, nil
	}
	if err != nil {
		return err
	}
	p.Sweep = slices.DeleteFunc(slices.Clone(p.Sweep), func(o Axis) bool { return o.Name == name })
	if len(values) > 1 {
		a.Values = values
		p.Sweep = append(p.Sweep, a)
		switch name {
		case AxisQueueDepth:
			p.QueueDepth = 0
		case AxisRate:
			p.Rate = 0
		}
		return nil
	}
	c := coordinate{results.Coordinate{Axis: name, Value: values[0]}, what, stream}
	switch {
	case stream != "":
		p.UseStream(stream, c.load())
	case what == AxisQueueDepth:
		p.QueueDepth = c.load().QueueDepth
	case what == AxisRate:
		p.Rate = c.load().Rate
	case what == AxisConnections:
		p.Connections = c.count()
	default:
		p.Link, err = ParseLink(values[0])
	}
	return err
}

// isZero reports whether a value of an axis of loads is 0.
func isZero(what, text string) bool {
	k, ok := map[string]numbers{AxisQueueDepth: kindCount, AxisRate: kindRate}[what]
	if !ok {
		return false
	}
	v, err := k.parse(text)
	return err == nil && v == 0
}

// grid are the points of the sweep, the last axis varying first; one of no axes
// without a sweep.
func (p *Plan) grid() ([]results.At, error) {
	points := []results.At{nil}
	for i := range p.Sweep {
		a := &p.Sweep[i]
		if n := len(points) * len(a.Values); n > MaxCells {
			return nil, conf.At("sweep", "expected at most %d points in the grid, got %d", MaxCells, n)
		}
		var next []results.At
		for _, at := range points {
			for _, v := range a.Values {
				next = append(next, append(slices.Clip(slices.Clone(at)), results.Coordinate{Axis: a.Name, Value: v}))
			}
		}
		points = next
	}
	return points, nil
}

// coordinate is a value of an axis that is taken.
type coordinate struct {
	results.Coordinate
	what, name string // as of Axis.of
}

func coordinatesOf(at results.At) (out []coordinate) {
	for _, c := range at {
		a := Axis{Name: c.Axis}
		what, name := a.of()
		out = append(out, coordinate{c, what, name})
	}
	return out
}

// count is the value of an axis of counts.
func (c *coordinate) count() uint32 {
	v, err := kindCount.parse(c.Value)
	if err != nil {
		panic("bench: an axis that was not checked: " + c.Axis + ": " + err.Error())
	}
	return uint32(v)
}

// load is the value of an axis of loads.
func (c *coordinate) load() workloads.Override {
	if c.what == AxisQueueDepth {
		return workloads.Override{QueueDepth: c.count()}
	}
	v, err := kindRate.parse(c.Value)
	if err != nil {
		panic("bench: an axis that was not checked: " + c.Axis + ": " + err.Error())
	}
	return workloads.Override{Rate: rateOf(v)}
}

// err is an error about the coordinate, at its place in the plan.
func (p *Plan) errorAt(c *coordinate, err error) error {
	a := p.axis(c.Axis)
	if a == nil {
		return conf.At("sweep."+c.Axis, "%v", err)
	}
	return a.at(slices.Index(a.Values, c.Value), "%v", err)
}

// expandParameters expands the axes of profiles' parameters, by what they are in each of
// the profiles.
func (p *Plan) expandParameters(profiles []*catalog.Profile, loads []workloads.Profile) error {
	for i := range p.Sweep {
		a := &p.Sweep[i]
		what, path := a.of()
		var values []any
		switch what {
		case AxisDevice:
			for d, prof := range profiles {
				if prof == nil || p.isPlugin(d) {
					return a.at(-1, "expected devices with a profile, got one without")
				}
				v, err := prof.Value(path)
				if err != nil {
					return a.at(-1, "%s: %v", prof.Name, fieldMessage(err))
				}
				values = append(values, v)
			}
		case AxisWorkload:
			for k := range loads {
				v, err := loads[k].Value(path)
				if err != nil {
					return a.at(-1, "%s: %v", loads[k].Name, fieldMessage(err))
				}
				values = append(values, v)
			}
		default:
			continue
		}
		if err := a.expand(kindOf(values[0])); err != nil {
			return err
		}
	}
	return nil
}

// fieldMessage is what a FieldError says, without its path, which is the axis.
func fieldMessage(err error) string {
	if field, ok := errors.AsType[*conf.FieldError](err); ok {
		return field.Msg
	}
	return err.Error()
}

// variant is a device and a workload at one point of the grid, and how they are
// connected.
type variant struct {
	at          results.At
	profile     *catalog.Profile
	workload    workloads.Profile
	link        Link
	connections uint32
}

// variantAt puts a device and a workload at a point.
func (p *Plan) variantAt(at results.At, prof *catalog.Profile, w workloads.Profile) (v variant, err error) {
	v = variant{at: at, profile: prof, workload: w, link: p.Link, connections: p.Connections}
	for _, c := range coordinatesOf(at) {
		switch {
		case c.what == AxisConnections:
			v.connections = c.count()
			err = p.checkConnections(v.connections)
		case c.what == AxisLink:
			v.link, err = ParseLink(c.Value)
		case c.what == AxisDevice:
			v.profile, err = v.profile.WithValue(c.name, c.Value)
		case c.what == AxisWorkload:
			v.workload, err = v.workload.WithValue(c.name, c.Value)
		case c.name != "":
			v.workload, err = v.workload.WithStream(c.name, c.load())
		default:
			v.workload = v.workload.With(p.withArrival(c.load()))
		}
		if err == nil && c.what != AxisDevice {
			err = v.workload.Validate()
		}
		if err != nil {
			return v, p.errorAt(&c, fmt.Errorf("%s: %w", nameOf(&v, &c), err))
		}
	}
	return v, nil
}

// nameOf is the profile that a coordinate is about, and its value.
func nameOf(v *variant, c *coordinate) string {
	name := v.workload.Name
	if c.what == AxisDevice && v.profile != nil {
		name = v.profile.Name
	}
	return name + " at " + c.Value
}

// withArrival is a rate with the plan's arrival, which is a part of it.
func (p *Plan) withArrival(o workloads.Override) workloads.Override {
	if o.Rate != 0 {
		o.Arrival = workloads.Arrival(p.Arrival)
	}
	return o
}

// first is the load of the grid's first point, as far as axes of loads have it.
func (p *Plan) first(o workloads.Override) workloads.Override {
	for _, c := range coordinatesOf(p.firstPoint()) {
		switch c.Axis {
		case AxisQueueDepth:
			o.QueueDepth = c.load().QueueDepth
		case AxisRate:
			o.Rate = c.load().Rate
		}
	}
	return o
}
