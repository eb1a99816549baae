package interop

import (
	"fmt"
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
	for _, device := range []string{"nvme-990pro", "nvme-pm963", "hdd-7200"} {
		t.Run(device, func(t *testing.T) {
			for try := 1; ; try++ {
				apart := clocksApart(t, device)
				if len(apart) == 0 {
					return
				}
				if try == clockTries {
					t.Fatalf("real and virtual time were apart %d times; the last time:\n%s", try, apart)
				}
			}
		})
	}
}

// clocksApart runs the same cells by both clocks, logs both medians, and
// returns the cells in which they are too far apart.
func clocksApart(t *testing.T, device string) (apart []string) {
	t.Helper()
	cells := []string{
		"--device", device, "--workload", "sync-4k,wal-noisy", "--strategy", "native,emulate,none",
		"--duration", "1s", "--runs", "3",
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
		if r.ID != v.ID || r.Status != "ok" || v.Status != "ok" {
			t.Fatalf("cell %s is %s in real and %s is %s in virtual time", r.ID, r.Status, v.ID, v.Status)
		}
		got, want := time.Duration(r.Commit.P50), time.Duration(v.Commit.P50)
		line := fmt.Sprintf("%-32s real %10v  virtual %10v  %+6.1f%%", r.ID, got, want, 100*(float64(got)/float64(want)-1))
		t.Log(line)
		if (got - want).Abs() > max(time.Duration(clockRatio*float64(want)), clockFloor) {
			apart = append(apart, line)
		}
	}
	return apart
}
