package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of operations per second. 0 is no rate.
type Rate float64

// MaxRate bounds a Rate: one operation each nanosecond, the clock's grain.
const MaxRate Rate = 1e9

// MinRate is the least that is not 0: one operation in a year.
const MinRate = 1 / Rate(MaxDuration/time.Second)

// rateWanted is what a rate may look like, for errors.
const rateWanted = "a rate such as 5000/s, 100/ms or 30/min, at most 1e9/s"

// ParseRate reads a rate: a number per us, ms, s, min or h.
func ParseRate(s string) (Rate, error) {
	number, per, ok := strings.Cut(s, "/")
	seconds, known := perSecond[per]
	n, err := strconv.ParseFloat(number, 64)
	rate := Rate(n / seconds)
	if !ok || !known || err != nil || !(rate >= 0) || rate > MaxRate || rate > 0 && rate < MinRate {
		return 0, fmt.Errorf("%q: expected %s", s, rateWanted)
	}
	return rate, nil
}

// perSecond has the seconds in each unit of time that a rate may be per.
var perSecond = map[string]float64{"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}

// Interval is the mean time between two operations; a zero rate has none.
func (r Rate) Interval() time.Duration {
	if r <= 0 {
		return 0
	}
	return time.Duration(math.Round(1e9 / float64(r)))
}

// String prints r per second, with as many digits as it takes to parse back to
// the same value.
func (r Rate) String() string { return strconv.FormatFloat(float64(r), 'g', -1, 64) + "/s" }

// MarshalText is String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRate.
func (r *Rate) UnmarshalText(text []byte) error { return assign(r, string(text), ParseRate) }

// Bandwidth is a number of bytes per second. 0 is unlimited, as in sim.Link.
type Bandwidth float64

// bandwidthWanted is what a bandwidth may look like, for errors.
const bandwidthWanted = "a bandwidth such as 4GB/s, 500MiB/s or 10Gb/s (B is bytes, b is bits)"

// ParseBandwidth reads a bandwidth: a number of bytes (B) or bits (b) with a
// decimal (k, M, G, T) or binary (Ki, Mi, Gi, Ti) prefix or none, per second.
func ParseBandwidth(s string) (Bandwidth, error) {
	number, unit := splitNumber(s)
	scale, ok := bandwidthScale(unit)
	n, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(n >= 0) || math.IsInf(n*scale, 0) {
		return 0, fmt.Errorf("%q: expected %s", s, bandwidthWanted)
	}
	return Bandwidth(n * scale), nil
}

// bandwidthPowers has the power of 1000 or 1024 that each prefix stands for.
var bandwidthPowers = map[string]int{"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}

// bandwidthScale returns the bytes per second of a unit such as GB/s or Mib/s.
func bandwidthScale(unit string) (float64, bool) {
	unit, ok := strings.CutSuffix(unit, "/s")
	if !ok || unit == "" {
		return 0, false
	}
	scale := 1.0
	switch unit[len(unit)-1] {
	case 'B':
	case 'b':
		scale = 1.0 / 8
	default:
		return 0, false
	}
	prefix, binary := strings.CutSuffix(unit[:len(unit)-1], "i")
	power, ok := bandwidthPowers[prefix]
	if !ok || binary && power == 0 {
		return 0, false
	}
	if binary {
		return scale * float64(uint64(1)<<(10*power)), true
	}
	return scale * math.Pow10(3*power), true
}

// String prints b in bytes per second, with the largest decimal prefix of
// which it is at least one.
func (b Bandwidth) String() string {
	prefixes := []string{"", "k", "M", "G", "T"}
	for power := len(prefixes) - 1; power > 0; power-- {
		scaled := float64(b) / math.Pow10(3*power)
		if scaled >= 1 && scaled*math.Pow10(3*power) == float64(b) {
			return strconv.FormatFloat(scaled, 'f', -1, 64) + prefixes[power] + "B/s"
		}
	}
	return strconv.FormatFloat(float64(b), 'f', -1, 64) + "B/s"
}

// MarshalText is String.
func (b Bandwidth) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBandwidth.
func (b *Bandwidth) UnmarshalText(text []byte) error { return assign(b, string(text), ParseBandwidth) }
