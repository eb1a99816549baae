package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// unfinished are the words of unfinished work. They are put together here so
// that this file does not have them.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

// checkWords refuses the words of unfinished work, anywhere in the file.
func (c *checker) checkWords(f *file) {
	for _, at := range unfinished.FindAllStringIndex(f.text, -1) {
		line := 1 + strings.Count(f.text[:at[0]], "\n")
		pos := token.Position{Filename: f.name, Line: line}
		c.problems = append(c.problems, Problem{pos, "words", "expected finished work, got " + f.text[at[0]:at[1]]})
	}
}

// checkImports holds the direction of imports within the module.
func (c *checker) checkImports(f *file) {
	rank, known := c.rules.Ranks[f.dir]
	for _, spec := range f.ast.Imports {
		if p := importPath(spec); slices.Contains(c.rules.Without[f.dir], p) {
			c.at(spec.Pos(), "imports", "%s does without %s", f.dir, p)
		}
		dir, inside := strings.CutPrefix(importPath(spec), c.rules.Module+"/")
		if !inside || dir == f.dir {
			continue
		}
		other, exists := c.rules.Ranks[dir]
		if only := c.rules.Reserved[dir]; only != "" && f.dir != only {
			c.at(spec.Pos(), "imports", "%s is imported only by %s", dir, only)
		} else if known && exists && other >= rank {
			c.at(spec.Pos(), "imports", "%s is not below %s", dir, f.dir)
		}
	}
}

func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return ""
	}
	return p
}

// clock are the functions that read or wait for the machine's clock.
var clock = map[string]bool{
	"time.Now": true, "time.Since": true, "time.Until": true, "time.Sleep": true, "time.After": true, "time.AfterFunc": true,
	"time.NewTimer": true, "time.NewTicker": true, "time.Tick": true,
	"context.WithTimeout": true, "context.WithTimeoutCause": true, "context.WithDeadline": true, "context.WithDeadlineCause": true,
}

// checkClock keeps the clock, goroutines, select and randomness without a seed
// to the shells, and in tests to the directories that have one.
func (c *checker) checkClock(f *file) {
	if shell, ok := c.shellOf(f); ok {
		c.needed[shell] = c.needed[shell] || len(c.impurities(f)) > 0
		return
	}
	if f.test && c.besideShell(f.dir) {
		return
	}
	for _, i := range c.impurities(f) {
		c.at(i.pos, "clock", "%s is for package sim and the listed real-time shells", i.what)
	}
}

func (c *checker) shellOf(f *file) (string, bool) {
	for _, shell := range []string{f.name, f.dir + "/"} {
		if _, ok := c.rules.Shells[shell]; ok {
			return shell, true
		}
	}
	return "", false
}

func (c *checker) besideShell(dir string) bool {
	for shell := range c.rules.Shells {
		if path.Dir(shell) == dir {
			return true
		}
	}
	return false
}

// impurity is one use of what belongs to the shells.
type impurity struct {
	pos  token.Pos
	what string
}

func (c *checker) impurities(f *file) (out []impurity) {
	names := map[string]string{} // the file's name for a package: its path
	for _, spec := range f.ast.Imports {
		p := importPath(spec)
		if strings.HasPrefix(p, "math/rand") && !f.test {
			out = append(out, impurity{spec.Pos(), p})
		}
		names[localName(spec, p)] = p
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, impurity{n.Pos(), "go"})
		case *ast.SelectStmt:
			out = append(out, impurity{n.Pos(), "select"})
		case *ast.SelectorExpr:
			if what := selected(names, n); what != "" {
				out = append(out, impurity{n.Pos(), what})
			}
		}
		return true
	})
	return out
}

// localName is the name by which a file knows a package.
func localName(spec *ast.ImportSpec, p string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	if p == "math/rand/v2" {
		return "rand"
	}
	return path.Base(p)
}

// selected names a use of the clock or of the global source of randomness;
// generators with a seed are made by functions whose names begin with New.
func selected(names map[string]string, n *ast.SelectorExpr) string {
	x, ok := n.X.(*ast.Ident)
	if !ok {
		return ""
	}
	switch p := names[x.Name]; {
	case clock[p+"."+n.Sel.Name]:
		return p + "." + n.Sel.Name
	case strings.HasPrefix(p, "math/rand") && !randomTypes[n.Sel.Name] && !strings.HasPrefix(n.Sel.Name, "New"):
		return p + "." + n.Sel.Name
	}
	return ""
}

// randomTypes are the types of math/rand and math/rand/v2.
var randomTypes = map[string]bool{"Rand": true, "Source": true, "Source64": true, "PCG": true, "ChaCha8": true, "Zipf": true}

// checkLengths bounds the length of functions.
func (c *checker) checkLengths(f *file) {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		lines := c.fset.Position(fn.End()).Line - c.fset.Position(fn.Pos()).Line + 1
		if lines <= c.rules.MaxFunction {
			continue
		}
		name := f.dir + "." + qualified(fn)
		listed, ok := c.rules.Long[name]
		c.long[name] = true
		switch {
		case !ok:
			c.at(fn.Pos(), "length", "%s has %d lines, expected at most %d", name, lines, c.rules.MaxFunction)
		case lines > listed:
			c.at(fn.Pos(), "length", "%s has grown from %d to %d lines", name, listed, lines)
		case lines < listed:
			c.at(fn.Pos(), "length", "%s has shrunk from %d to %d lines: say so in the list", name, listed, lines)
		}
	}
}

// qualified is a function's name, after its receiver's type.
func qualified(fn *ast.FuncDecl) string {
	if r := receiver(fn); r != "" {
		return r + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// receiver is the name of a method's type, or empty.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	t := fn.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// wellKnown are methods that say nothing but which interface they are of.
var wellKnown = map[string]bool{
	"String": true, "Error": true, "Unwrap": true, "Is": true, "As": true, "Info": true, "Submit": true, "Done": true, "Fire": true,
}

// checkComments wants a comment on each exported name.
func (c *checker) checkComments(f *file) {
	if f.ast.Name.Name == "main" {
		return
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			c.checkFuncComment(d)
		case *ast.GenDecl:
			if d.Doc == nil {
				c.checkSpecs(d.Specs)
			}
		}
	}
}

func (c *checker) checkFuncComment(fn *ast.FuncDecl) {
	r := receiver(fn)
	method := fn.Recv != nil
	if fn.Doc != nil || !fn.Name.IsExported() || method && (!ast.IsExported(r) || wellKnown[fn.Name.Name]) {
		return
	}
	c.at(fn.Pos(), "comments", "expected a comment on %s", qualified(fn))
}

// checkSpecs checks declarations of which the group has no comment.
func (c *checker) checkSpecs(specs []ast.Spec) {
	for _, spec := range specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && s.Comment == nil {
				c.at(s.Pos(), "comments", "expected a comment on %s", s.Name.Name)
			}
		case *ast.ValueSpec:
			if name := exported(s.Names); name != "" && s.Doc == nil && s.Comment == nil {
				c.at(s.Pos(), "comments", "expected a comment on %s", name)
			}
		}
	}
}

// exported is the first exported one of the names, or empty.
func exported(names []*ast.Ident) string {
	for _, n := range names {
		if n.IsExported() {
			return n.Name
		}
	}
	return ""
}
