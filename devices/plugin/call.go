package plugin

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"syscall"

	"nbdbench/devices"
	"nbdbench/devices/fua"
)

// do runs what w has taken, and makes a panic an error.
func (w *worker) do() (e devices.Errno) {
	defer w.recover(&e)
	if w.task != nil {
		w.task.run(w)
		return devices.OK
	}
	d := w.handle
	switch w.op {
	case devices.OpRead:
		return w.ended("pread", w.read(d.conn))
	case devices.OpCache:
		if d.conn.Cache == nil {
			return devices.EINVAL
		}
		return w.ended("cache", d.conn.Cache(w.ctx, w.length, w.offset))
	case devices.OpBlockStatus: // nothing is known: all of it counts as data
		return devices.OK
	}
	return d.program.Run(w.op, w.flags, w.offset, w.length, w)
}

// recover ends a call that panics. The trace begins at the panic.
func (w *worker) recover(e *devices.Errno) {
	v := recover()
	if v == nil {
		return
	}
	*e = devices.EIO
	what := "a call"
	if w.handle != nil {
		what = w.op.String()
	}
	w.panicked = fmt.Sprintf("the plugin panicked in %s: %v: %s", what, v, debug.Stack())
}

// read reads into bytes without what they held before: a plugin may leave some out.
func (w *worker) read(c *Conn) error {
	if uint64(len(w.bytes)) < w.length {
		return devices.EINVAL // a version stamp: the plugin has only bytes
	}
	b := w.bytes[:w.length]
	clear(b)
	return c.PRead(w.ctx, b, w.offset)
}

// Call makes one call of the plugin's. It is for fua.Program.
func (w *worker) Call(c fua.Call, zeroes bool, offset, length uint64) devices.Errno {
	if w.abandoned.Load() {
		return devices.EIO // nobody waits for the rest
	}
	w.step()
	w.host.counts[c].Add(1)
	conn := w.handle.conn
	switch c {
	case fua.CallFlush:
		return w.ended("flush", conn.Flush(w.ctx))
	case fua.CallTrim, fua.CallTrimFUA:
		if conn.PTrim == nil {
			return devices.EINVAL
		}
		return w.ended("trim", conn.PTrim(w.ctx, length, offset, w.with(c == fua.CallTrimFUA, 0)))
	case fua.CallZero, fua.CallZeroFUA:
		return w.zero(conn, c == fua.CallZeroFUA, offset, length)
	}
	b := w.bytes
	if zeroes {
		b = zeroesOf(length)
	}
	if uint64(len(b)) < length || conn.PWrite == nil {
		return devices.EINVAL
	}
	return w.ended("pwrite", conn.PWrite(w.ctx, b[:length], offset, w.with(c == fua.CallWriteFUA, 0)))
}

// with are a call's flags. API 1 has none.
func (w *worker) with(durable bool, f Flags) Flags {
	if w.handle.conn.API == 1 {
		return 0
	}
	if durable {
		f |= FUA
	}
	return f
}

// zero zeroes; ENOTSUP has it written, or fail fast.
func (w *worker) zero(c *Conn, durable bool, offset, length uint64) devices.Errno {
	if c.PZero == nil {
		return devices.ENOTSUP
	}
	f := Flags(0)
	if w.flags&devices.NoHole == 0 {
		f |= MayTrim
	}
	if w.flags&devices.FastZero != 0 {
		f |= FastZero
	}
	err := c.PZero(w.ctx, length, offset, w.with(durable, f))
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, devices.ENOTSUP) {
		return devices.ENOTSUP
	}
	return w.ended("zero", err)
}

// ended is the errno of a call's error, which is reported. Only a zero has ENOTSUP.
func (w *worker) ended(call string, err error) devices.Errno {
	if err == nil {
		return devices.OK
	}
	if !errors.Is(err, context.Canceled) || !w.abandoned.Load() {
		w.host.report("connection %d: %s of %d bytes at %d: %v", w.handle.id.ID, call, w.length, w.offset, err)
	}
	if e := devices.ErrnoOf(err); e != devices.ENOTSUP {
		return e
	}
	return devices.EINVAL
}

// bigZeroes is what longer zeroes are written from: fua.ZeroChunk, once for all. Its
// pages take no memory as long as they are only read.
var bigZeroes = sync.OnceValue(func() []byte { return make([]byte, fua.ZeroChunk) })

var smallZeroes [64 << 10]byte

// zeroesOf is length zero bytes, at most fua.ZeroChunk, to be written from.
func zeroesOf(length uint64) []byte {
	if length <= uint64(len(smallZeroes)) {
		return smallZeroes[:]
	}
	return bigZeroes()
}
