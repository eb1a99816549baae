package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Check reports who else uses the storage at path, as an InUse, without opening it.
func Check(path string) error { return realSystem().check(path) }

// check asks the kernel.
func (y system) check(path string) error {
	asks := []func(string) string{y.swapFile, y.loopOver, y.openFor}
	if dev, ok := deviceNumber(path); ok {
		if name := y.name(dev); name != "" {
			if holder := y.blockHolder(name); holder != "" {
				return &InUse{path, holder}
			}
		}
		asks = asks[1:]
	}
	for _, ask := range asks {
		if holder := ask(path); holder != "" {
			return &InUse{path, holder}
		}
	}
	return nil
}

// blockHolder says what holds a block device or a partition of it.
func (y system) blockHolder(name string) string {
	if slices.Contains(y.belowRoot(), name) {
		return fmt.Sprintf("/dev/%s holds the root file system", name)
	}
	for _, part := range y.parts(name) {
		for _, ask := range []func(string) string{y.mounted, y.swap, y.heldBy, y.loopOverBlock} {
			if holder := ask(part); holder != "" {
				return fmt.Sprintf("/dev/%s %s", part, holder)
			}
		}
	}
	return ""
}

// mount is a line of mountinfo (proc_pid_mountinfo(5)).
type mount struct{ number, point, source string }

func (y system) mounts() (out []mount) {
	text, err := os.ReadFile(filepath.Join(y.proc, "self/mountinfo"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, " - ")
		where, source := strings.Fields(before), strings.Fields(after)
		if len(where) > 4 && len(source) > 1 {
			out = append(out, mount{where[2], unescape(where[4]), unescape(source[1])})
		}
	}
	return out
}

// unescape undoes the kernel's \040 for a blank.
func unescape(s string) string {
	for _, c := range []string{"\\040", "\\011", "\\012", "\\134"} {
		n, _ := strconv.ParseUint(c[1:], 8, 8)
		s = strings.ReplaceAll(s, c, string(rune(n)))
	}
	return s
}

// isMountOf reports whether a mount is of this block device. Btrfs has a number of its
// own, and names the device as its source.
func (y system) isMountOf(m mount, name string) bool {
	return m.number == y.number(name) || m.source == "/dev/"+name || y.isDevice(m.source, name)
}

// isDevice reports whether path is a node of the block device.
func (y system) isDevice(path, name string) bool {
	dev, ok := deviceNumber(path)
	return ok && strings.HasPrefix(path, "/") && y.name(dev) == name
}

func (y system) mounted(name string) string {
	for _, m := range y.mounts() {
		if y.isMountOf(m, name) {
			return "is mounted at " + m.point
		}
	}
	return ""
}

// swaps are the files and devices of /proc/swaps.
func (y system) swaps() (out []string) {
	text, err := os.ReadFile(filepath.Join(y.proc, "swaps"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(f[0], "/") {
			out = append(out, unescape(f[0]))
		}
	}
	return out
}

func (y system) swap(name string) string {
	for _, s := range y.swaps() {
		if s == "/dev/"+name || y.isDevice(s, name) {
			return "is used as swap"
		}
	}
	return ""
}

func (y system) swapFile(path string) string {
	for _, s := range y.swaps() {
		if sameFile(path, s) {
			return "it is used as swap"
		}
	}
	return ""
}

// heldBy names the block device that is on top: of the device mapper, LVM or md.
func (y system) heldBy(name string) string {
	holders, _ := filepath.Glob(filepath.Join(y.dir(name), "holders/*")) // the pattern is good
	if len(holders) == 0 {
		return ""
	}
	h := filepath.Base(holders[0])
	switch mapped := y.read(h, "dm/name"); {
	case strings.HasPrefix(y.read(h, "dm/uuid"), "LVM-"):
		return fmt.Sprintf("is held by LVM: %s (%s)", h, mapped)
	case mapped != "":
		return fmt.Sprintf("is held by the device mapper: %s (%s)", h, mapped)
	case y.read(h, "md/level") != "":
		return fmt.Sprintf("is held by md: %s (%s)", h, y.read(h, "md/level"))
	}
	return "is held by " + h
}

// loops are the loop devices and what is behind each.
func (y system) loops() map[string]string {
	out := map[string]string{}
	files, _ := filepath.Glob(filepath.Join(y.sys, "class/block/loop*/loop/backing_file")) // the pattern is good
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil {
			name := filepath.Base(filepath.Dir(filepath.Dir(f)))
			out[name] = strings.TrimSuffix(string(text), "\n")
		}
	}
	return out
}

func (y system) loopOver(path string) string {
	for _, name := range sortedKeys(y.loops()) {
		if sameFile(path, y.loops()[name]) {
			return fmt.Sprintf("the loop device /dev/%s is on it", name)
		}
	}
	return ""
}

func (y system) loopOverBlock(name string) string {
	for _, loop := range sortedKeys(y.loops()) {
		if behind := y.loops()[loop]; behind == "/dev/"+name || y.isDevice(behind, name) {
			return fmt.Sprintf("is behind the loop device /dev/%s", loop)
		}
	}
	return ""
}

func sortedKeys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// maxLayers bounds how many block devices may be on top of each other.
const maxLayers = 64

// belowRoot are the block devices that the root file system is on: its own, those under
// that, and the disks of which they are partitions.
func (y system) belowRoot() (out []string) {
	var next []string
	for _, m := range y.mounts() {
		if m.point != "/" {
			continue
		}
		for _, name := range y.all() {
			if y.isMountOf(m, name) {
				next = append(next, name)
			}
		}
	}
	for i := 0; i < len(next) && i < maxLayers; i++ {
		name := next[i]
		out = append(out, name)
		slaves, _ := filepath.Glob(filepath.Join(y.dir(name), "slaves/*")) // the pattern is good
		for _, s := range slaves {
			next = append(next, filepath.Base(s))
		}
		if disk := y.whole(name); disk != name {
			next = append(next, disk)
		}
	}
	return out
}

// all are the names of all block devices.
func (y system) all() (out []string) {
	found, _ := filepath.Glob(filepath.Join(y.sys, "class/block/*")) // the pattern is good
	for _, f := range found {
		out = append(out, filepath.Base(f))
	}
	return out
}

// maxProcesses bounds how many processes are asked what they have open.
const maxProcesses = 100_000

// openFor names a process other than this one that has path open for writing. Without
// the right to look at a process it is not seen.
func (y system) openFor(path string) string {
	want, err := os.Stat(path)
	if err != nil {
		return ""
	}
	fds, _ := filepath.Glob(filepath.Join(y.proc, "[0-9]*/fd/*")) // the pattern is good
	self := strconv.Itoa(os.Getpid())
	dev, block := deviceNumber(path)
	for _, fd := range fds[:min(len(fds), maxProcesses)] {
		process := filepath.Dir(filepath.Dir(fd))
		pid := filepath.Base(process)
		if pid == self {
			continue
		}
		got, err := os.Stat(fd)
		if err != nil {
			continue
		}
		other, isBlock := deviceNumber(fd)
		if same := os.SameFile(want, got) || block && isBlock && dev == other; !same || !forWriting(process, filepath.Base(fd)) {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(process, "comm")) // a process without a name has a number
		return fmt.Sprintf("%s (process %s) has it open for writing", strings.TrimSpace(string(name)), pid)
	}
	return ""
}

// forWriting reports whether a process's descriptor is.
func forWriting(process, fd string) bool {
	text, err := os.ReadFile(filepath.Join(process, "fdinfo", fd))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if flags, ok := strings.CutPrefix(line, "flags:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(flags), 8, 32)
			return err == nil && n&uint64(os.O_WRONLY|os.O_RDWR) != 0
		}
	}
	return false
}
