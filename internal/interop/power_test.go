package interop

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/internal/crash"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// powered is a server whose power can be cut.
type powered struct {
	*server
	dir, image, control, log string
}

// power serves a device on an image in dir.
func power(t *testing.T, dir string, args ...string) *powered {
	t.Helper()
	p := &powered{dir: dir, image: filepath.Join(dir, "image"), control: filepath.Join(dir, "control"), log: filepath.Join(t.TempDir(), "log")}
	_ = os.Remove(p.control) // of a server that was killed
	p.server = serve(t, append([]string{"--size", "16M", "--image", p.image, "--control", p.control, "--log", p.log}, args...)...)
	return p
}

// forgetful is a drive that keeps what is not flushed in its cache, however long a
// test takes.
func forgetful(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "forgetful.yaml")
	if err := os.WriteFile(path, []byte("extends: nvme-990pro\nname: forgetful\ncache: {idle_destage: 0s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// command sends a command to the control socket and returns its reply.
func (p *powered) command(command string) map[string]any {
	p.t.Helper()
	c, err := net.Dial("unix", p.control)
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, command)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		p.t.Fatalf("%s: %v", command, err)
	}
	var reply map[string]any
	if err := json.Unmarshal([]byte(line), &reply); err != nil {
		p.t.Fatalf("%s: %q: %v", command, line, err)
	}
	return reply
}

// history is what the server has noted, which it has once it has ended.
func (p *powered) history() *history.Log {
	p.t.Helper()
	f, err := os.Open(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	l, err := history.Read(f)
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// writer is qemu-io fed by hand, so that it has not ended when the power goes.
type writer struct {
	*process
	in  io.WriteCloser
	out *bufio.Reader
}

func qemuSession(t *testing.T, uri string) *writer {
	t.Helper()
	p := &process{t: t, cmd: command(t.Context(), t, "", "qemu-io", "-f", "raw", "-t", "none", uri)}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &writer{p, in, bufio.NewReader(out)}
	hung := time.AfterFunc(programTimeout, func() { _ = p.cmd.Process.Kill() })
	t.Cleanup(func() { hung.Stop(); w.kill() })
	w.prompt()
	return w
}

// prompt waits until qemu-io wants a command, and returns what it said before.
// It takes no second one before: two lines that arrive together are one to it.
func (w *writer) prompt() string {
	w.t.Helper()
	const prompt = "qemu-io> "
	var said strings.Builder
	for !strings.HasSuffix(said.String(), prompt) {
		b, err := w.out.ReadByte()
		if err != nil {
			w.t.Fatalf("qemu-io: %v after %q", err, said.String())
		}
		said.WriteByte(b)
	}
	return said.String()
}

// ask has qemu-io do something and returns what it says.
func (w *writer) ask(command string) string {
	w.t.Helper()
	fmt.Fprintln(w.in, command)
	return w.prompt()
}

// say has qemu-io do something, which must go well.
func (w *writer) say(command string) {
	w.t.Helper()
	if said := w.ask(command); strings.Contains(said, "failed") || strings.Contains(said, "rror") {
		w.t.Fatalf("qemu-io: %s: %s", command, said)
	}
}

// kill ends qemu-io without the flush of its end.
func (w *writer) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait() // it has been killed, perhaps before
}

// TestWhatIsLegalSurvivesACutUnderQemuIO writes patterns, cuts the power while
// qemu-io is connected, and holds each sector of the image against the oracle
// that has read the journal: pattern n is the n-th write.
func TestWhatIsLegalSurvivesACutUnderQemuIO(t *testing.T) {
	need(t, "qemu-io")
	for _, device := range []string{"nvme-990pro", "hdd-7200", "nvme-pm963"} {
		t.Run(device, func(t *testing.T) {
			p := power(t, t.TempDir(), device)
			w := qemuSession(t, p.uri)
			for _, c := range []string{
				"write -P 1 0 256k", "flush", "write -P 2 64k 128k", "write -f -P 3 128k 64k",
				"write -P 4 512k 64k", "flush", "write -z 0 4k", "write -f -P 6 520k 4k", "write -P 7 1M 1M", "write -P 8 96k 64k",
			} {
				w.say(c)
			}
			cut := p.command("cut --seed 7")
			w.kill()
			if cut["error"] != nil {
				t.Fatal(cut)
			}
			p.stop()
			survived(t, p, device == "nvme-pm963")
			again := power(t, p.dir, device) // and it is there for the next one
			must(t, "", "qemu-io", "-f", "raw", "-c", "read -P 3 176k 4k", again.uri)
		})
	}
}

// survived checks every sector of the image.
func survived(t *testing.T, p *powered, protected bool) {
	t.Helper()
	image, err := os.ReadFile(p.image)
	if err != nil {
		t.Fatal(err)
	}
	info := devices.Info{Cache: devices.CacheVolatile, MultiConn: true, AtomicUnit: 512}
	if protected {
		info.Cache = devices.CacheProtected
	}
	legal := history.NewLegal(info)
	log := p.history()
	for i := range log.Events {
		legal.Observe(&log.Events[i])
	}
	open := 0
	for s := uint64(0); s < uint64(len(image))/512; s++ {
		b := image[s*512 : s*512+512]
		versions := legal.At(s, nil)
		if len(versions) > 1 {
			open++
		}
		if !bytes.Equal(b, bytes.Repeat(b[:1], 512)) || !slices.Contains(versions, devices.Stamp(b[0])) {
			t.Fatalf("sector %d holds pattern %d, legal are %v", s, b[0], versions)
		}
	}
	if !protected && open == 0 {
		t.Error("nothing was at risk: the test shows nothing")
	}
}

// TestWhatNbdcopyFlushedSurvivesACut copies a file with a FLUSH at its end.
func TestWhatNbdcopyFlushedSurvivesACut(t *testing.T) {
	need(t, "nbdcopy")
	source := randomFile(t, 16*mib)
	p := power(t, t.TempDir(), "nvme-990pro")
	must(t, "", "nbdcopy", "--flush", source, p.uri)
	p.command("cut")
	p.stop()
	if a, b := sum(t, source), sum(t, p.image); a != b {
		t.Error("the image differs from what was copied and flushed")
	}
}

// Without the FLUSH the copy is in a volatile cache, and a cut shows it.
func TestWhatNobodyFlushedIsLost(t *testing.T) {
	need(t, "nbdcopy")
	source := randomFile(t, 16*mib)
	dir := t.TempDir()
	p := power(t, dir, forgetful(t, dir), "--advertise", "fua") // so that nobody can
	must(t, "", "nbdcopy", source, p.uri)
	if cut := p.command("cut"); cut["exposed_bytes"].(float64) < 12*mib { // a hole of the file is zeros, which are but noted
		t.Fatalf("%v: expected all of the data to be exposed", cut)
	}
	p.stop()
	if sum(t, source) == sum(t, p.image) {
		t.Error("all of it is there")
	}
}

func TestSIGUSR1CutsThePowerAndConnectionsWithIt(t *testing.T) {
	need(t, "qemu-io")
	dir := t.TempDir()
	p := power(t, dir, forgetful(t, dir))
	w := qemuSession(t, p.uri)
	w.say("write -P 1 0 64k")
	w.say("flush")
	w.say("write -P 2 0 64k")
	if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for deadline := 0; p.command("stats")["exports"].([]any)[0].(map[string]any)["cuts"].(float64) < 1; deadline++ {
		if deadline > 1000 {
			t.Fatal("the signal cut nothing")
		}
	}
	if said := w.ask("read -P 1 0 64k"); !strings.Contains(said, "failed") {
		t.Errorf("the connection outlived its server's power: %s", said)
	}
	w.kill()
	must(t, "", "qemu-io", "-f", "raw", "-c", "read -P 1 0 64k", p.uri)
}

// One workload gives many cuts: clones show what each would have left, and the
// original runs on.
func TestAClonedCutIsAnotherExportAndTheOriginalRunsOn(t *testing.T) {
	need(t, "qemu-io")
	dir := t.TempDir()
	p := power(t, dir, forgetful(t, dir))
	w := qemuSession(t, p.uri)
	w.say("write -P 1 0 64k")
	w.say("flush")
	w.say("write -P 2 0 64k")
	if reply := p.command("cut --clone before"); reply["error"] != nil || reply["export"] != "before" || reply["image"] != "device" {
		t.Fatal(reply)
	}
	w.say("flush")
	if reply := p.command("cut --clone after"); reply["error"] != nil {
		t.Fatal(reply)
	}
	if reply := p.command("cut --clone after"); reply["error"] == nil {
		t.Errorf("a second export of one name: %v", reply)
	}
	named := func(name string) string { return strings.Replace(p.uri, "nbd+unix:///", "nbd+unix:///"+name, 1) }
	must(t, "", "qemu-io", "-f", "raw", "-c", "read -P 1 0 64k", named("before"))
	must(t, "", "qemu-io", "-f", "raw", "-c", "read -P 2 0 64k", named("after"))
	must(t, "", "qemu-io", "-f", "raw", "-c", "write -P 9 0 64k", named("before"))
	w.say("read -P 2 0 64k")
	w.kill()
	if reply := p.command("nonsense"); reply["error"] == nil {
		t.Errorf("got %v", reply)
	}
}

// Of several exports a cut takes the one that it names, and SIGUSR1 all of them.
func TestACutOfOneExportLeavesTheOthersTheirPower(t *testing.T) {
	need(t, "qemu-io")
	dir := t.TempDir()
	device := forgetful(t, dir)
	p := power(t, dir, device, "--export", "log="+device)
	named := func(name string) string { return strings.Replace(p.uri, "nbd+unix:///", "nbd+unix:///"+name, 1) }
	first, second := qemuSession(t, p.uri), qemuSession(t, named("log"))
	cuts := func(want ...float64) {
		t.Helper()
		for i, e := range p.command("stats")["exports"].([]any) {
			if got := e.(map[string]any)["cuts"]; i < len(want) && got != want[i] {
				t.Errorf("export %d: %v cuts, expected %v", i, got, want[i])
			}
		}
	}
	for _, w := range []*writer{first, second} {
		w.say("write -P 1 0 64k")
		w.say("flush")
		w.say("write -P 2 0 64k")
	}
	for command, want := range map[string]string{
		"cut":                         `--export: expected one of "", "log", got none`,
		"cut --clone new":             `--export: expected one of "", "log", got none`,
		"cut --export no":             `--export: expected one of "", "log", got "no"`,
		"cut --export no --clone new": `--export: expected one of "", "log", got "no"`,
		"cut --export":                "expected cut [--export NAME]",
	} {
		if reply := p.command(command); !strings.Contains(fmt.Sprint(reply["error"]), want) {
			t.Errorf("%s: %v, want %q", command, reply, want)
		}
	}
	cuts(0, 0)
	if reply := p.command("cut --export log"); reply["export"] != "log" || reply["exposed_bytes"].(float64) < 64<<10 {
		t.Errorf("cut --export log: %v, expected 64 KiB or more of the export log", reply)
	}
	cuts(0, 1)
	first.say("read -P 2 0 64k")
	if said := second.ask("read -P 1 0 64k"); !strings.Contains(said, "failed") {
		t.Errorf("the connection outlived its export's power: %s", said)
	}
	second.kill()
	must(t, "", "qemu-io", "-f", "raw", "-c", "read -P 1 0 64k", named("log"))
	if reply := p.command(`cut --export "" --clone snapshot`); reply["error"] != nil || reply["export"] != "snapshot" {
		t.Error(reply)
	}
	must(t, "", "qemu-io", "-f", "raw", "-c", "read -P 1 0 64k", named("snapshot"))
	cuts(1, 1) // a clone counts, so that the next one has another seed
	if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for tries := 0; !strings.Contains(first.ask("read -P 1 0 64k"), "failed"); tries++ {
		if tries > 1000 {
			t.Fatal("the signal cut nothing")
		}
	}
	first.kill()
	cuts(2, 2, 1)
}

// A battery keeps the controller's cache, which nothing has emptied here: over a
// power cut, and in the image over kill -9.
func TestABatteryKeepsWhatTheControllerAcknowledged(t *testing.T) {
	need(t, "qemu-io")
	dir := t.TempDir()
	device := filepath.Join(dir, "full.yaml")
	if err := os.WriteFile(device, []byte("extends: raid-bbu\nname: full\nraid: {idle_destage: 0s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, image := range []bool{false, true} {
		args := []string{"--size", "16M", device}
		if image {
			args = append(args, "--image", filepath.Join(dir, "disk"))
		}
		p := serve(t, args...)
		w := qemuSession(t, p.uri)
		w.say("write -P 7 0 64k")
		if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		for tries := 0; !strings.Contains(w.ask("read -P 7 0 64k"), "failed"); tries++ {
			if tries > 1000 {
				t.Fatal("the signal cut nothing")
			}
		}
		w.kill()
		w = qemuSession(t, p.uri)
		w.say("read -P 7 0 64k")
		w.say("write -P 8 0 64k")
		if image {
			p.stopped = true
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait() // it was killed
			p = serve(t, args...)
			must(t, "", "qemu-io", "-f", "raw", "-c", "read -P 8 0 64k", p.uri)
		}
		w.kill()
		p.stop()
	}
}

// hammer writes until the server is gone, each slot in blocks of its own, and
// knows what was promised.
type hammer struct {
	conn     *socket.ClientConn
	stamp    devices.Stamp
	slots    []hammerSlot
	promised map[uint64]devices.Stamp // by block
	sent     map[uint64]devices.Stamp
}

type hammerSlot struct {
	h     *hammer
	r     devices.Request
	n     uint64
	index uint64
	block uint64
}

const (
	hammerSlots  = 4
	hammerBlocks = 8 // of each slot
)

// next sends a FUA write, or a write that a FLUSH follows.
func (s *hammerSlot) next() {
	s.n++
	s.h.stamp++
	s.block = s.index*hammerBlocks + s.n*7%hammerBlocks
	s.r.Reset()
	s.r.Op, s.r.Offset, s.r.Length, s.r.Stamp, s.r.Completer = devices.OpWrite, s.block*4096, 4096, s.h.stamp, s
	if s.n%3 != 0 {
		s.r.Flags = devices.FUA
	}
	s.h.sent[s.block] = s.r.Stamp
	s.h.conn.Submit(&s.r)
}

// Done notes what was promised.
func (s *hammerSlot) Done(r *devices.Request) {
	switch {
	case r.Errno != devices.OK:
		return
	case r.Op == devices.OpWrite && r.Flags == 0:
		r.Op, r.Offset, r.Length = devices.OpFlush, 0, 0
		s.h.conn.Submit(r)
		return
	}
	s.h.promised[s.block] = s.h.sent[s.block]
	s.next()
}

// enough is after how long a test that has killed 20 times is satisfied with
// fewer than 200; NBDBENCH_KILLS=all has them all.
const enough = 25 * time.Second

// TestKillLosesNothingThatWasPromised kills the server at random moments. What
// the device holds in its cache is lost with it, as in a loss of power; what was
// promised is in the image.
func TestKillLosesNothingThatWasPromised(t *testing.T) {
	kills := 200
	if testing.Short() || underRace() {
		kills = 20
	}
	dir := t.TempDir()
	total, begun := 0, time.Now()
	for i := range kills {
		if i >= 20 && time.Since(begun) > enough && os.Getenv("NBDBENCH_KILLS") != "all" {
			kills = i
			break
		}
		h := hammered(t, dir, time.Duration(i*7919%20)*time.Millisecond)
		total += len(h.promised)
		check(t, i, filepath.Join(dir, "image"), h)
	}
	if total < kills {
		t.Errorf("%d promises in %d rounds: the test shows little", total, kills)
	}
	t.Logf("%d kills, %d blocks promised", kills, total)
}

// hammered serves, writes for a while, and kills the server.
func hammered(t *testing.T, dir string, after time.Duration) *hammer {
	t.Helper()
	p := power(t, dir, "nvme-990pro")
	u, err := socket.ParseURI(p.uri)
	if err != nil {
		t.Fatal(err)
	}
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	h := &hammer{promised: map[uint64]devices.Stamp{}, sent: map[uint64]devices.Stamp{}, slots: make([]hammerSlot, hammerSlots)}
	if h.conn, err = socket.Dial(t.Context(), u, real); err != nil {
		t.Fatal(err)
	}
	real.Do(func() {
		for i := range h.slots {
			h.slots[i].h, h.slots[i].index = h, uint64(i)
			h.slots[i].next()
		}
	})
	time.Sleep(after) // the moment of the kill; nothing is concluded from it
	_ = p.cmd.Process.Kill()
	p.wait()
	_ = h.conn.Close()
	_ = real.Close()
	return h
}

// check holds the image against what was promised. The image of the round before
// is the start of this one.
func check(t *testing.T, round int, path string, h *hammer) {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for block, promised := range h.promised {
		for s := uint64(0); s < 8; s++ {
			found := devices.Stamp(binary.BigEndian.Uint64(image[block*4096+s*512:]))
			if found < promised || found > h.sent[block] {
				t.Fatalf("kill %d: block %d, sector %d holds version %d, promised was %d, sent %d", round, block, s, found, promised, h.sent[block])
			}
		}
	}
	if err := os.Truncate(path, 0); err != nil { // versions begin anew
		t.Fatal(err)
	}
}

// TestTheLogOfALiveSessionReplaysToItsImage applies each entry of --log-writes,
// read as the kernel's format is described, to an empty disk.
func TestTheLogOfALiveSessionReplaysToItsImage(t *testing.T) {
	need(t, "qemu-io")
	dir := t.TempDir()
	log := filepath.Join(dir, "dm")
	p := power(t, dir, "nvme-990pro", "--log-writes", log)
	w := qemuSession(t, p.uri)
	for _, c := range []string{"write -P 1 0 256k", "write -f -P 2 300k 4k", "write -P 3 64k 64k", "flush", "write -z 0 8k", "write -f -P 4 128k 512", "flush"} {
		w.say(c)
	}
	w.kill()
	p.stop()
	replaysTo(t, log, p.image)
}

// TestTheLogOfALiveSessionReplaysToItsImageWhateverItsEnd: after a power cut that
// takes some of what was not flushed, and after kill -9, when the file has no end.
func TestTheLogOfALiveSessionReplaysToItsImageWhateverItsEnd(t *testing.T) {
	need(t, "qemu-io")
	dir := t.TempDir()
	log := filepath.Join(dir, "dm")
	p := power(t, dir, "nvme-990pro", "--log-writes", log)
	for cut := range 3 {
		w := qemuSession(t, p.uri)
		w.say(fmt.Sprintf("write -P %d 0 256k", 8*cut+1))
		w.say("flush")
		w.say(fmt.Sprintf("write -P %d 128k 256k", 8*cut+2))
		w.say(fmt.Sprintf("write -z %dk 8k", 64*cut))
		w.say(fmt.Sprintf("write -f -P %d 300k 4k", 8*cut+3))
		p.command("cut")
		w.kill()
	}
	w := qemuSession(t, p.uri)
	w.say("write -P 99 0 12k")
	w.say("flush")
	p.stopped = true
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
	w.kill()
	replaysTo(t, log, p.image)
	for _, path := range []string{log, p.log} { // each is whole up to the last promise
		l, err := crash.LoadHistory(path)
		if err != nil {
			t.Fatal(err)
		}
		last := l.Events[len(l.Events)-1]
		if l.Torn != nil || last.Op != devices.OpFlush || last.Kind != history.Done {
			t.Errorf("%s: %v, and the last event is %+v, expected the reply to the FLUSH", path, l.Torn, last)
		}
	}
}

// replaysTo applies a log's entries to an empty disk, which must come to be image.
func replaysTo(t *testing.T, log, path string) {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	disk, le := make([]byte, len(image)), binary.LittleEndian
	size := uint64(le.Uint32(b[24:]))
	for at, n := size, le.Uint64(b[16:]); n > 0; n-- {
		sector, sectors, flags := le.Uint64(b[at:]), le.Uint64(b[at+8:]), le.Uint64(b[at+16:])
		at += size
		if flags&4 != 0 { // as replay-log does
			clear(disk[sector*size : (sector+sectors)*size])
			continue
		}
		copy(disk[sector*size:], b[at:at+sectors*size])
		at += sectors * size
	}
	for at := range disk {
		if disk[at] != image[at] {
			t.Fatalf("what the log replays to has %d at byte %d, the image %d", disk[at], at, image[at])
		}
	}
}
