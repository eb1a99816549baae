package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
)

// declared is a backend, as nbdkit's eval plugin and ours can be configured
// can, under the fua filter or none.
type declared struct {
	canFlush, canFUA string // yes or no; none, emulate, native or absent
	zero, trim       bool   // native, else emulated and not there
	mode             string // of the fua filter; empty is no filter
	readOnly         bool
}

func (p declared) String() string {
	return fmt.Sprintf("can_flush %s, can_fua %s, zero %v, trim %v, fuamode %q, read-only %v", p.canFlush, p.canFUA, p.zero, p.trim, p.mode, p.readOnly)
}

// plugins are all of them. A zero that is emulated and a trim that is not there
// go together: neither's decisions look at the other.
func plugins() (all []declared) {
	for _, canFlush := range []string{"yes", "no"} {
		for _, canFUA := range []string{"none", "emulate", "native", "absent"} {
			for _, native := range []bool{true, false} {
				for _, mode := range []string{"", "none", "emulate", "native", "force", "pass", "discard"} {
					all = append(all, declared{canFlush, canFUA, native, native, mode, false})
				}
				all = append(all, declared{canFlush, canFUA, native, native, "", true}, declared{canFlush, canFUA, native, native, "force", true})
			}
		}
	}
	return all
}

// order is one command, sent past all of a client's own checks.
type order struct {
	name  string
	op    devices.Op
	flags devices.Flags
}

var orders = []order{
	{"write", devices.OpWrite, 0},
	{"write fua", devices.OpWrite, devices.FUA},
	{"trim", devices.OpTrim, 0},
	{"trim fua", devices.OpTrim, devices.FUA},
	{"flush", devices.OpFlush, 0},
	{"flush fua", devices.OpFlush, devices.FUA},
	{"read fua", devices.OpRead, devices.FUA},
	{"cache", devices.OpCache, 0},
}

var zeroOrders = []order{
	{"zero", devices.OpWriteZeroes, 0},
	{"zero fua", devices.OpWriteZeroes, devices.FUA},
	{"zero no_hole", devices.OpWriteZeroes, devices.NoHole},
	{"zero fua no_hole", devices.OpWriteZeroes, devices.FUA | devices.NoHole},
	{"zero fast", devices.OpWriteZeroes, devices.FastZero},
	{"zero fast fua", devices.OpWriteZeroes, devices.FastZero | devices.FUA},
}

// outcomes are which of the backend's calls fails, and how.
var outcomes = []struct {
	call   string // empty: none
	errno  devices.Errno
	orders []order
}{
	{"", devices.OK, slices.Concat(orders, zeroOrders)},
	{"w", devices.EIO, slices.Concat(orders[:2], zeroOrders)},
	{"t", devices.EIO, orders[2:4]},
	{"fl", devices.EIO, slices.Concat(orders[:6], zeroOrders)},
	{"z", devices.ENOTSUP, zeroOrders},
	{"z", devices.ENOSPC, zeroOrders},
}

// backend is a server over a plugin that writes down its calls.
type backend interface {
	uri() string
	fail(call string, e devices.Errno)
	calls() []string // since the last time
}

// transcript has a client send each order under each outcome, and says what was
// advertised, which calls reached the backend, and which errno the client.
func transcript(t *testing.T, b backend) (lines []string) {
	t.Helper()
	c, flags, err := rawClient(t, b.uri())
	if err != nil {
		return []string{"refused"}
	}
	defer c.Close()
	lines = append(lines, fmt.Sprintf("flags %#x", uint16(flags)))
	for _, o := range outcomes {
		b.fail(o.call, o.errno)
		for _, one := range o.orders {
			e := c.send(t, one)
			lines = append(lines, fmt.Sprintf("%s, %s %v: %s %v", one.name, o.call, o.errno, strings.Join(b.calls(), " "), e))
		}
	}
	return lines
}

// raw is a connection in the transmission phase with simple replies.
type raw struct{ net.Conn }

func rawClient(t *testing.T, uri string) (raw, nbd.TransmissionFlags, error) {
	t.Helper()
	u, err := socket.ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial(u.Network, u.Address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(programTimeout))
	h := nbd.NewClientHandshake(nbd.OptGo, u.Export)
	in := make([]byte, 4096)
	for !h.Done() {
		if _, err := c.Write(h.Output()); err != nil {
			return raw{}, 0, err
		}
		n, err := c.Read(in)
		if err != nil {
			_ = c.Close()
			return raw{}, 0, err
		}
		h.Feed(in[:n])
	}
	if h.Err() != nil {
		_ = c.Close()
	}
	return raw{c}, h.Export().Flags, h.Err()
}

func (c raw) send(t *testing.T, o order) devices.Errno {
	t.Helper()
	h := nbd.Header{Op: o.op, Flags: o.flags, Cookie: 1}
	if o.op != devices.OpFlush {
		h.Offset, h.Length = 8192, 4096
	}
	b := make([]byte, nbd.RequestSize, nbd.RequestSize+4096)
	nbd.EncodeHeader((*[nbd.RequestSize]byte)(b), &h)
	if o.op == devices.OpWrite {
		b = b[:cap(b)]
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	var reply [nbd.RequestSize]byte
	if _, err := io.ReadFull(c, reply[:nbd.ReplySize]); err != nil {
		t.Fatal(err)
	}
	e, _, err := nbd.DecodeReply(&reply)
	if err != nil {
		t.Fatal(err)
	}
	if o.op == devices.OpRead && e == devices.OK {
		if _, err := io.CopyN(io.Discard, c, 4096); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// evalPlugin is nbdkit with its eval plugin. Each callback reads from a file
// how it is to end.
type evalPlugin struct {
	t    *testing.T
	dir  string
	at   string
	seen int
}

func newEvalPlugin(t *testing.T, p declared) *evalPlugin {
	t.Helper()
	e := &evalPlugin{t: t, dir: t.TempDir()}
	e.fail("", devices.OK)
	said := func(call string, flags string) string {
		return fmt.Sprintf(`echo "%[1]s %[2]s" >> %[3]s/log; read c e < %[3]s/fail; if [ "$c" = %[1]s ]; then echo $e >&2; exit 1; fi`, call, flags, e.dir)
	}
	var args []string
	if p.mode != "" {
		args = append(args, "--filter=fua")
	}
	if p.readOnly {
		args = append(args, "-r")
	}
	args = append(args, "eval", "get_size=echo 1M", "pread=head -c $3 /dev/zero",
		"pwrite=cat > /dev/null; "+said("w", "$5"), "flush="+said("fl", ""),
		"can_flush="+exitOf(p.canFlush == "yes"), "can_fast_zero=exit 0", "can_zero="+exitOf(p.zero), "can_trim="+exitOf(p.trim),
		"zero="+said("z", "$5"), "trim="+said("t", "$5"))
	if p.canFUA != "absent" {
		args = append(args, "can_fua=echo "+p.canFUA)
	}
	if p.mode != "" && p.mode != "none" { // an explicit none is refused by a slip (filters/fua/fua.c)
		args = append(args, "fuamode="+p.mode)
	}
	need(t, "nbdkit")
	for try := 1; ; try++ {
		socket := filepath.Join(t.TempDir(), "s")
		p := start(t, "", append([]string{"nbdkit", "-f", "-U", socket}, args...)...)
		if beginsToListen(t, socket) {
			e.at = socketURI(socket)
			break
		}
		if try == startTries {
			t.Fatalf("nbdkit did not begin to listen, %d times", try)
		}
		p.abandon()
	}
	return e
}

// On a busy machine nbdkit 1.32.5 was seen to hang at its start, before it
// listens.
const (
	startTries   = 5
	startTimeout = 10 * time.Second
)

func beginsToListen(t *testing.T, socket string) bool {
	t.Helper()
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if listens(t, socket) {
			return true
		}
	}
	return false
}

// abandon ends a program that does not do what it should.
func (p *process) abandon() {
	_ = p.cmd.Process.Kill()
	p.wait()
}

func exitOf(yes bool) string {
	if yes {
		return "exit 0"
	}
	return "exit 3"
}

func (e *evalPlugin) uri() string { return e.at }

func (e *evalPlugin) fail(call string, errno devices.Errno) {
	name := errno.String()
	if errno == devices.ENOTSUP {
		name = "EOPNOTSUPP"
	}
	if err := os.WriteFile(filepath.Join(e.dir, "fail"), []byte(call+" "+name+"\n"), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func (e *evalPlugin) calls() []string {
	text, err := os.ReadFile(filepath.Join(e.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		e.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(text) == 0 {
		lines = nil
	}
	fresh := slices.Clone(lines[min(e.seen, len(lines)):])
	e.seen = len(lines)
	for i, line := range fresh {
		call, flags, _ := strings.Cut(line, " ")
		fresh[i] = call + flagNames(strings.FieldsFunc(flags, func(r rune) bool { return r == ',' || r == ' ' }))
	}
	return fresh
}

func flagNames(names []string) string {
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "(" + strings.Join(names, ",") + ")"
}

// ourPlugin is our server over a Go plugin that does the same.
type ourPlugin struct {
	at string

	mu    sync.Mutex
	log   []string
	bad   string
	errno devices.Errno
}

func newOurPlugin(t *testing.T, p declared) *ourPlugin {
	t.Helper()
	o := &ourPlugin{}
	options := plugin.Options{ReadOnly: p.readOnly}
	if p.mode != "" {
		var err error
		if options.Mode, err = fua.ParseMode(p.mode); err != nil {
			t.Fatal(err)
		}
	}
	o.at = exportPlugin(t, plugin.Plugin{Name: "ours", Thread: plugin.Parallel, Open: func(context.Context, plugin.ConnInfo) (*plugin.Conn, error) {
		return o.conn(p), nil
	}}, options)
	return o
}

// conn declares what the eval plugin does. That always has the callbacks can_flush,
// can_zero and can_trim.
func (o *ourPlugin) conn(p declared) *plugin.Conn {
	yes := func(b bool) func(context.Context) (bool, error) {
		return func(context.Context) (bool, error) { return b, nil }
	}
	answer := map[string]fua.Answer{"none": fua.No, "emulate": fua.Emulate, "native": fua.Native, "absent": fua.No}[p.canFUA]
	if p.canFUA == "absent" && p.canFlush == "yes" {
		answer = fua.Emulate // plugins/sh/methods.c: for a script without can_fua
	}
	return &plugin.Conn{
		Size:  func(context.Context) (uint64, error) { return mib, nil },
		PRead: func(context.Context, []byte, uint64) error { return nil },
		PWrite: func(_ context.Context, _ []byte, _ uint64, f plugin.Flags) error {
			return o.call("w", f)
		},
		PTrim:    func(_ context.Context, _, _ uint64, f plugin.Flags) error { return o.call("t", f) },
		PZero:    func(_ context.Context, _, _ uint64, f plugin.Flags) error { return o.call("z", f) },
		Flush:    func(context.Context) error { return o.call("fl", 0) },
		CanFlush: yes(p.canFlush == "yes"), CanZero: yes(p.zero), CanTrim: yes(p.trim), CanFastZero: yes(true),
		CanFUA: func(context.Context) (fua.Answer, error) { return answer, nil },
	}
}

func (o *ourPlugin) uri() string { return o.at }

func (o *ourPlugin) fail(call string, e devices.Errno) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bad, o.errno = call, e
}

func (o *ourPlugin) calls() (log []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	log, o.log = o.log, nil
	return log
}

// call writes a call down and ends it as it is to end.
func (o *ourPlugin) call(name string, f plugin.Flags) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var flags []string
	for _, x := range []struct {
		flag plugin.Flags
		name string
	}{{plugin.FUA, "fua"}, {plugin.FastZero, "fast"}, {plugin.MayTrim, "may_trim"}} {
		if f&x.flag != 0 {
			flags = append(flags, x.name)
		}
	}
	o.log = append(o.log, name+flagNames(flags))
	if name == o.bad {
		return o.errno.Err()
	}
	return nil
}

// TestServesAsNbdkitDoes compares our server with nbdkit itself: what is
// advertised, which calls reach the backend, and which errno the client.
func TestServesAsNbdkitDoes(t *testing.T) {
	need(t, "nbdkit")
	all := plugins()
	if testing.Short() || underRace() {
		all = all[:len(all)/8]
	}
	var compared atomic.Int64
	t.Run("plugin", func(t *testing.T) {
		for _, p := range all {
			t.Run(p.String(), func(t *testing.T) {
				ours := transcript(t, newOurPlugin(t, p))
				theirs := transcript(t, newEvalPlugin(t, p))
				for i := range max(len(theirs), len(ours)) {
					if i >= len(theirs) || i >= len(ours) || theirs[i] != ours[i] {
						t.Fatalf("line %d:\nnbdkit   %s\nnbdbench %s", i, strings.Join(theirs[i:min(i+1, len(theirs))], ""), strings.Join(ours[i:min(i+1, len(ours))], ""))
					}
				}
				compared.Add(int64(len(theirs)))
			})
		}
	})
	t.Logf("%d plugins and filters, %d combinations of these with a command and how the backend's calls end", len(all), compared.Load())
}
