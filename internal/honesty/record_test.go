package honesty

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"nbdbench/internal/conf"
)

func record(lines ...string) string { return recordHeader + "\n" + strings.Join(lines, "\n") + "\n" }

const started = "100 start 0123456789abcdef 4 512 /dev/nvme1n1"

func TestARecordIsRead(t *testing.T) {
	text := record("50 start 00000000000000aa 2 512 disk", "60 intent 1 1", started,
		"110 intent 2 1", "111 intent 3 5", "120 promise 2 1 fua", "130 intent 2 2", "140 promise 3 5 flush") + "150 intent 3 6" // cut off
	s, err := readRecord("r", lines(strings.NewReader(text)), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []state{{}, {}, {1, 2, 120, FUA, true}, {5, 5, 140, Flush, true}}
	if s.session != testSession || s.device != "/dev/nvme1n1" || s.intents != 3 || s.promises != [methods]uint64{1, 1} || s.began != 100 || s.last != 140 || s.stopped ||
		fmt.Sprint(s.units) != fmt.Sprint(want) {
		t.Errorf("got %+v", s)
	}
	if s, err := readRecord("r", lines(strings.NewReader(text)), 0xaa); err != nil || s.device != "disk" || s.units[1].intended != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err := readRecord("r", lines(strings.NewReader(text)), 0xbb); err != nil || s != nil {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestWhatIsWrongWithARecordIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		"":                                                    "", // as after a listener that has only begun
		"hello\n":                                             `r:1:1: expected "nbdbench-honesty-record 1"`,
		record("x start"):                                     "r:2:1: expected a time in nanoseconds",
		record("-1 stop"):                                     "r:2:1: expected a time in nanoseconds",
		record("1 pledge 1 1"):                                "r:2:3: expected start, intent, promise or stop",
		record("1 start 12 4 512 d"):                          "r:2:9: expected 16 hexadecimal digits",
		record(started[:26] + " 0 512 d"):                     "r:2:28: expected 1 to 1048576 units",
		record(started[:26] + " 4 4096 d"):                    "r:2:30: expected sectors of 512 bytes",
		record(started, "2 intent x 1"):                       "r:3:10: expected a number up to",
		record(started, "2 intent 1"):                         "r:3:11: expected a number, got the end of the line",
		record(started, "2 intent 1 1 fua"):                   "r:3:14: expected 2 words after intent, got 3",
		record(started, "2 intent 4 1"):                       "r:3:1: expected a unit below 4, got 4",
		record(started, "2 intent 1 1", "3 intent 1 1"):       "r:4:1: expected a version above 1, got 1",
		record(started, "2 promise 1 1 fua"):                  "r:3:1: expected a version above 0 and up to 0, which was intended, got 1",
		record(started, "2 intent 1 1", "3 promise 1 1 sync"): "r:4:15: expected fua or flush",
		record(started, "2 intent 1 1", "3 promise 1 1"):      "r:4:14: expected 3 words after promise, got 2",
		record(started, "2 stop now"):                         "r:3:8: expected the end of the line",
		record(started, "2 intent 1 1", "3 promise 1 1 fua", "4 promise 1 1 fua"): "r:5:1: expected a version above 1",
		record(strings.Repeat("1", MaxLine)):                                      "r:2:1: expected lines of at most 512 bytes",
	} {
		_, err := readRecord("r", lines(strings.NewReader(text)), 0)
		var c *conf.Error
		if want == "" && err == nil {
			continue
		}
		if !errors.As(err, &c) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.80q:\ngot      %v\nexpected %s", text, err, want)
		}
	}
}

// FuzzRecord: whatever a record has, it is read or refused, and what is read says no more
// than what was intended.
func FuzzRecord(f *testing.F) {
	f.Add(record(started, "2 intent 1 1", "3 promise 1 1 fua", "4 stop"))
	f.Add(record("1 start 00000000000000aa 1048576 512 disk\x1b[2J"))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readRecord("r", lines(strings.NewReader(text)), 0)
		if err != nil {
			if strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("a terminal would obey %q", err)
			}
			return
		}
		if s == nil {
			return
		}
		for i, u := range s.units {
			if u.promised > u.intended {
				t.Fatalf("unit %d is promised version %d and intended %d", i, u.promised, u.intended)
			}
		}
	})
}
