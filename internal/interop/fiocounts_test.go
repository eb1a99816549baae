package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFioAndItsPlanRequestTheSame: a job with number_ios, run by fio's nbd engine and as
// the plan that import makes of it, on a server of its own each. fio ends before the
// flush that would follow its last write; a run flushes once before it begins.
func TestFioAndItsPlanRequestTheSame(t *testing.T) {
	need(t, "fio")
	for name, c := range map[string]struct {
		job  string
		fio  counts
		ours counts
	}{
		"reads":              {"rw=randread\nnumber_ios=300\niodepth=4", counts{reads: 300}, counts{reads: 300, flushes: 1}},
		"writes in order":    {"rw=write\nnumber_ios=300", counts{writes: 300}, counts{writes: 300, flushes: 1}},
		"writes and flushes": {"rw=randwrite\nnumber_ios=200\nfsync=8", counts{writes: 200, flushes: 24}, counts{writes: 200, flushes: 26}},
		"copies":             {"rw=randwrite\nnumber_ios=100\nnumjobs=3", counts{writes: 300}, counts{writes: 300, flushes: 1}},
		"a job after another": {
			"rw=write\nnumber_ios=64\n[reads]\nstonewall\nrw=randread\nnumber_ios=50",
			counts{reads: 50, writes: 64},
			counts{reads: 50, writes: 64, flushes: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := serve(t, "ram", "--size", "64MiB")
			job := "[global]\nioengine=nbd\nuri=" + s.uri + "\nbs=4k\nsize=16M\n[one]\n" + c.job + "\n"
			if err := os.WriteFile(filepath.Join(dir, "job.fio"), []byte(job), 0o644); err != nil {
				t.Fatal(err)
			}
			must(t, dir, "fio", "job.fio")
			if got := s.counts(); got != c.fio {
				t.Errorf("fio requested %+v, want %+v", got, c.fio)
			}
			must(t, dir, "nbdbench", "import", "fio-job", "job.fio", "--output", "plan.yaml")
			s = serve(t, "ram", "--size", "64MiB")
			must(t, dir, "nbdbench", "run", "plan.yaml", "--target", s.uri, "--destroy", "--strategy", "none",
				"--runs", "1", "--warmup", "0", "--cuts", "0", "--no-save")
			if got := s.counts(); got != c.ours {
				plan, _ := os.ReadFile(filepath.Join(dir, "plan.yaml"))
				t.Errorf("its plan requested %+v, want %+v\n%s", got, c.ours, strings.TrimSpace(string(plan)))
			}
		})
	}
}
