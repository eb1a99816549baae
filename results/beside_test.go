package results

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"nbdbench/sim"
)

// besideDocument is a model whose commits take twice as long as the storage's.
func besideDocument(runs int) *Run {
	r := newSmallDocument()
	r.Cells = nil
	drive, model := fakeDevices[0], fakeDevices[0]
	link := sim.Duration(32e3) // of fakeRun, with the server's queue
	model.fua, model.cache = 2*drive.fua, 2*drive.cache+link
	for device, d := range map[string]fakeDevice{"loop0": drive, "mine": model} {
		c := NewCell(CellConfig{
			ID: device + "/sync-4k/native", Device: device, Workload: "sync-4k", Strategy: "native", Clock: "real", Link: "socket",
			QueueDepth: 1, Connections: 1, Runs: runs, Durable: true, Storage: device == "loop0",
		})
		for i := range runs {
			c.Add(fakeRun(d, false, fakeStrategies[0], sim.Seed(i+1), 2000))
		}
		r.Add(c)
	}
	r.Finish()
	return r
}

func TestAModelIsComparedWithTheDriveBesideIt(t *testing.T) {
	r := besideDocument(8)
	if len(r.Models) != 3 {
		t.Fatalf("got %+v", r.Models)
	}
	for i, m := range r.Models {
		if want := metricNames[offMetrics[i]]; m.Metric != want || m.Model != "mine" || m.Drive != "loop0" || math.Abs(m.Ratio-2) > 0.05 {
			t.Errorf("got %+v, want twice %s", m, want)
		}
		if m.CI95 == nil || m.CI95[0] > m.Ratio || m.CI95[1] < m.Ratio {
			t.Errorf("%s has the interval %v", m.Metric, m.CI95)
		}
	}
	var b bytes.Buffer
	if err := r.Summary().Text(&b, 160); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"model/drive", "p50 2.00x", "mine beside loop0, sync-4k, native: p50 "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("expected %q in\n%s", want, &b)
		}
	}
	if few := besideDocument(2); len(few.Models) != 3 || few.Models[0].CI95 != nil {
		t.Errorf("two runs have the intervals %+v", few.Models)
	}
}

func TestModelsAloneAreNotCompared(t *testing.T) {
	if r := smallDocument(t); r.Models != nil {
		t.Errorf("got %+v", r.Models)
	}
}
