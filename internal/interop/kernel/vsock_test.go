package kernel

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/internal/fork"
	"nbdbench/internal/testcerts"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// Ports, by number: libnbd takes none from 2^31 on in a URI, where those are that
// Linux chooses.
const (
	servedPort = 20809 + iota
	activatedPort
	nbdkitPort
)

// loopback is the context of vsock_loopback: the machine itself.
const loopback = vsock.Local

// started runs a server until the test ends, and returns the URI that it prints,
// for the loopback.
func started(t *testing.T, c *exec.Cmd) socket.URI {
	t.Helper()
	out, err := c.StdoutPipe()
	c.Stderr = os.Stderr
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
	line = strings.TrimSpace(line)
	if !strings.Contains(line, "+vsock://:") {
		t.Fatalf("serve prints %q, expected a vsock without a context", line)
	}
	u, err := socket.ParseURI(strings.Replace(line, "://:", fmt.Sprintf("://%d:", loopback), 1))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// libnbd's programs find our server by vsock, and get back what they wrote.
func TestGuestVsockServerWithLibnbd(t *testing.T) {
	guestOnly(t)
	loadModules(t, "vsock_loopback")
	u := started(t, exec.Command(program, "serve", "ram", "--size", "16MiB", "--listen", fmt.Sprintf("nbd+vsock://:%d/", servedPort)))
	if got := strings.TrimSpace(sh(t, "nbdinfo", "--size", u.String())); got != "16777216" {
		t.Errorf("nbdinfo says %q", got)
	}
	dir := t.TempDir()
	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	data := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	if err := os.WriteFile(there, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, "nbdcopy", "--flush", there, u.String())
	sh(t, "nbdcopy", u.String(), back)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, data) {
		t.Errorf("nbdcopy brought back other data: %d bytes, %v", len(got), err)
	}
}

// Both ends are ours, plain and with TLS, the port is Linux's choice, and the kernel is not to be given
// such a socket.
func TestGuestVsockBothEnds(t *testing.T) {
	guestOnly(t)
	loadModules(t, "vsock_loopback")
	u := started(t, exec.Command(program, "serve", "ram", "--size", "16MiB", "--listen", "nbd+vsock://:0/"))
	talk(t, u, socket.Dialer{})
	expect(t, 2, "attach", u.String())

	certs := testcerts.New(t)
	u = started(t, exec.Command(program, "serve", "ram", "--size", "16MiB", "--listen", "nbds+vsock://:0/",
		"--tls-cert", certs.Path(testcerts.ServerCert), "--tls-key", certs.Path(testcerts.ServerKey)))
	trust, err := (&socket.TLSFiles{CA: certs.Path(testcerts.CA)}).Client(u)
	if err != nil {
		t.Fatal(err)
	}
	talk(t, u, socket.Dialer{TLS: trust})
}

// A server may be started with a vsock that listens, as by systemd's
// ListenStream=vsock.
func TestGuestVsockServerWithASocketThatListens(t *testing.T) {
	guestOnly(t)
	loadModules(t, "vsock_loopback")
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: activatedPort})
	}
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := os.NewFile(uintptr(fd), "listener")
	defer l.Close()
	// Where the sockets come from outside the URI is on stderr, and stdout is empty.
	c := exec.Command("sh", "-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec "+program+" serve ram --size 16MiB 2>&1")
	c.ExtraFiles = []*os.File{l}
	u := started(t, c)
	if got := strings.TrimSpace(sh(t, "nbdinfo", "--size", u.String())); got != "16777216" {
		t.Errorf("nbdinfo says %q", got)
	}
}

// Our client finds nbdkit by vsock: by a clientPoller and by Go's poller.
func TestGuestVsockClientWithNbdkit(t *testing.T) {
	guestOnly(t)
	loadModules(t, "vsock_loopback")
	c := exec.Command("nbdkit", "--foreground", "--vsock", fmt.Sprintf("--port=%d", nbdkitPort), "memory", "16M")
	c.Stderr = os.Stderr
	if err := fork.Start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	u := socket.URI{Network: "vsock", Address: fmt.Sprintf("%d:%d", loopback, nbdkitPort)}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, _, err := socket.Ask(t.Context(), u, nbd.OptInfo); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	for _, inProcess := range []bool{false, true} {
		t.Run(fmt.Sprintf("InProcess=%v", inProcess), func(t *testing.T) { talk(t, u, socket.Dialer{InProcess: inProcess}) })
	}
}

// talk writes with FUA, flushes, and reads back, by two connections.
func talk(t *testing.T, u socket.URI, dialer socket.Dialer) {
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	d, err := dialer.DialAll(t.Context(), u, real, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	data, back := make([]byte, 1<<20), make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
	do := func(conn uint32, op devices.Op, flags devices.Flags, b []byte) {
		t.Helper()
		done := make(chan devices.Errno, 1)
		r := &devices.Request{Op: op, Flags: flags, Offset: 1 << 20, Length: uint64(len(b)), Conn: conn, Payload: devices.Payload{Bytes: b}, Completer: errnos(done)}
		if op == devices.OpFlush {
			r.Offset = 0
		}
		real.Do(func() { d.Submit(r) })
		if e := <-done; e != devices.OK {
			t.Errorf("%v: %v", op, e)
		}
	}
	do(0, devices.OpWrite, devices.FUA, data)
	do(1, devices.OpFlush, 0, nil)
	do(1, devices.OpRead, 0, back)
	if !bytes.Equal(back, data) {
		t.Error("what was read back is not what was written")
	}
}

// errnos passes on the errno of a request.
type errnos chan devices.Errno

func (c errnos) Done(r *devices.Request) { c <- r.Errno }
