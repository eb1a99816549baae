package conf

import (
	"errors"
	"fmt"
)

// Error is something wrong at one place of a file.
type Error struct {
	File         string
	Line, Column int // from 1; 0 where the file as a whole is wrong
	Msg          string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// FieldError is something wrong with one field of a value, which may or may not
// have come from a file. Locate makes it an Error.
type FieldError struct {
	Path string // such as "steps[2].size"; empty is the value as a whole
	Msg  string
}

func (e *FieldError) Error() string {
	if e.Path == "" {
		return e.Msg
	}
	return e.Path + ": " + e.Msg
}

// At returns a FieldError.
func At(path, format string, args ...any) error {
	return &FieldError{Path: path, Msg: fmt.Sprintf(format, args...)}
}

// Under puts prefix before the path of a FieldError, so that a part can be
// validated without knowing where it stands. Other errors become a FieldError
// at the prefix; nil stays nil.
func Under(prefix string, err error) error {
	if err == nil {
		return nil
	}
	var field *FieldError
	if !errors.As(err, &field) {
		return &FieldError{Path: prefix, Msg: err.Error()}
	}
	return &FieldError{Path: join(prefix, field.Path), Msg: field.Msg}
}

// join makes one path of two.
func join(prefix, path string) string {
	if prefix == "" || path == "" || path[0] == '[' {
		return prefix + path
	}
	return prefix + "." + path
}
