package host_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"nbdbench/internal/host"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestAFileIsLockedOnce, alone or shared, and until it is closed.
func TestAFileIsLockedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	one, two := open(t, path), open(t, path)
	if err := host.Lock(one); err != nil {
		t.Fatal(err)
	}
	if host.Lock(two) == nil || host.LockShared(two) == nil {
		t.Error("a second one got the lock")
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if err := host.LockShared(two); err != nil {
		t.Errorf("after the first has closed it: %v", err)
	}
}

// TestWhatIsWrittenIsData, and a hole reads as zeros, where there are holes.
func TestWhatIsWrittenIsData(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "f"))
	data := bytes.Repeat([]byte{7}, 64<<10)
	if n, err := host.WriteDurable(f, data, 0); n != len(data) || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if err := host.Datasync(f); err != nil {
		t.Fatal(err)
	}
	if from, to, err := host.Extent(f, 0); from != 0 || to != int64(len(data)) || err != nil {
		t.Errorf("data from %d to %d, %v", from, to, err)
	}
	if n, err := host.Used(f); n == 0 || err != nil {
		t.Errorf("it takes %d bytes, %v", n, err)
	}
	switch err := host.PunchHole(f, 0, int64(len(data))); {
	case errors.Is(err, errors.ErrUnsupported):
	case err != nil:
		t.Fatal(err)
	default:
		got := make([]byte, len(data))
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, make([]byte, len(data))) {
			t.Errorf("a hole reads as %x, %v", got[:4], err)
		}
		if _, _, err := host.Extent(f, 0); !errors.Is(err, io.EOF) {
			t.Errorf("a hole is data: %v", err)
		}
	}
	if zeros, err := host.Zeros(4096); err != nil || !bytes.Equal(zeros, make([]byte, 4096)) {
		t.Errorf("zeros: %v", err)
	}
}

// TestAGroupIsKilledAndReaped by who started it.
func TestAGroupIsKilledAndReaped(t *testing.T) {
	c := exec.Command("sleep", "1000")
	c.SysProcAttr = host.Group(syscall.SIGKILL)
	if err := c.Start(); err != nil {
		t.Skip(err)
	}
	if !host.GroupExists(c.Process.Pid) {
		t.Error("there is no group")
	}
	if err := host.KillGroup(c.Process.Pid); err != nil {
		t.Fatal(err)
	}
	host.AwaitEnd(c.Process.Pid)
	if err := c.Wait(); err == nil {
		t.Error("it ended by itself")
	}
}
