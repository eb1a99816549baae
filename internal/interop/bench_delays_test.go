package interop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// delayPoint is where accuracy is looked at.
type delayPoint struct {
	delay time.Duration
	depth int
}

// delayPoints ask for less than the machine could do.
var delayPoints = []delayPoint{{time.Millisecond, 1}, {time.Millisecond, 8}, {time.Millisecond, 32}, {10 * time.Millisecond, 128}, {100 * time.Microsecond, 1}, {100 * time.Microsecond, 2}}

// delayCaveats are what a reader of the table has to know.
const delayCaveats = "Without a delay, more in flight than the machine serves at once is a queue, which a delay empties: " +
	"there the difference may be less than nothing, and the column before it says more. A difference of two p99 is no p99 of differences. " +
	"The server's own count is from when a request is read to when its reply begins to be written, less the delay. " +
	"nbdkit's filter takes whole milliseconds. " +
	"A thread that sleeps is the machine's own lateness: clock_nanosleep(2) for as long as the delay, with 1 ns of timer slack, again and again, with nothing else to do. " +
	"fio is such a thread too while it awaits a reply."

// nbdkitWorkers is how many requests of a connection nbdkit has in progress,
// unless --threads says otherwise.
const nbdkitWorkers = 16

// delayer is a server that delays beside one like it that does not.
type delayer struct {
	name        string
	apart       *placement // of it and of fio; nil is left to the kernel
	plain, slow *server
	base, late  []rate
}

// delayers are the contestants at a point. nbdkit's filter sleeps in a worker, so
// where the depth needs it a second one has a worker for each request.
func delayers(t *testing.T, p delayPoint, apart *placement) (all []*delayer) {
	defer func() {
		for _, c := range all {
			c.apart.bind(t, c.plain)
			c.apart.bind(t, c.slow)
		}
	}()
	ours := func(delay time.Duration) *server {
		return serve(t, "ram", "--size", "1GiB", "--delay", delay.String())
	}
	all = append(all, &delayer{name: "nbdbench", apart: apart, plain: ours(0), slow: ours(p.delay)})
	if apart != nil {
		all = append(all, &delayer{name: "nbdbench, placed by the kernel", plain: ours(0), slow: ours(p.delay)})
	}
	if p.delay%time.Millisecond != 0 {
		return all // nbdkit's filter takes whole milliseconds
	}
	threads := []int{nbdkitWorkers}
	if p.depth > nbdkitWorkers {
		threads = append(threads, p.depth)
	}
	for _, n := range threads {
		theirs := func(delay time.Duration) *server {
			uri, p := nbdkit(t, fmt.Sprintf("--threads=%d", n), "--filter=delay", "memory", "1G", fmt.Sprintf("rdelay=%dms", delay.Milliseconds()))
			return &server{p, uri}
		}
		all = append(all, &delayer{name: fmt.Sprintf("nbdkit delay, %d threads", n), apart: apart, plain: theirs(0), slow: theirs(p.delay)})
	}
	return all
}

// TestBenchDelays: asked for a delay, how much later than that, and than the
// same round trip without it, does a reply come? Beside nbdkit's delay filter.
func TestBenchDelays(t *testing.T) {
	d, repeat := peersPlan(t)
	need(t, "nbdkit", "fio")
	idle, apart := newProcessors(t), newPlacement(t)
	var b strings.Builder
	b.WriteString("| delay, depth | server | later than the delay, median, p99 | the same without a delay | beyond it | by the server's own count |\n|---|---|---:|---:|---:|---|\n")
	for _, p := range delayPoints {
		l := load{Size: 4 << 10, Depth: p.depth, Connections: 1, Time: d}
		all := delayers(t, p, apart)
		var asleep, awake []rate
		for range repeat {
			idle.maySleep()
			asleep = append(asleep, sleeps(t, p.delay, d))
			idle.stayAwake()
			awake = append(awake, sleeps(t, p.delay, d))
			for _, c := range all {
				c.base = append(c.base, c.plain.exactly(t, l, 0, c.apart))
				c.late = append(c.late, c.slow.exactly(t, l, p.delay, c.apart))
			}
		}
		fmt.Fprintf(&b, "| %v, %d | none: a thread that sleeps | %s | - | - | - |\n", p.delay, p.depth, medians(awake))
		fmt.Fprintf(&b, "| %v, %d | none: a thread that sleeps, as do idle processors | %s | - | - | - |\n", p.delay, p.depth, medians(asleep))
		for _, c := range all {
			fmt.Fprintf(&b, "| %v, %d | %s |%s %s |\n", p.delay, p.depth, c.name, c.cells(), c.own())
		}
	}
	text := fmt.Sprintf("%s, %v, %v, medians of %d interleaved measurements of %v by fio, 4k reads, in µs; beyond it, the median of the differences with its 95%% interval by order statistics. %s\n\n%s", machine(), idle, apart, repeat, d, delayCaveats, b.String())
	t.Logf("\n%s", text)
	updateSection(t, "PERFORMANCE.md", "delays", text)
}

// cells are the medians of what was measured with and without a delay, and of
// the differences, with their intervals.
func (c *delayer) cells() string {
	var b strings.Builder
	for _, rs := range [][]rate{c.late, c.base} {
		fmt.Fprintf(&b, " %s |", medians(rs))
	}
	fmt.Fprintf(&b, " %s, %s |", c.beyond(rate.p50), c.beyond(rate.p99))
	return b.String()
}

// medians of repetitions: of their median, and of their p99.
func medians(rs []rate) string {
	return fmt.Sprintf("%.0f, %.0f", median(rs, rate.p50), median(rs, rate.p99))
}

// sleeps is by how much a thread oversleeps that sleeps for delay at a time, until
// d has passed: no program that waits asleep is on time more than that.
func sleeps(t *testing.T, delay, d time.Duration) (r rate) {
	t.Helper()
	late := make(chan []int32)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its timer slack
		late <- oversleeps(delay, int(d/delay))
	}()
	if all := <-late; len(all) > 0 {
		slices.Sort(all)
		return rate{P50: quantile(all, .5), P99: quantile(all, .99)}
	}
	t.Fatal("clock_nanosleep is refused")
	return rate{}
}

// oversleeps are by how many ns the calling thread slept too long, n times, or nil
// if it cannot sleep.
func oversleeps(delay time.Duration, n int) (late []int32) {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return nil
	}
	for range n {
		var now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		due := unix.NsecToTimespec(now.Nano() + delay.Nanoseconds())
		for {
			err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &due, nil)
			if err == nil {
				break
			} else if !errors.Is(err, unix.EINTR) {
				return nil
			}
		}
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		late = append(late, int32(now.Nano()-due.Nano()))
	}
	return late
}

// beyond is by how much more there is with a delay.
func (c *delayer) beyond(of func(rate) float64) string {
	var more []float64
	for i := range c.late {
		more = append(more, of(c.late[i])-of(c.base[i]))
	}
	m := spread(more)
	if !m.ok {
		return fmt.Sprintf("%.0f", m.median)
	}
	return fmt.Sprintf("%.0f (%.0f to %.0f)", m.median, m.low, m.top)
}

// own stops both servers and returns what the one that delays says of itself.
func (c *delayer) own() string {
	c.plain.stop()
	if _, own, ok := strings.Cut(strings.TrimSpace(c.slow.stop()), "replies late: "); ok {
		return own
	}
	return "-"
}

// exactly is by how much round trips take longer than a delay. It reads fio's log
// of each latency: the buckets of its percentiles are 1.6% wide, which of 10 ms
// is more than what is looked for.
func (s *server) exactly(t *testing.T, l load, delay time.Duration, apart *placement) (r rate) {
	t.Helper()
	dir := t.TempDir()
	l.URI = s.uri
	r = fioRun(t, dir, l, append(apart.fio(), "--write_lat_log=each", "--disable_slat=1", "--disable_clat=1")...)
	text, err := os.ReadFile(filepath.Join(dir, "each_lat.1.log"))
	if err != nil {
		t.Fatal(err)
	}
	var late []int32
	for line := range strings.Lines(string(text)) {
		var at, took int64 // ms, ns
		if _, err := fmt.Sscanf(line, "%d, %d,", &at, &took); err != nil {
			t.Fatalf("fio's log has %q: %v", line, err)
		}
		late = append(late, int32(took-delay.Nanoseconds()))
	}
	if n := uint64(len(late)); n > r.IOs || n+n/100+1 < r.IOs { // fio may not log the last
		t.Fatalf("fio's log has %d round trips of %d", n, r.IOs)
	}
	slices.Sort(late)
	r.P50, r.P99 = quantile(late, .5), quantile(late, .99)
	return r
}
