package interop

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// program is a peer: how to ask it for its version, and where it comes from.
type program struct {
	name, debian string
	version      []string // what to run
}

// libnbd is the peer that is no program: libnbd under Python.
const libnbd = "libnbd"

const printLibnbdVersion = "import nbd; print(nbd.NBD().get_version())"

var programs = []program{
	{"nbdkit", "nbdkit", []string{"nbdkit", "--version"}},
	{"nbdinfo", "libnbd-bin", []string{"nbdinfo", "--version"}},
	{"nbdcopy", "libnbd-bin", []string{"nbdcopy", "--version"}},
	{libnbd, "python3-libnbd", []string{libnbd, "-c", printLibnbdVersion}},
	{"qemu-img", "qemu-utils", []string{"qemu-img", "--version"}},
	{"qemu-io", "qemu-utils", []string{"qemu-io", "--version"}},
	{"qemu-nbd", "qemu-utils", []string{"qemu-nbd", "--version"}},
	{"fio", "fio", []string{"fio", "--version"}},
	{"nbd-client", "nbd-client", []string{"nbd-client", "-V"}},
	{"nbd-server", "nbd-server", []string{"nbd-server", "-V"}},
}

// find is a peer's path.
func find(name string) (string, error) {
	if name == libnbd {
		return pythonWithLibnbd()
	}
	return lookPath(name)
}

// pythonWithLibnbd is a Python that has libnbd: a distribution installs it for
// its own, which may not be the first on PATH.
var pythonWithLibnbd = sync.OnceValues(func() (string, error) {
	names := []string{"python3", "/usr/bin/python3"}
	if peersRoot != "" {
		names = names[:1]
	}
	for _, name := range names {
		path, err := lookPath(name)
		if err != nil {
			continue
		}
		c := exec.Command(path, "-c", "import nbd")
		if err := atRoot(c); err != nil {
			return "", err
		}
		if c.Run() == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Python has the module nbd")
})

// need skips the test unless all peers are there.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := find(name)
		switch {
		case err == nil:
		case os.Getenv("CI") != "" || os.Getenv("NBDBENCH_REQUIRE_PEERS") == "1":
			t.Fatalf("%s is required here: %v", name, err)
		default:
			t.Skipf("%s is not there: %v", name, err)
		}
	}
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// describe is a peer's version and where it is from.
func (p program) describe(t *testing.T) (version, from string) {
	path, err := find(p.name)
	if err != nil {
		return "missing", "apt-get install " + p.debian
	}
	r := run(t, "", p.version...)
	version = versionNumber.FindString(r.stdout + r.stderr)
	if version == "" {
		t.Errorf("%s: expected a version, got %q", p.name, r.stdout+r.stderr)
	}
	return version, path
}

func TestPeerVersions(t *testing.T) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "peer\tversion\tfrom")
	for _, p := range programs {
		version, from := p.describe(t)
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.name, version, from)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", b.String())
}
