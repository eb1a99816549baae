package interop

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/nbd"
)

// port is the port of a server that listens on TCP.
func (s *server) port() string {
	s.t.Helper()
	u, err := url.Parse(s.uri)
	if err != nil {
		s.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		s.t.Fatal(err)
	}
	return port
}

func TestNbdClientListsExports(t *testing.T) {
	need(t, "nbd-client")
	s := serve(t, "ram", "--listen", "nbd://127.0.0.1:0/disk")
	out := must(t, "", "nbd-client", "-l", "127.0.0.1", s.port())
	if !strings.HasSuffix(out, "\ndisk: ram, pass\n") {
		t.Errorf("expected a list of only disk with its description, got %q", out)
	}
}

func TestNbdinfoListsExports(t *testing.T) {
	need(t, "nbdinfo")
	s := serve(t, "ram", "--size", "1GiB", "--listen", "nbd://127.0.0.1:0/disk")
	out := must(t, "", "nbdinfo", "--list", "nbd://127.0.0.1:"+s.port())
	for _, want := range []string{"protocol: newstyle-fixed without TLS", `export="disk":`, "export-size: 1073741824"} {
		if !strings.Contains(out, want) {
			t.Errorf("expected %q in\n%s", want, out)
		}
	}
}

func TestAnUnknownNameIsRefusedWithAMessage(t *testing.T) {
	need(t, "nbdinfo", "qemu-img")
	s := serve(t, "ram", "--listen", "nbd://127.0.0.1:0/disk")
	for _, c := range []struct{ peer, command, message string }{
		{"nbdinfo", "nbdinfo", "No such file or directory for export: floppy"},
		{"qemu-img", "qemu-img info -f raw", "server reported: there is no such export"},
		{"nbdbench", "nbdbench run --destroy --no-save --target", "there is no such export"},
	} {
		uri := "nbd://127.0.0.1:" + s.port() + "/floppy"
		r := run(t, "", append(strings.Fields(c.command), uri)...)
		if r.code == 0 || !strings.Contains(r.stderr, c.message) {
			t.Errorf("expected a failure and %q: %v", c.message, r)
		}
	}
}

func TestOldAndNewHandshakes(t *testing.T) {
	need(t, libnbd)
	s := serve(t, "ram", "--size", "64MiB", "--listen", "nbd://127.0.0.1:0/disk")
	script(t, "old_and_new_handshakes.py", s.uri)
}

// TestSeveralExports: each device under its name, with data of its own.
func TestSeveralExports(t *testing.T) {
	need(t, "nbdinfo", "qemu-io")
	s := serve(t, "ram", "--size", "64MiB", "--listen", "nbd://127.0.0.1:0/disk", "--export", "log=nvme-990pro", "--export", "old=hdd-7200")
	at := func(name string) string { return "nbd://127.0.0.1:" + s.port() + "/" + name }
	if x := nbdinfo(t, at("log")); x.Description != "nvme-990pro, pass" || x.Rotational {
		t.Errorf("log is %+v", x)
	}
	if x := nbdinfo(t, at("old")); !x.Rotational {
		t.Errorf("old is %+v", x)
	}
	qemuIO(t, at("disk"), "write -P 1 0 4k")
	qemuIO(t, at("log"), "write -P 2 0 4k", "read -P 2 0 4k")
	qemuIO(t, at("disk"), "read -P 1 0 4k")
	qemuIO(t, at("old"), "read -P 0 0 4k")
}

func TestExportsThatCannotBeDistinguished(t *testing.T) {
	for _, args := range [][]string{{"--export", "log"}, {"--export", "=ram"}, {"--export", "a=ram", "--export", "a=ram"}, {"--listen", "nbd://127.0.0.1:0/a", "--export", "a=ram"}} {
		r := run(t, "", append([]string{"nbdbench", "serve", "ram"}, args...)...)
		if r.code != 2 || !strings.Contains(r.stderr, "--export") || r.stdout != "" {
			t.Errorf("expected exit code 2 and a word on --export: %v", r)
		}
	}
}

// TestSocketActivation by libnbd, which starts the server with a socket in the
// way of systemd.
func TestSocketActivation(t *testing.T) {
	need(t, libnbd)
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	script(t, "socket_activation.py", path)
}

// TestNothingButDataIsOnStdout of a server that nbdcopy starts, as it writes the
// data there itself.
func TestNothingButDataIsOnStdout(t *testing.T) {
	need(t, "nbdcopy")
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	out := must(t, "", "nbdcopy", "--", "[", path, "serve", "ram", "--size", "1MiB", "]", "-")
	if out != strings.Repeat("\x00", 1<<20) {
		t.Errorf("%d bytes, expected 1 MiB of zeros; they begin with %.60q", len(out), out)
	}
}

// TestEveryExportIsListed: as many as a server may have. Clients ask two or three
// questions about each.
func TestEveryExportIsListed(t *testing.T) {
	need(t, "nbdinfo", "qemu-nbd")
	socket := filepath.Join(t.TempDir(), "s")
	args := []string{"ram", "--size", "1MiB", "--listen", "nbd+unix:///disk?socket=" + socket}
	for i := range nbd.MaxExports - 1 {
		args = append(args, "--export", fmt.Sprintf("disk%d=ram", i))
	}
	s := serve(t, args...)
	if out := must(t, "", "nbdinfo", "--list", s.uri); strings.Count(out, "\nexport=") != nbd.MaxExports {
		t.Errorf("nbdinfo lists %d of %d exports", strings.Count(out, "\nexport="), nbd.MaxExports)
	}
	out := must(t, "", "qemu-nbd", "--list", "-k", socket)
	if strings.Count(out, "\n export: ") != nbd.MaxExports || strings.Count(out, "base:allocation") != nbd.MaxExports {
		t.Errorf("qemu-nbd lists %d of %d exports", strings.Count(out, "\n export: "), nbd.MaxExports)
	}
}

// TestAllocation: what is reported of a device's content.
func TestAllocation(t *testing.T) {
	need(t, libnbd)
	for _, device := range []string{"ram", "nvme-990pro", "nvme-pm963"} {
		script(t, "allocation.py", serve(t, device, "--size", "64MiB").uri)
	}
}
