package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"nbdbench/results"
)

var update = flag.Bool("update", false, "rewrite the golden files and the documents' examples")

// asProgram in the environment makes the test binary the program: it says
// started on stderr once a signal no longer kills it, and runs its arguments.
const (
	asProgram = "TEST_AS_PROGRAM"
	started   = "started\n"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
		fmt.Fprint(os.Stderr, started)
		os.Exit(run(os.Stdout, os.Stderr, os.Args[1:]))
	}
	code := m.Run()
	for _, f := range atExit {
		f()
	}
	os.Exit(code)
}

// atExit is what is to be done once all tests are over.
var atExit []func()

// program is the command as a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

// outcome is what a command has done.
type outcome struct {
	stdout, stderr string
	code           int
}

// invoke runs the whole program in this process.
func invoke(args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := run(&stdout, &stderr, args)
	return outcome{stdout.String(), stderr.String(), code}
}

// must is invoke of what has to succeed; it returns stdout.
func must(t *testing.T, args ...string) string {
	t.Helper()
	o := invoke(args...)
	if o.code != exitOK {
		t.Fatalf("nbdbench %s: exit %d: %s", strings.Join(args, " "), o.code, o.stderr)
	}
	return o.stdout
}

// tiny is a run of a few milliseconds, in front of other flags.
func tiny(more ...string) []string {
	return append([]string{"run", "--device", "nvme-990pro", "--workload", "sync-4k", "--runs", "4", "--commits", "50", "--cuts", "5"}, more...)
}

// document reads a run document and holds it against the schema.
func document(t *testing.T, text string) *results.Run {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(results.RunSchema))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("run.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("run.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %.200s", err, text)
	}
	if err := compiled.Validate(value); err != nil {
		t.Errorf("the document is not as the schema says: %v", err)
	}
	r, err := results.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// planOf is the plan that a document says was run.
func planOf(t *testing.T, r *results.Run) (plan map[string]any) {
	t.Helper()
	if err := json.Unmarshal(r.Plan, &plan); err != nil {
		t.Fatal(err)
	}
	return plan
}

// file makes a file in a new directory and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// golden holds got against a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is printed; -update rewrites it. Got:\n%s", path, got)
	}
}
