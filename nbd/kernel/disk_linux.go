package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/sim"
)

// The bounds of a Disk.
const (
	DefaultDepth = 128     // requests in the kernel at a time; nbd's own is 128 a connection
	MaxPayload   = 1 << 20 // bytes in one READ or WRITE

	// slowWorkers is how many discards and zeroings are in the kernel at a time:
	// they have no asynchronous form.
	slowWorkers = 4
	drain       = 2 * DefaultTimeout
)

// wakeUp is the data of an event that is no request's: the reaper is to end.
const wakeUp = ^uint64(0)

// Disk is a block device file as a devices.Device. It bypasses the page cache.
// The loop's owner submits; system calls are made after it has left the loop,
// and a goroutine takes what has completed.
//
// A WRITE without bytes is sectors that each begin with the version stamp, big
// endian, as over a socket; a READ with Versions takes them from there.
type Disk struct {
	file *os.File
	real *sim.Real
	info devices.Info
	aio  *aio

	// The loop's.
	waiting devices.Queue // for a free slot
	free    []int
	slots   []slot
	inside  int // submitted and not done

	mu    sync.Mutex
	ready []int // slots to be handed to the kernel
	batch []int

	slow  chan int
	slowN sync.WaitGroup
	ended chan struct{}
}

// slot is one request in the kernel, and the memory that its data goes through.
type slot struct {
	request *devices.Request
	buffer  []byte // page-aligned, grown as needed
	result  int64  // a negative errno: it is not to be handed over
}

// OpenDisk opens the block device at path, of which the requests are on real's
// loop.
func OpenDisk(path string, real *sim.Real, c DiskConfig) (*Disk, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Depth == 0 {
		c.Depth = DefaultDepth
	}
	mode := os.O_RDWR
	if c.ReadOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode|unix.O_DIRECT|unix.O_EXCL, 0)
	if err != nil {
		return nil, diskError(path, err)
	}
	d := &Disk{
		file: f, real: real, slots: make([]slot, c.Depth),
		slow: make(chan int, c.Depth), ended: make(chan struct{}),
	}
	for i := range c.Depth {
		d.free = append(d.free, c.Depth-1-i)
	}
	if d.info, err = describe(f, path, c.ReadOnly); err == nil {
		d.aio, err = newAIO(c.Depth + 1) // one for the wake-up
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	go d.reap()
	for range slowWorkers {
		d.slowN.Add(1)
		go d.work()
	}
	return d, nil
}

// diskError explains why a device could not be opened.
func diskError(path string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s is mounted or otherwise in use: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return &Missing{"not permitted to open " + path, "run it as root", nil}
	}
	return err
}

// describe is what the kernel says of the device. FLUSH and FUA can always be
// asked for; what is sent for them is the kernel's choice, see WriteCache.
func describe(f *os.File, path string, readOnly bool) (devices.Info, error) {
	size, err := deviceSize(f)
	if err != nil {
		return devices.Info{}, err
	}
	block, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil {
		return devices.Info{}, os.NewSyscallError("BLKSSZGET", err)
	}
	info := devices.Info{
		Size: size, LogicalBlock: uint32(block), AtomicUnit: uint32(block), MinIO: uint32(block), PreferredIO: 4096,
		MaxPayload: MaxPayload, CanFlush: true, FUA: devices.FUANative, CanZero: true,
		CanTrim: queue(path, "discard_max_bytes") > 0, MultiConn: true,
		Rotational: queue(path, "rotational") == 1, ReadOnly: readOnly,
	}
	if cache, _ := WriteCache(path); cache {
		info.Cache = devices.CacheVolatile
	}
	return info, nil
}

// Info describes the device.
func (d *Disk) Info() devices.Info { return d.info }

// Submit takes a request. What the kernel would refuse it refuses later, with
// the kernel's errno.
func (d *Disk) Submit(r *devices.Request) {
	d.inside++
	d.waiting.Push(r)
	d.fill()
}

// fill gives waiting requests the free slots.
func (d *Disk) fill() {
	filled := false
	for len(d.free) > 0 && d.waiting.Len() > 0 {
		i := d.free[len(d.free)-1]
		d.free = d.free[:len(d.free)-1]
		s := &d.slots[i]
		s.result = s.load(d.waiting.Pop())
		d.mu.Lock()
		d.ready = append(d.ready, i)
		d.mu.Unlock()
		filled = true
	}
	if filled {
		d.real.AfterLeave(d)
	}
}

// load makes s the request's, and returns a negative errno if that cannot be.
func (s *slot) load(r *devices.Request) int64 {
	s.request = r
	if r.Op != devices.OpRead && r.Op != devices.OpWrite {
		return 0
	}
	if r.Length == 0 || r.Length > MaxPayload {
		return -int64(unix.EINVAL)
	}
	if uint64(len(s.buffer)) < r.Length && !s.grow(r.Length) {
		return -int64(unix.ENOMEM)
	}
	if r.Op == devices.OpRead {
		return 0
	}
	if r.Bytes != nil {
		copy(s.buffer, r.Bytes)
		return 0
	}
	data := s.buffer[:r.Length]
	clear(data)
	for ; len(data) >= devices.Sector; data = data[devices.Sector:] {
		binary.BigEndian.PutUint64(data, uint64(r.Stamp))
	}
	return 0
}

// grow maps memory: O_DIRECT wants it aligned, and it is not the collector's.
func (s *slot) grow(n uint64) bool {
	s.release()
	size := 4096
	for uint64(size) < n {
		size *= 2
	}
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	s.buffer = b
	return err == nil
}

func (s *slot) release() {
	if s.buffer != nil {
		_ = unix.Munmap(s.buffer) // only a wrong address could fail
		s.buffer = nil
	}
}

// Flush hands what is ready to the kernel. It is for the loop's owner to call
// after leaving; sim.Real does.
func (d *Disk) Flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.batch = append(d.batch[:0], d.ready...)
	d.ready = d.ready[:0]
	for _, i := range d.batch {
		switch d.slots[i].request.Op {
		case devices.OpRead, devices.OpWrite, devices.OpFlush:
			d.start(i)
		default:
			d.slow <- i // it has room for all slots
		}
	}
}

// start submits slot i's request to the kernel.
func (d *Disk) start(i int) {
	s := &d.slots[i]
	r := s.request
	cb := iocb{data: uint64(i), fd: uint32(d.file.Fd()), opcode: aioDataFsync}
	if s.result < 0 {
		go d.finish(i, s.result) // not from here: the caller may be about to enter
		return
	}
	if r.Op != devices.OpFlush {
		cb.opcode, cb.offset, cb.bytes = aioRead, int64(r.Offset), r.Length
		cb.buf = uint64(uintptr(unsafe.Pointer(&s.buffer[0])))
		if r.Op == devices.OpWrite {
			cb.opcode = aioWrite
			if r.Flags&devices.FUA != 0 {
				cb.rwFlags = unix.RWF_DSYNC
			}
		}
	}
	if err := d.submit(&cb); err != nil {
		var e syscall.Errno
		errors.As(err, &e)
		go d.finish(i, -int64(e))
	}
}

// submit hands over one request, again where the kernel is short of something.
func (d *Disk) submit(cb *iocb) error {
	for {
		err := d.aio.submit(cb)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// reap takes what has completed, until it is woken up to end.
func (d *Disk) reap() {
	defer close(d.ended)
	var events [64]ioEvent
	for {
		n, err := d.aio.wait(events[:])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		stop := false
		d.real.Do(func() {
			for _, e := range events[:n] {
				if e.data == wakeUp {
					stop = true
					continue
				}
				d.done(int(e.data), e.result)
			}
		})
		if stop {
			return
		}
	}
}

func (d *Disk) finish(i int, result int64) { d.real.Do(func() { d.done(i, result) }) }

// done frees slot i and completes its request.
func (d *Disk) done(i int, result int64) {
	s := &d.slots[i]
	r := s.request
	e := errnoOf(r, result)
	if e == devices.OK && r.Op == devices.OpRead {
		data := s.buffer[:r.Length]
		copy(r.Bytes, data)
		for k := range r.Versions {
			if at := k * devices.Sector; at+8 <= len(data) {
				r.Versions[k] = devices.Stamp(binary.BigEndian.Uint64(data[at:]))
			}
		}
	}
	s.request = nil
	d.free = append(d.free, i)
	d.inside--
	d.fill()
	r.Finish(e)
}

// errnoOf makes a system call's result one of the protocol's. A short transfer
// is an error: a block device has none but at its end.
func errnoOf(r *devices.Request, result int64) devices.Errno {
	if result < 0 {
		return devices.ErrnoOf(syscall.Errno(-result))
	}
	if (r.Op == devices.OpRead || r.Op == devices.OpWrite) && uint64(result) != r.Length {
		return devices.EIO
	}
	return devices.OK
}

// work carries out what has no asynchronous form.
func (d *Disk) work() {
	defer d.slowN.Done()
	for i := range d.slow {
		d.finish(i, d.rangeCommand(d.slots[i].request))
	}
}

// rangeCommand discards or zeroes. The ioctls have no FUA, so a flush follows.
func (d *Disk) rangeCommand(r *devices.Request) int64 {
	var err error
	switch r.Op {
	case devices.OpTrim:
		err = rangeIoctl(d.file, ioctlDiscard, r.Offset, r.Length)
	case devices.OpWriteZeroes:
		err = rangeIoctl(d.file, ioctlZeroOut, r.Offset, r.Length)
	default:
		err = unix.EINVAL
	}
	if err == nil && r.Flags&devices.FUA != 0 {
		err = unix.Fdatasync(int(d.file.Fd()))
	}
	var e syscall.Errno
	if err == nil {
		return 0
	}
	if !errors.As(err, &e) {
		e = unix.EIO
	}
	return -int64(e)
}

// Close waits for what is in flight, which ends at the latest with the device's
// timeout, and closes the file. Not for the loop's owner.
func (d *Disk) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := d.real.RunWhile(ctx, func() bool { return d.inside > 0 }); err != nil {
		return errors.Join(fmt.Errorf("requests are still in the kernel after %v", drain), d.file.Close())
	}
	// A read of nothing is done at once and wakes the reaper.
	err := d.submit(&iocb{data: wakeUp, fd: uint32(d.file.Fd()), opcode: aioRead})
	if err == nil {
		<-d.ended
	}
	close(d.slow)
	d.slowN.Wait()
	err = errors.Join(err, d.aio.destroy(), d.file.Close())
	for i := range d.slots {
		d.slots[i].release()
	}
	return err
}
