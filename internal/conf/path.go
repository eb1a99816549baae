package conf

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Get returns the value at a path of a struct, such as "steps[2].size": its keys are
// those of Decode. Where that is a pointer to nothing, it is the zero value of what it
// points to. The error is a *FieldError with the path.
func Get(from any, path string) (value any, err error) {
	v := reflect.New(reflect.TypeOf(from)).Elem()
	v.Set(reflect.ValueOf(from))
	err = visit(v, path, func(v reflect.Value) error {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v = reflect.New(v.Type().Elem())
			}
			v = v.Elem()
		}
		value = v.Interface()
		return nil
	})
	return value, err
}

// Set reads text as a document's value at a path of the struct that into points to,
// which must be a single value there: no list, no mapping. What the struct shares with
// another through pointers, lists and maps is copied first. The error is a *FieldError
// with the path.
func Set(into any, path, text string) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("conf: Set into %T, which is not a pointer", into))
	}
	return visit(v.Elem(), path, func(v reflect.Value) error {
		doc, err := Parse("value", []byte(text))
		if err != nil {
			return fmt.Errorf("expected %s, got %q", wanted(v.Type()), clip(text))
		}
		n := Node{doc, "", doc.root}
		if n.Kind() != Scalar {
			return fmt.Errorf("expected a single value, got %q", clip(text))
		}
		var e *Error
		if err := n.into(v); errors.As(err, &e) {
			return errors.New(e.Msg)
		}
		return nil
	})
}

// visit calls at with the value at a path of v, which is addressable.
func visit(v reflect.Value, path string, at func(reflect.Value) error) error {
	err := walkTo(v, stepsOf(path), at)
	var field *FieldError
	if err == nil || errors.As(err, &field) {
		return err
	}
	return At(path, "%v", err)
}

// stepsOf cuts a path into keys and indexes: "steps", "[2]", "size".
func stepsOf(path string) (steps []string) {
	for part := range strings.SplitSeq(path, ".") {
		key, indexes, _ := strings.Cut(part, "[")
		steps = append(steps, key)
		for index := range strings.SplitSeq(indexes, "[") {
			if indexes != "" {
				steps = append(steps, "["+index)
			}
		}
	}
	return steps
}

// walkTo goes the steps from v, and copies what it goes through.
func walkTo(v reflect.Value, steps []string, at func(reflect.Value) error) error {
	if len(steps) == 0 {
		return at(v)
	}
	step, rest := steps[0], steps[1:]
	index, isIndex := indexOf(step)
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return fmt.Errorf("there is no %q here", clip(step))
		}
		fresh := reflect.New(v.Type().Elem())
		fresh.Elem().Set(v.Elem())
		v.Set(fresh)
		return walkTo(fresh.Elem(), steps, at)
	case reflect.Struct:
		field, ok := fieldByKey(v, step)
		if !ok {
			return fmt.Errorf("unknown key %q, expected %s", clip(step), either(keysOf(v.Type())))
		}
		if field.Kind() == reflect.Pointer && field.IsNil() && len(rest) > 0 {
			return fmt.Errorf("there is no %q here", clip(step))
		}
		return walkTo(field, rest, at)
	case reflect.Slice:
		if !isIndex || index >= v.Len() {
			return fmt.Errorf("expected one of %d entries, from [0] on, got %q", v.Len(), clip(step))
		}
		fresh := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(fresh, v)
		v.Set(fresh)
		return walkTo(fresh.Index(index), rest, at)
	case reflect.Map:
		return walkMap(v, step, rest, at)
	}
	return fmt.Errorf("there is no %q here: this is a single value", clip(step))
}

// walkMap goes the steps from a map of texts, of which it makes a copy.
func walkMap(v reflect.Value, key string, rest []string, at func(reflect.Value) error) error {
	keys := make(map[string]bool, v.Len())
	fresh := reflect.MakeMapWithSize(v.Type(), v.Len())
	for _, k := range v.MapKeys() {
		keys[k.String()] = true
		fresh.SetMapIndex(k, v.MapIndex(k))
	}
	if !keys[key] {
		return fmt.Errorf("expected %s, got %q", either(slices.Sorted(maps.Keys(keys))), clip(key))
	}
	k := reflect.ValueOf(key).Convert(v.Type().Key())
	value := reflect.New(v.Type().Elem()).Elem()
	value.Set(v.MapIndex(k))
	if err := walkTo(value, rest, at); err != nil {
		return err
	}
	fresh.SetMapIndex(k, value)
	v.Set(fresh)
	return nil
}

// indexOf reads "[2]".
func indexOf(step string) (int, bool) {
	inner, open := strings.CutPrefix(step, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	n, err := strconv.ParseUint(inner, 10, 31)
	return int(n), open && closed && err == nil
}
