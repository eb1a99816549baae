package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/results"
)

// smallRun is a small run on a device from a file.
func smallRun(t *testing.T, args ...string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "run")
	must(t, append([]string{"run", "--commits", "40", "--runs", "1", "--cuts", "4", "--warmup", "0", "--output", dir, "--format", "csv"}, args...)...)
	return dir
}

// The document counts what was sent on the wire; the log has as much of it.
func TestTheExportOfARunHasWhatPassedAtItsWire(t *testing.T) {
	dir := smallRun(t, "--device", "nvme-990pro,hdd-7200", "--workload", "wal,doublewrite", "--strategy", "native,none")
	doc, err := results.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range doc.Cells {
		log, history := filepath.Join(t.TempDir(), "dm.log"), filepath.Join(t.TempDir(), "history")
		must(t, "export", "dm-log-writes", dir, "--cell", c.ID, "--output", log)
		must(t, "import", "dm-log-writes", log, "--output", history)
		text, err := os.ReadFile(history)
		if err != nil {
			t.Fatal(err)
		}
		count := func(words string) int64 { return int64(strings.Count(string(text), words)) }
		got := [3]int64{count("\twrite\t0\t"), count("\twrite\t1\t"), count("\tflush\t")}
		if want := [3]int64{c.Wire.Write, c.Wire.WriteFUA, c.Wire.Flush}; got != want || got[0]+got[1] < 40 {
			t.Errorf("%s: %v writes, FUA writes and flushes, the run sent %v", c.ID, got, want)
		}
		if o := invoke("crash", "--history", log, "--device", c.Device, "--strategy", "native", "--cuts", "8"); o.code != exitOK {
			t.Errorf("%s: exit %d\n%s%s", c.ID, o.code, o.stdout, o.stderr)
		}
		twin := log + "2"
		must(t, "export", "dm-log-writes", dir, "--cell", c.ID, "--output", twin)
		if !bytes.Equal(read(t, log), read(t, twin)) {
			t.Errorf("%s: two exports differ", c.ID)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnExportThatCannotBeHadExitsWith2AndLeavesNoFile(t *testing.T) {
	profile, workload := filepath.Join(t.TempDir(), "mine.yaml"), filepath.Join(t.TempDir(), "own.yaml")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(profile, "extends: nvme-990pro\nname: mine\n")
	write(workload, "name: own\ntransaction: [{op: write, durable: true, size: 4KiB}]\n")
	changed := smallRun(t, "--device", profile, "--workload", "wal", "--strategy", "native")
	several := smallRun(t, "--device", "emmc-sd,ram", "--workload", "wal", "--strategy", "native")
	earlier := withoutProfiles(t, changed)
	own := withoutProfiles(t, smallRun(t, "--device", "ram", "--workload", workload, "--strategy", "native"))
	write(profile, "extends: nvme-990pro\nname: mine\nssd: {fua_base: 1ms}\n")
	real := filepath.Join(t.TempDir(), "real")
	must(t, "run", "--clock", "real", "--device", "ram", "--workload", "wal", "--strategy", "native", "--runs", "1", "--duration", "20ms", "--warmup", "0s", "--output", real)
	history := filepath.Join(t.TempDir(), "history")
	write(history, "nbdbench/history/v1\n")
	for args, want := range map[string]string{
		earlier:                                  "expected the stored run's 40 commits in ",
		changed + " --run 1":                     "run: expected 0 to 0, of the 1 runs of mine/wal/native, got 1",
		changed + " --run -1":                    "run: expected 0 to 0",
		several:                                  `cell: expected one of emmc-sd/wal/native, ram/wal/native, got ""`,
		several + " --cell nosuch":               `got "nosuch"`,
		several + " --cell emmc-sd/wal/native":   "expected a cell that was run, emmc-sd/wal/native is unsupported",
		own:                                      `the file that the workload "own" is from is not known`,
		real:                                     "clock: expected a run in virtual time",
		history + " --cell a/b/c":                "--cell and --run: expected with a run directory",
		filepath.Join(changed, "charts"):         "no such file",
		filepath.Join(changed, "run.json"):       "line 1",
		"/nonexistent/run --cell ram/wal/native": "expected with a run directory",
	} {
		out := filepath.Join(t.TempDir(), "out")
		o := invoke(append(append([]string{"export", "dm-log-writes"}, strings.Fields(args)...), "--output", out)...)
		if o.code != exitUsage || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: exit %d, %q, want 2 and %q", args, o.code, o.stderr, want)
		}
		if files, _ := os.ReadDir(filepath.Dir(out)); len(files) > 0 {
			t.Errorf("%s: it leaves %v", args, files)
		}
	}
}

// withoutProfiles makes a stored run one of an earlier version, which had no profiles
// in its document.
func withoutProfiles(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, results.FileRun)
	doc, err := results.ReadDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	doc.Devices, doc.Workloads = nil, nil
	earlier := filepath.Join(t.TempDir(), "earlier")
	if err := os.CopyFS(earlier, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := doc.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(earlier, results.FileRun), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return earlier
}

// The profiles are in the document: the files may be gone.
func TestARunOnFilesIsExportedWithoutThem(t *testing.T) {
	files := t.TempDir()
	profile, workload := filepath.Join(files, "mine.yaml"), filepath.Join(files, "own.yaml")
	for path, text := range map[string]string{
		profile: "extends: nvme-990pro\nname: mine\nssd: {fua_base: 1ms}\n", workload: "name: own\ntransaction: [{op: write, durable: true, size: 4KiB}]\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := smallRun(t, "--device", profile, "--workload", workload, "--strategy", "native")
	if err := os.RemoveAll(files); err != nil {
		t.Fatal(err)
	}
	must(t, "export", "dm-log-writes", dir, "--output", filepath.Join(t.TempDir(), "log"))
}

// A log that a kill has cut short is replayed up to there, and every command that
// reads it says so.
func TestALogThatAKillHasCutShortIsReadAndSaidToBe(t *testing.T) {
	dir := smallRun(t, "--device", "nvme-990pro", "--workload", "wal", "--strategy", "native")
	whole, text := filepath.Join(t.TempDir(), "dm"), filepath.Join(t.TempDir(), "text")
	must(t, "export", "dm-log-writes", dir, "--output", whole)
	must(t, "import", "dm-log-writes", whole, "--output", text)
	for path, want := range map[string]string{whole: "entry 14, byte 90000: the file is cut short", text: "cut short after"} {
		if err := os.Truncate(path, map[string]int64{whole: 90000, text: 1501}[path]); err != nil {
			t.Fatal(err)
		}
		o := invoke("crash", "--history", path, "--device", "nvme-990pro", "--strategy", "native", "--cuts", "8")
		if o.code != exitOK || !strings.Contains(strings.Join(strings.Fields(o.stdout), " "), want) {
			t.Errorf("crash: exit %d, %q, want 0 and %q in\n%s", o.code, o.stderr, want, o.stdout)
		}
		o = invoke("export", "dm-log-writes", path, "--output", filepath.Join(t.TempDir(), "again"))
		if o.code != exitOK || !strings.Contains(o.stderr, want) {
			t.Errorf("export: exit %d, %q, want 0 and %q", o.code, o.stderr, want)
		}
	}
}

// A log is written in place and takes no other one's.
func TestServeDoesNotOverwriteALog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("of yesterday"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--log", "--log-writes"} {
		o := invoke("serve", "ram", flag, path)
		if want := flag + ": " + path + " has 12 bytes: expected a new file, or an empty one"; o.code != exitUsage || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: exit %d, %q, want 2 and %q", flag, o.code, o.stderr, want)
		}
		if got := read(t, path); string(got) != "of yesterday" {
			t.Errorf("%s: the file is %q now", flag, got)
		}
	}
}
