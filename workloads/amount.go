package workloads

import (
	"fmt"
	"strconv"
	"strings"

	"nbdbench/internal/units"
)

// Amount is a part of a device: bytes, or a percentage of it.
type Amount struct {
	Bytes   units.Size
	Percent float64 // used if not 0
}

// amountWanted is what an amount may look like, for errors.
const amountWanted = "a size such as 64MiB or a percentage such as 25%"

// regionGrain is what a percentage of a device is rounded down to.
const regionGrain = 4096

// UnmarshalText reads "64MiB" or "25%".
func (a *Amount) UnmarshalText(text []byte) error {
	s := string(text)
	if number, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(number, 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return fmt.Errorf("%q: expected %s", s, amountWanted)
		}
		*a = Amount{Percent: p}
		return nil
	}
	n, err := units.ParseSize(s)
	if err != nil {
		return fmt.Errorf("%q: expected %s", s, amountWanted)
	}
	*a = Amount{Bytes: n}
	return nil
}

// MarshalText is String.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a Amount) String() string {
	if a.Percent != 0 {
		return strconv.FormatFloat(a.Percent, 'g', -1, 64) + "%"
	}
	return a.Bytes.String()
}

// of is the amount in bytes on a device of that size.
func (a Amount) of(size uint64) uint64 {
	if a.Percent != 0 {
		return uint64(float64(size)*a.Percent/100) / regionGrain * regionGrain
	}
	return uint64(a.Bytes)
}

// span is a range of the device.
type span struct{ start, length uint64 }

// on resolves the region on a device of that size.
func (r *Region) on(size uint64) span {
	start := min(r.Offset.of(size), size)
	length := (size - start) / regionGrain * regionGrain
	if r.Size != nil {
		length = r.Size.of(size)
	}
	if r.AtMost != 0 {
		length = min(length, uint64(r.AtMost))
	}
	return span{start, length}
}

// share is one of so many equal parts of the range, in whole regionGrains.
func (s span) share(part, of uint32) span {
	if of <= 1 {
		return s
	}
	length := s.length / uint64(of) / regionGrain * regionGrain
	return span{s.start + uint64(part)*length, length}
}
