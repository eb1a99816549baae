package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// rootVariable names a folder that holds a whole Debian, as debootstrap makes it.
// All peers then come from there and run with it as their root.
const rootVariable = "NBDBENCH_PEERS_ROOT"

// enteredVariable marks a test process that already has a mount namespace of its own.
const enteredVariable = "NBDBENCH_PEERS_ENTERED"

// peersRoot is the folder of the peers, or empty for those of this machine.
var peersRoot = os.Getenv(rootVariable)

// enterRoot moves this process into namespaces of its own and starts the tests
// there: of mounts, in which the peers' root shows the files that tests share with
// peers, and of the network, since suites listen at NBD's own port. Both end with
// their last process, also after a kill.
func enterRoot() error {
	runtime.LockOSThread() // the namespaces belong to a thread until exec
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("%s needs root: unshare: %w", rootVariable, err)
	}
	if err := loopback(); err != nil {
		return err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	root, err := filepath.Abs(peersRoot)
	if err != nil {
		return err
	}
	module, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	for _, m := range []struct {
		path  string
		flags uintptr
	}{
		{"/proc", unix.MS_BIND | unix.MS_REC},
		{"/sys", unix.MS_BIND | unix.MS_REC},
		{"/dev", unix.MS_BIND | unix.MS_REC},
		{os.TempDir(), unix.MS_BIND},
		{module, unix.MS_BIND}, // without what is below, which has the root itself
	} {
		inside := filepath.Join(root, m.path)
		if err := os.MkdirAll(inside, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.path, inside, "", m.flags, ""); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.path, inside, err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), enteredVariable+"=1", rootVariable+"="+root))
}

// loopback brings up lo, which is all of a new network.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	return nil
}

// atRoot has a command run with the peers' root as its own.
func atRoot(c *exec.Cmd) error {
	if peersRoot == "" {
		return nil
	}
	dir, err := filepath.Abs(c.Dir) // of "" too: a relative one would stay outside of the root
	if err != nil {
		return err
	}
	c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Chroot: peersRoot}
	return nil
}

// lookPath is exec.LookPath below the peers' root.
func lookPath(name string) (string, error) {
	if peersRoot == "" {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		return exec.LookPath("/usr/sbin/" + name) // not on everybody's PATH
	}
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(filepath.Join(peersRoot, path)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not below %s", name, peersRoot)
}
