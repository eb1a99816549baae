package kernel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"

	"nbdbench/nbd"
)

// fakeModules is a machine with these files below its directory of modules.
func fakeModules(t *testing.T, files map[string]string) *Modules {
	t.Helper()
	m := &Modules{Root: t.TempDir(), Sys: t.TempDir()}
	for name, text := range files {
		file := filepath.Join(m.dir(), name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestEachWayNotToHaveTheModuleHasAMessageOfItsOwn(t *testing.T) {
	there := map[string]string{
		"modules.dep": "kernel/drivers/block/nbd.ko.xz:\n", "modules.alias": "", "modules.builtin": "",
		"kernel/drivers/block/nbd.ko.xz": "",
	}
	without := map[string]string{"modules.dep": "kernel/x.ko:\n", "modules.alias": "", "modules.builtin": ""}
	for _, x := range []struct {
		name  string
		files map[string]string
		init  error
		want  string // of What
		fix   string
	}{
		{"no directory", nil, nil, "has no modules here", "modprobe nbd"},
		{"not indexed", map[string]string{"modules.alias": ""}, nil, "modules.dep does not exist", "depmod -a"},
		{"built without it", without, nil, "was built without nbd", "linux-image-cloud-amd64"},
		{"not permitted", there, unix.EPERM, "not permitted to load nbd.ko", "as root"},
		{"not trusted", there, unix.EKEYREJECTED, "wants modules signed", "apt-get install linux-image-"},
		{"no modules", there, unix.ENOSYS, "takes no modules", "boot a kernel"},
		{"of another kernel", there, unix.ENOEXEC, "not for the running kernel", "reboot"},
		{"else", there, unix.EIO, "cannot be loaded", "dmesg"},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := fakeModules(t, x.files)
			m.Init = func(string, string, int) error { return x.init }
			var missing *Missing
			if err := m.Load("nbd"); !errors.As(err, &missing) {
				t.Fatalf("got %v, want a Missing", err)
			}
			if !strings.Contains(missing.What, x.want) || !strings.Contains(missing.Fix, x.fix) {
				t.Errorf("got %q, fix %q; want %q, fix %q", missing.What, missing.Fix, x.want, x.fix)
			}
			if x.init != nil && !errors.Is(missing, x.init) {
				t.Errorf("%v does not say %v", missing, x.init)
			}
		})
	}
}

func TestAModuleThatIsThereIsNotLoadedAgain(t *testing.T) {
	refuse := func(string, string, int) error { return unix.EPERM }
	built := fakeModules(t, map[string]string{"modules.builtin": "kernel/drivers/block/nbd.ko\n"})
	built.Init = refuse
	if s, err := built.Probe("nbd"); s != BuiltIn || err != nil {
		t.Errorf("built in: got %v, %v", s, err)
	}
	loaded := fakeModules(t, nil)
	loaded.Init = refuse
	if err := os.MkdirAll(filepath.Join(loaded.Sys, "module", "nbd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if s, err := loaded.Probe("nbd"); s != Loaded || err != nil {
		t.Errorf("loaded: got %v, %v", s, err)
	}
	for _, m := range []*Modules{built, loaded} {
		if err := m.Load("nbd"); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadHandsTheFileToTheKernel(t *testing.T) {
	m := fakeModules(t, map[string]string{"modules.dep": "kernel/nbd.ko.zst:\n", "modules.alias": "", "modules.builtin": ""})
	var got string
	m.Init = func(path, _ string, _ int) error { got = path; return nil }
	if s, err := m.Probe("nbd"); s != Loadable || err != nil {
		t.Fatalf("got %v, %v", s, err)
	}
	if err := m.Load("nbd"); err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(m.dir(), "kernel/nbd.ko.zst"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestModulesAreUnpackedWhole(t *testing.T) {
	image := bytes.Repeat([]byte("module"), 10_000)
	writers := map[string]func(io.Writer) (io.WriteCloser, error){
		".gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		".xz":  func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
		".zst": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	}
	for ext, open := range writers {
		var b bytes.Buffer
		w, err := open(&b)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(image)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		packed := b.Bytes()
		got, err := unpack("nbd.ko"+ext, bytes.NewReader(packed))
		if err != nil || !bytes.Equal(got, image) {
			t.Errorf("%s: %d bytes, %v: want %d", ext, len(got), err, len(image))
		}
		if _, err := unpack("nbd.ko"+ext, bytes.NewReader(packed[:len(packed)/2])); err == nil {
			t.Errorf("%s: half of it is no error", ext)
		}
	}
	if _, err := unpack("nbd.ko.lz4", nil); err == nil {
		t.Error(".lz4 is no error")
	}
}

func TestAModuleThatUnpacksWithoutEndIsRefused(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	chunk := make([]byte, 1<<20)
	for range MaxModule/len(chunk) + 1 {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := unpack("nbd.ko.gz", &b); err == nil {
		t.Errorf("got %d bytes and no error", len(got))
	}
}

func TestParseDeviceTakesDevNbdAndANumber(t *testing.T) {
	for path, want := range map[string]int{
		"/dev/nbd0": 0, "/dev/nbd15": 15, "/dev/nbd": -1, "/dev/nbd0p1": -1, "/dev/sda": -1, "nbd0": -1,
		"/dev/nbd-1": -1, "/dev/nbd00": -1, "/dev/nbd+1": -1, "/dev/nbd99999999999": -1,
	} {
		got, err := ParseDevice(path)
		if got != want || (err == nil) != (want >= 0) {
			t.Errorf("%s: got %d, %v; want %d", path, got, err, want)
		}
	}
}

func TestConfigRefusesWhatCannotBeMeant(t *testing.T) {
	for _, c := range []Config{
		{Connections: -1},
		{Connections: MaxConnections + 1},
		{BlockSize: 100},
		{BlockSize: 8192},
		{BlockSize: 768},
		{Timeout: -1},
		{DeadTimeout: -1},
		{Device: "/dev/sda"},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if err := (&Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestTheKernelGetsWholeBlocksAndATimeout(t *testing.T) {
	k, err := new(Config).connection(nbd.ExportInfo{Size: 10_000, MinBlock: 1, Flags: nbd.HasFlags | nbd.SendFlush}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if k.size != 9728 || k.blockSize != 512 || k.flags != 5 || k.timeout != DefaultTimeout || k.index != -1 {
		t.Errorf("got %+v", k)
	}
	if seconds(1) != 1 || seconds(DefaultTimeout) != 30 {
		t.Error("a timeout is rounded up to seconds")
	}
	for name, x := range map[string]struct {
		c Config
		x nbd.ExportInfo
	}{
		"an empty export":                 {Config{}, nbd.ExportInfo{Size: 511, MinBlock: 1}},
		"a block that is too small":       {Config{BlockSize: 512}, nbd.ExportInfo{Size: 1 << 20, MinBlock: 4096}},
		"a minimum that no kernel can do": {Config{}, nbd.ExportInfo{Size: 1 << 20, MinBlock: 65536}},
	} {
		if _, err := x.c.connection(x.x, nil); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestMountPointIsFoundForADeviceAndItsParts(t *testing.T) {
	const text = "22 1 0:20 / /proc rw - proc proc rw\n" +
		"36 35 43:0 / /mnt rw,noatime shared:1 - ext4 /dev/nbd1 rw,data=ordered\n" +
		"37 35 43:33 / /boot rw - ext4 /dev/nbd2p1 rw\n" +
		"38 35 0:33 / /x rw - tmpfs nbd3 rw\n"
	for name, want := range map[string]string{"nbd1": "mounted at /mnt", "nbd2": "mounted at /boot", "nbd3": "", "nbd": "", "nbd10": ""} {
		if got := mountPoint(text, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
