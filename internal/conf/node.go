package conf

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Unmarshaler is a type that reads itself from a Node, because it has several
// spellings.
type Unmarshaler interface {
	UnmarshalNode(n Node) error
}

// Kind is what a Node is.
type Kind uint8

// The kinds of a Node.
const (
	Empty    Kind = iota // nothing, or null
	Scalar               // text, a number, true or false
	Sequence             // [a, b]
	Mapping              // {key: value}
)

var kindNames = [...]string{"nothing", "a scalar", "a list", "a mapping"}

func (k Kind) String() string { return kindNames[k] }

// Node is one value of a document, with its place.
type Node struct {
	doc  *Doc
	path string
	ast  ast.Node
}

// Kind says what n is.
func (n Node) Kind() Kind {
	switch n.ast.(type) {
	case nil, *ast.NullNode:
		return Empty
	case *ast.MappingNode:
		return Mapping
	case *ast.SequenceNode:
		return Sequence
	}
	return Scalar
}

// Path is where n is in the document, such as "steps[2]".
func (n Node) Path() string { return n.path }

// Each calls visit with each key of a mapping, or with an empty one and each value of a
// list, in the order of the document, until it fails. Another node has nothing.
func (n Node) Each(visit func(key string, value Node) error) error {
	switch m := n.ast.(type) {
	case *ast.MappingNode:
		for _, entry := range m.Values {
			if err := visit(keyOf(entry), n.child(keyOf(entry), entry.Value)); err != nil {
				return err
			}
		}
	case *ast.SequenceNode:
		for i, value := range m.Values {
			if err := visit("", n.child(fmt.Sprintf("[%d]", i), value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Text is a scalar's text as it is written, without quotes.
func (n Node) Text() string {
	switch v := n.ast.(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.LiteralNode:
		return v.Value.Value
	case nil:
		return ""
	}
	return n.ast.GetToken().Value
}

// plain reports whether n is a scalar without quotes, so that it can be a number.
func (n Node) plain() bool {
	if n.Kind() != Scalar {
		return false
	}
	switch n.ast.GetToken().Type {
	case token.SingleQuoteType, token.DoubleQuoteType, token.LiteralType, token.FoldedType:
		return false
	}
	return true
}

// Errorf returns an *Error at n.
func (n Node) Errorf(format string, args ...any) error {
	return n.doc.Errorf(n.path, format, args...)
}

// describe is what n is, for "expected a number, got ...".
func (n Node) describe() string {
	if n.Kind() != Scalar {
		return n.Kind().String()
	}
	return fmt.Sprintf("%q", clip(n.Text()))
}

// clip shortens what an error repeats.
func clip(text string) string {
	if len(text) > maxQuoted {
		return text[:maxQuoted] + "..."
	}
	return text
}

// maxQuoted bounds how much of a wrong value an error repeats.
const maxQuoted = 40
