package fusefile

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"nbdbench/devices"
	"nbdbench/sim"
)

// The bounds of what the kernel sends.
const (
	// MaxRequest is the longest READ or WRITE in bytes; FUSE has none that is longer.
	MaxRequest = 1 << 20
	// MaxBackground is how many asynchronous requests are in progress at a time.
	MaxBackground = 128
	// maxZero is how many bytes one WRITE_ZEROES has at most.
	maxZero = 1 << 30
)

// Name is the file's name in the directory.
const Name = "disk"

// The nodes of the file system.
const (
	rootNode = fuse.FUSE_ROOT_ID
	fileNode = rootNode + 1
)

// ttl is for how many seconds the kernel remembers the file: nothing changes it.
const ttl = 3600

// Config says what is served and where. All of it is required.
type Config struct {
	Dir    string // an existing directory, over which it is mounted; or /dev/fd/N, which is mounted
	Device devices.Device
	Real   *sim.Real // of the device's loop
}

// Counts are the requests that the device has completed.
type Counts struct {
	Reads   uint64 `json:"reads"`
	Writes  uint64 `json:"writes"`
	Flushes uint64 `json:"flushes"`
	Zeroes  uint64 `json:"zeroes"`
}

// File is a mounted file.
type File struct {
	fuse.RawFileSystem // ENOSYS for all that a disk has not

	server *fuse.Server
	device devices.Device
	real   *sim.Real
	size   uint64
	calls  sync.Pool // of *call

	reads, writes, flushes, zeroes atomic.Uint64
}

// Mount mounts the file system and serves it until Close.
func Mount(c Config) (*File, error) {
	f := &File{RawFileSystem: fuse.NewDefaultRawFileSystem(), device: c.Device, real: c.Real, size: c.Device.Info().Size}
	f.calls.New = func() any { return &call{done: make(chan struct{}, 1)} }
	server, err := fuse.NewServer(f, c.Dir, &fuse.MountOptions{
		FsName: "nbdbench", Name: "nbdbench",
		DirectMountStrict: !strings.HasPrefix(c.Dir, "/dev/fd/"), AllowOther: true, DisableXAttrs: true, DisableSplice: true,
		MaxWrite: MaxRequest, MaxBackground: MaxBackground,
		ExtraCapabilities: fuse.CAP_ASYNC_DIO, DisabledCapabilities: fuse.CAP_WRITEBACK_CACHE,
	})
	if err != nil {
		return nil, fmt.Errorf("mounting a FUSE file system on %s: %w", c.Dir, err)
	}
	f.server = server
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return nil, fmt.Errorf("serving a FUSE file system on %s: %w", c.Dir, err)
	}
	return f, nil
}

// Close unmounts it. It fails while the file is open.
func (f *File) Close() error { return f.server.Unmount() }

// Counts are the requests so far.
func (f *File) Counts() Counts {
	return Counts{f.reads.Load(), f.writes.Load(), f.flushes.Load(), f.zeroes.Load()}
}

// call is one request of the kernel.
type call struct {
	devices.Request
	done chan struct{}
}

// Done wakes up the goroutine that waits for the request.
func (c *call) Done(*devices.Request) { c.done <- struct{}{} }

// do has the device carry out a request and returns when it is done.
func (f *File) do(op devices.Op, flags devices.Flags, off, n uint64, data []byte) fuse.Status {
	c := f.calls.Get().(*call)
	c.Request = devices.Request{Op: op, Flags: flags, Offset: off, Length: n, Completer: c}
	c.Bytes = data
	f.real.Do(func() {
		now := f.real.Loop().Now()
		c.Intended, c.Submitted = now, now
		f.device.Submit(&c.Request)
	})
	<-c.done
	e := c.Errno
	c.Request = devices.Request{}
	f.calls.Put(c)
	if e != devices.OK {
		return status(e)
	}
	return fuse.OK
}

// status is an error of the protocol as FUSE reports it. ESHUTDOWN is a device
// without power: an I/O error.
func status(e devices.Errno) fuse.Status {
	switch e {
	case devices.EPERM:
		return fuse.EPERM
	case devices.EINVAL:
		return fuse.EINVAL
	case devices.ENOSPC:
		return fuse.Status(syscall.ENOSPC)
	}
	return fuse.EIO
}

// String is the name of the file system in messages.
func (f *File) String() string { return "nbdbench" }

// attributes are those of a node.
func (f *File) attributes(node uint64, a *fuse.Attr) {
	*a = fuse.Attr{Ino: node, Nlink: 1, Mode: syscall.S_IFDIR | 0o755, Blksize: 4096}
	if node == fileNode {
		a.Mode, a.Size, a.Blocks = syscall.S_IFREG|0o600, f.size, f.size/512
	}
}

// Lookup finds the one file.
func (f *File) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if h.NodeId != rootNode || name != Name {
		return fuse.ENOENT
	}
	out.NodeId, out.EntryValid, out.AttrValid = fileNode, ttl, ttl
	f.attributes(fileNode, &out.Attr)
	return fuse.OK
}

// GetAttr returns a node's attributes.
func (f *File) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.AttrValid = ttl
	f.attributes(in.NodeId, &out.Attr)
	return fuse.OK
}

// StatFs returns a block size, without which the loop driver offers no discard.
func (f *File) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Blocks: f.size / 4096, Bsize: 4096, Frsize: 4096, NameLen: 255}
	return fuse.OK
}

// Open opens the file past the page cache.
func (f *File) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.NodeId != fileNode {
		return fuse.Status(syscall.EISDIR)
	}
	out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES | fuse.FOPEN_NOFLUSH
	return fuse.OK
}

// Read is READ.
func (f *File) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if in.Offset >= f.size {
		return fuse.ReadResultData(nil), fuse.OK
	}
	buf = buf[:min(uint64(len(buf)), uint64(in.Size), f.size-in.Offset)]
	s := f.do(devices.OpRead, 0, in.Offset, uint64(len(buf)), buf)
	f.reads.Add(1)
	return fuse.ReadResultData(buf), s
}

// Write is WRITE.
func (f *File) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	s := f.do(devices.OpWrite, 0, in.Offset, uint64(len(data)), data)
	f.writes.Add(1)
	if s != fuse.OK {
		return 0, s
	}
	return uint32(len(data)), s
}

// Fsync is FLUSH.
func (f *File) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status {
	if !f.device.Info().CanFlush { // as a kernel that is offered none sends none
		return fuse.OK
	}
	s := f.do(devices.OpFlush, 0, 0, 0, nil)
	f.flushes.Add(1)
	return s
}

// The modes of fallocate(2) that there are.
const (
	punchHole = 0x02
	zeroRange = 0x10
)

// Fallocate is WRITE_ZEROES: for a hole with the device's choice to discard.
func (f *File) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	var flags devices.Flags
	switch {
	case in.Mode&zeroRange != 0:
		flags = devices.NoHole
	case in.Mode&punchHole == 0:
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	for off, left := in.Offset, in.Length; left > 0; {
		n := min(left, maxZero)
		if s := f.do(devices.OpWriteZeroes, flags, off, n, nil); s != fuse.OK {
			return s
		}
		off, left = off+n, left-n
	}
	f.zeroes.Add(1)
	return fuse.OK
}

// SetAttr changes nothing: who opens the file may ask for times. A disk has one size.
func (f *File) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if in.Valid&fuse.FATTR_SIZE != 0 {
		return fuse.EPERM
	}
	out.AttrValid = ttl
	f.attributes(in.NodeId, &out.Attr)
	return fuse.OK
}

// Access permits everything: the directory is private.
func (f *File) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }
