package results

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// storedRun stores a run in dir with labels, as of a time.
func storedRun(t *testing.T, dir, name string, at time.Time) {
	t.Helper()
	p, err := Reserve(dir)
	if err != nil {
		t.Fatal(err)
	}
	p.Label(&Labels{Name: name, Note: "a note", Labels: map[string]string{"k": "v"}})
	if err := p.Save(documentOf(openCell("native", 1e6, 1))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, FileRun), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestStoredRunsAreListedNewestFirst(t *testing.T) {
	parent := t.TempDir()
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	storedRun(t, filepath.Join(parent, "b"), "old", day)
	storedRun(t, filepath.Join(parent, "a"), "new", day.Add(time.Hour))
	if err := os.Mkdir(filepath.Join(parent, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	unfinished, err := Reserve(filepath.Join(parent, "begun"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unfinished.Discard() }()
	runs, err := StoredRuns(parent)
	if err != nil || len(runs) != 3 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	for i, want := range []string{"new", "old", ""} {
		if runs[i].Labels.Name != want || (runs[i].Err != nil) != (want == "") {
			t.Errorf("run %d is %q with %v, expected %q", i, runs[i].Labels.Name, runs[i].Err, want)
		}
	}
	if l := runs[0].Labels; l.Note != "a note" || l.Labels["k"] != "v" {
		t.Errorf("labels are %+v", l)
	}
	if runs, err := StoredRuns(filepath.Join(parent, "none")); err != nil || len(runs) != 0 {
		t.Errorf("of no directory: %d runs, %v", len(runs), err)
	}
}

// TestRemoveDeletesOnlyARun: what run does not store, or what has no valid document,
// stays whole.
func TestRemoveDeletesOnlyARun(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"a foreign file":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644) },
		"a foreign chart": func(dir string) error { return os.WriteFile(filepath.Join(dir, DirCharts, "x.txt"), nil, 0o644) },
		"a link": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, FileIntervals)), os.Symlink(FileRun, filepath.Join(dir, FileIntervals)))
		},
		"no document":      func(dir string) error { return os.Remove(filepath.Join(dir, FileRun)) },
		"another document": func(dir string) error { return os.WriteFile(filepath.Join(dir, FileRun), []byte("{}"), 0o644) },
	} {
		dir := filepath.Join(t.TempDir(), "run")
		storedRun(t, dir, "x", time.Unix(0, 0))
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if err := Remove(dir); err == nil {
			t.Errorf("with %s it is removed", name)
		}
		if !exists(filepath.Join(dir, FileLog)) {
			t.Errorf("with %s a part is removed", name)
		}
	}
	dir := filepath.Join(t.TempDir(), "run")
	storedRun(t, dir, "x", time.Unix(0, 0))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := Remove(link); err == nil || !exists(filepath.Join(dir, FileRun)) {
		t.Errorf("through a link: %v", err)
	}
	if err := Remove(dir); err != nil || exists(dir) {
		t.Errorf("a run is not removed: %v", err)
	}
}

func TestLabelsThatCannotBe(t *testing.T) {
	many := map[string]string{}
	for i := range MaxLabels + 1 {
		many[strings.Repeat("k", i+1)] = ""
	}
	for want, l := range map[string]*Labels{
		"name: expected one line":           {Name: "a\nb"},
		"name: expected at most 256 bytes":  {Name: strings.Repeat("n", MaxLabel+1)},
		"note: expected at most 4096 bytes": {Note: strings.Repeat("n", MaxNote+1)},
		"labels: expected at most 64":       {Labels: many},
		"labels: expected a key":            {Labels: map[string]string{"": "v"}},
		"labels: expected one line":         {Labels: map[string]string{"k": "\x1b[2J"}},
	} {
		if err := l.Save(t.TempDir()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, expected %s", err, want)
		}
	}
	for text, want := range map[string]string{
		"{\n\"schema\": 1}": FileLabels + ":2:",
		`{"schema":"x"}`:    "schema: expected",
		"{":                 FileLabels + ":1:",
		`{"schema":"nbdbench/labels/v1","name":"a\u0007"}`: "name: expected one line",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileLabels), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadLabels(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %s", text, err, want)
		}
	}
}
