package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// system is where the kernel says what it has.
type system struct{ sys, proc string }

func realSystem() system { return system{"/sys", "/proc"} }

// name is the kernel's name of a block device: "sda1"; empty if it has none of that
// number.
func (y system) name(dev uint64) string {
	dir, err := filepath.EvalSymlinks(filepath.Join(y.sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))))
	if err != nil {
		return ""
	}
	return filepath.Base(dir)
}

// dir is the directory of a block device, whose parent is the disk's if it is a
// partition.
func (y system) dir(name string) string {
	dir, err := filepath.EvalSymlinks(filepath.Join(y.sys, "class/block", name))
	if err != nil {
		return filepath.Join(y.sys, "class/block", name)
	}
	return dir
}

// whole is the disk that a partition is of, or the disk itself.
func (y system) whole(name string) string {
	dir := y.dir(name)
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		return filepath.Base(filepath.Dir(dir))
	}
	return name
}

// parts are the disk and its partitions, or the partition alone.
func (y system) parts(name string) []string {
	out := []string{name}
	found, _ := filepath.Glob(filepath.Join(y.dir(name), "*", "partition")) // the pattern is good
	for _, f := range found {
		out = append(out, filepath.Base(filepath.Dir(f)))
	}
	return out
}

// number is a block device's, as "8:1"; empty if it is not there.
func (y system) number(name string) string { return y.read(name, "dev") }

// read is one attribute of a block device, without blanks around it.
func (y system) read(name, attribute string) string {
	text, err := os.ReadFile(filepath.Join(y.dir(name), attribute))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// queue reads one number of a disk's queue, 0 if it is not there.
func (y system) queue(name, attribute string) uint64 {
	n, _ := strconv.ParseUint(y.read(y.whole(name), "queue/"+attribute), 10, 64)
	return n
}

// disk describes the disk that a block device is or is a part of.
func (y system) disk(dev uint64) Disk {
	part := y.name(dev)
	if part == "" {
		return Disk{}
	}
	name := y.whole(part)
	d := Disk{
		Name: name, Model: y.read(name, "device/model"), Serial: y.read(name, "device/serial"),
		WriteCache: y.read(name, "queue/write_cache") == "write back",
		FUA:        y.queue(name, "fua") == 1, Rotational: y.queue(name, "rotational") == 1,
	}
	if d.Serial == "" {
		d.Serial = y.read(name, "serial") // virtio
	}
	if d.Serial == "" {
		d.Serial = y.scsiSerial(name)
	}
	return d
}

// scsiSerial is the unit's serial number from its vital product data, page 0x80.
func (y system) scsiSerial(name string) string {
	page, err := os.ReadFile(filepath.Join(y.dir(name), "device/vpd_pg80"))
	if err != nil || len(page) < 4 {
		return ""
	}
	return strings.TrimSpace(strings.TrimRight(string(page[4:]), "\x00"))
}
