package history

import (
	"math"

	"nbdbench/devices"
)

// Legal is the set of images that a power cut may leave: for each sector all of
// the versions that the rules allow. It is a Sink. Where a Judge answers for one
// version, Legal lists them, so that whoever has an application above can try
// them all. It is as slow as lists are, about 1 µs an event, and keeps every
// write: it is for runs of some thousand requests.
type Legal struct {
	multiConn bool
	replied   bool // a good reply is a promise: nothing acknowledged can be lost
	atomic    uint64
	longest   uint64 // see bulkLength

	writes []landing // 0 is unused
	cells  grid[candidates]
	links  []link // 0 is unused; op is an index into writes
	bulks  []longRange
	reads  *readOrder          // nil unless READs order writes
	open   map[uint64]uint32   // submit to its write
	acked  map[uint32][]uint32 // by connection: replied to, for a FLUSH to promise
}

// landing is a write command and what is known of its end.
type landing struct {
	first, end  uint64 // sectors
	submit, ack uint64 // ack 0 is in progress
	shows       devices.Stamp
	conn        uint32
	trim, bulk  bool
}

// candidates are the versions that a sector may hold, latest submit first, and
// the latest promise.
type candidates struct {
	head uint32
	floor
}

// floor is the latest promised write and what promised it.
type floor struct {
	submit  uint64 // 0 is none
	covered uint64
	flushed bool
}

// longRange is a command longer than bulkLength.
type longRange struct {
	write uint32
	floor floor
}

// NewLegal returns the set of a device with the given properties. Of a device
// whose cache is not volatile, all that it acknowledged survives.
func NewLegal(info devices.Info) *Legal {
	return &Legal{
		multiConn: info.MultiConn, replied: info.Cache != devices.CacheVolatile,
		atomic: min(max(uint64(info.AtomicUnit)/devices.Sector, 1), pageSectors), longest: bulkLength,
		writes: make([]landing, 1), links: make([]link, 1), cells: newGrid[candidates](),
		open: make(map[uint64]uint32), acked: make(map[uint32][]uint32),
	}
}

// Observe takes the next event of the history.
func (l *Legal) Observe(e *Event) {
	if l.reads != nil && !(e.Op == devices.OpRead && e.Kind == Done) {
		l.reads.observe(e, nil)
	}
	switch {
	case e.Kind == PowerCut:
		l.powerCut(e.Seq)
	case e.Op.Modifies() && e.Kind == Submit:
		l.submitted(e)
	case e.Op.Modifies():
		l.done(e)
	case e.Op == devices.OpFlush && e.Kind == Done && e.Errno == devices.OK:
		l.flush(e)
	}
}

func (l *Legal) submitted(e *Event) {
	w := landing{submit: e.Seq, shows: e.Stamp, conn: e.Conn, trim: e.Op == devices.OpTrim, bulk: e.Length > l.longest}
	if e.Op != devices.OpWrite {
		w.shows = 0
	}
	w.first, w.end = e.sectors()
	id := uint32(len(l.writes))
	l.writes = append(l.writes, w)
	l.open[e.Seq] = id
	if w.bulk {
		l.bulks = append(l.bulks, longRange{write: id})
		return
	}
	for first := w.first; first < w.end; {
		var cells []candidates
		cells, first = l.cells.cells(first, w.end)
		for i := range cells {
			l.links = append(l.links, link{id, cells[i].head})
			cells[i].head = uint32(len(l.links) - 1)
		}
	}
}

func (l *Legal) done(e *Event) {
	id := l.open[e.Of]
	delete(l.open, e.Of)
	w := &l.writes[id]
	w.ack = e.Seq
	switch {
	case e.Errno != devices.OK || w.trim && !l.replied:
	case e.durable() || l.replied:
		l.promise(id, floor{w.submit, e.Seq, false})
	default:
		conn := l.lane(e.Conn)
		l.acked[conn] = append(l.acked[conn], id)
	}
}

// powerCut ends what is in progress, as a write that failed, and with it what was
// only acknowledged: no later FLUSH promises that.
func (l *Legal) powerCut(seq uint64) {
	for _, id := range l.open { // all get the same: in any order
		l.writes[id].ack = seq
	}
	clear(l.open)
	clear(l.acked)
}

func (l *Legal) lane(conn uint32) uint32 {
	if l.multiConn {
		return 0
	}
	return conn
}

// flush promises all that was replied to before the FLUSH was received.
func (l *Legal) flush(e *Event) {
	lane := l.lane(e.Conn)
	q := l.acked[lane]
	n := 0
	for ; n < len(q) && l.writes[q[n]].ack < e.Of; n++ {
		l.promise(q[n], floor{l.writes[q[n]].submit, e.Seq, true})
	}
	l.acked[lane] = q[n:]
}

// promise makes a write durable.
func (l *Legal) promise(id uint32, f floor) {
	w := &l.writes[id]
	if w.trim {
		return
	}
	if w.bulk {
		for i := range l.bulks {
			if l.bulks[i].write == id {
				l.bulks[i].floor = f
			}
		}
		return
	}
	for first := w.first; first < w.end; {
		var cells []candidates
		cells, first = l.cells.cells(first, w.end)
		for i := range cells {
			if f.submit > cells[i].submit {
				cells[i].floor = f
				cells[i].head = l.prune(cells[i].head, f.submit)
			}
		}
	}
}

// prune is the chain without what was complete before a promised write was
// received. Chains are shared, so that a new one is made.
func (l *Legal) prune(head uint32, floor uint64) uint32 {
	var keep []uint32
	for at := head; at != 0; at = l.links[at].prev {
		if w := &l.writes[l.links[at].op]; w.ack == 0 || w.ack > floor {
			keep = append(keep, l.links[at].op)
		}
	}
	head = 0
	for i := len(keep) - 1; i >= 0; i-- {
		l.links = append(l.links, link{keep[i], head})
		head = uint32(len(l.links) - 1)
	}
	return head
}

// At appends the versions that a sector may hold to into, oldest first, each
// once. What the device held at first is version 0, and so are zeros.
func (l *Legal) At(sector uint64, into []devices.Stamp) []devices.Stamp {
	var c candidates
	if p := l.cells.at(sector); p != nil {
		c = *p
	}
	f := l.floorOf(&c, sector)
	from := len(into)
	into = l.list(&c, f, sector, into)
	if l.reads == nil {
		return into
	}
	kept := into[:from]
	for _, v := range into[from:] {
		if l.reads.legal(sector, v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// Covered is the completion that made the latest promise of a sector, and
// whether it was a FLUSH; 0 if nothing is promised there.
func (l *Legal) Covered(sector uint64) (event uint64, flush bool) {
	var c candidates
	if p := l.cells.at(sector); p != nil {
		c = *p
	}
	f := l.floorOf(&c, sector)
	return f.covered, f.flushed
}

// floorOf is the latest promise, long commands included.
func (l *Legal) floorOf(c *candidates, sector uint64) floor {
	f := c.floor
	for i := range l.bulks {
		if b := &l.bulks[i]; b.floor.submit > f.submit && l.writes[b.write].covers(sector) {
			f = b.floor
		}
	}
	return f
}

func (w *landing) covers(sector uint64) bool { return w.first <= sector && sector < w.end }

func (w *landing) possible(floor uint64) bool { return w.ack == 0 || w.ack > floor }

func (l *Legal) list(c *candidates, f floor, sector uint64, into []devices.Stamp) []devices.Stamp {
	from := len(into)
	if f.submit == 0 {
		into = append(into, 0)
	}
	for i := range l.bulks {
		if w := &l.writes[l.bulks[i].write]; w.covers(sector) && w.possible(f.submit) {
			into = appendOnce(into, from, w.shows)
		}
	}
	chain := len(into)
	for at := c.head; at != 0; at = l.links[at].prev {
		if w := &l.writes[l.links[at].op]; w.possible(f.submit) {
			into = appendOnce(into, from, w.shows)
		}
	}
	for i, j := chain, len(into)-1; i < j; i, j = i+1, j-1 {
		into[i], into[j] = into[j], into[i]
	}
	return into
}

func appendOnce(s []devices.Stamp, from int, v devices.Stamp) []devices.Stamp {
	for _, x := range s[from:] {
		if x == v {
			return s
		}
	}
	return append(s, v)
}

// Touched visits every sector that was written, page by page in the order in which the
// pages were first written, until visit returns an error, which it returns. Sectors that
// only commands of more than 32 MiB touched are not looked at.
func (l *Legal) Touched(visit func(sector uint64) error) error {
	for i := range l.cells.pages {
		first := l.cells.pages[i].number * pageSectors
		for s := first; s < first+pageSectors; s++ {
			if err := visit(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// Place is a range of sectors within one atomic unit that survive together,
// with what they may hold: more than one version, oldest first.
type Place struct {
	First, End uint64 // sectors
	Versions   []devices.Stamp
}

// Places visits the places that are not decided, page by page in the order in
// which the pages were first written. Sectors that only commands of more than 32
// MiB touched are not looked at.
func (l *Legal) Places(visit func(Place)) {
	for i := range l.cells.pages {
		first := l.cells.pages[i].number * pageSectors
		for at := first; at < first+pageSectors; at += l.atomic {
			l.unit(at, at+l.atomic, visit)
		}
	}
}

// unit visits the places of one atomic unit: sectors of which the lists agree.
func (l *Legal) unit(at, end uint64, visit func(Place)) {
	for at < end {
		p := Place{First: at, End: at + 1, Versions: l.At(at, nil)}
		for p.End < end && same(p.Versions, l.At(p.End, nil)) {
			p.End++
		}
		if len(p.Versions) > 1 {
			visit(p)
		}
		at = p.End
	}
}

func same(a, b []devices.Stamp) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Log2 is the binary logarithm of the number of images that are legal now.
func (l *Legal) Log2() float64 {
	bits := 0.0
	l.Places(func(p Place) { bits += math.Log2(float64(len(p.Versions))) })
	return bits
}
