package socket

import (
	"net"

	"nbdbench/devices"
	"nbdbench/internal/buffer"
	"nbdbench/internal/wake"
	"nbdbench/nbd"
)

// cost is what a request holds until its reply was written.
func (p *parsed) cost() int32 {
	switch {
	case !p.ok:
		return requestCost
	case p.Op == devices.OpRead || p.Op == devices.OpWrite:
		return requestCost + buffer.Size(p.Length)
	case p.Op == devices.OpBlockStatus:
		return requestCost + statusCost
	}
	return requestCost
}

// admit takes the memory that a request needs, and reports whether there was
// room for it. DISC needs none: it ends the connection.
func (k *serverSocket) admit(p *parsed) bool {
	if p.Op == nbd.CmdDisc {
		return true
	}
	p.hold = nbd.Hold{Bytes: p.cost()}
	return k.take(int64(p.hold.Bytes)) || p.Op == devices.OpFlush && k.takeReserve(p)
}

// take takes n bytes for one request, if the bounds of the connection and of the
// server allow it. It is for the reader.
func (k *serverSocket) take(n int64) bool {
	held := k.held.Load()
	if !k.hasRoom(held, n) || !k.server.memory.take(held, n) {
		return false
	}
	k.held.Add(n)
	k.requests.Add(1)
	return true
}

// hasRoom reports whether the connection's own bounds allow a request more. One
// always goes through.
func (k *serverSocket) hasRoom(held, n int64) bool {
	return held == 0 || k.requests.Load() < nbd.MaxInFlight && held+n <= maxHeld
}

// takeReserve has a FLUSH go through where there is no room, that data can be made
// durable while others hold all memory.
func (k *serverSocket) takeReserve(p *parsed) bool {
	if k.reserved.Load() >= flushReserve {
		return false
	}
	p.hold.Reserved = true
	k.reserved.Add(1)
	k.requests.Add(1)
	k.held.Add(int64(p.hold.Bytes))
	k.server.memory.force(int64(p.hold.Bytes))
	return true
}

// freed gives back what messages held, and wakes the reader if it waits.
func (k *serverSocket) freed(f freed) {
	k.requests.Add(-int64(f.messages))
	if f.reserved > 0 {
		k.reserved.Add(-int32(f.reserved))
	}
	k.held.Add(-f.bytes)
	k.server.memory.give(f.bytes)
	k.wake()
}

// lend leaves a payload to the device, perhaps for longer than the connection, with
// the memory that it is charged for: the reply gives back the rest.
func (k *serverSocket) lend(h nbd.Hold) (rest nbd.Hold, returned func()) {
	kept := h.Bytes - requestCost
	if h.Buffer == nil || kept <= 0 {
		h.Buffer = nil
		return h, nil
	}
	h.Buffer, h.Bytes = nil, h.Bytes-kept
	return h, func() { k.freed(freed{bytes: int64(kept)}) }
}

// await blocks until there is room for p. It reports false if the connection is to
// end instead.
func (k *serverSocket) await(p *parsed) bool {
	defer k.reacquireTimers(k.releaseTimers())
	m, n := &k.server.memory, int64(p.hold.Bytes)
	k.queued.wake = k.wake
	for {
		var own, ok bool // there is room in the connection's own bounds; p is admitted
		sleeps := k.sleeper.Prepare(wake.Forever, func() bool {
			held := k.held.Load()
			if own = k.hasRoom(held, n); own {
				k.queued.wants = held + n
				m.join(&k.queued)
			}
			ok = k.admit(p)
			return ok || k.sock.over.Load()
		})
		woken := sleeps && k.sleep()
		if own {
			m.leave(&k.queued)
		}
		if ok || !woken {
			m.wakeOne() // there may be room for the next, who was not woken if this one was
			return ok
		}
	}
}

// narrowBuffer is what a Unix socket is asked to hold where there is no memory for
// sendBuffer.
const narrowBuffer = 64 << 10

// setSendBuffer has the kernel hold more of what the peer has not read, if there is memory
// for that: up to an eighth of the limit for all connections. Else it holds less
// than by default.
func (k *serverSocket) setSendBuffer(c net.Conn) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return // TCP adapts to what the kernel has
	}
	m := &k.server.memory
	if m.base.Load() < m.limit/8 {
		setSendBuffer(c)
		if n := sendBufferOf(u); m.connect(n) {
			k.base += n
			return
		}
	}
	_ = u.SetWriteBuffer(narrowBuffer) // more is as good, and takes more
}

// growInput takes the memory for a longer read buffer, if a quarter of what is for
// connections is left to new ones.
func (k *serverSocket) growInput() bool {
	const more = readBuffer - firstBuffer
	m := &k.server.memory
	if m.base.Load() > m.limit*3/16 || !m.connect(more) {
		return false
	}
	k.base += more
	return true
}
