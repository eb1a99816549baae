package results

import (
	"math"
	"strconv"
	"strings"
)

// significant prints x with three significant digits, never as an exponent.
func significant(x float64) string {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	digits := int(math.Floor(math.Log10(math.Abs(x)))) + 1
	if rounded := math.Abs(x) / math.Pow10(digits-3); math.Round(rounded) >= 1000 {
		digits++
	}
	return strconv.FormatFloat(x, 'f', max(0, 3-digits), 64)
}

// roundsTo1000 reports whether x would print as 1000 or more.
func roundsTo1000(x float64) bool { return math.Round(x) >= 1000 }

// formatNS prints a duration with three significant digits and its unit.
func formatNS(ns int64) string {
	if ns < 1000 {
		return strconv.FormatInt(ns, 10) + " ns"
	}
	x := float64(ns) / 1e3
	for _, unit := range []string{" µs", " ms"} {
		if !roundsTo1000(x) {
			return significant(x) + unit
		}
		x /= 1e3
	}
	if x >= 1000 {
		return formatCount(int64(math.Round(x))) + " s"
	}
	return significant(x) + " s"
}

// formatCount prints n with a comma at each thousand.
func formatCount(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i := range len(s) {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(s[i])
	}
	return sign + b.String()
}

// formatRate prints a rate: whole with commas from 1000 on, else three digits.
func formatRate(x float64) string {
	if roundsTo1000(x) {
		return formatCount(int64(math.Round(x)))
	}
	return significant(x)
}

// formatAverage prints total/n briefly: 0, or one or no decimal.
func formatAverage(total, n int64) string {
	switch {
	case total == 0 || n == 0:
		return "0"
	case total*20 < n: // would print as 0.0
		return "<0.1"
	}
	x := float64(total) / float64(n)
	if x >= 100 {
		return formatCount(int64(math.Round(x)))
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}

// formatSpan prints an interval of ratios, with a digit more where three would
// make its ends look the same.
func formatSpan(lo, hi float64) string {
	d := spanDecimals(lo, hi)
	return "[" + withDecimals(lo, d) + ", " + withDecimals(hi, d) + "]"
}

// formatEstimate prints a ratio for its interval: with the digits of the
// interval where that has more, so that rounding does not move it outside.
func formatEstimate(x, lo, hi float64) string { return withDecimals(x, spanDecimals(lo, hi)) }

// spanDecimals is how many decimals the interval needs, or -1 where each number
// has its own three significant digits.
func spanDecimals(lo, hi float64) int {
	a, b := significant(lo), significant(hi)
	if a != b || lo == hi {
		return -1
	}
	return max(0, len(a)-1-strings.IndexByte(a+".", '.')) + 1
}

func withDecimals(x float64, decimals int) string {
	if decimals < 0 {
		return significant(x)
	}
	return strconv.FormatFloat(x, 'f', decimals, 64)
}

// plural is "1 run", "12 runs".
func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return formatCount(n) + " " + one + "s"
}

// join is "a", "a and b", "a, b and c".
func join(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
