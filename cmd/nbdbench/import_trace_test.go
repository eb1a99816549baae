package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A trace that fio writes here is imported, and so is what nbdkit logs of qemu-io.
func TestTracesOfRealProgramsAreImported(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		format, file string
		command      []string
		flags        []string
		want         string
	}{
		{
			"iolog", "io.log",
			[]string{"fio", "--name=j", "--ioengine=psync", "--rw=write", "--bs=4k", "--size=16k", "--filename=data", "--fsync=2", "--write_iolog=io.log"},
			[]string{"--durable", "none"},
			"5 records",
		},
		{"nbdkit-log", "nbdkit.log", []string{
			"nbdkit", "-U", "-", "--filter=log", "memory", "1M", "logfile=nbdkit.log", "--run",
			`qemu-io -f raw -c "write -f 0 4k" -c "read 0 4k" -c "discard 0 4k" "$uri"`,
		}, nil, "1 write (1 with FUA)"},
	} {
		t.Run(c.format, func(t *testing.T) {
			if _, err := exec.LookPath(c.command[0]); err != nil {
				t.Skipf("no %s here", c.command[0])
			}
			if out, err := exec.Command(c.command[0], c.command[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var stdout, stderr strings.Builder
			args := append([]string{"import", c.format, c.file, "--output", "out.gz"}, c.flags...)
			if code := run(&stdout, &stderr, args); code != exitOK || !strings.Contains(stderr.String(), c.want) {
				t.Errorf("exit code %d\n%s\nwant %s", code, stderr.String(), c.want)
			}
		})
	}
}

func TestImportsOfTracesAskForWhatTheFormatLacks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(file, []byte("1,W,0,512,1\n1,Q,0,512,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"csv-trace", file}, "--layout: expected msr, alibaba, tencent or systor"},
		{[]string{"csv-trace", file, "--layout", "alibaba"}, "--durable: expected none, all or every:N"},
		{[]string{"csv-trace", file, "--layout", "alibaba", "--durable", "all"}, file + ":2:3: expected r or w"},
		{[]string{"blkparse", file, "--action", "X"}, "--action: expected Q"},
		{[]string{"iolog", file + ".none", "--durable", "all"}, "no such file"},
	} {
		var stdout, stderr strings.Builder
		out := filepath.Join(t.TempDir(), "out.gz")
		code := run(&stdout, &stderr, append(append([]string{"import"}, c.args...), "--output", out))
		if code != exitUsage || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%v: exit code %d\n%s\nwant %s", c.args, code, stderr.String(), c.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v: something was written", c.args)
		}
	}
}

// An imported trace is replayed with each of its requests, once.
func TestAnImportedTraceIsReplayed(t *testing.T) {
	examples, err := filepath.Abs("../../docs/examples")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	must(t, "import", "blkparse", filepath.Join(examples, "blkparse.txt"), "--output", "trace.gz")
	out := must(t, "run", "--workload", filepath.Join(examples, "replay.yaml"), "--device", "ram", "--strategy", "native",
		"--commits", "1000", "--runs", "1", "--cuts", "0", "--warmup", "0", "--no-save", "--format", "json")
	var doc struct {
		Cells []struct {
			Status string
			Wire   map[string]int
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"read": 1, "write": 2, "write_fua": 1, "flush": 2}
	for op, n := range want {
		if got := doc.Cells[0].Wire[op]; got != n {
			t.Errorf("%s: got %d, want %d", op, got, n)
		}
	}
	if s := doc.Cells[0].Status; s != "ok" {
		t.Errorf("status: got %s, want ok", s)
	}
}
