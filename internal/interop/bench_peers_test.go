package interop

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/devices/host"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// loadVariable in the environment makes the test binary a client that drives a
// server, and prints what it measured.
const loadVariable = "NBDBENCH_LOAD"

// load is what a client does: reads or writes of a size at random places, so
// many at a time on each connection, for some time.
type load struct {
	URI         string
	Path        string // of a block device that is driven without a server, in place of URI
	Write       bool
	Size        uint64
	Depth       int
	Connections int
	Time        time.Duration
	Seed        uint64 // of the places; each pair of a comparison has its own
}

func (l load) String() string {
	op := "read"
	if l.Write {
		op = "write"
	}
	return fmt.Sprintf("%dk %s, depth %d, %d conn", l.Size>>10, op, l.Depth, l.Connections)
}

// rate is what a client measured.
type rate struct {
	IOs       uint64
	Seconds   float64
	ClientCPU float64 // seconds
	P50, P99  float64 // µs
	ServerCPU float64 // seconds, by who started it
}

func (r rate) iops() float64      { return float64(r.IOs) / r.Seconds }
func (r rate) perServer() float64 { return 1e6 * r.ServerCPU / float64(r.IOs) }
func (r rate) perClient() float64 { return 1e6 * r.ClientCPU / float64(r.IOs) }

func (r rate) p50() float64 { return r.P50 }
func (r rate) p99() float64 { return r.P99 }

// benchSpan is the part of an export that is read and written: it has been
// written before.
const benchSpan = 256 * mib

// runLoad is the client, in a process of its own.
func runLoad(text string) error {
	var l load
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return err
	}
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		return err
	}
	d, err := l.open(real)
	if err != nil {
		return err
	}
	w := &loader{load: l, dev: d, loop: real.Loop(), places: rand.New(rand.NewPCG(3, l.Seed))}
	cpu, begin := cpuOf(unix.RUSAGE_SELF), time.Now()
	w.end = real.Now().Add(l.Time)
	real.Do(w.begin)
	if err := real.RunWhile(context.Background(), func() bool { return w.busy > 0 }); err != nil {
		return err
	}
	r := rate{IOs: uint64(len(w.times)), Seconds: time.Since(begin).Seconds(), ClientCPU: cpuOf(unix.RUSAGE_SELF) - cpu}
	slices.Sort(w.times)
	r.P50, r.P99 = quantile(w.times, .5), quantile(w.times, .99)
	if w.failed != devices.OK {
		return w.failed
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// open opens what is driven.
func (l load) open(real *sim.Real) (devices.Device, error) {
	if l.Path != "" {
		s, err := host.Open(l.Path, host.Config{Direct: true})
		if err != nil {
			return nil, err
		}
		return s.Device(real)
	}
	u, err := socket.ParseURI(l.URI)
	if err != nil {
		return nil, err
	}
	return socket.DialAll(context.Background(), u, real, l.Connections)
}

func quantile(sorted []int32, p float64) float64 {
	return float64(sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]) / 1e3
}

func cpuOf(who int) float64 {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// loader keeps connections busy.
type loader struct {
	load
	dev    devices.Device
	loop   *sim.Loop
	end    sim.Time
	places *rand.Rand
	busy   int
	times  []int32 // ns
	failed devices.Errno
}

func (w *loader) begin() {
	w.times = make([]int32, 0, 1<<20)
	for i := range w.Depth * w.Connections {
		r := &devices.Request{Op: devices.OpRead, Length: w.Size, Conn: uint32(i), Completer: w, Payload: devices.Payload{Bytes: make([]byte, w.Size)}}
		if w.Write {
			r.Op = devices.OpWrite
		}
		w.busy++
		w.submit(r)
	}
}

func (w *loader) submit(r *devices.Request) {
	r.Offset = w.places.Uint64N(benchSpan/w.Size) * w.Size
	r.Begin(w.loop.Now())
	r.Submitted = w.loop.Now()
	w.dev.Submit(r)
}

// Done counts a request and sends it again.
func (w *loader) Done(r *devices.Request) {
	if w.Path != "" { // a device leaves that to its client
		r.Completed = w.loop.Now()
	}
	w.times = append(w.times, int32(r.Completed.Sub(r.Submitted)))
	if r.Errno != devices.OK {
		w.failed = r.Errno
	}
	if w.busy--; w.loop.Now() < w.end && w.failed == devices.OK {
		w.busy++
		w.submit(r)
	}
}

// contestant is a server under measurement.
type contestant struct {
	name string
	uri  string
	pid  int
}

// contestants are started, with the span written.
func contestants(t *testing.T) []contestant {
	t.Helper()
	need(t, "nbdkit", "qemu-nbd", "qemu-img", "fio")
	memory, p1 := nbdkit(t, "memory", "1G")
	null, p2 := nbdkit(t, "null", "1G")
	file := filepath.Join("/dev/shm", fmt.Sprintf("nbdbench-peers-%d", os.Getpid()))
	t.Cleanup(func() { _ = os.Remove(file) })
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<30); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	p3 := start(t, "", "qemu-nbd", "--format=raw", "--persistent", "--shared=8", "--cache=writeback", "--socket="+socket, file)
	awaitSocket(t, "unix", socket)
	ours, floor := serve(t, "ram", "--size", "1GiB"), startBare(t)
	all := []contestant{
		{"nbdbench serve ram", ours.uri, ours.cmd.Process.Pid},
		{"nbdkit memory", memory, p1.cmd.Process.Pid},
		{"nbdkit null", null, p2.cmd.Process.Pid},
		{"qemu-nbd, file in tmpfs", socketURI(socket), p3.cmd.Process.Pid},
		{"bare", floor.uri, floor.cmd.Process.Pid},
	}
	for _, c := range all {
		fill(t, c.uri)
	}
	return all
}

// fill writes the span, so that nothing is measured but what is there.
func fill(t *testing.T, uri string) {
	must(t, "", "qemu-io", "-f", "raw", "-c", fmt.Sprintf("write -P 1 0 %d", benchSpan), uri)
}

// processCPU is what a process has used, in seconds, threads that have ended
// included: its own clock, because a tick of /proc is 10 ms.
func processCPU(t *testing.T, pid int) float64 {
	t.Helper()
	const scheduled = 2 // CPUCLOCK_SCHED, see clock_getcpuclockid(3)
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
		t.Fatal(err)
	}
	return float64(ts.Nano()) / 1e9
}

// client drives a server with a load.
type client struct {
	name string
	run  func(t *testing.T, l load) rate
}

var clients = []client{{"fio", fioLoad}, {"nbdbench's client", ourLoad}}

// bothClients is how many of the servers are driven by our client too.
const bothClients = 2

// ourLoad runs the load in a process of its own.
func ourLoad(t *testing.T, l load) (r rate) {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), loadVariable+"="+string(text))
	out, err := c.CombinedOutput()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", l, err, out)
	}
	return r
}

// fioLoad runs fio's nbd engine, one job for each connection. Its latency is lat:
// from before a request is sent, as ours is. clat starts after that.
func fioLoad(t *testing.T, l load) (r rate) {
	t.Helper()
	return fioRun(t, t.TempDir(), l)
}

// fioArguments are fio's for a load. A runtime without its unit is in seconds,
// and what is less than one reads as none at all.
func fioArguments(l load, more ...string) []string {
	op := "randread"
	if l.Write {
		op = "randwrite"
	}
	engine := []string{"fio", "--name=peers", "--ioengine=nbd", "--uri=" + l.URI}
	if l.Path != "" {
		engine = []string{"fio", "--name=peers", "--ioengine=libaio", "--direct=1", "--filename=" + l.Path}
	}
	return append(append(engine,
		"--rw="+op, fmt.Sprintf("--bs=%d", l.Size),
		fmt.Sprintf("--iodepth=%d", l.Depth), fmt.Sprintf("--numjobs=%d", l.Connections), "--group_reporting", fmt.Sprintf("--size=%d", benchSpan),
		fmt.Sprintf("--runtime=%dms", l.Time.Milliseconds()), "--time_based", "--norandommap", "--random_generator=tausworthe64", fmt.Sprintf("--randseed=%d", l.Seed+1),
		"--lat_percentiles=1", "--clat_percentiles=0", "--output-format=json",
	), more...)
}

func fioRun(t *testing.T, dir string, l load, more ...string) rate {
	t.Helper()
	out := run(t, dir, fioArguments(l, more...)...)
	type side struct {
		IOs  uint64  `json:"total_ios"`
		Time float64 `json:"runtime"` // ms, of the group
		Lat  struct {
			Percentile map[string]float64
		} `json:"lat_ns"`
	}
	var report struct {
		Jobs []struct {
			User        float64 `json:"usr_cpu"` // per cent of a job's time
			System      float64 `json:"sys_cpu"`
			Runtime     float64 `json:"job_runtime"` // ms, summed over jobs
			Read, Write side
		}
	}
	talk, text, _ := strings.Cut(out.stdout, "{")
	if err := json.Unmarshal([]byte("{"+text), &report); err != nil || out.code != 0 || len(report.Jobs) != 1 {
		t.Fatalf("%v: %v", err, out)
	}
	if talk = strings.TrimSpace(strings.ReplaceAll(out.stderr+talk, "fio: connected to NBD server\n", "")); talk != "" {
		t.Fatalf("fio warns of something, so it may not measure what it was asked for: %s", talk)
	}
	j := report.Jobs[0]
	s := j.Read
	if l.Write {
		s = j.Write
	}
	return rate{
		IOs: s.IOs, Seconds: s.Time / 1e3, ClientCPU: (j.User + j.System) / 100 * j.Runtime / 1e3,
		P50: s.Lat.Percentile["50.000000"] / 1e3, P99: s.Lat.Percentile["99.000000"] / 1e3,
	}
}

// measure runs one load of one client on one server.
func (c contestant) measure(t *testing.T, by client, l load) rate {
	t.Helper()
	l.URI = c.uri
	before := processCPU(t, c.pid)
	r := by.run(t, l)
	r.ServerCPU = processCPU(t, c.pid) - before
	if r.IOs == 0 {
		t.Fatalf("%s on %s, %v: nothing was done", by.name, c.name, l)
	}
	return r
}

func median(rs []rate, of func(rate) float64) float64 {
	var v []float64
	for _, r := range rs {
		v = append(v, of(r))
	}
	return spread(v).median
}

// peerLoads are the rows of the table.
func peerLoads(d time.Duration) (ls []load) {
	for _, write := range []bool{false, true} {
		for _, depth := range []int{1, 32} {
			for _, conns := range []int{1, 4} {
				ls = append(ls, load{Write: write, Size: 4 << 10, Depth: depth, Connections: conns, Time: d})
			}
		}
		ls = append(ls, load{Write: write, Size: 256 << 10, Depth: 8, Connections: 1, Time: d})
	}
	return ls
}

// peersPlan is how long each measurement takes and how often: NBDBENCH_PEERS, as
// 500msx21.
func peersPlan(t *testing.T) (d time.Duration, repeat int) {
	t.Helper()
	text := os.Getenv("NBDBENCH_PEERS")
	if text == "" {
		t.Skip("this is about time, which takes a machine with nothing else to do: set NBDBENCH_PEERS=500msx21")
	}
	length, times, _ := strings.Cut(text, "x")
	d, err := time.ParseDuration(length)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(times, &repeat); err != nil || repeat < 1 {
		t.Fatalf("NBDBENCH_PEERS: expected a time and how often, 500msx21, got %q", text)
	}
	return d, repeat
}

// chosen are the loads that the regular expression NBDBENCH_PEERS_LOADS finds by
// name, for work on one row: then no document is rewritten.
func chosen(t *testing.T, all []load) []load {
	t.Helper()
	which, err := regexp.Compile(os.Getenv("NBDBENCH_PEERS_LOADS"))
	if err != nil {
		t.Fatalf("NBDBENCH_PEERS_LOADS: %v", err)
	}
	some := slices.DeleteFunc(slices.Clone(all), func(l load) bool { return !which.MatchString(l.String()) })
	if len(some) == 0 {
		t.Fatalf("NBDBENCH_PEERS_LOADS: %q finds none of %v", which, all)
	}
	return some
}

// key is one cell of the table.
type key struct {
	load           load
	server, client string
}

// TestBenchPeers measures our server beside others, and our client beside fio's,
// interleaved, and prints medians. Our client is tried on two servers.
func TestBenchPeers(t *testing.T) {
	d, repeat := peersPlan(t)
	all := peerLoads(d)
	servers, loads := contestants(t), chosen(t, all)
	idle := newProcessors(t)
	idle.stayAwake()
	cells := map[key][]rate{}
	order := rand.New(rand.NewPCG(1, 1)) // nobody always comes after the same one
	for range repeat {
		for _, l := range loads {
			pairs := pairsOf(servers)
			order.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
			for _, p := range pairs {
				k := key{l, p.server.name, p.client.name}
				cells[k] = append(cells[k], p.server.measure(t, p.client, l))
			}
		}
	}
	text := fmt.Sprintf("%s, %v, medians of %d measurements of %v, which alternate in random order. Ratios are medians of the ratios of what was measured within seconds, with the median's 95%% interval by order statistics.\n\n%s\n%s\n%s",
		machine(), idle, repeat, d, serverTable(servers, loads, cells), ratioTable(servers, loads, cells), clientTable(servers[:bothClients], loads, cells))
	t.Logf("\n%s", text)
	if len(loads) == len(all) {
		updateSection(t, "PERFORMANCE.md", "peers", text)
	}
}

// pair is who is driven, and by whom.
type pair struct {
	server contestant
	client client
}

// pairsOf are all that are printed.
func pairsOf(servers []contestant) (ps []pair) {
	for i, s := range servers {
		for j, c := range clients {
			if j == 0 || i < bothClients {
				ps = append(ps, pair{s, c})
			}
		}
	}
	return ps
}

func serverTable(servers []contestant, loads []load, cells map[key][]rate) string {
	var b strings.Builder
	b.WriteString("Driven by fio's nbd engine: I/O per second, and the server's processor time for each in µs.\n\n| load |")
	for _, s := range servers {
		fmt.Fprintf(&b, " %s |", s.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(servers)) + "\n")
	for _, l := range loads {
		fmt.Fprintf(&b, "| %v |", l)
		for _, s := range servers {
			rs := cells[key{l, s.name, clients[0].name}]
			fmt.Fprintf(&b, " %.0f, %.1f |", median(rs, rate.iops), median(rs, rate.perServer))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ratioTable compares our server with others, and the one that does the least with
// nbdkit, which is as far as any server could come.
func ratioTable(servers []contestant, loads []load, cells map[key][]rate) string {
	const ours, memory, null, bare = 0, 1, 2, 4
	columns := []struct {
		title string
		a, b  int
		by    int
		of    func(rate) float64
	}{
		{"rate, ours / nbdkit memory", ours, memory, 0, rate.iops},
		{"rate, bare / nbdkit memory", bare, memory, 0, rate.iops},
		{"rate, ours / nbdkit null", ours, null, 0, rate.iops},
		{"processor time, ours / nbdkit memory", ours, memory, 0, rate.perServer},
		{"rate by nbdbench's client, ours / nbdkit memory", ours, memory, 1, rate.iops},
	}
	var b strings.Builder
	b.WriteString("The same in ratios, with the rate by our own client, which is seldom the bound.\n\n| load |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(columns)) + "\n")
	for _, l := range loads {
		fmt.Fprintf(&b, "| %v |", l)
		for _, c := range columns {
			of := func(i int) []rate { return cells[key{l, servers[i].name, clients[c.by].name}] }
			fmt.Fprintf(&b, " %v |", compare(of(c.a), of(c.b), c.of))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func clientTable(servers []contestant, loads []load, cells map[key][]rate) string {
	var b strings.Builder
	b.WriteString("Our client beside fio's, on the same servers: I/O per second, the client's processor time for each in µs; latency in µs, median and mean. " +
		"Latency is from before the request is sent to when its reply is dealt with (fio's lat, which is slat and clat). " +
		"The mean is requests in flight divided by I/O per second, which is counted alike for both.\n\n| load |")
	for _, s := range servers {
		for _, c := range clients {
			fmt.Fprintf(&b, " %s on %s |", c.name, s.name)
		}
	}
	b.WriteString(" processor time on serve ram, ours / fio | mean latency on serve ram, ours / fio |\n|---|" + strings.Repeat("---:|", len(servers)*len(clients)+2) + "\n")
	for _, l := range loads {
		fmt.Fprintf(&b, "| %v |", l)
		for _, s := range servers {
			for _, c := range clients {
				rs := cells[key{l, s.name, c.name}]
				iops := median(rs, rate.iops)
				fmt.Fprintf(&b, " %.0f, %.1f; %.0f, %.0f |", iops, median(rs, rate.perClient), median(rs, rate.p50), float64(1e6*l.Connections*l.Depth)/iops)
			}
		}
		fio, ours := cells[key{l, servers[0].name, clients[0].name}], cells[key{l, servers[0].name, clients[1].name}]
		fmt.Fprintf(&b, " %v | %v |\n", compare(ours, fio, rate.perClient), compare(fio, ours, rate.iops)) // the mean is in flight / rate
	}
	return b.String()
}

// machine describes where a measurement was made, by what matters to it.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(text), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	_ = unix.Uname(&u)
	busy := ""
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		busy = ", load average " + strings.Join(strings.Fields(string(text))[:3], " ")
	}
	return fmt.Sprintf("%s, %d cores, Linux %s, %s%s", model, runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), runtime.Version(), busy)
}

var update = flag.Bool("update", false, "rewrite the tables in docs")

// updateSection puts text between a document's two comments of this name, if it
// was asked for.
func updateSection(t *testing.T, name, section, text string) {
	t.Helper()
	if !*update {
		return
	}
	path := filepath.Join("..", "..", "docs", name)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opens, closes := "<!-- "+section+" -->\n", "<!-- /"+section+" -->"
	head, rest, ok := strings.Cut(string(old), opens)
	_, tail, ok2 := strings.Cut(rest, closes)
	if !ok || !ok2 {
		t.Fatalf("%s has no section %q", path, section)
	}
	if err := os.WriteFile(path, []byte(head+opens+"\n"+strings.TrimSpace(text)+"\n\n"+closes+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
