package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/history"
)

// captureAndReplay has fio drive a server that writes a log, and replays that log at its
// recorded times on another, which writes one too.
func captureAndReplay(t *testing.T, device string, job ...string) (first, second *history.Log) {
	t.Helper()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	s := serve(t, device, "--size", "64MiB", "--log", a)
	must(t, dir, append([]string{"fio", "--name=captured", "--ioengine=nbd", "--uri=" + s.uri, "--bs=4k", "--size=16M", "--output=fio.txt"}, job...)...)
	s.stop()
	must(t, dir, "nbdbench", "import", "history", "a.log", "--output", "trace.gz")
	profile := "name: again\narrival: replayed\nqueue_depth: 32\ntransaction: [{op: replay, file: trace.gz}]\n"
	if err := os.WriteFile(filepath.Join(dir, "again.yaml"), []byte(profile), 0o644); err != nil {
		t.Fatal(err)
	}
	s = serve(t, device, "--size", "64MiB", "--log", b)
	must(t, dir, "nbdbench", "run", "--target", s.uri, "--destroy", "--workload", "./again.yaml", "--strategy", "pass",
		"--runs", "1", "--commits", "1000000", "--no-save", "--yes")
	s.stop()
	return readHistory(t, a), readHistory(t, b)
}

func readHistory(t *testing.T, path string) *history.Log {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := history.Read(f)
	if err != nil || l.Torn != nil {
		t.Fatalf("%s: %v, %v", path, err, l.Torn)
	}
	return l
}

// requestsOf are the requests of a history, as text, in the order in which they came.
func requestsOf(l *history.Log) (out []string) {
	for _, e := range l.Events {
		if e.Kind == history.Submit {
			out = append(out, fmt.Sprintf("%v %v %d+%d", e.Op, e.Flags&devices.FUA, e.Offset, e.Length))
		}
	}
	return out
}

// TestACapturedSessionIsReplayed: the same requests in the same order, after the flush with
// which a run begins.
func TestACapturedSessionIsReplayed(t *testing.T) {
	need(t, "fio")
	first, second := captureAndReplay(t, "ram", "--rw=randrw", "--number_ios=200", "--fsync=16", "--rate_iops=1000,1000")
	want, got := requestsOf(first), requestsOf(second)
	if len(got) > len(want) && strings.HasPrefix(got[0], "flush") {
		got = got[len(got)-len(want):]
	}
	if !slices.Equal(got, want) {
		t.Errorf("captured %d requests %q, replayed %d %q", len(want), want[:min(len(want), 8)], len(got), got[:min(len(got), 8)])
	}
}

// TestBenchReplay prints how long requests took where they were captured, and where they
// were replayed, on a server whose device has the latencies of a drive. fio keeps many
// requests in flight, so that a request's time does not depend on the reply before it. Of a
// load that waits for each reply, a replay reproduces the times of the requests, and a disk
// at another angle, or a client that wakes late, then changes their latencies.
func TestBenchReplay(t *testing.T) {
	if _, repeat := peersPlan(t); repeat == 0 {
		t.Skip()
	}
	newProcessors(t).stayAwake()
	for device, load := range map[string][2]string{"nvme-990pro": {"20000", "500"}, "hdd-7200": {"4000", "30"}} {
		number, rate := load[0], load[1]
		first, second := captureAndReplay(t, device, "--rw=randrw", "--number_ios="+number, "--fsync=16", "--rate_iops="+rate+","+rate, "--rate_process=poisson", "--iodepth=32")
		a, b := latencies(first), latencies(second)
		for _, op := range []devices.Op{devices.OpRead, devices.OpWrite, devices.OpFlush} {
			x, y := a[op], b[op]
			if len(x) == 0 || len(y) == 0 {
				t.Errorf("%s, %v: %d captured, %d replayed", device, op, len(x), len(y))
				continue
			}
			t.Logf("%s, %v: %d, mean %v, median %v; replayed %d, mean %v (%.3f), median %v (%.3f)", device, op, len(x), mean(x), x[len(x)/2],
				len(y), mean(y), float64(mean(y))/float64(mean(x)), y[len(y)/2], float64(y[len(y)/2])/float64(x[len(x)/2]))
		}
	}
}

// latencies are those of a history's requests, from the request to the reply, sorted.
func latencies(l *history.Log) map[devices.Op][]time.Duration {
	open, out := map[uint64]history.Event{}, map[devices.Op][]time.Duration{}
	for _, e := range l.Events {
		if e.Kind == history.Submit {
			open[e.Seq] = e
		} else if s, ok := open[e.Of]; ok && e.Kind == history.Done {
			out[s.Op] = append(out[s.Op], time.Duration(e.Time.Sub(s.Time)))
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

func mean(list []time.Duration) (sum time.Duration) {
	for _, d := range list {
		sum += d
	}
	return sum / time.Duration(len(list))
}
