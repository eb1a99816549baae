package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
)

// notes are what a plugin writes down.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

// await waits until the notes end with a line.
func (n *notes) await(t *testing.T, last string) {
	t.Helper()
	for end := time.Now().Add(programTimeout); !strings.HasSuffix(n.text(), last); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q does not end with %q", n.text(), last)
		}
	}
}

// nothing is a Conn of a megabyte that does nothing.
func nothing() *plugin.Conn {
	return &plugin.Conn{
		Size:   func(context.Context) (uint64, error) { return mib, nil },
		PRead:  func(context.Context, []byte, uint64) error { return nil },
		PWrite: func(context.Context, []byte, uint64, plugin.Flags) error { return nil },
	}
}

func opening(conn func(plugin.ConnInfo) *plugin.Conn) plugin.Plugin {
	return plugin.Plugin{Name: "test", Thread: plugin.Parallel, Open: func(_ context.Context, c plugin.ConnInfo) (*plugin.Conn, error) {
		return conn(c), nil
	}}
}

// everything notes all calls, by the names that nbdkit's eval plugin has for them.
func everything(n *notes, answer fua.Answer) *plugin.Conn {
	yes := func(name string) func(context.Context) (bool, error) {
		return func(context.Context) (bool, error) { n.add("%s", name); return true, nil }
	}
	return &plugin.Conn{
		Size:  func(context.Context) (uint64, error) { n.add("get_size"); return mib, nil },
		PRead: func(_ context.Context, b []byte, off uint64) error { n.add("pread %d %d", len(b), off); return nil },
		PWrite: func(_ context.Context, b []byte, off uint64, f plugin.Flags) error {
			n.add("pwrite %d %d %d", len(b), off, f&plugin.FUA)
			return nil
		},
		PZero: func(_ context.Context, l, off uint64, f plugin.Flags) error {
			n.add("zero %d %d %d", l, off, f&plugin.FUA)
			return nil
		},
		PTrim: func(_ context.Context, l, off uint64, f plugin.Flags) error {
			n.add("trim %d %d %d", l, off, f&plugin.FUA)
			return nil
		},
		Cache: func(_ context.Context, l, off uint64) error { n.add("cache %d %d", l, off); return nil },
		Flush: func(context.Context) error { n.add("flush"); return nil },
		Close: func() { n.add("close") },

		CanWrite: yes("can_write"), CanFlush: yes("can_flush"), CanTrim: yes("can_trim"), CanZero: yes("can_zero"),
		CanFastZero: yes("can_fast_zero"), CanCache: yes("can_cache"), CanMultiConn: yes("can_multi_conn"),
		CanFUA: func(context.Context) (fua.Answer, error) { n.add("can_fua"); return answer, nil },
	}
}

// evalThatNotes is nbdkit's eval plugin that notes its calls in a file.
func evalThatNotes(t *testing.T, canFUA string, readOnly bool) (uri, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	args := []string{"eval"}
	if readOnly {
		args = []string{"-r", "eval"}
	}
	note := func(method, line, then string) {
		args = append(args, fmt.Sprintf("%s=echo %s >> %s; %s", method, line, log, then))
	}
	durable := `$(case "$5" in *fua*) echo 1;; *) echo 0;; esac)`
	note("open", "open", "")
	note("close", "close", "")
	note("get_size", "get_size", "echo 1M")
	note("pread", "pread $3 $4", "head -c $3 /dev/zero")
	note("pwrite", "pwrite $3 $4 "+durable, "cat > /dev/null")
	note("zero", "zero $3 $4 "+durable, "")
	note("trim", "trim $3 $4 "+durable, "")
	note("cache", "cache $3 $4", "")
	note("flush", "flush", "")
	for _, method := range []string{"can_write", "can_flush", "can_trim", "can_zero", "can_fast_zero", "can_multi_conn"} {
		note(method, method, "exit 0")
	}
	note("can_cache", "can_cache", "echo native")
	note("can_fua", "can_fua", "echo "+canFUA)
	uri, _ = nbdkit(t, args...)
	return uri, log
}

// TestAGoPluginIsCalledAsNbdkitCallsIts: the same calls in the same order, from open to
// close, for one client of libnbd's.
func TestAGoPluginIsCalledAsNbdkitCallsIts(t *testing.T) {
	need(t, "nbdkit", libnbd)
	client := `
import nbd, sys
h = nbd.NBD(); h.connect_uri(sys.argv[1])
for f in (0, nbd.CMD_FLAG_FUA):
    if h.is_read_only(): break
    h.pwrite(bytearray(4096), 8192, f); h.zero(4096, 8192, f); h.trim(4096, 8192, f)
h.flush(); h.cache(4096, 0); h.pread(4096, 8192); h.shutdown()`
	for _, answer := range []struct {
		name   string
		answer fua.Answer
	}{{"emulate", fua.Emulate}, {"native", fua.Native}} {
		for _, readOnly := range []bool{false, true} {
			var ours notes
			uri := exportPlugin(t, opening(func(plugin.ConnInfo) *plugin.Conn {
				ours.add("open")
				return everything(&ours, answer.answer)
			}), plugin.Options{ReadOnly: readOnly})
			must(t, "", libnbd, "-c", client, uri)
			ours.await(t, "close")
			theirsURI, log := evalThatNotes(t, answer.name, readOnly)
			must(t, "", libnbd, "-c", client, theirsURI)
			var theirs string
			for end := time.Now().Add(programTimeout); !strings.HasSuffix(theirs, "close") && time.Now().Before(end); time.Sleep(time.Millisecond) {
				text, _ := os.ReadFile(log)
				theirs = strings.TrimSpace(string(text))
			}
			if ours.text() != theirs {
				t.Errorf("can_fua %s, read-only %v:\nnbdbench\n%s\nnbdkit\n%s", answer.name, readOnly, ours.text(), theirs)
			}
		}
	}
}

// TestInfoAndGoOpenAPluginOnce: nbdkit opens it again for each; here it is open from
// the first question about a name to the end, or to a question about another name.
func TestInfoAndGoOpenAPluginOnce(t *testing.T) {
	need(t, libnbd)
	var n notes
	uri := exportPlugin(t, opening(func(c plugin.ConnInfo) *plugin.Conn {
		n.add("open %s", c.Export)
		conn := nothing()
		conn.Close = func() { n.add("close %s", c.Export) }
		return conn
	}), plugin.Options{})
	must(t, "", libnbd, "-c", `
import nbd, sys
h = nbd.NBD(); h.set_opt_mode(True); h.connect_uri(sys.argv[1])
h.set_export_name("a"); h.opt_info(); h.opt_info()
h.set_export_name("b"); h.opt_info(); h.opt_go()
h.pwrite(bytearray(4096), 0); h.shutdown()
h = nbd.NBD(); h.set_opt_mode(True); h.connect_uri(sys.argv[1])
h.set_export_name("c"); h.opt_info(); h.opt_abort()`, uri)
	n.await(t, "close c")
	if got := n.text(); got != "open a\nclose a\nopen b\nclose b\nopen c\nclose c" && got != "open a\nopen b\nclose a\nclose b\nopen c\nclose c" {
		t.Error(got)
	}
}

// TestAPluginsMessageRefusesTheConnection, escaped, and without a message where the
// protocol has no place for one.
func TestAPluginsMessageRefusesTheConnection(t *testing.T) {
	need(t, libnbd)
	var n notes
	p := opening(func(plugin.ConnInfo) *plugin.Conn {
		c := nothing()
		c.CanFUA = func(context.Context) (fua.Answer, error) { return 0, errors.New("no \x1b[2J such disk\n") }
		c.Close = func() { n.add("close") }
		return c
	})
	uri := exportPlugin(t, p, plugin.Options{Report: func(line string) { n.add("%s", line) }})
	var refused *nbd.OptionError
	if _, _, err := rawClient(t, uri); !errors.As(err, &refused) || refused.Reply != nbd.RepErrUnknown || refused.Message != `can_fua: no \x1b[2J such disk\n` {
		t.Errorf("GO: %v", err)
	}
	r := run(t, "", libnbd, "-c", `
import nbd, sys
h = nbd.NBD(); h.set_handshake_flags(0); h.connect_uri(sys.argv[1])`, uri) // without fixed newstyle there is EXPORT_NAME alone
	if r.code == 0 {
		t.Error("EXPORT_NAME succeeded")
	}
	if text := n.text(); strings.Count(text, "close") != 2 || !strings.Contains(text, `is refused: can_fua: no \x1b[2J such disk\n`) {
		t.Error(text)
	}
}

// TestAPluginThatPanicsEndsItsConnection and no other.
func TestAPluginThatPanicsEndsItsConnection(t *testing.T) {
	need(t, libnbd)
	var n notes
	uri := exportPlugin(t, opening(func(plugin.ConnInfo) *plugin.Conn {
		c := nothing()
		c.PWrite = func(_ context.Context, _ []byte, off uint64, _ plugin.Flags) error {
			if off > 0 {
				panic("a bug")
			}
			return nil
		}
		c.Close = func() { n.add("close") }
		return c
	}), plugin.Options{})
	must(t, "", libnbd, "-c", `
import nbd, sys
a, b = nbd.NBD(), nbd.NBD()
a.connect_uri(sys.argv[1]); b.connect_uri(sys.argv[1])
try:
    a.pwrite(bytearray(4096), 4096); sys.exit("no error")
except nbd.Error as e:
    assert e.errno == "EIO", e
while True: # until it notices
    try:
        a.pread(512, 0)
    except nbd.Error as e:
        break
b.pwrite(bytearray(4096), 0); b.shutdown()
c = nbd.NBD(); c.connect_uri(sys.argv[1]); c.pwrite(bytearray(4096), 0); c.shutdown()`, uri)
	n.await(t, "close\nclose\nclose")
}

// TestASlowOpenHoldsUpNoOtherClient: it ends by what another client does.
func TestASlowOpenHoldsUpNoOtherClient(t *testing.T) {
	need(t, libnbd)
	began, wrote := make(chan bool), make(chan bool)
	uri := exportPlugin(t, opening(func(c plugin.ConnInfo) *plugin.Conn {
		conn := nothing()
		if c.Export == "slow" {
			close(began)
			<-wrote
			return conn
		}
		conn.PWrite = func(context.Context, []byte, uint64, plugin.Flags) error { close(wrote); return nil }
		return conn
	}), plugin.Options{})
	slow := start(t, "", libnbd, "-c", `import nbd, sys; h = nbd.NBD(); h.connect_uri(sys.argv[1]); h.shutdown()`, strings.Replace(uri, "///", "///slow", 1))
	<-began
	must(t, "", libnbd, "-c", `import nbd, sys; h = nbd.NBD(); h.connect_uri(sys.argv[1]); h.pwrite(bytearray(512), 0); h.shutdown()`, uri)
	if code := slow.wait(); code != 0 {
		t.Errorf("the slow one: exit %d", code)
	}
}

// TestACallThatDoesNotReturnHoldsItsMemory until it does, also when its client has
// gone; then the plugin is closed.
func TestACallThatDoesNotReturnHoldsItsMemory(t *testing.T) {
	block := make(chan bool)
	var n notes
	uri, server := servePlugin(t, opening(func(plugin.ConnInfo) *plugin.Conn {
		c := nothing()
		c.PWrite = func(_ context.Context, b []byte, _ uint64, _ plugin.Flags) error {
			<-block
			n.add("%d", b[0])
			return nil
		}
		c.Close = func() { n.add("close") }
		return c
	}), plugin.Options{Timeout: 20 * time.Millisecond})
	c, _, err := rawClient(t, uri)
	if err != nil {
		t.Fatal(err)
	}
	idle := server.MemoryUse().Held
	if e := c.send(t, order{"write", devices.OpWrite, 0}); e != devices.EIO {
		t.Errorf("%v", e)
	}
	if e := c.send(t, order{"read", devices.OpRead, 0}); e != devices.OK {
		t.Errorf("another worker: %v", e)
	}
	if held := server.MemoryUse().Held; held < idle+4096 {
		t.Errorf("%d bytes are held, %d before", held, idle)
	}
	_ = c.Close()
	await(t, "the connection ends", func() bool { return server.MemoryUse().Connections == 0 })
	if held := server.MemoryUse().Held; held < 4096 || n.text() != "" {
		t.Errorf("%d bytes are held, %q", held, n.text())
	}
	close(block)
	n.await(t, "0\nclose")
	await(t, "the memory", func() bool { return server.MemoryUse().Held == 0 })
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(programTimeout); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// TestAPluginListsItsExports.
func TestAPluginListsItsExports(t *testing.T) {
	need(t, libnbd)
	p := opening(func(c plugin.ConnInfo) *plugin.Conn {
		conn := nothing()
		conn.Size = func(context.Context) (uint64, error) { return uint64(len(c.Export)) * 512, nil }
		return conn
	})
	p.Exports = func(context.Context, plugin.ConnInfo) ([]plugin.Export, error) {
		return []plugin.Export{{Name: "a"}, {Name: "bb", Description: "two"}}, nil
	}
	uri := exportPlugin(t, p, plugin.Options{})
	got := must(t, "", libnbd, "-c", `
import nbd, sys
h = nbd.NBD(); h.set_opt_mode(True); h.connect_uri(sys.argv[1])
h.opt_list(lambda name, description: print(name, description))
h.set_export_name("bb"); h.opt_go(); print(h.get_size()); h.shutdown()`, uri)
	if want := "a bb two 1024"; strings.Join(strings.Fields(got), " ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

// TestAServerEndsWhileAPluginOpens.
func TestAServerEndsWhileAPluginOpens(t *testing.T) {
	block, began := make(chan bool), make(chan bool)
	uri, server := servePlugin(t, opening(func(plugin.ConnInfo) *plugin.Conn {
		close(began)
		<-block
		return nothing()
	}), plugin.Options{})
	u, err := socket.ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial(u.Network, u.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := nbd.NewClientHandshake(nbd.OptGo, "")
	in := make([]byte, 4096)
	n, err := c.Read(in)
	if err != nil {
		t.Fatal(err)
	}
	h.Feed(in[:n])
	for asked := false; !asked; {
		_, _ = c.Write(h.Output())
		select {
		case <-began:
			asked = true
		case <-time.After(time.Millisecond):
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if n, _ := c.Read(in); n > 0 {
				h.Feed(in[:n])
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	close(block)
}
