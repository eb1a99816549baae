package ssd

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/ssd/ftl"
	"nbdbench/sim"
)

// flash joins the controller to the dies: it hands them what the drive wants to
// be written, and notifies the controller when it is.
type flash struct {
	d        *Device
	n        *nand
	capacity uint64 // of a protected cache; 0 is without limit
	used     uint64 // of it
	jobs     *job   // unused
	readings *reading
}

func newFlash(d *Device, common *drive.Config, seed sim.Seed) *flash {
	f := &flash{d: d, capacity: common.Capacity}
	f.n = newNAND(d.cfg.Flash, d.loop, common.Info.Size, seed, f)
	return f
}

func (f *flash) newJob() *job {
	j := f.jobs
	if j == nil {
		j = &job{}
	} else {
		f.jobs = j.next
	}
	*j = job{begun: true}
	return j
}

func (f *flash) freeJob(j *job) {
	j.unit, j.flight, j.next = nil, nil, f.jobs
	f.jobs = j
}

// put hands what a flight carries to the dies.
func (f *flash) put(j *job, fl *drive.Flight) {
	for i := range fl.Pieces() {
		if off, end, zero := fl.Piece(i); !zero {
			f.n.layer.Expect(off/f.n.unit, (end+f.n.unit-1)/f.n.unit)
		}
	}
	for i := range fl.Pieces() {
		off, end, zero := fl.Piece(i)
		f.n.write(j, off, end, zero)
	}
}

// flush begins FLUSH r on unit u: everything that it covers goes to the dies, and
// the row that is open is padded. What remains to be done then is the base cost.
func (f *flash) flush(u *unit, r *devices.Request, bytes, own uint64, whole bool, factor float64) {
	d := f.d
	u.flush, u.own, u.bytes, u.factor = r, own, bytes, factor
	if bytes == 0 {
		if c := d.Cache(); c != nil && !c.Clean(r.Seq) {
			f.n.pad()
		}
		takes := d.cfg.FlushClean
		if whole {
			u.base = d.flushBase(r)
			takes = u.base + d.cfg.Flash.Journal
		}
		service := u.pool.contended(d.scaled(takes, factor))
		r.Charge(devices.MediaStage, d.loop.Now().Add(service))
		d.startUnit(u, service)
		return
	}
	u.base = d.flushBase(r)
	fl := d.Cache().Depart()
	d.Cache().TakeUpTo(fl, r.Seq, ^uint64(0))
	d.join(u)
	f.carry(u, fl)
}

// carry sends a FLUSH's flight to the dies.
func (f *flash) carry(u *unit, fl *drive.Flight) {
	u.flight = fl
	j := f.occupy(u)
	f.put(j, fl)
	f.launch(j)
}

// through sends writes that go past the cache to the dies, as one job.
func (f *flash) through(u *unit, factor float64) {
	u.factor = factor
	j := f.occupy(u)
	for r := u.writes.Peek(); r != nil; r = r.Next {
		f.n.write(j, r.Offset, r.End(), r.Op != devices.OpWrite)
	}
	f.launch(j)
}

func (f *flash) occupy(u *unit) *job {
	u.occupy()
	j := f.newJob()
	j.unit = u
	return j
}

// launch pads the open row, which holds the last of j.
func (f *flash) launch(j *job) {
	f.n.pad()
	j.begun = false
	if j.left == 0 {
		f.landed(j)
	}
}

// landed is called when all rows that hold part of j are programmed.
func (f *flash) landed(j *job) {
	d := f.d
	switch {
	case j.unit != nil && d.cfg.Flash.Journal > 0 && !j.journal && (j.unit.flush != nil || j.unit.promise):
		j.journal = true
		f.n.journalize(j)
	case j.unit != nil:
		u := j.unit
		f.freeJob(j)
		f.conclude(u)
	case j.flight != nil:
		d.Land(j.flight)
		f.freeJob(j)
		d.recheck()
		d.Kick()
	default:
		f.used -= j.bytes
		f.freeJob(j)
		d.Readmit()
		f.destage()
	}
}

// promises reports whether write r says that data is durable. One that was only
// too long for the cache does not.
func (d *Device) promises(r *devices.Request) bool {
	return r.Flags&devices.FUA != 0 || d.Cache() == nil
}

// conclude does the part of a FLUSH or FUA that is not the dies': the firmware's.
func (f *flash) conclude(u *unit) {
	d, r, now := f.d, u.flush, f.d.loop.Now()
	others := len(u.pool.units) - u.pool.idle - 1
	if r == nil {
		d.loop.After(&u.timer, max(u.pool.beside(others, d.writeTime(u, u.factor)), u.ready.Sub(now)), u)
		return
	}
	since := r.Charged()
	r.Charge(devices.MediaStage, since.Add(d.scaled(now.Sub(since), float64(u.own)/float64(max(u.bytes, 1)))))
	r.Charge(devices.FlushOthers, now)
	service := u.pool.beside(others, d.scaled(u.base, u.factor))
	if u.own > 0 {
		r.Charge(devices.MediaStage, now.Add(service))
	}
	d.loop.After(&u.timer, service, u)
}

// destage sends dirty data to the dies in the background, a row at a time, and
// does what a drive does while it rests.
func (f *flash) destage() {
	d := f.d
	if d.Cache() != nil {
		f.destageCache()
	}
	f.unstick()
	if d.Resting() && (d.Cache() == nil || d.Cache().Extents() == 0) {
		f.rest()
	}
}

func (f *flash) destageCache() {
	d, landed := f.d, false
	limit := d.cfg.Flash.depth() * len(f.n.dies)
	for f.n.out < limit && d.Background() {
		fl := d.Cache().Depart()
		d.Cache().TakeUpTo(fl, ^uint64(0), d.cfg.Flash.Row())
		if fl.Pieces() == 0 {
			d.Land(fl)
			break
		}
		j := f.newJob()
		j.flight = fl
		f.put(j, fl)
		j.begun = false
		if j.left == 0 { // nothing but zeros
			d.Land(fl)
			f.freeJob(j)
			landed = true
		}
	}
	if landed {
		d.recheck()
	}
}

// rest pads what is open, and folds pSLC as long as nothing comes.
func (f *flash) rest() {
	f.n.pad()
	for f.n.moving < len(f.n.dies) && f.n.layer.Fold() {
	}
}

// unstick pads the open row where what a FLUSH or all that writes wait for may be
// in it.
func (f *flash) unstick() {
	if f.d.blocked.Len() > 0 || f.d.Stalled() > 0 && f.n.out == 0 {
		f.n.pad()
	}
}

// programmed is called when a row is programmed.
func (f *flash) programmed() {
	f.unstick()
	if f.d.Resting() {
		f.destage()
	}
}

// HasBackgroundWork reports whether the drive has work for when it is idle.
func (d *Device) HasBackgroundWork() bool {
	return d.flash != nil && (len(d.flash.n.open) > 0 || d.flash.n.layer.Foldable())
}

// Admit takes a write into the buffer of a drive whose cache is protected.
func (d *Device) Admit(r *devices.Request) bool {
	f := d.flash
	if f == nil {
		return d.backlog.admit(r)
	}
	bytes := uint64(0)
	if r.Op == devices.OpWrite {
		bytes = r.Length
	}
	if f.capacity > 0 && f.used > 0 && f.used+bytes > f.capacity {
		if f.n.out == 0 {
			f.n.pad()
		}
		return false
	}
	j := f.newJob()
	j.bytes = bytes
	f.used += bytes
	f.n.write(j, r.Offset, r.End(), r.Op != devices.OpWrite)
	j.begun = false
	if j.left == 0 {
		f.used -= bytes
		f.freeJob(j)
	}
	return true
}

// reading is a read on its way through the dies.
type reading struct {
	f     *flash
	r     *devices.Request
	left  int
	begun bool     // one of its operations has been on a die
	ready sim.Time // when the last of its data is in the controller
	next  *reading
}

// read has the dies read what they hold of r's range: one operation for all that
// is in one page of a row.
func (f *flash) read(r *devices.Request) {
	rd := f.readings
	if rd == nil {
		rd = &reading{}
	} else {
		f.readings = rd.next
	}
	*rd = reading{f: f, r: r, left: 1}
	n := f.n
	var last *op
	var lastPage uint32
	for u := r.Offset / n.unit; u*n.unit < r.End(); u++ {
		row, place, ok := n.layer.Lookup(u)
		switch {
		case ok && n.isPending(row):
			continue // in the buffer
		case !ok && n.cfg.ReadsUnwritten:
			row = ftl.Row{Index: uint32(u % uint64(n.cfg.rows(len(n.dies))))}
		case !ok:
			continue // zeros
		}
		if page := place / n.page; last == nil || last.row != row || lastPage != page {
			last, lastPage = n.newOp(opRead, n.readTime(row, page), 0), page
			last.row, last.read = row, rd
			rd.left++
			n.locate(n.dieOf(row, u), last, u, false)
		}
		last.bytes += n.moved(u, r)
	}
	rd.part(f.d.loop.Now())
}

// part is called when data of one operation is in the controller.
func (rd *reading) part(there sim.Time) {
	rd.ready = max(rd.ready, there)
	if rd.left--; rd.left > 0 {
		return
	}
	d, r := rd.f.d, rd.r
	done := d.toHost(r, rd.ready)
	if rd.begun {
		r.Charge(devices.MediaStage, done)
	} else {
		r.Charge(devices.CacheStage, done)
	}
	rd.r, rd.next = nil, rd.f.readings
	rd.f.readings = rd
	d.loop.At(&r.Timer, done, d)
}

// Stats returns the drive's counters, with what the translation layer has
// written.
func (d *Device) Stats() devices.Stats {
	s := d.Drive.Stats()
	if d.flash == nil {
		return s
	}
	n := d.flash.n
	l := n.layer.Stats()
	s.MediaWrittenBytes = l.Written()*n.unit + n.journal*n.cfg.Page
	s.MovedBytes = (l.Moved + l.Folded) * n.unit
	s.PaddingBytes = l.Padding * n.unit
	s.Erases = l.Erases
	return s
}
