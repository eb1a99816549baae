package vm

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Kernel is an unpacked kernel package: its image, and the tree of its modules.
type Kernel struct {
	Path    string // of vmlinuz
	Release string
	Modules string // the directory of this release
}

// FindKernel finds the kernel of a package that was unpacked into dir.
func FindKernel(dir string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		return Kernel{}, fmt.Errorf("%s has no boot/vmlinuz-*: make test-kernel unpacks one: %w", dir, fs.ErrNotExist)
	}
	slices.Sort(images)
	k := Kernel{Path: images[len(images)-1]}
	k.Release = strings.TrimPrefix(filepath.Base(k.Path), "vmlinuz-")
	k.Modules = filepath.Join(dir, "lib", "modules", k.Release)
	if _, err := os.Stat(filepath.Join(k.Modules, "modules.dep")); err != nil {
		return Kernel{}, fmt.Errorf("the modules of %s are not indexed: depmod -b %s %s: %w", k.Path, dir, k.Release, err)
	}
	return k, nil
}

// Image is what the guest boots.
type Image struct {
	Kernel Kernel
	files  archive
}

// NewImage returns an image with the mount points that every guest needs.
func NewImage(k Kernel) *Image {
	i := &Image{Kernel: k, files: archive{}}
	for _, dir := range []string{"/dev", "/proc", "/sys", "/tmp", "/run", "/root", "/etc", "/mnt"} {
		i.files.add(dir, typeDirectory|0o755, nil)
	}
	return i
}

// Add puts a file into the image.
func (i *Image) Add(name string, perm fs.FileMode, data []byte) {
	i.files.add(name, modeOf(perm), data)
}

// Link puts a symbolic link into the image.
func (i *Image) Link(name, target string) { i.files.add(name, typeLink|0o777, []byte(target)) }

// Copy puts a file of the host into the image, at the same place unless as says
// where.
func (i *Image) Copy(file, as string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if as == "" {
		as = file
	}
	i.Add(as, info.Mode(), data)
	return nil
}

// Tree puts a directory of the host into the image, at the same place, without the files
// and directories of which skip holds. A nil skip leaves out nothing.
func (i *Image) Tree(dir string, skip func(path string) bool) error {
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case skip != nil && skip(file) && d.IsDir():
			return filepath.SkipDir
		case d.IsDir() || skip != nil && skip(file):
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(file)
			i.Link(file, target)
			return err
		}
		return i.Copy(file, "")
	})
}

// Busybox puts busybox into the image, with a link in /bin for each of its
// commands.
func (i *Image) Busybox() error {
	file, err := find("busybox")
	if err != nil {
		return err
	}
	if err := i.Copy(file, "/bin/busybox"); err != nil {
		return err
	}
	list, err := exec.Command(file, "--list").Output()
	if err != nil {
		return fmt.Errorf("busybox --list: %w", err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		if name != "busybox" {
			i.Link("/bin/"+name, "busybox")
		}
	}
	return nil
}

// Programs puts programs of the host into the image's /sbin, before busybox's on
// PATH, with the libraries that they need.
func (i *Image) Programs(names ...string) error {
	for _, name := range names {
		file, err := find(name)
		if err != nil {
			return err
		}
		if err := i.program(file, "/sbin/"+name); err != nil {
			return err
		}
	}
	return nil
}

// Plugin puts a shared object of the host into the image, at the same place, with
// the libraries that it needs.
func (i *Image) Plugin(file string) error { return i.program(file, "") }

func (i *Image) program(file, as string) error {
	if err := i.Copy(file, as); err != nil {
		return err
	}
	return i.libraries(file)
}

// find looks where root's programs are, too.
func find(name string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if file, err := exec.LookPath(dir + name); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s is not there: make peers installs it: %w", name, fs.ErrNotExist)
}

// libraries copies what ldd says that the program loads.
func (i *Image) libraries(file string) error {
	out, err := exec.Command("ldd", file).Output()
	if err != nil {
		return nil // static
	}
	for word := range strings.FieldsSeq(string(out)) {
		if !strings.HasPrefix(word, "/") {
			continue
		}
		if _, ok := i.files[path.Clean(word)]; ok {
			continue
		}
		if err := i.Copy(word, ""); err != nil {
			return err
		}
	}
	return nil
}

// Packed says how modules are compressed in the image: by name, ".gz", ".xz" or
// ".zst". Others are as they are in the kernel's package.
type Packed map[string]string

// Modules puts these modules into the image with those that they need, and the
// lists by which they are found.
func (i *Image) Modules(packed Packed, names ...string) error {
	dep, err := os.ReadFile(filepath.Join(i.Kernel.Modules, "modules.dep"))
	if err != nil {
		return err
	}
	needs := map[string][]string{} // by path
	byName := map[string]string{}
	for line := range strings.Lines(string(dep)) {
		file, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		needs[file] = strings.Fields(rest)
		byName[moduleName(file)] = file
	}
	wanted := map[string]bool{}
	for _, name := range names {
		file, ok := byName[strings.ReplaceAll(name, "-", "_")]
		if !ok {
			return fmt.Errorf("%s has no module %s", i.Kernel.Modules, name)
		}
		for _, f := range append([]string{file}, needs[file]...) {
			wanted[f] = true
		}
	}
	return i.moduleTree(packed, needs, wanted)
}

func (i *Image) moduleTree(packed Packed, needs map[string][]string, wanted map[string]bool) error {
	dir := "/lib/modules/" + i.Kernel.Release
	as := func(file string) string { return file + packed[moduleName(file)] }
	var list strings.Builder
	for file := range needs {
		if !wanted[file] {
			continue
		}
		data, err := os.ReadFile(filepath.Join(i.Kernel.Modules, file))
		if err == nil {
			data, err = pack(packed[moduleName(file)], data)
		}
		if err != nil {
			return fmt.Errorf("module %s: %w", file, err)
		}
		i.Add(path.Join(dir, as(file)), 0o644, data)
		list.WriteString(as(file) + ":")
		for _, n := range needs[file] {
			list.WriteString(" " + as(n))
		}
		list.WriteString("\n")
	}
	i.Add(dir+"/modules.dep", 0o644, []byte(list.String()))
	i.Add(dir+"/modules.alias", 0o644, nil)
	built, err := os.ReadFile(filepath.Join(i.Kernel.Modules, "modules.builtin"))
	i.Add(dir+"/modules.builtin", 0o644, built)
	return err
}

func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// pack compresses as the suffix says.
func pack(suffix string, data []byte) ([]byte, error) {
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch suffix {
	case "":
		return data, nil
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		w, err = xz.WriterConfig{CheckSum: xz.CRC32}.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	default:
		err = fmt.Errorf("expected .gz, .xz or .zst, got %q", suffix)
	}
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// Write writes the image's file system, uncompressed: the guest is slow.
func (i *Image) Write(file string) error { return os.WriteFile(file, i.files.bytes(), 0o644) }
