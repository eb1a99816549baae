package catalog

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Encode writes the profile as a file that Parse reads, in the order of the
// fields here: what is zero is left out, maps are sorted, rows stand on one line
// each. A profile that extends another is written with what it has inherited.
func (p *Profile) Encode() ([]byte, error) {
	var b bytes.Buffer
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		key := keyOf(v.Type().Field(i))
		if key == "" || key == "extends" || v.Field(i).IsZero() {
			continue
		}
		if err := encodeField(&b, key, v.Field(i)); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return b.Bytes(), nil
}

// keyOf is the key of a field in a file; fields that have none are not in it.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key
}

// encodeField writes one key of the profile with all that is below it.
func encodeField(b *bytes.Buffer, key string, v reflect.Value) error {
	rows, ok := v.Interface().([]Row)
	if !ok {
		text, err := yaml.MarshalWithOptions(yaml.MapSlice{{Key: key, Value: plain(v)}}, yaml.UseLiteralStyleIfMultiline(true))
		b.Write(text)
		return err
	}
	fmt.Fprintf(b, "%s:\n", key)
	for i := range rows {
		line, err := yaml.MarshalWithOptions(plain(reflect.ValueOf(rows[i])), yaml.Flow(true))
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "  - %s\n", bytes.TrimSpace(line))
	}
	return nil
}

// plain is v as YAML has it: structs as ordered maps without what is zero, types
// with a text as that.
func plain(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		return plain(v.Elem())
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			panic(fmt.Sprintf("catalog: %T has no text: %v", x, err)) // none of ours fails
		}
		if n, err := strconv.ParseUint(string(text), 10, 64); err == nil {
			return n // a size without a unit needs no quotes
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Struct:
		out := yaml.MapSlice{}
		for i := range v.NumField() {
			if key := keyOf(v.Type().Field(i)); key != "" && !v.Field(i).IsZero() {
				out = append(out, yaml.MapItem{Key: key, Value: plain(v.Field(i))})
			}
		}
		return out
	case reflect.Map:
		return sorted(v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			out := make([]any, v.Len())
			for i := range out {
				out[i] = plain(v.Index(i))
			}
			return out
		}
	}
	return v.Interface()
}

// sorted is a map of strings in the order of its keys.
func sorted(v reflect.Value) yaml.MapSlice {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	out := yaml.MapSlice{}
	for _, k := range keys {
		out = append(out, yaml.MapItem{Key: k.String(), Value: plain(v.MapIndex(k))})
	}
	return out
}
