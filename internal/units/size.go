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

// String prints s with the largest unit, binary or decimal, of which it is a
// whole multiple: the shorter of the two numbers, and the binary one of equals.
func (s Size) String() string {
	binary, decimal := s.multiple(1024, "iB"), s.multiple(1000, "B")
	if len(decimal) < len(binary) {
		return decimal
	}
	return binary
}

// multiple prints s in the largest power of base of which it is a multiple.
func (s Size) multiple(base Size, suffix string) string {
	power := 0
	for ; s != 0 && s%base == 0 && power < len(prefixes); power++ {
		s /= base
	}
	number := strconv.FormatUint(uint64(s), 10)
	if power == 0 {
		return number
	}
	prefix := prefixes[power-1 : power]
	if base == 1000 && power == 1 {
		prefix = "k"
	}
	return number + prefix + suffix
}

// prefixes are those of the powers from 1 on.
const prefixes = "KMGTP"

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
