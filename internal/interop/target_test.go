package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"nbdbench/results"
)

// document is what these tests read of run's JSON. Raw values are for null.
type document struct {
	Host *struct {
		SocketRoundTrip int64 `json:"socket_round_trip_ns"`
	}
	Cells []cell
}

type cell struct {
	ID, Status, Reason string
	Workload, Strategy string
	Advertised         struct{ Flush, FUA bool }
	Commit             struct {
		Count uint64
		P50   int64 `json:"p50_ns"`
	}
	Wire        map[string]uint64
	DeviceStats json.RawMessage `json:"device_stats"`
	Breakdown   json.RawMessage `json:"breakdown_ns"`
	Durability  json.RawMessage
}

// bench runs nbdbench run for JSON that is as its schema says.
func benchRun(t *testing.T, args ...string) document {
	t.Helper()
	out := must(t, "", append([]string{"nbdbench", "run", "--no-save", "--format", "json"}, args...)...)
	var d document
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	checkSchema(t, out)
	return d
}

func checkSchema(t *testing.T, text string) {
	t.Helper()
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(results.RunSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("run.json", schema); err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MustCompile("run.json").Validate(value); err != nil {
		t.Errorf("the document is not as its schema says: %v", err)
	}
}

// target is somebody else's server with an export to be overwritten.
type target struct {
	uri string
	end func(t *testing.T) (log string)
}

// targets start the servers that nbdbench run is tried on.
var targets = map[string]func(t *testing.T) target{
	"nbdkit":     nbdkitMemory,
	"qemu-nbd":   func(t *testing.T) target { return qemuNBD(t, rawFile(t)) },
	"nbd-server": nbdServer,
	"nbdbench": func(t *testing.T) target {
		return target{uri: serve(t, "ram", "--size", "64MiB").uri}
	},
}

func socketURI(path string) string { return "nbd+unix:///?socket=" + path }

// awaitSocket waits until somebody listens. On a Unix socket it does so without
// connecting, so that the server sees no connection but the test's.
func awaitSocket(t *testing.T, network, address string) {
	t.Helper()
	for end := time.Now().Add(programTimeout); ; time.Sleep(10 * time.Millisecond) {
		if network == "unix" {
			if listens(t, address) {
				return
			}
		} else if c, err := net.Dial(network, address); err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens at %s", address)
		}
	}
}

// listens reports whether a process listens at a Unix socket, by the flag
// __SO_ACCEPTCON in /proc/net/unix.
func listens(t *testing.T, path string) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if f := strings.Fields(line); len(f) == 8 && f[7] == path && f[3] == "00010000" {
			return true
		}
	}
	return false
}

// nbdkit starts nbdkit in the foreground on a socket of its own.
func nbdkit(t *testing.T, args ...string) (uri string, p *process) {
	t.Helper()
	need(t, "nbdkit")
	socket := filepath.Join(t.TempDir(), "socket")
	p = start(t, "", append([]string{"nbdkit", "-f", "-U", socket}, args...)...)
	awaitSocket(t, "unix", socket)
	return socketURI(socket), p
}

func nbdkitMemory(t *testing.T) target {
	log := filepath.Join(t.TempDir(), "log")
	uri, p := nbdkit(t, "--filter=log", "memory", "64M", "logfile="+log)
	return target{uri, func(t *testing.T) string {
		p.stop()
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}}
}

func rawFile(t *testing.T) string { return randomFile(t, 64*mib) }

// qemuNBD exports a raw file, to several clients one after another.
func qemuNBD(t *testing.T, file string) target {
	need(t, "qemu-nbd")
	socket := filepath.Join(t.TempDir(), "socket")
	start(t, "", "qemu-nbd", "--format=raw", "--persistent", "--shared=4", "--cache=writeback", "--socket="+socket, file)
	awaitSocket(t, "unix", socket)
	return target{uri: socketURI(socket)}
}

// nbdServer exports a raw file. It has no FLUSH and FUA unless configured so, listens on
// a port besides, and is a daemon whatever one says.
func nbdServer(t *testing.T) target {
	need(t, "nbd-server")
	dir := t.TempDir()
	socket, pid, config := filepath.Join(dir, "socket"), filepath.Join(dir, "pid"), filepath.Join(dir, "config")
	text := fmt.Sprintf("[generic]\nunixsock = %s\nlistenaddr = 127.0.0.1\nport = %s\n[disk]\nexportname = %s\nflush = true\nfua = true\n",
		socket, freePort(t), rawFile(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, dir, "nbd-server", "-C", config, "-p", pid)
	awaitSocket(t, "unix", socket)
	t.Cleanup(func() { endDaemon(t, pid) })
	return target{uri: "nbd+unix:///disk?socket=" + socket}
}

// endDaemon ends the process whose number is in a file.
func endDaemon(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		t.Errorf("the number of a process: %q, %v", text, err)
		return
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for range 500 { // until it has gone
		if syscall.Kill(pid, 0) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

var shortRuns = []string{"--workload", "sync-4k,wal-noisy", "--destroy", "--duration", "200ms", "--runs", "2", "--warmup", "0"}

// shortFlushes is how many FLUSHes come before the runs of a cell: one each.
const shortFlushes = 2

func TestRunDrivesForeignServers(t *testing.T) {
	for name, make := range targets {
		t.Run(name, func(t *testing.T) {
			to := make(t)
			d := benchRun(t, append([]string{"--target", to.uri}, shortRuns...)...)
			if len(d.Cells) != 6 {
				t.Fatalf("%d cells, expected two workloads under pass, none and none-unsafe", len(d.Cells))
			}
			for _, c := range d.Cells {
				checkCell(t, c)
			}
			if to.end != nil {
				checkLog(t, to.end(t), d.Cells)
			}
		})
	}
}

// checkCell checks what crossed the wire against the strategy, and that nothing
// is said of what is inside somebody else's server.
func checkCell(t *testing.T, c cell) {
	t.Helper()
	n := c.Commit.Count
	if c.Status != "ok" || n == 0 || c.Commit.P50 <= 0 || !c.Advertised.Flush || !c.Advertised.FUA {
		t.Errorf("%s: %+v, expected commits to an export with FLUSH and FUA", c.ID, c)
	}
	for what, v := range map[string]json.RawMessage{"durability": c.Durability, "breakdown_ns": c.Breakdown, "device_stats": c.DeviceStats} {
		if string(v) != "null" {
			t.Errorf("%s: %s is %s, expected null: it cannot be observed", c.ID, what, v)
		}
	}
	want := map[string]uint64{}
	switch c.Strategy {
	case "pass":
		want["write_fua"] = n
	case "none":
		want["write"], want["flush"] = n, n
	case "none-unsafe":
		want["write"] = n
	}
	background := c.Workload == "wal-noisy" // writes that are in no commit
	for op, got := range c.Wire {
		if op == "write" && background {
			if got < want[op]+n {
				t.Errorf("%s: %d writes for %d commits, expected many more", c.ID, got, n)
			}
		} else if got != want[op] {
			t.Errorf("%s: %d of %s on the wire, expected %d for %d commits", c.ID, got, op, want[op], n)
		}
	}
}

var (
	loggedWrite    = regexp.MustCompile(`(?m) Write id=.* fua=0 \.\.\.$`)
	loggedWriteFUA = regexp.MustCompile(`(?m) Write id=.* fua=1 \.\.\.$`)
	loggedFlush    = regexp.MustCompile(`(?m) Flush id=.* \.\.\.$`)
)

// checkLog compares nbdkit's log of calls with what nbdbench counts.
func checkLog(t *testing.T, log string, cells []cell) {
	t.Helper()
	want := map[string]uint64{}
	for _, c := range cells {
		for op, n := range c.Wire {
			want[op] += n
		}
		want["flush"] += shortFlushes
	}
	for op, line := range map[string]*regexp.Regexp{"write": loggedWrite, "write_fua": loggedWriteFUA, "flush": loggedFlush} {
		if got := len(line.FindAllString(log, -1)); uint64(got) != want[op] || got == 0 {
			t.Errorf("nbdkit logged %d of %s, nbdbench counts %d", got, op, want[op])
		}
	}
}

func TestWithoutDestroyNothingIsWritten(t *testing.T) {
	file := rawFile(t)
	before := sum(t, file)
	to := qemuNBD(t, file)
	r := run(t, "", "nbdbench", "run", "--no-save", "--target", to.uri)
	want := fmt.Sprintf(`this would overwrite the export "" of 64MiB at %s; give --destroy to allow it`, to.uri)
	if r.code != 2 || !strings.Contains(r.stderr, want) || r.stdout != "" {
		t.Errorf("expected exit code 2 and %q: %v", want, r)
	}
	if after := sum(t, file); after != before {
		t.Errorf("the file has changed: sha256 %s, was %s", after, before)
	}
	benchRun(t, append([]string{"--target", to.uri}, shortRuns...)...)
	if after := sum(t, file); after == before {
		t.Error("with --destroy the file has not changed: this test sees nothing")
	}
}

func TestWithoutDestroyEachTargetIsNamed(t *testing.T) {
	for name, make := range targets {
		t.Run(name, func(t *testing.T) {
			to := make(t)
			r := run(t, "", "nbdbench", "run", "--no-save", "--target", to.uri)
			if r.code != 2 || !strings.Contains(r.stderr, "would overwrite the export") || !strings.Contains(r.stderr, to.uri) {
				t.Errorf("expected exit code 2 and the target's URI: %v", r)
			}
			if strings.Contains(r.stderr, "of 64MiB") != (name != "nbd-server") || strings.Contains(r.stderr, "of 0") {
				t.Errorf("expected the size, except of nbd-server, which does not tell it to who only asks: %v", r)
			}
		})
	}
}

// TestATargetsFUAIsItsOwn: what a foreign server does not offer, or decides by
// itself, is unsupported and never an invalid measurement.
func TestATargetsFUAIsItsOwn(t *testing.T) {
	unsupported := func(uri, strategies, reason string) {
		t.Helper()
		d := benchRun(t, append([]string{"--target", uri, "--strategy", strategies}, shortRuns...)...)
		for _, c := range d.Cells {
			if want := c.Strategy != "none"; (c.Status == "unsupported") != want || want && !strings.Contains(c.Reason, reason) {
				t.Errorf("%s: %s (%s), expected only none to be supported, because %q", c.ID, c.Status, c.Reason, reason)
			}
		}
	}
	flushOnly := serve(t, "ram", "--size", "64MiB", "--strategy", "none")
	unsupported(flushOnly.uri, "pass,none", "FUA")
	both := serve(t, "ram", "--size", "64MiB")
	unsupported(both.uri, "native,emulate,none", "how FUA is served is the target's choice")
}
