package workloads

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestEveryKeyOfAProfileIsExplained in docs/WORKLOADS.md, and every profile there
// is one.
func TestEveryKeyOfAProfileIsExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/WORKLOADS.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	keysIn(reflect.TypeFor[Profile](), keys)
	if len(keys) < 50 {
		t.Errorf("a profile has %d keys only: the test does not find them", len(keys))
	}
	for key := range keys {
		switch s := string(text); {
		case strings.Contains(s, "`"+key+"`"), strings.Contains(s, "{"+key+","), strings.Contains(s, ", "+key+"}"), strings.Contains(s, "`"+key+": "):
		default:
			t.Errorf("docs/WORKLOADS.md does not explain %s", key)
		}
	}
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	for _, block := range blocks {
		yaml, _, _ := strings.Cut(block, "```")
		if _, err := Parse("docs/WORKLOADS.md", []byte(yaml)); err != nil {
			t.Errorf("%v in\n%s", err, yaml)
		}
	}
	if len(blocks) < 3 {
		t.Errorf("%d profiles", len(blocks))
	}
}

// keysIn collects the keys of a type that is read from YAML.
func keysIn(t reflect.Type, keys map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		keysIn(t.Elem(), keys)
	case reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			if name == "-" {
				continue
			}
			if name != "" {
				keys[name] = true
			}
			keysIn(t.Field(i).Type, keys)
		}
	}
}
