package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/results"
)

// ownFiles are a device and a workload that have the names of shipped ones and are
// others, and a device of a name of its own.
func ownFiles(t *testing.T) (dir, device, named, workload string) {
	t.Helper()
	dir = t.TempDir()
	device, named, workload = filepath.Join(dir, "mine.yaml"), filepath.Join(dir, "named.yaml"), filepath.Join(dir, "w.yaml")
	for path, text := range map[string]string{
		device:   "extends: nvme-990pro\nname: nvme-990pro\nssd: {fua_base: 1ms}\n",
		named:    "extends: raid-bbu\nname: my-raid\n",
		workload: "name: sync-4k\ntransaction: [{op: write, durable: true, size: 8KiB}]\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, device, named, workload
}

// storedFiles are the files of a run directory by their names.
func storedFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			out[strings.TrimPrefix(path, dir)] = string(read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAStoredRunRunsAgainByteForByteWithoutItsFiles(t *testing.T) {
	files, device, named, workload := ownFiles(t)
	empirical := "../../docs/testdata/empirical.yaml"
	first, second, third := filepath.Join(t.TempDir(), "1"), filepath.Join(t.TempDir(), "2"), filepath.Join(t.TempDir(), "3")
	must(t, "run", "--device", strings.Join([]string{device, named, "hdd-7200", "ssd-mqsim", empirical}, ","), "--workload", "sync-4k,wal-noisy,"+workload,
		"--rate", "900/s", "--link", "20us,1GB/s", "--strategy", "native,none-unsafe", "--commits", "60", "--runs", "2", "--cuts", "3", "--seed", "7", "--warmup", "0", "--output", first)
	if err := os.RemoveAll(files); err != nil {
		t.Fatal(err)
	}
	must(t, "run", first, "--output", second)
	must(t, "run", filepath.Join(second, results.FileRun), "--jobs", "1", "--output", third)
	want := storedFiles(t, first)
	for _, dir := range []string{second, third} {
		got := storedFiles(t, dir)
		if len(got) != len(want) || len(want) < 5 {
			t.Errorf("%d files, want %d", len(got), len(want))
		}
		for name, text := range want {
			if got[name] != text {
				t.Errorf("%s: %s is not as in the first run", dir, name)
			}
		}
	}
}

func TestFlagsOverrideAStoredRun(t *testing.T) {
	_, device, _, _ := ownFiles(t)
	dir := smallRun(t, "--device", device, "--workload", "sync-4k", "--strategy", "native")
	doc := document(t, must(t, "run", dir, "--no-save", "--format", "json", "--device", "nvme-990pro", "--runs", "2", "--workload", "wal"))
	if len(doc.Cells) != 1 || doc.Cells[0].Device != "nvme-990pro" || doc.Cells[0].Workload != "wal" || doc.Cells[0].Runs != 2 {
		t.Errorf("cells %+v", doc.Cells[0])
	}
}

func TestAProfileThatIsNotTheShippedOneIsMarkedWhereverItIsNamed(t *testing.T) {
	_, device, named, workload := ownFiles(t)
	dir := filepath.Join(t.TempDir(), "run")
	table := must(t, "run", "--device", device+","+named+",hdd-7200", "--workload", workload+",wal", "--strategy", "native,none",
		"--commits", "1100", "--runs", "6", "--cuts", "2", "--warmup", "0", "--output", dir)
	doc, err := results.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"nvme-990pro/sync-4k/native": {"nvme-990pro (modified)", "sync-4k (modified)"},
		"my-raid/wal/none":           {"my-raid (" + named + ")", "wal"},
		"hdd-7200/wal/native":        {"hdd-7200", "wal"},
	}
	for _, c := range doc.Cells {
		if w, ok := want[c.ID]; ok && (w != [2]string{c.Device, c.Workload}) {
			t.Errorf("%s is called %s, %s", c.ID, c.Device, c.Workload)
		}
		delete(want, c.ID)
	}
	if len(want) > 0 {
		t.Errorf("no cells %v", want)
	}
	marked := func(where, text, name string) {
		n := strings.Count(text, name)
		if n == 0 || n != strings.Count(text, name+" (modified)") {
			t.Errorf("%s names %s %d times, of which not all are marked", where, name, n)
		}
	}
	marked("the table", table, "nvme-990pro")
	marked("the table", table, "sync-4k")
	for _, format := range []string{"md", "csv"} {
		text := must(t, "report", dir, "--format", format)
		marked(format, text, "nvme-990pro")
		marked(format, text, "sync-4k")
	}
	marked("a chart", string(read(t, filepath.Join(dir, "charts", "breakdown-nvme-990pro_modified.svg"))), "nvme-990pro")
	if page := must(t, "report", dir, "--format", "html"); !strings.Contains(page, "nvme-990pro (modified) · sync-4k (modified)") {
		t.Error("the page does not mark them")
	}
	shown := must(t, "devices", "show", device)
	if !strings.HasPrefix(shown, "nvme-990pro (modified): ") {
		t.Errorf("shown as %.60s", shown)
	}
}

// edited is a stored run with one thing in its document changed, and the digests of
// what it has as they must be then.
func edited(t *testing.T, dir string, change func(doc *results.Run)) (path string) {
	t.Helper()
	doc, err := results.ReadDocument(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(doc)
	for _, s := range doc.Devices {
		if s.Digest, err = results.Digest(s.Profile); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := doc.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "edited.json")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAStoredRunThatWasTamperedWithIsRefusedWithItsPlace(t *testing.T) {
	dir := smallRun(t, "--device", "nvme-990pro", "--workload", "sync-4k", "--strategy", "native")
	replace := func(text json.RawMessage, old, with string) json.RawMessage {
		out := bytes.Replace(text, []byte(old), []byte(with), 1)
		if bytes.Equal(out, text) {
			t.Fatalf("no %s in %s", old, text)
		}
		return out
	}
	profile := func(old, with string) string {
		return edited(t, dir, func(doc *results.Run) {
			s := doc.Devices["nvme-990pro"]
			s.Profile = replace(s.Profile, old, with)
		})
	}
	plan := func(old, with string) string {
		return edited(t, dir, func(doc *results.Run) { doc.Plan = replace(doc.Plan, old, with) })
	}
	tampered := filepath.Join(t.TempDir(), "tampered.json")
	text := replace(read(t, filepath.Join(dir, results.FileRun)), `"servers": 1`, `"servers": 2`)
	if err := os.WriteFile(tampered, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, place, want string }{
		{tampered, `"sha256:`, "devices.nvme-990pro.digest: want that of the profile beside it"},
		{profile(`"fua_base": "3.98ms"`, `"fua_base": "soon"`), `"soon"`, "devices.nvme-990pro.profile.ssd.fua_base: "},
		{profile(`"servers": 1`, `"severs": 1`), `"severs"`, `unknown key "severs"`},
		{profile(`"name": "nvme-990pro"`, `"name": "other"`), "{\n    \"name\": \"other\"", "devices.nvme-990pro.profile.name: expected nvme-990pro, got other"},
		{plan(`"runs": 1`, `"runs": 0`), `0,`, "plan.runs: expected 1 to 1000, got 0"},
		{plan(`"runs"`, `"rums"`), `1,`, "plan.rums: unknown key"},
		{plan(`"link": "unix"`, `"link": 7`), `7,`, "plan.link: expected"},
		{edited(t, dir, func(doc *results.Run) { delete(doc.Devices, "nvme-990pro") }), `{`, "plan: expected the profiles beside it"},
		{edited(t, dir, func(doc *results.Run) {
			doc.Devices["ram"] = doc.Devices["nvme-990pro"]
			delete(doc.Devices, "nvme-990pro")
		}), `"nvme-990pro"`, "plan.devices[0]: expected the profile of nvme-990pro"},
	} {
		o := invoke("run", c.path, "--no-save")
		var line, column int
		file, rest, ok := strings.Cut(strings.TrimPrefix(o.stderr, "nbdbench: "), ".json:")
		if ok {
			_, rest, ok = cutPlace(rest, &line, &column)
		}
		if o.code != exitUsage || !ok || file+".json" != c.path || !strings.Contains(rest, c.want) {
			t.Errorf("exit %d, %s, want 2 and %s", o.code, o.stderr, c.want)
			continue
		}
		lines := strings.SplitAfter(string(read(t, c.path)), "\n")
		if at := strings.Join(lines[line-1:], "")[column-1:]; !strings.HasPrefix(at, c.place) {
			t.Errorf("%s: the place is that of %.40q, want %s", c.want, at, c.place)
		}
	}
}

// cutPlace reads line:column: from the beginning of text.
func cutPlace(text string, line, column *int) (place, rest string, ok bool) {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) < 3 {
		return "", text, false
	}
	err1, err2 := json.Unmarshal([]byte(parts[0]), line), json.Unmarshal([]byte(parts[1]), column)
	return parts[0] + ":" + parts[1], parts[2], err1 == nil && err2 == nil
}

func TestADocumentOfAnEarlierVersionIsReportedButNotRunAgain(t *testing.T) {
	earlier := withoutProfiles(t, smallRun(t, "--device", "ram", "--workload", "sync-4k", "--strategy", "native"))
	must(t, "report", earlier)
	if o := invoke("run", earlier, "--no-save"); o.code != exitUsage || !strings.Contains(o.stderr, "made by an earlier version") {
		t.Errorf("exit %d, %s", o.code, o.stderr)
	}
}

func TestTheNameOfAStoredRunIsThatOfItsPlan(t *testing.T) {
	for path, want := range map[string]string{
		"runs/20260101T120000-my-plan-a1b2c3/run.json": "my-plan", "results/reference/default/run.json": "default", "x/copy.json": "copy",
	} {
		if got := nameOfRun(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestARealRunRecordsTheMachine(t *testing.T) {
	doc := document(t, must(t, "run", "--clock", "real", "--device", "ram", "--workload", "sync-4k", "--strategy", "native", "--runs", "1", "--duration", "20ms", "--warmup", "0s", "--no-save", "--format", "json"))
	h := doc.Host
	if h == nil || h.CPU == "" || h.Kernel == "" || h.LoadBefore == nil || h.LoadAfter == nil || h.Target != nil {
		t.Errorf("host %+v", h)
	}
}
