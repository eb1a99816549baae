package calibrate

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sized(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file is measured by its own system calls, and never grows. What is measured
// is this machine, so nothing is said of how long anything took.
func TestAFileIsMeasuredAndKeepsItsSize(t *testing.T) {
	const size = 2<<20 + 777
	path := sized(t, size)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	target, err := ParseFitTarget(path)
	if err != nil {
		t.Fatal(err)
	}
	done, total := 0, 0
	m, err := target.Measure(context.Background(), 6*time.Millisecond, func(d, n int, _ string) { done, total = d, n })
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != size || string(after[2<<20:]) != string(before[2<<20:]) || sha256.Sum256(after) == sha256.Sum256(before) {
		t.Errorf("%d bytes of %d, changed: %v", len(after), size, sha256.Sum256(after) != sha256.Sum256(before))
	}
	rows := fitRows(m.Info)
	if len(m.Points)+len(m.Dropped) != len(rows) || done != total-1 || total != fitVisits*len(rows) || len(m.Notes) != 1 {
		t.Errorf("%d points and %d dropped of %d, %d of %d visits, notes %q", len(m.Points), len(m.Dropped), len(rows), done, total, m.Notes)
	}
	for _, p := range m.Points {
		if !(p.Value > 0) || p.Low > p.Value || p.High < p.Value || p.P10 > p.P50 || p.P50 > p.P90 || p.Count < fitFewest {
			t.Errorf("%+v", p)
		}
	}
	if len(m.Dropped) == 0 {
		fitted(t, m)
	}
}

func TestAMeasurementOfAFileThatIsCancelledEnds(t *testing.T) {
	target, err := ParseFitTarget(sized(t, 4<<20))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err = target.Measure(ctx, time.Minute, func(done, _ int, _ string) {
		if done == 1 {
			cancel()
		}
	})
	if err == nil || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoTargetIsRefused(t *testing.T) {
	for path, want := range map[string]string{
		"./nosuch":              "expected an NBD URI, a file or a block device: no such file or directory",
		t.TempDir():             "expected an NBD URI, a file or a block device, got d",
		"/dev/null":             "expected an NBD URI, a file or a block device, got Dc",
		sized(t, 4096):          "expected at least 1MiB, got 4KiB",
		"http://localhost/":     "want nbd://",
		"nbds+unix:///?socket=": "socket",
	} {
		if _, err := ParseFitTarget(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}
