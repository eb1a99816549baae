package trace

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// imported reads a trace and what its store then has.
func imported(t *testing.T, text string, o Options) ([]Record, *Summary) {
	t.Helper()
	records, sum, err := roundTrip(text, o)
	if err != nil {
		t.Fatal(err)
	}
	return records, sum
}

func roundTrip(text string, o Options) (out []Record, sum *Summary, err error) {
	var store bytes.Buffer
	w := NewWriter(&store)
	if sum, err = Import(w, strings.NewReader(text), o); err != nil {
		return nil, nil, err
	}
	if err := w.Close(); err != nil {
		return nil, nil, err
	}
	out, err = readAll(&store)
	return out, sum, err
}

func readAll(r io.Reader) (out []Record, err error) {
	s, err := NewReader(r)
	for err == nil {
		var x Record
		if x, err = s.Next(); err == nil {
			out = append(out, x)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return out, err
}

// lines prints records for comparison: microseconds, operation, offset, length.
func lines(records []Record) string {
	var b strings.Builder
	for _, r := range records {
		name := r.Op.String()
		if r.FUA {
			name += "+fua"
		}
		fmt.Fprintf(&b, "%d %s %d %d\n", r.At.Microseconds(), name, r.Offset, r.Length)
	}
	return b.String()
}

const blktrace = `  8,0    3        1     0.000000000   697  G   W 223490 + 8 [kjournald]
  8,0    3        2     0.000001829   697  Q   W 223490 + 8 [kjournald]
  8,0    1        1     0.000101829   697  Q  WS 223498 + 8 [kjournald]
  8,0    3        3     0.000051829   697  Q   R 0 + 256 [cat]
  8,0    3        3     0.000201829   697  Q FWFS 223506 + 8 [jbd2/sda1]
  8,0    3        4     0.000300000     0  C  FN 0 [0]
  8,0    3        4     0.000300000   697  Q FWS [jbd2/sda1]
  8,0    3        5     0.000400000   697  Q  WFS 16 + 1 [x]
  8,0    3        5     0.000500000   697  Q  DS 4096 + 2048 [fstrim]
  8,0    3        5     0.000500000   697  Q  N 0 [0]
  8,0    3        5     0.000500000   697  P  N [x]
  8,0    3        6     0.000600000   697  Q  FN [sync]

CPU0 (8,0):
 Reads Queued:           0,        0KiB
`

func TestBlkparse(t *testing.T) {
	got, sum := imported(t, blktrace, Options{Format: "blkparse"})
	want := `0 write 114426880 4096
50 read 0 131072
100 write 114430976 4096
200 flush 0 0
200 write+fua 114435072 4096
298 flush 0 0
398 write+fua 8192 512
498 trim 2097152 1048576
598 flush 0 0
`
	if lines(got) != want {
		t.Errorf("got\n%s\nwant\n%s", lines(got), want)
	}
	if sum.Late != 1 || sum.FUA != 2 || sum.Skipped != 5 {
		t.Errorf("got %+v", sum)
	}
	got, _ = imported(t, blktrace, Options{Format: "blkparse", Action: "C"})
	if want := "0 flush 0 0\n"; lines(got) != want {
		t.Errorf("of C: got %s, want %s", lines(got), want)
	}
}

func TestIologVersions(t *testing.T) {
	const v3 = "fio version 3 iolog\n302 f add\n1027 f open\n1046 f write 0 4096\n1967 f write 8192 4096\n8284 f sync 8192 0\n10028 f close\n"
	got, _ := imported(t, v3, Options{Format: "iolog"})
	if want := "0 write 0 4096\n921 write 8192 4096\n7238 flush 0 0\n"; lines(got) != want {
		t.Errorf("version 3: got\n%s\nwant\n%s", lines(got), want)
	}
	const v2 = "fio version 2 iolog\nf add\nf open\nf wait 100 0\nf write 0 4096\nf wait 500 0\nf read 4096 512\nf datasync 0 0\nf trim 0 4096\nf close\n"
	got, _ = imported(t, v2, Options{Format: "iolog", Durable: Durable{All: true}})
	if want := "0 write+fua 0 4096\n500 read 4096 512\n500 flush 0 0\n500 trim 0 4096\n"; lines(got) != want {
		t.Errorf("version 2: got\n%s\nwant\n%s", lines(got), want)
	}
}

// The lines are those of nbdkit 1.32.5 under qemu-io.
func TestNbdkitLog(t *testing.T) {
	const log = `2026-11-28 06:16:51.804929 Fork
2026-11-28 06:16:51.920881 connection=1 Connect export="" tls=0 size=0x100000 write=1 flush=1
2026-11-28 06:16:51.925921 connection=1 Write id=1 offset=0x0 count=0x1000 fua=1 ...
2026-11-28 06:16:51.926346 connection=1 ...Write id=1 return=0
2026-11-28 06:16:51.927097 connection=2 Read id=3 offset=0x0 count=0x1000 ...
2026-11-28 06:16:51.927304 connection=1 Flush id=4 ...
2026-11-28 06:16:51.927564 connection=1 Trim id=5 offset=0x0 count=0x1000 fua=0 ...
2026-11-28 06:16:51.927717 connection=1 Zero id=6 offset=0x1000 count=0x1000 trim=0 fua=1 fast=0 ...
2026-11-28 06:16:51.953180 connection=1 Disconnect transactions=7
`
	got, _ := imported(t, log, Options{Format: "nbdkit-log"})
	want := "0 write+fua 0 4096\n1176 read 0 4096\n1383 flush 0 0\n1643 trim 0 4096\n1796 write_zeroes+fua 4096 4096\n"
	if lines(got) != want {
		t.Errorf("got\n%s\nwant\n%s", lines(got), want)
	}
	got, _ = imported(t, log, Options{Format: "nbdkit-log", Source: "2"})
	if want := "0 read 0 4096\n"; lines(got) != want {
		t.Errorf("of connection 2: got %s, want %s", lines(got), want)
	}
}

func TestPublishedLayouts(t *testing.T) {
	for _, c := range []struct{ layout, text, want string }{
		{"msr", "128166372003061629,hm,0,Read,383496192,32768,1331\n128166372013061629,hm,0,Write,4096,512,9\n", "0 read 383496192 32768\n1000000 write+fua 4096 512\n"},
		{"alibaba", "419,W,8192,4096,1577808000000046\n419,R,0,512,1577808000000146\n", "0 write+fua 8192 4096\n100 read 0 512\n"},
		{"tencent", "1538323200,16,8,1,1063\n1538323201,0,1,0,1063\n", "0 write+fua 8192 4096\n1000000 read 0 512\n"},
		{"systor", "Timestamp,Response,IOType,LUN,Offset,Size\n1455592200.5,0.0001,W,0,4096,512\n1455592200.6,,R,0,0,1024\n", "0 write+fua 4096 512\n100000 read 0 1024\n"},
	} {
		got, _ := imported(t, c.text, Options{Format: c.layout, Durable: Durable{All: true}})
		if lines(got) != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.layout, lines(got), c.want)
		}
	}
}

func TestEveryNthWriteIsFollowedByAFlush(t *testing.T) {
	got, _ := imported(t, "1,W,0,512,1\n1,W,512,512,2\n1,R,0,512,3\n1,W,0,512,4\n", Options{Format: "alibaba", Durable: Durable{Every: 2}})
	if want := "0 write 0 512\n1 write 512 512\n1 flush 0 0\n2 read 0 512\n3 write 0 512\n"; lines(got) != want {
		t.Errorf("got\n%s\nwant\n%s", lines(got), want)
	}
}

func TestMalformedLinesSayWhere(t *testing.T) {
	for _, c := range []struct{ format, text, want string }{
		{"blkparse", "8,0 3 1 0.0 1 Q W 1 + 8 [a]\nhello\n", `t:2:1: expected MAJOR,MINOR, got "hello"`},
		{"blkparse", "  8,0 x 1 0.0 1 Q W 1 + 8 [a]\n", `t:1:7: expected a CPU, got "x"`},
		{"blkparse", "8,0 3 1 0,0 1 Q W 1 + 8 [a]\n", `t:1:9: expected a time in seconds, got "0,0"`},
		{"blkparse", "8,0 3 1 0.0 1 Q X 1 + 8 [a]\n", `t:1:17: expected an operation such as R, W, D or FN, got "X"`},
		{"blkparse", "8,0 3 1 0.0 1 Q W 1 - 8 [a]\n", `t:1:21: expected + COUNT, got "-"`},
		{"blkparse", "8,0 3 1 0.0 1 Q W 1 + 8 [a]\n8,16 3 1 0.0 1 Q W 1 + 8 [a]\n", `t:2:1: expected one source, or --source to choose: got "8,16" after "8,0"`},
		{"blkparse", "8,0 3 1 0.0 1 D W 1 + 8 [a]\n", `t: expected at least one request, got 1 lines without any`},
		{"iolog", "hello\n", `t:1:1: expected fio version 2 iolog, or 3, got "hello"`},
		{"iolog", "fio version 3 iolog\n1 f write 0\n", `t:2:12: expected a length in bytes, got ""`},
		{"iolog", "fio version 3 iolog\n1 f sing 0 1\n", `t:2:5: expected add, open, close`},
		{"nbdkit-log", "2026-11-28 06:16 x\n", `t:1:1: expected a date and a time`},
		{"nbdkit-log", "2026-11-28 06:16:51.1 connection=1 Write id=1 offset=7 count=0x1 fua=0 ...\n", `t:1:47: expected a number in hexadecimal`},
		{"msr", "128166372003061629,hm,0,Read,383496192\n", `t:1:39: expected 7 fields`},
		{"alibaba", "1,W,0,512,1\n1,Q,0,512,2\n", `t:2:3: expected r or w, got "Q"`},
		{"tencent", "1,2,3,1,4,5\n", `t:1:11: expected 5 fields, got more`},
		{"systor", "1.x,0,W,0,0,512\n", `t:1:1: expected a time, got "1.x"`},
		{"alibaba", strings.Repeat("1", MaxLine+1), `t:1:1: expected a line of at most 4096 bytes`},
	} {
		_, _, err := roundTrip(c.text, Options{Format: c.format, File: "t"})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s, %q:\ngot  %v\nwant %s", c.format, c.text[:min(len(c.text), 60)], err, c.want)
		}
	}
}

func TestAStoreThatWasCutShortIsKnown(t *testing.T) {
	var store bytes.Buffer
	w := NewWriter(&store)
	for i := range 100 {
		if err := w.Write(Record{Offset: uint64(i * 7919 * 512), Length: 512, Op: Write}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for n := range store.Len() {
		if _, err := readAll(bytes.NewReader(store.Bytes()[:n])); err == nil {
			t.Errorf("%d of %d bytes were read as a whole store", n, store.Len())
		}
	}
}

// FuzzImport looks for a line that panics, and for a store that does not hold what
// was imported.
func FuzzImport(f *testing.F) {
	formats := []string{"blkparse", "iolog", "nbdkit-log", "msr", "alibaba", "tencent", "systor"}
	f.Add(0, blktrace)
	f.Add(1, "fio version 2 iolog\nf wait 100 0\nf write 0 4096\n")
	f.Add(2, "2026-11-28 06:16:51.925921 connection=1 Write id=1 offset=0x0 count=0x1000 fua=1 ...\n")
	f.Add(3, "128166372003061629,hm,0,Read,383496192,32768,1331\n")
	f.Add(4, "419,W,8192,4096,1577808000000046\n")
	f.Add(5, "1538323200,16,8,1,1063\n")
	f.Add(6, "1455592200.5,0.0001,W,0,4096,512\n")
	f.Fuzz(func(t *testing.T, n int, text string) {
		if n < 0 || n >= len(formats) {
			return
		}
		records, sum, err := roundTrip(text, Options{Format: formats[n], File: "t"})
		if err != nil {
			return
		}
		if uint64(len(records)) != sum.Records {
			t.Fatalf("%d records of %d are in the store", len(records), sum.Records)
		}
		again, err := rewrite(records)
		if err != nil || lines(again) != lines(records) {
			t.Fatalf("written again: %v", err)
		}
	})
}

// FuzzStore looks for a store that panics.
func FuzzStore(f *testing.F) {
	var store bytes.Buffer
	w := NewWriter(&store)
	w.Write(Record{Offset: 4096, Length: 512, Op: Write, FUA: true})
	w.Close()
	f.Add(store.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := readAll(bytes.NewReader(data))
		if err != nil {
			return
		}
		if again, err := rewrite(records); err != nil || lines(again) != lines(records) {
			t.Fatalf("written again: %v", err)
		}
	})
}

func rewrite(records []Record) ([]Record, error) {
	var store bytes.Buffer
	w := NewWriter(&store)
	for _, r := range records {
		if err := w.Write(r); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return readAll(&store)
}

// endless is a blkparse of so many lines.
type endless struct {
	n, lines int
	rest     []byte
	buf      []byte
}

func (e *endless) Read(p []byte) (int, error) {
	for len(e.rest) < 4096 && e.n < e.lines {
		e.n++
		e.buf = fmt.Appendf(e.buf[:0], "  8,0    %d %8d %5d.%09d %5d  Q  WS %d + 8 [fio]\n", e.n%4, e.n, e.n/100000, e.n%100000*10000, 4711, uint64(e.n)*7919%1000000*8)
		e.rest = append(e.rest, e.buf...)
	}
	if len(e.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, e.rest)
	e.rest = append(e.rest[:0], e.rest[n:]...)
	return n, nil
}

// BenchmarkBlkparse imports a line in each round. go test -bench Blkparse
// -benchtime 10000000x is ten million lines.
func BenchmarkBlkparse(b *testing.B) {
	text, err := io.ReadAll(&endless{lines: min(b.N, 100_000)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= 100_000 {
		w := NewWriter(io.Discard)
		if _, err := Import(w, bytes.NewReader(text), Options{Format: "blkparse"}); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// Memory does not grow with the trace: a million lines take no more allocations than
// a fraction of them.
func TestMemoryIsBounded(t *testing.T) {
	allocs := func(lines int) float64 {
		text, err := io.ReadAll(&endless{lines: lines})
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(1, func() {
			if _, err := Import(NewWriter(io.Discard), bytes.NewReader(text), Options{Format: "blkparse"}); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocs(2*Window), allocs(8*Window)
	if many > few+100 {
		t.Errorf("%v allocations for %d lines, %v for %d", few, 2*Window, many, 8*Window)
	}
}
