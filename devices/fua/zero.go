package fua

import (
	"sync"

	"nbdbench/devices"
)

// zeroes are what a WRITE_ZEROES writes where the backend has no zero of its own,
// made when they are first asked for. All devices share them and nobody changes them.
var zeroes = sync.OnceValue(func() []byte { return make([]byte, ZeroChunk) })

// zeroing is a WRITE_ZEROES that the backend may have to write, as nbdkit does:
// server/backend.c, backend_zero, and server/plugins.c, plugin_zero.
type zeroing struct {
	d         *device
	r         *devices.Request
	completer devices.Completer // r's own, while r itself is the call
	offset    uint64            // of the next chunk
	left      uint64            // bytes
	next      *zeroing
}

// zero begins a WRITE_ZEROES. One that is the call itself is forwarded, and only
// its completer is replaced, for the ENOTSUP of a backend that has the zeroes
// written. With FAST_ZERO that is the answer.
func (d *device) zero(r *devices.Request, same bool) {
	fast := r.Flags&devices.FastZero != 0
	switch {
	case fast && (d.writes || d.flagless):
		d.finisher.Finish(r, devices.ENOTSUP)
	case d.writes && r.Length == 0:
		d.finisher.Finish(r, devices.OK)
	case d.writes:
		d.take(r).begin()
	case same && (fast || d.certain):
		d.inner.Submit(r)
	case same:
		z := d.take(r)
		z.completer, r.Completer = r.Completer, z
		d.inner.Submit(r)
	default:
		d.call(r, d.child(r), d.plans[planOf(r)].steps[0], 0)
	}
}

// unsupported reports whether q, a zero on r's behalf or r itself, asks for the
// zeroes to be written.
func unsupported(r, q *devices.Request) bool {
	return q.Errno == devices.ENOTSUP && q.Op == devices.OpWriteZeroes && r.Flags&devices.FastZero == 0
}

func (d *device) take(r *devices.Request) *zeroing {
	z := d.idle
	if z == nil {
		z = &zeroing{d: d}
	} else {
		d.idle = z.next
	}
	z.r, z.next = r, nil
	return z
}

func (d *device) put(z *zeroing) {
	z.r, z.completer, z.next = nil, nil, d.idle
	d.idle = z
}

// begin writes the first chunk.
func (z *zeroing) begin() {
	z.offset, z.left = z.r.Offset, z.r.Length
	z.write(z.d.child(z.r))
}

// write writes the next chunk. FUA is on every one or on none.
func (z *zeroing) write(q *devices.Request) {
	r, d := z.r, z.d
	n := min(z.left, ZeroChunk)
	q.Op, q.Flags, q.Errno, q.Slot = devices.OpWrite, d.plans[planOf(r)].steps[0].flags, devices.OK, 0
	q.Offset, q.Length, q.Payload = z.offset, n, devices.Payload{Bytes: zeroes()[:n]}
	z.offset, z.left = z.offset+n, z.left-n
	d.send(r, q, z)
}

// Done goes on after a chunk that was written, or after the zero itself. What
// follows the last chunk is what follows a zero.
func (z *zeroing) Done(q *devices.Request) {
	if q == z.r {
		z.tried()
		return
	}
	d := z.d
	r := d.absorb(q)
	switch {
	case q.Errno != devices.OK:
		d.put(z)
		d.finish(r, q, q.Errno)
	case z.left > 0:
		z.write(q)
	default:
		d.put(z)
		d.step(r, q)
	}
}

// tried ends the zero that was forwarded, or has it written.
func (z *zeroing) tried() {
	r := z.r
	r.Completer, z.completer = z.completer, nil
	if unsupported(r, r) {
		z.begin()
		return
	}
	z.d.put(z)
	r.Completer.Done(r)
}
