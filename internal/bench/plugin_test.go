package bench

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"nbdbench/devices/plugin"
	fileplugin "nbdbench/devices/plugin/file"
	"nbdbench/devices/plugin/lossy"
	"nbdbench/devices/plugin/memory"
	"nbdbench/results"
)

func init() {
	memory.Register()
	lossy.Register()
	fileplugin.Register()
	plugin.Register("one-at-a-time", func(args url.Values) (plugin.Plugin, error) {
		p, err := memory.Open(args)
		p.Thread = plugin.SerializeConnections
		return p, err
	})
}

// plugins is a short plan of plugins.
func plugins(strategies []string, devices ...string) Plan {
	p := plan(devices[0], "sync-4k", strings.Join(strategies, " "))
	p.Devices, p.Link, p.Runs, p.Commits, p.Cuts, p.Warmup = devices, links["unix"], 2, 100, 3, 0
	return p
}

func cellsByID(t *testing.T, doc *results.Run) map[string]*results.Cell {
	t.Helper()
	out := map[string]*results.Cell{}
	for _, c := range doc.Cells {
		out[c.ID] = c
	}
	return out
}

// Each call of a plugin counts, and what its can_fua answers decides which strategies
// there are: EMULATE is never silently taken for NATIVE.
func TestPluginsInVirtualTime(t *testing.T) {
	p := plugins([]string{"native", "emulate", "none", "none-unsafe", "force", "pass"},
		"go:memory", "go:memory?can_fua=emulate", "go:lossy", "ram")
	cells := cellsByID(t, mustRun(t, p))
	calls := func(pwrite, pwriteFUA, flush int64) *results.PluginCalls {
		return &results.PluginCalls{PWrite: pwrite, PWriteFUA: pwriteFUA, Flush: flush}
	}
	for id, want := range map[string]struct {
		calls *results.PluginCalls // nil is unsupported
		who   string
		loses bool
	}{
		"go-memory/sync-4k/native":                      {calls(0, 200, 0), "plugin: NATIVE", false},
		"go-memory/sync-4k/pass":                        {calls(0, 200, 0), "plugin: NATIVE", false},
		"go-memory/sync-4k/force":                       {calls(0, 200, 0), "plugin: NATIVE, every write", false},
		"go-memory/sync-4k/emulate":                     {calls(200, 0, 200), "server: write+flush each", false},
		"go-memory/sync-4k/none":                        {calls(200, 0, 200), "client: write, then flush", false},
		"go-memory/sync-4k/none-unsafe":                 {calls(200, 0, 0), "nobody", true},
		"go-memory-can_fua-emulate/sync-4k/native":      {nil, "plugin: NATIVE", false},
		"go-memory-can_fua-emulate/sync-4k/force":       {nil, "plugin: NATIVE, every write", false},
		"go-memory-can_fua-emulate/sync-4k/pass":        {calls(200, 0, 200), "plugin: EMULATE, write+flush each", false},
		"go-memory-can_fua-emulate/sync-4k/none-unsafe": {calls(200, 0, 0), "nobody", true},
		"go-lossy/sync-4k/native":                       {calls(0, 200, 0), "plugin: NATIVE", true},
		"go-lossy/sync-4k/none":                         {calls(200, 0, 200), "client: write, then flush", false},
	} {
		c := cells[id]
		switch {
		case c == nil:
			t.Errorf("there is no cell %s", id)
		case c.WhoDurable != want.who:
			t.Errorf("%s is made durable by %q, want %q", id, c.WhoDurable, want.who)
		case want.calls == nil:
			if c.Status != results.StatusUnsupported || !strings.Contains(c.Reason, "FUA") {
				t.Errorf("%s is %s: %s, want unsupported", id, c.Status, c.Reason)
			}
		case c.PluginCalls == nil || *c.PluginCalls != *want.calls:
			t.Errorf("%s: %s %s, calls %+v, want %+v", id, c.Status, c.Reason, c.PluginCalls, want.calls)
		case c.Stats != nil:
			t.Errorf("%s has a device's counters", id)
		case !c.Durability.Measured() || (c.Durability.CommitsLost > 0) != want.loses:
			t.Errorf("%s: %+v, want lost %v", id, c.Durability, want.loses)
		}
	}
	if c := cells["ram/sync-4k/native"]; c.PluginCalls != nil || c.Stats == nil {
		t.Errorf("a simulated device beside plugins: %+v, %+v", c.PluginCalls, c.Stats)
	}
}

func TestRunsOfPluginsAreDeterministic(t *testing.T) {
	p := plugins([]string{"native", "none-unsafe"}, "go:memory", "go:lossy?size=1MiB", "ram")
	text := func() []byte {
		var b bytes.Buffer
		q := p
		if err := mustRun(t, q).WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	first := text()
	if !bytes.Equal(first, text()) {
		t.Error("a second run differs")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if !bytes.Equal(first, text()) {
		t.Error("a run on one core differs")
	}
}

func TestAStoredRunOfAPluginRunsAgain(t *testing.T) {
	p := plugins([]string{"native"}, "go:memory?size=1MiB")
	doc := mustRun(t, p)
	mustRunAgain(t, doc)
}

// mustRunAgain runs the plan in a document, which must give the same document.
func mustRunAgain(t *testing.T, doc *results.Run) {
	t.Helper()
	again, err := Rerun(doc)
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := doc.WriteJSON(&a); err != nil {
		t.Fatal(err)
	}
	if err := mustRun(t, again).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("it comes out as another:\n%s\n%s", &a, &b)
	}
}

func TestAPluginOfOneConnectionHasNoMore(t *testing.T) {
	p := plugins([]string{"none"}, "go:one-at-a-time")
	p.Connections = 2
	if c := mustRun(t, p).Cells[0]; c.Status != results.StatusUnsupported || !strings.Contains(c.Reason, "multi-conn") {
		t.Errorf("%s: %s", c.Status, c.Reason)
	}
}

func TestPlansOfPluginsThatAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for device, want := range map[string]string{
		"go:nosuch":            "devices[0]: ",
		"go:memory?size=1":     "devices[0]: ",
		"go:file?path=" + file: "clock: expected real",
		"sh:" + file:           "devices[0]: ", // it cannot be run
	} {
		p := plugins([]string{"native"}, device)
		if _, err := p.Cells(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", device, err, want)
		}
	}
	p := plugins([]string{"native"}, "ram", "go:file?path="+file)
	p.UseClockOfPlugins()
	if what := p.WouldOverwrite(context.Background()); p.Clock != "real" || !strings.Contains(what, file) || !strings.Contains(what, "--destroy") {
		t.Errorf("clock %s, %q", p.Clock, what)
	}
}

// keepsNothing is a script whose can_fua is as its key fua says.
const keepsNothing = `#!/bin/sh
case $1 in
config) echo "$3" >$tmpdir/$2 ;;
get_size) echo 1M ;;
can_write | can_flush) ;;
can_fua) cat $tmpdir/fua ;;
pread) head -c $3 /dev/zero ;;
pwrite) cat >/dev/null ;;
flush) [ ! -e $tmpdir/broken ] || { echo "ENOSPC the disk is full" >&2; exit 1; } ;;
*) exit 2 ;;
esac
`

func TestRealTimeRunsOfPlugins(t *testing.T) {
	dir := t.TempDir()
	file, script := filepath.Join(dir, "disk"), filepath.Join(dir, "plugin.sh")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(keepsNothing), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ device, strategy, status, reason string }{
		{"go:memory", "native", results.StatusOK, ""},
		{"go:file?path=" + file, "native", results.StatusOK, ""},
		{"sh:" + script + "?fua=native", "native", results.StatusOK, ""},
		{"sh:" + script + "?fua=emulate", "native", results.StatusUnsupported, "FUA"},
		{"sh:" + script + "?fua=emulate", "pass", results.StatusOK, ""},
		{"sh:" + script + "?fua=emulate&broken=1", "none", results.StatusInvalid, "ENOSPC"},
	} {
		p := plugins([]string{c.strategy}, c.device)
		p.UseClock("real")
		p.Runs, p.MoreRuns, p.Warmup, p.Duration, p.Commits = 1, false, Warmup(0), 0, 20
		p.MaxTime = time.Minute
		cell := mustRun(t, p).Cells[0]
		if cell.Status != c.status || !strings.Contains(cell.Reason, c.reason) {
			t.Errorf("%s under %s is %s: %s", c.device, c.strategy, cell.Status, cell.Reason)
			continue
		}
		if c.status == results.StatusOK && (cell.PluginCalls == nil || cell.PluginCalls.PWrite+cell.PluginCalls.PWriteFUA != 20) {
			t.Errorf("%s under %s: calls %+v", c.device, c.strategy, cell.PluginCalls)
		}
	}
}
