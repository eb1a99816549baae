package results

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"nbdbench/sim"
)

// operationsDocument has one workload, whose transactions make nothing durable.
func operationsDocument() *Run {
	r := NewRun(Tool{Version: "v1.0.0", Go: "go1.26"}, json.RawMessage(`{"runs":12,"seed":1,"decide":"ops.p99"}`), 1)
	r.Decide = "ops.p99"
	for _, s := range fakeStrategies[:2] {
		c := NewCell(CellConfig{
			ID: "hdd/boot/" + s.name, Device: "hdd", Workload: "boot", Strategy: s.name, NoCommits: true,
			Clock: "virtual", Link: "unix", QueueDepth: 1, Connections: 1, Runs: fakeRuns, WhoDurable: s.who, Durable: s.durable,
			Advertised: &Advertised{Flush: true, FUA: true, MultiConn: true},
		})
		for k := range uint64(fakeRuns) {
			run := fakeRun(fakeDevices[0], false, s, sim.Seed(1).Sub("boot", k), fakeCommits)
			run.Durability = nil
			c.Add(run)
		}
		r.Add(c)
	}
	r.Finish()
	return r
}

// ofDurability are the words of commits and of what makes them durable.
var ofDurability = regexp.MustCompile(`(?i)commit|durab|\blost\b|\bloses\b|power|\bcuts?\b|flush/`)

func TestALoadWithoutCommitsSaysNothingOfDurability(t *testing.T) {
	r := operationsDocument()
	page := string(written(t, r.WriteHTML))
	page = regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAllString(page, "")
	texts := map[string]string{
		"table":    string(written(t, func(w io.Writer) error { return r.Summary().Text(w, 200) })),
		"markdown": string(written(t, r.Summary().Markdown)),
		"csv":      string(written(t, r.Summary().CSV)),
		"page":     page, "latencies": string(written(t, r.WriteLog)),
	}
	for _, c := range r.Charts() {
		texts[c.Name] = string(written(t, func(w io.Writer) error { return c.Write(w, "svg") }))
	}
	if len(texts) < 8 {
		t.Errorf("only %v", slices.Sorted(maps.Keys(texts)))
	}
	for name, text := range texts {
		if m := ofDurability.FindString(text); m != "" {
			i := strings.Index(text, m)
			t.Errorf("%s: %q in …%s", name, m, text[max(0, i-80):min(len(text), i+80)])
		}
	}
	if table := texts["table"]; !strings.Contains(table, "ops/s") || !strings.Contains(table, "1,200 operations") {
		t.Errorf("%s", table)
	}
}

// TestADocumentHasNoCommitMetricsOfALoadWithoutThem: what it has is under ops, and
// read back it is the same.
func TestADocumentHasNoCommitMetricsOfALoadWithoutThem(t *testing.T) {
	r := operationsDocument()
	text := written(t, r.WriteJSON)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiledSchema(t).Validate(doc); err != nil {
		t.Error(err)
	}
	if m := regexp.MustCompile(`"commit\.\w+"(: \[|,|\n|$)|"metric": "commit|"commit": [^n0]|"commits_per_s": [^0]`).Find(text); m != nil {
		t.Errorf("%s", m)
	}
	for _, want := range []string{`"all": {`, `"ops.p99": [`, `"metric": "ops.p99"`, `"ops_per_s": `, `"ops_sum_ns": `} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is missing", want)
		}
	}
	back, err := Load(stored(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, written(t, back.WriteJSON)) || *back.Cells[0].Commit.Mean != *r.Cells[0].Commit.Mean {
		t.Error("the stored run differs")
	}
	if rows := Compare(r, back).Rows; len(rows) == 0 || !strings.HasPrefix(rows[0].Metric, "ops.") {
		t.Errorf("%+v", rows)
	}
}

// TestAWorkloadWithCommitsBesideOneWithout keeps both apart in one document.
func TestAWorkloadWithCommitsBesideOneWithout(t *testing.T) {
	r := operationsDocument()
	r.Add(fakeCell(fakeDevices[1], "sync-4k", fakeStrategies[0], fakeRuns))
	r.Add(fakeCell(fakeDevices[1], "sync-4k", fakeStrategies[1], fakeRuns))
	mixed := NewRun(r.Tool, r.Plan, 1)
	for _, c := range r.Cells {
		fresh := NewCell(CellConfig{ID: c.ID, Device: c.Device, Workload: c.Workload, Strategy: c.Strategy, NoCommits: c.NoCommits, Clock: "virtual", Link: "unix", QueueDepth: 1, Connections: 1, Runs: fakeRuns, Durable: c.Durable, WhoDurable: c.WhoDurable})
		fresh.runs = c.runs
		mixed.Add(fresh)
	}
	mixed.Finish()
	text := string(written(t, func(w io.Writer) error { return mixed.Summary().Text(w, 200) }))
	for _, want := range []string{"commits/s", "ops/s", "lost/cut", "of whole transactions"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	metrics := map[string]bool{}
	for _, c := range mixed.Comparisons {
		metrics[c.Workload+" "+c.Metric] = true
	}
	if !metrics["boot ops.p99"] || metrics["boot commit.p99"] || !metrics["sync-4k commit.p99"] {
		t.Errorf("%v", metrics)
	}
}
