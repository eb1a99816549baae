package interop

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// placement gives fio one processor and servers the others. A kernel that finds
// little to do may put both on one, where each waits until the other sleeps: some
// are made to pack virtual machines so.
type placement struct {
	servers unix.CPUSet
	client  int
}

// newPlacement is nil where there is one processor.
func newPlacement(t *testing.T) *placement {
	t.Helper()
	p := &placement{}
	if err := unix.SchedGetaffinity(0, &p.servers); err != nil {
		t.Fatal(err)
	}
	if p.servers.Count() < 2 {
		return nil
	}
	for i := range len(p.servers) * 64 {
		if p.servers.IsSet(i) {
			p.client = i
		}
	}
	p.servers.Clear(p.client)
	return p
}

// bind places a server that runs, with the threads that it will have.
func (p *placement) bind(t *testing.T, s *server) {
	t.Helper()
	if p == nil {
		return
	}
	dir := fmt.Sprintf("/proc/%d/task", s.cmd.Process.Pid)
	for range 2 { // a thread that was made meanwhile
		tasks, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err == nil {
				err = unix.SchedSetaffinity(id, &p.servers)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				t.Fatalf("bind thread %s: %v", task.Name(), err)
			}
		}
	}
}

// fio are the arguments that place it.
func (p *placement) fio() []string {
	if p == nil {
		return nil
	}
	return []string{fmt.Sprintf("--cpus_allowed=%d", p.client)}
}

// String says where they are.
func (p *placement) String() string {
	if p == nil {
		return "all on one processor"
	}
	return fmt.Sprintf("fio on processor %d, servers on the other %d unless the kernel places them", p.client, p.servers.Count())
}
