package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size uint64

// The binary multiples.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
	PiB Size = 1 << 50
)

// sizeWanted is what a size may look like, for errors.
const sizeWanted = "a size such as 512, 4k, 64KiB, 1GiB or 100GB"

// ParseSize reads a size: a number, whole or decimal, then a unit or none. The
// units are those of the package's description. The result must be a whole
// number of bytes.
func ParseSize(s string) (Size, error) {
	number, unit := splitNumber(s)
	scale, ok := sizeScale(unit)
	if number == "" || !ok {
		return 0, fmt.Errorf("%q: expected %s", s, sizeWanted)
	}
	n, err := multiply(number, scale)
	if err != nil {
		return 0, fmt.Errorf("%q: %w: expected %s", s, err, sizeWanted)
	}
	return Size(n), nil
}

// String prints s with the largest binary unit of which it is a whole multiple.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for i, name := range []string{"PiB", "TiB", "GiB", "MiB", "KiB"} {
		unit := PiB >> (10 * i)
		if s%unit == 0 {
			return strconv.FormatUint(uint64(s/unit), 10) + name
		}
	}
	return strconv.FormatUint(uint64(s), 10)
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(text []byte) (err error) { return assign(s, string(text), ParseSize) }

// sizeScale returns a unit's bytes.
func sizeScale(unit string) (uint64, bool) {
	switch unit {
	case "", "B":
		return 1, true
	}
	power := strings.IndexByte("kmgtp", unit[0]|0x20) + 1
	if power == 0 {
		return 0, false
	}
	switch unit[1:] {
	case "", "i", "iB":
		return 1 << (10 * power), true
	case "B":
		return uint64(math.Pow10(3 * power)), true
	}
	return 0, false
}

// splitNumber cuts s after its leading digits and point.
func splitNumber(s string) (number, unit string) {
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.') {
		end++
	}
	return s[:end], s[end:]
}

// multiply returns number times scale, exactly. number is digits with at most
// one decimal point among them.
func multiply(number string, scale uint64) (uint64, error) {
	whole, fraction, pointed := strings.Cut(number, ".")
	if whole == "" || pointed && fraction == "" || strings.Contains(fraction, ".") {
		return 0, errNotNumber
	}
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || n > math.MaxUint64/scale {
		return 0, errTooLarge
	}
	part, err := fractionOf(fraction, scale)
	if err != nil {
		return 0, err
	}
	if n*scale > math.MaxUint64-part {
		return 0, errTooLarge
	}
	return n*scale + part, nil
}

// fractionOf returns 0.digits times scale, if that is whole.
func fractionOf(digits string, scale uint64) (uint64, error) {
	digits = strings.TrimRight(digits, "0")
	if len(digits) > maxFraction {
		return 0, errNotWhole
	}
	if digits == "" {
		return 0, nil
	}
	numerator, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, errNotNumber
	}
	return divide(numerator, scale, uint64(math.Pow10(len(digits))))
}
