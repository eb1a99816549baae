package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// notExported are keys of fio's that are about its host and its processes, or that need
// what is not measured.
var notExported = []string{
	"global options", "disk_util", "jobs[].eta", "jobs[].usr_cpu", "jobs[].sys_cpu", "jobs[].ctx", "jobs[].majf", "jobs[].minf",
	"jobs[].iodepth_level", "jobs[].iodepth_submit", "jobs[].iodepth_complete", "jobs[].latency_target",
	"jobs[].latency_percentile", "jobs[].latency_window",
}

// TestFioJSONIsInTheFormOfFio: each key that we write is one of fio's, and a value of the
// same kind, and each of fio's is there but those that are not exported.
func TestFioJSONIsInTheFormOfFio(t *testing.T) {
	need(t, "fio")
	dir := t.TempDir()
	s := serve(t, "ram", "--size", "64MiB")
	must(t, dir, "fio", "--name=one", "--ioengine=nbd", "--uri="+s.uri, "--rw=randrw", "--bs=4k", "--size=16M",
		"--number_ios=100", "--fsync=8", "--output-format=json+", "--output=fio.json")
	load := "name: both\ntransaction:\n  - {op: mix, mix: {read: 1, write: 1}, size: 4k, pattern: random}\n  - {op: flush}\n"
	if err := os.WriteFile(filepath.Join(dir, "both.yaml"), []byte(load), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, dir, "nbdbench", "run", "--device", "ram", "--workload", "./both.yaml", "--strategy", "none", "--runs", "1", "--commits", "200",
		"--warmup", "0", "--cuts", "0", "--output", "run")
	must(t, dir, "nbdbench", "export", "fio-json", "run", "--output", "ours.json")
	theirs, ours := kinds(t, filepath.Join(dir, "fio.json")), kinds(t, filepath.Join(dir, "ours.json"))
	for key, kind := range ours {
		if want, ok := theirs[key]; !strings.Contains(key, "nbdbench ") && want != kind {
			t.Errorf("%s: %s, fio has %q (%v)", key, kind, want, ok)
		}
	}
	for key, kind := range theirs {
		left := slices.ContainsFunc(notExported, func(s string) bool { return key == s || strings.HasPrefix(key, s+".") || strings.HasPrefix(key, s+"[") })
		if _, ok := ours[key]; !ok && !left {
			t.Errorf("%s (%s) of fio is missing", key, kind)
		}
	}
	if len(ours) < 60 {
		t.Errorf("only %d keys", len(ours))
	}
}

// kinds are the kinds of all values of a JSON document by their paths: elements of a list
// have one path, and so have the members of objects of numbers, and job options, which are
// those of the job.
func kinds(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(text[max(strings.IndexByte(string(text), '{'), 0):])))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	out := map[string]string{}
	walk("", doc, out)
	return out
}

func walk(path string, v any, out map[string]string) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			switch p := strings.TrimPrefix(path+"."+k, "."); {
			case strings.HasSuffix(path, ".job options"):
				walk(path+".*", e, out)
			case strings.HasSuffix(path, ".bins"):
				walk(path+".*", e, out)
			default:
				walk(p, e, out)
			}
		}
	case []any:
		for _, e := range x {
			walk(path+"[]", e, out)
		}
	case json.Number:
		out[path] = "whole number"
		if strings.Contains(x.String(), ".") {
			out[path] = "number with decimals"
		}
	default:
		out[path] = fmt.Sprintf("%T", v)
	}
}
