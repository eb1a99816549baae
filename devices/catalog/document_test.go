package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nbdbench/internal/conf"
)

// at is where the tests' documents stand in their file.
var at = conf.Within{File: "run.json", Line: 1, Column: 1, Path: "devices.x.profile"}

func documentOf(t *testing.T, p *Profile) []byte {
	t.Helper()
	text, err := p.Document()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A document read and written again is the same, and opens the same device.
func TestADocumentIsReadAsTheProfileThatItWasMadeOf(t *testing.T) {
	for _, name := range append(List(), "../../docs/testdata/empirical.yaml") {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		text := documentOf(t, p)
		again, err := ParseDocument(at, text)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, text)
		}
		if twice := documentOf(t, again); !bytes.Equal(text, twice) {
			t.Errorf("%s: written again it is\n%s\nnot\n%s", name, twice, text)
		}
		want, err := p.resolved()
		if err != nil {
			t.Fatal(err)
		}
		want.file, again.file = "", ""
		if want.RAID != nil {
			want.RAID.Profile.file, again.RAID.Profile.file = "", ""
		}
		if !p.IsArray() && !reflect.DeepEqual(want, again) { // of members the documents are compared
			t.Errorf("%s: got\n%+v\nwant\n%+v", name, again, want)
		}
	}
}

// visit calls f with the path and value of every field of v that a file may name.
func visit(prefix string, v reflect.Value, f func(path string, v reflect.Value)) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		f(prefix, v)
		return
	}
	for i := range v.NumField() {
		if v.Field(i).IsZero() && strings.HasSuffix(v.Type().Field(i).Tag.Get("yaml"), ",omitzero") {
			continue
		}
		if key := keyOf(v.Type().Field(i)); key != "" {
			visit(strings.TrimPrefix(prefix+"."+key, "."), v.Field(i), f)
		}
	}
}

func TestADocumentHasEveryParameterWithItsSource(t *testing.T) {
	for _, name := range List() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(documentOf(t, p), &doc); err != nil {
			t.Fatal(err)
		}
		n := 0
		visit("", reflect.ValueOf(p), func(path string, v reflect.Value) {
			k := v.Kind()
			if path == "extends" || k == reflect.Map || (k == reflect.String || k == reflect.Slice) && v.Len() == 0 || strings.HasPrefix(path, "raid.disk_profile") {
				return
			}
			n++
			var value any = doc
			for key := range strings.SplitSeq(path, ".") {
				section, _ := value.(map[string]any)
				value = section[key]
			}
			if value == nil {
				t.Errorf("%s: %s is not in the document", name, path)
			}
			sources, _ := doc["sources"].(map[string]any)
			if source, _ := sources[path].(string); (source == "") != described[path] {
				t.Errorf("%s: the source of %s is %q", name, path, source)
			}
		})
		if n < 15 {
			t.Errorf("%s: only %d parameters", name, n)
		}
	}
}

func TestSourcesInADocument(t *testing.T) {
	p, err := Load("nvme-990pro")
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.resolved()
	if err != nil {
		t.Fatal(err)
	}
	if got := q.Sources["ssd.fua_base"]; got != p.Sources["ssd.fua_base"] {
		t.Errorf("of fua_base: %q", got)
	}
	if got := q.Sources["ssd.contention"]; got != Estimate {
		t.Errorf("of contention, for which the profile has none: %q", got)
	}
	p.Sources = nil
	if got := p.sourceOf("ssd.fua_base"); got != "fitted to the published figure 990pro-fua" {
		t.Errorf("of a fitted one: %q", got)
	}
}

// A document depends on no file: not on its disk's, not on a log.
func TestADocumentDependsOnNoFile(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{
		"disk.yaml": "extends: hdd-7200\nname: my-disk\n",
		"raid.yaml": "extends: raid-bbu\nname: my-raid\nraid: {disk: " + dir + "/disk.yaml}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Load(filepath.Join(dir, "raid.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := documentOf(t, p)
	if bytes.Contains(text, []byte(dir)) {
		t.Errorf("it names a path: %s", text)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	again, err := ParseDocument(at, text)
	if err != nil || again.RAID.Profile.HDD.RPM != 7200 {
		t.Errorf("read back: %v", err)
	}
}

func TestABadDocumentIsRefusedWithItsPlace(t *testing.T) {
	p, err := Load("nvme-990pro")
	if err != nil {
		t.Fatal(err)
	}
	raid, err := Load("raid-bbu")
	if err != nil {
		t.Fatal(err)
	}
	good := string(documentOf(t, p))
	for _, c := range []struct{ old, with, want string }{
		{`"fua_base":"3.98ms"`, `"fua_base":"soon"`, "devices.x.profile.ssd.fua_base"},
		{`"fua_base":"3.98ms"`, `"fua_base":3`, "devices.x.profile.ssd.fua_base"},
		{`"servers":1`, `"servers":-1`, "devices.x.profile.ssd"},
		{`"servers":1`, `"severs":1`, `unknown key "severs"`},
		{`"kind":"ssd"`, `"kind":"tape"`, "devices.x.profile.kind"},
		{`"name":`, `"extends":"hdd-7200","name":`, "devices.x.profile.extends"},
	} {
		text := strings.Replace(good, c.old, c.with, 1)
		if text == good {
			t.Fatalf("%s is not in %s", c.old, good)
		}
		checkPlaced(t, text, c.want)
	}
	text := string(documentOf(t, raid))
	i := strings.Index(text, `,"disk_profile":`)
	checkPlaced(t, text[:i]+text[strings.Index(text, `,"serial":"4`):], "devices.x.profile.raid.disk")
}

func checkPlaced(t *testing.T, text, want string) {
	t.Helper()
	_, err := ParseDocument(at, []byte(text))
	var e *conf.Error
	if !errors.As(err, &e) || e.File != "run.json" || e.Line != 1 || e.Column < 2 || !strings.Contains(e.Msg, want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAProfileThatIsNotTheShippedOneIsLabelled(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"extends: nvme-990pro\nname: nvme-990pro\n", "nvme-990pro"},
		{"extends: nvme-990pro\nname: nvme-990pro\nssd: {stripe: 1MiB}\n", "nvme-990pro"},
		{"extends: nvme-990pro\nname: nvme-990pro\nssd: {fua_base: 1ms}\n", "nvme-990pro (modified)"},
		{"extends: nvme-990pro\nname: nvme-990pro\nabout: mine\n", "nvme-990pro (modified)"},
		{"extends: nvme-pm963\nname: nvme-990pro\n", "nvme-990pro (modified)"},
		{"extends: nvme-990pro\nname: mine\n", "mine (dir/mine.yaml)"},
	} {
		p, err := Parse("mine.yaml", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Label("dir/mine.yaml"); err != nil || got != c.want {
			t.Errorf("%q: %q, %v, want %q", c.text, got, err, c.want)
		}
	}
	for _, name := range List() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Label(name); err != nil || got != name {
			t.Errorf("%s is called %q: %v", name, got, err)
		}
	}
}
