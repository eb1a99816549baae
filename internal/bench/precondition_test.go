package bench

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"nbdbench/devices/host"
	"nbdbench/internal/units"
)

func TestSteadyIsSNIAsRule(t *testing.T) {
	for _, c := range []struct {
		rounds []float64
		want   bool
	}{
		{[]float64{100, 100, 100, 100}, false},
		{[]float64{100, 100, 100, 100, 100}, true},
		{[]float64{900, 100, 100, 100, 100, 100}, true},
		{[]float64{100, 100, 100, 100, 121}, false}, // a range of 20.15%
		{[]float64{90, 110, 90, 110, 100}, true},
		{[]float64{94, 97, 100, 103, 106}, false}, // it rises by 12%
		{[]float64{106, 103, 100, 97, 94}, false},
		{[]float64{95, 97.5, 100, 102.5, 105}, true}, // by 10%
		{[]float64{0, 0, 0, 0, 0}, false},
	} {
		if got := steady(c.rounds); got != c.want {
			t.Errorf("%v: got %v", c.rounds, got)
		}
	}
}

// storedFile is a file of the host as storage of a plan.
func storedFile(t *testing.T, size int64) (*opened, string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("there is no host storage here")
	}
	path := filepath.Join(t.TempDir(), "file.img")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := host.Open(path, host.Config{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &opened{storage: s}, path
}

// blank is how many blocks of 4 KiB are zeros.
func blank(t *testing.T, path string) (n int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 4096)
	for ; len(data) > 0; data = data[min(len(data), 4096):] {
		if bytes.Equal(data[:min(len(data), 4096)], zeros[:min(len(data), 4096)]) {
			n++
		}
	}
	return n
}

func TestPreconditioningWritesAllOrAsMuch(t *testing.T) {
	const size = 3<<20 + 4096
	for how, most := range map[string]int{PreconditionSeq: 0, PreconditionRandom: 400, PreconditionPTS: 0} { // of 769 blocks e^-1 are not hit
		x, path := storedFile(t, size)
		if err := x.precondition(t.Context(), how, 1, 5*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if n := blank(t, path); n > most || how == PreconditionRandom && n < 150 {
			t.Errorf("%s: %d blocks are not written", how, n)
		}
	}
}

func TestPreconditioningEndsWhereItIsStopped(t *testing.T) {
	x, _ := storedFile(t, 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.precondition(ctx, PreconditionPTS, 1, time.Hour); err == nil {
		t.Error("it ended by itself")
	}
}

func TestPreconditionsAndRestsAreChecked(t *testing.T) {
	_, path := storedFile(t, 1<<20)
	for _, c := range []struct {
		change func(p *Plan)
		want   string
	}{
		{func(p *Plan) { p.Precondition = "fast" }, `precondition: expected one of none, seq, random, pts, got "fast"`},
		{func(p *Plan) { p.Precondition = PreconditionPTS }, "precondition: expected a block device, a file or a directory among the devices: a profile begins as it says itself"},
		{func(p *Plan) { p.Rest = -1 }, "rest: expected at least 0 and at most 1h0m0s, got -1ns"},
		{func(p *Plan) { p.Rest = 1 }, "rest: expected none in virtual time, where a run has a device of its own, got 1ns"},
		{func(p *Plan) { p.UseDevices([]string{path}); p.Rest, p.Precondition = time.Second, PreconditionSeq }, ""},
		{func(p *Plan) { p.UseDevices([]string{path}); p.Size = units.Size(512 << 10) }, ""},
	} {
		p := Default()
		c.change(&p)
		got := ""
		if err := p.Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
