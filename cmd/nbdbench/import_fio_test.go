package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/internal/bench"
	"nbdbench/internal/fiojob"
)

// Each job file of fio that maps onto a plan runs.
func TestPlansOfJobFilesRun(t *testing.T) {
	for k, v := range map[string]string{"ENGINE": "psync", "SIZE": "64", "WHAT": "write", "BS": "8"} {
		t.Setenv(k, v)
	}
	files, err := filepath.Glob("../../internal/fiojob/testdata/*.fio")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, f := range files {
		plan := filepath.Join(t.TempDir(), "plan.yaml")
		var stdout, stderr strings.Builder
		code := run(&stdout, &stderr, []string{"import", "fio-job", f, "--output", plan})
		golden, err := os.ReadFile(strings.TrimSuffix(f, ".fio") + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		refused := strings.Contains("\n"+string(golden), "\nerror: ")
		if (code == exitUsage) != refused || !refused && code != exitOK {
			t.Errorf("%s: exit code %d\n%s", f, code, stderr.String())
			continue
		}
		_, missing := os.Stat(plan)
		if refused != (missing != nil) {
			t.Errorf("%s: refused %v, but the plan: %v", f, refused, missing)
		}
		if refused {
			continue
		}
		ran++
		out := must(t, "run", plan, "--device", "ram", "--strategy", "native", "--commits", "40", "--runs", "1", "--cuts", "0", "--warmup", "0", "--no-save", "--format", "json")
		if !strings.Contains(out, `"status":"ok"`) && !strings.Contains(out, `"status": "ok"`) {
			t.Errorf("%s: %s", f, out)
		}
	}
	if ran < 25 {
		t.Errorf("%d plans ran, expected at least 25", ran)
	}
}

// FuzzPlanOfJobFile looks for a job file that is accepted and whose plan is not.
func FuzzPlanOfJobFile(f *testing.F) {
	files, err := filepath.Glob("../../internal/fiojob/testdata/*.fio")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		open := func(string) ([]byte, error) { return []byte(text), nil }
		file, err := fiojob.Reader{Open: open}.Read("f")
		if err != nil {
			return
		}
		m := fiojob.Map(file)
		if m.Plan() == "" {
			return
		}
		plan := filepath.Join(t.TempDir(), "plan.yaml")
		if err := os.WriteFile(plan, []byte(m.Plan()), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := bench.Load(plan); err != nil {
			t.Errorf("%v\n%s", err, m.Plan())
		}
	})
}
