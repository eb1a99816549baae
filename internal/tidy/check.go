package tidy

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
)

// Rules are a module's rules. Directories and files are slash-separated and
// relative to the module's root.
type Rules struct {
	Module string
	// Ranks has each package's place in the order of imports: a package imports
	// only those of a lower rank. A package that is not listed is a problem.
	Ranks map[string]int
	// Reserved has, for a package, the only one that may import it.
	Reserved map[string]string
	// Without has, for a package, what it must not import, tests apart.
	Without map[string][]string
	// Shells may use the clock, goroutines and select: files, or directories
	// with a slash at the end, each with its reason.
	Shells map[string]string
	// MaxFunction is how many lines a function may have, from func to brace.
	MaxFunction int
	// Long has the functions that have more, as "dir.Type.Name", with their
	// lengths. It may only shrink.
	Long map[string]int
}

// Problem is one breach of a rule.
type Problem struct {
	Pos  token.Position // Line 0 is the file or directory as a whole
	Rule string
	Msg  string
}

func (p Problem) String() string { return fmt.Sprintf("%v: %s: %s", p.Pos, p.Rule, p.Msg) }

// file is one parsed file.
type file struct {
	name string // relative to the module's root
	dir  string
	test bool
	text string
	ast  *ast.File
}

// checker is one run of the rules.
type checker struct {
	rules    *Rules
	fset     *token.FileSet
	packages map[string][]*file // by directory
	problems []Problem
	needed   map[string]bool // shells that were needed
	long     map[string]bool // long functions that were found
}

// Check applies the rules to all of a module's Go files, given by name. The
// problems are in the order of their positions.
func (r *Rules) Check(files map[string][]byte) []Problem {
	c := &checker{
		rules: r, fset: token.NewFileSet(), packages: map[string][]*file{},
		needed: map[string]bool{}, long: map[string]bool{},
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		c.parse(name, files[name])
	}
	for _, dir := range slices.Sorted(maps.Keys(c.packages)) {
		c.checkPackage(dir, c.packages[dir])
		for _, f := range c.packages[dir] {
			c.checkFile(f)
		}
	}
	c.checkExceptions(files)
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Pos.Filename, b.Pos.Filename), cmp.Compare(a.Pos.Line, b.Pos.Line))
	})
	return c.problems
}

func (c *checker) parse(name string, text []byte) {
	tree, err := parser.ParseFile(c.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		c.whole(name, "syntax", "%v", err)
		return
	}
	f := &file{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), text: string(text), ast: tree}
	c.packages[f.dir] = append(c.packages[f.dir], f)
}

// checkPackage applies the rules about a package as a whole.
func (c *checker) checkPackage(dir string, files []*file) {
	documented, tested, real := false, false, false
	for _, f := range files {
		documented = documented || !f.test && f.ast.Doc != nil
		tested = tested || f.test && hasTest(f.ast)
		real = real || !f.test
	}
	if !real {
		return
	}
	if !documented {
		c.whole(dir, "doc", "expected a package comment, in doc.go")
	}
	if !tested {
		c.whole(dir, "tests", "expected a test, an example or a fuzz target")
	}
	if _, known := c.rules.Ranks[dir]; !known {
		c.whole(dir, "imports", "expected a package that has a rank in the order of imports")
	}
}

func hasTest(f *ast.File) bool {
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		for _, prefix := range []string{"Test", "Example", "Fuzz"} {
			if strings.HasPrefix(fn.Name.Name, prefix) && fn.Name.Name != "TestMain" {
				return true
			}
		}
	}
	return false
}

func (c *checker) checkFile(f *file) {
	c.checkWords(f)
	c.checkClock(f)
	if f.test {
		return
	}
	c.checkImports(f)
	c.checkLengths(f)
	c.checkComments(f)
}

// checkExceptions finds exceptions that are no longer needed.
func (c *checker) checkExceptions(files map[string][]byte) {
	for _, shell := range slices.Sorted(maps.Keys(c.rules.Shells)) {
		if !strings.HasSuffix(shell, "/") && !c.needed[shell] {
			c.whole(shell, "clock", "is listed as a real-time shell and does not need to be: take it off the list")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.rules.Long)) {
		if !c.long[name] {
			c.whole(name, "length", "is listed as long and no longer is: take it off the list")
		}
	}
}

func (c *checker) at(pos token.Pos, rule, format string, args ...any) {
	c.problems = append(c.problems, Problem{c.fset.Position(pos), rule, fmt.Sprintf(format, args...)})
}

func (c *checker) whole(name, rule, format string, args ...any) {
	c.problems = append(c.problems, Problem{token.Position{Filename: name}, rule, fmt.Sprintf(format, args...)})
}
