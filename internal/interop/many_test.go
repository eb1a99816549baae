package interop

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
)

// manyConnections are all open at once, each with requests of its own.
const manyConnections = 10_000

// maxMemory is what a server may take for each of them, in KiB: two goroutines,
// 16 KiB to read into, what the kernel does not count.
const maxMemory = 96

func TestTenThousandConnections(t *testing.T) {
	n := manyConnections
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < manyConnections+100 {
		n = int(limit.Max) - 100
		t.Logf("the machine's limit is %d descriptors: %d connections, not %d", limit.Max, n, manyConnections)
	}
	if testing.Short() || underRace() {
		n /= 20
	}
	s := serve(t, "ram", "--size", "64MiB")
	empty := residentKiB(t, s.cmd.Process.Pid)
	conns := make([]raw, 0, n)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range n {
		c, _, err := rawClient(t, s.uri)
		if err != nil {
			t.Fatalf("connection %d: %v", len(conns), err)
		}
		conns = append(conns, c)
	}
	for i, c := range conns {
		for _, o := range []order{{op: devices.OpWrite, flags: devices.FUA}, {op: devices.OpRead}, {op: devices.OpFlush}} {
			if e := c.send(t, o); e != devices.OK {
				t.Fatalf("connection %d: %v ended with %v", i, o.op, e)
			}
		}
	}
	full := residentKiB(t, s.cmd.Process.Pid)
	t.Logf("%d connections: %d KiB, %d before", n, full, empty)
	if !underRace() && full > empty+n*maxMemory {
		t.Errorf("%d KiB for each connection, expected at most %d", (full-empty)/n, maxMemory)
	}
	for _, c := range conns[1:] {
		_ = c.Close()
	}
	if e := conns[0].send(t, order{op: devices.OpFlush}); e != devices.OK {
		t.Errorf("the last one left ended with %v", e)
	}
	u, err := socket.ParseURI(s.uri)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.Ask(t.Context(), u, nbd.OptInfo); err != nil {
		t.Errorf("a new one: %v", err)
	}
}

// residentKiB is how much memory a process has.
func residentKiB(t *testing.T, pid int) (n int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
