package bench

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"nbdbench/internal/units"
	"nbdbench/workloads"
)

// kind is how the values of an axis are written: lists of single values and of ranges,
// which are FROM..TO*FACTOR and FROM..TO+STEP.
type kind interface {
	// list makes single values of a list, each in one spelling.
	list(text string) ([]string, error)
}

// numbers is a kind of values that are numbers with or without a unit.
type numbers struct {
	parse  func(string) (float64, error)
	show   func(float64) string
	whole  bool
	wanted string // of a value, for errors
	check  func(float64) error
}

// The kinds of values.
var (
	kindCount = numbers{
		whole: true, wanted: "a number",
		parse: func(s string) (float64, error) { n, err := strconv.ParseUint(s, 10, 53); return float64(n), err },
		show:  func(v float64) string { return strconv.FormatUint(uint64(v), 10) },
	}
	kindNumber = numbers{
		wanted: "a number",
		parse:  func(s string) (float64, error) { return strconv.ParseFloat(s, 64) },
		show:   func(v float64) string { return strconv.FormatFloat(v, 'g', 12, 64) },
	}
	kindDuration = numbers{
		whole: true, wanted: "a duration such as 15us",
		parse: func(s string) (float64, error) { d, err := units.ParseDuration(s); return float64(d), err },
		show:  func(v float64) string { return time.Duration(v).String() },
	}
	kindSize = numbers{
		whole: true, wanted: "a size such as 4k",
		parse: func(s string) (float64, error) { n, err := units.ParseSize(s); return float64(n), err },
		show:  func(v float64) string { return units.Size(v).String() },
	}
	kindBandwidth = numbers{
		wanted: "a bandwidth such as 4GB/s",
		parse:  func(s string) (float64, error) { b, err := units.ParseBandwidth(s); return float64(b), err },
		show:   func(v float64) string { return units.Bandwidth(v).String() },
	}
	kindRate = numbers{
		wanted: "a rate such as 5000/s",
		parse:  func(s string) (float64, error) { r, err := units.ParseRate(s); return float64(r), err },
		show:   func(v float64) string { return rateOf(v).String() },
		check: func(v float64) error {
			if v <= 0 {
				return errors.New("expected more than 0")
			}
			return nil
		},
	}
	kindDepth = kindCount.from(1, workloads.MaxQueueDepth)
)

// rateOf is a rate of twelve digits, as many as its text has.
func rateOf(v float64) units.Rate {
	v, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64)
	if err != nil {
		panic("bench: " + err.Error()) // of what was just written
	}
	return units.Rate(v)
}

// fixedKinds are those of the axes that are no parameters of profiles.
var fixedKinds = map[string]kind{
	AxisQueueDepth:  kindDepth,
	AxisConnections: kindCount.from(1, MaxConnections),
	AxisLink:        linkValues{},
	AxisRate:        kindRate,
}

// from is the kind with bounds.
func (k numbers) from(low, high float64) numbers {
	k.wanted = fmt.Sprintf("%s from %s to %s", k.wanted, k.show(low), k.show(high))
	k.check = func(v float64) error {
		if v < low || v > high {
			return fmt.Errorf("expected %s", k.wanted)
		}
		return nil
	}
	return k
}

// kindOf is the kind of a parameter's value.
func kindOf(value any) kind {
	switch value.(type) {
	case time.Duration, units.Duration:
		return kindDuration
	case units.Size:
		return kindSize
	case units.Bandwidth:
		return kindBandwidth
	case units.Rate:
		return kindRate
	}
	switch v := reflect.ValueOf(value); {
	case v.CanInt(), v.CanUint():
		return kindCount
	case v.CanFloat():
		return kindNumber
	}
	return words{}
}

// list makes single values of a list.
func (k numbers) list(text string) (out []string, err error) {
	for token := range strings.SplitSeq(text, ",") {
		values, err := k.token(strings.TrimSpace(token))
		if err != nil {
			return nil, err
		}
		if out = append(out, values...); len(out) > MaxAxisValues {
			return nil, tooMany()
		}
	}
	return out, nil
}

func tooMany() error { return fmt.Errorf("expected at most %d values", MaxAxisValues) }

// token is a value or a range.
func (k numbers) token(text string) ([]string, error) {
	from, rest, isRange := strings.Cut(text, "..")
	if !isRange {
		v, err := k.value(text)
		return []string{k.show(v)}, err
	}
	at := strings.LastIndexAny(rest, "*+")
	if at < 0 {
		return nil, fmt.Errorf("expected a range with its step, such as 1..256*2 or 1..64+8, got %q", clip(text))
	}
	low, err1 := k.value(from)
	high, err2 := k.value(rest[:at])
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if low > high {
		return nil, fmt.Errorf("expected a range that rises, got %q", clip(text))
	}
	next, err := k.step(rest[at], rest[at+1:], low)
	if err != nil {
		return nil, err
	}
	return k.between(low, high, next)
}

// step is what makes a value of the one before it.
func (k numbers) step(op byte, text string, low float64) (next func(float64) float64, err error) {
	if op == '*' {
		factor, err := strconv.ParseFloat(text, 64)
		if err != nil || !(factor > 1) || math.IsInf(factor, 0) {
			return nil, fmt.Errorf("expected a factor greater than 1, got %q", clip(text))
		}
		if low <= 0 {
			return nil, errors.New("expected a range by a factor to begin above 0")
		}
		return func(v float64) float64 { return v * factor }, nil
	}
	step, err := k.parse(text)
	if err != nil || !(step > 0) {
		return nil, fmt.Errorf("expected a step greater than 0, %s, got %q", k.wanted, clip(text))
	}
	return func(v float64) float64 { return v + step }, nil
}

// between are the values of a range, up to its end and with it where a step meets it. Whole
// numbers are rounded, and each is there once.
func (k numbers) between(low, high float64, next func(float64) float64) (out []string, err error) {
	const rounding = 1e-9
	for v, n := low, 0; v <= high*(1+rounding); v, n = next(v), n+1 {
		if n > 64*MaxAxisValues { // a factor of next to nothing
			return nil, tooMany()
		}
		x := v
		if k.whole {
			x = math.Round(v)
		}
		if s := k.show(min(x, high)); len(out) == 0 || out[len(out)-1] != s {
			out = append(out, s)
		}
		if len(out) > MaxAxisValues {
			return nil, tooMany()
		}
	}
	return out, nil
}

// value is one value.
func (k numbers) value(text string) (float64, error) {
	v, err := k.parse(text)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("expected %s, or a range such as %s, got %q", k.wanted, k.example(), clip(text))
	}
	if k.check != nil {
		if err := k.check(v); err != nil {
			return 0, fmt.Errorf("%w, got %q", err, clip(text))
		}
	}
	return v, nil
}

// example is a range, for errors.
func (k numbers) example() string {
	if _, err := k.parse("1"); err == nil {
		return "1..256*2"
	}
	return k.show(1e3) + ".." + k.show(8e3) + "*2"
}

// words is the kind of values that are no numbers.
type words struct{}

func (words) list(text string) (out []string, err error) {
	for token := range strings.SplitSeq(text, ",") {
		token = strings.TrimSpace(token)
		if token == "" {
			return nil, errors.New("expected a value, got nothing")
		}
		out = append(out, token)
	}
	return out, nil
}

// linkValues is the kind of links: names, and LATENCY,BANDWIDTH, of which the latency
// may be a range.
type linkValues struct{}

func (linkValues) list(text string) (out []string, err error) {
	add := func(name string) error {
		l, err := ParseLink(name)
		if err == nil && slices.Contains(out, l.Name) {
			err = fmt.Errorf("expected each link once, got %s again", l.Name)
		}
		out = append(out, l.Name)
		return err
	}
	tokens := strings.Split(text, ",")
	for len(tokens) > 0 {
		name := strings.TrimSpace(tokens[0])
		if _, known := links[name]; known || len(tokens) == 1 {
			if err := add(name); err != nil {
				return nil, err
			}
			tokens = tokens[1:]
			continue
		}
		latencies := []string{name}
		if strings.Contains(name, "..") {
			if latencies, err = kindDuration.token(name); err != nil {
				return nil, fmt.Errorf("latency of link %q: %w", clip(name), err)
			}
		}
		for _, l := range latencies {
			if err := add(l + "," + strings.TrimSpace(tokens[1])); err != nil {
				return nil, err
			}
		}
		tokens = tokens[2:]
	}
	return out, nil
}

// clip shortens what an error repeats.
func clip(text string) string {
	const most = 40
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}
