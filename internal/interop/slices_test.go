package interop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shortSlice is what a server asks for.
const shortSlice = 100_000 // ns

// misscheduled says which thread is not scheduled like this, if one is not.
func (s *server) misscheduled(t *testing.T, policy uint32, slice uint64, nice int32) (wrong string) {
	t.Helper()
	threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "task"))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		switch a, err := unix.SchedGetAttr(id, 0); {
		case errors.Is(err, syscall.ESRCH):
		case err != nil:
			t.Fatal(err)
		case a.Policy != policy || a.Runtime != slice || a.Nice != nice:
			return fmt.Sprintf("thread %d of %d has policy %d, turns of %d ns and niceness %d; expected %d, %d and %d",
				id, len(threads), a.Policy, a.Runtime, a.Nice, policy, slice, nice)
		}
	}
	return ""
}

// All threads of a server of which the replies wait for an instant have short turns on
// a processor, and all of another server's have the machine's.
func TestSchedulerSlices(t *testing.T) {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil || own.Runtime == 0 {
		t.Skipf("this kernel gives no turns on request, as Linux 6.12 does: %v", err)
	}
	for _, c := range []struct {
		name string
		args []string
		want uint64
	}{
		{"a delay", []string{"ram", "--size", "1MiB", "--delay", "1ms"}, shortSlice},
		{"a drive", []string{"nvme-990pro", "--size", "64MiB"}, shortSlice},
		{"one of two", []string{"ram", "--size", "1MiB", "--export", "disk=hdd-7200"}, shortSlice},
		{"no time at all", []string{"ram", "--size", "1MiB"}, own.Runtime},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.args...)
			defer s.stop()
			if wrong := s.misscheduled(t, own.Policy, c.want, own.Nice); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// The threads of a server of which the replies wait for nothing yield to each other
// while several connections are busy.
func TestThreadsYield(t *testing.T) {
	need(t, "fio")
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		delay     string
		contended uint32
	}{{"0s", unix.SCHED_BATCH}, {"10us", unix.SCHED_NORMAL}} {
		t.Run("a delay of "+c.delay, func(t *testing.T) {
			s := serve(t, "ram", "--size", "16MiB", "--delay", c.delay)
			defer s.stop()
			slice := own.Runtime
			if c.contended == unix.SCHED_NORMAL {
				slice = min(slice, shortSlice)
			}
			l := load{URI: s.uri, Size: 4096, Depth: 1, Time: time.Second}
			for _, now := range []struct {
				connections int
				policy      uint32
			}{{4, c.contended}, {1, unix.SCHED_NORMAL}, {2, c.contended}} {
				l.Connections = now.connections
				fio := start(t, t.TempDir(), fioArguments(l)...)
				wrong := s.misscheduled(t, now.policy, slice, own.Nice)
				for end := time.Now().Add(programTimeout); wrong != "" && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					wrong = s.misscheduled(t, now.policy, slice, own.Nice)
				}
				if code := fio.wait(); code != 0 {
					t.Errorf("fio: exit code %d\n%s", code, &fio.stderr)
				}
				if wrong != "" {
					t.Errorf("with %d connections: %s", now.connections, wrong)
				}
			}
		})
	}
}
