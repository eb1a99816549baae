package aio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/sim"
)

// MaxDepth bounds the requests that an Engine has in the kernel at a time.
const MaxDepth = 1024

// slowWorkers is how many requests without an asynchronous form are in the kernel
// at a time.
const slowWorkers = 4

// Config is how an Engine works.
type Config struct {
	Depth      int    // requests in the kernel at a time, 1 to MaxDepth; others wait
	MaxPayload uint32 // bytes in one READ or WRITE; a longer one fails with EINVAL
	// Slow carries out what has no asynchronous form: all but READ, WRITE and FLUSH.
	// It may block, and runs on several goroutines. Nil fails them with EINVAL.
	Slow func(r *devices.Request) error
	// Drain bounds how long Close waits for requests in flight.
	Drain time.Duration
}

// Validate reports bounds that cannot be had.
func (c Config) Validate() error {
	switch {
	case c.Depth < 1 || c.Depth > MaxDepth:
		return fmt.Errorf("depth: expected 1 to %d, got %d", MaxDepth, c.Depth)
	case c.MaxPayload == 0:
		return errors.New("max payload: expected more than 0")
	case c.Drain <= 0:
		return fmt.Errorf("drain: expected more than 0, got %v", c.Drain)
	}
	return nil
}

// wakeUp is the data of an event that is no request's: the reaper is to end.
const wakeUp = ^uint64(0)

// Engine serves requests on a file. The loop's owner submits; system calls are made
// after it has left the loop, and a goroutine takes what has completed.
//
// A WRITE without bytes is sectors that each begin with the version stamp, big
// endian, as over a socket; a READ with Versions takes them from there.
type Engine struct {
	file   *os.File
	real   *sim.Real
	config Config
	kernel *kernelContext

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

// New starts an engine on f, of which the requests are on real's loop. f is the
// engine's until Close, which does not close it.
func New(f *os.File, real *sim.Real, c Config) (*Engine, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		file: f, real: real, config: c, slots: make([]slot, c.Depth),
		slow: make(chan int, c.Depth), ended: make(chan struct{}),
	}
	for i := range c.Depth {
		e.free = append(e.free, c.Depth-1-i)
	}
	var err error
	if e.kernel, err = newContext(c.Depth + 1); err != nil { // one for the wake-up
		return nil, err
	}
	go e.reap()
	for range slowWorkers {
		e.slowN.Add(1)
		go e.work()
	}
	return e, nil
}

// Submit takes a request. What the kernel would refuse it refuses later, with
// the kernel's errno. Only for the loop's owner.
func (e *Engine) Submit(r *devices.Request) {
	e.inside++
	e.waiting.Push(r)
	e.fill()
}

// fill gives waiting requests the free slots.
func (e *Engine) fill() {
	filled := false
	for len(e.free) > 0 && e.waiting.Len() > 0 {
		i := e.free[len(e.free)-1]
		e.free = e.free[:len(e.free)-1]
		s := &e.slots[i]
		s.result = s.load(e.waiting.Pop(), uint64(e.config.MaxPayload))
		e.mu.Lock()
		e.ready = append(e.ready, i)
		e.mu.Unlock()
		filled = true
	}
	if filled {
		e.real.AfterLeave(e)
	}
}

// load makes s the request's, and returns a negative errno if that cannot be.
func (s *slot) load(r *devices.Request, most uint64) int64 {
	s.request = r
	if r.Op != devices.OpRead && r.Op != devices.OpWrite {
		return 0
	}
	if r.Length == 0 || r.Length > most {
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
func (e *Engine) Flush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.batch = append(e.batch[:0], e.ready...)
	e.ready = e.ready[:0]
	for _, i := range e.batch {
		switch e.slots[i].request.Op {
		case devices.OpRead, devices.OpWrite, devices.OpFlush:
			e.start(i)
		default:
			e.slow <- i // it has room for all slots
		}
	}
}

// start submits slot i's request to the kernel.
func (e *Engine) start(i int) {
	s := &e.slots[i]
	r := s.request
	cb := iocb{data: uint64(i), fd: uint32(e.file.Fd()), opcode: opDataFsync}
	if s.result < 0 {
		go e.finish(i, s.result) // not from here: the caller may be about to enter
		return
	}
	if r.Op != devices.OpFlush {
		cb.opcode, cb.offset, cb.bytes = opRead, int64(r.Offset), r.Length
		cb.buf = uint64(uintptr(unsafe.Pointer(&s.buffer[0])))
		if r.Op == devices.OpWrite {
			cb.opcode = opWrite
			if r.Flags&devices.FUA != 0 {
				cb.rwFlags = unix.RWF_DSYNC
			}
		}
	}
	if err := e.submit(&cb); err != nil {
		var errno syscall.Errno
		errors.As(err, &errno)
		go e.finish(i, -int64(errno))
	}
}

// submit hands over one request, again where the kernel is short of something.
func (e *Engine) submit(cb *iocb) error {
	for {
		err := e.kernel.submit(cb)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// reap takes what has completed, until it is woken up to end.
func (e *Engine) reap() {
	defer close(e.ended)
	var events [64]ioEvent
	for {
		n, err := e.kernel.wait(events[:])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		stop := false
		e.real.Do(func() {
			for _, v := range events[:n] {
				if v.data == wakeUp {
					stop = true
					continue
				}
				e.done(int(v.data), v.result)
			}
		})
		if stop {
			return
		}
	}
}

func (e *Engine) finish(i int, result int64) { e.real.Do(func() { e.done(i, result) }) }

// done frees slot i and completes its request.
func (e *Engine) done(i int, result int64) {
	s := &e.slots[i]
	e.mu.Lock() // Flush has handed the slot to the kernel, and looks at it no more
	r := s.request
	e.mu.Unlock()
	errno := errnoOf(r, result)
	if errno == devices.OK && r.Op == devices.OpRead {
		data := s.buffer[:r.Length]
		copy(r.Bytes, data)
		for k := range r.Versions {
			if at := k * devices.Sector; at+8 <= len(data) {
				r.Versions[k] = devices.Stamp(binary.BigEndian.Uint64(data[at:]))
			}
		}
	}
	s.request = nil
	e.free = append(e.free, i)
	e.inside--
	e.fill()
	r.Finish(errno)
}

// errnoOf makes a system call's result one of the protocol's. A short transfer
// is an error: the file ends there.
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
func (e *Engine) work() {
	defer e.slowN.Done()
	for i := range e.slow {
		e.finish(i, e.blocking(e.slots[i].request))
	}
}

// blocking is 0 or a negative errno.
func (e *Engine) blocking(r *devices.Request) int64 {
	err := error(unix.EINVAL)
	if e.config.Slow != nil {
		err = e.config.Slow(r)
	}
	if err == nil {
		return 0
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		errno = unix.EIO
	}
	return -int64(errno)
}

// Close waits for what is in flight, at most for Config.Drain, and ends the engine.
// Not for the loop's owner. After an error some memory is the kernel's and stays.
func (e *Engine) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), e.config.Drain)
	defer cancel()
	if err := e.real.RunWhile(ctx, func() bool { return e.inside > 0 }); err != nil {
		return fmt.Errorf("requests are still in the kernel after %v", e.config.Drain)
	}
	// A read of nothing is done at once and wakes the reaper.
	err := e.submit(&iocb{data: wakeUp, fd: uint32(e.file.Fd()), opcode: opRead})
	if err == nil {
		<-e.ended
	}
	close(e.slow)
	e.slowN.Wait()
	err = errors.Join(err, e.kernel.destroy())
	for i := range e.slots {
		e.slots[i].release()
	}
	return err
}
