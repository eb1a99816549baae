package volume

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
)

// job is one request that the disk has: a destage, or a host's request that the
// cache cannot serve alone.
type job struct {
	raid    *RAID
	request devices.Request
	host    *devices.Request // nil for a destage
	flight  *drive.Flight    // what a destage writes; nil without one

	off, end uint64 // of a destage: what it writes
	from, to uint64 // ... in whole atomic units
	zero     bool   // ... is nothing but zeros

	next *job // in the spare list
}

// Done is called when the disk has completed the request.
func (j *job) Done(r *devices.Request) {
	if j.host == nil {
		j.raid.landed(j, r.Errno)
		return
	}
	j.raid.passed(j)
}

// pass sends host request r on to the disk.
func (d *RAID) pass(r *devices.Request) {
	j := d.spare
	if j == nil {
		j = &job{raid: d}
	} else {
		d.spare = j.next
	}
	j.host, j.next = r, nil
	c := &j.request
	c.Reset()
	c.Op, c.Flags, c.Offset, c.Length, c.Payload = r.Op, r.Flags, r.Offset, r.Length, r.Payload
	c.Conn, c.Stream, c.Txn, c.Step = r.Conn, r.Stream, r.Txn, r.Step
	if r.Op.Modifies() {
		d.arriving.Send(r)
		c.Op, c.Flags = d.diskOp(r.Op != devices.OpWrite), d.durable
	}
	d.send(j)
}

func (d *RAID) send(j *job) {
	now := d.loop.Now()
	j.request.Completer = j
	j.request.Intended, j.request.Submitted = now, now
	j.request.Begin(now)
	d.disk.Submit(&j.request)
}

// passed completes the host request of j. A write that failed may be on the disk
// all the same; here it is.
func (d *RAID) passed(j *job) {
	r, child := j.host, &j.request
	e := child.Errno
	r.Absorb(devices.DeviceQueue, child.Submitted, child)
	r.Charge(devices.MediaStage, d.loop.Now())
	child.Payload = devices.Payload{}
	j.host = nil
	j.next, d.spare = d.spare, j
	switch {
	case r.Op.Modifies():
		d.arriving.Arrive(r)
		d.passing--
		if e == devices.OK {
			d.stats.HostWrittenBytes += r.Length
		}
		d.unstall()
	case e == devices.OK:
		d.cache.Read(r.Offset, r.Length, &r.Payload)
	}
	d.finish(r, e)
}

// wantsDestage reports whether dirty extents should go to the disk.
func (d *RAID) wantsDestage() bool {
	if d.offline || d.cache.Extents() == 0 {
		d.destaging = false
		return false
	}
	if d.failed || d.stalled.Len() > 0 {
		return true
	}
	if d.destaging && d.inside > 0 && d.cache.Dirty() <= d.cfg.LowWater {
		d.destaging = false
	}
	return d.destaging
}

// pump keeps the disk busy with destage writes.
func (d *RAID) pump() {
	for d.busy < len(d.slots) && d.wantsDestage() {
		e := d.pick()
		if e == nil {
			return
		}
		d.depart(d.freeSlot(), e)
	}
}

func (d *RAID) freeSlot() *job {
	for i := range d.slots {
		if d.slots[i].flight == nil {
			return &d.slots[i]
		}
	}
	return nil
}

// pick chooses the dirty extent that goes next, or nil if all of them overlap
// what the disk has.
func (d *RAID) pick() *drive.Extent {
	if d.cfg.Order == Oldest {
		e := d.cache.Oldest()
		for e != nil && d.onItsWay(e) {
			e = e.Newer()
		}
		return e
	}
	for _, from := range [2]uint64{d.sweep, 0} {
		for w := d.cache.From(from); w.Extent() != nil; w = w.Next() {
			if !d.onItsWay(w.Extent()) {
				return w.Extent()
			}
		}
	}
	return nil
}

// whole is the atomic units that share a byte with [off, end).
func (d *RAID) whole(off, end uint64) (from, to uint64) {
	unit := max(uint64(d.info.AtomicUnit), 1)
	return off / unit * unit, (end + unit - 1) / unit * unit
}

// onItsWay reports whether the disk has a destage that shares a unit with e.
func (d *RAID) onItsWay(e *drive.Extent) bool {
	from, to := d.whole(e.Off, e.End)
	for i := range d.slots {
		j := &d.slots[i]
		if j.flight != nil && j.from < to && from < j.to {
			return true
		}
	}
	return false
}

// depart sends e to the disk in j, with the extents that follow on it.
func (d *RAID) depart(j *job, e *drive.Extent) {
	f, zero := d.cache.Depart(), e.Content.Zero
	j.off, j.end, j.zero = e.Off, e.Off, true
	for e != nil && e.Off == j.end && e.Content.Zero == zero && j.end-j.off < MaxRun && !d.onItsWay(e) {
		d.take(j, f, e)
		e = d.cache.From(j.end).Extent()
	}
	j.flight, d.sweep = f, j.end
	j.from, j.to = d.whole(j.off, j.end)
	d.busy++
	d.destages++
	c := &j.request
	c.Reset()
	c.Op, c.Flags, c.Offset, c.Length = d.diskOp(j.zero), d.durable, j.off, j.end-j.off
	c.Txn = 1<<63 | d.destages // its draws belong to no host's transaction
	d.send(j)
}

// take moves e into flight f of j, and with it what else is dirty in the atomic
// units at its ends: the cache sees to it that a unit goes in one piece.
func (d *RAID) take(j *job, f *drive.Flight, e *drive.Extent) {
	from, to := d.whole(e.Off, e.End)
	off, end := e.Off, e.End
	for w := d.cache.From(from); w.Extent() != nil && w.Extent().Off < to; w = w.Next() {
		x := w.Extent()
		off, end = min(off, max(x.Off, from)), max(end, min(x.End, to))
		j.zero = j.zero && x.Content.Zero
	}
	j.off, j.end = min(j.off, off), end
	d.cache.Take(f, e)
}

// diskOp is the command for what goes to the disk. Zeros are written out on one
// that has no command for them; a TRIM is zeros.
func (d *RAID) diskOp(zero bool) devices.Op {
	if zero && d.disk.Info().CanZero {
		return devices.OpWriteZeroes
	}
	return devices.OpWrite
}

// landed makes a destage durable and lets in what has waited for it.
func (d *RAID) landed(j *job, e devices.Errno) {
	if e != devices.OK {
		d.giveUp()
		return // the slot keeps its data
	}
	if d.kept != nil {
		d.kept.destaging = true
	}
	d.cache.Land(j.flight)
	if d.kept != nil {
		d.kept.destaging = false
	}
	j.flight = nil
	d.busy--
	d.unstall()
	d.pump()
	d.endFlushes()
}

// giveUp takes the array offline: what waits for the disk fails.
func (d *RAID) giveUp() {
	d.offline = true
	for r := d.stalled.Pop(); r != nil; r = d.stalled.Pop() {
		r.Charge(devices.DeviceQueue, d.loop.Now())
		d.finish(r, devices.EIO)
	}
	for r := d.flushes.Pop(); r != nil; r = d.flushes.Pop() {
		r.Charge(devices.FlushOthers, d.loop.Now())
		d.finish(r, devices.EIO)
	}
}
