package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestHonestyRefuses(t *testing.T) {
	t.Setenv("NBDBENCH_TOKEN", "a secret")
	record := filepath.Join(t.TempDir(), "record")
	disk := sparse(t, 1<<20)
	for _, x := range []struct{ args, want string }{
		{"listen", "--record: expected a file's name"},
		{"listen --record " + record + " --token short", "--token: expected at least 8 bytes, got 5"},
		{"listen --record " + record + " --max-record many", "--max-record: "},
		{"listen --record " + disk, disk + ":1:1: expected "},
		{"write --server localhost:1 --method fua,sync " + disk, `--method: expected fua or flush, got "sync"`},
		{"write --server localhost " + disk, "--server: expected HOST:PORT"},
		{"write --server localhost:1 --depth 0 " + disk, "--depth: expected 1 to 128, got 0"},
		{"write --server localhost:1 " + disk, disk + ": this would overwrite the file " + disk + ", 1MiB; give --destroy to allow it"},
		{"write --server localhost:1 --size 2MiB --destroy " + disk, "expected at least 2097152 bytes, got 1048576"},
		{"write --server localhost:1 --destroy " + t.TempDir(), "expected a block device or a file"},
		{"write --server localhost:1 --destroy nvme-990pro", "expected a block device or a file"},
		{"verify " + disk, "expected either --server or --record"},
		{"verify --record a --server b:1 " + disk, "expected either --server or --record"},
		{"verify --record a --session 12 " + disk, "--session: expected 16 hexadecimal digits"},
		{"verify --record " + disk + " " + disk, disk + ":1:1: expected "},
		{"verify --record a --format html " + disk, "--format: expected table, md or json"},
	} {
		if runtime.GOOS != "linux" && strings.Contains(x.args, disk) {
			continue
		}
		if got := invoke(append([]string{"honesty"}, strings.Fields(x.args)...)...); got.code != exitUsage || !strings.Contains(got.stderr, x.want) {
			t.Errorf("%s: got %d %s, want %q", x.args, got.code, got.stderr, x.want)
		}
	}
	if b, err := os.ReadFile(disk); err != nil || strings.Trim(string(b), "\x00") != "" {
		t.Errorf("the file has been written: %v", err)
	}
}
