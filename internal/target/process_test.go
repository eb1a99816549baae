//go:build linux

package target

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shell is a server by a command, of which nothing is expected.
func shell(t *testing.T, text string) Server {
	t.Helper()
	c, err := ParseCommand(": $unixsocket; " + text)
	if err != nil {
		t.Fatal(err)
	}
	return c.Server("none")
}

// within has temporary files in a directory of their own, and reports what is left
// there.
func within(t *testing.T) (left func() []string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
}

func TestAServerThatEndsBeforeItIsReadyReportsWhy(t *testing.T) {
	left := within(t)
	p, err := Start(t.Context(), shell(t, `printf 'one\n\033[31mtwo\n' >&2; exit 7`))
	const want = `the target command ended before it was ready (the target command: exit status 7); it wrote: one; \x1b[31mtwo`
	if err == nil || err.Error() != want {
		t.Errorf("%v, %v, want %s", p, err, want)
	}
	if names := left(); len(names) > 0 {
		t.Errorf("it leaves %v", names)
	}
}

func TestOfLongStderrTheEndIsKept(t *testing.T) {
	within(t)
	_, err := Start(t.Context(), shell(t, `i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); done >&2; exit 1`))
	if err == nil || !strings.Contains(err.Error(), "it wrote: ...") || !strings.HasSuffix(err.Error(), "; line 1998; line 1999") || len(err.Error()) > 2*maxSaid {
		t.Errorf("%v", err)
	}
}

func TestAMissingProgramIsMissing(t *testing.T) {
	left := within(t)
	t.Setenv("PATH", t.TempDir())
	n, err := ParseNbdkit("memory 64M")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), n.Server("none"))
	var missing *Missing
	if !errors.As(err, &missing) || missing.Program != "nbdkit" {
		t.Errorf("%v", err)
	}
	if names := left(); len(names) > 0 {
		t.Errorf("it leaves %v", names)
	}
}

// Whatever a command starts, and whether it heeds SIGTERM, ends with it.
func TestStopLeavesNoProcessOfTheGroupAndNoFile(t *testing.T) {
	left := within(t)
	ctx, cancel := context.WithCancel(t.Context())
	file := filepath.Join(t.TempDir(), "pids")
	t.Setenv("file", file)
	started := make(chan error, 1)
	go func() {
		_, err := Start(ctx, shell(t, `trap '' TERM; sleep 1000 & echo $! $$ >"$file.new"; mv "$file.new" "$file"; wait; sleep 1000`))
		started <- err
	}()
	for !exists(file) {
		if t.Context().Err() != nil {
			t.Fatal("the command has not begun")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-started; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "did not end within 5s of SIGTERM") {
		t.Errorf("%v, want that it was stopped", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(text)) {
		if alive(t, word) {
			t.Errorf("process %s is still there", word)
		}
	}
	if names := left(); len(names) > 0 {
		t.Errorf("it leaves %v", names)
	}
}

// alive reports whether a process is there and not a zombie.
func alive(t *testing.T, pid string) bool {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestASocketsPathIsShortWhereverTemporaryFilesAre(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	dir, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if n := len(filepath.Join(dir, "socket")); n > maxSocket {
		t.Errorf("%s: %d bytes", dir, n)
	}
}
