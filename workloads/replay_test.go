package workloads

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/trace"
	"nbdbench/sim"
)

// storeOf writes a trace.
func storeOf(t *testing.T, records ...trace.Record) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace.gz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := trace.NewWriter(f)
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// recorded is a trace of every operation, over half a millisecond.
func recorded(t *testing.T) string {
	return storeOf(t,
		trace.Record{Op: trace.Write, Offset: 4096, Length: 4096, FUA: true},
		trace.Record{At: 100 * time.Microsecond, Op: trace.Read, Offset: 8192, Length: 512},
		trace.Record{At: 100 * time.Microsecond, Op: trace.Flush},
		trace.Record{At: 300 * time.Microsecond, Op: trace.Trim, Offset: 0, Length: 65536},
		trace.Record{At: 500 * time.Microsecond, Op: trace.WriteZeroes, Offset: 65536, Length: 4096},
	)
}

// replay runs a trace, and is each request with when it was due and sent, in
// microseconds.
func replay(t *testing.T, load, file string, latency sim.Duration) (out []string) {
	t.Helper()
	p := profile(t, load+"regions: [{name: half, offset: 1MiB}]\ntransaction: [{op: replay, file: "+file+", region: half}]\n")
	o, r := run(t, newFake(sim.NewLoop(), latency), Config{Profile: p, Seed: 1, Commits: 100})
	if r.Short() || r.Err() != nil {
		t.Errorf("short %v, error %v: expected a run that ends with its trace", r.Short(), r.Err())
	}
	where := o.where(StreamCommit)
	for i := range where {
		q := &o.submits[i]
		out = append(out, fmt.Sprintf("%d %d %s", q.Intended/1000, q.Submitted/1000, where[i]))
	}
	return out
}

func TestReplayIsAsRecorded(t *testing.T) {
	file := recorded(t)
	want := []string{
		"0 0 write+fua 1052672+4096", "100 100 read 1056768+512", "100 100 flush 0+0", "300 300 trim 1048576+65536",
		"500 500 write_zeroes 1114112+4096",
	}
	if got := replay(t, "arrival: replayed\nqueue_depth: 4\n", file, us); !slices.Equal(got, want) {
		t.Errorf("as recorded: got %q, want %q", got, want)
	}
	want = []string{
		"0 0 write+fua 1052672+4096", "50 50 read 1056768+512", "50 50 flush 0+0", "150 150 trim 1048576+65536",
		"250 250 write_zeroes 1114112+4096",
	}
	if got := replay(t, "arrival: replayed\nqueue_depth: 4\nspeed: 2\n", file, us); !slices.Equal(got, want) {
		t.Errorf("twice as fast: got %q, want %q", got, want)
	}
}

// Requests of a device that does not keep up are late, and count from when they were
// due.
func TestReplayLags(t *testing.T) {
	want := []string{
		"0 0 write+fua 1052672+4096", "100 200 read 1056768+512", "100 400 flush 0+0", "300 600 trim 1048576+65536",
		"500 800 write_zeroes 1114112+4096",
	}
	if got := replay(t, "arrival: replayed\n", recorded(t), 200*us); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// In a closed loop a trace is replayed as fast as the device takes it.
func TestReplayAsFastAsPossible(t *testing.T) {
	want := []string{
		"0 0 write+fua 1052672+4096", "10 10 read 1056768+512", "20 20 flush 0+0", "30 30 trim 1048576+65536",
		"40 40 write_zeroes 1114112+4096",
	}
	if got := replay(t, "", recorded(t), 10*us); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReplaysThatCannotBe(t *testing.T) {
	file := recorded(t)
	for _, c := range []struct{ yaml, want string }{
		{"arrival: replayed\ntransaction: [{op: flush}]\n", "arrival: expected a transaction of op replay"},
		{"transaction: [{op: replay, file: none.gz}]\n", "transaction[0].file: "},
		{"transaction: [{op: replay}]\n", "transaction[0].file: expected op replay with only file"},
		{"transaction: [{op: replay, file: a, size: 4k}]\n", "transaction[0].file: expected op replay with only file"},
		{"transaction: [{op: replay, file: " + file + "}, {op: flush}]\n", "transaction: expected only op replay"},
		{"transaction: [{op: flush, file: a}]\n", "transaction[0].op: expected only flush"},
		{"arrival: replayed\nrate: 5/s\ntransaction: [{op: replay, file: " + file + "}]\n", "rate: expected none"},
		{"speed: 2\ntransaction: [{op: replay, file: " + file + "}]\n", "speed: expected above 0"},
	} {
		if _, err := Parse("p", []byte("name: x\n"+c.yaml)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.yaml, err, c.want)
		}
	}
	p := profile(t, "transaction: [{op: replay, file: "+file+"}]\n")
	for _, c := range []struct {
		info devices.Info
		want string
	}{
		{devices.Info{Size: 4096, CanTrim: true, CanZero: true}, "expected requests within 4KiB"},
		{devices.Info{Size: testSize, CanTrim: true, CanZero: true, MinIO: 4096}, "expected requests that are multiples of 4096 bytes, got one of 512"},
		{devices.Info{Size: testSize, CanZero: true}, "expected a device with trim"},
		{devices.Info{Size: testSize, CanTrim: true, CanZero: true, ReadOnly: true}, "expected a device that can be written"},
	} {
		if err := p.Fits(c.info); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
