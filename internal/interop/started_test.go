package interop

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"nbdbench/internal/fork"
)

// needHost skips a test whose nbdbench starts the program itself: this machine's, and
// not that of the peers' root.
func needHost(t *testing.T, name string) {
	t.Helper()
	need(t, name)
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
}

// startRun are runs of one workload, short and of one commit after the other.
var startRun = []string{"--workload", "sync-4k", "--destroy", "--duration", "100ms", "--runs", "1", "--warmup", "0"}

// pluginCalls are what nbdkit's log filter has written of what a plugin was asked for.
type pluginCalls struct{ writes, writesFUA, flushes uint64 }

func callsIn(t *testing.T, file string) pluginCalls {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	count := func(line *regexp.Regexp) uint64 { return uint64(len(line.FindAllIndex(text, -1))) }
	return pluginCalls{count(loggedWrite), count(loggedWriteFUA), count(loggedFlush)}
}

// TestRunStartsNbdkitForEachStrategy: what reaches the plugin is what the strategy
// means, by nbdkit's own log below its fua filter. One flush comes before the run.
func TestRunStartsNbdkitForEachStrategy(t *testing.T) {
	needHost(t, "nbdkit")
	want := map[string]func(n uint64) pluginCalls{
		"native":      func(n uint64) pluginCalls { return pluginCalls{0, n, 1} },
		"emulate":     func(n uint64) pluginCalls { return pluginCalls{n, 0, n + 1} },
		"none":        func(n uint64) pluginCalls { return pluginCalls{n, 0, n + 1} },
		"none-unsafe": func(n uint64) pluginCalls { return pluginCalls{n, 0, 1} },
		"force":       func(n uint64) pluginCalls { return pluginCalls{0, n, 0} }, // a flush does nothing
		"discard":     func(n uint64) pluginCalls { return pluginCalls{n, 0, 0} },
		"pass":        func(n uint64) pluginCalls { return pluginCalls{0, n, 1} },
	}
	for _, plugin := range []string{"memory 64M", "file '" + rawFile(t) + "'"} {
		name := "nbdkit-" + strings.Fields(plugin)[0]
		for strategy, of := range want {
			t.Run(name+"/"+strategy, func(t *testing.T) {
				log := filepath.Join(t.TempDir(), "log")
				d := benchRun(t, append([]string{"--nbdkit", "--filter=log " + plugin + " logfile=" + log, "--strategy", strategy}, startRun...)...)
				c := d.Cells[0]
				if c.Status != "ok" || c.Commit.Count == 0 || c.ID != name+"/sync-4k/"+strategy {
					t.Fatalf("%s: %s (%s), %d commits", c.ID, c.Status, c.Reason, c.Commit.Count)
				}
				if got, want := callsIn(t, log), of(c.Commit.Count); got != want {
					t.Errorf("for %d commits the plugin is asked for %+v, want %+v", c.Commit.Count, got, want)
				}
			})
		}
	}
}

// emulating is nbdkit's eval plugin: it has all of FLUSH, and FUA by it alone.
func emulating(canFUA, pwrite string) string {
	return "eval get_size='echo 64M' pread='dd if=/dev/zero count=$3 iflag=count_bytes 2>/dev/null' pwrite='" + pwrite +
		"' can_write='exit 0' can_flush='exit 0' flush='exit 0' can_fua='echo " + canFUA + "'"
}

func TestNativeOverEmulateIsUnsupportedAndNotEmulated(t *testing.T) {
	needHost(t, "nbdkit")
	script := filepath.Join(t.TempDir(), "plugin.sh")
	text := "case $1 in get_size) echo 64M;; pwrite) cat >/dev/null;; can_write|can_flush|flush) ;; can_fua) echo emulate;; *) exit 2;; esac\n"
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ plugin, says, refused string }{
		{"sh " + script, "the plugin's can_fua is EMULATE: ", "native force"},
		{emulating("emulate", "cat >/dev/null"), "the plugin's can_fua is EMULATE: ", "native force"},
		{emulating("none", "cat >/dev/null"), "the plugin's can_fua is NONE", "native force pass"},
		{emulating("native", "cat >/dev/null"), "", ""},
	} {
		d := benchRun(t, append([]string{"--nbdkit", c.plugin, "--strategy", "native,emulate,none,force,discard,pass"}, startRun...)...)
		for _, cell := range d.Cells {
			refused := strings.Contains(" "+c.refused+" ", " "+cell.Strategy+" ")
			if (cell.Status == "unsupported") != refused || !refused && cell.Status != "ok" {
				t.Errorf("%s: %s is %s (%s)", c.plugin, cell.ID, cell.Status, cell.Reason)
			}
			if refused && cell.Strategy != "pass" && !strings.Contains(cell.Reason, c.says) {
				t.Errorf("%s: %s because %q, want %q", c.plugin, cell.ID, cell.Reason, c.says)
			}
		}
	}
}

// startedHost is what the document says of a server that was started.
func startedHost(t *testing.T, document string) (server, canFUA, uri string, who map[string]string) {
	t.Helper()
	var d struct {
		Host struct {
			Target struct {
				Server, URI string
				CanFUA      string `json:"can_fua"`
			}
		}
		Cells []struct {
			Strategy string
			Who      string `json:"who_durable"`
		}
	}
	if err := json.Unmarshal([]byte(document), &d); err != nil {
		t.Fatal(err)
	}
	who = map[string]string{}
	for _, c := range d.Cells {
		who[c.Strategy] = c.Who
	}
	return d.Host.Target.Server, d.Host.Target.CanFUA, d.Host.Target.URI, who
}

func TestTheDocumentNamesTheNbdkitAndWhoMadeWritesDurable(t *testing.T) {
	needHost(t, "nbdkit")
	dir := filepath.Join(t.TempDir(), "run")
	args := append([]string{"nbdbench", "run", "--output", dir, "--format", "json", "--nbdkit", "memory 64M", "--strategy", "native,emulate,none,force,discard,pass"}, startRun...)
	out := must(t, "", args...)
	checkSchema(t, out)
	server, canFUA, uri, who := startedHost(t, out)
	if !regexp.MustCompile(`^nbdkit \d+\.\d+`).MatchString(server) || canFUA != "native" || uri != "nbd+unix:///?socket=$unixsocket" {
		t.Errorf("the target is %q, %q, %q", server, canFUA, uri)
	}
	for strategy, want := range map[string]string{
		"native": "plugin: NATIVE", "emulate": "nbdkit: write+flush each", "none": "client: write, then flush",
		"force": "plugin: NATIVE, every write", "discard": "nobody, though advertised", "pass": "plugin: NATIVE",
	} {
		if who[strategy] != want {
			t.Errorf("%s: made durable by %q, want %q", strategy, who[strategy], want)
		}
	}
	// The stored run is run again, by its own arguments, where that is allowed.
	if r := run(t, "", "nbdbench", "run", dir, "--no-save"); r.code != 2 || !strings.Contains(r.stderr, "this would start nbdkit memory 64M and overwrite") {
		t.Errorf("without --destroy: %v", r)
	}
	again := must(t, "", "nbdbench", "run", dir, "--no-save", "--format", "json", "--destroy")
	if s, f, _, w := startedHost(t, again); s != server || f != canFUA || len(w) != len(who) {
		t.Errorf("run again: %q, %q, %v", s, f, w)
	}
}

func TestAPlanFileStartsNbdkit(t *testing.T) {
	needHost(t, "nbdkit")
	plan := filepath.Join(t.TempDir(), "plan.yaml")
	text := "nbdkit: memory 64M\nworkloads: [sync-4k]\nstrategies: [native, discard]\nruns: 1\nduration: 100ms\nwarmup: 0\n"
	if err := os.WriteFile(plan, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := benchRun(t, plan, "--destroy"); len(d.Cells) != 2 || d.Cells[0].ID != "nbdkit-memory/sync-4k/native" || d.Cells[0].Status != "ok" {
		t.Errorf("%+v", d.Cells)
	}
}

// TestAnNbdkitThatFailsReportsWhy: before it is ready, as it refuses a connection, and
// in the middle of a run.
func TestAnNbdkitThatFailsReportsWhy(t *testing.T) {
	needHost(t, "nbdkit")
	for _, c := range []struct {
		plugin, says string
		code         int
	}{
		{"nosuch", "it wrote: nbdkit: error: cannot open plugin 'nosuch'", 1},
		{"memory", "it wrote: nbdkit: ", 1},
		{`eval get_size='echo 1M' open='printf "EIO not \033[31mtoday\n" >&2; exit 1'`, `not \x1b[31mtoday`, 1},
		{emulating("native", "kill -9 $PPID"), "(nbdkit: signal: killed)", 5},
		{emulating("native", "echo EIO the disk is gone >&2; exit 1"), "EIO", 5},
	} {
		r := run(t, "", append([]string{"nbdbench", "run", "--no-save", "--nbdkit", c.plugin, "--strategy", "none"}, startRun...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) || strings.Contains(r.stderr, "\x1b") {
			t.Errorf("%s: want exit code %d and %s: %v", c.plugin, c.code, c.says, r)
		}
	}
}

func TestATargetCommandStartsAnyServer(t *testing.T) {
	for name, c := range map[string]struct{ program, command, strategies string }{
		"qemu-nbd for one client": {"qemu-nbd", `qemu-nbd --format=raw -k "$unixsocket" '` + rawFile(t) + `'`, "pass,none,none-unsafe,none-grouped"},
		"nbdkit by $fuamode": {
			"nbdkit", `nbdkit -f -U "$unixsocket" --filter=fua memory 64M $(test "$fuamode" = none || echo "fuamode=$fuamode")`,
			"native,emulate,none,force,discard,pass",
		},
	} {
		t.Run(name, func(t *testing.T) {
			needHost(t, c.program)
			checkStarted(t, c.command, c.strategies)
		})
	}
	t.Run("nbdbench by $strategy", func(t *testing.T) {
		path, err := build()
		if err != nil {
			t.Fatal(err)
		}
		checkStarted(t, path+` serve ram --size 64MiB --listen "nbd+unix:///?socket=$unixsocket" --strategy "$strategy"`,
			"native,emulate,emulate-grouped,none,none-grouped,none-unsafe,force,discard,pass")
	})
}

func checkStarted(t *testing.T, command, strategies string) {
	t.Helper()
	d := benchRun(t, append([]string{"--target-command", command, "--strategy", strategies}, startRun...)...)
	if len(d.Cells) != strings.Count(strategies, ",")+1 {
		t.Errorf("%d cells", len(d.Cells))
	}
	for _, c := range d.Cells {
		fua := map[string]bool{"native": true, "emulate": true, "emulate-grouped": true, "force": true, "discard": true}
		if c.Status != "ok" || c.Commit.Count == 0 || fua[c.Strategy] && c.Wire["write_fua"] != c.Commit.Count {
			t.Errorf("%s: %s (%s), %d commits, %v", c.ID, c.Status, c.Reason, c.Commit.Count, c.Wire)
		}
	}
}

// watched is an nbdbench whose temporary files are in a directory of their own.
func watched(t *testing.T, args ...string) (p *process, dir string) {
	t.Helper()
	dir = t.TempDir()
	p = &process{t: t, cmd: command(context.WithoutCancel(t.Context()), t, "", append([]string{"nbdbench", "run", "--no-save", "--destroy", "--workload", "sync-4k", "--strategy", "none"}, args...)...)}
	p.cmd.Env = append(p.cmd.Env, "TMPDIR="+dir)
	p.cmd.Stderr = &p.stderr
	if err := fork.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p, dir
}

// processesOf counts processes whose arguments or environment have a text.
func processesOf(t *testing.T, text string) (names []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		line, err := os.ReadFile(f)
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "environ")) // of others it cannot be read
		if err == nil && (strings.Contains(string(line), text) || strings.Contains(string(environ), text)) {
			names = append(names, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return names
}

// leaves waits until neither a process nor a file is left of a run.
func leaves(t *testing.T, what, dir string) {
	t.Helper()
	var processes []string
	for end := time.Now().Add(programTimeout); ; time.Sleep(10 * time.Millisecond) {
		if processes = processesOf(t, dir); len(processes) == 0 || time.Now().After(end) {
			break
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(processes) > 0 || len(files) > 0 {
		t.Errorf("%s leaves the processes %q and the files %v: %v", what, processes, files, err)
	}
}

// TestAServerThatWasStartedLeavesNothing: at the end of a run, and after each signal
// to nbdbench, SIGKILL too, while the server is measured.
func TestAServerThatWasStartedLeavesNothing(t *testing.T) {
	needHost(t, "nbdkit")
	for name, args := range map[string][]string{
		"nbdkit":  {"--nbdkit", "memory 64M"},
		"command": {"--target-command", `nbdkit -f -U "$unixsocket" memory 64M`},
	} {
		t.Run(name, func(t *testing.T) {
			p, dir := watched(t, append(args, "--duration", "100ms", "--runs", "2", "--warmup", "0")...)
			if code := p.wait(); code != 0 {
				t.Errorf("exit code %d: %s", code, &p.stderr)
			}
			leaves(t, "a run", dir)
			for signal, code := range map[syscall.Signal]int{syscall.SIGTERM: 130, syscall.SIGINT: 130, syscall.SIGHUP: 130, syscall.SIGKILL: -1} {
				p, dir := watched(t, append(args, "--duration", "60s", "--runs", "1")...)
				awaitMeasured(t, p, dir)
				if err := p.cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				if got := p.wait(); got != code {
					t.Errorf("%v: exit code %d, want %d: %s", signal, got, code, &p.stderr)
				}
				leaves(t, signal.String(), dir)
			}
		})
	}
}

// awaitMeasured waits until a server has been started, asked, and started again if it
// is nbdkit, and the files of the run are gone as its connections are there.
func awaitMeasured(t *testing.T, p *process, dir string) {
	t.Helper()
	for end := time.Now().Add(programTimeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if len(files) == 0 && serverOf(t, dir) {
			return
		}
	}
	t.Fatalf("no server is measured: %s", &p.stderr)
}

// serverOf reports whether a nbdkit without the log filter has its socket in dir.
func serverOf(t *testing.T, dir string) bool {
	t.Helper()
	for _, line := range processesOf(t, dir+"/") {
		if strings.Contains(line, "nbdkit") && strings.Contains(line, dir) && !strings.Contains(line, "--filter=log") {
			return true
		}
	}
	return false
}
