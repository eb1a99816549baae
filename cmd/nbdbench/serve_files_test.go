//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/internal/crash"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// talker is a client that asks for one thing at a time.
type talker struct {
	t    *testing.T
	real *sim.Real
	conn *socket.ClientConn
	done bool
}

// talkTo connects to an export of a server.
func talkTo(t *testing.T, s *served, export string) *talker {
	t.Helper()
	u, err := socket.ParseURI(s.uri)
	if err != nil {
		t.Fatal(err)
	}
	u.Export = export
	k := &talker{t: t}
	if k.real, err = sim.NewReal(sim.NewLoop()); err != nil {
		t.Fatal(err)
	}
	if k.conn, err = socket.Dial(t.Context(), u, k.real); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = k.conn.Close(), k.real.Close() })
	return k
}

// Done is the reply.
func (k *talker) Done(*devices.Request) { k.done = true }

// ask waits for the reply to a request.
func (k *talker) ask(r *devices.Request) devices.Errno {
	k.t.Helper()
	k.done, r.Completer = false, k
	k.real.Do(func() { k.conn.Submit(r) })
	if err := k.real.RunWhile(k.t.Context(), func() bool { return !k.done }); err != nil {
		k.t.Fatal(err)
	}
	return r.Errno
}

// write writes a block of 4 KiB.
func (k *talker) write(block uint64, b byte, flags devices.Flags) devices.Errno {
	k.t.Helper()
	r := &devices.Request{Op: devices.OpWrite, Flags: flags, Offset: block * 4096, Length: 4096}
	r.Bytes = bytes.Repeat([]byte{b}, 4096)
	return k.ask(r)
}

// holds reports whether a file has a block of that byte.
func holds(t *testing.T, path string, block int, b byte) bool {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(data[block*4096:][:4096], bytes.Repeat([]byte{b}, 4096))
}

// Each export has an image and logs of its own, which a kill leaves.
func TestEachExportHasFilesOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	s := startServe(t, "ram", "--size", "1MiB", "--export", "wal=ram", "--export", "a/../b=nvme-990pro",
		"--image", path("disk"), "--log", path("log"), "--log-writes", path("dm"))
	exports := map[string]string{"": "", "wal": ".wal", "a/../b": ".a%2F..%2Fb"}
	for name := range exports {
		if e := talkTo(t, s, name).write(3, byte(len(name)+1), devices.FUA); e != devices.OK {
			t.Fatal(e)
		}
	}
	_ = s.Process.Kill()
	_ = s.Wait() // it was killed
	for name, suffix := range exports {
		if !holds(t, path("disk"+suffix), 3, byte(len(name)+1)) {
			t.Errorf("export %q: the image lacks what was promised", name)
		}
		for _, log := range []string{"log", "dm"} {
			l, err := crash.LoadHistory(path(log + suffix))
			if err != nil || len(l.Events) != 2 {
				t.Errorf("export %q: %s: %v, %v; want one write", name, log, l, err)
			}
		}
	}
}

func TestServeRefusesAFileThatIsUsedTwice(t *testing.T) {
	f := filepath.Join(t.TempDir(), "f")
	for _, args := range [][]string{
		{"--image", f, "--log", f}, {"--log", f, "--log-writes", filepath.Dir(f) + "/./f"}, {"--image", f, "--log", f + ".wal", "--export", "wal=ram"},
	} {
		if o := invoke(append([]string{"serve", "ram"}, args...)...); o.code != exitUsage || !strings.Contains(o.stderr, "is used for something else") {
			t.Errorf("%v: exit %d, %q, want 2", args, o.code, o.stderr)
		}
	}
	if o := invoke("serve", "ram", "--stop", "halt"); o.code != exitUsage || !strings.Contains(o.stderr, `--stop: expected flush or power-cut, got "halt"`) {
		t.Errorf("--stop: exit %d, %q", o.code, o.stderr)
	}
}

// forgetful is a disk that never writes its cache back by itself.
func forgetful(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forgetful.yaml")
	if err := os.WriteFile(path, []byte("extends: hdd-7200\nname: forgetful\ncache: {idle_destage: 0s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// SIGTERM shuts the devices down in order; --stop power-cut is a loss of power. Both
// say what was at risk.
func TestSIGTERMWritesBackWhatWasOnlyAcknowledged(t *testing.T) {
	const blocks = 64
	device := forgetful(t)
	for stop, want := range map[string]struct {
		kept int
		says string
	}{
		"flush":     {blocks, fmt.Sprintf("export \"\": %d bytes were acknowledged and not durable: written to ", blocks*4096)},
		"power-cut": {0, fmt.Sprintf("power cut 1 of export \"\" (seed 9): %d bytes", blocks*4096)},
	} {
		image := filepath.Join(t.TempDir(), "image")
		s := startServe(t, device, "--size", "1MiB", "--image", image, "--stop", stop)
		k := talkTo(t, s, "")
		for n := range uint64(blocks) {
			if e := k.write(n, 7, 0); e != devices.OK {
				t.Fatal(e)
			}
		}
		code, _ := s.stop(t, syscall.SIGTERM)
		kept := 0
		for n := range blocks {
			if holds(t, image, n, 7) {
				kept++
			}
		}
		says := strings.Split(want.says, " (seed 9)")
		if code != exitOK || kept != want.kept || !strings.Contains(s.stderr.String(), says[0]) || !strings.Contains(s.stderr.String(), says[len(says)-1]) {
			t.Errorf("%s: exit %d, %d of %d blocks kept, want %d and %q\n%s", stop, code, kept, blocks, want.kept, want.says, s.stderr.String())
		}
	}
}

// smallDisk is a file system of 64 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// What a full disk does not take is not acknowledged: each acknowledged write is in
// the file, later ones get EIO, reads go on, and the exit code says that something
// is missing.
func TestWhatAFullDiskDoesNotTakeIsNotAcknowledged(t *testing.T) {
	for _, flag := range []string{"--log", "--log-writes", "--image"} {
		t.Run(flag, func(t *testing.T) {
			file := filepath.Join(smallDisk(t), "file")
			s := startServe(t, "ram", "--size", "1MiB", flag, file)
			k := talkTo(t, s, "")
			acked, refused := 0, 0
			for n := range uint64(2000) {
				switch e := k.write(n%200, byte(n/200+1), devices.FUA); {
				case e == devices.OK && refused == 0:
					acked++
				case e != devices.EIO:
					t.Fatalf("write %d: %v after %d that were refused", n, e, refused)
				default:
					refused++
				}
			}
			read := &devices.Request{Op: devices.OpRead, Length: 4096}
			read.Bytes = make([]byte, 4096)
			if e := k.ask(read); e != devices.OK || read.Bytes[0] == 0 {
				t.Errorf("a read after that: %v, %d", e, read.Bytes[0])
			}
			if e := k.ask(&devices.Request{Op: devices.OpFlush}); e != devices.EIO {
				t.Errorf("a FLUSH after that: %v, want EIO", e)
			}
			code, _ := s.stop(t, syscall.SIGTERM)
			if code != exitFailure || !strings.Contains(s.stderr.String(), "writes get EIO from now on") || !strings.Contains(s.stderr.String(), "no space left on device") {
				t.Errorf("exit %d, %q, want 1 and the reason", code, s.stderr.String())
			}
			if acked == 0 || refused == 0 {
				t.Errorf("%d acknowledged, %d refused: the test shows little", acked, refused)
			}
			recorded(t, flag, file, acked)
		})
	}
}

// recorded holds a file against what was acknowledged.
func recorded(t *testing.T, flag, file string, acked int) {
	t.Helper()
	if flag == "--image" {
		for n := range acked {
			if !holds(t, file, n, 1) {
				t.Errorf("block %d was acknowledged and is not in the image", n)
			}
		}
		return
	}
	l, err := crash.LoadHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for i := range l.Events {
		if e := &l.Events[i]; e.Of != 0 && e.Errno == devices.OK {
			done++
		}
	}
	if done != acked {
		t.Errorf("%s has %d writes, %d were acknowledged", flag, done, acked)
	}
}

// A log that cannot be begun is not served without.
func TestServeDoesNotBeginWithoutItsLog(t *testing.T) {
	for _, flag := range []string{"--log", "--log-writes"} {
		o := invoke("serve", "ram", "--size", "1MiB", flag, "/dev/full")
		if o.code != exitFailure || !strings.Contains(o.stderr, flag+": write /dev/full: no space left on device") {
			t.Errorf("%s: exit %d, %q, want 1 and the reason", flag, o.code, o.stderr)
		}
	}
}
