package fault

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nbdbench/sim"
)

// Kind is one way to misbehave.
type Kind string

// The kinds; the package's comment says what they do.
const (
	LyingFlush         Kind = "lying-flush"
	FUAIgnored         Kind = "fua-ignored"
	FlushSkipsInflight Kind = "flush-skips-inflight"
	StaleAfterFUA      Kind = "stale-after-fua"
	Shorn              Kind = "shorn"
	Collateral512e     Kind = "collateral-512e"
	Lost               Kind = "lost"
	Misdirected        Kind = "misdirected"
	BitRot             Kind = "bit-rot"
	EIORead            Kind = "eio-read"
	EIOWrite           Kind = "eio-write"
	EIOFlush           Kind = "eio-flush"
	Slow               Kind = "slow"
	Dead               Kind = "dead"
	NoCapacitor        Kind = "no-capacitor"
)

// Fault is one fault of a plan. Parameters that its kind does not have are 0.
type Fault struct {
	Kind        Kind
	Every       uint64       // one of so many commands of its kind, drawn from the seed
	After       uint64       // so many requests are served
	Probability float64      // of each sector
	Time        sim.Duration // how long it takes, or takes longer
}

// Plan is a device's faults, the first next to the device. The zero Plan has
// none.
type Plan []Fault

// defaults are the kinds with the parameters that they have.
var defaults = []Fault{
	{Kind: LyingFlush, Time: 20 * time.Microsecond},
	{Kind: FUAIgnored},
	{Kind: FlushSkipsInflight},
	{Kind: StaleAfterFUA},
	{Kind: Shorn},
	{Kind: Collateral512e},
	{Kind: Lost, Every: 10},
	{Kind: Misdirected, Every: 10},
	{Kind: BitRot, Probability: 0.01},
	{Kind: EIORead, Every: 10},
	{Kind: EIOWrite, Every: 10},
	{Kind: EIOFlush, Every: 10},
	{Kind: Slow, Every: 10, Time: 100 * time.Millisecond},
	{Kind: Dead, After: 100},
	{Kind: NoCapacitor},
}

// The bounds of a plan.
const (
	MaxFaults = 16
	maxCount  = 1 << 40
	maxTime   = sim.Duration(time.Hour)
)

// Kinds are the names of all faults.
func Kinds() []string {
	var names []string
	for _, f := range defaults {
		names = append(names, string(f.Kind))
	}
	return names
}

// Parse reads a plan; the empty text is the empty plan.
func Parse(text string) (Plan, error) {
	var p Plan
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for i, word := range strings.Split(text, ",") {
		f, err := parseFault(strings.TrimSpace(word))
		if err != nil {
			return nil, fmt.Errorf("fault %d, %q: %w", i+1, word, err)
		}
		p = append(p, f)
	}
	if len(p) > MaxFaults {
		return nil, fmt.Errorf("expected at most %d faults, got %d", MaxFaults, len(p))
	}
	return p, nil
}

func parseFault(word string) (Fault, error) {
	parts := strings.Split(word, ":")
	i := slices.IndexFunc(defaults, func(f Fault) bool { return string(f.Kind) == parts[0] })
	if i < 0 {
		return Fault{}, fmt.Errorf("expected one of %s", strings.Join(Kinds(), ", "))
	}
	f := defaults[i]
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		if err := f.set(key, value); err != nil {
			return Fault{}, err
		}
	}
	return f, nil
}

// set reads one parameter. A parameter is there if its default is not 0.
func (f *Fault) set(key, value string) (err error) {
	switch {
	case key == "every" && f.Every != 0:
		f.Every, err = count(key, value)
	case key == "after" && f.After != 0:
		f.After, err = count(key, value)
	case key == "p" && f.Probability != 0:
		if f.Probability, err = strconv.ParseFloat(value, 64); err != nil || !(f.Probability > 0 && f.Probability <= 1) {
			return fmt.Errorf("p: expected more than 0 and at most 1, got %q", value)
		}
	case key == "time" && f.Time != 0:
		if f.Time, err = time.ParseDuration(value); err != nil || f.Time <= 0 || f.Time > maxTime {
			return fmt.Errorf("time: expected a duration of more than 0 and at most %v, got %q", maxTime, value)
		}
	default:
		return fmt.Errorf("%s has no parameter %q", f.Kind, key)
	}
	return err
}

func count(key, value string) (uint64, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n == 0 || n > maxCount {
		return 0, fmt.Errorf("%s: expected a number from 1 to 2^40, got %q", key, value)
	}
	return n, nil
}

// String is the plan as Parse reads it; parameters that are as usual are left
// out.
func (p Plan) String() string {
	words := make([]string, len(p))
	for i, f := range p {
		words[i] = f.String()
	}
	return strings.Join(words, ",")
}

func (f Fault) String() string {
	usual := defaults[slices.IndexFunc(defaults, func(d Fault) bool { return d.Kind == f.Kind })]
	text := string(f.Kind)
	if f.Every != usual.Every {
		text += fmt.Sprintf(":every=%d", f.Every)
	}
	if f.After != usual.After {
		text += fmt.Sprintf(":after=%d", f.After)
	}
	if f.Probability != usual.Probability {
		text += ":p=" + strconv.FormatFloat(f.Probability, 'g', -1, 64)
	}
	if f.Time != usual.Time {
		text += ":time=" + f.Time.String()
	}
	return text
}

// Has reports whether the plan has a fault of that kind.
func (p Plan) Has(k Kind) bool {
	return slices.ContainsFunc(p, func(f Fault) bool { return f.Kind == k })
}
