package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refuses expects Open to name the holder.
func refuses(t *testing.T, path, holder string) {
	t.Helper()
	s, err := Open(path, Config{})
	if err == nil {
		_ = s.Close()
	}
	var use *InUse
	if !errors.As(err, &use) || !strings.Contains(err.Error(), holder) {
		t.Errorf("%s: got %v, want that %q", path, err, holder)
	}
}

func TestAMountedDeviceIsRefused(t *testing.T) {
	dir, device := mounted(t, "ext4", 16)
	refuses(t, device, "is mounted at "+dir)
}

func TestAMountedBtrfsIsRefused(t *testing.T) { // its number is not the device's
	dir, device := mounted(t, "btrfs", 128)
	refuses(t, device, "is mounted at "+dir)
}

func TestAFileUnderALoopDeviceIsRefused(t *testing.T) {
	device := loop(t, 4)
	text, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, strings.TrimSpace(string(text)), "the loop device "+device+" is on it")
}

func TestABlockDeviceUnderALoopDeviceIsRefused(t *testing.T) {
	inner := loop(t, 4)
	out, err := exec.Command("losetup", "-f", "--show", inner).CombinedOutput()
	if err != nil {
		t.Skipf("losetup: %v: %s", err, out)
	}
	outer := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", outer).Run() })
	refuses(t, inner, "is behind the loop device "+outer)
}

func TestSwapIsRefused(t *testing.T) {
	needsRoot(t)
	file := filepath.Join(t.TempDir(), "swap")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, loop(t, 1)} {
		run(t, "mkswap", path)
		if out, err := exec.Command("swapon", path).CombinedOutput(); err != nil {
			t.Skipf("swapon: %v: %s", err, out)
		}
		refuses(t, path, "is used as swap")
		run(t, "swapoff", path)
	}
}

func TestAnExclusivelyOpenedDeviceIsRefused(t *testing.T) {
	device := loop(t, 4)
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	refuses(t, device, "has claimed it")
}

func TestStorageThatAnotherProcessWritesIsRefused(t *testing.T) {
	file := tempFile(t, t.TempDir(), 1<<20)
	c := exec.CommandContext(t.Context(), "sh", "-c", `exec 3<>"$0"; echo ready; sleep 60`, file)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	refuses(t, file, "has it open for writing")
}

func TestQEMUsLockIsRespectedBothWays(t *testing.T) {
	qemu, err := exec.LookPath("qemu-io")
	if err != nil {
		t.Skip(err)
	}
	file := tempFile(t, t.TempDir(), 1<<20)
	s, err := Open(file, Config{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(qemu, "-f", "raw", "-c", "write 0 512", file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "lock") {
		t.Errorf("qemu-io opens what we have: %v: %s", err, out)
	}
	if _, err := Open(file, Config{}); err == nil || !strings.Contains(err.Error(), "has locked it") {
		t.Errorf("opened twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), qemu, "-f", "raw", file)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = c.Wait() }()
	for end := time.Now().Add(time.Minute); realSystem().openFor(file) == "" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	q := &Storage{path: file, file: f}
	if err := q.claim(); err == nil || !strings.Contains(err.Error(), "QEMU") {
		t.Errorf("QEMU's lock is not seen: %v", err)
	}
	refuses(t, file, "qemu-io")
}

// fakeSystem is a machine with these attributes of block devices and files of /proc.
func fakeSystem(t *testing.T, files map[string]string) system {
	t.Helper()
	y := system{filepath.Join(t.TempDir(), "sys"), filepath.Join(t.TempDir(), "proc")}
	for name, text := range files {
		name = strings.NewReplacer("sys/", y.sys+"/", "proc/", y.proc+"/").Replace(name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(text, "-> ") {
			if err := os.Symlink(text[3:], name); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return y
}

// machine has sda with three partitions: sda1 is mounted, sda2 is LVM's under the root,
// sda3 is nobody's; sdb is in a RAID, sdc encrypted, sdd free.
func machine(t *testing.T) system {
	return fakeSystem(t, map[string]string{
		"sys/devices/sda/dev":               "8:0",
		"sys/devices/sda/sda1/dev":          "8:1",
		"sys/devices/sda/sda1/partition":    "1",
		"sys/devices/sda/sda2/dev":          "8:2",
		"sys/devices/sda/sda2/partition":    "2",
		"sys/devices/sda/sda2/holders/dm-0": "",
		"sys/devices/sda/sda3/dev":          "8:3",
		"sys/devices/sda/sda3/partition":    "3",
		"sys/devices/sdb/dev":               "8:16",
		"sys/devices/sdb/holders/md0":       "",
		"sys/devices/sdc/dev":               "8:32",
		"sys/devices/sdc/holders/dm-1":      "",
		"sys/devices/sdd/dev":               "8:48",
		"sys/devices/dm-0/dev":              "253:0",
		"sys/devices/dm-0/dm/name":          "vg-root",
		"sys/devices/dm-0/dm/uuid":          "LVM-abc",
		"sys/devices/dm-0/slaves/sda2":      "",
		"sys/devices/dm-1/dev":              "253:1",
		"sys/devices/dm-1/dm/name":          "secret",
		"sys/devices/dm-1/dm/uuid":          "CRYPT-LUKS2-abc",
		"sys/devices/md0/dev":               "9:0",
		"sys/devices/md0/md/level":          "raid1",
		"sys/class/block/sda":               "-> ../../devices/sda",
		"sys/class/block/sda1":              "-> ../../devices/sda/sda1",
		"sys/class/block/sda2":              "-> ../../devices/sda/sda2",
		"sys/class/block/sda3":              "-> ../../devices/sda/sda3",
		"sys/class/block/sdb":               "-> ../../devices/sdb",
		"sys/class/block/sdc":               "-> ../../devices/sdc",
		"sys/class/block/sdd":               "-> ../../devices/sdd",
		"sys/class/block/dm-0":              "-> ../../devices/dm-0",
		"sys/class/block/dm-1":              "-> ../../devices/dm-1",
		"sys/class/block/md0":               "-> ../../devices/md0",
		"proc/self/mountinfo": "22 1 253:0 / / rw - ext4 /dev/mapper/vg-root rw\n" +
			"23 22 8:1 / /boot\\040dir rw,noatime shared:1 - ext4 /dev/sda1 rw\n",
		"proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
	})
}

func TestEachHolderIsNamed(t *testing.T) {
	y := machine(t)
	for name, want := range map[string]string{
		"sda":  "/dev/sda holds the root file system",
		"sda1": "/dev/sda1 is mounted at /boot dir",
		"sda2": "/dev/sda2 holds the root file system",
		"sda3": "",
		"sdb":  "/dev/sdb is held by md: md0 (raid1)",
		"sdc":  "/dev/sdc is held by the device mapper: dm-1 (secret)",
		"sdd":  "",
		"dm-0": "/dev/dm-0 holds the root file system",
	} {
		if got := y.blockHolder(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := y.heldBy("sda2"); got != "is held by LVM: dm-0 (vg-root)" {
		t.Errorf("sda2: got %q", got)
	}
}

func TestADiskOfWhichAPartitionIsMountedIsHeld(t *testing.T) {
	y := fakeSystem(t, map[string]string{
		"sys/devices/sde/dev":            "8:64",
		"sys/devices/sde/sde1/dev":       "8:65",
		"sys/devices/sde/sde1/partition": "1",
		"sys/class/block/sde":            "-> ../../devices/sde",
		"sys/class/block/sde1":           "-> ../../devices/sde/sde1",
		"proc/self/mountinfo":            "23 22 8:65 / /data rw - xfs /dev/sde1 rw\n",
		"proc/swaps":                     "Filename\n",
	})
	if got, want := y.blockHolder("sde"), "/dev/sde1 is mounted at /data"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatIsNoStorageIsRefused(t *testing.T) {
	small := tempFile(t, t.TempDir(), 4096)
	for path, want := range map[string]string{
		"/dev/null":                        "expected a block device, a file or a directory",
		filepath.Join(t.TempDir(), "none"): "no such file",
	} {
		if _, err := Open(path, Config{}); !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if _, err := Open(small, Config{Size: 8192}); !errors.Is(err, ErrUnfit) {
		t.Errorf("a size past the end: got %v", err)
	}
	if _, err := Open(tempFile(t, t.TempDir(), 0), Config{}); !errors.Is(err, ErrUnfit) {
		t.Errorf("an empty file: got %v", err)
	}
}
