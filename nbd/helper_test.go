package nbd

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// ram is a device of plain memory that completes each request after a fixed
// time, or with held set, when it is told to.
type ram struct {
	loop    *sim.Loop
	info    devices.Info
	data    []byte
	service sim.Duration
	flush   sim.Duration // if set, how long a FLUSH takes
	held    bool
	queue   []*devices.Request
	seen    []devices.Request
	log     bool
	errno   devices.Errno
}

func newRAM(loop *sim.Loop, size uint64) *ram {
	return &ram{loop: loop, data: make([]byte, size), info: devices.Info{
		Size: size, LogicalBlock: 512, AtomicUnit: 512, CanFlush: true, FUA: devices.FUANative,
		CanTrim: true, CanZero: true, CanFastZero: true, CanCache: true, MultiConn: true,
	}}
}

func (d *ram) Info() devices.Info { return d.info }

func (d *ram) Submit(r *devices.Request) {
	if d.log {
		d.seen = append(d.seen, devices.Request{Op: r.Op, Flags: r.Flags, Offset: r.Offset, Length: r.Length, Conn: r.Conn, Stream: r.Stream, Txn: r.Txn, Step: r.Step})
	}
	if d.held {
		d.queue = append(d.queue, r)
		return
	}
	r.Timer.Owner = r
	after := d.service
	if r.Op == devices.OpFlush && d.flush > 0 {
		after = d.flush
	}
	d.loop.After(&r.Timer, after, d)
}

func (d *ram) Fire(t *sim.Timer) { d.finish(t.Owner.(*devices.Request)) }

func (d *ram) finish(r *devices.Request) {
	r.Charge(devices.MediaStage, d.loop.Now())
	if r.Bytes != nil {
		switch r.Op {
		case devices.OpRead:
			copy(r.Bytes, d.data[r.Offset:r.End()])
		case devices.OpWrite:
			copy(d.data[r.Offset:r.End()], r.Bytes)
		}
	}
	if r.Op == devices.OpWriteZeroes || r.Op == devices.OpTrim {
		clear(d.data[r.Offset:r.End()])
	}
	r.Finish(d.errno)
}

// complete finishes the held request number i.
func (d *ram) complete(i int) {
	r := d.queue[i]
	d.queue = append(d.queue[:i], d.queue[i+1:]...)
	d.finish(r)
}

// counter is a Completer that keeps what it is told.
type counter struct {
	done []*devices.Request
}

func (c *counter) Done(r *devices.Request) { c.done = append(c.done, r) }
