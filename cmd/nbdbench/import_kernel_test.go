package main

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The log was captured from Linux's module, below ext4: mke2fs, a mount, three
// files written and synced.
func TestALogOfTheKernelsOwnDMLogWritesIsImportedAndReplayed(t *testing.T) {
	packed, err := os.Open("../../internal/interop/kernel/testdata/dm-log-writes-ext4.log.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	dir := t.TempDir()
	log, history := filepath.Join(dir, "dm.log"), filepath.Join(dir, "session.log")
	if err := errors.Join(err, os.WriteFile(log, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	must(t, "import", "dm-log-writes", log, "--output", history)
	text, err := os.ReadFile(history)
	if err != nil {
		t.Fatal(err)
	}
	// What the server below the module counted when the log was taken.
	if n := strings.Count(string(text), "\tflush\t"); n != 14 {
		t.Errorf("%d flushes, the server saw 14", n)
	}
	if n := strings.Count(string(text), "\twrite\t1\t"); n != 8 {
		t.Errorf("%d writes with FUA, the server saw 8", n)
	}
	if o := invoke("crash", "--history", history, "--device", "nvme-990pro", "--strategy", "native", "--cuts", "5"); o.code != exitOK {
		t.Errorf("exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}
