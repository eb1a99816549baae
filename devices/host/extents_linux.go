package host

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
)

// FIEMAP (include/uapi/linux/fiemap.h).
const (
	ioctlFiemap = 0xc020660b // FS_IOC_FIEMAP
	fiemapSync  = 1

	extentLast      = 0x1
	extentUnknown   = 0x2
	extentDelayed   = 0x4
	extentUnwritten = 0x800
	extentShared    = 0x2000
)

// fiemapBatch is how many extents are asked for at a time, and maxExtents how many a
// file may have.
const (
	fiemapBatch = 256
	maxExtents  = 1 << 20
)

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

type fiemap struct {
	start, length                uint64
	flags, mapped, count, unused uint32
	extents                      [fiemapBatch]fiemapExtent
}

// Fill writes what of a file is a hole or allocated and not yet written: there each
// durable write would change the file system's metadata as well. What has data keeps
// it. It returns where the file is then; of a block device nothing is known or done.
func (s *Storage) Fill() (Extents, error) {
	if s.kind == Block {
		return Extents{Known: false}, nil
	}
	before, gaps, err := s.extents()
	if err != nil {
		return before, fmt.Errorf("%s: %w", s.path, err)
	}
	if len(gaps) == 0 {
		return before, nil
	}
	pattern := make([]byte, zeroChunk+4096)
	x := uint64(0x9e3779b97f4a7c15) // nothing that compresses, or that two chunks share with another file
	for i := range pattern {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		pattern[i] = byte(x)
	}
	for _, g := range gaps {
		if err := s.writePattern(g.Logical, g.Length, pattern); err != nil {
			return before, unfit(s.path, "filling it: %v", err)
		}
	}
	if err := unix.Fsync(int(s.file.Fd())); err != nil {
		return before, unfit(s.path, "filling it: %v", err)
	}
	after, gaps, err := s.extents()
	if err == nil && after.Known && len(gaps) > 0 {
		err = unfit(s.path, "%d bytes at %d are not allocated and written after they were filled", gaps[0].Length, gaps[0].Logical)
	}
	return after, err
}

// extents asks where the used part of the file is, and which of it has not been
// written, in whole units of the device.
func (s *Storage) extents() (out Extents, gaps []Extent, err error) {
	size, at := s.info.Size, uint64(0)
	gap := func(from, to uint64) {
		unit := max(uint64(s.info.MinIO), 1)
		if from, to = from/unit*unit, min((to+unit-1)/unit*unit, size); from < to {
			gaps = append(gaps, Extent{Logical: from, Length: to - from})
		}
	}
	m := new(fiemap)
	for last := false; at < size && !last; {
		*m = fiemap{start: at, length: size - at, flags: fiemapSync, count: fiemapBatch}
		_, _, e := unix.Syscall(unix.SYS_IOCTL, s.file.Fd(), ioctlFiemap, uintptr(unsafe.Pointer(m)))
		switch {
		case errors.Is(e, unix.EOPNOTSUPP), errors.Is(e, unix.ENOTTY):
			return Extents{}, s.holes(), nil
		case e != 0:
			return out, nil, fmt.Errorf("FIEMAP: %w", e)
		case m.mapped == 0:
			last = true
		}
		for _, x := range m.extents[:m.mapped] {
			gap(at, min(x.logical, size))
			end := min(x.logical+x.length, size)
			if x.flags&(extentUnwritten|extentDelayed|extentUnknown) != 0 {
				gap(max(at, x.logical), end)
			} else {
				out.List = append(out.List, Extent{x.logical, x.physical, end - x.logical})
			}
			out.Shared = out.Shared || x.flags&extentShared != 0
			at, last = max(at, end), last || x.flags&extentLast != 0
		}
		if len(out.List) > maxExtents {
			return out, nil, fmt.Errorf("expected at most %d extents", maxExtents)
		}
	}
	gap(at, size)
	out.Known = true
	return out, gaps, nil
}

// holes are the file's where there is no FIEMAP.
func (s *Storage) holes() (gaps []Extent) {
	for at := uint64(0); at < s.info.Size && len(gaps) < maxExtents; {
		next, flags, err := s.extent(at, s.info.Size)
		if err != nil || next <= at {
			return gaps
		}
		if flags&devices.StatusHole != 0 {
			gaps = append(gaps, Extent{Logical: at, Length: next - at})
		}
		at = next
	}
	return gaps
}
