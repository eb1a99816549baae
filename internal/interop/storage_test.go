package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// diskImage is a sparse file of the host.
func diskImage(t *testing.T, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return name
}

// fileModes are the ways to serve a file.
var fileModes = map[string][]string{
	"buffered": nil, "direct": {"--direct"},
}

func TestClientsUseAServedFile(t *testing.T) {
	need(t, "fio", "qemu-io", "nbdcopy", "qemu-img")
	for name, args := range fileModes {
		t.Run(name, func(t *testing.T) {
			file := diskImage(t, 64*mib)
			s := serve(t, append([]string{file}, args...)...)
			fio(t, s.uri)
			for _, c := range everyCommand {
				if c == "write -P 0x33 1000 3000" && strings.Contains(name, "direct") {
					break // qemu-io does read, change and write by itself; what follows is not ours
				}
				qemuIO(t, s.uri, c)
			}
			if n := s.counts(); n.writes < fioBlocks || n.reads < fioBlocks || n.flushes == 0 {
				t.Errorf("the server counts %+v", n)
			}
		})
	}
}

func TestAServedFileHasWhatWasWritten(t *testing.T) {
	need(t, "nbdcopy", "qemu-img")
	for name, args := range fileModes {
		t.Run(name, func(t *testing.T) {
			source, file := randomFile(t, 16*mib), diskImage(t, 16*mib)
			s := serve(t, append([]string{file}, args...)...)
			must(t, "", nbdcopy.in(source, s.uri)...)
			back := filepath.Join(t.TempDir(), "back")
			must(t, "", qemuConvert.out(back, s.uri)...)
			s.stop()
			for _, f := range []string{back, file} {
				if got, want := sum(t, f), sum(t, source); got != want {
					t.Errorf("%s: sha256 %s, expected %s", f, got, want)
				}
			}
		})
	}
}

func TestHolesOfAServedFileAreReported(t *testing.T) {
	for name, args := range fileModes {
		t.Run(name, func(t *testing.T) {
			script(t, "storage_allocation.py", serve(t, append([]string{diskImage(t, 16*mib)}, args...)...).uri)
		})
	}
}

func TestServedStorageThatIsInUseIsRefused(t *testing.T) {
	need(t, "qemu-io")
	file := diskImage(t, 16*mib)
	s := serve(t, file)
	if r := run(t, "", "nbdbench", "serve", file); r.code != 2 || !strings.Contains(r.stderr, "in use") {
		t.Errorf("served twice: %v", r)
	}
	if r := run(t, "", "qemu-io", "-f", "raw", "-c", "write 0 4k", file); r.code == 0 {
		t.Errorf("QEMU writes what is served: %v", r)
	}
	s.stop()
	must(t, "", "qemu-io", "-f", "raw", "-c", "write -P 0x77 0 4k", file)
	must(t, "", "qemu-io", "-r", "-f", "raw", "-c", "read -P 0x77 0 4k", serve(t, file, "--read-only").uri)
}

func TestFlagsThatServedStorageHasNot(t *testing.T) {
	file := diskImage(t, mib)
	for _, c := range []struct{ args, want string }{
		{file + " --image x", "--image: expected simulated devices alone"},
		{file + " --fault lost-fua", "--fault: expected simulated devices alone"},
		{file + " --stop power-cut", "--stop: expected flush"},
		{file + " --size 2MiB", "expected at least 2097152 bytes, got 1048576"},
		{"ram --direct", "--direct: expected a block device, a file or a directory, got ram"},
		{"/dev/null", "expected a block device, a file or a directory"},
	} {
		if r := run(t, "", append([]string{"nbdbench", "serve"}, strings.Fields(c.args)...)...); r.code != 2 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: expected %q, got %v", c.args, c.want, r)
		}
	}
}
