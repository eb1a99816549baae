package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// fio's nbd engine on a server of ours, and the plan of the same job, ask for the
// same number of each operation, but for the flush after fio's last write, which it
// does not send.
func TestFioAndItsPlanAskForTheSame(t *testing.T) {
	if _, err := exec.LookPath("fio"); err != nil {
		t.Skip("no fio here")
	}
	for _, c := range []struct {
		job  string
		want string // of fio
		wire map[string]int
	}{
		{"rw=write\nbs=4k\nfsync=2\nnumber_ios=1000\nsize=64m\n", "served 0 reads, 1000 writes, 0 FUA writes, 499 flushes", map[string]int{"write": 1000, "flush": 500}},
		{"rw=randread\nbs=8k\niodepth=4\nsize=4m\n", "served 512 reads, 0 writes, 0 FUA writes, 0 flushes", map[string]int{"read": 512}},
		{"rw=write\nbs=64k\nsize=1m\nnumjobs=2\nloops=3\n", "served 0 reads, 96 writes, 0 FUA writes, 0 flushes", map[string]int{"write": 96}},
	} {
		s := startServe(t, "ram")
		job := filepath.Join(t.TempDir(), "job.fio")
		if err := os.WriteFile(job, []byte("[job]\nioengine=nbd\nuri="+s.uri+"\n"+c.job), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("fio", job).CombinedOutput(); err != nil {
			t.Fatalf("fio: %v\n%s", err, out)
		}
		s.stop(t, syscall.SIGTERM)
		if !strings.Contains(s.stderr.String(), c.want) {
			t.Errorf("%s: got %s, want %s", c.job, s.stderr.String(), c.want)
		}
		plan := filepath.Join(t.TempDir(), "plan.yaml")
		var stdout, stderr strings.Builder
		if code := run(&stdout, &stderr, []string{"import", "fio-job", job, "--output", plan}); code != exitOK {
			t.Fatal(stderr.String())
		}
		wire := wireOf(t, must(t, "run", plan, "--device", "ram", "--strategy", "native", "--runs", "1", "--cuts", "0", "--warmup", "0", "--no-save", "--format", "json"))
		for op, n := range wire {
			if n != c.wire[op] {
				t.Errorf("%s: %d %s, want %d", c.job, n, op, c.wire[op])
			}
		}
	}
}

// wireOf is how many of each operation the one cell of a document has.
func wireOf(t *testing.T, text string) map[string]int {
	t.Helper()
	var doc struct {
		Cells []struct{ Wire map[string]int }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Cells) != 1 {
		t.Fatal(err, len(doc.Cells))
	}
	return doc.Cells[0].Wire
}
