package results

import (
	"encoding/json"
	"strings"
	"testing"

	"nbdbench/sim"
)

func TestComparingADocumentWithItselfFindsNothing(t *testing.T) {
	back, err := Load(stored(t, smallDocument(t)))
	if err != nil {
		t.Fatal(err)
	}
	d := Compare(smallDocument(t), back) // one from memory, one from disk
	for _, r := range d.Rows {
		want := Equivalent
		if strings.HasSuffix(r.Cell, "/none") && strings.HasPrefix(r.Cell, "nvme") { // partial
			want = Inconclusive
		}
		if r.Ratio != 1 || r.Verdict != want || r.P != nil {
			t.Errorf("%+v", r)
		}
	}
	if len(d.Rows) != int(numMetrics)*5 || len(d.Only) != 0 {
		t.Errorf("%d rows, only %v", len(d.Rows), d.Only)
	}
}

func TestARegressionIsFoundAndItsReverseIsNot(t *testing.T) {
	a := documentOf(cellOf("native", true, runsOf("a", 0, 12, 1200, 1e6)))
	b := documentOf(cellOf("native", true, runsOf("a", 0, 12, 1200, 1.2e6)), cellOf("none", true, nil))
	d := Compare(a, b)
	if got := d.Regressed("commit.p99", 0.05); len(got) != 1 || got[0].Verdict != Slower {
		t.Errorf("a fifth slower: %+v", got)
	}
	if got := d.Regressed("commit.p99", 0.25); len(got) != 0 {
		t.Errorf("within the limit: %+v", got)
	}
	if got := Compare(b, a).Regressed("commit.p99", 0); len(got) != 0 {
		t.Errorf("faster: %+v", got)
	}
	if len(d.Only) != 1 || d.Only[0] != "d/w/none" {
		t.Errorf("only %q", d.Only)
	}
	if text := string(written(t, d.WriteJSON)); !json.Valid([]byte(text)) || !strings.Contains(text, DiffSchema) {
		t.Errorf("JSON %s", text)
	}
}

func TestWithoutCommonSeedsThereIsNoPairing(t *testing.T) {
	a, b := runsOf("a", 0, 12, 1200, 1e6), runsOf("a", 0, 12, 1200, 1.2e6)
	other := cellOf("native", true, b)
	for _, run := range other.runs {
		run.Seed += sim.Seed(1000)
	}
	paired, apart := Compare(documentOf(cellOf("native", true, a)), documentOf(cellOf("native", true, b))),
		Compare(documentOf(cellOf("native", true, a)), documentOf(other))
	for i, r := range apart.Rows {
		wide, narrow := r.CI95[1]-r.CI95[0], paired.Rows[i].CI95[1]-paired.Rows[i].CI95[0]
		if wide < 2*narrow {
			t.Errorf("%s: interval %.3f wide, paired %.3f", r.Metric, wide, narrow)
		}
	}
}
