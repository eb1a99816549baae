package history

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"nbdbench/devices"
	"nbdbench/sim"
)

const logText = Version + `
S	1	0	3	2	9	write	1	4096	4096	7
S	2	1000	0	0	0	flush	0	0	0	0
D	3	1500	2	OK
D	5	1500	1	EIO
C	6	1600
`

var logEvents = []Event{
	{Seq: 1, Op: devices.OpWrite, Flags: devices.FUA, Conn: 3, Stream: 2, Txn: 9, Offset: 4096, Length: 4096, Stamp: 7},
	{Seq: 2, Time: 1000, Op: devices.OpFlush},
	{Seq: 3, Of: 2, Time: 1500, Kind: Done, Op: devices.OpFlush},
	{Seq: 5, Of: 1, Time: 1500, Kind: Done, Op: devices.OpWrite, Flags: devices.FUA, Conn: 3, Stream: 2, Txn: 9, Offset: 4096, Length: 4096, Stamp: 7, Errno: devices.EIO},
	{Seq: 6, Time: 1600, Kind: PowerCut},
}

func TestLogTextIsAsDocumented(t *testing.T) {
	var out strings.Builder
	if err := (&Log{Events: logEvents}).Write(&out); err != nil || out.String() != logText {
		t.Errorf("wrote %q, %v", out.String(), err)
	}
	l, err := Read(strings.NewReader(logText))
	if err != nil || !reflect.DeepEqual(l.Events, logEvents) {
		t.Errorf("read %+v, %v", l, err)
	}
}

func TestLogRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &story{t: t, conns: 3, unstamped: true, cuts: true}
		want := &Log{Events: []Event{}}
		for range rapid.IntRange(0, 30).Draw(t, "events") {
			e := s.next()
			want.Observe(&e)
		}
		var file bytes.Buffer
		if err := want.Write(&file); err != nil {
			t.Fatal(err)
		}
		got, err := Read(&file)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Events) != len(want.Events) || (len(got.Events) > 0 && !reflect.DeepEqual(got.Events, want.Events)) {
			t.Fatalf("got %v, want %v", got.Events, want.Events)
		}
	})
}

func TestLogErrorsNameTheLine(t *testing.T) {
	head := Version + "\nS\t1\t10\t0\t0\t0\twrite\t0\t0\t512\t1\n"
	cases := []struct{ name, text, want string }{
		{"empty", "", `line 1: the first line must be "nbdbench/history/v1", got ""`},
		{"another version", "nbdbench/history/v2\n", `line 1: the first line must be "nbdbench/history/v1", got "nbdbench/history/v2"`},
		{"cut short in its first line", Version, "line 1: cut short after 19 bytes"},
		{"an empty line", head + "\n", `line 3: "" is neither S nor D nor C`},
		{"an unknown kind", head + "X\t2\n", `line 3: "X" is neither S nor D nor C`},
		{"too few fields", head + "D\t2\t10\t1\n", "line 3: a completion has 5 fields, got 4"},
		{"too many fields", head + "S\t2\t10\t0\t0\t0\tread\t0\t0\t512\t1\t\n", "line 3: a submit has 11 fields, got 12"},
		{"not a number", head + "D\t2\t1x\t1\tOK\n", `line 3: time "1x" is not a number of 63 bits`},
		{"a negative time", head + "D\t2\t-1\t1\tOK\n", `line 3: time "-1" is not a number of 63 bits`},
		{"an unknown op", head + "S\t2\t10\t0\t0\t0\tresize\t0\t0\t512\t0\n", `line 3: op "resize" is unknown`},
		{"an unknown errno", head + "D\t2\t10\t1\tEFOO\n", `line 3: errno "EFOO" is unknown`},
		{"past the end", head + "S\t2\t10\t0\t0\t0\tread\t0\t9223372036854775808\t512\t0\n", "line 3: offset 9223372036854775808 and length 512 end past 2^63"},
		{"a stamp too large", head + "S\t2\t10\t0\t0\t0\twrite\t0\t0\t512\t268435457\n", "line 3: stamp 268435457 is above 268435456"},
		{"a completion of nothing", head + "D\t2\t10\t7\tOK\n", "line 3: a completion of 7, which is not in progress"},
		{"a second completion", head + "D\t2\t10\t1\tOK\nD\t3\t10\t1\tOK\n", "line 4: a completion of 1, which is not in progress"},
		{"a completion after a power cut", head + "C\t2\t10\nD\t3\t10\t1\tOK\n", "line 4: a completion of 1, which is not in progress"},
		{"a power cut of too many fields", head + "C\t2\t10\t1\n", "line 3: a power cut has 3 fields, got 4"},
		{"seq falls", head + "D\t1\t10\t1\tOK\n", "line 3: seq 1 comes after 1"},
		{"time falls", head + "D\t2\t9\t1\tOK\n", "line 3: time 9 comes after 10"},
		{"a long line", head + "S" + strings.Repeat("\t0", 200) + "\n", "line 3: longer than 256 bytes"},
		{"an endless line", head + strings.Repeat("S", 1<<17), "line 3: longer than 256 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.text))
			var f *FormatError
			if !errors.As(err, &f) || err.Error() != "history: "+c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Wherever a kill has cut the file, what is before the last line is the history.
func TestALogThatWasCutShortIsReadUpToThere(t *testing.T) {
	whole, err := Read(strings.NewReader(logText))
	if err != nil || whole.Torn != nil {
		t.Fatal(err, whole.Torn)
	}
	torn := 0
	for end := len(Version) + 1; end <= len(logText); end++ {
		text := logText[:end]
		l, err := Read(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%d bytes: %v", end, err)
		}
		lines := strings.Count(text, "\n")
		if n := lines - 1; len(l.Events) != n || n > 0 && !reflect.DeepEqual(l.Events, whole.Events[:n]) {
			t.Errorf("%d bytes: %d events, expected the first %d", end, len(l.Events), n)
		}
		rest := text[strings.LastIndex(text, "\n")+1:]
		want := ""
		if rest != "" {
			torn++
			want = fmt.Sprintf("history: line %d: cut short after %d bytes", lines+1, len(rest))
		}
		if got := fmt.Sprint(l.Torn); got != want && (want != "" || l.Torn != nil) {
			t.Errorf("%d bytes: torn is %q, want %q", end, got, want)
		}
	}
	if torn == 0 {
		t.Error("no text was cut within a line")
	}
}

func TestLogPassesOnTheReadersError(t *testing.T) {
	if _, err := Read(iotest.ErrReader(devices.EIO)); !errors.Is(err, devices.EIO) {
		t.Errorf("got %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, devices.ENOSPC }

func TestLogPassesOnTheWritersError(t *testing.T) {
	l := &Log{Events: make([]Event, 1000)}
	if err := l.Write(full{}); !errors.Is(err, devices.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

func TestOracleIsTheJudgeWhoSawTheLog(t *testing.T) {
	info := devices.Info{MultiConn: true}
	log := new(Log)
	for i, e := range []Event{
		{Op: devices.OpWrite, Length: 4096, Stamp: 1, Flags: devices.FUA},
		{Op: devices.OpWrite, Length: 4096, Stamp: 1, Flags: devices.FUA, Kind: Done, Of: 1},
		{Op: devices.OpWrite, Length: 4096, Stamp: 2, Flags: devices.FUA},
		{Op: devices.OpWrite, Length: 4096, Stamp: 2, Flags: devices.FUA, Kind: Done, Of: 3},
	} {
		e.Seq, e.Time = uint64(i+1), sim.Time(10*i)
		log.Observe(&e)
	}
	for _, c := range []struct {
		until sim.Time
		floor uint64
	}{{0, 0}, {9, 0}, {10, 1}, {29, 1}, {30, 3}, {99, 3}} {
		if got := Oracle(log.Until(c.until), info).Floor(0); got != c.floor {
			t.Errorf("until %v: floor %d, want %d", c.until, got, c.floor)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(logText))
	f.Add([]byte(Version + "\n"))
	f.Add([]byte(Version + "\nS\t1\t0\t0\t0\t0\ttrim\t0\t0\t1099511627776\t0\nD\t2\t0\t1\tOK\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Read(bytes.NewReader(data))
		if err != nil {
			var f *FormatError
			if !errors.As(err, &f) || f.Line < 1 {
				t.Fatalf("%v is not an error with a line", err)
			}
			return
		}
		var file bytes.Buffer
		if err := l.Write(&file); err != nil {
			t.Fatal(err)
		}
		again, err := Read(&file)
		if err != nil || !reflect.DeepEqual(again.Events, l.Events) || again.Torn != nil {
			t.Fatalf("read again: %v, %v; want %v", again, err, l)
		}
	})
}

// Oracle returns the judge of a device with the given properties who has seen
// the whole log.
func Oracle(l *Log, info devices.Info) *Judge {
	j := NewJudge(info)
	for i := range l.Events {
		j.Observe(&l.Events[i])
	}
	return j
}
