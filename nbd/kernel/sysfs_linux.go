package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Where the kernel describes its devices.
const (
	sysBlock  = "/sys/block"
	mountInfo = "/proc/self/mountinfo"
	swaps     = "/proc/swaps"
)

func devicePath(index int) string { return fmt.Sprintf("/dev/nbd%d", index) }

// attached reports whether the kernel has the device connected: only then has
// it a pid.
func attached(index int) bool {
	_, err := os.Stat(filepath.Join(sysBlock, fmt.Sprintf("nbd%d", index), "pid"))
	return err == nil
}

// firstFree is the lowest device that is not connected.
func firstFree() (int, error) {
	for i := 0; ; i++ {
		if _, err := os.Stat(filepath.Join(sysBlock, fmt.Sprintf("nbd%d", i))); errors.Is(err, fs.ErrNotExist) {
			return -1, &Missing{fmt.Sprintf("all %d /dev/nbd* are in use", i), "modprobe -r nbd && modprobe nbd nbds_max=64 (as root), or detach one", nil}
		}
		if !attached(i) {
			return i, nil
		}
	}
}

// inUse says what uses the device or a part of it: where it is mounted, swap, or
// another device on top of it. Empty is nothing.
func inUse(index int) string {
	name := fmt.Sprintf("nbd%d", index)
	for _, user := range []string{mounted(name), swapped(name), held(name)} {
		if user != "" {
			return user
		}
	}
	return ""
}

// isPart reports whether node is the device of this name or one of its
// partitions, nbd0p1.
func isPart(node, name string) bool {
	base := filepath.Base(node)
	return base == name || strings.HasPrefix(base, name+"p")
}

func mounted(name string) string {
	text, err := os.ReadFile(mountInfo)
	if err != nil {
		return ""
	}
	return mountPoint(string(text), name)
}

// mountPoint finds where a mountinfo (proc_pid_mountinfo(5)) has the device.
func mountPoint(text, name string) string {
	for line := range strings.Lines(text) {
		before, after, _ := strings.Cut(line, " - ")
		where, source := strings.Fields(before), strings.Fields(after)
		if len(where) > 4 && len(source) > 1 && strings.HasPrefix(source[1], "/dev/") && isPart(source[1], name) {
			return "mounted at " + where[4]
		}
	}
	return ""
}

func swapped(name string) string {
	text, err := os.ReadFile(swaps)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 0 && isPart(f[0], name) {
			return "used as swap"
		}
	}
	return ""
}

func held(name string) string {
	holders, err := filepath.Glob(filepath.Join(sysBlock, name, "holders", "*"))
	if err != nil || len(holders) == 0 {
		return ""
	}
	return "below " + filepath.Base(holders[0])
}

// queue reads one number of a block device's queue, 0 if it is not there.
func queue(path, name string) uint64 {
	text, err := os.ReadFile(filepath.Join(sysBlock, filepath.Base(path), "queue", name))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// WriteCache is what the kernel believes of the block device: whether it has a
// volatile write cache, without which it sends neither FLUSH nor FUA, and
// whether it takes FUA.
func WriteCache(path string) (cache, fua bool) {
	text, err := os.ReadFile(filepath.Join(sysBlock, filepath.Base(path), "queue", "write_cache"))
	return err == nil && strings.TrimSpace(string(text)) == "write back", queue(path, "fua") == 1
}
