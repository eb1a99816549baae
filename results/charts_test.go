package results

import (
	"bytes"
	"encoding/xml"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/results/chart"
	"nbdbench/sim"
)

func drawn(t *testing.T, c *chart.Chart, format string) []byte {
	t.Helper()
	return written(t, func(w io.Writer) error { return c.Write(w, format) })
}

func TestChartsOfTheDefaultPlan(t *testing.T) {
	charts := map[string]string{}
	for _, c := range fakeDocument(t).Charts() {
		svg := drawn(t, c, "svg")
		if err := xml.Unmarshal(svg, new(struct{})); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		charts[c.Name] = string(svg)
	}
	for name, labels := range map[string][]string{
		"spectrum-nvme-990pro":  {"99.9", "1 ms", "100 µs", "native", "none-unsafe (not durable)", "seed 1", "native wins"},
		"spectrum-nvme-pm963":   {"none-unsafe"},
		"spectrum-hdd-7200":     {"10 ms"},
		"latency-sync-4k":       {"nvme-990pro", "hdd-7200", "p99", "lost in a power cut"},
		"latency-wal-noisy":     {"none-unsafe (not durable)"},
		"breakdown-nvme-990pro": {"media (own data)", "1.25 ms", "96%"},
		"breakdown-nvme-pm963":  {"cache"},
		"breakdown-hdd-7200":    {"emulate and none take longest"},
	} {
		for _, l := range labels {
			if !strings.Contains(charts[name], l) {
				t.Errorf("%s: no label %q", name, l)
			}
		}
	}
	if len(charts) != 13 {
		t.Errorf("%d charts, want 13", len(charts))
	}
}

func TestChartsAreTheSameBytesEachTime(t *testing.T) {
	a, b := newSmallDocument().Charts(), newSmallDocument().Charts()
	for i := range a {
		for _, format := range chart.Formats {
			if !bytes.Equal(drawn(t, a[i], format), drawn(t, b[i], format)) {
				t.Errorf("%s as %s differs from itself", a[i].Name, format)
			}
		}
	}
}

func TestChartsBearPoorData(t *testing.T) {
	constant := func(n int, d sim.Duration) *Distribution {
		h := NewHistogram()
		for range n {
			h.Record(d)
		}
		return h.Freeze()
	}
	for name, r := range map[string]*Run{
		"nothing":          documentOf(),
		"no runs":          documentOf(NewCell(CellConfig{ID: "x", Runs: 1})),
		"no commit":        documentOf(cellOf("native", true, []*Distribution{{}})),
		"one commit":       documentOf(cellOf("native", true, []*Distribution{constant(1, 5)})),
		"eleven commits":   documentOf(cellOf("native", true, []*Distribution{constant(11, 5)})),
		"no time at all":   documentOf(cellOf("native", true, []*Distribution{constant(5000, 0), constant(5000, 0)})),
		"hours":            documentOf(cellOf("native", true, []*Distribution{constant(5000, 7200e9)})),
		"unknown strategy": documentOf(cellOf("my own <&> one", true, []*Distribution{constant(5000, 1e6)})),
	} {
		for _, c := range r.Charts() {
			for _, format := range chart.Formats {
				if out := drawn(t, c, format); bytes.Contains(out, []byte("NaN")) || len(out) == 0 {
					t.Errorf("%s: %s as %s: NaN or nothing", name, c.Name, format)
				}
			}
		}
	}
}

func TestAFailedChartLeavesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.bmp")
	if err := smallDocument(t).Charts()[0].Save(path); err == nil {
		t.Error("saved a bitmap")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDurationTicks(t *testing.T) {
	var labels []string
	for _, k := range chart.LogTicks(3.9, 7.1) {
		if k.Label != "" {
			labels = append(labels, k.Label)
		}
	}
	if got := strings.Join(labels, ", "); got != "10 µs, 100 µs, 1 ms, 10 ms" {
		t.Errorf("got %s", got)
	}
}

func TestTheReportNeedsNothingElse(t *testing.T) {
	html := string(written(t, smallDocument(t).WriteHTML))
	for _, bad := range []string{"http-equiv=\"refresh", "src=", "href=\"http", "@import", "url("} {
		if strings.Contains(html, bad) {
			t.Errorf("the report has %q", bad)
		}
	}
	for _, want := range []string{"<svg", "native wins", "not durable", "the host was late", "default-src"} {
		if !strings.Contains(html, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
}
