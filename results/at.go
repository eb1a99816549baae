package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"nbdbench/internal/text"
	"nbdbench/internal/units"
)

// Coordinate is a value of one axis of a sweep, in the notation of a plan.
type Coordinate struct{ Axis, Value string }

// At is where in the grid of a sweep a cell is: a value for each axis, in the plan's
// order. Outside of a sweep it is nil. In JSON it is an object whose counts and plain
// numbers are numbers: {"queue_depth":4,"link":"lan"}.
type At []Coordinate

// On is the value of an axis, empty where there is none.
func (a At) On(axis string) string {
	for _, c := range a {
		if c.Axis == axis {
			return c.Value
		}
	}
	return ""
}

// without is the point on all other axes.
func (a At) without(axis string) At {
	return slices.DeleteFunc(slices.Clone(a), func(c Coordinate) bool { return c.Axis == axis })
}

// ID is the point as the id of a cell ends with it: "@queue_depth=4,link=lan". It has
// no slash and no blank: rates and bandwidths go without their unit of time.
func (a At) ID() string {
	var parts []string
	for _, c := range a {
		v := strings.NewReplacer("/", "p", " ", "_", "µ", "u").Replace(strings.TrimSuffix(c.Value, perSecond))
		parts = append(parts, c.Axis+"="+v)
	}
	if parts == nil {
		return ""
	}
	return "@" + strings.Join(parts, ",")
}

const perSecond = "/s"

// String is the point in words: "queue depth 4, link lan".
func (a At) String() string {
	var parts []string
	for _, c := range a {
		parts = append(parts, axisName(c.Axis)+" "+c.Value)
	}
	return strings.Join(parts, ", ")
}

// axisName is what an axis is called in words: the parameters of profiles by their
// paths, the loads of single streams by the stream.
func axisName(axis string) string {
	for _, of := range []string{"device.", "workload."} {
		if path, ok := strings.CutPrefix(axis, of); ok {
			return path
		}
	}
	name, stream, ok := strings.Cut(axis, ".")
	if name = strings.ReplaceAll(name, "_", " "); ok {
		name += " of " + stream
	}
	return name
}

// MarshalJSON writes an object in the order of the axes.
func (a At) MarshalJSON() ([]byte, error) {
	return objectOf(len(a), func(i int) (key string, value any) { return a[i].Axis, JSONValue(a[i].Value) })
}

// UnmarshalJSON reads what MarshalJSON has written.
func (a *At) UnmarshalJSON(text []byte) error {
	*a = nil
	return EachEntry(text, func(key string, value json.RawMessage) error {
		v, err := ValueOfJSON(value)
		*a = append(*a, Coordinate{key, v})
		return err
	})
}

// JSONValue is a value in the notation of a plan as JSON has it: a number, if it is
// one without a unit, or a text.
func JSONValue(value string) any {
	if n := json.Number(value); value != "" && strings.IndexByte("-0123456789", value[0]) >= 0 && json.Valid([]byte(value)) {
		return n
	}
	return value
}

// ValueOfJSON is the inverse of JSONValue.
func ValueOfJSON(value json.RawMessage) (string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case json.Number:
		return v.String(), nil
	case string:
		return v, nil
	}
	return "", fmt.Errorf("want a number or a text, got %.40s", value)
}

// objectOf writes a JSON object of n entries in their order.
func objectOf(n int, entry func(i int) (key string, value any)) ([]byte, error) {
	b := []byte{'{'}
	for i := range n {
		key, value := entry(i)
		k, err1 := json.Marshal(key)
		v, err2 := json.Marshal(value)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, k...), ':'), v...)
	}
	return append(b, '}'), nil
}

// EachEntry calls visit with the entries of a JSON object in their order.
func EachEntry(text []byte, visit func(key string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return errors.Join(err, errors.New("want an object"))
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := visit(key.(string), value); err != nil {
			return err
		}
	}
	return nil
}

// check tests what the types cannot say.
func (a At) check() error {
	for i, c := range a {
		if text.Line(c.Axis) != c.Axis || text.Line(c.Value) != c.Value || c.Axis == "" {
			return fmt.Errorf("at: want names and values without control characters, got %q: %q", c.Axis, c.Value)
		}
		if slices.ContainsFunc(a[:i], func(o Coordinate) bool { return o.Axis == c.Axis }) {
			return fmt.Errorf("at: %q is there twice", c.Axis)
		}
	}
	return nil
}

// scaleOf are the values of an axis as numbers of one unit, in ns where they are
// times; nil where they are none. A link is its latency, if all links of the axis have
// one bandwidth.
func scaleOf(values []string) []float64 {
	for _, parse := range []func(string) (float64, error){
		func(s string) (float64, error) { return strconv.ParseFloat(s, 64) },
		func(s string) (float64, error) { d, err := units.ParseDuration(s); return float64(d), err },
		func(s string) (float64, error) { r, err := units.ParseRate(s); return float64(r), err },
		func(s string) (float64, error) { b, err := units.ParseBandwidth(s); return float64(b), err },
		func(s string) (float64, error) { b, err := units.ParseSize(s); return float64(b), err },
		percentOf,
	} {
		if all := parsed(values, parse); all != nil {
			return all
		}
	}
	var latencies, bandwidths []string
	for _, v := range values {
		latency, bandwidth, ok := strings.Cut(v, ",")
		if !ok {
			return nil
		}
		latencies, bandwidths = append(latencies, latency), append(bandwidths, bandwidth)
	}
	if len(slices.Compact(bandwidths)) != 1 {
		return nil
	}
	return scaleOf(latencies)
}

func percentOf(s string) (float64, error) {
	number, ok := strings.CutSuffix(s, "%")
	if !ok {
		return 0, errors.New("want a percentage")
	}
	return strconv.ParseFloat(number, 64)
}

// maxScale bounds the numbers of a scale: years in ns, and exabytes.
const maxScale = 1e18

func parsed(values []string, parse func(string) (float64, error)) []float64 {
	var out []float64
	for _, s := range values {
		v, err := parse(s)
		if err != nil || !(math.Abs(v) <= maxScale) { // nor is it not a number
			return nil
		}
		out = append(out, v)
	}
	return out
}
