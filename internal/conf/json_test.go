package conf

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"nbdbench/internal/units"
)

func TestJSONIsReadAsItWas(t *testing.T) {
	want := sample{
		Common: Common{Source: "a \"quoted\" \\ text: [with] {all}, # of - it\nand a second line \u2028 \x01 <&> é"},
		Name:   "1e3", Depth: 255, Shift: -7, Ratio: 0.1, Sync: true,
		Size: 3 << 20, Think: 15 * time.Microsecond, Latency: units.Duration(time.Hour), Tags: []string{"a", "true", "2"},
		Regions: map[string]units.Size{"b": 512, "a": 100e9, "c.d": 0},
		Inner:   &inner{Steps: []step{{Size: 4096}, {}}},
	}
	text, err := JSON(want)
	if err != nil || !json.Valid(text) {
		t.Fatalf("%s: %v", text, err)
	}
	var got sample
	if err := Decode("x.json", text, &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v\nfrom\n%s", got, want, text)
	}
}

func TestJSONHasZerosAndNothingEmpty(t *testing.T) {
	text, err := JSON(sample{})
	want := `{"depth":0,"shift":0,"ratio":0,"sync":false,"size":"0","think":"0s","latency":"0s"}`
	if err != nil || string(text) != want {
		t.Errorf("got %s, want %s: %v", text, want, err)
	}
}

func TestErrorsInAPartOfAFileNameThePlaceInTheFile(t *testing.T) {
	file := "{\n \"devices\": {\n  \"d\": {\"profile\": {\"depth\": 300,\n   \"ratio\": \"x\", \"odd\": 1}}\n }\n}\n"
	start := strings.Index(file, `{"depth"`)
	part := file[start : strings.Index(file, "1}}")+2]
	within := Within{File: "run.json", Line: 3, Column: 20, Path: "devices.d.profile"}
	for _, c := range []struct{ cut, want string }{
		{"", `run.json:3:30: devices.d.profile.depth: expected a whole number from 0 to 255, got "300"`},
		{"300", `run.json:4:13: devices.d.profile.ratio: expected a number, got "x"`},
		{"x", `run.json:4:18: unknown key "odd"`},
	} {
		text := part
		for _, bad := range []string{"300", `"x"`} {
			if c.cut != "" && (bad == "300" || c.cut == "x") {
				text = strings.Replace(text, bad, strings.Repeat("0", len(bad)), 1)
			}
		}
		doc, err := ParseWithin(within, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var s sample
		err = doc.Decode(&s)
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	doc, err := ParseWithin(within, []byte(part))
	if err != nil {
		t.Fatal(err)
	}
	if line, column := doc.Pos("nowhere"); line != 3 || column != 20 {
		t.Errorf("what is not there is at %d:%d", line, column)
	}
}
