package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"nbdbench/internal/calibrate"
)

// fast is a profile whose first figure is right and whose second cannot be.
const fast = `extends: nvme-pm963
name: fast
published:
  - {id: right, op: sync_4k, value: 34095, unit: ops/s, tolerance: 0.01, source: a test}
  - {id: wrong, op: sync_4k, jobs: 4, value: 34095, unit: ops/s, tolerance: 0.01, source: a test}
`

func checked(t *testing.T, o outcome) *calibrate.Check {
	t.Helper()
	var c calibrate.Check
	if err := json.Unmarshal([]byte(o.stdout), &c); err != nil {
		t.Fatalf("%v in %.300q; stderr %q", err, o.stdout, o.stderr)
	}
	return &c
}

func TestARowOutOfToleranceExitsWith4AfterAllArePrinted(t *testing.T) {
	path := file(t, "fast.yaml", fast)
	o := invoke("devices", "check", path, "hdd-15k", "--format", "json")
	c := checked(t, o)
	if o.code != 4 || o.stderr != "nbdbench: 1 of 5 rows are out of tolerance\n" {
		t.Errorf("exit %d, stderr %q", o.code, o.stderr)
	}
	if len(c.Rows) != 5 || !c.Rows[0].OK || c.Rows[1].OK || c.Rows[1].Ratio != 4 || c.Rows[4].Device != "hdd-15k" {
		t.Errorf("rows %+v", c.Rows)
	}
	for _, format := range []string{"table", "md"} {
		if o := invoke("devices", "check", path, "--format", format); o.code != 4 || !strings.Contains(o.stdout, "OUT: fast ("+path+"), sync_4k, jobs 4: 4.00 times") {
			t.Errorf("%s: exit %d, stdout %s", format, o.code, o.stdout)
		}
	}
}

func TestAChangedParameterIsHeldAgainstTheFiguresOfItsDevice(t *testing.T) {
	path := file(t, "slow.yaml", "extends: fua-disk\nname: fua-disk\nssd: {flush_base: 4ms}\n")
	o := invoke("devices", "check", path, "--format", "json")
	var out []string
	for _, r := range checked(t, o).Rows {
		if !r.OK {
			out = append(out, r.Op+" "+string(r.Kind))
		}
	}
	// What set the parameter was overridden with it: the row is a prediction now.
	if want := []string{"write_flush predicted", "flush derived"}; o.code != 4 || !slices.Equal(out, want) {
		t.Errorf("exit %d, out of tolerance %q, want %q", o.code, out, want)
	}
}

func TestDevicesInToleranceExitWith0(t *testing.T) {
	names := []string{"nvme-970pro", "nvme-pm963", "fua-disk", "hdd-7200-wt", "hdd-15k", "raid-bbu", "ebs-gp3", "ssd-mqsim", "nvme-905p"}
	text := must(t, append([]string{"devices", "check"}, names...)...)
	for _, n := range names {
		if !strings.Contains(text, "\n"+n+"\n") {
			t.Errorf("%s is not in\n%s", n, text)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if n := len([]rune(line)); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestADeviceWithoutPublishedFiguresIsReportedAsSuch(t *testing.T) {
	if got := must(t, "devices", "check", "ram"); got != "Nothing is published of ram.\n" {
		t.Errorf("got %q", got)
	}
	if got, want := must(t, "devices", "check", "ram", "--format", "json"), "{\n \"schema\": \"nbdbench/devices-check/v1\",\n \"rows\": []\n}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// checkOfAll is the check of all devices, which takes a while.
func checkOfAll(t *testing.T) outcome {
	if testing.Short() {
		t.Skip("-short")
	}
	return checkedOnce()
}

var checkedOnce = sync.OnceValue(func() outcome { return invoke("devices", "check", "--format", "json") })

func TestTheDocumentOfACheckHasTheKeysThatScriptsRelyOn(t *testing.T) {
	o := checkOfAll(t)
	var doc struct {
		Schema string           `json:"schema"`
		Rows   []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal([]byte(o.stdout), &doc); err != nil {
		t.Fatal(err)
	}
	keys := []string{
		"confidence", "device", "jobs", "kind", "ok", "op", "published", "ratio",
		"sets", "simulated", "source", "tolerance", "unit",
	}
	for _, r := range doc.Rows {
		var got []string
		for k := range r {
			got = append(got, k)
		}
		got = slices.DeleteFunc(got, func(k string) bool { return k == "published_range" }) // of sources that disagree
		slices.Sort(got)
		sets, isList := r["sets"].([]any)
		if !slices.Equal(got, keys) || !isList || (len(sets) > 0) != (r["kind"] == "fitted") {
			t.Errorf("row %v", r)
		}
	}
	if doc.Schema != "nbdbench/devices-check/v1" || len(doc.Rows) < 60 {
		t.Errorf("schema %q, %d rows", doc.Schema, len(doc.Rows))
	}
}

func TestWrongUseOfCheckExitsWith2(t *testing.T) {
	bad := file(t, "bad.yaml", "extends: nvme-pm963\nname: bad\npublished:\n  - {id: a, op: sink, value: 1, unit: us, tolerance: 0.1, source: x}\n")
	for args, want := range map[string]string{
		"devices check ram nosuch":       `unknown device "nosuch"`,
		"devices check ram --format csv": `--format: expected table, md or json, got "csv"`,
		"devices check " + bad:           bad + ":4:17: published[0].op: expected one of read, write,",
	} {
		o := invoke(strings.Fields(args)...)
		if o.code != exitUsage || !strings.Contains(o.stderr, want) || o.stdout != "" {
			t.Errorf("nbdbench %s: exit %d, stdout %q, stderr %q, want %q", args, o.code, o.stdout, o.stderr, want)
		}
	}
}

// The table of docs/DEVICES.md is what the command prints.
func TestTheDevicesDocumentHasTheTableThatIsPrinted(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	const path, begin, end = "../../docs/DEVICES.md", "<!-- begin: nbdbench devices check --format md -->\n", "<!-- end -->\n"
	o := invoke("devices", "check", "--format", "md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	stands, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks %q or %q", path, begin, end)
	}
	if stands == o.stdout {
		return
	}
	if !*update {
		t.Fatalf("%s is not what is printed; -update rewrites it. Got:\n%s", path, o.stdout)
	}
	if err := os.WriteFile(path, []byte(before+begin+o.stdout+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Each row that is out is explained, and nothing is explained away that is not.
func TestEveryRowThatIsOutIsExplained(t *testing.T) {
	text, err := os.ReadFile("../../docs/DEVICES.md")
	if err != nil {
		t.Fatal(err)
	}
	_, why, _ := strings.Cut(string(text), "## Rows out of tolerance\n")
	why, _, _ = strings.Cut(why, "Within tolerance")
	explained := map[string]bool{}
	for _, line := range strings.Split(why, "\n") {
		head, _, ok := strings.Cut(strings.TrimPrefix(line, "* **"), ":")
		if ok {
			names, op, _ := strings.Cut(head, ", ")
			for _, name := range strings.Split(names, " and ") {
				explained[name+" "+strings.Trim(op, "`")] = true
			}
		}
	}
	out := map[string]bool{}
	for _, r := range checked(t, checkOfAll(t)).Rows {
		if !r.OK {
			out[r.Device+" "+r.Op] = true
		}
	}
	for row := range out {
		if !explained[row] {
			t.Errorf("%s is out of tolerance, and docs/DEVICES.md does not explain it", row)
		}
	}
	for row := range explained {
		if !out[row] {
			t.Errorf("docs/DEVICES.md explains %s, which is within tolerance", row)
		}
	}
}

func TestTheProfileInTheDevicesDocumentCanBeChecked(t *testing.T) {
	text, err := os.ReadFile("../../docs/DEVICES.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## A profile of your own\n")
	_, rest, _ := strings.Cut(section, "```yaml\n")
	profile, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("no profile in docs/DEVICES.md")
	}
	o := invoke("devices", "check", file(t, "my-drive.yaml", profile), "--format", "json")
	c := checked(t, o)
	if o.code != exitOK || len(c.Rows) != 2 || c.Rows[0].Kind != "fitted" || c.Rows[1].Kind != "predicted" {
		t.Errorf("exit %d, %q, rows %+v", o.code, o.stderr, c.Rows)
	}
}
