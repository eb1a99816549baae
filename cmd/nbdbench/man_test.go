//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestManualPages: each command has one, which man formats without a complaint.
func TestManualPages(t *testing.T) {
	dir := t.TempDir()
	must(t, "man", dir)
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) < 30 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "nbdbench-runs-list.1"))
	if err != nil || !strings.Contains(string(text), `.B \-\-format string`) || !strings.Contains(string(text), ".BR nbdbench\\-runs (1)") {
		t.Errorf("%v\n%s", err, text)
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not there")
	}
	for _, p := range pages {
		if out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z", p).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%.500s", filepath.Base(p), err, out)
		}
	}
}
