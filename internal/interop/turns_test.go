package interop

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// All threads of a server of which the replies wait for an instant have short turns on
// a processor, and all of another server's have the machine's.
func TestTurns(t *testing.T) {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil || own.Runtime == 0 {
		t.Skipf("this kernel gives no turns on request, as Linux 6.12 does: %v", err)
	}
	const short = 100_000 // ns
	for _, c := range []struct {
		name string
		args []string
		want uint64
	}{
		{"a delay", []string{"ram", "--size", "1MiB", "--delay", "1ms"}, short},
		{"a drive", []string{"nvme-990pro", "--size", "64MiB"}, short},
		{"one of two", []string{"ram", "--size", "1MiB", "--export", "disk=hdd-7200"}, short},
		{"no time at all", []string{"ram", "--size", "1MiB"}, own.Runtime},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.args...)
			defer s.stop()
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
					t.Error(err)
				case a.Runtime != c.want || a.Nice != own.Nice || a.Policy != own.Policy:
					t.Errorf("thread %d has turns of %d ns, niceness %d and policy %d; expected %d, %d and %d",
						id, a.Runtime, a.Nice, a.Policy, c.want, own.Nice, own.Policy)
				}
			}
		})
	}
}
