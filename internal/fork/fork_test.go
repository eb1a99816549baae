//go:build linux

package fork

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// A program that asks for a signal when its parent's thread ends outlives the
// thread of the goroutine that asked for it.
func TestStartOutlivesTheCallersThread(t *testing.T) {
	c := exec.Command("cat")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	thread, started := make(chan int, 1), make(chan error, 1)
	go locked(func() {
		thread <- syscall.Gettid()
		started <- Start(c)
	})
	tid := <-thread
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	waitForEnd(t, tid)
	if _, err := fmt.Fprint(in, "still here"); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(out)
	if err != nil || string(said) != "still here" {
		t.Errorf("cat says %q, %v", said, err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// locked calls f in a thread that ends then. Go keeps the process's first thread,
// so f gets another.
func locked(f func()) {
	runtime.LockOSThread() // never unlocked
	if syscall.Gettid() == syscall.Getpid() {
		go locked(f)
		select {}
	}
	f()
}

// waitForEnd returns when the thread has ended.
func waitForEnd(t *testing.T, tid int) {
	t.Helper()
	for t.Context().Err() == nil {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid)); errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
