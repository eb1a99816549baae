//go:build linux

package input

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A read of any of these would block, never end, or have an effect.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	fifo, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/dev/zero": "a character device", link: "a character device", fifo: "a pipe", socket: "a socket", dir: "a directory",
	} {
		if _, err := Read(path, 1<<20); err == nil || !strings.Contains(err.Error(), "expected a regular file, got "+want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}

func TestAFileIsReadUpToItsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := Read(path, 10); err != nil || string(text) != "0123456789" {
		t.Errorf("10 bytes of 10: %q, %v", text, err)
	}
	if _, err := Read(path, 9); err == nil || !strings.Contains(err.Error(), "10 bytes: expected at most 9") {
		t.Errorf("10 bytes of 9: %v", err)
	}
}

// The size of a file of /proc is 0, whatever it has.
func TestAFileLongerThanItsSizeIsReadUpToItsBound(t *testing.T) {
	if _, err := Read("/proc/self/status", 100); err == nil || !strings.Contains(err.Error(), "101 bytes: expected at most 100") {
		t.Errorf("got %v", err)
	}
}
