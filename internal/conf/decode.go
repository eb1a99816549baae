package conf

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"nbdbench/internal/units"
)

// Decode reads the document into what into points to. A struct's fields that
// the document does not name keep their values. An empty document changes
// nothing. The error is an *Error.
func (d *Doc) Decode(into any) error {
	if d.root == nil {
		return nil
	}
	return Node{d, "", d.root}.Decode(into)
}

// Decode reads n into what into points to. Passing anything but a pointer, or a
// type that has no spelling in YAML, is a programmer's error and panics.
func (n Node) Decode(into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("conf: Decode into %T, which is not a pointer", into))
	}
	return n.into(v.Elem())
}

var durationType = reflect.TypeFor[time.Duration]()

// into reads n into v, which is addressable.
func (n Node) into(v reflect.Value) error {
	if n.Kind() == Empty {
		return n.Errorf("expected %s, got nothing", wanted(v.Type()))
	}
	switch u := v.Addr().Interface().(type) {
	case Unmarshaler:
		return n.custom(u)
	case encoding.TextUnmarshaler:
		return n.text(u, v.Type())
	}
	if v.Type() == durationType {
		return n.duration(v)
	}
	switch v.Kind() {
	case reflect.Struct:
		return n.structure(v)
	case reflect.Slice:
		return n.slice(v)
	case reflect.Map:
		return n.mapping(v)
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		v.Set(fresh)
		return n.into(fresh.Elem())
	default:
		return n.scalar(v)
	}
}

func (n Node) custom(u Unmarshaler) error {
	err := u.UnmarshalNode(n)
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return n.doc.Locate(Under(n.path, err))
}

func (n Node) text(u encoding.TextUnmarshaler, t reflect.Type) error {
	if n.Kind() != Scalar {
		return n.mismatch(t)
	}
	if err := u.UnmarshalText([]byte(n.Text())); err != nil {
		return n.Errorf("%v", err)
	}
	return nil
}

func (n Node) duration(v reflect.Value) error {
	if n.Kind() != Scalar {
		return n.mismatch(v.Type())
	}
	d, err := units.ParseDuration(n.Text())
	if err != nil {
		return n.Errorf("%v", err)
	}
	v.SetInt(int64(d))
	return nil
}

func (n Node) structure(v reflect.Value) error {
	m, ok := n.ast.(*ast.MappingNode)
	if !ok {
		return n.mismatch(v.Type())
	}
	for _, entry := range m.Values {
		key := keyOf(entry)
		field, ok := fieldByKey(v, key)
		if !ok {
			return n.doc.errorAt(entry.Key.GetToken(), fmt.Sprintf("unknown key %q, expected %s", clip(key), either(keysOf(v.Type()))))
		}
		if err := n.child(key, entry.Value).into(field); err != nil {
			return err
		}
	}
	return nil
}

func (n Node) child(key string, value ast.Node) Node {
	return Node{n.doc, join(n.path, key), value}
}

func (n Node) slice(v reflect.Value) error {
	s, ok := n.ast.(*ast.SequenceNode)
	if !ok {
		return n.mismatch(v.Type())
	}
	out := reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values))
	for i, value := range s.Values {
		if err := n.child(fmt.Sprintf("[%d]", i), value).into(out.Index(i)); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

func (n Node) mapping(v reflect.Value) error {
	m, ok := n.ast.(*ast.MappingNode)
	if !ok {
		return n.mismatch(v.Type())
	}
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("conf: %v has keys that are not strings", v.Type()))
	}
	out := reflect.MakeMapWithSize(v.Type(), len(m.Values))
	for _, entry := range m.Values {
		key := keyOf(entry)
		value := reflect.New(v.Type().Elem()).Elem()
		if err := n.child(key, entry.Value).into(value); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
	}
	v.Set(out)
	return nil
}

// scalar reads text, a number or a boolean. Text that looks like something
// else must be quoted, and a quoted number is text.
func (n Node) scalar(v reflect.Value) error {
	text, ok := n.Text(), n.plain()
	switch v.Kind() {
	case reflect.String:
		if _, isText := n.ast.(ast.ScalarNode); isText && n.isText() {
			v.SetString(text)
			return nil
		}
	case reflect.Bool:
		if ok && (text == "true" || text == "false") {
			v.SetBool(text == "true")
			return nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if i, err := strconv.ParseInt(text, 10, v.Type().Bits()); ok && err == nil {
			v.SetInt(i)
			return nil
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if u, err := strconv.ParseUint(text, 10, v.Type().Bits()); ok && err == nil {
			v.SetUint(u)
			return nil
		}
	case reflect.Float32, reflect.Float64:
		if f, err := strconv.ParseFloat(text, v.Type().Bits()); ok && err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			v.SetFloat(f)
			return nil
		}
	default:
		panic(fmt.Sprintf("conf: no spelling for a %v", v.Type()))
	}
	return n.mismatch(v.Type())
}

func (n Node) isText() bool {
	switch n.ast.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return true
	}
	return false
}

func (n Node) mismatch(t reflect.Type) error {
	hint := ""
	if t.Kind() == reflect.String && n.Kind() == Scalar {
		hint = " (in quotes it is text)"
	}
	return n.Errorf("expected %s, got %s%s", wanted(t), n.describe(), hint)
}

// fieldByKey finds the field of struct v whose yaml key is key.
func fieldByKey(v reflect.Value, key string) (reflect.Value, bool) {
	t := v.Type()
	for i := range t.NumField() {
		name, inline := tagOf(t.Field(i))
		if inline {
			if f, ok := fieldByKey(v.Field(i), key); ok {
				return f, true
			}
		} else if name == key && name != "" { // a hidden field has no key, not the empty one
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// keysOf are the keys of struct t, in the order of its fields.
func keysOf(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		name, inline := tagOf(t.Field(i))
		if inline {
			keys = append(keys, keysOf(t.Field(i).Type)...)
		} else if name != "" {
			keys = append(keys, name)
		}
	}
	return keys
}

// tagOf reads a field's yaml tag. A field without a name there has no key.
func tagOf(f reflect.StructField) (name string, inline bool) {
	name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if !f.IsExported() || name == "-" {
		return "", false
	}
	return name, options == "inline"
}

// omitsZero reports whether JSON leaves the field out where it is zero.
func omitsZero(f reflect.StructField) bool { return strings.HasSuffix(f.Tag.Get("yaml"), ",omitzero") }

// either joins alternatives as prose.
func either(words []string) string {
	if len(words) == 0 {
		return "no keys here"
	}
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// wanted names what a type is written as.
func wanted(t reflect.Type) string {
	if t == durationType {
		t = reflect.TypeFor[units.Duration]()
	}
	if u, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		return wantedText(u)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		limit := int64(1)<<(t.Bits()-1) - 1
		return fmt.Sprintf("a whole number from %d to %d", -limit-1, limit)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-t.Bits()))
	}
	return "a value"
}

// wantedText asks u what it expects, which its error for an empty text says.
func wantedText(u encoding.TextUnmarshaler) string {
	if err := u.UnmarshalText(nil); err != nil {
		if _, expected, ok := strings.Cut(err.Error(), "expected "); ok {
			return expected
		}
	}
	return "a single value"
}
