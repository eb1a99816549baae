package interop

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fitWithin is how near a fit must be to what was configured, and a run on the
// fitted profile to what was measured.
const fitWithin = 0.15

// delays are those configured in nbdkit, long compared with what a host adds.
type delays struct{ read, write time.Duration }

// slow is nbdkit's memory behind its delay and fua filters. Its delay filter has
// none for FLUSH; with 16 threads it serves 16 requests at once.
func slow(t *testing.T, d delays, mode string) string {
	t.Helper()
	args := []string{
		"--filter=fua", "--filter=delay", "memory", "64M",
		fmt.Sprintf("rdelay=%dms", d.read.Milliseconds()), fmt.Sprintf("wdelay=%dms", d.write.Milliseconds()),
	}
	if mode != "none" { // the default, which nbdkit refuses by its name
		args = append(args, "fuamode="+mode)
	}
	uri, _ := nbdkit(t, args...)
	return uri
}

// fit measures a target and returns the path of its profile.
func fit(t *testing.T, uri, duration string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fitted.yaml")
	must(t, "", "nbdbench", "devices", "fit", uri, "--destroy", "--duration", duration, "--output", path)
	return path
}

// row is what these tests read of a check.
type row struct {
	Op                   string
	Jobs                 int
	Published, Simulated float64
	Kind                 string
}

// fitRows are the rows of a fitted profile, by op and jobs.
func fitRows(t *testing.T, path string) map[string]row {
	t.Helper()
	r := run(t, "", "nbdbench", "devices", "check", path, "--format", "json")
	if r.code != 0 && r.code != 4 { // what a noisy host measured need not be in tolerance
		t.Fatalf("expected a check: %v", r)
	}
	var doc struct{ Rows []row }
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for _, r := range doc.Rows {
		key := fmt.Sprintf("%s-%d", r.Op, r.Jobs)
		if _, twice := rows[key]; !twice {
			rows[key] = r
		}
	}
	return rows
}

func TestFitWithoutDestroyWritesNothing(t *testing.T) {
	file := rawFile(t)
	before := sum(t, file)
	to := qemuNBD(t, file)
	r := run(t, "", "nbdbench", "devices", "fit", to.uri)
	want := fmt.Sprintf(`this would overwrite the beginning of the export "" of 64MiB at %s; give --destroy to allow it`, to.uri)
	if r.code != 2 || !strings.Contains(r.stderr, want) || r.stdout != "" || sum(t, file) != before {
		t.Errorf("expected exit code 2 and %q, and nothing written: %v", want, r)
	}
}

// TestFitOfForeignServers: what a server offers is what the profile offers, and
// the profile can be used. How long anything took is not looked at.
func TestFitOfForeignServers(t *testing.T) {
	for mode, fua := range map[string]string{"emulate": "native", "native": "native", "force": "native", "none": "none"} {
		t.Run(mode, func(t *testing.T) {
			path := fit(t, slow(t, delays{2 * time.Millisecond, 3 * time.Millisecond}, mode), "45ms")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range []string{"  flush: true\n  fua: " + fua + "\n", "size: 64MiB\n", "kind: ssd\n", "fitted:\n", "id: flush-16MiB,"} {
				if !strings.Contains(string(text), line) {
					t.Errorf("%q is not in\n%s", line, text)
				}
			}
			rows := fitRows(t, path)
			if _, measured := rows["sync_4k-1"]; measured != (fua == "native") || len(rows) < 18 || rows["read-1"].Kind != "fitted" {
				t.Errorf("%d rows: %v", len(rows), rows)
			}
			must(t, "", "nbdbench", "run", "--no-save", "--device", path, "--link", "none", "--workload", "sync-4k", "--strategy", "emulate,none", "--runs", "2", "--commits", "50")
		})
	}
}

// TestRealTimeFitRecoversDelays: the fit of a server whose delays are known has
// them, and a run on it in virtual time gives what the server gives.
func TestRealTimeFitRecoversDelays(t *testing.T) {
	if os.Getenv("NBDBENCH_TIMING") != "1" {
		t.Skip("this is about time, which takes a machine with nothing else to do: set NBDBENCH_TIMING=1")
	}
	if underRace() {
		t.Skip("the race detector takes more time than the devices")
	}
	for _, c := range []struct {
		delays
		mode string
	}{
		{delays{5 * time.Millisecond, 8 * time.Millisecond}, "emulate"},
		{delays{20 * time.Millisecond, 10 * time.Millisecond}, "native"},
		{delays{5 * time.Millisecond, 20 * time.Millisecond}, "force"},
	} {
		t.Run(fmt.Sprintf("%s-%v-%v", c.mode, c.read, c.write), func(t *testing.T) {
			off := delaysOff(t, c.delays, slow(t, c.delays, c.mode))
			for range clockTries - 1 { // because others may have been using the machine
				if len(off) == 0 {
					return
				}
				again := delaysOff(t, c.delays, slow(t, c.delays, c.mode))
				maps.DeleteFunc(off, func(what, _ string) bool { return again[what] == "" })
			}
			for _, line := range off {
				t.Errorf("off each of %d times, at first by this: %s", clockTries, line)
			}
		})
	}
}

// delaysOff fits a server and lists what is too far from its delays, and where a
// run on the fitted profile is too far from the server.
func delaysOff(t *testing.T, d delays, uri string) map[string]string {
	t.Helper()
	off := map[string]string{}
	path := fit(t, uri, "700ms")
	rows := fitRows(t, path)
	compare := func(what string, got, want float64) {
		line := fmt.Sprintf("%-28s %12.5g, want %12.5g  %+6.1f%%", what, got, want, 100*(got/want-1))
		t.Log(line)
		if !(math.Abs(got/want-1) <= fitWithin) {
			off[what] = line
		}
	}
	read, write := float64(d.read)/1e3, float64(d.write)/1e3
	for _, key := range []string{"read-1", "write-1", "sync_4k-1", "write_flush-1"} {
		want := write
		if key == "read-1" {
			want = read
		}
		compare(key+" against nbdkit, us", rows[key].Simulated, want)
	}
	for _, jobs := range []int{4, 16} {
		compare(fmt.Sprintf("read-%d against nbdkit, /s", jobs), rows[fmt.Sprintf("read-%d", jobs)].Simulated, float64(jobs)*1e6/read)
		compare(fmt.Sprintf("sync_4k-%d against nbdkit, /s", jobs), rows[fmt.Sprintf("sync_4k-%d", jobs)].Simulated, float64(jobs)*1e6/write)
	}
	compare("sync_4k-32 on 16 threads, /s", rows["sync_4k-32"].Simulated, 16*1e6/write)
	compareRuns(t, path, uri, compare)
	return off
}

// compareRuns compares a run on the server with one on its profile.
func compareRuns(t *testing.T, path, uri string, compare func(what string, got, want float64)) {
	t.Helper()
	args := []string{"--workload", "sync-4k,wal", "--runs", "3"}
	real := benchRun(t, append(args, "--target", uri, "--destroy", "--duration", "1s", "--strategy", "pass,none")...)
	virtual := benchRun(t, append(args, "--device", path, "--link", "none", "--cuts", "0", "--commits", "200", "--strategy", "pass,none")...)
	for _, r := range real.Cells {
		i := slices.IndexFunc(virtual.Cells, func(v cell) bool { return v.Workload == r.Workload && v.Strategy == r.Strategy })
		if i < 0 || r.Commit.P50 == 0 {
			t.Fatalf("no cell %s on the profile, or nothing measured: %+v", r.ID, r)
		}
		compare(r.Workload+"/"+r.Strategy+" p50, ns", float64(virtual.Cells[i].Commit.P50), float64(r.Commit.P50))
	}
}
