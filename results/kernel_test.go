package results

import (
	"bytes"
	"strings"
	"testing"

	"nbdbench/results/table"
)

func TestTheTableShowsWhatTheKernelSent(t *testing.T) {
	for link, want := range map[string]bool{LinkKernel: true, "socket": false} {
		run := NewRun(Tool{}, []byte("{}"), 1)
		for _, s := range []fakeStrategy{fakeStrategies[0], fakeStrategies[2]} {
			c := NewCell(CellConfig{ID: "d/w/" + s.name, Device: "d", Workload: "w", Strategy: s.name, Clock: "real", Link: link, Runs: 1, Durable: true})
			r := fakeRun(fakeDevices[0], false, s, 1, 100)
			r.Wire = Wire{WriteFUA: 100}
			if s.flush {
				r.Wire = Wire{Write: 100, Flush: 25}
			}
			c.Add(r)
			run.Add(c)
		}
		run.Finish()
		var b bytes.Buffer
		if err := run.Summary().Text(&b, table.Width); err != nil {
			t.Fatal(err)
		}
		for _, words := range []string{"kernel sent/c", "1.00 WRITE+FUA", "1.00 WRITE, 0.250 FLUSH"} {
			if strings.Contains(b.String(), words) != want {
				t.Errorf("link %s, %q: expected %v in\n%s", link, words, want, &b)
			}
		}
	}
}
