package vm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

func TestArchiveIsWhatCpioUnpacks(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	args := []string{"-it", "--quiet"}
	if err != nil {
		if cpio, err = exec.LookPath("busybox"); err != nil {
			t.Skip("neither cpio nor busybox is there")
		}
		args = []string{"cpio", "-it"}
	}
	i := NewImage(Kernel{})
	i.Add("/a/b/c", 0o644, []byte("12345"))
	i.Link("/bin/d", "../a/b/c")
	c := exec.Command(cpio, args...)
	c.Stdin = bytes.NewReader(i.files.bytes())
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(out))
	for _, want := range []string{"a", "a/b", "a/b/c", "bin", "bin/d", "dev", "tmp"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not in %v", want, got)
		}
	}
	if slices.Index(got, "a/b") > slices.Index(got, "a/b/c") {
		t.Errorf("a directory comes after what is in it: %v", got)
	}
}

func TestModulesComeWithThoseThatTheyNeed(t *testing.T) {
	k := Kernel{Release: "6.1", Modules: t.TempDir()}
	for name, text := range map[string]string{
		"modules.dep":     "kernel/xfs.ko: kernel/lib/libcrc32c.ko\nkernel/lib/libcrc32c.ko:\nkernel/other.ko:\n",
		"modules.builtin": "kernel/fs/ext4/ext4.ko\n",
		"kernel/xfs.ko":   "xfs", "kernel/lib/libcrc32c.ko": "crc", "kernel/other.ko": "other",
	} {
		file := filepath.Join(k.Modules, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	i := NewImage(k)
	if err := i.Modules(Packed{"libcrc32c": ".xz"}, "xfs"); err != nil {
		t.Fatal(err)
	}
	dir := "/lib/modules/6.1/"
	dep := string(i.files[dir+"modules.dep"].data)
	for _, line := range []string{"kernel/xfs.ko: kernel/lib/libcrc32c.ko.xz\n", "kernel/lib/libcrc32c.ko.xz:\n"} {
		if !strings.Contains(dep, line) {
			t.Errorf("modules.dep has no %q:\n%s", line, dep)
		}
	}
	if strings.Contains(dep, "other") {
		t.Errorf("modules.dep has what nobody asked for:\n%s", dep)
	}
	r, err := xz.NewReader(bytes.NewReader(i.files[dir+"kernel/lib/libcrc32c.ko.xz"].data))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil || b.String() != "crc" {
		t.Errorf("unpacked: %q, %v", &b, err)
	}
	if err := i.Modules(nil, "zfs"); err == nil {
		t.Error("a module that is not there is no error")
	}
}
