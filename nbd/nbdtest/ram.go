package nbdtest

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// Size is the size of a test device in bytes.
const Size = 1 << 20

// RAM is a device of plain memory that completes each request after Service, or with
// Held set, when Complete is called.
type RAM struct {
	Loop    *sim.Loop
	Desc    devices.Info // what Info returns
	Data    []byte
	Service sim.Duration
	Flush   sim.Duration       // if set, how long a FLUSH takes
	Held    bool               // requests wait in Queue for Complete
	Queue   []*devices.Request // in the order of their submission
	Log     bool               // requests are noted in Seen
	Seen    []devices.Request
	Errno   devices.Errno // how requests end
}

// NewRAM returns a device of size bytes that can do everything and takes no time.
func NewRAM(loop *sim.Loop, size uint64) *RAM {
	return &RAM{Loop: loop, Data: make([]byte, size), Desc: devices.Info{
		Size: size, LogicalBlock: 512, AtomicUnit: 512, CanFlush: true, FUA: devices.FUANative,
		CanTrim: true, CanZero: true, CanFastZero: true, CanCache: true, MultiConn: true,
	}}
}

// Info returns Desc.
func (d *RAM) Info() devices.Info { return d.Desc }

// Submit executes r after Service, or queues it.
func (d *RAM) Submit(r *devices.Request) {
	if d.Log {
		d.Seen = append(d.Seen, devices.Request{Op: r.Op, Flags: r.Flags, Offset: r.Offset, Length: r.Length, Conn: r.Conn, Stream: r.Stream, Txn: r.Txn, Step: r.Step})
	}
	if d.Held {
		d.Queue = append(d.Queue, r)
		return
	}
	r.Timer.Owner = r
	after := d.Service
	if r.Op == devices.OpFlush && d.Flush > 0 {
		after = d.Flush
	}
	d.Loop.After(&r.Timer, after, d)
}

// Fire completes a request. It is for the loop to call.
func (d *RAM) Fire(t *sim.Timer) { d.finish(t.Owner.(*devices.Request)) }

func (d *RAM) finish(r *devices.Request) {
	r.Charge(devices.MediaStage, d.Loop.Now())
	if r.Bytes != nil {
		switch r.Op {
		case devices.OpRead:
			copy(r.Bytes, d.Data[r.Offset:r.End()])
		case devices.OpWrite:
			copy(d.Data[r.Offset:r.End()], r.Bytes)
		}
	}
	if r.Op == devices.OpWriteZeroes || r.Op == devices.OpTrim {
		clear(d.Data[r.Offset:r.End()])
	}
	r.Finish(d.Errno)
}

// Complete finishes the held request number i.
func (d *RAM) Complete(i int) {
	r := d.Queue[i]
	d.Queue = append(d.Queue[:i], d.Queue[i+1:]...)
	d.finish(r)
}

// Resubmit keeps a client busy: each request that completes is sent again.
type Resubmit struct {
	Dev  devices.Device
	Loop *sim.Loop // of Dev
	Left int       // requests that are still to be sent
}

// Done submits r again, unless all have been.
func (s *Resubmit) Done(r *devices.Request) {
	if s.Left--; s.Left < 0 {
		return
	}
	r.Begin(s.Loop.Now())
	s.Dev.Submit(r)
}
