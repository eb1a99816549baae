package tidy

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// TestNoPrivateWords: code, documents and help use the terms of the field. The list
// has those that once stood for other things here.
func TestNoPrivateWords(t *testing.T) {
	list, err := os.ReadFile("testdata/words.txt")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(strings.ToLower(string(list)))
	root, read := os.DirFS("../.."), 0
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "bin" || name != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || name == "internal/tidy/testdata/words.txt":
			return nil
		}
		switch path.Ext(name) {
		case ".go", ".md", ".txt", ".py", ".sh", ".yaml":
		default:
			return nil
		}
		text, err := fs.ReadFile(root, name)
		read++
		lines := strings.Split(strings.ToLower(string(text)), "\n")
		for i, line := range lines {
			for _, w := range words {
				if strings.Contains(line, w) {
					t.Errorf("%s:%d: %q: expected a term of the field", name, i+1, w)
				}
			}
		}
		return err
	})
	if err != nil || read < 100 {
		t.Errorf("%d files, %v", read, err)
	}
}
