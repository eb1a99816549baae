package conf

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// MaxStored bounds a value that ParseWithin reads, in bytes.
const MaxStored = 16 << 20

// Within is where a value stands in a larger file.
type Within struct {
	File         string
	Line, Column int    // of its first byte, from 1
	Path         string // such as "devices.nvme-990pro.profile"
}

// ParseWithin reads a value that is a part of a larger file, such as one of a
// JSON document, which is YAML as well. Errors name the place in that file.
func ParseWithin(at Within, data []byte) (*Doc, error) {
	d := &Doc{file: at.File, prefix: at.Path, start: position{max(at.Line, 1), max(at.Column, 1)}}
	return d.read(data, MaxStored)
}

// moved is a place in the value as one in the file that it is a part of.
func (d *Doc) moved(p position) position {
	switch {
	case d.start == position{}:
		return p
	case p.line == 1:
		p.column += d.start.column - 1
	}
	p.line += d.start.line - 1
	return p
}

// JSON writes a struct as a JSON object that Decode reads, with the keys of
// Decode in the order of the fields. Every number and every switch is written, the zero
// ones too, unless its tag says omitzero; a text, a list, a map or a pointer is
// left out where it is empty.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := writeJSON(&b, reflect.ValueOf(v)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func writeJSON(b *bytes.Buffer, v reflect.Value) error {
	switch x := v.Interface().(type) {
	case time.Duration:
		return writeScalar(b, x.String())
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			return err
		}
		return writeScalar(b, string(text))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return writeJSON(b, v.Elem())
	case reflect.Struct:
		b.WriteByte('{')
		err := writeFields(b, v, new(int))
		b.WriteByte('}')
		return err
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			separate(b, i)
			if err := writeJSON(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case reflect.Map:
		return writeMap(b, v)
	}
	return writeScalar(b, v.Interface())
}

// writeFields writes what Decode has keys for; n counts what is in the object.
func writeFields(b *bytes.Buffer, v reflect.Value, n *int) error {
	for i := range v.NumField() {
		key, inline := tagOf(v.Type().Field(i))
		f := v.Field(i)
		switch {
		case inline:
			if err := writeFields(b, f, n); err != nil {
				return err
			}
		case key != "" && !isEmpty(f) && !(f.IsZero() && omitsZero(v.Type().Field(i))):
			separate(b, *n)
			*n++
			if err := writeEntry(b, key, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeMap writes a map of strings in the order of its keys.
func writeMap(b *bytes.Buffer, v reflect.Value) error {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
	b.WriteByte('{')
	for i, k := range keys {
		separate(b, i)
		if err := writeEntry(b, k.String(), v.MapIndex(k)); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeEntry(b *bytes.Buffer, key string, v reflect.Value) error {
	if err := writeScalar(b, key); err != nil {
		return err
	}
	b.WriteByte(':')
	if err := writeJSON(b, v); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// writeScalar writes a text, a number or a switch.
func writeScalar(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the encoder's newline
	return nil
}

func separate(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

// isEmpty reports whether v says nothing: unlike a number, which may be 0.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil()
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return false
}
