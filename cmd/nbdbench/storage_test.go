package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/results"
)

// quick is a run on storage that takes a second or two, in front of other flags.
func quick(device string, more ...string) []string {
	return append([]string{
		"run", "--device", device, "--workload", "sync-4k", "--strategy", "native,none,none-unsafe", "--runs", "2",
		"--duration", "50ms", "--warmup", "10ms", "--no-save", "--format", "json",
	}, more...)
}

// sparse is a file of so many bytes.
func sparse(t *testing.T, size int64) string {
	t.Helper()
	name := file(t, "file.img", "")
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	return name
}

// loopDevice is a loop device over a file; without root there is none.
func loopDevice(t *testing.T, size int64) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: no loop devices")
	}
	out, err := exec.Command("losetup", "-f", "--show", sparse(t, size)).CombinedOutput()
	if err != nil {
		t.Skipf("losetup: %v: %s", err, out)
	}
	name := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", name).Run() })
	return name
}

func TestStorageIsMeasured(t *testing.T) {
	for kind, place := range map[string]func(t *testing.T) (string, []string){
		"file":         func(t *testing.T) (string, []string) { return sparse(t, 16<<20), []string{"--destroy"} },
		"scratch file": func(t *testing.T) (string, []string) { return t.TempDir(), []string{"--size", "16MiB"} },
		"block device": func(t *testing.T) (string, []string) { return loopDevice(t, 16<<20), []string{"--destroy"} },
	} {
		t.Run(kind, func(t *testing.T) {
			path, flags := place(t)
			r := document(t, must(t, quick(path, flags...)...))
			if len(r.Cells) != 3 {
				t.Fatalf("got %d cells", len(r.Cells))
			}
			for _, c := range r.Cells {
				if c.Status != results.StatusOK || c.Clock != "real" || !c.Storage || c.Commit == nil || c.Commit.Count == 0 || c.Durability.Measured() {
					t.Errorf("%s: %s %s", c.ID, c.Status, c.Reason)
				}
			}
			s := r.Host.Storage[filepath.Base(path)]
			if s == nil || s.Path != path || s.Kind != kind || s.Size != 16<<20 {
				t.Errorf("the document has the storage %+v", s)
			}
			if kind == "block device" && r.Cells[0].WhoDurable != "kernel: write+flush" { // a loop device has no FUA
				t.Errorf("native is durable by %q", r.Cells[0].WhoDurable)
			}
			if !strings.Contains(r.Verdicts[0].Sentence, "loss is not observed on the host's storage") {
				t.Errorf("the verdict is %q", r.Verdicts[0].Sentence)
			}
		})
	}
}

func TestTheTableHasWhatTheDriveWasSent(t *testing.T) {
	r := document(t, must(t, quick(loopDevice(t, 16<<20), "--destroy")...))
	for _, c := range r.Cells {
		s, flush := c.Sent, int64(1)
		if c.Strategy == "none-unsafe" {
			flush = 0
		}
		switch {
		case s == nil || s.Commits == 0:
			t.Errorf("%s: nothing is counted: %v", c.ID, c.Warnings)
		case s.Write != s.Commits || s.Flush != flush*s.Commits:
			t.Errorf("%s: %+v, want %d FLUSH for each WRITE", c.ID, *s, flush)
		case s.Source == results.SentTraced && (*s.WriteFUA != 0 || *s.Other != 0):
			t.Errorf("%s: %d writes with FUA, %d others", c.ID, *s.WriteFUA, *s.Other)
		}
	}
	if want := "The disk's queue has no FUA: under native the kernel sends a write and a FLUSH"; !strings.Contains(r.Verdicts[0].Sentence, want) {
		t.Errorf("the verdict is %q, want %q", r.Verdicts[0].Sentence, want)
	}
}

func TestAProfileBesideStorageRunsInRealTimeToo(t *testing.T) {
	r := document(t, must(t, quick(sparse(t, 16<<20)+",nvme-pm963", "--destroy")...))
	if len(r.Cells) != 6 || len(r.Order) != 2 || len(r.Order[0]) != 6 || r.Cells[5].Clock != "real" || r.Cells[5].Storage {
		t.Errorf("got %d cells in the order %v", len(r.Cells), r.Order)
	}
	for _, m := range r.Models {
		if m.Model != "nvme-pm963" || m.Drive != r.Cells[0].Device || m.ModelNS <= 0 || m.DriveNS <= 0 || m.Ratio <= 0 {
			t.Errorf("the model is off by %+v", m)
		}
	}
	if len(r.Models) < 3 {
		t.Errorf("the model is compared %d times, want p50 at least under each strategy", len(r.Models))
	}
}

func TestStorageIsNotOverwrittenUnasked(t *testing.T) {
	name := file(t, "file.img", strings.Repeat("data", 1<<18))
	for _, x := range []struct{ device, args, want string }{
		{name, "", "--device: this would overwrite the file " + name + ", 1MiB; give --destroy to allow it"},
		{name, "--destroy --size 2MiB", "expected at least 2097152 bytes, got 1048576"},
		{name, "--destroy --clock virtual", "clock: expected real for " + name},
		{name, "--destroy --size 0", "--size: expected more than 0"},
		{"ram", "--destroy --size 1MiB", "size: expected a block device, a file or a directory"},
		{filepath.Dir(name), "--size 100", "expected a scratch file of at least"},
	} {
		if got := invoke(append(quick(x.device), strings.Fields(x.args)...)...); got.code != exitUsage || !strings.Contains(got.stderr, x.want) {
			t.Errorf("%s %q: got %d %s, want %q", x.device, x.args, got.code, got.stderr, x.want)
		}
	}
	if text, err := os.ReadFile(name); err != nil || !bytes.Equal(text, bytes.Repeat([]byte("data"), 1<<18)) {
		t.Errorf("the file has been written: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestABlockDeviceIsNamedByModelSerialAndSize(t *testing.T) {
	device := loopDevice(t, 1<<20)
	got := invoke(quick(device)...)
	if want := device + " (no model name, serial number none, 1MiB)"; got.code != exitUsage || !strings.Contains(got.stderr, want) {
		t.Errorf("got %d %s, want %q", got.code, got.stderr, want)
	}
}

func TestOnlyYesAgrees(t *testing.T) {
	for answer, want := range map[string]bool{"yes\n": true, " yes \n": true, "y\n": false, "no\n": false, "": false, "yes please\n": false} {
		var out bytes.Buffer
		if got := agreed(strings.NewReader(answer), &out, []string{"/dev/sdX (MODEL, serial number 1, 1GiB)"}); got != want {
			t.Errorf("%q: got %v", answer, got)
		}
		if !strings.Contains(out.String(), "/dev/sdX (MODEL, serial number 1, 1GiB)") {
			t.Errorf("asked %q", out.String())
		}
	}
}
