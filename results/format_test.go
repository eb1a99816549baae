package results

import (
	"testing"
)

func TestDurationsHaveThreeDigits(t *testing.T) {
	for ns, want := range map[int64]string{
		0: "0 ns", 999: "999 ns", 1000: "1.00 µs", 1234: "1.23 µs", 80_100: "80.1 µs", 999_499: "999 µs",
		999_600: "1.00 ms", 12_345_678: "12.3 ms", 999_999_999: "1.00 s", 61e9: "61.0 s", 3600e9: "3,600 s",
	} {
		if got := formatNS(ns); got != want {
			t.Errorf("%d ns: %q, want %q", ns, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{significant(0.00859), "0.00859"},
		{significant(0.9999), "1.00"},
		{significant(1.326), "1.33"},
		{significant(116.4), "116"},
		{significant(1e6), "1000000"},
		{formatCount(1234567), "1,234,567"},
		{formatCount(-999), "-999"},
		{formatRate(999.7), "1,000"},
		{formatRate(36.94), "36.9"},
		{formatAverage(0, 50), "0"},
		{formatAverage(1, 50), "<0.1"},
		{formatAverage(660, 50), "13.2"},
		{formatAverage(66000, 50), "1,320"},
		{formatSpan(1.3251, 1.3274), "[1.325, 1.327]"},
		{formatSpan(0.5, 1.5), "[0.500, 1.50]"},
		{join([]string{"a", "b", "c"}), "a, b and c"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
