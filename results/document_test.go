package results

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"nbdbench/results/table"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; -update rewrites it. Got:\n%s", path, got)
	}
}

func written(t *testing.T, write func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTablesAreTheGoldenOnes(t *testing.T) {
	full, small := fakeDocument(t).Summary(), smallDocument(t).Summary()
	text := func(table *table.Table, width int) func(io.Writer) error {
		return func(w io.Writer) error { return table.Text(w, width) }
	}
	golden(t, "default.txt", written(t, text(full, 120)))
	golden(t, "small.txt", written(t, text(small, 120)))
	golden(t, "small-80.txt", written(t, text(small, 80)))
	golden(t, "small.md", written(t, small.Markdown))
	golden(t, "small.csv", written(t, small.CSV))
	golden(t, "small.table.json", written(t, small.JSON))
}

func TestTextIsNeverWiderThanAsked(t *testing.T) {
	summary := fakeDocument(t).Summary()
	for _, width := range []int{60, 72, 80, 100, 120, 200, 0} {
		limit := cmp.Or(width, table.Width)
		var b bytes.Buffer
		if err := summary.Text(&b, width); err != nil {
			t.Fatal(err)
		}
		for _, l := range strings.Split(b.String(), "\n") {
			if utf8.RuneCountInString(l) > limit {
				t.Errorf("width %d: line of %d: %s", width, utf8.RuneCountInString(l), l)
			}
			if strings.HasSuffix(l, "…") {
				t.Errorf("width %d: cut off: %s", width, l)
			}
		}
	}
}

// TestRatioAndVerdictOutlastOtherColumns, whatever the width.
func TestRatioAndVerdictOutlastOtherColumns(t *testing.T) {
	summary := fakeDocument(t).Summary()
	for _, width := range []int{60, 80, 100, 120, 200} {
		var b bytes.Buffer
		if err := summary.Text(&b, width); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"p99/", "verdict", "not durable", "0.658"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("width %d: %q is missing in\n%s", width, want, b.String())
			}
		}
	}
}

func TestWhatIsNotDurableIsReportedAsSuch(t *testing.T) {
	for _, row := range fakeDocument(t).Summary().Rows {
		strategy, verdict := row.Values[2].Text, row.Values[len(row.Values)-1].Text
		protected := strings.HasPrefix(row.Group, "nvme-pm963")
		if strategy == "none-unsafe" && (verdict == "not durable") == protected {
			t.Errorf("%s, %s: %s", row.Group, strategy, verdict)
		}
	}
}

func TestTableDataIsMachineReadable(t *testing.T) {
	summary := smallDocument(t).Summary()
	rows, err := csv.NewReader(bytes.NewReader(written(t, summary.CSV))).ReadAll()
	if err != nil || len(rows) != len(summary.Rows)+1 {
		t.Errorf("%d CSV rows: %v", len(rows), err)
	}
	var objects []map[string]any
	if err := json.Unmarshal(written(t, summary.JSON), &objects); err != nil || len(objects) != len(summary.Rows) {
		t.Errorf("%d JSON rows: %v", len(objects), err)
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(RunSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("run.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("run.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDocumentsFollowTheSchema(t *testing.T) {
	schema := compiledSchema(t)
	real := newSmallDocument()
	real.Host = &Host{OS: "linux", Arch: "amd64", CPUs: 2, Started: "2026-01-02T03:04:05Z"}
	real.Cells[0].Sent = &Sent{Source: SentTraced, Commits: 1, WriteFUA: new(int64(1)), Other: new(int64(0))}
	real.Cells[1].Sent = &Sent{Source: SentSummed, Commits: 1, Write: 1, Flush: 1}
	real.Host.Storage = map[string]*Storage{"d": {Path: "/dev/d", Kind: "block device", Size: 1, Before: &Health{}, After: &Health{Celsius: new(40.5), SMART: &SMART{}}}}
	for name, r := range map[string]*Run{
		"every status": smallDocument(t), "default": fakeDocument(t), "with a host": real, "empty": documentOf(),
		"no run finished": documentOf(NewCell(CellConfig{ID: "a", Clock: "real", Runs: 3})),
		"no commit":       documentOf(cellOf("native", true, []*Distribution{{}, {}})),
		"a sweep":         gridDocument(), "a search": searchedDocument(),
	} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(written(t, r.WriteJSON)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheSchemaRefusesUnknownKeys(t *testing.T) {
	text := written(t, smallDocument(t).WriteJSON)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(bytes.Replace(text, []byte(`"reason"`), []byte(`"raeson"`), 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiledSchema(t).Validate(doc); err == nil {
		t.Error("an unknown key passed")
	}
}

func TestBreakdownSumsToTheMean(t *testing.T) {
	for _, c := range smallDocument(t).Cells {
		if c.BreakdownNS == nil {
			continue
		}
		var sum int64
		for _, v := range c.BreakdownNS.values() {
			sum += v
		}
		if sum != *c.Commit.Mean {
			t.Errorf("%s: %d, mean %d", c.ID, sum, *c.Commit.Mean)
		}
	}
}

func TestTheSameRunsGiveTheSameBytes(t *testing.T) {
	if a, b := written(t, newSmallDocument().WriteJSON), written(t, newSmallDocument().WriteJSON); !bytes.Equal(a, b) {
		t.Error("two documents of one plan and seed differ")
	}
}

// stored saves the document and returns its directory.
func stored(t *testing.T, r *Run) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "deep", "run")
	if err := Save(dir, r); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAStoredRunIsReportedAlike(t *testing.T) {
	live := smallDocument(t)
	back, err := LoadWhole(stored(t, live))
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(*Run) func(io.Writer) error{
		"run.json":  func(r *Run) func(io.Writer) error { return r.WriteJSON },
		"html":      func(r *Run) func(io.Writer) error { return r.WriteHTML },
		"latencies": func(r *Run) func(io.Writer) error { return r.WriteLog },
		"heat map":  func(r *Run) func(io.Writer) error { return r.WriteHeat },
		"markdown":  func(r *Run) func(io.Writer) error { return r.Summary().Markdown },
	} {
		if a, b := written(t, write(live)), written(t, write(back)); !bytes.Equal(a, b) {
			t.Errorf("%s: the stored run's differs", name)
		}
	}
}

func TestSaveLeavesNothingBehindAndOverwritesNothing(t *testing.T) {
	dir := stored(t, smallDocument(t))
	if err := Save(dir, smallDocument(t)); !errors.Is(err, os.ErrExist) {
		t.Errorf("saved over a run: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the run: %v, %v", entries, err)
	}
	for _, name := range []string{FileRun, FileLog, FileIntervals, FileHeat, FileReport, filepath.Join(DirCharts, "spectrum-nvme-990pro.svg")} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadErrorsNameFileAndPlace(t *testing.T) {
	good := written(t, smallDocument(t).WriteJSON)
	for _, c := range []struct{ name, old, new, want string }{
		{"syntax", `"seed": 1,`, `"seed": 1;`, FileRun + ":12:11: "},
		{"type", `"queue_depth": 1`, `"queue_depth": "one"`, "queue_depth: want int, got string"},
		{"unknown key", `"who_durable"`, `"whodurable"`, `unknown key "whodurable"`},
		{"schema", Schema, "nbdbench/run/v9", `schema: want "nbdbench/run/v1", got "nbdbench/run/v9"`},
		{"status", `"status": "ok"`, `"status": "fine"`, `cells[0].status: want one of`},
		{"cut short", "\n}\n", "\n", "ends too early"},
		{"runs", `"runs": 7`, `"runs": 8`, "cells[2].runs: is 8, but per_run has 7"},
		{"breakdown", `"client_queue": 0`, `"client_queue": 1`, "breakdown_ns: sums to"},
	} {
		dir := t.TempDir()
		bad := strings.Replace(string(good), c.old, c.new, 1)
		if c.name == "cut short" {
			bad = strings.TrimSuffix(string(good), "}\n")
		}
		if err := os.WriteFile(filepath.Join(dir, FileRun), []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Load(dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), FileRun) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestALogThatIsNotTheRunsIsRefused(t *testing.T) {
	dir := stored(t, smallDocument(t))
	path := filepath.Join(dir, FileLog)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for name, bad := range map[string]string{
		"missing": strings.Join(append(append([]string{}, lines[:4]...), lines[5:]...), ""),
		"twice":   string(text) + lines[4],
		"foreign": string(text) + strings.Replace(lines[4], "/0/commit", "/99/commit", 1),
	} {
		if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), FileLog) || !strings.Contains(err.Error(), "commit") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
