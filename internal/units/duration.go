package units

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a span of time, in Go's notation. A bare number other than 0 is
// refused: its unit would be a guess.
type Duration time.Duration

// durationWanted is what a duration may look like, for errors.
const durationWanted = "a duration such as 15us, 1.5ms, 30s or 2h30m, at most 8760h"

// MaxDuration bounds a Duration: a year, so that hundreds of them can be added.
const MaxDuration = 8760 * time.Hour

// ParseDuration reads a duration that is not negative.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > MaxDuration || strings.HasPrefix(s, "-") {
		return 0, fmt.Errorf("%q: expected %s", s, durationWanted)
	}
	return Duration(d), nil
}

// Std is d as the type of package time.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error { return assign(d, string(text), ParseDuration) }

// Rough rounds d to two significant digits.
func Rough(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for ; d >= 100*unit; unit *= 10 {
	}
	return d.Round(unit)
}
