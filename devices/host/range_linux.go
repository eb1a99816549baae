package host

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
)

// The ioctls of any block device (include/uapi/linux/fs.h).
const (
	ioctlDiscard = 0x1277 // BLKDISCARD
	ioctlZeroOut = 0x127f // BLKZEROOUT
)

// blocking carries out any request by blocking calls.
func (s *Storage) blocking(r *devices.Request) error {
	switch r.Op {
	case devices.OpRead:
		return s.transfer(r, func(b []byte, off int64) (int, error) { return unix.Pread(int(s.file.Fd()), b, off) })
	case devices.OpWrite:
		flags := 0
		if r.Flags&devices.FUA != 0 {
			flags = unix.RWF_DSYNC
		}
		return s.transfer(r, func(b []byte, off int64) (int, error) {
			return unix.Pwritev2(int(s.file.Fd()), [][]byte{b}, off, flags)
		})
	case devices.OpFlush:
		return unix.Fdatasync(int(s.file.Fd()))
	}
	return s.slow(r)
}

// transfer has all of r's bytes read or written by call.
func (s *Storage) transfer(r *devices.Request, call func(b []byte, off int64) (int, error)) error {
	if uint64(len(r.Bytes)) != r.Length {
		return devices.EINVAL
	}
	for at := uint64(0); at < r.Length; {
		n, err := call(r.Bytes[at:], int64(r.Offset+at))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n <= 0:
			return devices.EIO // the file has become shorter
		default:
			at += uint64(n)
		}
	}
	return nil
}

// slow carries out what has no asynchronous form.
func (s *Storage) slow(r *devices.Request) (err error) {
	switch r.Op {
	case devices.OpTrim:
		err = s.trim(r.Offset, r.Length)
	case devices.OpWriteZeroes:
		err = s.zero(r)
	case devices.OpBlockStatus:
		return s.status(r)
	default:
		err = devices.EINVAL
	}
	if err == nil && r.Flags&devices.FUA != 0 {
		err = unix.Fdatasync(int(s.file.Fd()))
	}
	return err
}

// trim makes a range of a file a hole, or discards the whole blocks of a device's:
// TRIM is advice. What a file system cannot is not done.
func (s *Storage) trim(off, n uint64) error {
	if s.kind != Block {
		err := s.allocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		return err
	}
	begin, end := s.wholeBlocks(off, off+n)
	if begin >= end {
		return nil
	}
	return rangeIoctl(s.file, ioctlDiscard, begin, end-begin)
}

// wholeBlocks are those in a range.
func (s *Storage) wholeBlocks(begin, end uint64) (from, to uint64) {
	block := uint64(devices.Sector)
	if n, err := unix.IoctlGetInt(int(s.file.Fd()), unix.BLKSSZGET); err == nil && n > 0 {
		block = uint64(n)
	}
	return (begin + block - 1) / block * block, end / block * block
}

// zero has a range read as zeros, which NoHole keeps allocated.
func (s *Storage) zero(r *devices.Request) error {
	const hole = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	const keep = unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE
	modes := []uint32{hole, keep}
	switch {
	case s.kind == Block && r.Flags&devices.FastZero != 0:
		modes = []uint32{hole} // fails where the device would have to be written
	case s.kind == Block:
		modes = nil
		if from, to := s.wholeBlocks(r.Offset, r.End()); from == r.Offset && to == r.End() {
			return rangeIoctl(s.file, ioctlZeroOut, r.Offset, r.Length)
		}
	case r.Flags&devices.NoHole != 0:
		modes = []uint32{keep}
	}
	for _, mode := range modes {
		if err := s.allocate(mode, r.Offset, r.Length); !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	if r.Flags&devices.FastZero != 0 {
		return devices.ENOTSUP
	}
	return s.writeZeros(r.Offset, r.Length)
}

// zeroChunk is how many zeros are written at a time.
const zeroChunk = 1 << 20

// writeZeros writes them.
func (s *Storage) writeZeros(off, n uint64) error {
	return s.writePattern(off, n, make([]byte, min(n, zeroChunk)+4096))
}

// writePattern writes the bytes of pattern again and again. Its first page is used
// only to align the rest, as O_DIRECT asks for.
func (s *Storage) writePattern(off, n uint64, pattern []byte) error {
	skip := -uintptr(unsafe.Pointer(&pattern[0])) & 4095
	pattern = pattern[skip : len(pattern)-4096+int(skip)]
	for end := off + n; off < end; {
		k, err := unix.Pwrite(int(s.file.Fd()), pattern[:min(uint64(len(pattern)), end-off)], int64(off))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case k <= 0:
			return devices.EIO
		default:
			off += uint64(k)
		}
	}
	return nil
}

// allocate is fallocate(2), again where a signal came between.
func (s *Storage) allocate(mode uint32, off, n uint64) error {
	for {
		err := unix.Fallocate(int(s.file.Fd()), mode, int64(off), int64(n))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// status tells data from holes. Where that is not known all is allocated.
func (s *Storage) status(r *devices.Request) error {
	if r.Status == nil {
		return devices.EINVAL
	}
	if s.kind == Block {
		r.Status.Add(r.Length, 0)
		return nil
	}
	for at := r.Offset; at < r.End(); {
		next, flags, err := s.extent(at, r.End())
		if err != nil {
			return err
		}
		if !r.Status.Add(next-at, flags) {
			return nil
		}
		at = next
	}
	return nil
}

// extent is where the run of data or of a hole at an offset ends, at most at end.
func (s *Storage) extent(at, end uint64) (next uint64, f devices.StatusFlags, err error) {
	data, err := unix.Seek(int(s.file.Fd()), int64(at), unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no data from here on
		return end, devices.StatusHole | devices.StatusZero, nil
	case errors.Is(err, unix.EINVAL): // the file system does not know
		return end, 0, nil
	case err != nil:
		return 0, 0, err
	case uint64(data) > at:
		return min(uint64(data), end), devices.StatusHole | devices.StatusZero, nil
	}
	hole, err := unix.Seek(int(s.file.Fd()), int64(at), unix.SEEK_HOLE)
	switch {
	case err != nil && !errors.Is(err, unix.ENXIO):
		return 0, 0, err
	case err != nil || uint64(hole) <= at: // it has changed meanwhile
		return end, 0, nil
	}
	return min(uint64(hole), end), 0, nil
}

// rangeIoctl asks for something to be done to n bytes at off.
func rangeIoctl(f *os.File, request uint, off, n uint64) error {
	span := [2]uint64{off, n}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(unsafe.Pointer(&span)))
	if e != 0 {
		return os.NewSyscallError("ioctl", e)
	}
	return nil
}
