package honesty

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nbdbench/devices/host"
)

func openFile(t *testing.T, name string, readOnly bool) *host.Storage {
	t.Helper()
	s, err := host.Open(name, host.Config{Direct: true, ReadOnly: readOnly})
	var missing *host.Missing
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestADriveThatForgetsIsFound writes to a real file, and puts back what one unit held
// before: as a drive does that loses its cache. Both methods are used.
func TestADriveThatForgetsIsFound(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	const size = 64 * UnitSize
	if err := os.WriteFile(disk, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	x := newSite(t, filepath.Join(t.TempDir(), "record"), 1<<30)
	s := openFile(t, disk, false)
	if _, err := s.Fill(); err != nil {
		t.Fatal(err)
	}
	done, err := Write(t.Context(), s, WriteConfig{
		Server: x.address, Token: testToken, Device: disk, Methods: []Method{FUA, Flush}, Depth: 8, Seed: 1, Duration: time.Second, Report: x.say,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	verify := func() *Verdict {
		t.Helper()
		v, err := Verify(t.Context(), openFile(t, disk, true), VerifyConfig{Server: x.address, Token: testToken})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := verify()
	if v.Failed() || v.Torn+v.InFlight > 0 || !v.Stopped || v.Units != 64 || done.Session != v.session() {
		t.Fatalf("the file was kept, and the verdict is %+v", v)
	}
	if v.Methods[FUA].Promises != done.Promises[FUA] || v.Methods[Flush].Promises != done.Promises[Flush] || done.Promises[FUA]+done.Promises[Flush] == 0 || v.Intents != done.Promises[FUA]+done.Promises[Flush] {
		t.Errorf("the writer made %v promises, and the record has %+v", done.Promises, v)
	}
	ses, err := (&VerifyConfig{Record: x.record}).session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unit := uint64(0)
	for !ses.units[unit].any {
		unit++
	}
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	old := make([]byte, UnitSize)
	encode(old, ses.session, unit, ses.units[unit].promised-1)
	if _, err := f.WriteAt(old, int64(unit*UnitSize)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if v := verify(); v.Broken != 1 || v.First[0].Unit != unit || !strings.HasPrefix(v.First[0].Found, "holds version ") || v.First[0].AgeNS < 0 {
		t.Errorf("unit %d is an older version, and the verdict is %+v", unit, v)
	}
}

func (v *Verdict) session() Session {
	s, err := ParseSession(v.Session)
	if err != nil {
		return 0
	}
	return s
}
