package history

import "nbdbench/devices"

// readOrder is what READs show of the order of writes, for those who ask for it: see
// Judge.OrderByReads.
type readOrder struct {
	writes []readWrite             // by stamp
	queue  map[uint32][]readSector // by connection, or all under 0: what no FLUSH has covered
	sealed map[uint64]readSector   // by sector: the latest that a FLUSH has covered
	all    bool                    // FLUSH holds for all connections
	kept   bool                    // a good reply is a promise, without a FLUSH
}

// readWrite is a write, or its pieces.
type readWrite struct {
	ack  uint64
	open int
}

// readSector is a READ of a sector: it returned version found. All writes of the sector
// that were replied to before the READ was received took effect before found did.
type readSector struct {
	sector         uint64
	found          devices.Stamp
	received, done uint64
}

func newReadOrder(info devices.Info) *readOrder {
	return &readOrder{
		queue: map[uint32][]readSector{}, sealed: map[uint64]readSector{},
		all: info.MultiConn, kept: info.Cache != devices.CacheVolatile,
	}
}

func (o *readOrder) lane(conn uint32) uint32 {
	if o.all {
		return 0
	}
	return conn
}

// observe takes the next event. versions are what a READ that is done returned.
func (o *readOrder) observe(e *Event, versions []devices.Stamp) {
	switch {
	case e.Kind == PowerCut:
		o.powerCut(e.Seq)
	case e.Op == devices.OpWrite && e.Stamp != 0 && e.Kind == Submit:
		o.write(e.Stamp).open++
	case e.Op == devices.OpWrite && e.Stamp != 0:
		w := o.write(e.Stamp)
		w.open--
		w.ack = e.Seq
	case e.Op == devices.OpRead && e.Kind == Done && e.Errno == devices.OK:
		o.read(e, versions)
	case e.Op == devices.OpFlush && e.Kind == Done && e.Errno == devices.OK:
		o.flushed(e)
	}
}

func (o *readOrder) write(s devices.Stamp) *readWrite {
	for uint64(len(o.writes)) <= uint64(s) && s <= MaxStamp {
		o.writes = append(o.writes, readWrite{})
	}
	return &o.writes[s]
}

// read notes what a READ returned. Zeros are left out: a TRIM may take effect later.
func (o *readOrder) read(e *Event, versions []devices.Stamp) {
	first, _ := e.sectors()
	for i, v := range versions {
		if v == 0 || v >= devices.Stamp(len(o.writes)) {
			continue
		}
		r := readSector{first + uint64(i), v, e.Of, e.Seq}
		if o.kept && o.over(v, e.Seq) {
			o.seal(r)
			continue
		}
		lane := o.lane(e.Conn)
		o.queue[lane] = append(o.queue[lane], r)
	}
}

// over reports whether a write was replied to before an event.
func (o *readOrder) over(v devices.Stamp, seq uint64) bool {
	w := &o.writes[v]
	return w.open == 0 && w.ack != 0 && w.ack < seq
}

// flushed seals what was read before a FLUSH was received, if the FLUSH covers it.
func (o *readOrder) flushed(e *Event) {
	lane := o.lane(e.Conn)
	rest := o.queue[lane][:0]
	for _, r := range o.queue[lane] {
		switch {
		case r.done >= e.Of:
			rest = append(rest, r)
		case o.over(r.found, e.Of):
			o.seal(r)
		}
	}
	o.queue[lane] = rest
}

func (o *readOrder) seal(r readSector) {
	if old, ok := o.sealed[r.sector]; !ok || old.received <= r.received {
		o.sealed[r.sector] = r
	}
}

// powerCut forgets what no FLUSH has covered, and ends what is in progress.
func (o *readOrder) powerCut(seq uint64) {
	clear(o.queue)
	for i := range o.writes {
		if w := &o.writes[i]; w.open > 0 {
			w.open, w.ack = 0, seq
		}
	}
}

// legal reports whether READs leave a version of a sector possible.
func (o *readOrder) legal(sector uint64, v devices.Stamp) bool {
	r, ok := o.sealed[sector]
	return !ok || v == 0 || v == r.found || v >= devices.Stamp(len(o.writes)) || !o.over(v, r.received)
}

// OrderByReads has READs order writes: after one has returned the newer of two
// concurrent writes and a FLUSH that was received after its reply has succeeded, the
// older one is not legal any more. The reason: whoever read the newer one and had it
// flushed relies on it. The rules of NBD do not say so, and neither do those of SCSI and
// NVMe: overlapping writes in flight together may be left in either order. So it is an
// option. The FLUSH and the READ must be of one connection where FLUSH holds for one.
func (j *Judge) OrderByReads() {
	j.reads = newReadOrder(devices.Info{MultiConn: j.multiConn, Cache: devices.CacheVolatile})
}

// OrderByReads is Judge.OrderByReads.
func (l *Legal) OrderByReads() {
	info := devices.Info{MultiConn: l.multiConn, Cache: devices.CacheVolatile}
	if l.replied {
		info.Cache = devices.CacheProtected
	}
	l.reads = newReadOrder(info)
}

// A ReadSink is a Sink that also wants what READs returned, by sector. Of a READ that is
// done ObserveRead comes before Observe, with versions that are good until it returns.
type ReadSink interface {
	Sink
	ObserveRead(e *Event, versions []devices.Stamp)
}

// ObserveRead takes what a READ returned.
func (j *Judge) ObserveRead(e *Event, versions []devices.Stamp) {
	if j.reads != nil {
		j.reads.observe(e, versions)
	}
}

// ObserveRead takes what a READ returned.
func (l *Legal) ObserveRead(e *Event, versions []devices.Stamp) {
	if l.reads != nil {
		l.reads.observe(e, versions)
	}
}
