package interop

import (
	"net"
	"net/url"
	"strings"
	"testing"
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
	if got := strings.Fields(out); len(got) == 0 || got[len(got)-1] != "disk" {
		t.Errorf("expected a list of disk alone, got %q", out)
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
