package results

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/sim"
)

var gallery = flag.String("gallery", "", "directory for every chart of the edge cases, as PNG, and their pages")

// edgeDocuments are what charts must bear.
func edgeDocuments() map[string]func() *Run {
	doc := func(devices []fakeDevice, strategies []fakeStrategy, change func(c *Cell)) func() *Run {
		return func() *Run { return edgeDocument(devices, strategies, change) }
	}
	many := make([]fakeDevice, 28)
	wide := make([]fakeDevice, 4)
	for i := range many {
		many[i] = fakeDevice{name: fmt.Sprintf("nvme-%d", i), cache: 12e3, fua: sim.Duration(100e3 * (i + 1)), flush: 1600e3}
	}
	for i := range wide {
		wide[i] = fakeDevice{name: fmt.Sprintf("ten-orders-%d", i), cache: 1, fua: sim.Duration(math.Pow(10, float64(3*i+1))), flush: sim.Duration(math.Pow(10, float64(10-3*i)))}
	}
	long := strings.Repeat("a-name-of-many-parts-", 4)[:70]
	same := append([]fakeStrategy{}, fakeStrategies[0], fakeStrategies[0], fakeStrategies[1])
	same[1].name = "pass"
	return map[string]func() *Run{
		"ordinary": newFakeDocument, "each-status": newSmallDocument,
		"one-sample": doc(fakeDevices[:1], fakeStrategies, func(c *Cell) { c.runs = []*RunResult{oneCommit(c, 1e6)} }),
		"equal": doc(fakeDevices[:2], fakeStrategies, func(c *Cell) {
			for i := range c.runs {
				c.runs[i] = oneCommit(c, 1e6)
			}
		}),
		"ten-orders": doc(wide, fakeStrategies, nil), "28-devices": doc(many, fakeStrategies, nil),
		"long-names": doc([]fakeDevice{{name: long + "-first12", cache: 12e3, fua: 1e6, flush: 2e6}, {name: long + "-second3", cache: 12e3, fua: 2e6, flush: 1e6}}, fakeStrategies, nil),
		"coincident": doc(fakeDevices[:1], same, nil),
	}
}

// edgeDocument has a cell of each device and strategy, changed.
func edgeDocument(devices []fakeDevice, strategies []fakeStrategy, change func(c *Cell)) *Run {
	r := NewRun(Tool{Version: "v1.0.0", Go: "go1.26"}, json.RawMessage(`{}`), 1)
	for _, d := range devices {
		for _, s := range strategies {
			c := fakeCell(d, "sync-4k", s, 7)
			c.planned = 7
			if change != nil {
				change(c)
			}
			r.Add(c)
		}
	}
	r.Finish()
	return r
}

// oneCommit is a run of one commit of that latency.
func oneCommit(c *Cell, latency sim.Duration) *RunResult {
	h := NewHistogram()
	h.Record(latency)
	return &RunResult{Seed: sim.Seed(len(c.runs)), Elapsed: latency, Commit: h.Freeze(), Intervals: []Interval{{Width: latency, Count: 1, P50: latency, P99: latency, Max: latency, Latencies: []LatencyCount{{latency, 1}}}}}
}

// TestGallery draws every chart and page of edge cases: each is well-formed, and with
// -gallery there to be looked at.
func TestGallery(t *testing.T) {
	for name, make := range edgeDocuments() {
		r := make()
		for _, c := range r.Charts() {
			var b bytes.Buffer
			if err := c.Write(&b, "svg"); err != nil {
				t.Errorf("%s, %s: %v", name, c.Name, err)
				continue
			}
			if s := b.String(); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") || !wellFormed(s) {
				t.Errorf("%s, %s: not a drawing", name, c.Name)
			}
			if *gallery != "" {
				if err := os.MkdirAll(*gallery, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := c.Save(filepath.Join(*gallery, name+"-"+c.Name+".png")); err != nil {
					t.Error(err)
				}
			}
		}
		var page bytes.Buffer
		if err := r.WriteHTML(&page); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if *gallery != "" {
			if err := os.WriteFile(filepath.Join(*gallery, name+".html"), page.Bytes(), 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}

func wellFormed(s string) bool {
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// TestChartsOfManyDevicesHavePages: no figure has more devices than fit, and each
// device is in one.
func TestChartsOfManyDevicesHavePages(t *testing.T) {
	pages := map[string]int{}
	for _, c := range edgeDocuments()["28-devices"]().Charts() {
		kind, _, _ := strings.Cut(c.Name, "-")
		pages[kind]++
		if c.Tall() > 30*72 {
			t.Errorf("%s is %v points high", c.Name, c.Tall())
		}
	}
	if pages["latency"] != 3 || pages["ratios"] != 3 || pages["winners"] != 1 {
		t.Errorf("figures: %v", pages)
	}
}

// TestLinesThatCoincideAreNamed in one entry of the legend.
func TestLinesThatCoincideAreNamed(t *testing.T) {
	for _, c := range edgeDocuments()["coincident"]().Charts() {
		var b bytes.Buffer
		if err := c.Write(&b, "svg"); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(c.Name, "spectrum") && !strings.Contains(b.String(), "native = pass") {
			t.Error("the spectrum's legend does not say that native = pass")
		}
	}
}
