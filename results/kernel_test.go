package results

import (
	"bytes"
	"strings"
	"testing"

	"nbdbench/results/table"
)

func TestTheTableShowsWhatADriveWasSent(t *testing.T) {
	for _, x := range []struct {
		sent   *Sent
		words  string
		legend string
	}{
		{&Sent{Source: SentTraced, Commits: 100, Write: 25, WriteFUA: new(int64(100)), Flush: 50, Other: new(int64(2))}, "0.250 WRITE, 1.00 WRITE+FUA, 0.500 FLUSH, 0.0200 other", "by the block tracepoints"},
		{&Sent{Source: SentSummed, Commits: 100, Write: 100, Flush: 50}, "1.00 WRITE or WRITE+FUA, 0.500 FLUSH", "by the sums of /sys/block"},
	} {
		run := NewRun(Tool{}, []byte("{}"), 1)
		c := NewCell(CellConfig{ID: "d/w/native", Device: "d", Workload: "w", Strategy: "native", Clock: "real", Link: "socket", Runs: 1, Durable: true, Storage: true})
		c.Add(fakeRun(fakeDevices[0], false, fakeStrategies[0], 1, 100))
		c.Sent = x.sent
		run.Add(c)
		run.Finish()
		var b bytes.Buffer
		if err := run.Summary().Text(&b, 200); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(text, x.words) || !strings.Contains(text, x.legend) {
			t.Errorf("expected %q and %q in\n%s", x.words, x.legend, &b)
		}
	}
}

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
