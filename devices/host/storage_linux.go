package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
)

// Storage is a file, block device or scratch file that is open and claimed.
type Storage struct {
	path   string
	kind   Kind
	file   *os.File
	config Config
	disk   Disk
	info   devices.Info
}

// Open opens the storage at path and claims it: see InUse. A directory gets a scratch
// file of Config.Size, which has no name and is gone at Close.
func Open(path string, c Config) (*Storage, error) {
	if c.Depth == 0 {
		c.Depth = DefaultDepth
	}
	s := &Storage{path: path, config: c}
	kind, err := kindOf(path)
	if err != nil {
		return nil, err
	}
	if s.kind = kind; kind != Scratch && !c.ReadOnly {
		if err := Check(path); err != nil {
			return nil, err
		}
	}
	if s.file, err = s.open(); err != nil {
		return nil, openError(path, kind, err)
	}
	if err := s.claim(); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	if err := s.describe(); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

// kindOf is what is at path.
func kindOf(path string) (Kind, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return 0, unfit(path, "expected a block device, a file or a directory: %v", errors.Unwrap(err))
	case info.Mode().IsRegular():
		return File, nil
	case info.IsDir():
		return Scratch, nil
	case info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0:
		return Block, nil
	}
	return 0, unfit(path, "expected a block device, a file or a directory, got %v", info.Mode().Type())
}

// open opens the file itself.
func (s *Storage) open() (*os.File, error) {
	flags := os.O_RDWR
	if s.config.ReadOnly {
		flags = os.O_RDONLY
	}
	if s.config.Direct {
		flags |= unix.O_DIRECT
	}
	switch {
	case s.kind == Scratch:
		return scratch(s.path, flags)
	case s.kind == Block && !s.config.ReadOnly:
		flags |= unix.O_EXCL
	}
	return os.OpenFile(s.path, flags, 0)
}

// scratch makes a file that has no name, so that a kill leaves none.
func scratch(dir string, flags int) (*os.File, error) {
	flags |= os.O_RDWR
	f, err := os.OpenFile(dir, flags|unix.O_TMPFILE, 0o600)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return f, err
	}
	if f, err = os.CreateTemp(dir, ".nbdbench-*"); err != nil {
		return nil, err
	}
	name := f.Name()
	again, err := os.OpenFile(name, flags, 0)
	return again, errors.Join(err, f.Close(), os.Remove(name))
}

// openError says why path could not be opened.
func openError(path string, k Kind, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return &InUse{path, "the kernel or another program has claimed it"}
	case errors.Is(err, unix.EINVAL):
		return &Missing{"direct I/O on " + path, err}
	case errors.Is(err, fs.ErrPermission) && k == Block:
		return &Missing{"not permitted to open " + path + "; run it as root", err}
	}
	return unfit(path, "%v", err)
}

// describe finds out what the device can.
func (s *Storage) describe() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(s.file.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	system := realSystem()
	if s.kind == Block {
		s.disk = system.disk(st.Rdev)
	} else {
		s.disk = system.disk(st.Dev)
		s.disk.FileSystem = fileSystem(s.file)
	}
	align, err := s.alignment()
	if err != nil {
		return err
	}
	size, err := s.size(uint64(align))
	if err != nil {
		return err
	}
	s.info = devices.Info{
		Size: size, LogicalBlock: max(align, devices.Sector), AtomicUnit: max(align, devices.Sector), MinIO: align, PreferredIO: 4096,
		CanFlush: true, FUA: devices.FUANative, CanTrim: true, CanZero: true, CanFastZero: true, MultiConn: true,
		Rotational: s.disk.Rotational, ReadOnly: s.config.ReadOnly, Cache: devices.CacheVolatile,
	}
	if s.config.Direct {
		s.info.MaxPayload = DirectPayload
	}
	if s.kind == Block {
		s.info.CanTrim = system.queue(s.disk.Name, "discard_max_bytes") > 0
		s.info.CanFastZero = system.queue(s.disk.Name, "write_zeroes_max_bytes") > 0
		if s.config.Direct && !s.disk.WriteCache {
			s.info.Cache = devices.CacheNone
		}
	}
	return nil
}

// alignment is the smallest request, in bytes: 1 through the page cache.
func (s *Storage) alignment() (uint32, error) {
	if !s.config.Direct {
		return 1, nil
	}
	if s.kind == Block {
		n, err := unix.IoctlGetInt(int(s.file.Fd()), unix.BLKSSZGET)
		return uint32(n), os.NewSyscallError("BLKSSZGET", err)
	}
	var x unix.Statx_t
	err := unix.Statx(int(s.file.Fd()), "", unix.AT_EMPTY_PATH, statxDIOAlign, &x)
	switch {
	case err != nil:
		return 0, os.NewSyscallError("statx", err)
	case x.Mask&statxDIOAlign == 0:
		return 4096, nil // before Linux 6.1, and under file systems that do not say
	case x.Dio_offset_align == 0:
		return 0, &Missing{What: "direct I/O on " + s.path + ": its file system has none"}
	}
	return x.Dio_offset_align, nil
}

const statxDIOAlign = 0x2000 // STATX_DIOALIGN

// size is how many bytes are used, in whole units of align. A scratch file is made as
// long as that.
func (s *Storage) size(align uint64) (uint64, error) {
	if s.kind == Scratch {
		n := s.config.Size
		if n == 0 {
			n = DefaultScratch
		}
		if n &^= align - 1; n == 0 {
			return 0, unfit(s.path, "expected a scratch file of at least %d bytes", align)
		}
		if err := s.file.Truncate(int64(n)); err != nil {
			return 0, unfit(s.path, "a scratch file of %d bytes: %v", n, errors.Unwrap(err))
		}
		return n, nil
	}
	end, err := s.file.Seek(0, io.SeekEnd) // of a block device, too
	if err != nil {
		return 0, err
	}
	n := uint64(end)
	if s.config.Size > n {
		return 0, unfit(s.path, "expected at least %d bytes, got %d", s.config.Size, n)
	}
	if s.config.Size > 0 {
		n = s.config.Size
	}
	if n -= n % align; n == 0 {
		return 0, unfit(s.path, "expected at least %d bytes, got %d", align, end)
	}
	return n, nil
}

// Path is where the storage is.
func (s *Storage) Path() string { return s.path }

// Kind is what it is.
func (s *Storage) Kind() Kind { return s.kind }

// Size is how much of it is used, in bytes.
func (s *Storage) Size() uint64 { return s.info.Size }

// Disk is what is under it.
func (s *Storage) Disk() Disk { return s.disk }

// Close gives up the claim. No Device may be open.
func (s *Storage) Close() error { return s.file.Close() }

// fileSystem names the file system of an open file.
func fileSystem(f *os.File) string {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return ""
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs", unix.F2FS_SUPER_MAGIC: "f2fs",
	}
	if n, ok := names[int64(st.Type)]; ok {
		return n
	}
	return fmt.Sprintf("file system %#x", uint64(st.Type))
}

// deviceNumber is that of the block device at path; false if there is none.
func deviceNumber(path string) (uint64, bool) {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&os.ModeDevice == 0 || info.Mode()&os.ModeCharDevice != 0 {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Rdev, true
}

// sameFile reports whether two paths are one file.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(filepath.Clean(b))
	return err == nil && os.SameFile(x, y)
}

// Sync makes durable what was written.
func (s *Storage) Sync() error {
	if s.config.ReadOnly {
		return nil
	}
	return unix.Fsync(int(s.file.Fd()))
}
