package nbd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// testNames are the module's tests with the strings in them, among which are the
// names of their subtests.
func testNames(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			strs := map[string]bool{}
			ast.Inspect(f, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					s, _ := strconv.Unquote(l.Value)
					strs[s] = true
				}
				return true
			})
			all[f.Name.Name] = strs
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// comments are those of a Go file as one line of text.
func comments(t *testing.T, path string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, g := range file.Comments {
		b.WriteString(strings.Join(strings.Fields(g.Text()), " ") + "\n")
	}
	return b.String()
}

var quoted = regexp.MustCompile("`([^`]+)`")

// TestTheDocumentNamesTestsThatExist: each test and subtest of docs/NBD.md, and in
// its table of rules the sections, which the code must cite.
func TestTheDocumentNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("../docs/NBD.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, named := testNames(t), 0
	for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
		name, sub, hasSub := strings.Cut(m[1], "/")
		if !strings.HasPrefix(name, "Test") {
			continue
		}
		named++
		if strs, ok := tests[name]; !ok || hasSub && !strs[sub] {
			t.Errorf("there is no test %s", m[1])
		}
	}
	_, table, _ := strings.Cut(string(text), "<!-- rules -->")
	table, _, ok := strings.Cut(table, "<!-- /rules -->")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ")
		if len(cells) != 4 || !strings.Contains(line, "`Test") {
			continue
		}
		rows++
		for _, file := range quoted.FindAllStringSubmatch(cells[2], -1) {
			if !strings.Contains(comments(t, file[1]), strconv.Quote(cells[1])) {
				t.Errorf("%s does not cite %q", file[1], cells[1])
			}
		}
	}
	if !ok || rows < 40 || named < 2*rows {
		t.Errorf("%d rules, %d tests: is the table there?", rows, named)
	}
}
