package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"nbdbench/internal/atomicfile"
	"nbdbench/internal/input"
	"nbdbench/internal/text"
)

// FileLabels is the file of a run directory with the Labels of the run.
const FileLabels = "labels.json"

// SchemaLabels names the format of FileLabels.
const SchemaLabels = "nbdbench/labels/v1"

// The bounds of Labels.
const (
	MaxLabels    = 64
	MaxLabel     = 256  // bytes of a name, a key or a value
	MaxNote      = 4096 // bytes
	maxLabelFile = 1 << 17
)

// Labels are what a person says of a stored run. They are no part of its document,
// which the same plan gives again, byte for byte.
type Labels struct {
	Schema string            `json:"schema"`
	Name   string            `json:"name,omitempty"`
	Note   string            `json:"note,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Empty reports whether nothing is said.
func (l *Labels) Empty() bool { return l.Name == "" && l.Note == "" && len(l.Labels) == 0 }

// Check refuses what is too long or has control characters. The error begins with the
// field.
func (l *Labels) Check() error {
	if len(l.Labels) > MaxLabels {
		return fmt.Errorf("labels: expected at most %d, got %d", MaxLabels, len(l.Labels))
	}
	errs := []error{line("name", l.Name, MaxLabel), line("note", l.Note, MaxNote)}
	for k, v := range l.Labels {
		if k == "" {
			errs = append(errs, errors.New("labels: expected a key before =, got none"))
		}
		errs = append(errs, line("labels", k, MaxLabel), line("labels", v, MaxLabel))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// line refuses a text that is not one line of at most that many bytes.
func line(field, s string, most int) error {
	switch {
	case len(s) > most:
		return fmt.Errorf("%s: expected at most %d bytes, got %d", field, most, len(s))
	case text.Line(s) != s:
		return fmt.Errorf("%s: expected one line without control characters, got %q", field, s)
	}
	return nil
}

// Save writes the labels of the run in dir, in place of those that it has.
func (l *Labels) Save(dir string) error {
	if err := l.Check(); err != nil {
		return err
	}
	l.Schema = SchemaLabels
	return atomicfile.Write(filepath.Join(dir, FileLabels), func(w io.Writer) error {
		e := json.NewEncoder(text.JSON(w))
		e.SetIndent("", "  ")
		return e.Encode(l)
	})
}

// ReadLabels reads the labels of the run in dir; a run without has empty ones. The
// error is a *FileError.
func ReadLabels(dir string) (*Labels, error) {
	path := filepath.Join(dir, FileLabels)
	doc, err := input.Read(path, maxLabelFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Labels{Schema: SchemaLabels}, nil
	case err != nil:
		return nil, &FileError{Path: path, Err: err}
	}
	var l Labels
	err = json.Unmarshal(doc, &l)
	switch {
	case err != nil:
		err = placed(doc, err)
	case l.Schema != SchemaLabels:
		err = fmt.Errorf("schema: expected %q, got %q", SchemaLabels, l.Schema)
	default:
		err = l.Check()
	}
	if e, ok := errors.AsType[*FileError](err); ok {
		e.Path = path
		return nil, e
	}
	if err != nil {
		return nil, &FileError{Path: path, Err: err}
	}
	return &l, nil
}
