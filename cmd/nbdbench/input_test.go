//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNoErrorRepeatsAFileThatWasNotMeant: a file that a document names may be one
// that its author could not read, such as /etc/shadow.
func TestNoErrorRepeatsAFileThatWasNotMeant(t *testing.T) {
	const secret = "s3cr3t"
	for name, text := range map[string]string{
		"shadow":      "root:$6$" + secret + ":19000:0:99999:7:::\nname:$6$" + secret + ":1:\n",
		"netrc":       "machine example.org login me password " + secret + "\n",
		"credentials": "user: me\npassword: " + secret + "\n",
		"key":         "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n",
		"json":        `{"token": "` + secret + `"}`,
		"a word":      secret,
		"quoted":      `"` + secret,
		"tabs":        "\t" + secret + ": {[\n",
	} {
		path := file(t, "secret.yaml", text)
		profile := file(t, "child.yaml", "name: child\nextends: "+path+"\n")
		log := file(t, "log.yaml", "name: mine\nextends: emmc-sd\nkind: empirical\nempirical: {log: "+path+", select: a/b/c}\n")
		devices, load := file(t, "devices.yaml", "devices: ["+path+"]\n"), file(t, "load.yaml", "workloads: ["+path+"]\n")
		for _, args := range [][]string{
			{"run", path},
			{"run", devices},
			{"run", load},
			{"run", "--device", path},
			{"run", "--workload", path},
			{"devices", "show", profile},
			{"devices", "show", log},
			{"devices", "check", profile},
			{"serve", profile},
			{"workloads", "show", path},
			{"workloads", "check", path},
			{"serve", "ram", "--tls-cert", path, "--tls-key", path},
			{"report", path},
		} {
			if o := invoke(args...); o.code != exitUsage && o.code != exitFailure || strings.Contains(o.stdout+o.stderr, secret) {
				t.Errorf("%s: %v: exit %d, %q", name, args, o.code, o.stdout+o.stderr)
			}
		}
	}
}

// TestNoFileBlocksOrNeverEnds: whatever is named where a file may stand.
func TestNoFileBlocksOrNeverEnds(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo.yaml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{fifo, "/dev/zero"} {
		run, log := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "log")
		for _, d := range []string{run, log} {
			if err := os.Mkdir(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for name, to := range map[string]string{filepath.Join(run, "run.json"): bad, filepath.Join(log, "latency.hlog"): bad} {
			if err := os.Symlink(to, name); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(log, "run.json"), []byte(`{"schema":"nbdbench/run/v1","plan":{},"cells":[]}`), 0o644); err != nil {
			t.Fatal(err)
		}
		profile := file(t, "p.yaml", "name: p\nextends: "+bad+"\n")
		empirical := file(t, "e.yaml", "name: mine\nextends: emmc-sd\nkind: empirical\nempirical: {log: "+bad+", select: a/b/c}\n")
		for _, args := range [][]string{
			{"run", bad},
			{"run", run},
			{"run", "--device", bad},
			{"devices", "show", profile},
			{"devices", "show", empirical},
			{"workloads", "check", bad},
			{"report", run},
			{"report", log},
			{"crash", "--history", bad},
			{"import", "dm-log-writes", bad, "--output", filepath.Join(dir, "out")},
			{"export", "dm-log-writes", bad, "--output", filepath.Join(dir, "out")},
			{"serve", "ram", "--tls-cert", bad, "--tls-key", bad},
			{"run", "--target", "nbds://localhost:1", "--destroy", "--tls-ca", bad, "--no-save"},
		} {
			if o := invoke(args...); o.code != exitUsage && o.code != exitFailure || o.stdout != "" {
				t.Errorf("%v: exit %d, %q", args, o.code, o.stdout+o.stderr)
			}
		}
	}
}

func TestAByteOrderMarkIsNoKey(t *testing.T) {
	plan := file(t, "plan.yaml", "\ufeffdevices: [ram]\nworkloads: [sync-4k]\nstrategies: [native]\nruns: 1\ncommits: 10\ncuts: 0\n")
	must(t, "run", plan, "--no-save")
}

func TestNamesWithControlCharactersAreRefusedWhereTheyStand(t *testing.T) {
	const steps = "\ntransaction: [{op: write}]\n"
	for text, want := range map[string]string{
		`name: "w\e[31m"` + steps:                   `:1:7: name: expected a name of at most 200 bytes without blanks, slashes or control characters, got "w\x1b[31m"`,
		`name: "a\nb"` + steps:                      ":1:7: name: expected a name",
		`name: "a\u202eb"` + steps:                  ":1:7: name: expected a name",
		"name: " + strings.Repeat("n", 201) + steps: ":1:7: name: expected a name",
	} {
		if o := invoke("workloads", "check", file(t, "w.yaml", text)); o.code != exitUsage || !strings.Contains(o.stderr, want) {
			t.Errorf("%q: exit %d, %q, want %s", text, o.code, o.stderr, want)
		}
	}
	for key, value := range map[string]string{"name": `"d\e[31m"`, "title": `"t\nforged"`} {
		if o := invoke("devices", "show", file(t, "d.yaml", "extends: ram\n"+key+": "+value+"\n")); o.code != exitUsage || !strings.Contains(o.stderr, ":2:") {
			t.Errorf("%s: exit %d, %q", key, o.code, o.stderr)
		}
	}
}

// TestDescriptionsReachNoTerminalAsTheyAre: they may have any character.
func TestDescriptionsReachNoTerminalAsTheyAre(t *testing.T) {
	const hostile = `"\e]0;title\a \u009b31m \u202e about"`
	for _, args := range [][]string{
		{"workloads", "show", file(t, "w.yaml", "name: w\ndescription: "+hostile+"\ntransaction: [{op: write, size: 4k}]\n")},
		{"devices", "show", file(t, "d.yaml", "extends: ram\nname: d\nabout: "+hostile+"\n")},
	} {
		if text := must(t, args...); strings.ContainsAny(text, "\x1b\a\u009b\u202e") || !strings.Contains(text, "about") {
			t.Errorf("%v: %q", args, text)
		}
	}
}

// TestOutputThatCannotBeWrittenIsAFailure, even of the help.
func TestOutputThatCannotBeWrittenIsAFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"--help"}, {"run", "--help"}, {"version"}, {"devices", "list"}, {"devices", "show", "ram"}, {"completion", "bash"}} {
		var talk strings.Builder
		if code := run(full, &talk, args); code != exitFailure || !strings.Contains(talk.String(), "no space left on device") {
			t.Errorf("%v: exit %d, %q", args, code, talk.String())
		}
	}
}
