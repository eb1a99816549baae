package attack

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hangs is when a client is taken to hang: far beyond the bounds it is given.
const hangs = 60 * time.Second

// exitInvalid and exitInterrupted are nbdbench's exit codes.
const (
	exitInvalid     = 5
	exitInterrupted = 130
)

// client is the program under attack, and a directory for its sockets and runs.
type client struct{ program, dir string }

func newClient(t *testing.T) client {
	t.Helper()
	c := client{dir: t.TempDir()}
	c.program = filepath.Join(c.dir, "nbdbench")
	if out, err := exec.Command("go", "build", "-pgo=off", "-o", c.program, "nbdbench/cmd/nbdbench").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return c
}

// meet serves as the deed says, and returns the URI.
func meet(t *testing.T, deed Misdeed) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := Misbehave(path, deed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, "nbd+unix:///?socket=" + url.QueryEscape(path)
}

// run runs the program and returns what it printed and its exit code.
func (c client) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hangs)
	defer cancel()
	var out, talk bytes.Buffer
	p := exec.CommandContext(ctx, c.program, args...)
	p.Stdout, p.Stderr = &out, &talk
	err := p.Run()
	if ctx.Err() != nil {
		t.Fatalf("%v hangs", args)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), talk.String(), p.ProcessState.ExitCode()
}

// stored is what of a run document these tests look at.
type stored struct {
	Partial bool
	Cells   []struct {
		Status, Reason string
		Errors         *struct{ Commit int }
	}
	Verdicts []struct{ Winner string }
}

func document(t *testing.T, text string) (d stored) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if len(d.Cells) != 1 {
		t.Fatalf("%d cells", len(d.Cells))
	}
	return d
}

func against(uri string, more ...string) []string {
	return append([]string{
		"run", "--target", uri, "--destroy", "--workload", "sync-4k", "--strategy", "pass", "--runs", "3", "--duration", "0s", "--commits", "200",
		"--warmup", "0", "--timeout", "2s", "--no-save", "--format", "json",
	}, more...)
}

// TestNoBrokenServerHasAResult: whatever a server does wrong, the cell is invalid,
// its reason names what it was, and so does the program, which exits with 5.
func TestNoBrokenServerHasAResult(t *testing.T) {
	c := newClient(t)
	t.Run("all", func(t *testing.T) {
		var wg sync.WaitGroup // t.Parallel has as many at once as there are processors, and these wait
		for _, deed := range Misdeeds() {
			wg.Go(func() { c.findsOut(t, deed) })
		}
		wg.Wait()
	})
	t.Run("a good one", func(t *testing.T) {
		_, uri := meet(t, Misdeed{})
		if stdout, stderr, code := c.run(t, against(uri)...); code != 0 || document(t, stdout).Cells[0].Status != "ok" {
			t.Errorf("exit %d: %s", code, stderr)
		}
	})
	t.Run("allowed errors", func(t *testing.T) { c.allowsErrors(t) })
	t.Run("duration", func(t *testing.T) { c.endsWithDuration(t) })
	t.Run("fit", func(t *testing.T) { c.fits(t) })
	t.Run("terminal", func(t *testing.T) { c.keepsTheTerminal(t) })
	t.Run("interrupt", func(t *testing.T) { c.isInterrupted(t) })
}

// findsOut: the program says what the server does wrong.
func (c client) findsOut(t *testing.T, deed Misdeed) {
	_, uri := meet(t, deed)
	stdout, stderr, code := c.run(t, against(uri, "--timeout", cmp.Or(deed.Timeout, 2*time.Second).String())...)
	var d stored
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || len(d.Cells) != 1 {
		t.Errorf("%s: %v, %s, %s", deed.Name, err, stdout, stderr)
		return
	}
	if cell := d.Cells[0]; cell.Status != "invalid" || !says(cell.Reason, deed.Cause) {
		t.Errorf("%s: the cell is %s: %s; want %q", deed.Name, cell.Status, cell.Reason, deed.Cause)
	}
	if code != exitInvalid || !says(stderr, deed.Cause) || d.Verdicts[0].Winner != "" {
		t.Errorf("%s: exit %d, %q wins: %s", deed.Name, code, d.Verdicts[0].Winner, stderr)
	}
}

// says reports whether text has the cause in it, of which a # is any number.
func says(text, cause string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(cause), "#", `[\d.]+`)
	return regexp.MustCompile(pattern).MatchString(text)
}

func deed(t *testing.T, name string) Misdeed {
	t.Helper()
	for _, d := range Misdeeds() {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no misdeed is called %q", name)
	return Misdeed{}
}

// allowsErrors: a share that the user allows is a warning, and not one more.
func (c client) allowsErrors(t *testing.T) {
	for share, want := range map[string]int{"0.01": 0, "0.001": exitInvalid} {
		_, uri := meet(t, deed(t, "EIO once"))
		stdout, stderr, code := c.run(t, against(uri, "--allow-errors", share)...)
		if n := document(t, stdout).Cells[0]; code != want || want == 0 && (n.Status != "ok" || n.Errors.Commit > 3) {
			t.Errorf("%s of the commits allowed: exit %d: %s", share, code, stderr)
		}
	}
}

// endsWithDuration: a run with a duration ends by it, long before the bound of a
// reply.
func (c client) endsWithDuration(t *testing.T) {
	_, uri := meet(t, deed(t, "never replies"))
	began := time.Now()
	_, stderr, code := c.run(t, against(uri, "--duration", "200ms", "--timeout", "1h")...)
	if code != exitInvalid || !strings.Contains(stderr, "no reply to WRITE with FUA of 4096 bytes") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	t.Logf("%v for a duration of 200ms", time.Since(began))
}

// keepsTheTerminal: what a server says about itself moves no cursor, sets no title
// and forges no line.
func (c client) keepsTheTerminal(t *testing.T) {
	const says = "\x1b]0;title\a\x1b[31m\u009b2J\r\nnbdbench: all is well\u202e"
	_, uri := meet(t, Misdeed{Option: func(conn net.Conn, o uint32) error {
		return optionReply(conn, o, repPolicy, []byte(says))
	}})
	for _, format := range []string{"table", "json", "csv", "md"} {
		stdout, stderr, code := c.run(t, append(against(uri), "--format", format)...)
		text := stdout + stderr
		if strings.ContainsAny(text, "\x1b\a\r\u009b\u202e") || strings.Contains(text, "\nnbdbench: all") || !strings.Contains(text, "title") || code == 0 {
			t.Errorf("%s: exit %d: %q", format, code, text)
		}
	}
}

// fits: devices fit ends and says why.
func (c client) fits(t *testing.T) {
	var wg sync.WaitGroup
	for name, want := range map[string]string{
		"never replies": "no reply to WRITE of 1048576 bytes at", "EIO always": "EIO", "leaves": "the connection was lost", "silence": "no greeting within 2s",
	} {
		wg.Go(func() {
			_, uri := meet(t, deed(t, name))
			stdout, stderr, code := c.run(t, "devices", "fit", uri, "--destroy", "--timeout", "2s")
			if code != exitInvalid || stdout != "" || !strings.Contains(stderr, want) {
				t.Errorf("%s: exit %d: %s", name, code, stderr)
			}
		})
	}
	wg.Wait()
}

// isInterrupted: Ctrl-C ends a run whose server is silent, at any stage.
func (c client) isInterrupted(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{
		"silence": syscall.SIGINT, "stalls in the negotiation": syscall.SIGTERM, "never replies": syscall.SIGHUP, "replies no more": syscall.SIGINT,
	} {
		s, uri := meet(t, deed(t, name))
		dir := filepath.Join(c.dir, strings.ReplaceAll(name, " ", "-"))
		args := []string{"run", "--target", uri, "--destroy", "--workload", "sync-4k", "--strategy", "pass", "--duration", "1h", "--timeout", "1h", "--output", dir}
		// Under nohup the test and what it starts ignore SIGHUP.
		p := exec.Command("env", append([]string{"--default-signal=HUP", c.program}, args...)...)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(hangs, func() { _ = p.Process.Kill() })
		for s.Accepted.Load() == 0 && kill.Stop() {
			kill.Reset(hangs)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond) // it is under way, or will find that it has been stopped
		began := time.Now()
		if err := p.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
		t.Logf("%s: %v from %v to the end", name, time.Since(began), signal)
		if code := p.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("%s: exit %d", name, code)
		}
		text, err := os.ReadFile(filepath.Join(dir, "run.json"))
		if err != nil {
			t.Fatal(err)
		}
		if d := document(t, string(text)); !d.Partial || d.Cells[0].Status != "partial" {
			t.Errorf("%s: the cell is %s: %s", name, d.Cells[0].Status, d.Cells[0].Reason)
		}
	}
}
