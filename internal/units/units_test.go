package units

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Size
		out  string
	}{
		{"0", 0, "0"},
		{"512", 512, "512"},
		{"512B", 512, "512"},
		{"4k", 4096, "4KiB"},
		{"4K", 4096, "4KiB"},
		{"4Ki", 4096, "4KiB"},
		{"4KiB", 4096, "4KiB"},
		{"4kB", 4000, "4kB"},
		{"64KiB", 65536, "64KiB"},
		{"1m", 1 << 20, "1MiB"},
		{"1MB", 1e6, "1MB"},
		{"1GiB", 1 << 30, "1GiB"},
		{"100GB", 100e9, "100GB"},
		{"1.5g", 3 << 29, "1536MiB"},
		{"0.5k", 512, "512"},
		{"2.50k", 2560, "2560"},
		{"1t", 1 << 40, "1TiB"},
		{"16383PiB", 16383 << 50, "16383PiB"},
		{"18446744073709551615", math.MaxUint64, "18446744073709551615"},
	} {
		got, err := ParseSize(c.in)
		if err != nil || got != c.want || got.String() != c.out {
			t.Errorf("%q: got %d, %q, %v; want %d, %q", c.in, got, got.String(), err, c.want, c.out)
		}
	}
}

func TestTextThatIsNoQuantityIsRefused(t *testing.T) {
	parsers := map[string]struct {
		parse func(string) error
		bad   string
	}{
		"a size":      {refuses(ParseSize), ".|k|4q|4 k|-1|+1|1e3|4kb|4KiBs|1.|.5k|1..5k|0.3|0.0001k|16384PiB|18446744073709551616|1.5.5|18446.75PB|0.1234567890123456789k|nan"},
		"a duration":  {refuses(ParseDuration), "5|5 s|-5s|-0s|fast|1d"},
		"a rate":      {refuses(ParseRate), "5|5/|/s|-1/s|5/day|inf/s|nan/s|1e10/s|5k/s|2/ns"},
		"a bandwidth": {refuses(ParseBandwidth), "5|5/s|5B|4gB/s|4iB/s|4_B/s|B/s|4GGB/s|4Gx/s|-1B/s|4kMB/s"},
	}
	for want, p := range parsers {
		for _, in := range append(strings.Split(p.bad, "|"), "") {
			err := p.parse(in)
			if err == nil || !strings.Contains(err.Error(), "expected "+want+" such as") {
				t.Errorf("%q as %s: %v", in, want, err)
			}
		}
	}
}

func refuses[T any](parse func(string) (T, error)) func(string) error {
	return func(s string) error { _, err := parse(s); return err }
}

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		in       string
		want     Rate
		out      string
		interval time.Duration
	}{
		{"5000/s", 5000, "5000/s", 200 * time.Microsecond},
		{"100/ms", 100000, "100000/s", 10 * time.Microsecond},
		{"2/us", 2e6, "2e+06/s", 500 * time.Nanosecond},
		{"30/min", 0.5, "0.5/s", 2 * time.Second},
		{"36/h", 0.01, "0.01/s", 100 * time.Second},
		{"1.5/s", 1.5, "1.5/s", 666666667},
	} {
		got, err := ParseRate(c.in)
		if err != nil || got != c.want || got.String() != c.out || got.Interval() != c.interval {
			t.Errorf("%q: got %v, %q, every %v, %v; want %q, every %v", c.in, float64(got), got, got.Interval(), err, c.out, c.interval)
		}
	}
	if Rate(0).Interval() != 0 {
		t.Error("a zero rate has an interval")
	}
}

func TestParseBandwidth(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Bandwidth
		out  string
	}{
		{"4GB/s", 4e9, "4GB/s"},
		{"10Gb/s", 1.25e9, "1.25GB/s"},
		{"500MiB/s", 500 << 20, "524.288MB/s"},
		{"1Kib/s", 128, "128B/s"},
		{"9B/s", 9, "9B/s"},
		{"1.5kB/s", 1500, "1.5kB/s"},
		{"2TB/s", 2e12, "2TB/s"},
	} {
		got, err := ParseBandwidth(c.in)
		if err != nil || got != c.want || got.String() != c.out {
			t.Errorf("%q: got %v, %q, %v; want %v, %q", c.in, float64(got), got, err, float64(c.want), c.out)
		}
	}
}

func TestWhatIsPrintedParsesBack(t *testing.T) {
	t.Run("size", roundTrip(func(n uint64) Size { return Size(n) }, ParseSize))
	t.Run("duration", roundTrip(func(n uint64) Duration { return Duration(n % uint64(MaxDuration+1)) }, ParseDuration))
	t.Run("rate", roundTrip(func(n uint64) Rate { return Rate(float64(n%1e12) / 1e3) }, ParseRate))
	t.Run("bandwidth", roundTrip(func(n uint64) Bandwidth { return Bandwidth(float64(n) / 8) }, ParseBandwidth))
}

func roundTrip[T interface {
	comparable
	String() string
}](from func(uint64) T, parse func(string) (T, error),
) func(t *testing.T) {
	return rapid.MakeCheck(func(t *rapid.T) {
		want := from(rapid.Uint64().Draw(t, "n"))
		got, err := parse(want.String())
		if err != nil || got != want {
			t.Fatalf("%v printed as %q parses as %v, %v", want, want.String(), got, err)
		}
	})
}

func TestJSONIsText(t *testing.T) {
	type all struct {
		Size      Size
		Duration  Duration
		Rate      Rate
		Bandwidth Bandwidth
	}
	want := all{4096, Duration(15 * time.Microsecond), 5000, 4e9}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != `{"Size":"4KiB","Duration":"15µs","Rate":"5000/s","Bandwidth":"4GB/s"}` {
		t.Errorf("got %s", text)
	}
	var got all
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"Size":"4q"}`), &got); err == nil || got.Size != 4096 {
		t.Errorf("a bad size: %v, left %v", err, got.Size)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"4k", "1.5GiB", "100GB", "5000/s", "10Gb/s", "1h2m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		again(t, s, ParseSize)
		again(t, s, ParseDuration)
		again(t, s, ParseRate)
		again(t, s, ParseBandwidth)
	})
}

func again[T interface {
	comparable
	String() string
}](t *testing.T, s string, parse func(string) (T, error)) {
	first, err := parse(s)
	if err != nil {
		return
	}
	if second, err := parse(first.String()); err != nil || second != first {
		t.Fatalf("%q is %v, printed %q, read again as %v, %v", s, first, first.String(), second, err)
	}
}
