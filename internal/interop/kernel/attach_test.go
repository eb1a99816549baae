package kernel

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/nbd/kernel"
	"nbdbench/results"
	"nbdbench/sim"
)

// program is the command under test, in the guest.
const program = "/guest/nbdbench"

// exit runs nbdbench and is its exit code and what it wrote.
func exit(t *testing.T, c *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	c.Stdout, c.Stderr = &out, &talk
	err := c.Run()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), strings.TrimSpace(out.String()), strings.TrimSpace(talk.String())
}

// expect runs nbdbench, which has to end with this code, and returns its stdout.
func expect(t *testing.T, code int, args ...string) string {
	t.Helper()
	got, out, talk := exit(t, exec.Command(program, args...))
	if got != code {
		t.Fatalf("nbdbench %s: exit %d, expected %d\n%s\n%s", strings.Join(args, " "), got, code, out, talk)
	}
	return out
}

// Before anything has loaded the module: this file's tests run first.
func TestGuestAWithoutModuleOrPrivilegeTheExitCodeIs3WithARemedy(t *testing.T) {
	guestOnly(t)
	nobody := func(args ...string) *exec.Cmd {
		c := exec.Command(program, args...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return c
	}
	check := func(c *exec.Cmd, words ...string) {
		t.Helper()
		code, out, talk := exit(t, c)
		if c.Args[1] == "doctor" {
			talk = out
		}
		if code != 3 {
			t.Errorf("%v: exit %d, expected 3", c.Args, code)
		}
		for _, w := range words {
			if !strings.Contains(talk, w) {
				t.Errorf("%v: expected %q in\n%s", c.Args, w, talk)
			}
		}
	}
	if kernelState(t) != kernel.Loadable {
		t.Skip("nbd is loaded already")
	}
	check(nobody("attach", testDrive), "not permitted to load nbd.ko", "as root: modprobe nbd")
	check(nobody("doctor"), "not ours to load", "modprobe nbd")
	if err := os.Rename("/lib/modules", "/lib/away"); err != nil {
		t.Fatal(err)
	}
	check(exec.Command(program, "attach", testDrive), "has no modules here", "linux-image-cloud-amd64")
	check(exec.Command(program, "run", "--via", "kernel"), "has no modules here")
	check(exec.Command(program, "doctor"), "has no modules here")
	if err := os.Rename("/lib/away", "/lib/modules"); err != nil {
		t.Fatal(err)
	}
	loadModules(t)
	check(nobody("attach", testDrive), "not permitted to configure /dev/nbd", "as root")
	check(nobody("doctor"), "not permitted to configure /dev/nbd")
	if code, out, _ := exit(t, exec.Command(program, "doctor")); code != 0 || !strings.Contains(out, "ok: loaded") {
		t.Errorf("doctor: exit %d, expected 0 and that nbd is loaded:\n%s", code, out)
	}
}

func kernelState(t *testing.T) kernel.State {
	t.Helper()
	s, err := kernel.Probe()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// process is an nbdbench that stays.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	line  string // the first of its stdout
	talk  *bytes.Buffer
	ended bool
}

// start starts an nbdbench that stays, and waits for the first line of its
// stdout.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, args...), talk: new(bytes.Buffer)}
	p.cmd.Stderr = p.talk
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.ended {
			_ = p.cmd.Process.Kill() // it may be gone
			_ = p.cmd.Wait()
		}
	})
	r := bufio.NewReader(out)
	p.line, err = r.ReadString('\n')
	if p.line = strings.TrimSpace(p.line); err != nil {
		_ = p.cmd.Wait() // its words say more than its code
		p.ended = true
		t.Fatalf("nbdbench %s: %v\n%s", strings.Join(args, " "), err, p.talk)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return p
}

// preempt sends to each thread what Go's runtime interrupts one with.
func (p *process) preempt() {
	p.t.Helper()
	pid := p.cmd.Process.Pid
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err == nil {
			err = unix.Tgkill(pid, id, unix.SIGURG)
		}
		if err != nil {
			p.t.Fatalf("thread %s: %v", task.Name(), err)
		}
	}
	time.Sleep(100 * time.Millisecond) // NBD_DO_IT takes it, or does not
}

// end sends a signal and returns how the process ended.
func (p *process) end(s os.Signal) error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

func (p *process) wait() error {
	p.ended = true
	return p.cmd.Wait()
}

func connected(path string) bool {
	_, err := os.Stat(filepath.Join("/sys/block", filepath.Base(path), "pid"))
	return err == nil
}

// useBlock writes and reads the block device.
func useBlock(t *testing.T, path string) {
	t.Helper()
	want := bytes.Repeat([]byte("nbdbench"), 512)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(want))
	_, w := f.WriteAt(want, 8192)
	s := f.Sync()
	d := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	_, r := f.ReadAt(got, 8192)
	if err := errors.Join(w, s, d, r); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: %v, or what was read is not what was written", path, err)
	}
}

func TestGuestAttachOfAServersExportLeavesItToTheKernel(t *testing.T) {
	guestOnly(t)
	server := start(t, "serve", testDrive, "--size", "64MiB")
	path := expect(t, 0, "attach", server.line)
	useBlock(t, path)
	expect(t, 0, "detach", path)
	if connected(path) {
		t.Errorf("%s is still connected", path)
	}
	expect(t, 1, "detach", path)
	if err := server.end(syscall.SIGTERM); err != nil {
		t.Errorf("serve: %v\n%s", err, server.talk)
	}
}

func TestGuestAttachOfADeviceStaysUntilASignal(t *testing.T) {
	guestOnly(t)
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := start(t, "attach", testDrive, "--size", "64MiB", "--strategy", "none")
		useBlock(t, p.line)
		if err := p.end(s); err != nil || connected(p.line) {
			t.Errorf("%v: %v, connected %v\n%s", s, err, connected(p.line), p.talk)
		}
	}
	p := start(t, "attach", testDrive, "--size", "64MiB")
	expect(t, 0, "detach", p.line)
	if err := p.wait(); err != nil || !strings.Contains(p.talk.String(), "was detached") {
		t.Errorf("after detach: %v\n%s", err, p.talk)
	}
}

func TestGuestAttachByIoctlsWorksWithoutNetlink(t *testing.T) {
	guestOnly(t)
	server := start(t, "serve", testDrive, "--size", "64MiB")
	p := start(t, "attach", "--ioctl", server.line)
	useBlock(t, p.line)
	p.preempt()
	useBlock(t, p.line)
	if err := p.end(syscall.SIGTERM); err != nil || connected(p.line) {
		t.Errorf("%v, connected %v\n%s", err, connected(p.line), p.talk)
	}
	p = start(t, "attach", "--ioctl", server.line)
	expect(t, 0, "detach", p.line)
	if err := p.wait(); err != nil || connected(p.line) {
		t.Errorf("after detach: %v, connected %v\n%s", err, connected(p.line), p.talk)
	}
	d := serve(t, export{size: 64 << 20, strategy: "none"})
	a := d.attach(kernel.Config{Ioctl: true})
	c := openDisk(t, a.Path)
	got := sent(d.during(func() { c.must(write(0, devices.FUA, make([]byte, 4096))) }))
	if c.close(); a.Netlink || got != "WRITE, FLUSH" {
		t.Errorf("by netlink: %v; a durable write is %s", a.Netlink, got)
	}
}

func TestGuestSeveralConnectionsNeedMultiConn(t *testing.T) {
	guestOnly(t)
	server := start(t, "serve", testDrive, "--size", "64MiB")
	path := expect(t, 0, "attach", "--connections", "4", server.line)
	useBlock(t, path)
	queues, err := filepath.Glob("/sys/block/" + filepath.Base(path) + "/mq/*")
	if err != nil || len(queues) == 0 {
		t.Errorf("%d hardware queues: %v", len(queues), err)
	}
	expect(t, 0, "detach", path)
}

func TestGuestAMountedDeviceIsDetachedOnlyByForce(t *testing.T) {
	guestOnly(t)
	p := start(t, "attach", testDrive, "--size", "64MiB")
	sh(t, "mke2fs", "-q", "-t", "ext4", p.line)
	dir := t.TempDir()
	sh(t, "mount", p.line, dir)
	code, _, talk := exit(t, exec.Command(program, "detach", p.line))
	if code != 2 || !strings.Contains(talk, "mounted at "+dir) {
		t.Errorf("exit %d\n%s", code, talk)
	}
	expect(t, 0, "detach", "--force", p.line)
	if err := synced(dir+"/x", os.O_CREATE|os.O_WRONLY, 0, []byte("x")); err == nil {
		t.Error("a file on a device that is gone was synced")
	}
	sh(t, "umount", dir)
	if err := p.wait(); err != nil { // the kernel lets the device go with its last user
		t.Error(err)
	}
}

// stuck are the processes in uninterruptible sleep, kernel threads not counted.
func stuck(t *testing.T) (out []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if _, rest, _ := strings.Cut(string(b), ") "); strings.HasPrefix(rest, "D ") {
			out = append(out, string(b))
		}
	}
	return out
}

func TestGuestAServerThatDiesLeavesNothingHanging(t *testing.T) {
	guestOnly(t)
	for _, by := range []string{"netlink", "ioctl"} {
		for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
			t.Run(by+" "+how.String(), func(t *testing.T) { serverDies(t, by == "ioctl", how) })
		}
	}
}

// awaitStopped returns when all threads of the process have stopped: a signal
// only asks them to.
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	running := func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("process %d: %v", pid, err)
		}
		return slices.ContainsFunc(tasks, func(file string) bool {
			b, err := os.ReadFile(file)
			_, rest, _ := strings.Cut(string(b), ") ")
			return err == nil && !strings.HasPrefix(rest, "T ")
		})
	}
	for running() {
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		runtime.Gosched()
	}
}

// serverDies kills or stops a server under a device that is in use.
func serverDies(t *testing.T, ioctl bool, how syscall.Signal) {
	server := start(t, "serve", testDrive, "--size", "64MiB")
	var stays *process
	var path string
	if ioctl {
		stays = start(t, "attach", "--ioctl", "--timeout", "2s", server.line)
		path = stays.line
	} else {
		path = expect(t, 0, "attach", "--timeout", "2s", "--dead-timeout", "1s", server.line)
	}
	useBlock(t, path)
	if err := server.cmd.Process.Signal(how); err != nil {
		t.Fatal(err)
	}
	if how == syscall.SIGKILL {
		_ = server.wait() // that it was killed
	} else {
		awaitStopped(t, server.cmd.Process.Pid)
	}
	failed := make(chan error, 1)
	go func() { // a request that gets no reply
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
		if err == nil {
			page, _ := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			_, err = f.WriteAt(page, 1<<20)
			_ = f.Close()
		}
		failed <- err
	}()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("a write without a server succeeded")
		}
	case <-time.After(2 * time.Minute): // nothing but a hang takes so long
		t.Fatalf("a write hangs: %v", stuck(t))
	}
	if code, _, talk := exit(t, exec.Command(program, "detach", path)); code != 0 && connected(path) {
		t.Errorf("detach: exit %d\n%s", code, talk)
	}
	if s := stuck(t); len(s) > 0 {
		t.Errorf("in state D: %q", s)
	}
	if stays != nil {
		_ = stays.wait() // with whatever the kernel said
	}
	again := start(t, "serve", testDrive, "--size", "64MiB")
	next := expect(t, 0, "attach", "--device", path, again.line)
	useBlock(t, next)
	expect(t, 0, "detach", next)
}

// most is a device that counts how many requests are inside at most.
type most struct {
	devices.Device
	inside, top int
}

func (m *most) Submit(r *devices.Request) {
	m.inside++
	m.top = max(m.top, m.inside)
	r.Completer = &leaving{m, r.Completer}
	m.Device.Submit(r)
}

type leaving struct {
	m    *most
	next devices.Completer
}

func (l *leaving) Done(r *devices.Request) {
	l.m.inside--
	r.Completer = l.next
	r.Completer.Done(r)
}

func TestGuestDiskKeepsManyInFlightAndReadsWhatItWrote(t *testing.T) {
	guestOnly(t)
	loadModules(t)
	m := &most{}
	d := serve(t, export{size: 64 << 20, strategy: "native", tap: func(_ *sim.Loop, model catalog.Device) devices.Device {
		m.Device = model
		return m
	}})
	a := d.attach(kernel.Config{})
	c := openDisk(t, a.Path)
	defer c.close()
	const n = 300 // more than the Disk has slots
	var writes, reads []*devices.Request
	for i := range uint64(n) {
		writes = append(writes, &devices.Request{Op: devices.OpWrite, Offset: i * 8192, Length: 8192, Payload: devices.Payload{Stamp: devices.Stamp(i + 1)}})
		reads = append(reads, &devices.Request{Op: devices.OpRead, Offset: i * 8192, Length: 8192, Payload: devices.Payload{Versions: make([]devices.Stamp, 16)}})
	}
	c.do(writes...)
	c.do(reads...)
	for i := range writes {
		if writes[i].Errno != devices.OK || reads[i].Errno != devices.OK {
			t.Fatalf("%v: %v; %v: %v", writes[i], writes[i].Errno, reads[i], reads[i].Errno)
		}
		for _, v := range reads[i].Versions {
			if v != devices.Stamp(i+1) {
				t.Fatalf("%v: got version %d, want %d", reads[i], v, i+1)
			}
		}
	}
	if m.top < 8 {
		t.Errorf("at most %d requests were in the device at a time", m.top)
	}
	zero := &devices.Request{Op: devices.OpWriteZeroes, Flags: devices.FUA, Offset: 0, Length: 8192}
	trim := &devices.Request{Op: devices.OpTrim, Offset: 8192, Length: 8192}
	got := d.during(func() { c.must(zero); c.must(trim) })
	if got.Trim == 0 || got.Flush == 0 || got.Write+got.WriteZeroes == 0 {
		t.Errorf("zeroing durably and discarding sent %s", sent(got))
	}
	c.must(reads[0])
	if reads[0].Versions[0] != 0 {
		t.Errorf("after zeroing: version %d", reads[0].Versions[0])
	}
	bad := &devices.Request{Op: devices.OpRead, Offset: 64 << 20, Length: 4096, Payload: devices.Payload{Bytes: make([]byte, 4096)}}
	if c.do(bad); bad.Errno == devices.OK {
		t.Error("a read behind the end succeeded")
	}
}

func TestGuestRunThroughTheKernelReportsWhatItSent(t *testing.T) {
	guestOnly(t)
	dir := filepath.Join(t.TempDir(), "run")
	args := []string{
		"run", "--via", "kernel", "--device", testDrive, "--workload", "sync-4k", "--strategy", "native,emulate,none,none-unsafe,none-grouped",
		"--runs", "1", "--warmup", "0", "--commits", "100", "--output", dir, "--format", "json",
	}
	var doc results.Run
	if err := json.Unmarshal([]byte(expect(t, 0, args...)), &doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range doc.Cells {
		if c.Strategy == "none-grouped" {
			if c.Status != results.StatusUnsupported {
				t.Errorf("%s is %s", c.ID, c.Status)
			}
			continue
		}
		if c.Commit == nil || c.Wire == nil {
			t.Fatalf("%s: %s: %s", c.ID, c.Status, c.Reason)
		}
		n := int64(c.Commit.Count)
		want := map[string]results.Wire{
			"native": {WriteFUA: n}, "emulate": {WriteFUA: n}, "none": {Write: n, Flush: n}, "none-unsafe": {Write: n},
		}[c.Strategy]
		want.Read = c.Wire.Read
		if *c.Wire != want {
			t.Errorf("%s: %d commits, the kernel sent %+v, want %+v", c.ID, n, *c.Wire, want)
		}
	}
	table := expect(t, 0, "report", dir)
	if !strings.Contains(table, "kernel sent/c") || !strings.Contains(table, "1.00 WRITE, 1.00 FLUSH") {
		t.Errorf("the table does not say what was sent:\n%s", table)
	}
	fmt.Println(table)
}
