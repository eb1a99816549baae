package fault

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// Device is what faults are put around: a simulated device of package catalog.
type Device interface {
	devices.Device
	Stats() devices.Stats
	Cut(seed sim.Seed) *drive.Cut
}

// Garbage is the version of a sector that holds nothing anybody wrote.
const Garbage devices.Stamp = 1 << 62

// Wrap puts the plan's faults around a device.
func (p Plan) Wrap(loop *sim.Loop, d Device, seed sim.Seed) (Device, error) {
	for _, f := range p { // in the device, whatever their place
		if err := f.breaks(d); err != nil {
			return nil, err
		}
	}
	for i, f := range p {
		w := &faulty{Device: d, loop: loop, fault: f, info: d.Info(), draw: seed.Stream(fmt.Sprintf("fault/%d/%s", i, f.Kind))}
		w.submit = submits[f.Kind]
		if w.submit != nil || cuts[f.Kind] != nil {
			d = w
		}
	}
	return d, nil
}

// defects are the faults that are in the cache itself.
var defects = map[Kind]drive.Defect{
	FlushSkipsInflight: drive.DefectFlushMissesFlights,
	StaleAfterFUA:      drive.DefectStaleCopyAfterFUA,
}

func (f Fault) breaks(d Device) error {
	if u, ok := d.(interface{ Unsaved() bool }); f.Kind == NoCapacitor && (!ok || !u.Unsaved()) {
		return fmt.Errorf("%s: expected a device that was opened without its capacitor, see catalog.Profile.WithoutCapacitor", f.Kind)
	}
	defect, ok := defects[f.Kind]
	if !ok {
		return nil
	}
	c, ok := d.(interface{ Cache() *drive.Cache })
	if !ok || c.Cache() == nil {
		return fmt.Errorf("%s: expected a device with a volatile cache", f.Kind)
	}
	c.Cache().Break(defect)
	return nil
}

// faulty is a device with one fault.
type faulty struct {
	Device
	loop  *sim.Loop
	fault Fault
	info  devices.Info
	draw  sim.Stream
	// submit serves a request; nil forwards it.
	submit func(d *faulty, r *devices.Request)

	n      uint64 // requests of the fault's kind so far
	seen   uint64 // all requests
	free   devices.Freelist
	narrow []*devices.Request // writes in progress that are not whole physical blocks
}

// Info is what the device says of itself.
func (d *faulty) Info() devices.Info { return d.info }

// Submit serves r, well or badly.
func (d *faulty) Submit(r *devices.Request) {
	d.seen++
	if d.submit == nil {
		d.Device.Submit(r)
		return
	}
	d.submit(d, r)
}

// submits are the faults that show in how requests are served.
var submits = map[Kind]func(d *faulty, r *devices.Request){
	LyingFlush:     lyingFlush,
	FUAIgnored:     fuaIgnored,
	Lost:           lost,
	Misdirected:    misdirected,
	EIORead:        eio(devices.OpRead),
	EIOWrite:       eio(devices.OpWrite),
	EIOFlush:       eio(devices.OpFlush),
	Slow:           slow,
	Dead:           dead,
	Collateral512e: narrow,
}

// due reports whether the fault strikes now: one of Every, drawn.
func (d *faulty) due() bool {
	d.n++
	return d.draw.Uint64N(d.fault.Every, d.n, 0) == 0
}

// The meanings of a request's timer while a faulty device holds it.
const (
	tagAnswer = iota // it ends with the error that it carries
	tagGo            // it goes on to the device
)

// answer ends r after a while without the device.
func (d *faulty) answer(r *devices.Request, e devices.Errno, after sim.Duration) {
	r.Errno = e
	r.Timer.Owner, r.Timer.Tag = r, tagAnswer
	d.loop.After(&r.Timer, after, d)
}

// Fire ends what was answered, and forwards what was held up.
func (d *faulty) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	r.Charge(devices.CacheStage, d.loop.Now())
	if t.Tag == tagGo {
		d.Device.Submit(r)
		return
	}
	r.Finish(r.Errno)
}

// send submits a changed copy of r, which ends r.
func (d *faulty) send(r *devices.Request, change func(c *devices.Request)) {
	c := d.free.Get()
	c.Op, c.Flags, c.Offset, c.Length, c.Payload = r.Op, r.Flags, r.Offset, r.Length, r.Payload
	c.Conn, c.Stream, c.Txn, c.Step, c.Intended = r.Conn, r.Stream, r.Txn, r.Step, r.Intended
	c.Ref, c.Completer = r, d
	c.Submitted = d.loop.Now()
	c.Begin(c.Submitted)
	change(c)
	d.Device.Submit(c)
}

// Done ends the request of which c was a copy.
func (d *faulty) Done(c *devices.Request) {
	r := c.Ref.(*devices.Request)
	if r == nil {
		panic("fault: a copy without its request")
	}
	r.Absorb(devices.DeviceQueue, c.Submitted, c)
	e := c.Errno
	if c.Slot == failed {
		e = devices.EIO
	}
	d.free.Put(c)
	r.Finish(e)
}

// failed in a copy's Slot says that its request is to get an error.
const failed = 1

func lyingFlush(d *faulty, r *devices.Request) {
	if r.Op == devices.OpFlush {
		d.answer(r, devices.OK, d.fault.Time)
		return
	}
	d.Device.Submit(r)
}

func fuaIgnored(d *faulty, r *devices.Request) {
	if r.Durable() {
		d.send(r, func(c *devices.Request) { c.Flags &^= devices.FUA })
		return
	}
	d.Device.Submit(r)
}

func lost(d *faulty, r *devices.Request) {
	if r.Op == devices.OpWrite && d.due() {
		d.answer(r, devices.OK, 0)
		return
	}
	d.Device.Submit(r)
}

// physical is the block in which a 512e disk writes.
const physical = 4096

func misdirected(d *faulty, r *devices.Request) {
	if r.Op != devices.OpWrite || !d.due() {
		d.Device.Submit(r)
		return
	}
	d.send(r, func(c *devices.Request) {
		if c.Offset += physical; c.End() > d.info.Size {
			c.Offset = 0
		}
	})
}

// eio fails commands of one kind. Of the writes that fail every other one has
// been done.
func eio(op devices.Op) func(d *faulty, r *devices.Request) {
	return func(d *faulty, r *devices.Request) {
		switch {
		case r.Op != op || !d.due():
			d.Device.Submit(r)
		case op == devices.OpWrite && d.draw.Uint64(d.n, 1)&1 == 1:
			d.send(r, func(c *devices.Request) { c.Slot = failed })
		default:
			d.answer(r, devices.EIO, 0)
		}
	}
}

func slow(d *faulty, r *devices.Request) {
	if !d.due() {
		d.Device.Submit(r)
		return
	}
	r.Timer.Owner, r.Timer.Tag = r, tagGo
	d.loop.After(&r.Timer, d.fault.Time, d)
}

func dead(d *faulty, r *devices.Request) {
	if d.seen > d.fault.After {
		d.answer(r, devices.EIO, 0)
		return
	}
	d.Device.Submit(r)
}

// narrow remembers the writes in progress that are not whole physical blocks.
func narrow(d *faulty, r *devices.Request) {
	if r.Op != devices.OpWrite || (r.Offset|r.Length)%physical == 0 {
		d.Device.Submit(r)
		return
	}
	d.narrow = append(d.narrow, r)
	r.Ref, r.Completer = &held{r.Ref, r.Completer, d}, done{}
	d.Device.Submit(r)
}

// held is what a request had before narrow took its place.
type held struct {
	ref       any
	completer devices.Completer
	d         *faulty
}

type done struct{}

func (done) Done(r *devices.Request) {
	h := r.Ref.(*held)
	for i, n := range h.d.narrow {
		if n == r {
			h.d.narrow = append(h.d.narrow[:i], h.d.narrow[i+1:]...)
			break
		}
	}
	r.Ref, r.Completer = h.ref, h.completer
	r.Completer.Done(r)
}
