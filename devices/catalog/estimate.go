package catalog

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"time"

	"nbdbench/internal/conf"
	"nbdbench/internal/units"
)

// Parameter is one number of a profile.
type Parameter struct {
	Path  string // such as "ssd.servers"
	Value float64
	Unit  Unit
}

// Unit is what a parameter's number counts.
type Unit string

// The units of parameters.
const (
	Count       Unit = "count" // a whole number of things: servers, dies, tracks
	Nanoseconds Unit = "ns"
	Bytes       Unit = "bytes"
	BytesPerSec Unit = "bytes_per_s"
	PerSecond   Unit = "per_s"
	Number      Unit = "number" // a share, an exponent
)

// Range is the span in which an estimate is varied: a half to double its value, and of
// what is counted a quarter, at least 1, to four times.
func (p Parameter) Range() (low, high float64) {
	if p.Unit == Count {
		return max(1, math.Round(p.Value/4)), 4 * p.Value
	}
	return p.Value / 2, 2 * p.Value
}

// RangeOf is the span in which parameter x of the profile is varied: what its sources
// say where they disagree, else its Range.
func (p *Profile) RangeOf(x Parameter) (low, high float64) {
	ends, err := p.ends(x.Path)
	if err != nil || len(ends) == 0 {
		return x.Range()
	}
	return ends[0], ends[1]
}

// ends are the numbers of the profile's range of a path, or none.
func (p *Profile) ends(path string) ([]float64, error) {
	var out []float64
	for _, text := range p.Ranges[path] {
		q := p.clone()
		if err := conf.Set(q, path, text); err != nil {
			return nil, err
		}
		x, err := q.Parameter(path)
		if err != nil {
			return nil, err
		}
		out = append(out, x.Value)
	}
	return out, nil
}

// validateRanges checks that each range is one of a parameter and has its value in it.
func (p *Profile) validateRanges() error {
	paths := make([]string, 0, len(p.Ranges))
	for path := range p.Ranges {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		x, err := p.Parameter(path)
		if err != nil {
			return conf.At("ranges."+path, "expected a parameter that is a number")
		}
		ends, err := p.ends(path)
		if err != nil || len(ends) != 2 || !(ends[0] > 0 && ends[0] <= x.Value && x.Value <= ends[1] && ends[0] < ends[1]) {
			return conf.At("ranges."+path, "expected the least and the greatest value, with the profile's between them, got %v", p.Ranges[path])
		}
	}
	return nil
}

// IsEstimate reports whether a source says that a figure is an estimate.
func IsEstimate(source string) bool {
	return source == Estimate || strings.HasPrefix(source, Estimate+":")
}

// Estimates are the numbers other than 0 that the profile's own sources call an
// estimate, those on which sources disagree, and EstimatedParallelism, in the order of
// their paths. Those of a RAID's
// disk are not among them.
func (p *Profile) Estimates() []Parameter {
	q := p.filled()
	paths := []string{}
	for path, source := range p.Sources {
		if IsEstimate(source) {
			paths = append(paths, path)
		}
	}
	for path := range p.Ranges {
		paths = append(paths, path)
	}
	paths = append(paths, p.EstimatedParallelism())
	slices.Sort(paths)
	var out []Parameter
	for _, path := range slices.Compact(paths) {
		if x, err := q.Parameter(path); err == nil && x.Value != 0 {
			out = append(out, x)
		}
	}
	return out
}

// filled is the profile with the defaults of its model.
func (p *Profile) filled() *Profile {
	q := p.clone()
	q.SSD, q.HDD = q.SSD.filled(), q.HDD.filled()
	return q
}

// Parameter is the number at a path.
func (p *Profile) Parameter(path string) (Parameter, error) {
	v, err := p.number(path)
	if err != nil {
		return Parameter{}, err
	}
	x := Parameter{Path: path}
	switch v.Interface().(type) {
	case time.Duration:
		x.Unit = Nanoseconds
	case units.Size:
		x.Unit = Bytes
	case units.Bandwidth:
		x.Unit = BytesPerSec
	}
	switch {
	case v.CanInt():
		x.Value = float64(v.Int())
	case v.CanUint():
		x.Value = float64(v.Uint())
	default:
		x.Value = v.Float()
	}
	if x.Unit == "" {
		x.Unit = map[reflect.Kind]Unit{reflect.Int: Count, reflect.Uint64: PerSecond, reflect.Float64: Number}[v.Kind()]
	}
	return x, nil
}

// numbers are the kinds of fields that hold one.
var numbers = []reflect.Kind{reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64}

// number is the field at a path.
func (p *Profile) number(path string) (reflect.Value, error) {
	v := reflect.ValueOf(p).Elem()
	for key := range strings.SplitSeq(path, ".") {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return v, fmt.Errorf("%s: %s has no such parameter", path, p.Name)
		}
		i := slices.IndexFunc(reflect.VisibleFields(v.Type()), func(f reflect.StructField) bool { return keyOf(f) == key })
		if i < 0 {
			return v, fmt.Errorf("%s: %s has no such parameter", path, p.Name)
		}
		v = v.Field(i)
	}
	if !slices.Contains(numbers, v.Kind()) {
		return v, fmt.Errorf("%s: expected a number", path)
	}
	return v, nil
}

// With is the profile with another value of one parameter, or with the nearest one
// that is valid beside all others: the returned parameter has the value taken. The
// profile itself must be valid.
func (p *Profile) With(path string, value float64) (*Profile, Parameter, error) {
	own, err := p.Parameter(path)
	if err != nil {
		return nil, own, err
	}
	best, errs := (*Profile)(nil), []error{}
	var got Parameter
	for _, v := range near(value) {
		q, x, err := p.with(path, v)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if x.Value == value || v == value {
			return q, x, nil
		}
		if best == nil || distance(x.Value, value) < distance(got.Value, value) {
			best, got = q, x
		}
	}
	q, x, err := p.towards(own, value)
	switch {
	case err != nil && best == nil:
		return nil, own, errors.Join(append(errs, err)...)
	case best == nil || err == nil && distance(x.Value, value) < distance(got.Value, value):
		return q, x, nil
	}
	return best, got, nil
}

// near are a value and what it is as a whole number of the units that sizes are to be
// multiples or powers of.
func near(value float64) []float64 {
	out := []float64{value}
	for _, unit := range []float64{4096, 512} {
		if value >= unit {
			out = append(out, math.Round(value/unit)*unit)
		}
	}
	if value >= 1 && value < 1<<62 {
		out = append(out, math.Exp2(math.Round(math.Log2(value))))
	}
	return out
}

// distance is how far apart two values are, as a factor on a log scale.
func distance(a, b float64) float64 {
	if a <= 0 || b <= 0 {
		return math.Inf(1)
	}
	return math.Abs(math.Log(a / b))
}

// towards is the profile with the farthest value, from its own to another, up to which
// all are valid.
func (p *Profile) towards(own Parameter, value float64) (*Profile, Parameter, error) {
	q, best, err := p.with(own.Path, own.Value)
	if err != nil {
		return nil, own, err
	}
	valid, bad := own.Value, value
	for range bits.UintSize {
		middle := (valid + bad) / 2
		if valid > 0 && bad > 0 {
			middle = math.Sqrt(valid) * math.Sqrt(bad)
		}
		r, x, err := p.with(own.Path, middle)
		if err != nil {
			bad = middle
			continue
		}
		q, best, valid = r, x, middle
	}
	return q, best, nil
}

// with is the profile with another value, if it is valid.
func (p *Profile) with(path string, value float64) (*Profile, Parameter, error) {
	q := p.clone()
	v, err := q.number(path)
	if err != nil {
		return nil, Parameter{}, err
	}
	switch {
	case value < 0 || math.IsNaN(value) || value >= math.MaxInt64:
		return nil, Parameter{}, fmt.Errorf("%s: %g is out of range", path, value)
	case v.CanInt():
		v.SetInt(int64(math.Round(value)))
	case v.CanUint():
		v.SetUint(uint64(math.Round(value)))
	default:
		v.SetFloat(value)
	}
	if err := q.Validate(); err != nil {
		return nil, Parameter{}, err
	}
	x, err := q.Parameter(path)
	return q, x, err
}

// clone is a copy whose numbers can be changed.
func (p *Profile) clone() *Profile {
	q := *p
	q.SSD, q.HDD, q.Cloud, q.RAID, q.Empirical = copied(p.SSD), copied(p.HDD), copied(p.Cloud), copied(p.RAID), copied(p.Empirical)
	q.Log = copied(p.Log)
	if q.SSD != nil {
		q.SSD.Flash, q.SSD.Flush = copied(p.SSD.Flash), copied(p.SSD.Flush)
	}
	return &q
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	q := *p
	return &q
}

// parallelism are the parameters that say how many requests a drive of each kind
// serves at once.
var parallelism = []string{
	"ssd.fua_programs", "ssd.servers", "ssd.flash.channels", "ssd.flash.dies_per_channel",
	"hdd.queue_depth", "cloud.max_in_flight", "raid.queue_depth", "empirical.parallel",
}

// EstimatedParallelism is the parameter that says how many requests the drive serves
// at once, if no source but an estimate is known for it; else it is empty.
func (p *Profile) EstimatedParallelism() string {
	q := p.filled()
	for _, path := range parallelism {
		if x, err := q.Parameter(path); err == nil && x.Value != 0 && IsEstimate(p.sourceOf(path)) {
			return path
		}
	}
	return ""
}
