package results

import (
	"encoding/json"
	"math"
	"slices"
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
	if len(d.Rows) != int(numMetrics)*5 || len(d.OnlyOld)+len(d.OnlyNew) != 0 {
		t.Errorf("%d rows, only %v", len(d.Rows), d.OnlyOld)
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
	if len(d.OnlyOld) != 0 || len(d.OnlyNew) != 1 || d.OnlyNew[0] != "d/w/none" {
		t.Errorf("only old %q, only new %q", d.OnlyOld, d.OnlyNew)
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

// Swapping the documents inverts every ratio and interval, and the verdicts with them.
func TestSwappingTheDocumentsInvertsTheComparison(t *testing.T) {
	a := documentOf(cellOf("native", true, runsOf("a", 0, 12, 1200, 1e6)), cellOf("none", true, runsOf("b", 0, 12, 1200, 2e6)))
	b := documentOf(cellOf("native", true, runsOf("a", 0, 12, 1200, 1.1e6)), cellOf("none", true, runsOf("b", 0, 12, 1200, 1.7e6)))
	there, back := Compare(a, b), Compare(b, a)
	inverse := map[string]string{Faster: Slower, Slower: Faster, Equivalent: Equivalent, Inconclusive: Inconclusive}
	near := func(x, y float64) bool { return math.Abs(x*y-1) < 1e-9 }
	for i, x := range there.Rows {
		y := back.Rows[i]
		if x.Verdict != inverse[y.Verdict] || !near(x.Ratio, y.Ratio) || !near(x.CI95[0], y.CI95[1]) || !near(x.CI95[1], y.CI95[0]) {
			t.Errorf("there %+v %v\nback %+v %v", x, *x.CI95, y, *y.CI95)
		}
	}
	if len(there.Rows) != 2*int(numMetrics) {
		t.Errorf("%d rows", len(there.Rows))
	}
}

// The rule on planted shifts: 10% is named, 1% is equivalent.
func TestPlantedShiftsAreNamed(t *testing.T) {
	for _, c := range []struct {
		shift float64
		want  string
	}{{1.1, Slower}, {1 / 1.1, Faster}, {1.01, Equivalent}} {
		a := documentOf(cellOf("native", true, runsOf("a", 0, 12, 1200, 1e6)))
		b := documentOf(cellOf("native", true, runsOf("a", 0, 12, 1200, 1e6*c.shift)))
		for _, r := range Compare(a, b).Rows {
			if r.Verdict != c.want {
				t.Errorf("a shift of %.3f: %+v %v, want %s", c.shift, r, *r.CI95, c.want)
			}
		}
	}
}

func TestAnIncreaseThatIsNeitherShownNorExcludedIsListed(t *testing.T) {
	d := &Diff{Rows: []DiffRow{
		{Cell: "shown", Metric: "commit.p99", CI95: &Ratio{1.06, 1.2}},
		{Cell: "open", Metric: "commit.p99", CI95: &Ratio{0.99, 1.2}},
		{Cell: "excluded", Metric: "commit.p99", CI95: &Ratio{0.9, 1.05}},
		{Cell: "unknown", Metric: "commit.p99"},
		{Cell: "other", Metric: "commit.p50", CI95: &Ratio{0.99, 1.2}},
	}}
	names := func(rows []DiffRow) (out []string) {
		for _, r := range rows {
			out = append(out, r.Cell)
		}
		return out
	}
	if got := names(d.NotExcluded("commit.p99", 0.05)); !slices.Equal(got, []string{"open", "unknown"}) {
		t.Errorf("not excluded: %q", got)
	}
	if got := names(d.Regressed("commit.p99", 0.05)); !slices.Equal(got, []string{"shown"}) {
		t.Errorf("regressed: %q", got)
	}
}

func TestTheDifferencesOfTwoDocumentsComeWithTheComparison(t *testing.T) {
	a, b := documentOf(), documentOf()
	a.Tool, b.Tool = Tool{Version: "v1", Go: "go1.26", Revision: "aa"}, Tool{Version: "v1", Go: "go1.26", Revision: "bb"}
	a.Plan, b.Plan = json.RawMessage(`{"runs":12,"seed":1}`), json.RawMessage(`{"runs":30,"seed":1,"cuts":0}`)
	a.Devices, b.Devices = map[string]*Stored{"d": {Digest: "1"}, "e": {Digest: "1"}}, map[string]*Stored{"d": {Digest: "2"}, "e": {Digest: "1"}}
	b.Host = &Host{}
	want := []string{"revision: aa, then bb", "plan: cuts: absent, then 0", "plan: runs: 12, then 30", "device d: its profile differs", "clock: virtual, then real"}
	if got := Compare(a, b).Differences; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := Compare(a, a).Differences; len(got) != 0 {
		t.Errorf("a document and itself: %q", got)
	}
}

// A device's id is its profile's name; what it is called may have a path besides.
func TestDevicesAreLeftOutOfTheMatchByTheirIDs(t *testing.T) {
	mine := cellOf("native", true, runsOf("a", 0, 12, 1200, 1.2e6))
	mine.ID, mine.Device = "mine/w/native", "mine (./mine.yaml)"
	d, err := CompareDevices(documentOf(cellOf("native", true, runsOf("a", 0, 12, 1200, 1e6))), documentOf(mine))
	if err != nil || len(d.Rows) != int(numMetrics) || d.Rows[0].Cell != "w/native" {
		t.Errorf("%v, %+v", err, d)
	}
}
