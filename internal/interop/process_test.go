package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nbdbench/internal/fork"
)

// programTimeout is how long a single program may take. No test is about time: this
// only keeps what hangs from hanging forever.
const programTimeout = 3 * time.Minute

// scratch is the directory of the command under test.
var scratch string

func TestMain(m *testing.M) {
	for variable, other := range map[string]func(string) error{loadVariable: runLoad, bareVariable: runBare} {
		if text := os.Getenv(variable); text != "" {
			if err := other(text); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	if peersRoot != "" && os.Getenv(enteredVariable) == "" {
		fmt.Fprintln(os.Stderr, enterRoot()) // returns only if it fails
		os.Exit(1)
	}
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	if scratch, err = os.MkdirTemp("", "interop"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	return m.Run(), nil
}

// underRace reports whether the race detector is on.
var underRace = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return true
		}
	}
	return false
})

// build builds the command once, with the race detector if the tests have it.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "nbdbench")
	args := []string{"build", "-o", path}
	if underRace() {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "nbdbench/cmd/nbdbench")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// command makes the command of a program with its arguments: a peer, or
// nbdbench itself, which gets nothing of its own from the environment.
func command(ctx context.Context, t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := find(args[0])
	if args[0] == "nbdbench" {
		path, err = build()
	}
	if err != nil {
		t.Fatalf("%s: %v", args[0], err)
	}
	c := exec.CommandContext(ctx, path, args[1:]...)
	c.Dir = dir
	if args[0] != "nbdbench" {
		if err := atRoot(c); err != nil {
			t.Fatal(err)
		}
	}
	c.WaitDelay = 10 * time.Second // for a grandchild that keeps a pipe open
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NBDBENCH_") {
			c.Env = append(c.Env, v)
		}
	}
	return c
}

// result is what became of a program.
type result struct {
	args           []string
	stdout, stderr string
	code           int
}

// String is for failures: the command, to run it again, and all that it said.
func (r result) String() string {
	return fmt.Sprintf("%s\nexit code %d\nstdout: %s\nstderr: %s", strings.Join(r.args, " "), r.code, r.stdout, r.stderr)
}

// run runs a program in dir to its end, whatever its exit code.
func run(t *testing.T, dir string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programTimeout)
	defer cancel()
	c := command(ctx, t, dir, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := fork.Start(c)
	if err == nil {
		err = c.Wait()
	}
	r := result{args, stdout.String(), stderr.String(), c.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || r.code < 0 {
		t.Fatalf("%v\n%v", err, r)
	}
	return r
}

// must runs a program that must succeed and returns its output.
func must(t *testing.T, dir string, args ...string) string {
	t.Helper()
	r := run(t, dir, args...)
	if r.code != 0 {
		t.Fatalf("expected success: %v", r)
	}
	return r.stdout
}

// script runs one of testdata's Python programs under libnbd.
func script(t *testing.T, name string, args ...string) {
	t.Helper()
	must(t, "testdata", append([]string{libnbd, "-B", name}, args...)...)
}

// process is a program that runs until it gets a signal.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdout  io.ReadCloser
	stderr  bytes.Buffer // to be read once it has ended
	stopped bool
}

// start starts a program, which is stopped at the end of the test at the
// latest.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: command(context.WithoutCancel(t.Context()), t, dir, args...)}
	p.cmd.Stderr = &p.stderr
	var err error
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := fork.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop() })
	return p
}

// line is the first line of the program's output.
func (p *process) line() string {
	p.t.Helper()
	hung := time.AfterFunc(programTimeout, func() { _ = p.cmd.Process.Kill() })
	defer hung.Stop()
	s, err := bufio.NewReader(p.stdout).ReadString('\n')
	if err != nil {
		code := p.wait()
		p.t.Fatalf("%s: expected a line of output, got %q and exit code %d\n%s", p.cmd, s, code, &p.stderr)
	}
	return strings.TrimSuffix(s, "\n")
}

// wait returns the exit code, of a program that ends by itself.
func (p *process) wait() int {
	p.t.Helper()
	p.stopped = true
	hung := time.AfterFunc(programTimeout, func() { _ = p.cmd.Process.Kill() })
	defer hung.Stop()
	_ = p.cmd.Wait() // the exit code says it
	return p.cmd.ProcessState.ExitCode()
}

// signal sends SIGTERM.
func (p *process) signal() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Errorf("%s: %v", p.cmd, err)
	}
}

// stop sends SIGTERM and returns what the program said on stderr. Only a
// program that then exits with 0 has ended as it should.
func (p *process) stop() string {
	p.t.Helper()
	if !p.stopped {
		p.signal()
		if code := p.wait(); code != 0 {
			p.t.Errorf("%s: exit code %d after SIGTERM, expected 0\n%s", p.cmd, code, &p.stderr)
		}
	}
	return p.stderr.String()
}

// server is nbdbench serve.
type server struct {
	*process
	uri string
}

func serve(t *testing.T, args ...string) *server {
	t.Helper()
	p := start(t, "", append([]string{"nbdbench", "serve"}, args...)...)
	return &server{p, p.line()}
}

// counts are the commands that a server has served, as it reports at its end.
type counts struct{ reads, writes, writesFUA, flushes int }

func (s *server) counts() (c counts) {
	s.t.Helper()
	talk := s.stop()
	const format = "served %d reads, %d writes, %d FUA writes, %d flushes"
	_, served, _ := strings.Cut("\n"+talk, "\nserved ") // after what it has reported
	if _, err := fmt.Sscanf("served "+served, format, &c.reads, &c.writes, &c.writesFUA, &c.flushes); err != nil {
		s.t.Fatalf("expected what was served, got %q: %v", talk, err)
	}
	return c
}
