package torture

import (
	"strings"
	"testing"

	"nbdbench/devices"
)

// taken is a Device that answers nothing.
type taken struct{ devices.Device }

func (taken) Submit(*devices.Request) {}

func TestEventsAreReadAndMet(t *testing.T) {
	flush := &devices.Request{Op: devices.OpFlush}
	write := func(offset, n uint64) *devices.Request {
		return &devices.Request{Op: devices.OpWrite, Offset: offset, Length: n}
	}
	for text, want := range map[string]struct {
		requests []*devices.Request
		met      bool
	}{
		"flush:1":         {[]*devices.Request{write(0, 512), flush}, true},
		"flush:2":         {[]*devices.Request{flush, write(0, 512)}, false},
		"flush:3":         {[]*devices.Request{flush, flush, flush}, true},
		"write:4KiB-8KiB": {[]*devices.Request{write(0, 4096), write(8192, 4096)}, false},
		"write:4096-4097": {[]*devices.Request{write(0, 8192)}, true},
	} {
		e, err := parseEvent(text)
		if err != nil || !e.inDevice() {
			t.Fatalf("%s: %v", text, err)
		}
		met := 0
		w := &watched{Device: taken{}, event: e, left: e.nth, cut: func() { met++ }}
		for _, r := range append(want.requests, want.requests...)[:len(want.requests)] {
			w.Submit(r)
		}
		if (met == 1) != want.met || met > 1 {
			t.Errorf("%s: met %d times", text, met)
		}
	}
	e, err := parseEvent("ack:^7$")
	if err != nil || e.inDevice() {
		t.Fatal(err)
	}
	if e.acked([]byte("7\n17\n"), 2) || !e.acked([]byte("1\n7\n"), 2) || e.acked([]byte("1\n7"), 2) {
		t.Error("an acknowledgement is one whole line behind the earlier ones")
	}
	for text, want := range map[string]string{
		"flush": "--at", "flush:0": "from 1", "flush:x": "from 1", "write:8-4": "such as 0-4KiB", "ack:(": "ack", "fua:3": "no FUA arrives", "reboot:1": "flush:N",
	} {
		if _, err := parseEvent(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %q", text, err, want)
		}
	}
}
