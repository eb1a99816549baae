package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
)

// logged writes a story of requests and returns the file.
func logged(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := NewDMWriter(f, nil)
	fill := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	write := func(off uint64, n int, flags devices.Flags, b byte) {
		r := &devices.Request{Op: devices.OpWrite, Offset: off, Length: uint64(n), Flags: flags}
		d.Begin(r)
		d.End(r, fill(b, n))
	}
	flush, late := &devices.Request{Op: devices.OpFlush}, &devices.Request{Op: devices.OpWrite, Offset: 8192, Length: 512}
	write(0, 4096, 0, 1)
	d.Begin(flush)
	d.Begin(late)
	d.End(late, fill(2, 512)) // done while the FLUSH runs: not covered
	write(512, 512, devices.FUA, 3)
	d.End(flush, nil)
	failed := &devices.Request{Op: devices.OpFlush, Errno: devices.EIO}
	d.Begin(failed)
	d.End(failed, nil)
	for _, r := range []*devices.Request{
		{Op: devices.OpTrim, Offset: 1 << 20, Length: 200 << 20},
		{Op: devices.OpWriteZeroes, Offset: 4096, Length: 1024, Flags: devices.FUA},
		{Op: devices.OpWrite, Offset: 0, Length: 512, Errno: devices.EIO},
	} {
		d.Begin(r)
		d.End(r, fill(9, 512))
	}
	if err := d.Close(Left{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// replay is a reader of the format as src/log-writes in xfstests describes it,
// without anything of the package: one line for each entry.
func replay(b []byte) (lines []string, err error) {
	le := binary.LittleEndian
	if le.Uint64(b) != 0x6a736677736872 || le.Uint64(b[8:]) != 1 {
		return nil, errors.New("no log")
	}
	entries, size := le.Uint64(b[16:]), uint64(le.Uint32(b[24:]))
	at := size
	for range entries {
		sector, n, flags, length := le.Uint64(b[at:]), le.Uint64(b[at+8:]), le.Uint64(b[at+16:]), le.Uint64(b[at+24:])
		if flags == 0 && n == 0 {
			return nil, errors.New("an entry of nothing")
		}
		if flags != 8 && b[at+32] != 0 {
			return nil, errors.New("text without a mark")
		}
		line := fmt.Sprintf("%d+%d flags %d", sector, n, flags)
		if flags&8 != 0 {
			line += " " + string(b[at+32:at+32+length])
		}
		at += size
		if flags&4 == 0 && n > 0 {
			line += fmt.Sprintf(" data %d", b[at])
			at += n * size
		}
		lines = append(lines, line)
	}
	if at != uint64(len(b)) {
		return nil, fmt.Errorf("%d bytes after the last entry", uint64(len(b))-at)
	}
	return lines, nil
}

// FUA is ahead of what waits elsewhere and after what waits of the same sectors; a
// FLUSH is after what was done before it was sent and before what was done
// meanwhile.
func TestAnIndependentReaderReadsTheLogOfTheKernelsFormat(t *testing.T) {
	b, err := os.ReadFile(logged(t))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := replay(b)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0+8 flags 0 data 1", "1+1 flags 2 data 3", "0+0 flags 1",
		"8+2 flags 2 data 0", "16+1 flags 0 data 2", "2048+262144 flags 4", "264192+147456 flags 4",
		"0+0 flags 8 dm-log-writes-end",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestTheLogOfTheKernelsFormatIsReadAsAHistory(t *testing.T) {
	f, err := os.Open(logged(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := ReadDM(f)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range l.Events {
		if e.Kind == Submit {
			got = append(got, fmt.Sprintf("%v %d %d+%d", e.Op, e.Flags, e.Offset, e.Length))
		}
	}
	want := "write 0 0+4096, write 1 512+512, flush 0 0+0, write 1 4096+1024, write 0 8192+512, trim 0 1048576+134217728, trim 0 135266304+75497472"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got %s\nwant %s", s, want)
	}
	var b bytes.Buffer
	if err := l.Write(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(&b); err != nil {
		t.Errorf("the history is not well-formed: %v", err)
	}
}

func TestABrokenLogOfTheKernelsFormatIsRefusedWithItsPlace(t *testing.T) {
	whole, err := os.ReadFile(logged(t))
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, b byte) []byte {
		c := append([]byte{}, whole...)
		c[at] = b
		return c
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":          {nil, "entry 0, byte 0: the file is cut short"},
		"magic":          {change(0, 1), "expected the magic number"},
		"version":        {change(8, 9), "expected version 1, got 9"},
		"sector size":    {change(24, 3), "expected sectors of a power of two"},
		"entries":        {change(22, 1), "expected at most 16777216 entries"},
		"super":          {whole[:511], "entry 0, byte 511: the file is cut short"},
		"nothing":        {append(append([]byte{}, whole[:512]...), make([]byte, 512)...), "entry 1, byte 544: expected flags or sectors"},
		"far away":       {change(512+7, 0xff), "end past 2^63"},
		"endless length": {change(512+8+6, 0xff), "end past 2^63"},
	} {
		_, err := ReadDM(bytes.NewReader(c.data))
		var at *DMError
		if !errors.As(err, &at) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// A file that ends within an entry has the entries before it.
func TestALogOfTheKernelsFormatThatWasCutShortIsReadUpToThere(t *testing.T) {
	whole, err := os.ReadFile(logged(t))
	if err != nil {
		t.Fatal(err)
	}
	all, err := ReadDM(bytes.NewReader(whole))
	if err != nil || all.Torn != nil {
		t.Fatal(err, all.Torn)
	}
	seen := map[int]bool{}
	for end := 512; end < len(whole); end += 256 {
		l, err := ReadDM(bytes.NewReader(whole[:end]))
		if err != nil {
			t.Fatalf("%d bytes: %v", end, err)
		}
		seen[len(l.Events)] = true
		if n := len(l.Events); n > 0 && !reflect.DeepEqual(l.Events, all.Events[:n]) {
			t.Errorf("%d bytes: the %d events are not the first of all", end, n)
		}
		if l.Torn == nil || !strings.Contains(l.Torn.Error(), fmt.Sprintf("byte %d: the file is cut short", end)) {
			t.Errorf("%d bytes: torn is %v", end, l.Torn)
		}
	}
	if len(seen) != len(all.Events)/2+1 {
		t.Errorf("histories of %v events, expected each number of requests up to %d", seen, len(all.Events)/2)
	}
}

// After each promise the file is a whole log of what is before it, as a kill would
// leave it.
func TestTheLogOfTheKernelsFormatIsWholeAtEachCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := NewDMWriter(f, nil)
	for n := range 20 {
		r := &devices.Request{Op: devices.OpWrite, Offset: uint64(n) * 512, Length: 512, Flags: devices.FUA}
		d.Begin(r)
		d.End(r, make([]byte, 512))
		if err := d.Commit(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := ReadDM(bytes.NewReader(b)); err != nil || l.Torn != nil || len(l.Events) != 2*(n+1) {
			t.Fatalf("after %d promises: %d events, %v, %v", n+1, len(l.Events), l.Torn, err)
		}
	}
}

// For data that was not promised the log has what a power cut left of it.
func TestTheLogOfTheKernelsFormatTellsWhatAPowerCutLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := NewDMWriter(f, nil)
	for n, flags := range []devices.Flags{0, devices.FUA, 0, 0} {
		r := &devices.Request{Op: devices.OpWrite, Offset: uint64(n) * 512, Length: 512, Flags: flags}
		d.Begin(r)
		if n < 3 { // the last one is in progress
			d.End(r, bytes.Repeat([]byte{1}, 512))
		}
	}
	d.Begin(&devices.Request{Op: devices.OpFlush})
	media := drive.NewMedia(drive.RealBytes)
	media.Write(0, 2048, drive.Content{Bytes: bytes.Repeat([]byte{10}, 2048)})
	d.Cut(Left{Media: media, Size: 1 << 20})
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path) // nobody has closed it
	if err != nil {
		t.Fatal(err)
	}
	lines, err := replay(b)
	want := "1+1 flags 2 data 1, 0+1 flags 0 data 1, 2+1 flags 0 data 1, 0+0 flags 8 power lost, " +
		"0+1 flags 0 data 10, 2+1 flags 0 data 10, 3+1 flags 0 data 10, 0+0 flags 8 power cut"
	if got := strings.Join(lines, ", "); got != want || err != nil {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

func FuzzReadDM(f *testing.F) {
	f.Add([]byte("rhswgfsj"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := ReadDM(bytes.NewReader(b)); err == nil {
			if err := l.Write(io.Discard); err != nil {
				t.Error(err)
			}
		}
	})
}
