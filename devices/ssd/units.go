package ssd

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// pool is units that serve the same queue.
type pool struct {
	units []unit
	idle  int // without work
}

func newPool(d *Device, n int) *pool {
	p := &pool{units: make([]unit, n), idle: n}
	for i := range p.units {
		p.units[i].d, p.units[i].pool = d, p
	}
	return p
}

// free is a unit without work, or nil.
func (p *pool) free() *unit {
	for i := range p.units {
		if !p.units[i].busy {
			return &p.units[i]
		}
	}
	return nil
}

// contended is how long service takes on a unit that starts now.
func (p *pool) contended(service sim.Duration) sim.Duration {
	return p.beside(len(p.units)-p.idle, service)
}

// beside is how long service takes while others of the pool's units work.
func (p *pool) beside(others int, service sim.Duration) sim.Duration {
	if others > 0 && len(p.units) > 0 {
		d := p.units[0].d
		return d.scaled(service, 1+d.cfg.Contention)
	}
	return service
}

func (u *unit) occupy() {
	u.pool.idle--
	u.busy = true
}

func (d *Device) startUnit(u *unit, service sim.Duration) {
	u.occupy()
	d.loop.After(&u.timer, service, u)
}

func (d *Device) scaled(t sim.Duration, factor float64) sim.Duration {
	return sim.Duration(float64(t) * factor)
}

// batch is the writes that wait for a program, where programs have units of their
// own, and the hold-off of the oldest.
type batch struct {
	d       *Device
	waiting devices.Queue
	holdOff sim.Timer
}

// Fire ends the hold-off of the write that has waited longest.
func (b *batch) Fire(*sim.Timer) { b.d.Kick() }

// programDue reports whether a write through the cache is to start now: enough of
// them wait, or the oldest has waited for long enough. Otherwise it is looked at
// again when it has.
func (d *Device) programDue() bool {
	if d.writers == d.flushers {
		return d.Host().Len() > 0
	}
	oldest := d.batch.waiting.Peek()
	if oldest == nil {
		return false
	}
	due := oldest.Charged().Add(d.cfg.FUAHoldOff)
	if d.batch.waiting.Len() >= d.cfg.FUABatch || d.loop.Now() >= due {
		return true
	}
	if !d.batch.holdOff.Pending() {
		d.loop.At(&d.batch.holdOff, due, &d.batch)
	}
	return false
}

// startWrites has unit u serve the oldest writes that go through the cache: one,
// or what a program of a batch takes.
func (d *Device) startWrites(u *unit) {
	if d.writers == d.flushers {
		d.take(u, d.NextHost())
	} else {
		for range d.cfg.FUABatch {
			r := d.batch.waiting.Pop()
			if r == nil {
				break
			}
			d.take(u, r)
		}
	}
	factor := d.spread(u.writes.Peek())
	if d.flash != nil {
		d.flash.through(u, factor)
		return
	}
	d.program(u.written)
	d.startUnit(u, max(u.pool.contended(d.writeTime(u, factor)), u.ready.Sub(d.loop.Now())))
}

// take adds write r to what unit u writes. Its data comes while the unit is at work:
// units side by side have no more than the controller takes, one write after another.
func (d *Device) take(u *unit, r *devices.Request) {
	d.Begin(r)
	now, takes := d.loop.Now(), d.serialTime(r)
	u.ready = d.occupy(now, r).Add(takes)
	if u.writes.Len() == 0 {
		u.ack, u.written = d.cfg.Parallel, 0
	}
	u.ack += takes
	if r.Op == devices.OpWrite {
		u.written += r.Length
	}
	u.promise = u.promise || d.promises(r)
	r.Charge(devices.DeviceQueue, now)
	r.Charge(devices.CacheStage, now.Add(u.ack))
	u.writes.Push(r)
}

// writeTime is how long the unit's writes take, without the dies. One that is only too
// long for the cache is written without a promise, which the next FLUSH makes.
func (d *Device) writeTime(u *unit, factor float64) sim.Duration {
	t := u.ack
	if d.flash == nil {
		t += d.cfg.FlushPerStripe * sim.Duration((max(u.written, 1)-1)/d.cfg.Stripe)
	}
	if u.promise {
		t += d.scaled(d.cfg.FUABase, factor)
	}
	return t
}

// programs is what the dies write, in the form that is laws alone: a die is busy for
// Program with each ProgramSize bytes, the dies one after another.
type programs struct {
	busy  []sim.Time // until when each die is
	bytes uint64     // since the last program
	next  uint64     // the die whose turn it is
}

// until is until when a die is busy with programs.
func (p *programs) until(die uint64) sim.Time {
	if p.busy == nil {
		return 0
	}
	return p.busy[die]
}

// program has dies write bytes. A die has no more than two programs before a read:
// what is written faster than they take it waits elsewhere.
func (d *Device) program(bytes uint64) {
	p := &d.programs
	if p.busy == nil {
		return
	}
	p.bytes += bytes
	now, n := d.loop.Now(), p.bytes/d.cfg.ProgramSize
	p.bytes %= d.cfg.ProgramSize
	for range min(n, uint64(len(p.busy))) {
		die := &p.busy[p.next%uint64(len(p.busy))]
		*die = min(max(*die, now).Add(d.cfg.Program), now.Add(2*d.cfg.Program))
		p.next++
	}
}
