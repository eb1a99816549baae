package plugin

import (
	"context"
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/sim"
)

// Handle is a plugin opened for one connection, as a Device. It belongs to the loop.
// It carries out what was resolved when it was opened: an emulated FUA is the call and
// then the flush on one worker, as in nbdkit.
type Handle struct {
	host    *Host
	pool    *pool
	id      ConnInfo
	fail    func()
	ready   chan struct{} // closed once it is open or err is set
	err     error
	conn    *Conn
	info    devices.Info
	text    string // its description
	res     fua.Resolution
	program *fua.Program

	calls    int    // submitted and not returned
	panicked string // what a call panicked with, for report; the worker's until complete
	broken   bool   // one did: no more calls
	answered bool   // ready is closed
	closing  bool
	closes   bool // the last call has been submitted
}

// Info is what was resolved.
func (d *Handle) Info() devices.Info { return d.info }

// Description is for people to read; it may be empty.
func (d *Handle) Description() string { return d.text }

// Resolution is what the connection is promised.
func (d *Handle) Resolution() fua.Resolution { return d.res }

// begin opens the plugin, or waits for the connection before. On the loop.
func (d *Handle) begin() {
	h := d.host
	h.handles[d] = true
	switch {
	case h.plugin.Thread != SerializeConnections || h.current == nil:
		d.start()
	case h.shared.isLost():
		d.answer(&answers{err: errWorkers})
	case h.o.Real == nil:
		d.answer(&answers{err: fmt.Errorf("the plugin %s serves one connection at a time", h.plugin.Name)})
	default:
		h.waiting = append(h.waiting, d)
	}
}

func (d *Handle) start() {
	h := d.host
	if h.plugin.Thread == SerializeConnections {
		h.current = d
	}
	if h.inline != nil {
		d.answer(h.negotiate(context.Background(), d.id, func() {}))
		return
	}
	var a *answers
	t := &task{owner: d, run: func(w *worker) { a = h.negotiate(w.ctx, d.id, w.step) }}
	t.then = func(e devices.Errno) {
		if err := h.failure(&t.Request, e); err != nil {
			if l := t.Loan; l != nil {
				l.Returned = func() { d.conn = a.conn } // what is opened so late is closed
			}
			d.answer(&answers{err: err})
			return
		}
		d.answer(a)
	}
	d.pool.submit(&t.Request, t)
}

// answer ends the negotiation.
func (d *Handle) answer(a *answers) {
	if d.conn = a.conn; a.err == nil {
		d.info, d.text, d.res, d.program = a.info(), a.text, a.res, fua.NewProgram(a.res)
	}
	d.err, d.answered = a.err, true
	close(d.ready)
	if d.err != nil {
		d.Close()
	}
}

// wait waits until d is open. Where it is not in time, it is closed once it is.
func (d *Handle) wait(ctx context.Context) error {
	if d.host.o.Real == nil {
		return d.err
	}
	if await(ctx, d.ready) != nil {
		d.host.o.Real.Do(d.Close)
		return ctx.Err()
	}
	return d.err
}

// Submit runs r's calls on a worker, or on the loop.
func (d *Handle) Submit(r *devices.Request) {
	d.calls++
	switch h := d.host; {
	case h.inline != nil || d.broken:
		r.Timer.Owner = r
		h.o.Loop.After(&r.Timer, 0, d)
	default:
		r.Timer.Owner = d
		d.pool.submitted(r)
	}
}

// Fire carries out a request on the loop, or refuses it.
func (d *Handle) Fire(t *sim.Timer) {
	r, e := t.Owner.(*devices.Request), devices.EIO
	if w := d.host.inline; w != nil && !d.broken {
		w.take(r, d, nil)
		e = w.do()
		d.panicked = w.panicked
		d.check()
	}
	d.done(r, e)
}

// done completes a request.
func (d *Handle) done(r *devices.Request, e devices.Errno) {
	r.Charge(devices.MediaStage, d.host.o.Loop.Now())
	l := r.Loan
	r.Finish(e)
	if l != nil { // who submitted it may have set Returned
		free := l.Returned
		l.Returned = func() {
			if free != nil {
				free()
			}
			d.returned()
		}
		return
	}
	d.returned()
}

// late fails a request whose call has taken too long, or for which no worker is left.
func (d *Handle) late(r *devices.Request) {
	if r.Loan != nil {
		d.host.report("connection %d: %v has not returned within %v", d.id.ID, r, d.host.o.Timeout)
	}
	d.done(r, devices.EIO)
}

// returned counts a call, or several of one request, that has returned.
func (d *Handle) returned() {
	d.calls--
	d.end()
}

// check ends the connection if a call has panicked.
func (d *Handle) check() {
	if d.panicked == "" || d.broken {
		return
	}
	d.broken = true
	d.host.report("connection %d ends: %s", d.id.ID, d.panicked)
	if d.fail != nil {
		d.fail()
	}
}

// Close closes the plugin for this connection, once its calls have returned.
func (d *Handle) Close() {
	d.closing = true
	d.end()
}

// end submits Close once nothing else is left to be done.
func (d *Handle) end() {
	h := d.host
	if !d.closing || d.closes || d.calls > 0 {
		return
	}
	if !d.answered { // it waits for another connection
		d.forget()
		return
	}
	d.closes = true
	switch {
	case d.conn == nil || d.conn.Close == nil:
		d.closed()
	case h.inline != nil:
		d.shut()
		d.closed()
	default:
		t := &task{owner: d, keep: true, run: func(*worker) { d.shut() }}
		t.then = func(devices.Errno) {
			if t.Loan != nil {
				h.report("connection %d: close has not returned within %v", d.id.ID, h.o.Timeout)
			}
		}
		d.pool.submit(&t.Request, t)
	}
}

// shut calls Close.
func (d *Handle) shut() {
	defer func() {
		if v := recover(); v != nil {
			d.host.report("connection %d: the plugin panicked in close: %v", d.id.ID, v)
		}
	}()
	d.conn.Close()
}

// forget takes d out of those that wait.
func (d *Handle) forget() {
	h := d.host
	for i, w := range h.waiting {
		if w == d {
			h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
			break
		}
	}
	delete(h.handles, d)
}

// closed lets the next connection open.
func (d *Handle) closed() {
	h := d.host
	delete(h.handles, d)
	if h.current != d {
		return
	}
	h.current = nil
	if len(h.waiting) > 0 {
		next := h.waiting[0]
		h.waiting = h.waiting[1:]
		next.start()
	}
}
