package fiojob

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// number is a value with its unit.
var number = regexp.MustCompile(`^(0[xX][0-9a-fA-F]+|[0-9]+)([a-zA-Z%]*)$`)

// sizeUnits are fio's with kb_base=1024: k and kb are 1024 bytes, and kib, which
// is the other way round elsewhere, is 1000.
var sizeUnits = map[string]uint64{
	"": 1, "b": 1,
	"k": 1 << 10, "kb": 1 << 10, "ki": 1 << 10, "kib": 1e3,
	"m": 1 << 20, "mb": 1 << 20, "mi": 1 << 20, "mib": 1e6,
	"g": 1 << 30, "gb": 1 << 30, "gi": 1 << 30, "gib": 1e9,
	"t": 1 << 40, "tb": 1 << 40, "ti": 1 << 40, "tib": 1e12,
	"p": 1 << 50, "pb": 1 << 50, "pi": 1 << 50, "pib": 1e15,
}

// parseSize reads a number of bytes, or of anything.
func parseSize(s string) (uint64, error) {
	n, scale, ok := split(s, sizeUnits)
	if !ok {
		return 0, fmt.Errorf("expected a whole number with k, m, g, t, p or no unit, got %q%s", short(s), misread(s))
	}
	if n > math.MaxInt64/scale {
		return 0, fmt.Errorf("expected less than 8 EiB, got %q", short(s))
	}
	return n * scale, nil
}

// misread says what fio makes of a number that it does not refuse.
func misread(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end <= 0 {
		return ""
	}
	return ", of which fio reads only " + s[:end] + ""
}

func split(s string, units map[string]uint64) (n, scale uint64, ok bool) {
	m := number.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, false
	}
	scale, ok = units[strings.ToLower(m[2])]
	n, err := strconv.ParseUint(m[1], 0, 64)
	if err != nil { // 010 is ten, not eight
		n, err = strconv.ParseUint(m[1], 10, 64)
	}
	if len(m[1]) > 1 && m[1][0] == '0' && m[1][1] != 'x' && m[1][1] != 'X' {
		n, err = strconv.ParseUint(m[1], 10, 64)
	}
	return n, scale, ok && err == nil
}

// maxTime bounds any time of a job.
const maxTime = 10 * 365 * 24 * time.Hour

// parseTime reads a time, of which a bare number is in that unit.
func parseTime(s string, bare time.Duration) (time.Duration, error) {
	units := map[string]uint64{
		"": uint64(bare), "us": 1e3, "usec": 1e3, "ms": 1e6, "msec": 1e6, "s": 1e9, "sec": 1e9,
		"m": 60e9, "h": 3600e9, "d": 24 * 3600e9,
	}
	n, scale, ok := split(s, units)
	if !ok {
		return 0, fmt.Errorf("expected a whole number with us, ms, s, m, h, d or no unit, got %q%s", short(s), misread(s))
	}
	if n > uint64(maxTime)/scale {
		return 0, fmt.Errorf("expected at most %v, got %q", maxTime, short(s))
	}
	return time.Duration(n * scale), nil
}

// amount is a number of bytes, or a percentage.
type amount struct {
	bytes   uint64
	percent uint64
}

func (a amount) none() bool { return a == amount{} }

func (a amount) String() string {
	if a.percent != 0 {
		return fmt.Sprintf("%d%%", a.percent)
	}
	return sizeText(a.bytes)
}

func parseAmount(s string) (amount, error) {
	if p, ok := strings.CutSuffix(s, "%"); ok {
		n, err := strconv.ParseUint(p, 10, 64)
		if err != nil || n < 1 || n > 100 {
			return amount{}, fmt.Errorf("expected a whole percentage from 1%% to 100%%, got %q", short(s))
		}
		return amount{percent: n}, nil
	}
	n, err := parseSize(s)
	return amount{bytes: n}, err
}

// parseSwitch reads 0, 1 or, of keys that may be bare, nothing.
func parseSwitch(s *Setting, mayBeBare bool) (bool, error) {
	switch {
	case s.Bare && mayBeBare, s.Value == "1" && !s.Bare:
		return true, nil
	case s.Value == "0":
		return false, nil
	case s.Bare:
		return false, fmt.Errorf("expected 0 or 1, got nothing, which fio refuses")
	}
	return false, fmt.Errorf("expected 0 or 1, got %q", short(s.Value))
}

// directions are what comma-separated values are of, in this order: one value is
// for all, and a missing last one is the one before it.
const directions = 3

// parseTriple reads up to three values with commas between.
func parseTriple(s string) (out [directions]uint64, err error) {
	parts := strings.Split(s, ",")
	if len(parts) > directions {
		return out, fmt.Errorf("expected at most %d values, for read, write and trim, got %q", directions, short(s))
	}
	for i := range out {
		if i < len(parts) && parts[i] != "" {
			if out[i], err = parseSize(parts[i]); err != nil {
				return out, err
			}
		} else if i > 0 && i >= len(parts) {
			out[i] = out[i-1]
		}
	}
	return out, nil
}
