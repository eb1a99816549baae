package vm

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// The file types of st_mode.
const (
	typeDirectory = 0o040000
	typeRegular   = 0o100000
	typeLink      = 0o120000
)

// entry is one file of an archive.
type entry struct {
	mode uint32 // with its type
	data []byte // a link's target
}

// archive is a file system for the kernel to unpack at its start: cpio in the
// "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive map[string]entry

// add puts a file into the archive, with the directories above it.
func (a archive) add(name string, mode uint32, data []byte) {
	name = path.Clean("/" + name)
	a[name] = entry{mode, data}
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		if _, ok := a[dir]; ok {
			break
		}
		a[dir] = entry{typeDirectory | 0o755, nil}
	}
}

// bytes is the archive, in the order of names: directories before what is in
// them.
func (a archive) bytes() []byte {
	var b bytes.Buffer
	for i, name := range slices.Sorted(maps.Keys(a)) {
		header(&b, name[1:], uint32(i+1), a[name])
	}
	header(&b, "TRAILER!!!", 0, entry{})
	return b.Bytes()
}

// header writes a file's header, name and data, each padded to 4 bytes.
func header(b *bytes.Buffer, name string, inode uint32, e entry) {
	links := 1
	if e.mode&typeDirectory != 0 {
		links = 2
	}
	fmt.Fprintf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, e.mode, 0, 0, links, 0, len(e.data), 0, 0, 0, 0, len(name)+1, 0)
	b.WriteString(name + "\x00")
	pad(b)
	b.Write(e.data)
	pad(b)
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

// modeOf is the st_mode of a regular file with these permissions.
func modeOf(perm fs.FileMode) uint32 { return typeRegular | uint32(perm.Perm()) }
