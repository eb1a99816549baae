package conf

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"nbdbench/internal/input"
)

// The bounds of a document.
const (
	MaxBytes = 256 << 10 // of one file
	MaxDepth = 32        // of values within values
	MaxKeys  = 8192      // of all mappings: the parser's time grows with its square
)

// Doc is a parsed document.
type Doc struct {
	file  string
	root  ast.Node // nil: the document is empty
	index map[string]position

	// Of a value within a larger file: its path there, and where it starts.
	prefix string
	start  position
}

type position struct{ line, column int }

// Decode reads one document into the struct that into points to.
func Decode(file string, data []byte, into any) error {
	doc, err := Parse(file, data)
	if err != nil {
		return err
	}
	return doc.Decode(into)
}

// Parse reads a document; file is its name, for errors. The error is an *Error.
func Parse(file string, data []byte) (*Doc, error) {
	return (&Doc{file: file}).read(data, MaxBytes)
}

func (d *Doc) read(data []byte, limit int) (*Doc, error) {
	if len(data) > limit {
		return nil, &Error{File: d.file, Msg: fmt.Sprintf("%d bytes: expected at most %d", len(data), limit)}
	}
	d.index = map[string]position{}
	syntax, err := d.parse(strings.TrimPrefix(string(data), input.BOM))
	if err != nil {
		return nil, err
	}
	if len(syntax.Docs) > 1 {
		return nil, d.errorAt(syntax.Docs[1].Start, "expected one document, got a second")
	}
	if len(syntax.Docs) == 1 {
		d.root = syntax.Docs[0].Body
	}
	if err := d.walk("", d.root, 0); err != nil {
		return nil, err
	}
	return d, nil
}

// parse runs the lexer and the parser. A panic of theirs, which are not ours,
// is an error in the document too.
func (d *Doc) parse(source string) (f *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			f, err = nil, &Error{File: d.file, Msg: fmt.Sprintf("expected YAML, got what the parser cannot read (%v)", p)}
		}
	}()
	tokens := lexer.Tokenize(source)
	if err := d.checkTokens(tokens); err != nil {
		return nil, err
	}
	f, err = parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	return f, d.syntaxError(err)
}

// refused are the tokens of the parts of YAML that are not accepted.
var refused = map[token.Type]string{
	token.AnchorType:     "an anchor (&)",
	token.AliasType:      "an alias (*)",
	token.TagType:        "a tag (!)",
	token.DirectiveType:  "a directive (%)",
	token.MergeKeyType:   "a merge key (<<)",
	token.MappingKeyType: "a complex key (?)",
}

// checkTokens refuses what the parser must not even see: constructs that are
// not accepted, and nesting on which it would recurse without a bound.
func (d *Doc) checkTokens(tokens token.Tokens) error {
	flow, entries, line, keys := 0, 0, 0, 0
	for _, t := range tokens {
		if name, bad := refused[t.Type]; bad {
			return d.errorAt(t, "expected a plain value, got "+name+", which is not accepted here")
		}
		if t.Position.Line != line {
			entries, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType:
			entries++
		case token.MappingValueType:
			keys++
		}
		if flow > MaxDepth || entries > MaxDepth {
			return d.errorAt(t, fmt.Sprintf("expected at most %d values within one another", MaxDepth))
		}
		if keys > MaxKeys {
			return d.errorAt(t, fmt.Sprintf("expected at most %d keys", MaxKeys))
		}
	}
	return nil
}

// syntaxError makes the parser's error an *Error.
func (d *Doc) syntaxError(err error) error {
	if err == nil {
		return nil
	}
	var e yaml.Error
	if errors.As(err, &e) {
		return d.errorAt(e.GetToken(), "expected YAML: "+e.GetMessage())
	}
	return &Error{File: d.file, Msg: "expected YAML: " + err.Error()}
}

// walk indexes the positions of n and all below it, and checks what the parser
// leaves unchecked.
func (d *Doc) walk(path string, n ast.Node, depth int) error {
	if n == nil {
		return nil
	}
	if _, known := d.index[path]; !known {
		d.index[path] = d.place(first(n))
	}
	if depth > MaxDepth {
		return d.errorAt(n.GetToken(), fmt.Sprintf("expected at most %d values within one another", MaxDepth))
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return d.walkMapping(path, n, depth)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			if err := d.walk(fmt.Sprintf("%s[%d]", path, i), v, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Doc) walkMapping(path string, n *ast.MappingNode, depth int) error {
	seen := make(map[string]*token.Token, len(n.Values))
	for _, v := range n.Values {
		key, t := keyOf(v), v.Key.GetToken()
		if first := seen[key]; first != nil {
			return d.errorAt(t, fmt.Sprintf("expected each key once, got %q again after line %d", clip(key), first.Position.Line))
		}
		seen[key] = t
		at := join(path, key)
		if !isScalar(v.Value) {
			d.index[at] = d.place(t)
		}
		if err := d.walk(at, v.Value, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// keyOf is a mapping entry's key as text.
func keyOf(v *ast.MappingValueNode) string { return v.Key.GetToken().Value }

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.SequenceNode, *ast.NullNode, nil:
		return false
	}
	return true
}

// first is the token with which a value begins. The parser gives a mapping in
// block style the token of its first colon.
func first(n ast.Node) *token.Token {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return m.Values[0].Key.GetToken()
	}
	return n.GetToken()
}

func (d *Doc) place(t *token.Token) position {
	if t == nil || t.Position == nil {
		return d.moved(position{1, 1})
	}
	return d.moved(position{t.Position.Line, t.Position.Column})
}

// Pos is the line and column of a path such as "steps[2].size": of a scalar,
// else of the key that leads to it. Where the document does not have the path,
// it is that of the nearest value around it.
func (d *Doc) Pos(path string) (line, column int) {
	for {
		if p, ok := d.index[path]; ok {
			return p.line, p.column
		}
		if path == "" {
			p := d.moved(position{1, 1})
			return p.line, p.column
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

// Has reports whether the document gives a value at path.
func (d *Doc) Has(path string) bool {
	_, ok := d.index[path]
	return ok
}

// Errorf returns an *Error at a path.
func (d *Doc) Errorf(path, format string, args ...any) error {
	line, column := d.Pos(path)
	return &Error{File: d.file, Line: line, Column: column, Msg: (&FieldError{join(d.prefix, path), fmt.Sprintf(format, args...)}).Error()}
}

// Locate makes a FieldError within err an *Error with its place in the document.
// Another error is returned as it is.
func (d *Doc) Locate(err error) error {
	var field *FieldError
	if !errors.As(err, &field) {
		return err
	}
	return d.Errorf(field.Path, "%s", field.Msg)
}

func (d *Doc) errorAt(t *token.Token, msg string) error {
	p := d.place(t)
	return &Error{File: d.file, Line: p.line, Column: p.column, Msg: msg}
}

// Keys are the keys of a document that is read into a struct like v.
func Keys(v any) []string { return keysOf(reflect.TypeOf(v)) }

// Recognise refuses a file that is not what it is to be: none of keys begins a
// line of it. The error repeats nothing of the file, as one of Parse would: what a
// document names, by extends for instance, may be a file that its author could not
// read.
func Recognise(file string, data []byte, what string, keys ...string) error {
	for line := range strings.Lines(strings.TrimPrefix(string(data), input.BOM)) {
		key, value, ok := strings.Cut(strings.TrimLeft(line, "{ \t"), ":")
		key = strings.Trim(key, ` "'`)
		if ok && slices.Contains(keys, key) && (value == "" || strings.ContainsRune(" \t\r\n", rune(value[0]))) {
			return nil
		}
	}
	return &Error{File: file, Line: 1, Column: 1, Msg: fmt.Sprintf("expected %s, a mapping with %s", what, either(keys))}
}
