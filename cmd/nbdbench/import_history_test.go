package main

import (
	"os"
	"strings"
	"testing"
)

// TestAHistoryIsImportedAsATrace: each request when it came, and what is none is refused.
func TestAHistoryIsImportedAsATrace(t *testing.T) {
	t.Chdir(t.TempDir())
	const text = "nbdbench/history/v1\nS\t1\t5000\t1\t0\t0\twrite\t1\t4096\t4096\t0\nD\t2\t6000\t1\tOK\nS\t3\t9000\t1\t0\t0\tflush\t0\t0\t0\t0\nD\t4\t9500\t3\tOK\n"
	for name, text := range map[string]string{"a.log": text, "empty.log": "nbdbench/history/v1\n", "bad.log": "nbdbench/history/v1\nX\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if o := invoke("import", "history", "a.log", "--output", "a.gz"); o.code != exitOK || !strings.Contains(o.stderr, "2 records") {
		t.Errorf("%+v", o)
	}
	for _, name := range []string{"empty.log", "bad.log"} {
		if o := invoke("import", "history", name, "--output", "b.gz"); o.code != exitUsage || !strings.Contains(o.stderr, name) {
			t.Errorf("%+v", o)
		}
	}
	if _, err := os.Stat("b.gz"); err == nil {
		t.Error("a file was left behind")
	}
}
