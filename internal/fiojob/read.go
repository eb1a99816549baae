package fiojob

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"nbdbench/internal/conf"
)

// The bounds of a job file.
const (
	MaxBytes    = 1 << 20 // of one file
	MaxLine     = 4095    // bytes of one line, as in fio
	MaxIncludes = 64      // files that are included, in all
	MaxSettings = 1 << 14 // of all jobs together, those of [global] counted once for each job
	MaxJobs     = 1024    // sections
)

// Place is where something stands in a file; Line and Column count from 1.
type Place struct {
	File         string
	Line, Column int
}

func (p Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// errorf is an error at the place.
func (p Place) errorf(format string, args ...any) error {
	return &conf.Error{File: p.File, Line: p.Line, Column: p.Column, Msg: fmt.Sprintf(format, args...)}
}

// Setting is one line KEY=VALUE, or KEY alone.
type Setting struct {
	Place
	Key   string // without aliases
	Alias string // as in the file
	Value string // with environment variables replaced
	Bare  bool   // there was no =
}

// String is the setting as in the file, with at most 60 bytes of its value.
func (s *Setting) String() string {
	if s.Bare {
		return s.Alias
	}
	return s.Alias + "=" + short(s.Value)
}

func short(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}

// Section is a job of the file.
type Section struct {
	Place
	Name     string
	Settings []*Setting // those of [global] first; of one key the last is in force
}

// last is the setting of the key that is in force, or nil.
func (s *Section) last(key string) *Setting {
	for i := len(s.Settings) - 1; i >= 0; i-- {
		if s.Settings[i].Key == key {
			return s.Settings[i]
		}
	}
	return nil
}

// File is a job file that has been read.
type File struct {
	Name     string
	Settings []*Setting // all, in the order of the file
	Jobs     []*Section
}

// Reader reads job files.
type Reader struct {
	// Open returns the text of a file; it bounds what it reads by MaxBytes.
	Open func(name string) ([]byte, error)
	// Environment looks up a variable.
	Environment func(name string) (string, bool)
}

// Read reads a job file and what it includes. An error is a *conf.Error.
func (r Reader) Read(name string) (*File, error) {
	p := parser{Reader: r, out: &File{Name: name}}
	if err := p.file(name, false); err != nil {
		return nil, err
	}
	if len(p.out.Jobs) == 0 {
		return nil, &conf.Error{File: name, Msg: "expected at least one job: a section [NAME] that is not global"}
	}
	return p.out, nil
}

// parser is a file that is being read.
type parser struct {
	Reader
	out      *File
	global   []*Setting
	job      *Section // the present section; nil in [global]
	inside   bool     // a section has begun
	includes int
	total    int
}

// file reads one file; an included one has no sections.
func (p *parser) file(name string, included bool) error {
	data, err := p.Open(name)
	if err != nil {
		return &conf.Error{File: name, Msg: fmt.Sprintf("expected a job file of fio: %v", err)}
	}
	if len(data) > MaxBytes {
		return &conf.Error{File: name, Msg: fmt.Sprintf("%d bytes: expected at most %d", len(data), MaxBytes)}
	}
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		if err := p.line(Place{name, n, 1}, string(line), included); err != nil {
			return err
		}
	}
	return nil
}

const blanks = " \t\r\v\f"

// line reads one line. A comment begins with ; or # wherever that stands, also
// within a value.
func (p *parser) line(at Place, line string, included bool) error {
	if len(line) > MaxLine {
		return at.errorf("%d bytes: expected a line of at most %d, which fio reads at once", len(line), MaxLine)
	}
	text := strings.TrimLeft(line, blanks)
	at.Column += len(line) - len(text)
	if i := strings.IndexAny(text, ";#"); i >= 0 {
		text = text[:i]
	}
	text = strings.TrimRight(text, blanks)
	switch {
	case text == "":
		return nil
	case strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0:
		return at.errorf("expected text, got a control character")
	case text[0] == '[':
		return p.section(at, text, included)
	case strings.HasPrefix(text, "include "):
		return p.include(at, strings.TrimLeft(text[len("include "):], blanks))
	}
	return p.setting(at, text)
}

func (p *parser) section(at Place, text string, included bool) error {
	name := strings.TrimSuffix(text[1:], "]")
	switch {
	case included:
		return at.errorf("expected no section in an included file, as fio does")
	case text[len(text)-1] != ']' || strings.TrimSpace(name) == "":
		return at.errorf("expected [NAME], got %q", short(text))
	case len(p.out.Jobs) == MaxJobs:
		return at.errorf("expected at most %d sections", MaxJobs)
	}
	p.inside, p.job = true, nil
	if len(name) >= 6 && strings.EqualFold(name[:6], "global") { // [Global two] too, as in fio
		return nil
	}
	if p.total += len(p.global); p.total > MaxSettings {
		return at.errorf("expected at most %d settings of all jobs together", MaxSettings)
	}
	p.job = &Section{Place: at, Name: name, Settings: append([]*Setting(nil), p.global...)}
	p.out.Jobs = append(p.out.Jobs, p.job)
	return nil
}

// include reads a file whose name is relative to the one that includes it.
func (p *parser) include(at Place, name string) error {
	if p.includes++; p.includes > MaxIncludes {
		return at.errorf("expected at most %d included files, got one that includes itself or too many", MaxIncludes)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(at.File), name)
	}
	return p.file(name, true)
}

func (p *parser) setting(at Place, text string) error {
	if !p.inside {
		return at.errorf("expected a section [NAME] first, got %q", short(text))
	}
	if p.total++; p.total > MaxSettings {
		return at.errorf("expected at most %d settings of all jobs together", MaxSettings)
	}
	text, err := p.replace(at, text)
	if err != nil {
		return err
	}
	key, value, has := strings.Cut(text, "=")
	key = strings.TrimRight(key, blanks)
	if trimmed := strings.TrimLeft(value, blanks); trimmed != value {
		if !digits.MatchString(trimmed) {
			return at.errorf("%s: expected the value right after =: fio reads a blank before it as a part of it, and so %q as something else", short(key), short(value))
		}
		value = trimmed
	}
	s := &Setting{Place: at, Key: canonical(key), Alias: key, Value: value, Bare: !has}
	p.out.Settings = append(p.out.Settings, s)
	if p.job == nil {
		p.global = append(p.global, s)
	} else {
		p.job.Settings = append(p.job.Settings, s)
	}
	return nil
}

var (
	digits    = regexp.MustCompile(`^[0-9]+$`)
	variable  = regexp.MustCompile(`\$\{[^}]*\}`)
	ofMachine = regexp.MustCompile(`\$(pagesize|mb_memory|ncpus)`)
)

// replace puts the values of environment variables in the place of ${NAME}.
func (p *parser) replace(at Place, text string) (string, error) {
	var err error
	text = variable.ReplaceAllStringFunc(text, func(v string) string {
		value, ok := "", false
		if p.Environment != nil {
			value, ok = p.Environment(v[2 : len(v)-1])
		}
		if !ok && err == nil {
			err = at.errorf("%s: expected an environment variable that is set; for fio it is empty", short(v))
		}
		return value
	})
	switch {
	case err != nil:
		return "", err
	case len(text) > MaxLine || strings.ContainsAny(text, "\n\x00"):
		return "", at.errorf("expected at most %d bytes of one line after the variables are replaced", MaxLine)
	case ofMachine.MatchString(text):
		return "", at.errorf("expected a value, got %s, which is another on each machine", ofMachine.FindString(text))
	}
	return text, nil
}
