package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// group is a memory cgroup, of version 1 or 2, below that of this process.
type group struct {
	dir  string
	peak string // the name of the file that has it
}

var groups atomic.Int32

// newGroup makes a cgroup of so many bytes. It is nil where that cannot be done:
// without the rights, or where version 2 does not delegate the controller.
func newGroup(bytes int64) *group {
	for _, g := range []group{
		{ownGroup("memory", "/sys/fs/cgroup/memory"), "memory.max_usage_in_bytes"},
		{ownGroup("", "/sys/fs/cgroup"), "memory.peak"},
	} {
		if g.dir == "" {
			continue
		}
		g.dir = filepath.Join(g.dir, fmt.Sprintf("nbdbench-attack-%d-%d", os.Getpid(), groups.Add(1)))
		if os.Mkdir(g.dir, 0o755) != nil {
			continue
		}
		limit := "memory.max"
		if g.peak != "memory.peak" {
			limit = "memory.limit_in_bytes"
		}
		if os.WriteFile(filepath.Join(g.dir, limit), []byte(strconv.FormatInt(bytes, 10)), 0) == nil {
			return &g
		}
		_ = os.Remove(g.dir)
	}
	return nil
}

// ownGroup is the directory of this process's cgroup, of version 1 for a controller
// or of version 2 without one; empty if there is none.
func ownGroup(controller, mount string) string {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) { // "4:memory:/path", or "0::/path"
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 || f[1] != controller {
			continue
		}
		dir := filepath.Join(mount, f[2])
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	return ""
}

func (g *group) procs() string { return filepath.Join(g.dir, "cgroup.procs") }

// most is the peak of what the group has used; the kernel's part too.
func (g *group) most() int64 {
	text, _ := os.ReadFile(filepath.Join(g.dir, g.peak))
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// remove removes the group of a process that has ended; nil is none. The kernel may
// need a moment until it is empty.
func (g *group) remove() {
	if g == nil {
		return
	}
	for range 100 {
		if err := os.Remove(g.dir); err == nil || os.IsNotExist(err) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
