package conf

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"nbdbench/internal/units"
)

// ref is a plan's entry that has two spellings: a name alone, or a mapping.
type ref struct {
	Name  string `yaml:"name"`
	Depth uint32 `yaml:"queue_depth"`
}

func (r *ref) UnmarshalNode(n Node) error {
	switch n.Kind() {
	case Scalar:
		return n.Decode(&r.Name)
	case Mapping:
		type plain ref
		return n.Decode((*plain)(r))
	}
	return fmt.Errorf("expected a name or a mapping, got %v", n.Kind())
}

type sample struct {
	Common    `yaml:",inline"`
	Name      string                `yaml:"name"`
	Depth     uint8                 `yaml:"depth"`
	Shift     int                   `yaml:"shift"`
	Ratio     float64               `yaml:"ratio"`
	Sync      bool                  `yaml:"sync"`
	Size      units.Size            `yaml:"size"`
	Think     time.Duration         `yaml:"think"`
	Latency   units.Duration        `yaml:"latency"`
	Tags      []string              `yaml:"tags"`
	Regions   map[string]units.Size `yaml:"regions"`
	Workloads []ref                 `yaml:"workloads"`
	Inner     *inner                `yaml:"inner"`
	Secret    int                   `yaml:"-"`
}

// Common is embedded and inline.
type Common struct {
	Source string `yaml:"source"`
}

type inner struct {
	Steps []step `yaml:"steps"`
	Note  string `yaml:"note"`
}

type step struct {
	Size units.Size `yaml:"size"`
}

const good = `# a comment
name: drive
source: here
depth: 8
shift: -3
ratio: 1e-3
sync: true
size: 64KiB
think: 15us
latency: 1.5ms
tags: [a, "5", 'true']
regions:
  log: 1GiB
  data: 4096
workloads: [sync-4k, {name: wal, queue_depth: 8}]
inner:
  steps:
    - size: 4k
    - {size: 8k}
`

func TestEveryKindOfValue(t *testing.T) {
	var got sample
	if err := Decode("f", []byte(good), &got); err != nil {
		t.Fatal(err)
	}
	want := sample{
		Common: Common{"here"},
		Name:   "drive", Depth: 8, Shift: -3, Ratio: 1e-3, Sync: true, Size: 65536,
		Think: 15 * time.Microsecond, Latency: units.Duration(1500 * time.Microsecond),
		Tags: []string{"a", "5", "true"}, Regions: map[string]units.Size{"log": 1 << 30, "data": 4096},
		Workloads: []ref{{"sync-4k", 0}, {"wal", 8}},
		Inner:     &inner{Steps: []step{{4096}, {8192}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestErrorsSayWhereAndWhatWasExpected(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "name: x\nsiez: 4k\n", `f:2:1: unknown key "siez", expected source, name, depth`},
		{"unknown nested key", "inner:\n  steps:\n    - size: 4k\n      kind: a\n", `f:4:7: unknown key "kind", expected size`},
		{"key with -", "Secret: 1\n", `f:1:1: unknown key "Secret"`},
		{"duplicate key", "name: x\ndepth: 1\nname: y\n", `f:3:1: expected each key once, got "name" again after line 1`},
		{"duplicate in flow", "regions: {a: 1, a: 2}\n", `f:1:17: expected each key once`},
		{"text for number", "depth: many\n", `f:1:8: depth: expected a whole number from 0 to 255, got "many"`},
		{"quoted number", "depth: \"8\"\n", `f:1:8: depth: expected a whole number`},
		{"number too large", "depth: 256\n", `expected a whole number from 0 to 255, got "256"`},
		{"negative", "depth: -1\n", `f:1:8: depth: expected a whole number from 0 to 255, got "-1"`},
		{"fraction", "shift: 1.5\n", `f:1:8: shift: expected a whole number from -9223372036854775808`},
		{"number for text", "name: 990\n", `f:1:7: name: expected text, got "990" (in quotes it is text)`},
		{"yes for bool", "sync: yes\n", `f:1:7: sync: expected true or false, got "yes"`},
		{"infinite", "ratio: .inf\n", `f:1:8: ratio: expected a number, got ".inf"`},
		{"bad size", "size: 4q\n", `f:1:7: size: "4q": expected a size such as`},
		{"list for size", "size: [4k]\n", `f:1:1: size: expected a size such as 512, 4k, 64KiB, 1GiB or 100GB, got a list`},
		{"bare duration", "think: 15\n", `f:1:8: think: "15": expected a duration such as 15us`},
		{"mapping for duration", "think: {a: 1}\n", `f:1:1: think: expected a duration such as 15us`},
		{"scalar for list", "tags: a\n", `f:1:7: tags: expected a list, got "a"`},
		{"list for mapping", "inner: [a]\n", `f:1:1: inner: expected a mapping, got a list`},
		{"wrong in a list", "tags: [a, 5]\n", `f:1:11: tags[1]: expected text, got "5"`},
		{"wrong in a map", "regions: {log: [1]}\n", `f:1:11: regions.log: expected a size`},
		{"deep", "inner:\n  steps:\n    - size: 4k\n    - size: big\n", `f:4:13: inner.steps[1].size: "big": expected a size`},
		{"custom type", "workloads: [a, [b]]\n", `f:1:16: workloads[1]: expected a name or a mapping, got a list`},
		{"custom type's key", "workloads: [{nam: a}]\n", `f:1:14: unknown key "nam", expected name or queue_depth`},
		{"empty value", "name:\n", `f:1:1: name: expected text, got nothing`},
		{"null", "size: null\n", `size: expected a size such as 512`},
		{"tab", "inner:\n\tsteps: []\n", `f:2:1: expected YAML: `},
		{"anchor", "name: &a x\n", `f:1:7: expected a plain value, got an anchor`},
		{"alias", "name: *a\n", `f:1:7: expected a plain value, got an alias`},
		{"tag", "name: !!str x\n", `f:1:7: expected a plain value, got a tag`},
		{"merge", "inner:\n  <<: {a: 1}\n", `f:2:3: expected a plain value, got a merge key`},
		{"complex key", "? a\n: b\n", `f:1:1: expected a plain value, got a complex key`},
		{"directive", "%YAML 1.2\n---\nname: x\n", `expected a plain value, got a directive`},
		{"two documents", "name: x\n---\nname: y\n", `f:2:1: expected one document, got a second`},
		{"second document empty", "name: x\n---", `f:2:1: expected one document, got a second`},
		{"scalar document", "hello\n", `f:1:1: expected a mapping, got "hello"`},
		{"unclosed", "tags: [a, b\n", `expected YAML: `},
		{"unclosed quote", "name: \"abc\n", `expected YAML: `},
		{"bad indentation", "inner:\n  steps: []\n other: 1\n", `expected YAML: `},
		{"flow bomb", strings.Repeat("[", MaxBytes), `expected at most 32 values within one another`},
		{"sequence bomb", strings.Repeat("- ", MaxBytes/2), `expected at most 32 values within one another`},
		{"indentation bomb", staircase(40), `expected at most 32 values within one another`},
		{"many keys", manyKeys(MaxKeys + 1), fmt.Sprintf("f:%d:6: expected at most %d keys", MaxKeys+1, MaxKeys)},
		{"long key", strings.Repeat("k", 1000) + ": 1\n", `unknown key "` + strings.Repeat("k", 40) + `...", expected`},
		{"too long", strings.Repeat("#", MaxBytes+1), fmt.Sprintf("f: %d bytes: expected at most %d", MaxBytes+1, MaxBytes)},
		{"long value", "depth: " + strings.Repeat("z", 1000), `got "` + strings.Repeat("z", 40) + `..."`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Decode("f", []byte(c.yaml), &sample{})
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if !strings.HasPrefix(e.Error(), c.want) && !strings.Contains(e.Error(), c.want) || e.File != "f" {
				t.Errorf("got  %s\nwant %s", e, c.want)
			}
		})
	}
}

// manyKeys is a mapping of n keys of five letters.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%05d: 1\n", i)
	}
	return b.String()
}

// staircase nests a mapping n deep by indentation.
func staircase(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String() + strings.Repeat(" ", n) + "a: 1\n"
}

func TestAnEmptyDocumentChangesNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n"} {
		got := sample{Name: "before"}
		if err := Decode("f", []byte(text), &got); err != nil || got.Name != "before" {
			t.Errorf("%q: %v, name %q", text, err, got.Name)
		}
	}
}

func TestASecondDocumentOverridesTheFirst(t *testing.T) {
	var got sample
	first := "name: a\ndepth: 1\nregions: {x: 1}\ninner: {steps: [{size: 1}, {size: 2}], note: a}\n"
	second := "depth: 2\nregions: {y: 2}\ninner: {note: b}\n"
	for _, text := range []string{first, second} {
		if err := Decode("f", []byte(text), &got); err != nil {
			t.Fatal(err)
		}
	}
	want := sample{Name: "a", Depth: 2, Regions: map[string]units.Size{"y": 2}, Inner: &inner{[]step{{1}, {2}}, "b"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPositions(t *testing.T) {
	doc, err := Parse("f", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path         string
		line, column int
		has          bool
	}{
		{"name", 2, 7, true},
		{"tags", 11, 1, true},
		{"tags[1]", 11, 11, true},
		{"regions.data", 14, 9, true},
		{"regions.none", 12, 1, false},
		{"inner.steps[1].size", 19, 14, true},
		{"inner.steps[0].kind", 18, 7, false},
		{"inner.steps[7].size", 17, 3, false},
		{"nowhere", 2, 1, false},
	} {
		line, column := doc.Pos(c.path)
		if line != c.line || column != c.column || doc.Has(c.path) != c.has {
			t.Errorf("%s: at %d:%d, has %v; want %d:%d, %v", c.path, line, column, doc.Has(c.path), c.line, c.column, c.has)
		}
	}
}

func TestValidationPointsIntoTheFile(t *testing.T) {
	doc, err := Parse("f", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	err = doc.Locate(fmt.Errorf("profile: %w", Under("inner.steps[1]", At("size", "expected a multiple of %d", 512))))
	if want := "f:19:14: inner.steps[1].size: expected a multiple of 512"; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	plain := errors.New("not about a field")
	if doc.Locate(plain) != plain || doc.Locate(nil) != nil {
		t.Error("Locate changed an error that is not about a field")
	}
}

func TestUnderJoinsPaths(t *testing.T) {
	for _, c := range []struct {
		prefix string
		err    error
		want   string
	}{
		{"a", At("b", "m"), "a.b: m"},
		{"a", At("[2]", "m"), "a[2]: m"},
		{"", At("b", "m"), "b: m"},
		{"a", At("", "m"), "a: m"},
		{"a", errors.New("m"), "a: m"},
	} {
		if got := Under(c.prefix, c.err).Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if Under("a", nil) != nil {
		t.Error("Under(nil) is not nil")
	}
}

func TestDecodeIntoWhatHasNoSpellingPanics(t *testing.T) {
	for name, into := range map[string]any{
		"not a pointer": sample{}, "an interface": new(any), "a channel": new(chan int), "integer keys": &map[int]int{},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_ = Decode("f", []byte("1: 1\n"), into)
		})
	}
}

// FuzzDecode: whatever the bytes, the answer is a value or an *Error with a
// place inside the file.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(good))
	for _, seed := range []string{"a: [", "- - -", "a: |\n  x", "{a: {b: [1, 2]}}", "name: \"\\x\"", "a:\n\t- b", "#", "? a", "*a", "---\n...\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Decode("f", data, &sample{})
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%T: %v", err, err)
		}
		if e != nil && (e.Line < 0 || e.Line > strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+2) {
			t.Fatalf("line %d of %q", e.Line, data)
		}
	})
}
