package history

import (
	"fmt"

	"nbdbench/devices"
)

// MaxStamp bounds the stamps, which index a table.
const MaxStamp devices.Stamp = 1 << 28

// Judge knows from requests and replies alone what a device has promised, and
// says which versions of a sector a power cut may leave. It is a Sink.
type Judge struct {
	multiConn bool
	anyFlush  bool // a FLUSH has succeeded
	promises  uint64

	promisedOnly bool       // see PromisedOnly
	reads        *readOrder // nil unless READs order writes

	atomic  uint64 // sectors of an atomic unit, 1 to pageSectors
	longest uint64 // see bulkLength

	versions []version // by stamp
	cells    grid[cell]
	bulks    []bulk
	// acked are the writes that were replied to without error and that only a
	// FLUSH can promise: by connection, or all under 0 where FLUSH holds for all.
	acked map[uint32]*fifo
}

// version is a write command, or its pieces.
type version struct {
	first, end uint64 // sectors; from the first piece to the last
	ack        uint64 // the latest completion
	open       uint32 // pieces in progress
	known      bool
	promised   bool // all of it, or a piece
	ragged     bool // it may cover a part of an atomic unit: a TRIM, or in pieces
}

// cell is what is known of a sector, or of a page's sectors alike.
type cell struct {
	floor    uint64        // when the latest of the promised writes was received
	second   uint64        // ... and the latest but one
	covered  uint64        // the completion that promised the latest
	promised devices.Stamp // the latest's stamp
	zeroes   zeroes
	flushed  bool // the latest was promised by a FLUSH
}

// bulk is a command longer than bulkLength.
type bulk struct {
	first, end uint64
	submit     uint64
	cell       cell
}

// write is one that a FLUSH may promise.
type write struct {
	first, end  uint64
	submit, ack uint64
	stamp       devices.Stamp
	bulk        bool
}

// fifo is a queue of writes in the order of their completion.
type fifo struct {
	items []write
	head  int
}

// NewJudge returns the judge of a device with the given properties: of these,
// MultiConn and AtomicUnit count.
func NewJudge(info devices.Info) *Judge {
	return &Judge{
		multiConn: info.MultiConn,
		atomic:    min(max(uint64(info.AtomicUnit)/devices.Sector, 1), pageSectors),
		longest:   bulkLength,
		cells:     newGrid[cell](),
		acked:     make(map[uint32]*fifo),
	}
}

// Observe takes the next event of the history.
func (j *Judge) Observe(e *Event) {
	if j.reads != nil && !(e.Op == devices.OpRead && e.Kind == Done) {
		j.reads.observe(e, nil)
	}
	switch {
	case e.Kind == PowerCut:
		j.powerCut(e.Seq)
	case e.Op.Modifies() && e.Kind == Submit:
		j.submitted(e)
	case e.Op.Modifies():
		j.replied(e)
	case e.Op == devices.OpFlush && e.Kind == Done && e.Errno == devices.OK:
		j.flushed(e)
	}
}

func (j *Judge) submitted(e *Event) {
	first, end := e.sectors()
	if e.Stamp != 0 {
		j.version(e.Stamp).begin(first, end, e.Op == devices.OpTrim)
	}
	if j.isBulk(e) {
		b := bulk{first: first, end: end, submit: e.Seq}
		if e.plain() {
			b.cell.zeroes.open++
		}
		j.bulks = append(j.bulks, b)
		return
	}
	plain := e.plain()
	if !plain && j.promisedOnly {
		return
	}
	for first < end {
		var cells []cell
		cells, first = j.cells.cells(first, end)
		for i := range cells {
			if plain {
				cells[i].zeroes.open++
			}
		}
	}
}

func (j *Judge) isBulk(e *Event) bool { return e.Length > j.longest }

// version returns the version with stamp s, making room for it.
func (j *Judge) version(s devices.Stamp) *version {
	if s > MaxStamp {
		panic(fmt.Sprintf("history: stamp %d is above %d", s, MaxStamp))
	}
	for uint64(len(j.versions)) <= uint64(s) {
		j.versions = append(j.versions, version{})
	}
	return &j.versions[s]
}

func (v *version) begin(first, end uint64, trim bool) {
	v.ragged = v.ragged || v.known || trim
	if v.known {
		first, end = min(first, v.first), max(end, v.end)
	}
	v.first, v.end, v.known = first, end, true
	v.open++
}

func (j *Judge) replied(e *Event) {
	if e.Stamp != 0 {
		v := j.version(e.Stamp)
		v.open--
		v.ack = e.Seq
	}
	first, end := e.sectors()
	w := write{first, end, e.Of, e.Seq, e.Stamp, j.isBulk(e)}
	if e.plain() {
		j.zeroed(w)
	}
	switch {
	case e.Errno != devices.OK || e.Op == devices.OpTrim:
	case e.durable():
		j.promise(w, e.Seq, false)
	default:
		j.queue(e.Conn).push(w)
	}
}

func (j *Judge) zeroed(w write) {
	if w.bulk {
		j.bulk(w).cell.zeroes.done(w.ack)
		return
	}
	for first := w.first; first < w.end; {
		var cells []cell
		cells, first = j.cells.cells(first, w.end)
		for i := range cells {
			cells[i].zeroes.done(w.ack)
		}
	}
}

// bulk finds the range of w; the latest are the likeliest.
func (j *Judge) bulk(w write) *bulk {
	for i := len(j.bulks) - 1; i >= 0; i-- {
		if j.bulks[i].submit == w.submit {
			return &j.bulks[i]
		}
	}
	panic(fmt.Sprintf("history: the completion of %d came without its submit", w.submit))
}

// promise makes w durable, from completion covered on.
func (j *Judge) promise(w write, covered uint64, byFlush bool) {
	j.promises++
	if w.stamp != 0 {
		j.version(w.stamp).promised = true
	}
	if w.bulk {
		j.bulk(w).cell.raise(w, covered, byFlush)
		return
	}
	for first := w.first; first < w.end; {
		var cells []cell
		cells, first = j.cells.cells(first, w.end)
		for i := range cells {
			cells[i].raise(w, covered, byFlush)
		}
	}
}

func (c *cell) raise(w write, covered uint64, byFlush bool) {
	if w.submit < c.floor {
		c.second = max(c.second, w.submit)
		return
	}
	c.second, c.floor = c.floor, w.submit
	c.covered, c.promised, c.flushed = covered, w.stamp, byFlush
}

// flushed promises all that was replied to before the FLUSH was received.
func (j *Judge) flushed(e *Event) {
	j.anyFlush = true
	q := j.queue(e.Conn)
	for q.head < len(q.items) && q.items[q.head].ack < e.Of {
		j.promise(q.items[q.head], e.Seq, true)
		q.head++
	}
	q.compact()
}

// powerCut ends what is in progress, as a write that failed, and with it what was
// only acknowledged: no later FLUSH promises that.
func (j *Judge) powerCut(seq uint64) {
	for i := range j.versions {
		if v := &j.versions[i]; v.open > 0 {
			v.open, v.ack = 0, seq
		}
	}
	for i := range j.cells.pages {
		j.cells.pages[i].whole[0].zeroes.end(seq)
	}
	for i := range j.cells.splits {
		for k := range j.cells.splits[i] {
			j.cells.splits[i][k].zeroes.end(seq)
		}
	}
	for i := range j.bulks {
		j.bulks[i].cell.zeroes.end(seq)
	}
	clear(j.acked)
}

func (j *Judge) queue(conn uint32) *fifo {
	if j.multiConn {
		conn = 0
	}
	q := j.acked[conn]
	if q == nil {
		q = new(fifo)
		j.acked[conn] = q
	}
	return q
}

func (q *fifo) push(w write) { q.items = append(q.items, w) }

// compact reuses the front of the queue once half of it is free.
func (q *fifo) compact() {
	if 2*q.head < len(q.items) {
		return
	}
	n := copy(q.items, q.items[q.head:])
	q.items, q.head = q.items[:n], 0
}
