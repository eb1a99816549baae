package conf

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"nbdbench/internal/units"
)

func nested() sample {
	return sample{
		Common: Common{Source: "a"}, Depth: 3, Think: time.Second,
		Regions: map[string]units.Size{"wal": 4096, "data": 512},
		Inner:   &inner{Steps: []step{{Size: 512}, {Size: 1024}}, Note: "n"},
	}
}

func TestSetChangesOneValueAndNothingThatIsShared(t *testing.T) {
	base := nested()
	for _, c := range []struct {
		path, text string
		want       any
	}{
		{"source", "b", "b"},
		{"depth", "7", uint8(7)},
		{"think", "15us", 15 * time.Microsecond},
		{"inner.steps[1].size", "64k", units.Size(64 << 10)},
		{"inner.note", "other", "other"},
		{"regions.wal", "1GiB", units.Size(1 << 30)},
		{"sync", "true", true},
		{"ratio", "0.5", 0.5},
	} {
		got := base
		if err := Set(&got, c.path, c.text); err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		if v, err := Get(got, c.path); err != nil || v != c.want {
			t.Errorf("%s: got %v, want %v: %v", c.path, v, c.want, err)
		}
		if !reflect.DeepEqual(base, nested()) {
			t.Fatalf("%s: what it was made of changed: %+v", c.path, base)
		}
	}
}

func TestSetRefusesWhatIsNotThere(t *testing.T) {
	for path, want := range map[string]string{
		"nothing":             `unknown key "nothing", expected source, name`,
		"inner.steps[2].size": `expected one of 2 entries, from [0] on, got "[2]"`,
		"inner.steps.size":    `expected one of 2 entries, from [0] on, got "size"`,
		"inner.steps[x].size": `got "[x]"`,
		"inner.steps[-1]":     `got "[-1]"`,
		"regions.log":         `expected data or wal, got "log"`,
		"depth.more":          "this is a single value",
		"depth[0]":            "this is a single value",
		"":                    `unknown key ""`,
		"secret":              "unknown key",
		"inner.steps[0]":      "expected a mapping",
		"tags":                "expected a list",
	} {
		base := nested()
		err := Set(&base, path, "1")
		var field *FieldError
		if !errors.As(err, &field) || field.Path != path || !strings.Contains(field.Msg, want) {
			t.Errorf("%q: %v, want %q there", path, err, want)
		}
	}
	empty := sample{}
	if err := Set(&empty, "inner.note", "x"); err == nil || !strings.Contains(err.Error(), `there is no "inner" here`) {
		t.Errorf("below a pointer to nothing: %v", err)
	}
}

func TestSetRefusesValuesOfAnotherType(t *testing.T) {
	for _, c := range [][3]string{
		{"depth", "many", "expected a whole number from 0 to 255"},
		{"depth", "256", "expected a whole number from 0 to 255"},
		{"think", "5", "expected a duration"},
		{"sync", "yes", "expected true or false"},
		{"inner.note", "{a: b}", "expected a single value"},
		{"inner.note", "[a", "expected text"},
		{"inner.note", "", "expected a single value"},
		{"inner.note", "&a b", "expected text"},
	} {
		base := nested()
		if err := Set(&base, c[0], c[1]); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s = %q: %v, want %q", c[0], c[1], err, c[2])
		}
	}
}

func TestEachKeepsTheOrderOfTheDocument(t *testing.T) {
	doc, err := Parse("x.yaml", []byte("inner: {note: x}\nb: [1, 2]\na: c\n"))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	var walk func(key string, n Node) error
	walk = func(key string, n Node) error {
		seen = append(seen, key+"@"+n.Path())
		return n.Each(walk)
	}
	if err := walk("", Node{doc, "", doc.root}); err != nil {
		t.Fatal(err)
	}
	want := "@ inner@inner note@inner.note b@b @b[0] @b[1] a@a"
	if got := strings.Join(seen, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	stop := errors.New("stop")
	if err := (Node{doc, "", doc.root}).Each(func(string, Node) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want what the visitor returned", err)
	}
}

func TestAnEmptyKeyIsNoHiddenField(t *testing.T) {
	err := Decode("x.yaml", []byte("\"\": 5\n"), new(sample))
	if err == nil || !strings.Contains(err.Error(), `x.yaml:1:1: unknown key ""`) {
		t.Errorf("got %v, want the key refused", err)
	}
}
