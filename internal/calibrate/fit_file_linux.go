package calibrate

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

// The bounds of a file that is a device.
const (
	fileWorkers = 64        // requests at once: more than the highest depth
	fileQueue   = 1 << 12   // requests that wait
	filePayload = units.MiB // the longest request
	fileAlign   = 4096
)

// file is a file or block device as a Device: worker threads do its blocking
// calls. Past the page cache where that can be had; FLUSH is fdatasync, FUA a
// write with RWF_DSYNC. It neither grows nor shrinks. Payloads are not looked at:
// it writes a pattern, and reads into a buffer of its own.
type file struct {
	real *sim.Real
	f    *os.File
	info devices.Info
	work chan *devices.Request
	done sync.WaitGroup
}

// blockSize is the size of a block device.
func blockSize(path string) (size uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	end, err := f.Seek(0, 2)
	return uint64(end), err
}

// openFile opens a file of that size for requests on real's loop, and notes in m
// how. A block device that is in use is refused.
func openFile(path string, size uint64, real *sim.Real, m *Measurement) (*file, error) {
	block := m.Kind == "a block device"
	flags := os.O_RDWR
	if block {
		flags |= unix.O_EXCL // of a block device: not while it is mounted
	}
	f, err := os.OpenFile(path, flags|unix.O_DIRECT, 0)
	if err == nil && tryDirect(f) != nil {
		err = errors.Join(unix.EINVAL, f.Close())
	}
	if errors.Is(err, unix.EINVAL) {
		f, err = os.OpenFile(path, flags, 0)
		m.Notes = append(m.Notes, "Measured through the page cache, because there is no O_DIRECT here: reads and plain writes are the memory's.")
	} else {
		m.Notes = append(m.Notes, "Measured with O_DIRECT; FLUSH is fdatasync, FUA is RWF_DSYNC.")
	}
	if err != nil {
		return nil, err
	}
	d := &file{real: real, f: f, work: make(chan *devices.Request, fileQueue)}
	d.info = devices.Info{
		Size: size &^ (fileAlign - 1), LogicalBlock: logicalBlock(f, block), AtomicUnit: fileAlign,
		MaxPayload: uint32(filePayload), CanFlush: true, FUA: devices.FUANative, MultiConn: true, Cache: devices.CacheVolatile,
	}
	if err := d.trySync(); err != nil {
		d.info.FUA = devices.FUANone
	}
	return d, d.start()
}

// start starts the workers, each with a buffer of its own.
func (d *file) start() error {
	for range fileWorkers {
		buf, err := unix.Mmap(-1, 0, int(filePayload), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return errors.Join(fmt.Errorf("buffer: %w", err), d.close())
		}
		for i := range buf {
			buf[i] = byte(i * i >> 7) // no zeros, and nothing that a drive would compress away
		}
		d.done.Add(1)
		go d.worker(buf)
	}
	return nil
}

// tryDirect reads a block past the page cache.
func tryDirect(f *os.File) error {
	return withBlock(func(block []byte) error {
		_, err := unix.Pread(int(f.Fd()), block, 0)
		return err
	})
}

// trySync writes a block with RWF_DSYNC.
func (d *file) trySync() error {
	return withBlock(func(block []byte) error {
		_, err := unix.Pwritev2(int(d.f.Fd()), [][]byte{block}, 0, unix.RWF_DSYNC)
		return err
	})
}

// withBlock calls use with an aligned buffer.
func withBlock(use func(block []byte) error) error {
	b, err := unix.Mmap(-1, 0, fileAlign, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	return errors.Join(use(b), unix.Munmap(b))
}

// logicalBlock is that of a block device, or 4096 of a file, which has none.
func logicalBlock(f *os.File, block bool) uint32 {
	if !block {
		return fileAlign
	}
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil || n != 512 {
		return fileAlign
	}
	return 512
}

// Info describes the file.
func (d *file) Info() devices.Info { return d.info }

// Submit hands r to a worker. More than fileQueue requests at once are the
// caller's mistake.
func (d *file) Submit(r *devices.Request) {
	select {
	case d.work <- r:
	default:
		panic("bench: more requests than the file's queue takes")
	}
}

// worker does one request after another.
func (d *file) worker(buf []byte) {
	defer d.done.Done()
	for r := range d.work {
		err := d.do(r, buf)
		d.real.Enter()
		r.Charge(devices.MediaStage, d.real.Loop().Now())
		r.Finish(devices.ErrnoOf(err))
		d.real.Leave()
	}
	_ = unix.Munmap(buf) // only ours, and whole
}

// do is one request: all of its bytes, or an error.
func (d *file) do(r *devices.Request, buf []byte) error {
	fd := int(d.f.Fd())
	if r.Op == devices.OpFlush {
		return unix.Fdatasync(fd)
	}
	if r.Offset > d.info.Size || r.Length > min(uint64(len(buf)), d.info.Size-r.Offset) {
		return devices.EINVAL
	}
	for at := uint64(0); at < r.Length; {
		n, err := d.part(fd, r, buf[at:r.Length], int64(r.Offset+at))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n <= 0:
			return devices.EIO // it has shrunk
		default:
			at += uint64(n)
		}
	}
	return nil
}

// part is one system call of r.
func (d *file) part(fd int, r *devices.Request, buf []byte, off int64) (int, error) {
	switch {
	case r.Op == devices.OpRead:
		return unix.Pread(fd, buf, off)
	case r.Op != devices.OpWrite:
		return 0, devices.EINVAL
	case r.Flags&devices.FUA != 0:
		return unix.Pwritev2(fd, [][]byte{buf}, off, unix.RWF_DSYNC)
	}
	return unix.Pwrite(fd, buf, off)
}

// close ends the workers once they are idle. Not for the loop's owner.
func (d *file) close() error {
	close(d.work)
	d.done.Wait()
	return d.f.Close()
}
