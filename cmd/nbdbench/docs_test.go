package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nbdbench/results"
)

// The documents are executed. Of a block fenced as ```console, each line
// "$ nbdbench ARGS" is run in this process, in a directory that has nothing but
// the repository's results and docs/examples; its stdout must be the lines that follow, to the
// next "$" or the end of the block. A line "..." stands for any number of lines.
// A block fenced as ```sh is only for the reader.
const (
	fence  = "```"
	opens  = fence + "console"
	prompt = "$ nbdbench "
	elided = "..."
)

// example is one command of a document and what it says that it prints.
type example struct {
	line    int // of the prompt, from 0
	command string
	want    []string
}

func TestDocumentsShowWhatIsPrinted(t *testing.T) {
	if testing.Short() {
		t.Skip("the examples are runs of some seconds under the race detector")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append([]string{filepath.Join(root, "README.md")}, docs...) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Chdir(t.TempDir())
			for name, at := range map[string]string{"results": "results", "examples": "docs/examples"} {
				if err := os.Symlink(filepath.Join(root, at), name); err != nil {
					t.Fatal(err)
				}
			}
			execute(t, path)
		})
	}
}

// execute runs the document's examples, and rewrites them with -update.
func execute(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	examples := examplesOf(t, lines)
	slices.Reverse(examples) // so that those before keep their lines
	printed := map[int][]string{}
	for _, e := range slices.Backward(examples) { // in the order of the document
		printed[e.line] = e.run(t)
	}
	changed := false
	for _, e := range examples {
		got := printed[e.line]
		if matches(e.want, got) {
			continue
		}
		if !*update {
			t.Errorf("line %d: %s prints\n%s\nwhich is not what stands there; -update rewrites it", e.line+1, e.command, strings.Join(got, "\n"))
			continue
		}
		lines = slices.Replace(lines, e.line+1, e.line+1+len(e.want), elide(e.want, got)...)
		changed = true
	}
	if changed {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// examplesOf finds the commands of all console blocks.
func examplesOf(t *testing.T, lines []string) (out []example) {
	t.Helper()
	inside := false
	for i, line := range lines {
		switch {
		case line == opens:
			inside = true
		case strings.HasPrefix(line, fence):
			inside = false
		case !inside:
		case strings.HasPrefix(line, prompt):
			out = append(out, example{line: i, command: line})
		case len(out) == 0:
			t.Fatalf("line %d: a console block begins with %q", i+1, prompt)
		default:
			last := &out[len(out)-1]
			last.want = append(last.want, line)
		}
	}
	return out
}

// run is what the example prints, which has to succeed.
func (e example) run(t *testing.T) []string {
	t.Helper()
	text := strings.TrimSuffix(must(t, strings.Fields(strings.TrimPrefix(e.command, prompt))...), "\n")
	return strings.Split(text, "\n")
}

// matches reports whether got is want, where a line elided is any number.
func matches(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if want[0] != elided {
		return len(got) > 0 && got[0] == want[0] && matches(want[1:], got[1:])
	}
	for n := range len(got) + 1 {
		if matches(want[1:], got[n:]) {
			return true
		}
	}
	return false
}

// elide makes of got what takes the place of want: as many lines as there were
// before the first elision and after the last.
func elide(want, got []string) []string {
	head := slices.Index(want, elided)
	if head < 0 {
		return got
	}
	tail := 0
	for want[len(want)-1-tail] != elided {
		tail++
	}
	if head+tail >= len(got) {
		return got
	}
	return slices.Concat(got[:head], []string{elided}, got[len(got)-tail:])
}

// properties are the names of all keys that a schema knows.
func properties(schema any, into map[string]bool) {
	switch v := schema.(type) {
	case []any:
		for _, e := range v {
			properties(e, into)
		}
	case map[string]any:
		for key, e := range v {
			if named, ok := e.(map[string]any); ok && key == "properties" {
				for name := range named {
					into[name] = true
				}
			}
			properties(e, into)
		}
	}
}

func TestEveryKeyOfTheRunDocumentIsExplained(t *testing.T) {
	text, err := os.ReadFile("../../docs/RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := json.Unmarshal(results.RunSchema, &schema); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	properties(schema, keys)
	for key := range keys {
		switch s := string(text); {
		case strings.Contains(s, "`"+key+"`"), strings.Contains(s, "."+key+"`"), strings.Contains(s, "`"+key+"."): // such as tool.go
		default:
			t.Errorf("docs/RESULTS.md does not explain %s", key)
		}
	}
	if len(keys) < 80 {
		t.Errorf("the schema has %d keys only: the test does not find them", len(keys))
	}
}

func TestEveryLinkBetweenDocumentsLeadsSomewhere(t *testing.T) {
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	notes, err := filepath.Glob("../../docs/notes/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Concat(docs, notes, []string{"../../README.md", "../../CONTRIBUTING.md"}) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), link[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", filepath.Base(path), link[1])
			}
		}
	}
}

// Reading stops where it gets long.
func TestTheREADMEHasAtMost150Lines(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 150 {
		t.Errorf("it has %d", n)
	}
}

func TestElisionsStandForAnyNumberOfLines(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{"a b", "a b", true},
		{"a b", "a", false},
		{"a", "a b", false},
		{"a ... c", "a b b c", true},
		{"a ... c", "a c", true},
		{"a ... c", "a c b", false},
		{"... c", "a b c", true},
		{"a ...", "a", true},
		{"a ... c ... e", "a b c d e", true},
		{"a ... c ... e", "a b d e", false},
	} {
		if got := matches(strings.Fields(c.want), strings.Fields(c.got)); got != c.ok {
			t.Errorf("%q for %q: %v, want %v", c.got, c.want, got, c.ok)
		}
	}
}

func TestRewritingKeepsElisions(t *testing.T) {
	for _, c := range []struct{ want, got, out string }{
		{"a b", "c", "c"},
		{"a ... b", "c d e f", "c ... f"},
		{"...", "c d", "..."},
		{"a b ...", "c d", "c d"},
	} {
		if got := strings.Join(elide(strings.Fields(c.want), strings.Fields(c.got)), " "); got != c.out {
			t.Errorf("%q in place of %q: %q, want %q", c.got, c.want, got, c.out)
		}
	}
}
