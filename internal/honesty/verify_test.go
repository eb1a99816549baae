package honesty

import (
	"bytes"
	"strings"
	"testing"

	"nbdbench/devices"
)

// mixed is a unit of which the sectors are of these versions; -1 is damage.
func mixed(unit uint64, versions ...int) []byte {
	var b []byte
	for i := range sectors {
		v := versions[min(i, len(versions)-1)]
		x := encoded(unit, uint64(max(v, 0)))[i*sectorSize : (i+1)*sectorSize]
		if v < 0 {
			x = make([]byte, sectorSize)
		}
		b = append(b, x...)
	}
	return b
}

func TestAUnitMayHoldWhatWasPromisedOrIntended(t *testing.T) {
	for _, x := range []struct {
		name               string
		promised, intended uint64
		errno              devices.Errno
		holds              []int
		want               string // broken, torn, damaged, or the error
		found              string
	}{
		{"the promise", 5, 5, 0, []int{5}, "", ""},
		{"the intent", 5, 7, 0, []int{7}, "", ""},
		{"between them", 5, 7, 0, []int{6}, "", ""},
		{"never written", 0, 0, 0, []int{0}, "", ""},
		{"torn", 5, 6, 0, []int{5, 6}, "torn", ""},
		{"older", 5, 6, 0, []int{4}, "broken", "holds version 4"},
		{"partly older", 5, 5, 0, []int{5, 5, 5, 3}, "broken", "holds version 3"},
		{"damaged on its way", 5, 6, 0, []int{5, -1}, "damaged", ""},
		{"damaged at rest", 5, 5, 0, []int{5, -1}, "broken", "is damaged in sector 1"},
		{"older and damaged on its way", 5, 6, 0, []int{-1, 4}, "broken", "holds version 4"},
		{"unreadable at rest", 5, 5, devices.EIO, []int{5}, "broken", "is unreadable: EIO"},
		{"unreadable on its way", 5, 6, devices.EIO, []int{5}, "damaged", ""},
		{"the first version is gone", 0, 0, 0, []int{-1}, "broken", "is damaged in sector 0"},
		{"from the future", 5, 6, 0, []int{7}, "unit 2 holds version 7, and the record intends no more than 6", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := &session{start: start{session: testSession}, began: 10, last: 1000, units: make([]state, 4)}
			s.units[2] = state{x.promised, x.intended, 400, Flush, x.promised > 0}
			v := &Verdict{Methods: []*Kept{{Method: FUA}, {Method: Flush}}}
			err := v.judge(s, 2, mixed(2, x.holds...), x.errno)
			got := ""
			switch {
			case err != nil:
				got = err.Error()
			case v.Broken == 1:
				got = "broken"
			case v.Torn == 1:
				got = "torn"
			case v.InFlight == 1:
				got = "damaged"
			}
			if got != x.want && (x.want == "" || !strings.HasPrefix(got, x.want)) || v.Broken+v.Torn+v.InFlight > 1 {
				t.Fatalf("got %q, %+v", got, v)
			}
			if v.Broken == 1 {
				age := int64(600)
				if x.promised == 0 {
					age = 990 // since the session began
				}
				if b := v.First[0]; b.Found != x.found || b.AgeNS != age || b.Unit != 2 {
					t.Errorf("got %+v", b)
				}
			}
		})
	}
}

func TestTheVerdictIsPrinted(t *testing.T) {
	v := &Verdict{
		Device: "disk\x1b[2J", Units: 4, UnitSize: UnitSize, Broken: 1, Torn: 2, Methods: []*Kept{{Method: FUA, Promises: 9, Units: 1}, {Method: Flush, Promises: 5, Units: 2, Broken: 1, OldestNS: 2e6, YoungestNS: 1e6}},
		First: []Broken{{Unit: 3, Method: Flush, Promised: 5, Found: "holds version 3"}},
	}
	for name, print := range map[string]func(*Verdict, *bytes.Buffer) error{
		"text":     func(v *Verdict, b *bytes.Buffer) error { return v.Text(b) },
		"markdown": func(v *Verdict, b *bytes.Buffer) error { return v.Markdown(b) },
		"json":     func(v *Verdict, b *bytes.Buffer) error { return v.JSON(b) },
	} {
		var b bytes.Buffer
		if err := print(v, &b); err != nil {
			t.Fatal(err)
		}
		want := []string{"unit 3 was promised version 5 by flush and holds version 3", "2ms"}
		if name == "json" {
			want = []string{`"method": "flush"`, `"oldest_broken_ns": 2000000`}
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: expected %q in\n%s", name, w, b.String())
			}
		}
		if strings.ContainsRune(b.String(), 0x1b) {
			t.Errorf("%s: a terminal would obey\n%q", name, b.String())
		}
	}
}
