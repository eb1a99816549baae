package calibrate

import (
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"nbdbench/devices/catalog"
)

func TestTheChartOfEachDeviceIsPlainAndNarrow(t *testing.T) {
	for _, p := range profiles(t, catalog.List()...) {
		chart, err := FlushChart(context.Background(), p)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		for _, line := range strings.Split(chart, "\n") {
			if n := utf8.RuneCountInString(line); n > chartWidth || strings.TrimRight(line, " ") != line || strings.ContainsAny(line, "\t\x1b") {
				t.Errorf("%s: %d columns in %q", p.Name, n, line)
			}
		}
		if (p.Advertise.FUA == "native") != strings.Contains(chart, "\n  FUA 4KiB ") || !strings.Contains(chart, "\n  write 4KiB ") {
			t.Errorf("%s: FUA is %s, the chart\n%s", p.Name, p.Advertise.FUA, chart)
		}
	}
}

// The figures are the model's own: the parameters of fua-disk come back. 64 MiB take
// 20 ms to cross its interface, in which it destages what is beyond its high-water mark.
func TestTheChartIsMeasuredOnTheModel(t *testing.T) {
	chart, err := FlushChart(context.Background(), profiles(t, "fua-disk")[0])
	if err != nil {
		t.Fatal(err)
	}
	const want = `what a FLUSH takes after so much was written, simulated:
             in sequence 4KiB random
  0                 20µs        20µs  #
  4KiB            2.24ms      2.24ms  ############################
  64KiB           2.24ms      2.24ms  ############################
  1MiB            2.24ms      2.24ms  ############################
  16MiB           5.24ms      5.24ms  #################################
  64MiB           5.84ms           -  ##################################
`
	if !strings.HasPrefix(chart, want) {
		t.Errorf("got\n%s\nwant\n%s", chart, want)
	}
	for _, line := range []string{"\n  write 4KiB       460µs       460µs ", "\n  FUA 4KiB        2.38ms      2.38ms "} {
		if !strings.Contains(chart, line) {
			t.Errorf("%q is not in\n%s", line, chart)
		}
	}
}

// A device without FLUSH has no FLUSH in its chart.
func TestTheChartOfADeviceWithoutFlushIsOfItsWrites(t *testing.T) {
	p := profiles(t, "nvme-990pro")[0]
	p.Advertise.Flush = false
	chart, err := FlushChart(context.Background(), p)
	if err != nil || strings.Count(chart, "\n") != 4 || !strings.HasPrefix(chart, "what a write takes, simulated:\n") {
		t.Errorf("%v\n%s", err, chart)
	}
}

func TestABarGrowsWithTheLogarithm(t *testing.T) {
	for v, want := range map[float64]int{0: 0, 10: 1, 100: 1 + (chartBar-1)/2 + 1, 1000: chartBar} {
		if got := len(bar(v, 10, 1000)); got != want {
			t.Errorf("%g has %d columns of %d, want %d", v, got, chartBar, want)
		}
	}
	if bar(5, 5, 5) != "#" {
		t.Error("a bar of one value")
	}
}
