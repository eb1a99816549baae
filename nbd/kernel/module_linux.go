package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pmorjan/kmod"
	"golang.org/x/sys/unix"
)

// Modules is where a kernel's modules are. The zero value is this machine.
type Modules struct {
	Root    string // the directory of /lib/modules; empty is that
	Sys     string // where sysfs is; empty is /sys
	Release string // of the kernel; empty is this one's
	// Init hands a module's file to the kernel; nil is InitFile.
	Init kmod.InitFunc
}

// Load makes the kernel have /dev/nbd*: it loads nbd.ko unless it is there. The
// error is a *Missing.
func Load() error { return (&Modules{}).Load("nbd") }

// Probe is how this kernel has nbd. The error of Absent is a *Missing.
func Probe() (State, error) { return (&Modules{}).Probe("nbd") }

// Permitted is nil if this process may configure the kernel's nbd, or a *Missing
// that says what is in the way. The module has to be there.
func Permitted() error {
	f, err := dialFamily()
	if errors.Is(err, errNoFamily) {
		return permittedByIoctl()
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.disconnect(neverDevice) // which there is not: EINVAL or ENOENT, once the privilege is there
	var missing *Missing
	if errors.As(err, &missing) {
		return err
	}
	return nil
}

// neverDevice is an index that no device has: there are 2^20 minors.
const neverDevice = 1 << 30

func permittedByIoctl() error {
	f, err := os.OpenFile(devicePath(0), os.O_RDWR, 0)
	if err != nil {
		return openError(devicePath(0), err)
	}
	return f.Close()
}

func (m *Modules) root() string {
	if m.Root == "" {
		return "/lib/modules"
	}
	return m.Root
}

// dir is the directory of this kernel's modules.
func (m *Modules) dir() string { return filepath.Join(m.root(), m.release()) }

func (m *Modules) release() string {
	if m.Release != "" {
		return m.Release
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Probe is how the kernel has the module of this name.
func (m *Modules) Probe(name string) (State, error) {
	builtIn := m.builtIn(name)
	sys := m.Sys
	if sys == "" {
		sys = "/sys"
	}
	_, err := os.Stat(filepath.Join(sys, "module", name))
	switch {
	case builtIn:
		return BuiltIn, nil
	case err == nil:
		return Loaded, nil
	}
	k, err := m.kmod()
	if err != nil {
		return Absent, err
	}
	if _, err := k.Dependencies(name); err != nil {
		return Absent, m.absent(name, err)
	}
	return Loadable, nil
}

// builtIn reports whether modules.builtin names the module.
func (m *Modules) builtIn(name string) bool {
	list, err := os.ReadFile(filepath.Join(m.dir(), "modules.builtin"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(list)) {
		base, _, _ := strings.Cut(filepath.Base(strings.TrimSpace(line)), ".")
		if strings.ReplaceAll(base, "-", "_") == strings.ReplaceAll(name, "-", "_") {
			return true
		}
	}
	return false
}

func (m *Modules) kmod() (*kmod.Kmod, error) {
	init := m.Init
	if init == nil {
		init = InitFile
	}
	k, err := kmod.New(kmod.SetRootDir(m.root()), kmod.SetInitFunc(init), kmod.SetIgnoreStatus())
	switch {
	case err == nil:
		return k, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, &Missing{"the kernel's modules cannot be read", "", err}
	}
	if _, err := os.Stat(m.dir()); err != nil {
		return nil, &Missing{
			What: fmt.Sprintf("the running kernel %s has no modules here (%s does not exist)", m.release(), m.dir()),
			Fix:  "in a container load nbd on the host: modprobe nbd; else boot a kernel with modules: apt-get install linux-image-cloud-amd64 && reboot",
		}
	}
	return nil, &Missing{What: m.dir() + "/modules.dep does not exist", Fix: "depmod -a (as root)"}
}

func (m *Modules) absent(name string, err error) error {
	if errors.Is(err, kmod.ErrModuleNotFound) {
		return &Missing{
			What: fmt.Sprintf("the running kernel %s was built without %s", m.release(), name),
			Fix:  "boot a kernel that has it: apt-get install linux-image-cloud-amd64 && reboot",
		}
	}
	return &Missing{"the kernel's modules cannot be read", "depmod -a (as root)", err}
}

// Load makes the kernel have the module of this name, and those that it needs.
// The error is a *Missing.
func (m *Modules) Load(name string) error {
	state, err := m.Probe(name)
	if state != Loadable {
		return err
	}
	k, err := m.kmod()
	if err != nil {
		return err
	}
	if err := k.Load(name, "", 0); err != nil {
		return m.refused(name, err)
	}
	return nil
}

// refused says what it means that the kernel did not take a module.
func (m *Modules) refused(name string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return &Missing{"not permitted to load " + name + ".ko", "as root: modprobe " + name, err}
	case errors.Is(err, unix.ENOKEY), errors.Is(err, unix.EKEYREJECTED), errors.Is(err, unix.EBADMSG):
		return &Missing{"the kernel wants modules signed and does not trust " + name + ".ko", "install the modules of the running kernel: apt-get install linux-image-" + m.release(), err}
	case errors.Is(err, unix.ENOSYS):
		return &Missing{fmt.Sprintf("the running kernel %s takes no modules", m.release()), "boot a kernel with modules: apt-get install linux-image-cloud-amd64 && reboot", err}
	case errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.EINVAL):
		return &Missing{name + ".ko is not for the running kernel", "reboot into the kernel that is installed, or: apt-get install linux-image-" + m.release(), err}
	case errors.Is(err, kmod.ErrModuleNotFound):
		return m.absent(name, err)
	}
	return &Missing{name + ".ko cannot be loaded", "dmesg | tail says why", err}
}
