package results

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// withProfiles is a document that has the profiles it was made with.
func withProfiles(t *testing.T) *Run {
	t.Helper()
	r := newSmallDocument()
	r.Tool.Revision, r.Tool.Modified = "0123abc", true
	governor := "performance"
	r.Host = &Host{
		OS: "linux", Started: "2026-01-02T03:04:05Z", Governor: &governor, LoadBefore: &LoadAverage{0.5, 0.25, 0},
		Target: &Target{URI: "nbd://x:10809/", Size: 1 << 30, Flags: []string{"HAS_FLAGS"}},
	}
	var err error
	store := func(from, text string) map[string]*Stored {
		var s *Stored
		if s, err = NewStored(from, json.RawMessage(text)); err != nil {
			t.Fatal(err)
		}
		return map[string]*Stored{"nvme-990pro": s}
	}
	r.Devices = store("./mine.yaml", `{"name":"nvme-990pro","ssd":{"servers":1,"sigma":0.15},"about":"<&> \u2028 é"}`)
	r.Workloads = store("", `{"name":"sync-4k"}`)
	return r
}

func TestADocumentWithProfilesIsReadAsItWasWritten(t *testing.T) {
	text := written(t, withProfiles(t).WriteJSON)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiledSchema(t).Validate(doc); err != nil {
		t.Error(err)
	}
	back, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if again := written(t, back.WriteJSON); !bytes.Equal(text, again) {
		t.Errorf("written again it is\n%s\nnot\n%s", again, text)
	}
	line, column := back.Devices["nvme-990pro"].Place()
	if lines := strings.Split(string(text), "\n"); !strings.HasPrefix(lines[line-1][column-1:], "{") || !strings.Contains(lines[line], `"name": "nvme-990pro"`) {
		t.Errorf("the profile is not at %d:%d", line, column)
	}
}

func TestADigestIsOfTheCanonicalForm(t *testing.T) {
	// printf '{"a":[1,0.15],"b":"<é>"}' | sha256sum
	const want = "sha256:ee9d678d4ad8d546ee4a385b2d92a8c239370485245d545058bc4228703d5935"
	for _, text := range []string{`{"a":[1,0.15],"b":"<é>"}`, "{\n \"b\" : \"\\u003cé>\",\n\t\"a\": [ 1, 0.15 ] }"} {
		if got, err := Digest(json.RawMessage(text)); err != nil || got != want {
			t.Errorf("%s has %s, want %s: %v", text, got, want, err)
		}
	}
	other, err := Digest(json.RawMessage(`{"a":[1,0.16],"b":"<é>"}`))
	if err != nil || other == want {
		t.Errorf("another value has the same: %v", err)
	}
}

func TestAProfileOfAnotherDigestIsRefusedWithItsPlace(t *testing.T) {
	good := string(written(t, withProfiles(t).WriteJSON))
	line := func(s string) int { return strings.Count(good[:strings.Index(good, s)], "\n") + 1 }
	for _, c := range []struct {
		name, old, with, want string
		line                  int
	}{
		{"parameter", `"servers": 1`, `"servers": 2`, "devices.nvme-990pro.digest: want", line(`"digest"`)},
		{"digest", `"digest": "sha256:`, `"digest": "sha256:0`, "devices.nvme-990pro.digest: want", line(`"digest"`)},
		{"workload", `"name": "sync-4k"`, `"name": "wal"`, "workloads.nvme-990pro.digest: want", line(`"workloads": {`) + 2},
		{"no profile", `"profile": {
    "name": "sync-4k"
   }`, `"profile": 7`, "workloads.nvme-990pro: want an object", line(`"workloads": {`) + 1},
	} {
		bad := strings.Replace(good, c.old, c.with, 1)
		if bad == good {
			t.Fatalf("%s: %s is not in\n%s", c.name, c.old, good)
		}
		path := filepath.Join(t.TempDir(), "some.json")
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadDocument(path)
		e, ok := err.(*FileError)
		if !ok || e.Path != path || e.Line != c.line || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want line %d: %s", c.name, err, c.line, c.want)
		}
	}
}

func TestADocumentWithoutProfilesIsReadAsBefore(t *testing.T) {
	text := written(t, newSmallDocument().WriteJSON)
	for _, key := range []string{`"devices"`, `"revision"`} {
		if bytes.Contains(text, []byte(key)) {
			t.Fatalf("it has %s", key)
		}
	}
	r, err := Decode(text)
	if err != nil || r.Devices != nil || r.Workloads != nil {
		t.Errorf("%v, %v", r, err)
	}
}

func TestADocumentIsDistinguishedFromAPlan(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"plan.yaml": {"devices: [ram]\n", false},
		"plan.json": {`{"devices": ["ram"]}`, false},
		"copy.txt":  {"\n{\"schema\": \"nbdbench/run/v1\"}", true},
		FileRun:     {"{", true},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := IsDocument(path); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !IsDocument(dir) || IsDocument(filepath.Join(dir, "missing.yaml")) {
		t.Error("a directory is not one, or a missing file is")
	}
}
