package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/internal/crash"
)

// crashed runs nbdbench crash and returns its exit code and output.
func crashed(args ...string) (code int, stdout, stderr string) {
	var out, talk bytes.Buffer
	code = run(&out, &talk, append([]string{"crash"}, args...))
	return code, out.String(), talk.String()
}

func TestCrashExitsWith4WhereAPromiseIsBroken(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
	}{
		{"--device nvme-990pro --workload wal --strategy native,emulate,none --cuts 16", 0},
		{"--device nvme-990pro --workload wal --strategy none-unsafe --cuts 16", 0},
		{"--device lying --workload wal --strategy native --cuts 16", 4},
		{"--device nvme-990pro --workload wal --strategy discard --cuts 16", 4},
		{"--device nvme-pm963 --workload wal --strategy none --fault no-capacitor --cuts 16", 4},
	} {
		if code, out, talk := crashed(strings.Fields(c.args)...); code != c.code {
			t.Errorf("%s: exit code %d, want %d\n%s%s", c.args, code, c.code, out, talk)
		}
	}
}

func TestCrashRefusesWhatItDoesNotUnderstandWith2(t *testing.T) {
	for args, want := range map[string]string{
		"--device nothing":            "expected",
		"--workload nothing":          "expected one of",
		"--strategy nothing":          "expected one of native",
		"--fault lie":                 "expected one of lying-flush",
		"--cuts 0":                    "expected 1 to",
		"--requests 3-1":              "rising numbers",
		"--cut-at 0":                  "from 1 on",
		"--format yaml":               "expected table, md or json",
		"--picture x.gif":             ".svg, .png, .pdf",
		"--history /nonexistent":      "no such file",
		"--invariant commit-record":   "--invariant: expected --history beside it",
		"--history x --invariant y":   "--invariant: expected commit-record",
		"--history x --check true":    "--check: expected --images DIR beside it",
		"--history x --workload wal":  "--workload: expected no --history beside it",
		"--history x --commits 3":     "--commits: expected no --history beside it",
		"--history x --queue-depth 3": "--queue-depth: expected no --history beside it",
		"--history x --connections 3": "--connections: expected no --history beside it",
		"--strategy none-unsafe --exhaustive --device nvme-990pro --workload wal-noisy": "too many images",
		"--workload wal --commits 0 --cuts 1000":                                        "commits: expected",
	} {
		code, out, talk := crashed(strings.Fields(args)...)
		if code != 2 || out != "" || !strings.Contains(talk, want) {
			t.Errorf("%s: exit code %d, %q %q, want 2 and %q", args, code, out, talk, want)
		}
	}
}

// TestTheReplayOfAControlFailsAsTheControlDoes: what breaks promises has exit
// code 4, and so has each of the commands that it prints to show it again.
func TestTheReplayOfAControlFailsAsTheControlDoes(t *testing.T) {
	for _, args := range []string{
		"--device lying --strategy native,emulate,none",
		"--device plp-failed --strategy native,emulate,none",
		"--device nvme-990pro,plp-degraded,hdd-7200 --strategy discard",
	} {
		code, out, talk := crashed(append(strings.Fields(args), "--workload", "wal", "--cuts", "16", "--format", "json")...)
		var d crash.Document
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			t.Fatal(err)
		}
		cells := map[string]bool{}
		for _, v := range d.Violations {
			replay := strings.Fields(v.Replay)
			cells[strings.Join(replay[2:8], " ")] = true // --device D --workload W --strategy S
			code, again, _ := crashed(replay[2:]...)
			if code != 4 || !strings.Contains(again, string(v.Class)) || !strings.Contains(again, "1 cut,") {
				t.Errorf("%s exits with %d, expected one cut that shows %s\n%s", v.Replay, code, v.Class, again)
			}
		}
		if code != 4 || len(cells) != 3 {
			t.Errorf("%s: exit code %d, violations in %v, expected 4 and in three cells\n%s", args, code, cells, talk)
		}
	}
}

// The keys of the contract are there, and a violation has all of its own.
func TestTheDocumentOfACrashHasItsKeys(t *testing.T) {
	_, out, _ := crashed("--device", "lying", "--workload", "wal", "--strategy", "native", "--cuts", "16", "--format", "json")
	var d map[string]any
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"schema", "cuts", "images", "images_log2_total", "coverage", "commits_acked", "commits_lost", "violations"} {
		if d[key] == nil {
			t.Errorf("no %s", key)
		}
	}
	v := d["violations"].([]any)[0].(map[string]any)
	for _, key := range []string{"class", "sector", "expected", "found", "covered_by", "cut_ns", "image", "replay"} {
		if v[key] == nil {
			t.Errorf("a violation has no %s", key)
		}
	}
	replay := strings.Fields(v["replay"].(string))
	if code, again, _ := crashed(replay[2:]...); code != 4 || !strings.Contains(again, v["class"].(string)) {
		t.Errorf("the replay exits with %d\n%s", code, again)
	}
}

func TestTheTimelineOfAViolationIsDrawn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "timeline.svg")
	if code, _, talk := crashed("--device", "lying", "--workload", "wal", "--strategy", "native", "--cuts", "16", "--picture", path); code != 4 {
		t.Fatalf("exit code %d: %s", code, talk)
	}
	svg, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(svg, []byte("the power is cut")) {
		t.Errorf("%v, %d bytes", err, len(svg))
	}
}
