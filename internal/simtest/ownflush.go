package simtest

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// perConnection is a device whose FLUSH covers its own connection alone: one of a
// connection that has written nothing since its last FLUSH does nothing, whatever others
// have written. It has no MultiConn.
type perConnection struct {
	devices.Device
	loop  *sim.Loop
	lanes map[uint32]*flushLane
}

// flushLane is what perConnection knows of one connection.
type flushLane struct {
	dirty   bool // a write has completed since the last FLUSH was submitted
	flushes int  // in progress: another one must not end before them
}

func newPerConnection(d devices.Device, loop *sim.Loop) *perConnection {
	return &perConnection{d, loop, map[uint32]*flushLane{}}
}

// Info is the device's, without MultiConn.
func (p *perConnection) Info() devices.Info {
	info := p.Device.Info()
	info.MultiConn = false
	return info
}

// Submit forwards r, unless it is a FLUSH of a connection that has nothing to flush.
func (p *perConnection) Submit(r *devices.Request) {
	lane := p.lanes[r.Conn]
	if lane == nil {
		lane = new(flushLane)
		p.lanes[r.Conn] = lane
	}
	switch {
	case r.Op == devices.OpFlush && !lane.dirty && lane.flushes == 0:
		r.Timer.Owner = r
		p.loop.After(&r.Timer, 0, p)
		return
	case r.Op == devices.OpFlush:
		lane.dirty = false
		lane.flushes++
		r.Completer = &laneEnd{lane, r.Completer}
	case r.Op.Modifies():
		r.Completer = &laneEnd{lane, r.Completer}
	}
	p.Device.Submit(r)
}

// Fire ends a FLUSH that had nothing to do.
func (p *perConnection) Fire(t *sim.Timer) { t.Owner.(*devices.Request).Finish(devices.OK) }

// laneEnd takes the place of the completer of a write or a FLUSH.
type laneEnd struct {
	lane      *flushLane
	completer devices.Completer
}

// Done notes that there is something to flush, or that a FLUSH has ended.
func (w *laneEnd) Done(r *devices.Request) {
	if r.Op == devices.OpFlush {
		w.lane.flushes--
	} else {
		w.lane.dirty = true
	}
	r.Completer = w.completer
	r.Completer.Done(r)
}
