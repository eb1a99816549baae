package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// qemuIO runs commands of qemu-io on an export, one after another.
func qemuIO(t *testing.T, uri string, commands ...string) string {
	t.Helper()
	args := []string{"qemu-io", "-f", "raw", "-t", "writeback"} // else it writes all with FUA
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out := must(t, "", append(args, uri)...)
	if strings.Contains(out, "failed") { // a pattern that is not there
		t.Errorf("%s: %s", strings.Join(args, " "), out)
	}
	return out
}

// everyCommand uses all that qemu-io can say, and checks what it wrote.
var everyCommand = []string{
	"write -P 0x11 0 1M", "read -P 0x11 0 1M",
	"write -f -P 0x22 4k 4k", "read -P 0x22 4k 4k", "read -P 0x11 0 4k", "read -P 0x11 8k 4k",
	"flush",
	"write -z 16k 4k", "read -P 0 16k 4k", "read -P 0x11 20k 4k",
	"write -z -u 64k 64k", "read -P 0 64k 64k", // may trim
	"discard 512k 64k", "read -P 0x11 576k 4k",
	"write -P 0x33 1000 3000", "read -P 0x33 1000 3000", "read -P 0x11 0 1000", // not aligned
	"aio_write -P 0x44 2M 64k", "aio_write -P 0x55 3M 64k", "aio_flush", "read -P 0x44 2M 64k", "read -P 0x55 3M 64k",
}

// TestQemuSendsFUAOrFlushes: qemu writes with FUA where that is advertised, and
// otherwise writes and flushes.
// TestTheREADMEsClients: what the README has other programs do with
// what it serves, whichever versions of them are installed.
func TestTheREADMEsClients(t *testing.T) {
	need(t, "qemu-io", "nbdinfo")
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const uri = `'nbd+unix:///?socket=/tmp/disk'`
	lines := regexp.MustCompile(`(?m)^(nbdinfo|qemu-io -f raw -c '([^']*)') `+regexp.QuoteMeta(uri)).FindAllStringSubmatch(string(text), -1)
	if len(lines) != 2 || lines[1][2] == "" || !strings.Contains(string(text), "nbdbench serve hdd-7200 --listen "+uri) {
		t.Fatalf("expected the README to serve hdd-7200 at %s to nbdinfo and qemu-io, found %q", uri, lines)
	}
	s := serve(t, "hdd-7200", "--listen", "nbd+unix:///?socket="+filepath.Join(t.TempDir(), "disk"))
	must(t, "", "nbdinfo", s.uri)
	must(t, "", "qemu-io", "-f", "raw", "-c", lines[1][2], s.uri)
	if c := s.counts(); c.writesFUA != 1 || c.writes != 0 {
		t.Errorf("served %+v, expected one FUA write", c)
	}
}

func TestQemuSendsFUAOrFlushes(t *testing.T) {
	need(t, "qemu-io")
	flushes := map[string]int{}
	for strategy, fua := range map[string]int{"native": 1, "emulate": 1, "force": 1, "discard": 1, "none": 0} {
		s := serve(t, "nvme-990pro", "--size", "64MiB", "--strategy", strategy)
		qemuIO(t, s.uri, everyCommand...)
		n := s.counts()
		if n.writesFUA != fua || n.flushes < 2 {
			t.Errorf("%s: got %+v, expected %d FUA writes, and a flush for each that was asked for", strategy, n, fua)
		}
		flushes[strategy] = n.flushes
	}
	if flushes["none"] != flushes["native"]+1 {
		t.Errorf("flushes by strategy: %v, expected one more under none than under native, for the durable write", flushes)
	}
}

func TestQemuOnADiskWithoutTrim(t *testing.T) {
	need(t, "qemu-io")
	s := serve(t, "hdd-7200", "--size", "64MiB")
	qemuIO(t, s.uri, everyCommand...) // a discard that is not supported does nothing
}

// Libnbd's tests are Python programs in testdata, each called after its claim.

func TestFUAOnEachCommand(t *testing.T) {
	need(t, libnbd)
	for _, args := range []string{"nvme-990pro", "nvme-990pro --strategy emulate", "nvme-990pro --strategy emulate-grouped", "nvme-pm963", "ram"} {
		s := serve(t, append(strings.Fields(args), "--size", "64MiB")...)
		script(t, "fua_on_each_command.py", s.uri)
		if n := s.counts(); n.writesFUA != 3 || n.writes != 1 || n.flushes != 2 {
			t.Errorf("%s: got %+v, expected 1 write, 3 FUA writes, 2 flushes", args, n)
		}
	}
}

func TestOneErrnoForEachRule(t *testing.T) {
	need(t, libnbd)
	script(t, "one_errno_for_each_rule.py", serve(t, "nvme-990pro", "--size", "64MiB").uri)
}

func TestWhatIsNotAdvertisedIsRefused(t *testing.T) {
	need(t, libnbd)
	for args, refused := range map[string]string{
		"nvme-990pro --strategy none":         "fua",
		"nvme-990pro --strategy none-grouped": "fua",
		"nvme-990pro --advertise flush":       "fua",
		"nvme-990pro --advertise fua":         "flush",
		"nvme-990pro --advertise=":            "fua flush",
		"hdd-7200":                            "trim",
		"nvme-990pro --read-only":             "write fua trim zero",
	} {
		s := serve(t, append(strings.Fields(args), "--size", "64MiB")...)
		script(t, "what_is_not_advertised.py", append([]string{s.uri}, strings.Fields(refused)...)...)
	}
}

func TestUnalignedRequests(t *testing.T) {
	need(t, libnbd)
	for _, device := range []string{"nvme-990pro", "hdd-7200", "ram"} {
		script(t, "unaligned_requests.py", serve(t, device, "--size", "64MiB").uri)
	}
}

func TestConnectionsSeeEachOther(t *testing.T) {
	need(t, libnbd)
	script(t, "connections_see_each_other.py", serve(t, "nvme-990pro", "--size", "64MiB").uri)
}
