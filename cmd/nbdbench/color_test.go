package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestColor: colours change nothing but colours, and without a terminal there are none.
func TestColor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	plainly := must(t, tiny("--runs", "6", "--commits", "200", "--decide", "commit.p50", "--output", dir)...)
	if strings.Contains(plainly, "\x1b") {
		t.Errorf("colours without a terminal:\n%q", plainly)
	}
	colored := must(t, "report", dir, "--color", "always")
	if !strings.Contains(colored, "\x1b[1;32m") || !strings.Contains(colored, "\x1b[2m") {
		t.Errorf("no colours:\n%q", colored)
	}
	if got := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(colored, ""); got != plainly {
		t.Errorf("colours change the text:\n%s", got)
	}
	if got := must(t, "report", dir, "--color", "never"); got != plainly {
		t.Errorf("got\n%q", got)
	}
	if got := must(t, "report", dir, "--color", "always", "--format", "csv"); strings.Contains(got, "\x1b") {
		t.Error("colours in CSV")
	}
	if o := invoke("report", dir, "--color", "blue"); o.code != exitUsage || !strings.Contains(o.stderr, "--color: expected auto, always or never") {
		t.Errorf("exit code %d, %s", o.code, o.stderr)
	}
}

// TestQuiet: only errors are on stderr.
func TestQuiet(t *testing.T) {
	if o := invoke(tiny("-q", "--output", filepath.Join(t.TempDir(), "run"))...); o.code != exitOK || o.stderr != "" {
		t.Errorf("exit code %d, %s", o.code, o.stderr)
	}
	if o := invoke("report", "/nowhere", "-q"); o.code != exitUsage || o.stderr == "" {
		t.Errorf("exit code %d, %q", o.code, o.stderr)
	}
}
