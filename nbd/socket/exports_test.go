package socket

import (
	"context"
	"errors"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/nbdtest"
)

func TestAnExportThatWasAddedIsServed(t *testing.T) {
	s := newSite(t, "unix")
	other := nbdtest.NewRAM(s.real.Loop(), 2*nbdtest.Size)
	if err := s.AddExport(&nbd.Export{Name: "other", Device: other}); err != nil {
		t.Fatal(err)
	}
	u := s.uri
	u.Export = "other"
	if x, _, err := Ask(within(t), u, nbd.OptInfo); err != nil || x.Size != 2*nbdtest.Size {
		t.Errorf("got %+v, %v", x, err)
	}
	if _, names, err := Ask(within(t), s.uri, nbd.OptList); err != nil || len(names) != 2 || names[1] != "other" {
		t.Errorf("listed %v, %v", names, err)
	}
}

func TestAnExportIsNotAddedTwice(t *testing.T) {
	s := newSite(t, "unix")
	for _, name := range []string{"disk", "nul\x00", string(make([]byte, nbd.MaxString+1))} {
		if err := s.AddExport(&nbd.Export{Name: name, Device: s.dev}); err == nil {
			t.Errorf("export %.20q was added", name)
		}
	}
	for i := len(s.offered()); i < nbd.MaxExports; i++ {
		if err := s.AddExport(&nbd.Export{Name: string(rune('A' + i)), Device: s.dev}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddExport(&nbd.Export{Name: "one more", Device: s.dev}); err == nil {
		t.Error("there is no bound")
	}
}

// TestRemovingAnExportDrainsOnlyItsConnections: what is in flight is answered,
// the connection closed, and another export's goes on.
func TestRemovingAnExportDrainsOnlyItsConnections(t *testing.T) {
	s := newSite(t, "unix")
	other := nbdtest.NewRAM(s.real.Loop(), nbdtest.Size)
	other.Service = 20 * time.Millisecond
	if err := s.AddExport(&nbd.Export{Name: "gone", Device: other}); err != nil {
		t.Fatal(err)
	}
	stays, goes := dialRaw(t, s.uri), dialRaw(t, s.uri, "gone")
	goes.send(encode(nbd.Header{Op: devices.OpRead, Cookie: 1, Length: 512}))
	for s.Counts().Read == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.RemoveExport(within(t), "gone"); err != nil {
		t.Fatal(err)
	}
	if e, cookie := goes.reply(); e != devices.OK || cookie != 1 {
		t.Errorf("what was in flight got %v for %d", e, cookie)
	}
	goes.expect(512)
	goes.closes()
	stays.send(encode(nbd.Header{Op: devices.OpFlush, Cookie: 2}))
	if e, cookie := stays.reply(); e != devices.OK || cookie != 2 {
		t.Errorf("the other export's connection got %v for %d", e, cookie)
	}
	u := s.uri
	u.Export = "gone"
	var refusal *nbd.OptionError
	if _, _, err := Ask(within(t), u, nbd.OptInfo); !errors.As(err, &refusal) || refusal.Reply != nbd.RepErrUnknown {
		t.Errorf("it is still offered: %v", err)
	}
	if err := s.RemoveExport(within(t), "gone"); err == nil {
		t.Error("it was removed twice")
	}
}

func TestRemovingAnExportGivesUpWhenItsContextEnds(t *testing.T) {
	s := newSite(t, "unix")
	s.dev.Held = true
	c := dialRaw(t, s.uri)
	c.send(encode(nbd.Header{Op: devices.OpFlush}))
	for s.Counts().Flush == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := s.RemoveExport(ctx, "disk"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("RemoveExport returned %v", err)
	}
	c.closes()
}
