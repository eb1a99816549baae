package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/results"
)

// served is a server in a process of its own.
type served struct {
	*exec.Cmd
	uri    string
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// startServe starts the server and waits for its URI.
func startServe(t *testing.T, args ...string) *served {
	t.Helper()
	s := &served{Cmd: program(t, append([]string{"serve"}, args...)...)}
	pipe, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.Stderr = &s.stderr
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Process.Kill() }) // of one that has ended: an error without weight
	s.stdout = bufio.NewReader(pipe)
	line, err := s.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("no first line: %v", err)
	}
	s.uri = strings.TrimSuffix(line, "\n")
	return s
}

// stop sends a signal and returns the exit code and what came after the URI.
func (s *served) stop(t *testing.T, sig os.Signal) (code int, rest string) {
	t.Helper()
	if err := s.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(s.stdout)
	if err != nil {
		t.Fatal(err)
	}
	return exitCode(t, s.Wait()), string(text)
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return 0
}

func TestServePrintsItsURIFirstAndEndsWith0OnSIGTERM(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		s := startServe(t, "ram", "--size", "1MiB")
		if !strings.HasPrefix(s.uri, "nbd+unix:///?socket=") {
			t.Errorf("the first line is %q, want the URI of a Unix socket", s.uri)
		}
		socket := strings.TrimPrefix(s.uri, "nbd+unix:///?socket=")
		if _, err := os.Stat(socket); err != nil {
			t.Error(err)
		}
		code, rest := s.stop(t, sig)
		if code != exitOK || rest != "" || !strings.Contains(s.stderr.String(), "served 0 reads, 0 writes") {
			t.Errorf("%v: exit %d, stdout %q, stderr %q", sig, code, rest, s.stderr.String())
		}
		if _, err := os.Stat(socket); err == nil {
			t.Errorf("%v: the socket is still there", sig)
		}
	}
}

// TestServeWithSocketsOfItsOwnPrintsNothing: systemd's protocol, where stdout
// may be for data.
func TestServeWithSocketsOfItsOwnPrintsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// LISTEN_PID is the pid of the program itself, which only a shell can set.
	c := program(t, "serve", "ram", "--size", "1MiB")
	c.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`, "sh", c.Path}, c.Args[1:]...)
	c.Path, c.ExtraFiles = "/bin/sh", []*os.File{file}
	var stdout bytes.Buffer
	c.Stdout = &stdout
	talk, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() }) // of one that has ended: an error without weight
	lines := bufio.NewReader(talk)
	want := "nbd+unix:///?socket=" + path + "\n"
	for line := ""; line != want; {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatalf("stderr ends without %q: %v", want, err)
		}
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Error(err)
	}
	if code := exitCode(t, c.Wait()); code != exitOK || stdout.Len() > 0 {
		t.Errorf("exit %d, stdout %q", code, stdout.String())
	}
}

// TestServeThatDoesNotBeginLeavesNoImage.
func TestServeThatDoesNotBeginLeavesNoImage(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	for _, c := range []struct{ device, size, want string }{
		{"ram", "0", "--size: expected at least one block"},
		{"ram", "513", "--size: ram: expected a multiple of 512, the logical block, from 512 to 16PiB, got 513"},
		{"hdd-7200", "4KiB", "--size: hdd-7200: expected a multiple of 512, the logical block, from 1MiB to 16PiB, got 4KiB"},
		{"ram", "16MiB", `unknown device "nosuch"`},
	} {
		o := invoke("serve", c.device, "--size", c.size, "--image", image, "--export", "other=nosuch")
		if o.code != exitUsage || o.stdout != "" || !strings.Contains(o.stderr, c.want) {
			t.Errorf("%s of %s: exit %d, stdout %q, stderr %q; expected exit 2 and %q", c.device, c.size, o.code, o.stdout, o.stderr, c.want)
		}
		if _, err := os.Stat(image); err == nil {
			t.Errorf("%s of %s: a file is left", c.device, c.size)
			_ = os.Remove(image)
		}
	}
}

func TestServeHasDevicesOfOneBlock(t *testing.T) {
	s := startServe(t, "ram", "--size", "512")
	u, err := socket.ParseURI(s.uri)
	if err != nil {
		t.Fatal(err)
	}
	if x, _, err := socket.Ask(t.Context(), u, nbd.OptInfo); err != nil || x.Size != 512 {
		t.Errorf("%d bytes: %v", x.Size, err)
	}
	if code, _ := s.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("exit %d", code)
	}
}

func TestServeListensOnAPortOfItsChoice(t *testing.T) {
	s := startServe(t, "ram", "--listen", "nbd://127.0.0.1:0/disk")
	if !strings.HasPrefix(s.uri, "nbd://127.0.0.1:") || strings.Contains(s.uri, ":0/") || !strings.HasSuffix(s.uri, "/disk") {
		t.Errorf("the first line is %q", s.uri)
	}
	if code, _ := s.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("exit %d", code)
	}
}

// TestServeWarnsOncePlaintextIsOpenToOthers, and of nothing else.
func TestServeWarnsOncePlaintextIsOpenToOthers(t *testing.T) {
	for listen, want := range map[string]int{
		"nbd://0.0.0.0:0":   1,
		"nbd://[::]:0":      1,
		"nbd://127.0.0.1:0": 0,
		"nbd://localhost:0": 0,
		"":                  0,
	} {
		s := startServe(t, "ram", "--size", "1MiB", "--listen", listen)
		if code, _ := s.stop(t, syscall.SIGTERM); code != exitOK {
			t.Errorf("%s: exit %d", listen, code)
		}
		if got := strings.Count(s.stderr.String(), "warning:"); got != want {
			t.Errorf("%s: %d warnings, expected %d: %s", listen, got, want, s.stderr.String())
		}
	}
}

// TestADrainThatTakesTooLongNamesTheClient on stderr, with what it holds.
func TestADrainThatTakesTooLongNamesTheClient(t *testing.T) {
	s := startServe(t, "ram", "--size", "1MiB", "--delay", "1h", "--drain", "100ms")
	u, err := socket.ParseURI(s.uri)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := socket.Handover(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b [nbd.RequestSize]byte
	nbd.EncodeHeader(&b, &nbd.Header{Op: devices.OpRead, Length: 512})
	if _, err := c.Write(b[:]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // the server reads it
	code, _ := s.stop(t, syscall.SIGTERM)
	want := fmt.Sprintf("after --drain 100ms: closed before they had drained: client process %d of export \"\" with 1 requests in flight", os.Getpid())
	if code != exitFailure || !strings.Contains(s.stderr.String(), want) {
		t.Errorf("exit %d, stderr %q, expected %q", code, s.stderr.String(), want)
	}
}

func TestATargetIsOverwrittenOnlyWithItsFlag(t *testing.T) {
	s := startServe(t, "ram", "--size", "64MiB")
	args := []string{"run", "--target", s.uri, "--workload", "sync-4k", "--runs", "1", "--warmup", "0", "--commits", "30", "--no-save", "--format", "json"}
	o := invoke(args...)
	if o.code != exitUsage || o.stdout != "" || !strings.Contains(o.stderr, "this would overwrite the export \"\" of 64MiB") || !strings.Contains(o.stderr, "--destroy") {
		t.Errorf("without --destroy: exit %d, stdout %q, stderr %q", o.code, o.stdout, o.stderr)
	}
	r := document(t, must(t, append(args, "--destroy")...))
	if r.Host == nil || len(r.Cells) != 3 {
		t.Fatalf("host %v, %d cells; want one, and pass, none and none-unsafe", r.Host, len(r.Cells))
	}
	for _, c := range r.Cells {
		if c.Status != results.StatusOK || c.Commit.Count != 30 {
			t.Errorf("%s is %s with %d commits, want ok and 30: %s", c.ID, c.Status, c.Commit.Count, c.Reason)
		}
		if c.BreakdownNS != nil || c.Stats != nil || c.Durability != nil {
			t.Errorf("%s: what cannot be seen of a target is not null", c.ID)
		}
	}
	if code, _ := s.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("exit %d", code)
	}
	// pass writes with FUA, none flushes, none-unsafe does neither; a flush before each run
	if got := s.stderr.String(); !strings.Contains(got, "served 0 reads, 60 writes, 30 FUA writes, 33 flushes") {
		t.Errorf("the server has seen %q", got)
	}
}

func TestATargetThatIsNotThereExitsWith1(t *testing.T) {
	uri := "nbd+unix:///?socket=" + filepath.Join(t.TempDir(), "nobody")
	o := invoke("run", "--target", uri, "--destroy", "--no-save")
	if o.code != exitFailure || !strings.Contains(o.stderr, "nobody") {
		t.Errorf("exit %d, %q; want 1 and the socket's name", o.code, o.stderr)
	}
}

func TestRealTimeRunsOverASocket(t *testing.T) {
	r := document(t, must(t, "run", "--clock", "real", "--device", "ram", "--workload", "sync-4k", "--strategy", "native,none",
		"--runs", "1", "--duration", "0s", "--commits", "50", "--no-save", "--format", "json"))
	if r.Host == nil || r.Host.RoundTrip == nil {
		t.Error("the host and its round trip are not printed")
	}
	for _, c := range r.Cells {
		if c.Status != results.StatusOK || c.Link != "socket" || c.Clock != "real" || c.Stats == nil || c.BreakdownNS != nil || c.Durability != nil {
			t.Errorf("%s: %s, link %s, clock %s, stats %v, breakdown %v, durability %v", c.ID, c.Status, c.Link, c.Clock, c.Stats, c.BreakdownNS, c.Durability)
		}
	}
}

// signalEvery is how often a process is sent a signal until it ends: the first
// signals may come before it has begun.
const signalEvery = 100 * time.Millisecond

// interrupt starts the program, sends it SIGINT until it ends, and returns its
// exit code and stderr.
func interrupt(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	c := program(t, args...)
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	talk := bufio.NewReader(pipe)
	if line, err := talk.ReadString('\n'); err != nil || line != started {
		t.Fatalf("the process said %q: %v", line, err)
	}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(signalEvery):
				_ = c.Process.Signal(os.Interrupt) // it may have ended
			}
		}
	}()
	text, err := io.ReadAll(talk)
	close(ended)
	if err != nil {
		t.Fatal(err)
	}
	return exitCode(t, c.Wait()), string(text)
}

func TestCtrlCKeepsWhatThereIsAndMarksItPartial(t *testing.T) {
	for clock, more := range map[string][]string{
		"virtual": {"--commits", "1000000000000", "--cuts", "0"},
		"real":    {"--duration", "1h"},
	} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "run")
		code, stderr := interrupt(t, append([]string{
			"run", "--clock", clock, "--device", "ram", "--workload", "sync-4k", "--strategy", "native,none",
			"--runs", "4", "--output", dir,
		}, more...)...)
		if code != exitInterrupted || !strings.Contains(stderr, "saved "+dir) || !strings.Contains(stderr, "interrupted: what there is was kept and marked partial") {
			t.Errorf("%s: exit %d, %q; want 130 and what was kept", clock, code, stderr)
		}
		r := document(t, must(t, "report", dir, "--format", "json"))
		if !r.Partial || r.Cells[len(r.Cells)-1].Status != results.StatusPartial || r.Cells[0].Reason == "" {
			t.Errorf("%s: partial %v, last cell %s", clock, r.Partial, r.Cells[len(r.Cells)-1].Status)
		}
		if table := must(t, "report", dir); !strings.Contains(table, "Partial: the benchmark was interrupted.") {
			t.Errorf("%s: the table does not say that it is partial:\n%s", clock, table)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) != 1 {
			t.Errorf("%s: beside the run there is %v, %v", clock, left, err)
		}
	}
}
