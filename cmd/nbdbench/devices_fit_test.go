package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// disk is a file of 2 MiB to be measured.
func disk(t *testing.T) (path string, content []byte) {
	t.Helper()
	content = bytes.Repeat([]byte("what was here"), 2<<20/13+1)[:2<<20]
	return file(t, "disk.img", string(content)), content
}

func TestWithoutDestroyAFitNamesWhatItWouldOverwrite(t *testing.T) {
	path, content := disk(t)
	o := invoke("devices", "fit", path)
	want := "nbdbench: this would overwrite the beginning of " + path + ", a file of 2MiB; give --destroy to allow it\n"
	if o.code != exitUsage || o.stderr != want || o.stdout != "" {
		t.Errorf("exit %d, stdout %q, stderr %q, want %q", o.code, o.stdout, o.stderr, want)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
		t.Errorf("the file has changed: %v", err)
	}
}

func TestWrongUseOfFitExitsWith2AndTouchesNothing(t *testing.T) {
	path, content := disk(t)
	taken := file(t, "taken.yaml", "")
	for args, want := range map[string]string{
		"devices fit":                                "accepts 1 arg(s), received 0",
		"devices fit ./nosuch --destroy":             "expected an NBD URI, a file or a block device",
		"devices fit nbds+unix:///x --destroy":       "socket",
		path + " --destroy --duration 0s":            "--duration: expected more than 0 and at most 1m0s, got 0s",
		path + " --destroy --duration 1h":            "--duration: expected more than 0 and at most 1m0s, got 1h0m0s",
		path + " --destroy --name nvme-990pro":       "--name: expected one that no profile has",
		path + " --destroy --name a/b":               "--name: expected a name without blanks and slashes",
		path + " --destroy --output " + taken:        "exists: expected a file that is not there yet",
		path + " --destroy --output ./nosuch/x.yaml": "no such file or directory",
	} {
		words := strings.Fields(args)
		if words[0] == path {
			words = append([]string{"devices", "fit"}, words...)
		}
		o := invoke(words...)
		if o.code != exitUsage || !strings.Contains(o.stderr, want) || o.stdout != "" {
			t.Errorf("nbdbench %s: exit %d, stdout %q, stderr %q, want %q", args, o.code, o.stdout, o.stderr, want)
		}
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
		t.Errorf("the file has changed: %v", err)
	}
}

// What is measured is this machine: it is used, and its figures are not looked at.
func TestAFittedProfileIsWrittenWholeAndCanBeUsed(t *testing.T) {
	path, content := disk(t)
	out := filepath.Join(t.TempDir(), "mine.yaml")
	o := invoke("devices", "fit", path, "--destroy", "--duration", "15ms", "--date", "--output", out)
	if o.code != exitOK || o.stdout != "" {
		t.Fatalf("exit %d, stdout %q, stderr %q", o.code, o.stdout, o.stderr)
	}
	if now, err := os.ReadFile(path); err != nil || len(now) != len(content) || bytes.Equal(now, content) {
		t.Errorf("%d bytes, changed: %v, %v", len(now), !bytes.Equal(now, content), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) != 1 {
		t.Errorf("beside the profile there is %v: %v", entries, err)
	}
	if show := must(t, "devices", "show", out); !strings.HasPrefix(show, "mine ("+out+"): a file as it was measured, 2MiB\n") {
		t.Errorf("shown as\n%s", show)
	}
	o = invoke("devices", "check", out, "--format", "json")
	if c := checked(t, o); o.code != exitOK && o.code != exitDeviation || len(c.Rows) < 18 || c.Rows[0].Kind != "fitted" {
		t.Errorf("exit %d, %d rows", o.code, len(c.Rows))
	}
	must(t, "run", "--device", out, "--workload", "sync-4k", "--strategy", "native,none", "--link", "none", "--runs", "2", "--commits", "50", "--no-save")
}
