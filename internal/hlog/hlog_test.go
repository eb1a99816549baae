package hlog

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// write is a log of one histogram under tag, as the library writes it.
func write(t testing.TB, tag string, values ...int64) string {
	t.Helper()
	h := hdrhistogram.New(1, 3600e9, 3)
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	h.SetTag(tag)
	var b bytes.Buffer
	log := hdrhistogram.NewHistogramLogWriter(&b)
	if err := log.OutputLegend(); err != nil {
		t.Fatal(err)
	}
	if err := log.OutputIntervalHistogram(h); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWhatTheLibraryWroteIsRead(t *testing.T) {
	got, err := Decode(strings.NewReader("#[a comment]\n" + write(t, "a/b/0/read", 7, 7, 100) + write(t, "a/b/1/flush", 5000)))
	if err != nil {
		t.Fatal(err)
	}
	want := []Histogram{
		{"a/b/0/read", []Bucket{{7, 7, 2}, {100, 100, 1}}},
		{"a/b/1/flush", []Bucket{{5000, 5003, 1}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWhatIsNoHistogramIsAnErrorOfItsLine(t *testing.T) {
	good := write(t, "a/0/read", 7)
	for name, c := range map[string]struct{ text, want string }{
		"a word":      {good + "nonsense\n", "line 3: expected Tag="},
		"truncated":   {strings.TrimRight(good, "\n")[:len(good)-12] + "\n", "line 2: expected Tag="},
		"not base64":  {"Tag=a,0.0,0.0,0.0,%%%%\n", "line 1: expected Tag="},
		"the same":    {good + good, "line 4: tag a/0/read: expected each once"},
		"a long line": {strings.Repeat("x", MaxLine+1), "line 1: bufio.Scanner: token too long"},
	} {
		if _, err := Decode(strings.NewReader(c.text)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestATagComesApartAsItWasPutTogether(t *testing.T) {
	tag := Tag("my, drive/sync-4k/none", 11, "flush")
	cell, run, op, ok := Split(tag)
	if tag != "my__drive/sync-4k/none/11/flush" || cell != Clean("my, drive/sync-4k/none") || run != 11 || op != "flush" || !ok {
		t.Errorf("%s: %s, %d, %s, %v", tag, cell, run, op, ok)
	}
	for _, bad := range []string{"", "read", "0/read", "a/read", "a/x/read", "a/-1/read"} {
		if _, _, _, ok := Split(bad); ok {
			t.Errorf("%q came apart", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(write(f, "a/0/read", 7, 9000))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		_, _ = Decode(strings.NewReader(text)) // and does not panic
	})
}
