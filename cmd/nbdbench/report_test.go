//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nbdbench/results"
)

// kept is what stored has made, once for all tests.
var kept struct {
	sync.Once
	dir     string
	printed map[string]string
}

// stored is a small run in a directory of its own, which tests do not change, and
// what run printed of it in each format.
func stored(t *testing.T) (dir string, printed map[string]string) {
	t.Helper()
	kept.Do(func() {
		parent, err := os.MkdirTemp("", "nbdbench-test")
		if err != nil {
			t.Fatal(err)
		}
		atExit = append(atExit, func() { _ = os.RemoveAll(parent) }) // nothing depends on it
		kept.dir, kept.printed = filepath.Join(parent, "run"), map[string]string{}
		args := []string{
			"run", "--device", "nvme-990pro,testdata/no-fua.yaml", "--workload", "sync-4k", "--strategy", "native,emulate,none-unsafe",
			"--runs", "4", "--commits", "60", "--cuts", "4",
		}
		kept.printed["table"] = must(t, append(args, "--output", kept.dir)...)
		for format := range formats {
			if format != "table" {
				kept.printed[format] = must(t, append(args, "--no-save", "--format", format)...)
			}
		}
	})
	if len(kept.printed) != len(formats) {
		t.Fatal("there is no stored run")
	}
	return kept.dir, kept.printed
}

func TestReportShowsWhatRunPrinted(t *testing.T) {
	dir, printed := stored(t)
	for format, want := range printed {
		if got := must(t, "report", dir, "--format", format); got != want {
			t.Errorf("--format %s: the stored run shows\n%.400s\nrun printed\n%.400s", format, got, want)
		}
	}
	if got := must(t, "report", dir); got != printed["table"] {
		t.Error("without a format it is not the table")
	}
}

func TestARunDirectoryHasItsFiles(t *testing.T) {
	dir, printed := stored(t)
	files := tree(t, dir)
	for _, name := range []string{results.FileRun, results.FileLog, results.FileIntervals, results.FileReport, "charts/latency-sync-4k.svg"} {
		if files[name] == "" {
			t.Errorf("%s is missing or empty", name)
		}
	}
	if files[results.FileRun] != printed["json"] {
		t.Error("run.json is not what --format json prints")
	}
	if files[results.FileReport] != printed["html"] {
		t.Error("report.html is not what --format html prints")
	}
}

func TestReportDrawsChartsInEachFormat(t *testing.T) {
	dir, _ := stored(t)
	for kind, begins := range map[string]string{"svg": "<?xml", "png": "\x89PNG", "pdf": "%PDF"} {
		charts := filepath.Join(t.TempDir(), "charts")
		o := invoke("report", dir, "--charts", charts, "--chart-format", kind)
		if o.code != exitOK || o.stdout != "" {
			t.Fatalf("exit %d, stdout %q, stderr %q", o.code, o.stdout, o.stderr)
		}
		files := tree(t, charts)
		if len(files) != len(tree(t, filepath.Join(dir, results.DirCharts))) {
			t.Errorf("%s: got %d charts, the run directory has another number", kind, len(files))
		}
		for name, text := range files {
			if !strings.HasPrefix(text, begins) || !strings.Contains(o.stderr, "saved "+filepath.Join(charts, name)+"\n") {
				t.Errorf("%s begins with %.8q; stderr %q", name, text, o.stderr)
			}
		}
	}
	if o := invoke("report", dir, "--charts", t.TempDir(), "--chart-format", "gif"); o.code != exitUsage {
		t.Errorf("--chart-format gif: exit %d, want 2", o.code)
	}
}

func TestADamagedRunIsNamedWithFileLineAndColumn(t *testing.T) {
	whole, _ := stored(t)
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, results.FileRun)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for want, bad := range map[string][]byte{
		":2:2: unknown key":                     bytes.Replace(good, []byte(`"schema"`), []byte(`"scheme"`), 1),
		": schema: want":                        bytes.Replace(good, []byte("run/v1"), []byte("run/v0"), 1),
		"the document ends too early":           good[:len(good)/2],
		`cells[0].status: want one of`:          bytes.Replace(good, []byte(`"status": "ok"`), []byte(`"status": "fine"`), 1),
		"which is not commit.mean_ns":           bytes.Replace(good, []byte(`"device_queue": `), []byte(`"device_queue": 1`), 1),
		"tool.version: want string, got number": bytes.Replace(good, []byte(`"version": "devel"`), []byte(`"version": 7`), 1),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		o := invoke("report", dir)
		if o.code != exitUsage || o.stdout != "" || !strings.HasPrefix(o.stderr, "nbdbench: "+path+":") || !strings.Contains(o.stderr, want) {
			t.Errorf("exit %d, %q; want 2, the path and %q", o.code, o.stderr, want)
		}
	}
}
