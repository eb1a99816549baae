package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/internal/fork"
)

// suiteTimeout is how long a suite may take, all its tests together.
const suiteTimeout = 20 * time.Minute

// suite is a test suite that somebody else wrote, as next.sh has built it.
type suite struct {
	name   string
	source string   // its folder in /src, with * for the version
	dir    string   // below that
	args   []string // what to run there
	tests  []string // the tests to name, or none for all
	result *regexp.Regexp
	log    string // a test's own log below dir, with %s for its name
	before bool   // without a log of its own: what a test says comes before its result
	// What fails for a reason that is known, in words for the table.
	known map[string]string
}

var (
	automakeResult = regexp.MustCompile(`(?m)^(PASS|FAIL|SKIP|ERROR): (\S+)`)
	iotestsResult  = regexp.MustCompile(`(?m)^(ok|not ok) raw (\S+)( # SKIP)?`)
)

// imageTests are those of qemu-iotests that read and write an image over NBD
// with qemu-io and qemu-img, and start no virtual machine.
const imageTests = "001 002 003 004 005 008 009 010 011 021 032 033 077 104 123 241"

var suites = []suite{
	{name: "libnbd, tests", source: "libnbd-[0-9]*", dir: "tests", args: []string{"make", "-j2", "check"}, result: automakeResult, log: "%s.log"},
	{
		name: "libnbd, interop", source: "libnbd-[0-9]*", dir: "interop", args: []string{"make", "-j2", "check"}, result: automakeResult, log: "%s.log",
		known: map[string]string{
			"list-exports-nbdkit":     "nobody's: it wants exports without a description, serve describes each",
			"list-exports-nbd-server": "nobody's: it wants exports without a description, serve describes each",
		},
	},
	{
		name: "nbd, nbd-tester-client", source: "nbd-[0-9]*", dir: "tests/run", args: []string{"make", "check"}, result: automakeResult, before: true,
		known: map[string]string{
			"integrityhuge": "ours: a request of 50 MB, and 32 MiB is the bound",
			"tlshuge":       "ours: a request of 50 MB, and 32 MiB is the bound",
		},
	},
	{
		name: "qemu-iotests, images over NBD", source: "qemu-[0-9]*", dir: "tests/qemu-iotests",
		args: []string{"./check", "-nbd", "-raw", "-tap"}, tests: strings.Fields(imageTests), result: iotestsResult,
	},
}

// outcome is a test's end with one server.
type outcome struct {
	result string // PASS, FAIL or SKIP
	lacks  string // what the stand-in said that serve does not have
}

// standIn builds the stand-in under the names of the servers, in a folder for PATH.
func standIn(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	program := filepath.Join(dir, "standin")
	if out, err := exec.Command("go", "build", "-o", program, "nbdbench/internal/interop/standin").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, name := range []string{"nbdkit", "nbd-server", "qemu-nbd"} {
		// libnbd's suite sets GODEBUG for its own tests in Go, to what Go 1.26 refuses.
		text := fmt.Sprintf("#!/bin/sh\nunset GODEBUG\nexec %s %s \"$@\"\n", program, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// where is the suite's folder as its root shows it.
func (s suite) where(t *testing.T) (version, dir string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(peersRoot, "src", s.source))
	if err != nil || len(found) != 1 {
		t.Fatalf("expected one folder %s in /src of %s, got %v", s.source, peersRoot, found)
	}
	base := filepath.Base(found[0])
	return versionNumber.FindString(base), filepath.Join("/src", base, s.dir)
}

// command is what runs these tests of the suite.
func (s suite) command(tests []string) []string {
	switch {
	case s.args[0] != "make":
		return append(slices.Clone(s.args), tests...)
	case len(tests) > 0:
		return append(slices.Clone(s.args), "TESTS="+strings.Join(tests, " "))
	}
	return s.args
}

// run runs tests of the suite with the servers that path finds first.
func (s suite) run(t *testing.T, path string, tests []string) map[string]outcome {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	_, dir := s.where(t)
	scratch, err := os.MkdirTemp("", "suite") // short: for the paths of sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(scratch)
	qemuNBD := "/usr/bin/qemu-nbd"
	if path != "" {
		qemuNBD = filepath.Join(path, "qemu-nbd")
	}
	args := []string{
		"env", "PATH=" + strings.TrimPrefix(path+":/usr/sbin:/usr/bin:/sbin:/bin", ":"), "TMPDIR=" + scratch, "LC_ALL=C", "DELAY=3", // of nbd's suite, for a server to listen
		"STANDIN_SERVE=" + program, "STANDIN_REAL=/usr/bin", "STANDIN_LOG=" + filepath.Join(scratch, "lacks"),
		"TEST_DIR=" + filepath.Join(scratch, "images"), "SOCK_DIR=" + filepath.Join(scratch, "sockets"), "QEMU_PROG=/src/qemu-system",
		"QEMU_IMG_PROG=/usr/bin/qemu-img", "QEMU_IO_PROG=/usr/bin/qemu-io", "QEMU_NBD_PROG=" + qemuNBD, "QSD_PROG=/usr/bin/qemu-storage-daemon",
	}
	ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
	defer cancel()
	c := command(ctx, t, dir, append(args, s.command(tests)...)...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err = fork.Start(c)
	if err == nil {
		err = c.Wait()
	}
	var exit *exec.ExitError // of a suite of which a test fails
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", s.name, err, &out)
	}
	return s.outcomes(t, dir, out.String())
}

// outcomes reads the suite's output.
func (s suite) outcomes(t *testing.T, dir, out string) map[string]outcome {
	t.Helper()
	found := s.result.FindAllStringSubmatchIndex(out, -1)
	if len(found) == 0 {
		t.Fatalf("%s: expected results of tests, got\n%s", s.name, out)
	}
	outcomes := map[string]outcome{}
	for i, m := range found {
		o, name := outcome{result: out[m[2]:m[3]]}, out[m[4]:m[5]]
		text := between(out, found, i, s.before)
		if s.log != "" {
			b, err := os.ReadFile(filepath.Join(peersRoot, dir, fmt.Sprintf(s.log, name)))
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		switch {
		case len(m) > 6 && m[6] >= 0:
			o.result = "SKIP"
		case o.result == "ok":
			o.result = "PASS"
		case o.result != "PASS" && o.result != "SKIP":
			o.result = "FAIL"
		}
		if _, rest, ok := strings.Cut(text, "serve does not have "); ok {
			o.lacks, _, _ = strings.Cut(rest, "\n")
		}
		outcomes[name] = o
	}
	return outcomes
}

// between is what the suite says between the i-th result and the one before or
// after it.
func between(out string, found [][]int, i int, before bool) string {
	from, to := found[i][1], len(out)
	if i+1 < len(found) {
		to = found[i+1][0]
	}
	if before {
		from, to = 0, found[i][0]
		if i > 0 {
			from = found[i-1][1]
		}
	}
	return out[from:to]
}

// tally is a suite's line in the table.
type tally struct {
	run, passed, failed, skipped int
	faults                       []string
	lacks                        map[string]int
}

// judge runs the suite with serve, and what fails once more with the server that
// it was written for: what fails with both is no fault of serve.
func (s suite) judge(t *testing.T, servers string) tally {
	t.Helper()
	n := tally{lacks: map[string]int{}}
	ours := s.run(t, servers, s.tests)
	var failed []string
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		o := ours[name]
		switch {
		case o.lacks != "":
			n.lacks[o.lacks]++
		case o.result == "SKIP":
			n.lacks["what this machine or its build has not, says the suite"]++
		case o.result == "PASS":
			n.passed++
			if s.known[name] != "" {
				t.Errorf("%s: %s passes, expected it to fail: %s", s.name, name, s.known[name])
			}
		default:
			failed = append(failed, name)
		}
	}
	n.run, n.failed = n.passed+len(failed), len(failed)
	n.skipped = len(ours) - n.run
	var theirs map[string]outcome
	open := slices.DeleteFunc(slices.Clone(failed), func(name string) bool { return s.known[name] != "" })
	if len(open) > 0 {
		theirs = s.run(t, "", open)
	}
	for _, name := range failed {
		n.faults = append(n.faults, name+": "+s.fault(t, name, theirs[name]))
	}
	return n
}

// fault is whose fault a failure is.
func (s suite) fault(t *testing.T, name string, theirs outcome) string {
	t.Helper()
	if known := s.known[name]; known != "" {
		return known
	}
	if theirs.result == "FAIL" {
		return "theirs: it fails with its own server too"
	}
	t.Errorf("%s: %s fails with serve, and with its own server ends with %q", s.name, name, theirs.result)
	return "ours"
}

// TestSuitesOfOthers runs the suites against serve, through a program that
// stands in for the servers that they start, and for comparison against those.
// Its table in docs/NBD.md is what it saw.
func TestSuitesOfOthers(t *testing.T) {
	if peersRoot == "" {
		t.Skipf("%s names no folder with suites: make interop-next", rootVariable)
	}
	servers := standIn(t)
	var table, skipped strings.Builder
	table.WriteString("| suite | version | run | passed | failed | skipped | whose fault |\n|---|---|---|---|---|---|---|\n")
	done := 0
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			n := s.judge(t, servers)
			version, _ := s.where(t)
			n.lines(&table, &skipped, s.name, version)
			done++
		})
	}
	text := fmt.Sprintf("Seen on %s, on Debian 13's packages.\n\n%s\nSkipped is what needs of a server what serve does not have:\n\n| suite | tests | what they need |\n|---|---|---|\n%s",
		time.Now().UTC().Format("2 January 2006"), table.String(), skipped.String())
	t.Logf("\n%s", text)
	if !t.Failed() && done == len(suites) {
		updateSection(t, "NBD.md", "suites", text)
	}
}

// lines writes a suite's line in the table, and those of what it skipped.
func (n tally) lines(table, skipped io.Writer, name, version string) {
	faults := strings.Join(n.faults, "; ")
	if faults == "" {
		faults = "-"
	}
	fmt.Fprintf(table, "| %s | %s | %d | %d | %d | %d | %s |\n", name, version, n.run, n.passed, n.failed, n.skipped, faults)
	for _, what := range slices.Sorted(maps.Keys(n.lacks)) {
		fmt.Fprintf(skipped, "| %s | %d | %s |\n", name, n.lacks[what], what)
	}
}
