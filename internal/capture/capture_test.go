package capture

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/history"
)

func write(length uint64) history.Event { return history.Event{Op: devices.OpWrite, Length: length} }

func fua(length uint64) history.Event {
	return history.Event{Op: devices.OpWrite, Length: length, Flags: devices.FUA}
}

var flush = history.Event{Op: devices.OpFlush}

func TestACaptureCountsAndKeepsTheOrder(t *testing.T) {
	var c Capture
	c.Program, c.Settings, c.Command, c.On = "P 1", "s", "p", "ext4"
	for range 3 {
		c.Add([]history.Event{write(4096), {Kind: history.Done}, write(8192), {Op: devices.OpRead, Length: 512}, flush, fua(4096)})
	}
	c.Add([]history.Event{write(4096), {Op: devices.OpTrim, Length: 4096}, flush})
	c.Add(nil)
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `nbdbench/capture/v1
program: P 1
settings: s
command: p
on: ext4
commits: 5
flushes: 4
fuas: 3
writes: 10
bytes: 53248
logged: 0
size: 7 of 4KiB
size: 3 of 8KiB
order: 3 of WRITE 12KiB, FLUSH, WRITE+FUA 4KiB
order: 1 of WRITE 4KiB, TRIM 4KiB, FLUSH
order: 1 of nothing
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
	again, err := Read(&b)
	if err != nil || !reflect.DeepEqual(*again, c) {
		t.Errorf("read %+v, %v; want %+v", again, err, c)
	}
	if order, share := c.Usual(); order != "WRITE 12KiB, FLUSH, WRITE+FUA 4KiB" || share != 0.6 {
		t.Errorf("usual: %s, %v", order, share)
	}
}

func TestSplitEndsACommitWithTheLastFlush(t *testing.T) {
	got := Split([]history.Event{write(1), flush, fua(2), {Kind: history.Done, Op: devices.OpWrite}, write(3), write(4), flush, write(5)})
	if len(got) != 3 || len(got[0]) != 4 || len(got[1]) != 3 || len(got[2]) != 1 {
		t.Errorf("%d commits: %+v", len(got), got)
	}
}

func TestWhatIsNoCaptureIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "expected commits",
		"x\n":                          "line 1: expected nbdbench/capture/v1",
		magic + "\nx\n":                "line 2: expected",
		magic + "\nx: 1\n":             "line 2: x: expected program",
		magic + "\ncommits: x\n":       "line 2: commits",
		magic + "\nsize: 1 of x\n":     "line 2: size",
		magic + "\norder: many of x\n": "line 2: order",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
