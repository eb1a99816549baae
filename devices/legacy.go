package devices

import (
	"errors"
	"fmt"
	"io"

	"nbdbench/sim"
)

// Legacy is a backend that knows no flags, as those of nbdkit's API version 1:
// it reads and writes, and nothing in a call can say how durable a write must
// be. If it is a Syncer too, everything can be made durable at once.
//
// Its calls may block and run on the loop: it is for backends in memory, for
// tests, and for a server whose clients do not mind.
type Legacy interface {
	io.ReaderAt
	io.WriterAt
	Size() uint64 // bytes; it does not change
}

// Syncer makes durable all that has been written.
type Syncer interface{ Sync() error }

// legacy is a Legacy as a Device.
type legacy struct {
	backend Legacy
	sync    Syncer // nil if the backend has none
	loop    *sim.Loop
	info    Info
}

// legacyZeroes is what write_zeroes writes with, piece by piece.
var legacyZeroes [64 << 10]byte

// FromLegacy makes a device of a backend without flags. Its FUA is emulated,
// never native (nbdkit clamps the same way): a FUA command is the command, then
// Sync if it succeeded. A layer that emulates FUA over it strips the flag and
// sends a FLUSH, so that Sync runs once there too. A backend that is no Syncer
// has neither FLUSH nor FUA.
//
// Commands complete on the loop in the order in which they came. There is no
// TRIM; WRITE_ZEROES writes zeros.
func FromLegacy(loop *sim.Loop, b Legacy) Device {
	if loop == nil {
		panic("devices: a legacy backend needs a loop")
	}
	l := &legacy{backend: b, loop: loop}
	l.info = Info{Size: b.Size(), LogicalBlock: Sector, AtomicUnit: Sector, CanZero: true}
	if s, ok := b.(Syncer); ok {
		l.sync = s
		l.info.CanFlush, l.info.FUA, l.info.MultiConn = true, FUAEmulate, true
		l.info.Cache = CacheVolatile
	}
	return l
}

func (l *legacy) Info() Info { return l.info }

func (l *legacy) Submit(r *Request) {
	r.Timer.Owner = r
	l.loop.After(&r.Timer, 0, l)
}

// Fire carries out the request whose turn it is.
func (l *legacy) Fire(t *sim.Timer) {
	r := t.Owner.(*Request)
	err := l.do(r)
	if err == nil && r.Durable() {
		err = l.sync.Sync()
	}
	r.Charge(DeviceQueue, l.loop.Now())
	r.Finish(ErrnoOf(err))
}

func (l *legacy) do(r *Request) error {
	if e := l.refuse(r); e != OK {
		return e
	}
	switch r.Op {
	case OpRead:
		return l.read(r)
	case OpWrite:
		_, err := l.backend.WriteAt(r.Bytes[:r.Length], int64(r.Offset))
		return err
	case OpWriteZeroes:
		return l.zero(r)
	case OpFlush:
		return l.sync.Sync()
	case OpBlockStatus: // nothing is known: all of it counts as data
		return nil
	}
	return EINVAL
}

// refuse checks r as an NBD server does: one errno for each rule.
func (l *legacy) refuse(r *Request) Errno {
	switch {
	case r.Durable() && l.sync == nil:
		return EINVAL
	case r.Op == OpFlush:
		if l.sync == nil {
			return EINVAL
		}
		return OK
	case r.Offset > l.info.Size || r.Length > l.info.Size-r.Offset:
		if r.Op == OpWrite || r.Op == OpWriteZeroes {
			return ENOSPC
		}
		return EINVAL
	case r.Length == 0:
		return EINVAL
	case r.Flags&FastZero != 0:
		return ENOTSUP
	case (r.Op == OpRead || r.Op == OpWrite) && uint64(len(r.Bytes)) < r.Length:
		return EINVAL // a version stamp: the backend has only bytes
	}
	return OK
}

func (l *legacy) read(r *Request) error {
	n, err := l.backend.ReadAt(r.Bytes[:r.Length], int64(r.Offset))
	if uint64(n) == r.Length && errors.Is(err, io.EOF) {
		return nil // the device's last bytes
	}
	return err
}

func (l *legacy) zero(r *Request) error {
	for off := r.Offset; off < r.End(); {
		n := min(r.End()-off, uint64(len(legacyZeroes)))
		if _, err := l.backend.WriteAt(legacyZeroes[:n], int64(off)); err != nil {
			return fmt.Errorf("zeroes at offset %d: %w", off, err)
		}
		off += n
	}
	return nil
}
