//go:build linux

package sh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/internal/fork"
)

// script writes a script whose methods are the cases of a shell's case statement.
func script(t *testing.T, cases string) string {
	t.Helper()
	return file(t, "#!/bin/sh\ncase \"$1\" in\n"+cases+"\n*) exit 2 ;;\nesac\n", 0o755)
}

// file writes a file that no process which is being started at the same time has open:
// one that is open for writing cannot be run.
func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin.sh")
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, path string, args ...string) *Script {
	t.Helper()
	s, err := Load(t.Context(), Options{Path: path, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Unload(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// open opens a script that has a size of 1 MiB, besides the cases.
func open(t *testing.T, cases string) *plugin.Conn {
	t.Helper()
	c, err := load(t, script(t, "get_size) echo 1M ;;\n"+cases)).Plugin().Open(t.Context(), plugin.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// wantError checks that an error has an errno and says what it should.
func wantError(t *testing.T, what string, err error, errno devices.Errno, said string) {
	t.Helper()
	if err == nil || devices.ErrnoOf(err) != errno || !strings.Contains(err.Error(), said) {
		t.Errorf("%s: got %v (%v), want %v that says %q", what, err, devices.ErrnoOf(err), errno, said)
	}
	if err != nil && strings.ContainsAny(err.Error(), "\n\x1b\x00") {
		t.Errorf("%s: %q is not one line of text", what, err)
	}
}

func TestDataGoesThroughStdinAndStdout(t *testing.T) {
	c := open(t, `open) mktemp -d $tmpdir/h.XXXX ;;
pwrite) dd of=$2/disk bs=1 seek=$4 conv=notrunc 2>/dev/null ;;
pread) dd if=$2/disk bs=1 skip=$4 count=$3 2>/dev/null ;;
close) rm -r $2 ;;`)
	want := bytes.Repeat([]byte("ab\x00\n"), 100)
	if err := c.PWrite(t.Context(), want, 64, 0); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if err := c.PRead(t.Context(), got, 64); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %q, %v", got, err)
	}
}

// A long write is more than a pipe takes at once.
func TestAScriptMayIgnoreItsInput(t *testing.T) {
	c := open(t, `pwrite) [ "$4" = 0 ] || { echo "ENOSPC full" >&2; exit 1; } ;;`)
	long := make([]byte, 1<<20)
	if err := c.PWrite(t.Context(), long, 0, 0); err != nil {
		t.Error(err)
	}
	wantError(t, "with a message", c.PWrite(t.Context(), long, 512, 0), devices.ENOSPC, "full")
}

func TestErrorsOfAScript(t *testing.T) {
	c := open(t, `pwrite) eval "$(cat)" ;;`)
	for _, test := range []struct {
		does  string
		errno devices.Errno
		says  string
	}{
		{`exit 1`, devices.EIO, "no message"},
		{`exit 2`, devices.EIO, "lacks this method"},
		{`exit 3`, devices.EIO, "got 3"},
		{`exit 4`, devices.EIO, "exit status 4"},
		{`exit 127`, devices.EIO, "exit status 127"},
		{`echo 'ENOSPC Out of space' >&2; exit 1`, devices.ENOSPC, "ENOSPC: Out of space"},
		{`printf 'einval\tlower case\nand more' >&2; exit 7`, devices.EINVAL, "EINVAL: lower case"},
		{`echo EINVALID word >&2; exit 1`, devices.EIO, "EINVALID word"},
		{`echo ' EINVAL' >&2; exit 1`, devices.EIO, "EINVAL"},
		{`echo EROFS >&2; exit 1`, devices.EPERM, "EPERM"},
		{`echo EDQUOT >&2; exit 1`, devices.ENOSPC, "ENOSPC"},
		{`echo ENOTSUP >&2; exit 1`, devices.EINVAL, "EINVAL"},
		{`echo EOVERFLOW >&2; exit 1`, devices.EINVAL, "EINVAL"},
		{`printf 'ESHUTDOWN \033[2J' >&2; exit 1`, devices.ESHUTDOWN, `\x1b[2J`},
		{`kill -9 $$`, devices.EIO, "signal: killed"},
		{`kill -SEGV $$`, devices.EIO, "segmentation fault"},
		{`echo ENOMEM before it died >&2; kill -9 $$`, devices.ENOMEM, "before it died"},
		{`yes EIO | head -c 1000000 >&2; exit 1`, devices.EIO, "EIO"},
	} {
		wantError(t, test.does, c.PWrite(t.Context(), []byte(test.does), 0, 0), test.errno, test.says)
	}
	if err := c.PWrite(t.Context(), []byte(`echo EIO >&2; exit 0`), 0, 0); err != nil {
		t.Errorf("stderr of a method that succeeds: %v", err)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	c := open(t, `flush) printf 'EIO ' >&2; head -c 100000 /dev/zero >&2; exit 1 ;;
cache) head -c 100000 /dev/urandom >&2; exit 1 ;;`)
	for _, err := range []error{c.Flush(t.Context()), c.Cache(t.Context(), 512, 0)} {
		if n := len(err.Error()); n > 4*maxShown+300 {
			t.Errorf("%d bytes of message", n)
		}
	}
}

func TestAnsweredIs(t *testing.T) {
	for name, test := range map[string]struct {
		does  string
		want  any // nil: an error
		says  string
		calls func(context.Context, *plugin.Conn) (any, error)
	}{
		"can_fua native":       {`can_fua) echo Native ;;`, fua.Native, "", canFUA},
		"can_fua EMULATE":      {`can_fua) printf EMULATE ;;`, fua.Emulate, "", canFUA},
		"can_fua none":         {`can_fua) echo none ;;`, fua.No, "", canFUA},
		"can_fua and a blank":  {`can_fua) echo 'native ' ;;`, nil, `got "native "`, canFUA},
		"can_fua and a line":   {`can_fua) printf 'native\n\n' ;;`, nil, "expected none, emulate or native", canFUA},
		"can_fua and nothing":  {`can_fua) ;;`, nil, `got ""`, canFUA},
		"can_fua exits with 3": {`can_fua) echo native; exit 3 ;;`, nil, "got 3", canFUA},
		"can_fua fails":        {`can_fua) echo EPERM not today >&2; exit 1 ;;`, nil, "not today", canFUA},
		"can_fua prints much":  {`can_fua) yes native ;;`, nil, "expected at most", canFUA},
		"no can_fua":           {``, fua.No, "", canFUA},
		"can_flush alone":      {`can_flush) ;;`, fua.Emulate, "", canFUA},
		"can_flush is false":   {`can_flush) exit 3 ;;`, fua.No, "", canFUA},
		"can_flush fails":      {`can_flush) exit 1 ;;`, nil, "can_flush", canFUA},
		"no can_write":         {``, false, "", canWrite},
		"can_write":            {`can_write) ;;`, true, "", canWrite},
		"can_write is false":   {`can_write) exit 3 ;;`, false, "", canWrite},
		"can_write fails":      {`can_write) exit 9 ;;`, nil, "exit status 9", canWrite},
		"no can_fast_zero":     {``, true, "", canFastZero},
		"can_zero alone":       {`can_zero) ;;`, false, "", canFastZero},
		"can_fast_zero":        {`can_zero|can_fast_zero) ;;`, true, "", canFastZero},
		"can_fast_zero false":  {`can_fast_zero) exit 3 ;;`, false, "", canFastZero},
		"no can_cache":         {``, false, "", canCache},
		"can_cache none":       {`can_cache) echo none ;;`, false, "", canCache},
		"can_cache emulate":    {`can_cache) echo emulate ;;`, true, "", canCache},
		"can_cache garbage":    {`can_cache) echo yes ;;`, nil, "can_cache", canCache},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			got, err := test.calls(ctx, open(t, test.does))
			if test.want == nil {
				wantError(t, test.does, err, devices.ErrnoOf(err), test.says)
			} else if err != nil || got != test.want {
				t.Errorf("%s: got %v, %v, want %v", test.does, got, err, test.want)
			}
		})
	}
}

func canFUA(ctx context.Context, c *plugin.Conn) (any, error)      { return c.CanFUA(ctx) }
func canWrite(ctx context.Context, c *plugin.Conn) (any, error)    { return c.CanWrite(ctx) }
func canFastZero(ctx context.Context, c *plugin.Conn) (any, error) { return c.CanFastZero(ctx) }
func canCache(ctx context.Context, c *plugin.Conn) (any, error)    { return c.CanCache(ctx) }

func TestReadsAreExact(t *testing.T) {
	c := open(t, `pread) head -c $(($3 + $4 - 1000)) /dev/zero ;;`)
	b := make([]byte, 512)
	if err := c.PRead(t.Context(), b, 1000); err != nil {
		t.Error(err)
	}
	wantError(t, "too little", c.PRead(t.Context(), b, 999), devices.EIO, "expected exactly 512 bytes on stdout, got 511")
	wantError(t, "too much", c.PRead(t.Context(), b, 1001), devices.EIO, "got 513")
	wantError(t, "without end", open(t, `pread) yes ;;`).PRead(t.Context(), b, 0), devices.EIO, "expected at most 512 bytes on stdout")
	wantError(t, "no pread", open(t, "").PRead(t.Context(), b, 0), devices.EIO, "required")
}

// A cache that is emulated reads, and keeps nothing.
func TestAnEmulatedCacheReads(t *testing.T) {
	c := open(t, `can_cache) echo emulate ;;
pread) head -c $(($3 - $4)) /dev/zero ;;`)
	if _, err := c.CanCache(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Cache(t.Context(), 1<<20, 0); err != nil {
		t.Error(err)
	}
	wantError(t, "a short read", c.Cache(t.Context(), 1<<20, 1), devices.EIO, "got 1048575")
}

func TestMethodsThatAreNotThere(t *testing.T) {
	c, ctx := open(t, ""), t.Context()
	if err := errors.Join(c.Flush(ctx), c.PTrim(ctx, 512, 0, 0), c.Cache(ctx, 512, 0)); err != nil {
		t.Errorf("flush, trim and cache that are not there: %v", err)
	}
	wantError(t, "zero", c.PZero(ctx, 512, 0, 0), devices.ENOTSUP, "")
	wantError(t, "zero that says so", open(t, `zero) echo EOPNOTSUPP >&2; exit 1 ;;`).PZero(ctx, 512, 0, 0), devices.ENOTSUP, "")
}

// Each way in which a script cannot be used is an error of its own.
func TestScriptsThatCannotBeLoaded(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		path string
		args []string
		says string
	}{
		{filepath.Join(dir, "nowhere.sh"), nil, "expected a script: no such file or directory"},
		{dir, nil, "expected a script, which is a file"},
		{file(t, "#!/bin/sh\n", 0o644), nil, "chmod +x"},
		{file(t, "#!/no/such/interpreter\n", 0o755), nil, "the program that its first line names is not there"},
		{script(t, `load) echo "EINVAL wrong day" >&2; exit 1 ;;`), nil, "load: EINVAL: wrong day"},
		{script(t, `config_complete) exit 3 ;;`), nil, "config_complete: expected exit code 0"},
		{script(t, `thread_model) exit 1 ;;`), nil, "thread_model: the script failed"},
		{script(t, `get_ready) kill $$ ;;`), nil, "get_ready: the script died, signal: terminated"},
		{script(t, `after_fork) printf '\033]0;title\007' >&2; exit 1 ;;`), nil, `\x1b]0;title\x07`},
		{script(t, ``), []string{"a=1"}, `config: the script takes no arguments, got "a=1"`},
		{script(t, `config) ;;`), []string{"word"}, `expected key=value, got "word"`},
		{script(t, `config) ;;`), []string{"1=2"}, `expected key=value, got "1=2"`},
	} {
		s, err := Load(t.Context(), Options{Path: test.path, Args: test.args})
		if err == nil {
			t.Errorf("%s is loaded: %v", test.path, s.Unload())
			continue
		}
		if got := err.Error(); !strings.Contains(got, test.says) || !strings.Contains(got, test.path) || strings.Contains(got, "\x1b") {
			t.Errorf("got %q, want %s and %q", got, test.path, test.says)
		}
	}
}

// A file that is executable and lacks #! is run by /bin/sh, as execvp does.
func TestAScriptWithoutAnInterpreter(t *testing.T) {
	s := load(t, file(t, "case $1 in thread_model) echo parallel;; *) exit 2;; esac", 0o755))
	if s.Plugin().Thread != plugin.Parallel {
		t.Error("thread_model was not heard")
	}
}

func TestTheTemporaryDirectory(t *testing.T) {
	path := script(t, `load) touch $tmpdir/here; echo $tmpdir > "${0%/*}/where" ;;
unload) ls $tmpdir > "${0%/*}/left" ;;
config) exit 1 ;;`)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	s, err := Load(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unload(); err != nil {
		t.Error(err)
	}
	if got := read("left"); got != "here" {
		t.Errorf("unload found %q", got)
	}
	if _, err := Load(t.Context(), Options{Path: path, Args: []string{"a=b"}}); err == nil {
		t.Error("config did not fail")
	}
	for range 2 { // the second one is of the Load that failed
		if _, err := os.Stat(read("where")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("$tmpdir: %v", err)
		}
	}
}

func TestThreadModels(t *testing.T) {
	for printed, want := range map[string]plugin.ThreadModel{
		"echo serialize_connections":  plugin.SerializeConnections,
		"echo serialize_all_requests": plugin.SerializeAllRequests,
		"echo SERIALIZE-REQUESTS":     plugin.SerializeRequests,
		"printf parallel":             plugin.Parallel,
		"echo 'parallel '":            plugin.SerializeAllRequests,
		"echo garbage":                plugin.SerializeAllRequests,
		"exit 2":                      plugin.SerializeAllRequests,
	} {
		if got := load(t, script(t, "thread_model) "+printed+" ;;")).Plugin().Thread; got != want {
			t.Errorf("%s: got %v, want %v", printed, got, want)
		}
	}
}

func TestExports(t *testing.T) {
	for printed, want := range map[string]string{
		`NAMES\na\nb\n`:                      "a= b=",
		`a\nb\n`:                             "a= b=",
		`a\nb`:                               "a=",
		`\n`:                                 "=",
		``:                                   "",
		`INTERLEAVED\na\nof a\nb\nof b\n`:    "a=of a b=of b",
		`INTERLEAVED\na\nof a\nb\n`:          "a=of a b=",
		`NAMES+DESCRIPTIONS\na\nb\n1\n2\n`:   "a=1 b=2",
		`NAMES+DESCRIPTIONS\na\nb\n1\n`:      "a=1 b=",
		`INTERLEAVED\na`:                     "",
		`a\000b\n`:                           "! NUL",
		strings.Repeat("a", 4096) + `\n`:     strings.Repeat("a", 4096) + "=",
		strings.Repeat("a", 4097) + `\n`:     "! 4096 bytes",
		strings.Repeat(`\n`, MaxExports+1):   "! at most 10000",
		`NAMES\n` + strings.Repeat("é\n", 2): "é= é=",
	} {
		s := load(t, script(t, "list_exports) printf '"+printed+"' ;;"))
		list, err := s.Plugin().Exports(t.Context(), plugin.ConnInfo{})
		if says, fails := strings.CutPrefix(want, "! "); fails {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%.40q: got %v, want %s", printed, err, says)
			}
			continue
		}
		var got []string
		for _, x := range list {
			got = append(got, x.Name+"="+x.Description)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%.40q: got %.100q, %v", printed, got, err)
		}
	}
}

func TestTheDefaultExport(t *testing.T) {
	for cases, want := range map[string]string{
		``:                               "",
		`default_export) echo main ;;`:   "main",
		`default_export) printf main ;;`: "main",
		`default_export) printf 'INTERLEAVED\nx\ny\n' ;;`: "x",
		`default_export) exit 1 ;;`:                       "! default_export",
	} {
		s := load(t, script(t, "open) echo \"[$3]\" ;;\nget_size) echo ${#2} ;;\n"+cases))
		says, fails := strings.CutPrefix(want, "! ")
		list, err := s.Plugin().Exports(t.Context(), plugin.ConnInfo{})
		c, opened := s.Plugin().Open(t.Context(), plugin.ConnInfo{})
		if fails {
			wantError(t, cases, err, devices.EIO, says)
			wantError(t, cases, opened, devices.EIO, says)
			continue
		}
		if err != nil || len(list) != 1 || list[0].Name != want || opened != nil {
			t.Errorf("%s: got %v, %v, %v", cases, list, err, opened)
			continue
		}
		if n, err := c.Size(t.Context()); err != nil || n != uint64(len(want)+2) {
			t.Errorf("%s: open did not get %q: %d, %v", cases, want, n, err)
		}
		c.Close()
	}
}

func TestSizes(t *testing.T) {
	for printed, want := range map[string]uint64{
		"0": 0, "1048576": 1 << 20, "1M": 1 << 20, "3k": 3 << 10, "2s": 1024, "2S": 1024, "5b": 5, " 7": 7, "+7": 7, "010": 10,
		"7E": 7 << 60, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := parseSize([]byte(printed)); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", printed, got, err, want)
		}
	}
	for _, printed := range []string{"", "-1", "M", "1KiB", "1 M", "1M ", "0x10", "8E", "9223372036854775808", "1.5M", "size"} {
		if got, err := parseSize([]byte(printed)); err == nil {
			t.Errorf("%q is read as %d", printed, got)
		}
	}
}

// A script that hangs is killed with all of its process group, and what leaves the
// group and keeps its stdout open is not waited for.
func TestAScriptThatHangsIsKilled(t *testing.T) {
	for name, hangs := range map[string]string{
		"itself":           `exec sleep 1000`,
		"a child":          `sleep 1000; true`,
		"children":         `sleep 1000 & sleep 1000 & wait`,
		"after its output": `exec >&- 2>&-; exec sleep 1000`,
		"a stopped one":    `kill -STOP $$`,
		"a background one": `sleep 1000 &`,
		"another session":  `setsid sh -c 'echo $$ > '$tmpdir/session'; exec sleep 1000' & wait`,
		"without reading":  `sleep 1000; cat`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			marks := t.TempDir()
			s := load(t, script(t, "get_size) echo 1M ;;\npwrite) echo $$ > "+marks+"/group; "+hangs+" ;;"))
			c, err := s.Plugin().Open(t.Context(), plugin.ConnInfo{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			wantError(t, hangs, c.PWrite(ctx, make([]byte, 1<<20), 0, 0), devices.EIO, "did not end in time")
			if b, err := os.ReadFile(filepath.Join(marks, "group")); err == nil { // else it was killed early
				waitForGroup(t, strings.TrimSpace(string(b)))
			}
			if b, err := os.ReadFile(filepath.Join(s.dir, "session")); err == nil {
				kill(t, strings.TrimSpace(string(b)))
			}
		})
	}
}

func kill(t *testing.T, pid string) {
	var n int
	if _, err := fmt.Sscan(pid, &n); err == nil && n > 1 {
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

// waitForGroup returns when no process of the group is left that is not a zombie.
func waitForGroup(t *testing.T, group string) {
	t.Helper()
	for alive := true; alive && t.Context().Err() == nil; time.Sleep(time.Millisecond) {
		alive = false
		stats, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range stats {
			b, _ := os.ReadFile(path) // it may have ended
			if i := bytes.LastIndexByte(b, ')'); i > 0 {
				f := strings.Fields(string(b[i+1:]))
				alive = alive || len(f) > 2 && f[2] == group && f[0] != "Z"
			}
		}
	}
}

// Close and unload have no context; Timeout bounds them.
func TestMethodsWithoutAContextAreBounded(t *testing.T) {
	path := script(t, `close|unload) sleep 1000 ;;`)
	s, err := Load(t.Context(), Options{Path: path, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Plugin().Open(t.Context(), plugin.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := s.Unload(); err != nil {
		t.Error(err)
	}
	_, err = Load(t.Context(), Options{Path: script(t, `load) sleep 1000 ;;`), Timeout: 300 * time.Millisecond})
	wantError(t, "load", err, devices.EIO, "did not end in time")
}

// Calls at the same time do not get each other's data.
func TestCallsInParallel(t *testing.T) {
	c := open(t, `pread) yes $4 | head -c $3 ;;`)
	t.Run("group", func(t *testing.T) {
		for i := range 8 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for n := range 4 {
					b, line := make([]byte, 100_000), fmt.Sprintf("%d\n", 10*i+n)
					want := []byte(strings.Repeat(line, len(b)/len(line)+1))[:len(b)]
					if err := c.PRead(t.Context(), b, uint64(10*i+n)); err != nil || !bytes.Equal(b, want) {
						t.Errorf("%d: %v", i, err)
					}
				}
			})
		}
	})
}

// A handle is what open prints, and is handed to each method.
func TestHandles(t *testing.T) {
	for printed, want := range map[string]int{`printf 'a b\n\n'`: 4, `printf '$x*'`: 3, `exit 2`: 0, `:`: 0} {
		s := load(t, script(t, "open) "+printed+" ;;\nget_size) echo ${#2} ;;"))
		c, err := s.Plugin().Open(t.Context(), plugin.ConnInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Size(t.Context()); err != nil || n != uint64(want) {
			t.Errorf("%s: a handle of %d bytes, %v", printed, n, err)
		}
		c.Close()
	}
	for printed, says := range map[string]string{
		`printf 'a\000b'`: "NUL", `head -c 20000 /dev/zero`: "expected at most 16384 bytes on stdout, got 20000", `exit 3`: "got 3",
		`echo EPERM no more >&2; exit 1`: "no more",
	} {
		_, err := load(t, script(t, "open) "+printed+" ;;")).Plugin().Open(t.Context(), plugin.ConnInfo{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %s", printed, err, says)
		}
	}
}

// A server that is killed leaves no call behind.
func TestScriptsEndWithTheServer(t *testing.T) {
	const variable = "SH_TEST_SCRIPT"
	if path := os.Getenv(variable); path != "" {
		_, err := Load(t.Context(), Options{Path: path})
		t.Fatal(err)
	}
	path := script(t, `load) echo $$ > "${0%/*}/pid.new"; mv "${0%/*}/pid.new" "${0%/*}/pid"; exec sleep 1000 ;;`)
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), variable+"="+path)
	if err := fork.Start(c); err != nil {
		t.Fatal(err)
	}
	pid := ""
	for pid == "" && t.Context().Err() == nil {
		b, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "pid")) // it may not be there yet
		pid = strings.TrimSpace(string(b))
		time.Sleep(time.Millisecond)
	}
	if err := c.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = c.Wait() // it was killed
	waitForGroup(t, pid)
}

func TestDeviceNames(t *testing.T) {
	for device, want := range map[string]string{
		"sh:./p.sh":                "./p.sh []",
		"sh:p%20q?":                "! key=value",
		"sh:p?a=b&c=d%26e+f&a=%3D": "p [a=b c=d&e+f a==]",
		"sh:/p?x":                  "! key=value",
		"sh:/p?%61=b":              "! key=value",
		"sh:/p?a=%zz":              "! key=value",
		"sh:/p?a=%00":              "! key=value",
		"sh:":                      "! path of a script",
		"sh:?a=b":                  "! path of a script",
		"sh:/p?a=b\x1b[2J&\x1b":    "! \\x1b[2J",
	} {
		o, err := Parse(device)
		if says, fails := strings.CutPrefix(want, "! "); fails {
			if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%q: got %v, want %s", device, err, says)
			}
		} else if got := fmt.Sprint(o.Path, " ", o.Args); err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", device, got, err, want)
		}
	}
	if IsDevice("go:memory") || IsDevice("./sh:x") || !IsDevice("sh:x") {
		t.Error("IsDevice")
	}
}
