package interop

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/testcerts"
	"nbdbench/nbd"
)

// scripted is a script under a server. The script writes its calls to the file log
// beside it.
type scripted struct {
	t    *testing.T
	dir  string
	at   string
	seen int // bytes of the log
}

// copyScript copies one of testdata's scripts to a folder of its own.
func copyScript(t *testing.T, name string) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), name)
	writeScript(t, path, text)
	return path
}

// writeScript writes a script. No process that is being started may have it open: what
// is open for writing cannot be run.
func writeScript(t *testing.T, path string, text []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, text, 0o700); err != nil {
		t.Fatal(err)
	}
}

// nbdkitScript has nbdkit serve a copy of a script.
func nbdkitScript(t *testing.T, name, mode string, readOnly bool, args ...string) *scripted {
	t.Helper()
	path := copyScript(t, name)
	var before, after []string
	if mode != "" {
		before = append(before, "--filter=fua")
	}
	if readOnly {
		before = append(before, "-r")
	}
	if mode != "" && mode != "none" { // an explicit none is refused by a slip (filters/fua/fua.c)
		after = append(after, "fuamode="+mode)
	}
	uri, _ := nbdkit(t, slices.Concat(before, []string{"sh", path}, args, after)...)
	return &scripted{t: t, dir: filepath.Dir(path), at: uri}
}

// ourScript has nbdbench serve a copy of a script.
func ourScript(t *testing.T, name, mode string, readOnly bool, args ...string) *scripted {
	t.Helper()
	path := copyScript(t, name)
	words := append([]string{"sh:" + path}, args...)
	if mode != "" {
		words = append(words, "--fuamode="+mode)
	}
	if readOnly {
		words = append(words, "--read-only")
	}
	return &scripted{t: t, dir: filepath.Dir(path), at: serve(t, words...).uri}
}

// export is the URI of an export.
func (s *scripted) export(name string) string {
	socket := s.at[strings.Index(s.at, "?"):]
	return "nbd+unix:///" + url.PathEscape(name) + socket
}

// fail has a method of the script fail.
func (s *scripted) fail(method, how string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "fail"), []byte(method+" "+how+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// calls are the script's calls since the last time.
func (s *scripted) calls() []string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	fresh := string(text[s.seen:])
	s.seen = len(text)
	if fresh == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(fresh, "\n"), "\n")
}

// unasked are the methods that nbdkit calls and our server has no use for.
var unasked = []string{"can_extents", "is_rotational", "block_size"}

// negotiation is what was called before the first command: in order, but for the
// questions, which are a set.
func negotiation(calls []string) string {
	var rest, questions []string
	for _, call := range calls {
		method, _, _ := strings.Cut(call, " ")
		switch {
		case slices.Contains(unasked, method):
		case method == "get_size" || strings.HasPrefix(method, "can_"):
			questions = append(questions, call)
		default:
			rest = append(rest, call)
		}
	}
	slices.Sort(questions)
	return strings.Join(append(rest, questions...), "; ")
}

// ended waits until the script's connection is closed.
func (s *scripted) ended() (calls []string) {
	s.t.Helper()
	for end := time.Now().Add(programTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		calls = append(calls, s.calls()...)
		if n := len(calls); n > 0 && strings.HasPrefix(calls[n-1], "close") {
			return calls
		}
	}
	s.t.Fatalf("the script was not closed: %q", calls)
	return nil
}

// A trial is a command, and the method that fails then.
type trial struct {
	fails, how string
	order      order
}

var trials = func() (all []trial) {
	for _, o := range slices.Concat(orders[:5], zeroOrders[:2], zeroOrders[3:5]) {
		all = append(all, trial{"", "", o})
	}
	return append(all,
		trial{"pwrite", "ENOSPC full", orders[1]},
		trial{"trim", "EPERM", orders[3]},
		trial{"flush", "ENOMEM", orders[1]},
		trial{"flush", "EIO", orders[4]},
		trial{"zero", "EOPNOTSUPP", zeroOrders[1]},
		trial{"zero", "enotsup in small letters", zeroOrders[4]},
		trial{"zero", "what", zeroOrders[0]},
	)
}()

// tried says what an export advertises, what was called and what came of each trial.
func (s *scripted) tried(name string) (lines []string) {
	s.t.Helper()
	s.calls()
	s.fail("", "")
	c, flags, err := rawClient(s.t, s.export(name))
	if err != nil {
		calls := s.ended()
		return []string{"refused", calls[1], calls[len(calls)-1]}
	}
	lines = append(lines, fmt.Sprintf("flags %#x, %s", uint16(flags), negotiation(s.calls())))
	for _, x := range trials {
		if x.order.flags&devices.FastZero != 0 && flags&nbd.SendFastZero == 0 {
			continue // nbdkit 1.32.5 ends by an assertion: server/backend.c, backend_zero
		}
		s.fail(x.fails, x.how)
		e := c.send(s.t, x.order)
		lines = append(lines, fmt.Sprintf("%s, %s %s: %s %v", x.order.name, x.fails, x.how, strings.Join(s.calls(), "; "), e))
	}
	c.disconnect(s.t)
	return append(lines, strings.Join(s.ended(), "; "))
}

// disconnect ends the connection as the protocol asks.
func (c raw) disconnect(t *testing.T) {
	t.Helper()
	b := []byte("\x25\x60\x95\x13\x00\x00\x00\x02" + strings.Repeat("\x00", 20)) // NBD_CMD_DISC
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// answers are the exports of answers.sh that have each answer to can_flush and can_fua
// with zero and trim native, missing and neither, and each answer to can_zero and
// can_trim.
func answers() []string {
	set := map[string]bool{}
	for _, flush := range []string{"yes", "no", "absent", "error"} {
		for _, how := range []string{"none", "emulate", "native", "absent", "Native", "garbage", "no", "error"} {
			for _, other := range []string{"yes-yes", "no-no"} {
				set[flush+"-"+how+"-"+other] = true
			}
		}
	}
	for _, zero := range []string{"yes", "no", "absent", "error"} {
		for _, trim := range []string{"yes", "no", "absent", "error"} {
			for _, before := range []string{"yes-emulate", "no-absent", "yes-native"} {
				set[before+"-"+zero+"-"+trim] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// TestAScriptIsServedAsNbdkitServesIt compares flags, calls with their arguments and
// errors: of the exports of answers.sh a share for each server, or with
// NBDBENCH_SCRIPTS=all every one.
func TestAScriptIsServedAsNbdkitServesIt(t *testing.T) {
	need(t, "nbdkit")
	all, share := answers(), 13
	if testing.Short() || underRace() {
		share = 50
	}
	every := os.Getenv("NBDBENCH_SCRIPTS") == "all"
	for at, server := range []struct {
		mode     string
		readOnly bool
	}{{"", false}, {"none", false}, {"emulate", false}, {"native", false}, {"force", false}, {"pass", false}, {"discard", false}, {"", true}, {"force", true}} {
		t.Run(fmt.Sprintf("fuamode %q, read-only %v", server.mode, server.readOnly), func(t *testing.T) {
			t.Parallel()
			theirs := nbdkitScript(t, "answers.sh", server.mode, server.readOnly)
			ours := ourScript(t, "answers.sh", server.mode, server.readOnly)
			if a, b := strings.Join(theirs.calls(), "; "), strings.Join(ours.calls(), "; "); a != b {
				t.Errorf("at the start:\nnbdkit   %s\nnbdbench %s", a, b)
			}
			for i, name := range all {
				if !every && (i+at)%share != 0 {
					continue
				}
				sameLines(t, name, theirs.tried(name), ours.tried(name))
			}
		})
	}
}

// sameLines reports the first line that differs.
func sameLines(t *testing.T, what string, theirs, ours []string) {
	t.Helper()
	for i := range max(len(theirs), len(ours)) {
		if i >= len(theirs) || i >= len(ours) || theirs[i] != ours[i] {
			t.Errorf("%s, line %d:\nnbdkit   %s\nnbdbench %s", what, i, strings.Join(theirs[i:min(i+1, len(theirs))], ""), strings.Join(ours[i:min(i+1, len(ours))], ""))
			return
		}
	}
}

// both serves copies of a script by nbdkit and by nbdbench.
func both(t *testing.T, name, mode string, args ...string) (theirs, ours *scripted) {
	t.Helper()
	return nbdkitScript(t, name, mode, false, args...), ourScript(t, name, mode, false, args...)
}

// client has a program of testdata talk to the script, and is what it prints.
func (s *scripted) client(program string) []string {
	s.t.Helper()
	return strings.Split(must(s.t, "testdata", libnbd, "-B", program, s.at), "\n")
}

// TestAFileAsAScript: data, handles, the magic key and $tmpdir, under both servers.
func TestAFileAsAScript(t *testing.T) {
	need(t, "nbdkit", libnbd)
	theirs, ours := both(t, "file.sh", "", "256K")
	want := theirs.client("file_script.py")
	sameLines(t, "data", want, ours.client("file_script.py"))
	t.Log(want)
	sameLines(t, "calls", dataCalls(theirs.calls()), dataCalls(ours.calls()))
}

// dataCalls are the calls for commands, with what is a connection's own left out.
func dataCalls(calls []string) (out []string) {
	for _, call := range calls {
		f := strings.Fields(call)
		if len(f) > 2 && slices.Contains([]string{"pread", "pwrite", "zero", "trim"}, f[0]) {
			out = append(out, f[0]+" "+strings.Join(f[2:], " "))
		} else if f[0] == "flush" {
			out = append(out, f[0])
		}
	}
	return out
}

// TestADiskWithErrorsAsAScript: the same block fails in the same way.
func TestADiskWithErrorsAsAScript(t *testing.T) {
	need(t, "nbdkit", libnbd)
	theirs, ours := both(t, "errors.sh", "")
	want := theirs.client("errors_script.py")
	sameLines(t, "errors", want, ours.client("errors_script.py"))
	sameLines(t, "calls", dataCalls(theirs.calls()), dataCalls(ours.calls()))
	for _, e := range []string{"EIO", "ENOSPC", "EPERM", "OK"} {
		if !strings.Contains(strings.Join(want, " "), e) {
			t.Errorf("no command ended with %s", e)
		}
	}
}

// TestEachFUAModeOverAScript has qemu write and zero, without and with FUA, and flush.
func TestEachFUAModeOverAScript(t *testing.T) {
	need(t, "qemu-io")
	for _, test := range []struct{ export, mode, calls string }{
		{"yes-native-yes-yes", "", "pwrite zero pwrite(fua) zero(fua) flush"},
		{"yes-native-yes-yes", "pass", "pwrite zero pwrite(fua) zero(fua) flush"},
		{"yes-native-yes-yes", "native", "pwrite zero pwrite(fua) zero(fua) flush"},
		{"yes-native-yes-yes", "none", "pwrite zero pwrite flush zero flush flush"}, // qemu flushes
		{"yes-native-yes-yes", "emulate", "pwrite zero pwrite flush zero flush flush"},
		{"yes-emulate-yes-yes", "native", "pwrite zero pwrite flush zero flush flush"},
		{"yes-native-yes-yes", "force", "pwrite(fua) zero(fua) pwrite(fua) zero(fua)"},
		{"yes-native-yes-yes", "discard", "pwrite zero pwrite zero"},
	} {
		t.Run(test.export+" "+test.mode, func(t *testing.T) {
			t.Parallel()
			s := ourScript(t, "answers.sh", test.mode, false)
			s.fail("", "")
			qemuIO(t, s.export(test.export), "write 0 4k", "write -z 4k 4k", "write -f 8k 4k", "write -z -f 12k 4k", "flush")
			var calls []string
			for _, call := range s.ended() {
				f := strings.Fields(call)
				switch {
				case !slices.Contains([]string{"pwrite", "zero", "flush"}, f[0]):
				case strings.Contains(f[len(f)-1], "fua"):
					calls = append(calls, f[0]+"(fua)")
				default:
					calls = append(calls, f[0])
				}
			}
			if got := strings.Join(calls, " "); got != test.calls && got != test.calls+" flush" { // qemu flushes at its end
				t.Errorf("got %s, want %s", got, test.calls)
			}
		})
	}
}

// TestAScriptsAnswersDecideWhatIsPromised: an error refuses the connection with the
// script's message, of can_flush also a read-only one, which is not asked for can_fua.
func TestAScriptsAnswersDecideWhatIsPromised(t *testing.T) {
	writable, readOnly := ourScript(t, "answers.sh", "", false), ourScript(t, "answers.sh", "", true)
	for _, test := range []struct{ answers, writable, readOnly string }{
		{"no-none", "", ""},
		{"yes-none", "flush", "flush"},
		{"yes-emulate", "flush fua", "flush"},
		{"no-emulate", "fua", ""},
		{"no-native", "fua", ""},
		{"yes-absent", "flush fua", "flush"},
		{"absent-absent", "", ""},
		{"yes-garbage", `can_fua: expected none, emulate or native, got "garbage"`, "flush"},
		{"yes-no", "can_fua: expected exit code 0", "flush"}, // 3
		{"yes-error", "can_fua: EPERM: not today", "flush"},
		{"error-native", "can_flush: EPERM: not today", "can_flush: EPERM: not today"},
	} {
		for s, want := range map[*scripted]string{writable: test.writable, readOnly: test.readOnly} {
			if got := s.promises(test.answers + "-yes-yes"); got != want && !strings.Contains(got, ": "+want) {
				t.Errorf("%s, read-only %v: got %q, want %q", test.answers, s == readOnly, got, want)
			}
		}
	}
}

// promises are which of FLUSH and FUA an export advertises, or why it is refused.
func (s *scripted) promises(name string) string {
	c, flags, err := rawClient(s.t, s.export(name))
	if err != nil {
		return err.Error()
	}
	c.disconnect(s.t)
	var words []string
	if flags&nbd.SendFlush != 0 {
		words = append(words, "flush")
	}
	if flags&nbd.SendFUA != 0 {
		words = append(words, "fua")
	}
	return strings.Join(words, " ")
}

// TestAScriptThatHangs is killed at --plugin-timeout. What it said last and how it ended
// is on stderr, and the server goes on.
func TestAScriptThatHangs(t *testing.T) {
	need(t, "qemu-io")
	s := serve(t, "sh:"+copyScript(t, "hangs.sh"), "--plugin-timeout=1s", "--drain=1s")
	for _, test := range []struct{ command, says string }{
		{"read 0 4k", "Input/output error"}, {"read 4k 4k", "read 4096/4096"}, {"write 0 4k", "No space left on device"},
	} {
		r := run(t, "", "qemu-io", "-f", "raw", "-c", test.command, s.uri)
		if !strings.Contains(r.stdout+r.stderr, test.says) {
			t.Errorf("%s: expected %q: %v", test.command, test.says, r)
		}
	}
	talk := s.stop()
	for _, says := range []string{"did not end in time, and its process group was killed", `ENOSPC: the disk is full \x1b[31m`} {
		if !strings.Contains(talk, says) || strings.Contains(talk, "\x1b") {
			t.Errorf("expected %q, escaped, in %q", says, talk)
		}
	}
}

// TestTheScriptOfTheDocuments serves the script that docs/PLUGINS.md shows, under both.
func TestTheScriptOfTheDocuments(t *testing.T) {
	need(t, "nbdkit", "qemu-io")
	document, err := os.ReadFile("../../docs/PLUGINS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(document), "```sh\n#!/bin/sh\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatal("the document has no script")
	}
	dir := t.TempDir()
	path, disk := filepath.Join(dir, "plugin.sh"), filepath.Join(dir, "disk.img")
	writeScript(t, path, []byte("#!/bin/sh\n"+text))
	if err := os.WriteFile(disk, make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs, _ := nbdkit(t, "sh", path, "file="+disk)
	ours := serve(t, "sh:"+path, "file="+disk)
	for _, pair := range [][2]string{{theirs, ours.uri}, {ours.uri, theirs}} {
		qemuIO(t, pair[0], "write -P 7 0 64k", "write -f -P 8 4k 4k", "flush")
		qemuIO(t, pair[1], "read -P 7 0 4k", "read -P 8 4k 4k", "read -P 7 8k 56k", "write -P 0 0 64k")
	}
	for _, wrong := range []string{"disk.img", "path=disk.img"} {
		for _, args := range [][]string{{"nbdkit", "sh", path, wrong, "--run", "true"}, {"nbdbench", "serve", "sh:" + path, wrong}} {
			if r := run(t, dir, args...); r.code == 0 || !strings.Contains(r.stderr, "expect") {
				t.Errorf("expected %s to be refused: %v", wrong, r)
			}
		}
	}
}

// TestExportsOfAScript: LIST, descriptions and what open gets, under both.
func TestExportsOfAScript(t *testing.T) {
	need(t, "nbdkit", "nbdinfo")
	theirs, ours := both(t, "exports.sh", "")
	words := []string{"\tdescription:", "\texport-size:"}
	for _, args := range [][]string{{}, {"--list"}} {
		var got [2]string
		for i, s := range []*scripted{theirs, ours} {
			for _, line := range strings.Split(must(t, "", append(append([]string{"nbdinfo", "--no-content"}, args...), s.at)...), "\n") {
				for _, word := range words {
					if strings.HasPrefix(line, word) {
						got[i] += line + "\n"
					}
				}
			}
		}
		if got[0] != got[1] || !strings.Contains(got[0], "description") {
			t.Errorf("nbdinfo %v:\nnbdkit\n%s\nnbdbench\n%s", args, got[0], got[1])
		}
		words = append(words, "export=") // nbdkit's answer to INFO has the default export's own name
	}
}

// What a script learns of a client's TLS, in open, list_exports and default_export, is
// what it learns from nbdkit.
func TestScriptsLearnOfTLS(t *testing.T) {
	needHost(t, "nbdkit")
	need(t, "nbdinfo")
	certs := testcerts.New(t)
	learned := func(path, uri string) []string {
		s := &scripted{t: t, dir: filepath.Dir(path)}
		secure := strings.Replace(uri, "nbd+unix:", "nbds+unix:", 1) + "&tls-certificates=" + string(certs)
		for _, at := range []string{uri, secure} {
			must(t, "", "nbdinfo", "--size", strings.Replace(at, ":///?", ":///named?", 1))
			must(t, "", "nbdinfo", "--list", at)
		}
		// Which calls there are, and how often: nbdinfo --list asks for what it has listed.
		calls := s.calls()
		slices.Sort(calls)
		return slices.Compact(calls)
	}
	path := copyScript(t, "tls.sh")
	uri, _ := nbdkit(t, "--tls=on", "--tls-certificates="+string(certs), "sh", path)
	theirs := learned(path, uri)
	path = copyScript(t, "tls.sh")
	ours := learned(path, serve(t, "sh:"+path, "--tls=allow",
		"--tls-cert", certs.Path(testcerts.ServerCert), "--tls-key", certs.Path(testcerts.ServerKey)).uri)
	for _, want := range []string{"open false named false", "open false named true", "list_exports false false", "list_exports false true"} {
		if !slices.Contains(ours, want) {
			t.Errorf("the script was not called as %q, but as %q", want, ours)
		}
	}
	if !slices.Equal(ours, theirs) {
		t.Errorf("the script learned\n%q, from nbdkit\n%q", ours, theirs)
	}
}
