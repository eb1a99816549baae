package sh

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/plugin"
	"nbdbench/internal/text"
)

// Options say which script is a plugin, and how.
type Options struct {
	Path string
	// Args configure it: key=value, or a word for its magic_config_key.
	Args []string
	// Timeout bounds each call that no Conn's context bounds: load to after_fork, close
	// and unload. 0 is no bound.
	Timeout time.Duration
}

// Prefix begins the device name of a script: sh:PATH?key=value&...
const Prefix = "sh:"

// IsDevice reports whether a device name is that of a script: whether it begins with
// Prefix.
func IsDevice(device string) bool { return strings.HasPrefix(device, Prefix) }

// Parse reads the device name of a script. The path ends at the first "?". Of keys and
// values %XX is the byte XX.
func Parse(device string) (Options, error) {
	path, query, more := strings.Cut(strings.TrimPrefix(device, Prefix), "?")
	o := Options{Path: path}
	if path == "" {
		return o, fmt.Errorf("%s: expected the path of a script, %sPATH", device, Prefix)
	}
	if !more {
		return o, nil
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, _, ok := strings.Cut(pair, "=")
		arg, err := url.PathUnescape(pair)
		if err != nil || !ok || !isKey(key) || strings.Contains(arg, "\x00") {
			return o, fmt.Errorf(`%s: expected key=value, got "%s"`, text.Line(device), shown(pair))
		}
		o.Args = append(o.Args, arg)
	}
	return o, nil
}

// Check says what is wrong with the script, without running it.
func (o Options) Check() error {
	_, err := executable(o.Path)
	return err
}

// Script is a script that is loaded.
type Script struct {
	o      Options
	path   string // absolute
	dir    string // $tmpdir
	env    []string
	magic  string // the key of bare words; empty is none
	thread plugin.ThreadModel
}

// Error is a call of a script that failed.
type Error struct {
	Script string // as in Options
	Method string
	Errno  devices.Errno // what it is on the wire; ENOTSUP of zero alone
	Text   string        // one line, bounded and escaped
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %s", e.Script, e.Method, e.Text) }

// Unwrap is the errno.
func (e *Error) Unwrap() error { return e.Errno }

// fail is an error that the script did not name.
func (s *Script) fail(method, format string, args ...any) *Error {
	return &Error{Script: s.o.Path, Method: method, Errno: devices.EIO, Text: fmt.Sprintf(format, args...)}
}

// Load checks and starts the script: load, magic_config_key, config for each argument,
// config_complete, thread_model, get_ready and after_fork, as nbdkit does in the
// foreground. If it fails nothing is left, and as under nbdkit unload is not called.
func Load(ctx context.Context, o Options) (*Script, error) {
	s := &Script{o: o}
	var err error
	if s.path, err = executable(o.Path); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "nbdbench-sh-"); err != nil {
		return nil, err
	}
	s.env = append(os.Environ(), "tmpdir="+s.dir)
	if err := s.load(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// executable is the absolute path of a script, without symbolic links, as nbdkit has
// it.
func executable(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		var at *os.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return "", fmt.Errorf("%s: expected a script: %w", path, err)
	}
	info, err := os.Stat(abs)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: expected a script, which is a file", path)
	case info.Mode()&0o111 == 0:
		return "", fmt.Errorf("%s: expected an executable script; chmod +x makes it one", path)
	}
	return abs, nil
}

func (s *Script) load(ctx context.Context) error {
	if _, err := s.optional(ctx, "load"); err != nil {
		return err
	}
	key, _, err := s.answer(ctx, "magic_config_key")
	if err != nil {
		return err
	}
	s.magic = string(key)
	for _, arg := range s.o.Args {
		if err := s.config(ctx, arg); err != nil {
			return err
		}
	}
	if _, err := s.optional(ctx, "config_complete"); err != nil {
		return err
	}
	model, _, err := s.answer(ctx, "thread_model")
	if err != nil {
		return err
	}
	s.thread = parseThreadModel(model)
	for _, method := range []string{"get_ready", "after_fork"} {
		if _, err := s.optional(ctx, method); err != nil {
			return err
		}
	}
	return nil
}

// config hands an argument to the script.
func (s *Script) config(ctx context.Context, arg string) error {
	key, value, ok := strings.Cut(arg, "=")
	if !ok || !isKey(key) {
		key, value = "script", arg
	}
	if key == "script" { // nbdkit's key of a bare word
		if key = s.magic; key == "" {
			return s.fail("config", `expected key=value, got "%s"`, shown(arg))
		}
	}
	known, err := s.optional(ctx, "config", key, value)
	if err == nil && !known {
		return s.fail("config", `the script takes no arguments, got "%s"`, shown(arg))
	}
	return err
}

// isKey reports whether s is a key to nbdkit: server/main.c, is_config_key.
func isKey(s string) bool {
	for i, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')) {
			return false
		}
	}
	return s != ""
}

// Plugin is the script as a plugin. It is usable until Unload.
func (s *Script) Plugin() plugin.Plugin {
	return plugin.Plugin{Name: filepath.Base(s.o.Path), Thread: s.thread, Open: s.open, Exports: s.exports}
}

// Unload calls the script's unload, whose failure is no error, and removes its
// temporary directory. The Plugin's calls have ended.
func (s *Script) Unload() error {
	_, _ = s.optional(context.Background(), "unload")
	return os.RemoveAll(s.dir)
}

// status is how a method ended that did not fail.
type status uint8

const (
	done    status = iota // exit code 0
	no                    // exit code 3
	missing               // exit code 2
)

// bounded bounds a call that no Conn's context bounds.
func (s *Script) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.o.Timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.o.Timeout)
}

// call runs a method.
func (s *Script) call(ctx context.Context, p *process) (status, error) {
	method := p.argv[0]
	p.errors.b = make([]byte, MaxAnswer)
	if err := p.run(ctx, s.path, s.env); err != nil {
		if errors.Is(err, syscall.ENOENT) { // it is there: Load has seen it
			err = fmt.Errorf("%w; the program that its first line names is not there, or the script is not any more", err)
		}
		return 0, s.fail(method, "%s", shown(err.Error()))
	}
	if p.output.over {
		return 0, s.fail(method, "expected at most %d bytes on stdout, got more than %d", len(p.output.b), p.output.n)
	}
	switch p.state.ExitCode() {
	case 0:
		return done, nil
	case 2:
		return missing, nil
	case 3:
		return no, nil
	}
	e, said := parseErrno(p.errors.kept())
	if e == devices.ENOTSUP && method != "zero" {
		e = devices.EINVAL
	}
	return 0, &Error{Script: s.o.Path, Method: method, Errno: e, Text: failure(p, e, said)}
}

// failure says how a process failed.
func failure(p *process, e devices.Errno, said string) string {
	if said != "" {
		said = ": " + shown(said)
	}
	if p.state.ExitCode() < 0 {
		return fmt.Sprintf("the script died, %v%s", p.state, said)
	}
	if len(p.errors.kept()) == 0 {
		return fmt.Sprintf("the script failed with %v and no message", p.state)
	}
	return e.String() + said
}

// definite is call for a method that does not answer no.
func (s *Script) definite(ctx context.Context, p *process) (exists bool, err error) {
	how, err := s.call(ctx, p)
	if err == nil && how == no {
		err = s.fail(p.argv[0], "expected exit code 0 for success or 1 for an error, got 3, which is false")
	}
	return how == done, err
}

// optional runs a method that answers nothing and need not be there.
func (s *Script) optional(ctx context.Context, argv ...string) (exists bool, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.definite(ctx, &process{argv: argv})
}

// answer runs a method that prints an answer and need not be there. The newline at its
// end is not part of it.
func (s *Script) answer(ctx context.Context, argv ...string) (b []byte, exists bool, err error) {
	b, exists, err = s.printed(ctx, MaxAnswer, argv...)
	return answer(b), exists, err
}

// printed runs a method that prints at most limit bytes.
func (s *Script) printed(ctx context.Context, limit int, argv ...string) (b []byte, exists bool, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	p := &process{argv: argv, output: output{b: make([]byte, limit)}}
	exists, err = s.definite(ctx, p)
	switch {
	case err != nil || !exists:
		return nil, exists, err
	case p.output.excess():
		return nil, false, s.fail(argv[0], "expected at most %d bytes on stdout, got %d", limit, p.output.n)
	}
	return p.output.kept(), true, nil
}

// exports lists the exports, or without list_exports the default one.
func (s *Script) exports(ctx context.Context, c plugin.ConnInfo) ([]plugin.Export, error) {
	b, exists, err := s.printed(ctx, MaxList, "list_exports", word(c.ReadOnly), word(c.TLS))
	if err != nil {
		return nil, err
	}
	if !exists {
		name, err := s.defaultExport(ctx, c.ReadOnly, c.TLS)
		return []plugin.Export{{Name: name}}, err
	}
	list, err := parseExports(b)
	if err != nil {
		return nil, s.fail("list_exports", "%v", err)
	}
	return list, nil
}

// defaultExport is the export that the empty name stands for.
func (s *Script) defaultExport(ctx context.Context, readOnly, tls bool) (string, error) {
	b, _, err := s.printed(ctx, MaxAnswer, "default_export", word(readOnly), word(tls))
	if err != nil {
		return "", err
	}
	name := firstExport(b)
	if err := checkName(name); err != nil {
		return "", s.fail("default_export", "%v", err)
	}
	return name, nil
}

// word is how a script is handed a yes or no.
func word(yes bool) string {
	if yes {
		return "true"
	}
	return "false"
}
