package interop

import (
	"fmt"
	"maps"
	"os"
	"testing"
	"time"
)

// How far the median of a commit in real time may be from virtual time.
const (
	clockRatio = 0.15
	clockFloor = 60 * time.Microsecond
	clockTries = 3 // because others may have been using the machine
)

// TestRealTimeAgreesWithVirtualTime: virtual time, over a link that takes what
// the socket takes, predicts what a run in real time measures.
func TestRealTimeAgreesWithVirtualTime(t *testing.T) {
	if os.Getenv("NBDBENCH_TIMING") != "1" {
		t.Skip("this is about time, which takes a machine with nothing else to do: set NBDBENCH_TIMING=1")
	}
	if underRace() {
		t.Skip("the race detector takes more time than the devices")
	}
	for _, c := range []struct{ device, duration string }{
		{"nvme-990pro", "1s"},
		{"nvme-pm963", "1s"},
		{"hdd-7200", "4s"}, // a flush of what wal-noisy writes takes a fifth of a second
	} {
		t.Run(c.device, func(t *testing.T) {
			apart := clocksApart(t, c.device, c.duration)
			for range clockTries - 1 {
				if len(apart) == 0 {
					return
				}
				again := clocksApart(t, c.device, c.duration)
				maps.DeleteFunc(apart, func(id, _ string) bool { return again[id] == "" })
			}
			for _, line := range apart {
				t.Errorf("real and virtual time were apart each of %d times, at first by this: %s", clockTries, line)
			}
		})
	}
}

// clocksApart runs the same cells by both clocks, logs both medians, and
// returns a line for each cell in which they are too far apart.
func clocksApart(t *testing.T, device, duration string) map[string]string {
	t.Helper()
	apart := map[string]string{}
	cells := []string{
		"--device", device, "--workload", "sync-4k,wal-noisy", "--strategy", "native,emulate,none",
		"--duration", duration, "--runs", "3",
	}
	real := benchRun(t, append(cells, "--clock", "real")...)
	if real.Host == nil || real.Host.SocketRoundTrip <= 0 {
		t.Fatalf("host is %+v, expected the socket's round trip", real.Host)
	}
	trip := time.Duration(real.Host.SocketRoundTrip)
	virtual := benchRun(t, append(cells, "--cuts", "0", "--link", fmt.Sprintf("%v,0", trip/2))...)
	t.Logf("%s, round trip %v", device, trip)
	for i, v := range virtual.Cells {
		r := real.Cells[i]
		if r.ID != v.ID || r.Commit.P50 == 0 || v.Commit.P50 == 0 {
			t.Fatalf("expected a median of the same cell by either clock, got %+v in real and %+v in virtual time", r, v)
		}
		got, want := time.Duration(r.Commit.P50), time.Duration(v.Commit.P50)
		line := fmt.Sprintf("%-32s real %10v  virtual %10v  %+6.1f%%", r.ID, got, want, 100*(float64(got)/float64(want)-1))
		t.Log(line)
		if (got - want).Abs() > max(time.Duration(clockRatio*float64(want)), clockFloor) {
			apart[r.ID] = line
		}
	}
	return apart
}
