package ssd

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/ssd/ftl"
	"nbdbench/sim"
)

// nand is the dies and channels behind the translation layer: what each is doing,
// and what waits for it. Reads go before programs; a program or erase in progress
// is suspended for a read where the drive can do that.
type nand struct {
	cfg      *Flash
	loop     *sim.Loop
	dies     []die
	channels []sim.Timeline
	layer    *ftl.FTL
	mapping  *mapCache // nil: all of it is in memory
	writing  uint64    // the host's unit that is being written, with Static
	sectors  uint64    // bytes of it that cross the channel
	unit     uint64    // bytes of a mapping unit
	page     uint32    // units of a page over all planes
	pages    int       // programmed in one shot, on each plane

	done    landing
	open    []*job     // with units in the host's open row
	pending [][]uint64 // a bit for each row that is not programmed yet, by superblock
	out     int        // rows of the host that are being programmed
	moving  int        // ... and of those that are moved
	journal uint64     // programs of the mapping
	spare   *op
}

// landing is notified of what the dies have finished.
type landing interface {
	landed(j *job) // the last row that holds part of j is programmed
	programmed()   // a row is programmed; landed has been called
}

// job is data on its way to the dies.
type job struct {
	left    int           // rows that hold part of it and are not programmed
	begun   bool          // not all of it has been handed over
	journal bool          // what is left is the program of the mapping
	unit    *unit         // which waits for it, or nil
	flight  *drive.Flight // that it carries, or nil
	bytes   uint64        // of a protected buffer that it occupies
	next    *job
}

type opKind uint8

const (
	opRead opKind = iota
	opProgram
	opCollect
	opErase
	opMap     // reads an entry of the mapping, before then
	opSaveMap // programs a page of the mapping
)

// op is one piece of a die's work.
type op struct {
	kind  opKind
	host  bool
	row   ftl.Row
	array sim.Duration // on the die
	ready sim.Time     // of a program whose data has crossed the channel early; else 0
	bytes uint64       // over the channel
	left  sim.Duration // of a suspended one
	stops int          // how often it was suspended
	read  *reading
	jobs  []*job
	then  *op // that waits for this one, on die on
	on    *die
	next  *op
}

// maxStops is how often a program or an erase can be suspended before it is
// finished first: an estimate, so that reads cannot keep writes off for ever.
const maxStops = 8

type opQueue struct{ head, tail *op }

func (q *opQueue) push(o *op) {
	if q.tail == nil {
		q.head = o
	} else {
		q.tail.next = o
	}
	q.tail = o
}

func (q *opQueue) pop() *op {
	o := q.head
	if o != nil {
		q.head = o.next
		o.next = nil
		if q.head == nil {
			q.tail = nil
		}
	}
	return o
}

// die does one operation at a time.
type die struct {
	timer   sim.Timer
	n       *nand
	channel *sim.Timeline
	reads   opQueue
	work    opQueue // programs, erases, collection: in order
	now     *op     // on the die
	stopped *op     // suspended under a read
	array   sim.Time
	end     sim.Time
	erases  int  // that are due
	halting bool // now is being suspended
	began   sim.Time
	busy    sim.Duration
}

func newNAND(cfg *Flash, loop *sim.Loop, size uint64, seed sim.Seed, done landing) *nand {
	n := &nand{
		cfg: cfg, loop: loop, unit: cfg.unit(), done: done,
		dies: make([]die, cfg.Channels*cfg.DiesPerChannel), channels: make([]sim.Timeline, cfg.Channels),
		page: uint32(cfg.Page * uint64(cfg.Planes) / cfg.unit()), pages: cfg.OneShot,
	}
	for i := range n.dies {
		// Neighbours in the order of rows are on different channels.
		n.dies[i].n, n.dies[i].channel = n, &n.channels[i%cfg.Channels]
	}
	layer := cfg.layer(size, seed)
	n.pending = make([][]uint64, layer.Blocks+layer.SLCBlocks)
	n.layer = ftl.New(layer, n)
	if cfg.MappingCache > 0 {
		n.mapping = newMapCache(cfg.MappingCache, cfg.Page, layer.Units)
	}
	return n
}

func (n *nand) die(r ftl.Row) *die { return &n.dies[int(r.Index)%len(n.dies)] }

func (n *nand) newOp(kind opKind, array sim.Duration, bytes uint64) *op {
	o := n.spare
	if o == nil {
		o = &op{}
	} else {
		n.spare = o.next
	}
	*o = op{kind: kind, array: array, bytes: bytes, jobs: o.jobs[:0]}
	return o
}

func (n *nand) free(o *op) {
	clear(o.jobs)
	o.read, o.next = nil, n.spare
	n.spare = o
}

// Program is the layer's word that a row is full.
func (n *nand) Program(r ftl.Row, host bool) {
	d := n.die(r)
	o := n.newOp(opProgram, n.programTime(r.SLC), n.rowBytes(r.SLC))
	o.row, o.host = r, host
	if host && n.cfg.Static {
		d, o.bytes = n.dieOf(r, n.writing), n.sectors
	}
	if host {
		o.jobs = append(o.jobs, n.open...)
		n.open = n.open[:0]
		n.out++
	} else {
		n.moving++
		n.mark(r)
	}
	if host && n.mapping != nil {
		n.locate(d, o, n.writing, true)
	} else {
		d.work.push(o)
	}
	if d.erases > 0 {
		d.erases--
		d.work.push(n.newOp(opErase, n.cfg.Erase, 0))
	}
	d.kick()
}

// locate gives die d operation o of unit u once the mapping says where the unit is:
// at once, or when its entry has been read from flash.
func (n *nand) locate(d *die, o *op, u uint64, write bool) {
	if n.mapping == nil {
		d.take(o)
		return
	}
	hit, evicted := n.mapping.use(u, write)
	if evicted >= 0 {
		n.saveMapping(uint64(evicted))
	}
	if hit {
		d.take(o)
		return
	}
	m := n.newOp(opMap, n.meanRead(false)+n.transfer(512), 0)
	m.then, m.on, m.read = o, d, o.read
	n.dieOfMap(u / n.mapping.page).take(m)
}

// saveMapping reads what else is in a page of the mapping, and programs it anew.
func (n *nand) saveMapping(page uint64) {
	d := n.dieOfMap(page)
	d.work.push(n.newOp(opCollect, n.meanRead(false), n.cfg.Page))
	d.work.push(n.newOp(opSaveMap, n.cfg.Program, n.cfg.Page))
	n.journal++
	d.kick()
}

func (n *nand) dieOfMap(page uint64) *die { return &n.dies[page%uint64(len(n.dies))] }

// dieOf is the die that unit u is on, which the translation layer has in row r.
func (n *nand) dieOf(r ftl.Row, u uint64) *die {
	if n.cfg.Static {
		return &n.dies[u%uint64(len(n.dies))]
	}
	return n.die(r)
}

// Erase is the layer's word that a superblock can be erased. Each die does its
// part behind the next row that it programs, so that not all are busy with it at
// once: long before the superblock's turn to be written comes.
func (n *nand) Erase(int32) {
	for i := range n.dies {
		n.dies[i].erases++
	}
}

// Collect is the layer's word that units of a row are read to be moved. The rows
// that they go to do not wait for it.
func (n *nand) Collect(r ftl.Row, units uint32) {
	d := n.die(r)
	pages := 1
	if !r.SLC {
		pages = int(min(units, uint32(n.pages))) // which are not known one by one
	}
	o := n.newOp(opCollect, sim.Duration(pages)*n.meanRead(r.SLC), uint64(units)*n.unit)
	d.work.push(o)
	d.kick()
}

func (n *nand) programTime(slc bool) sim.Duration {
	if slc {
		return n.cfg.SLCProgram
	}
	return n.cfg.Program
}

func (n *nand) rowBytes(slc bool) uint64 {
	if slc {
		return n.cfg.Page * uint64(n.cfg.Planes)
	}
	return n.cfg.Page * uint64(n.cfg.Planes*n.cfg.OneShot)
}

// readTime is that of one page of a row, which is that of its place on its word
// line: in a one-shot program, or from row to row on a die.
func (n *nand) readTime(r ftl.Row, page uint32) sim.Duration {
	if r.SLC {
		return n.cfg.SLCRead
	}
	line := int(r.Index) / len(n.dies) * n.pages
	return n.cfg.Read[(line+int(page))%len(n.cfg.Read)]
}

func (n *nand) meanRead(slc bool) sim.Duration {
	if slc {
		return n.cfg.SLCRead
	}
	var sum sim.Duration
	for _, t := range n.cfg.Read {
		sum += t
	}
	return sum / sim.Duration(len(n.cfg.Read))
}

// write hands the units of [off, end) to the layer as part of job j; zeros are
// unmapped.
func (n *nand) write(j *job, off, end uint64, zero bool) {
	first, last := off/n.unit, (end+n.unit-1)/n.unit
	if zero {
		n.unmap((off+n.unit-1)/n.unit, end/n.unit)
		return
	}
	for u := first; u < last; u++ {
		start := u * n.unit
		n.writing, n.sectors = u, n.unit
		if part := min(start+n.unit, end) - max(start, off); part < n.unit {
			if !n.complete(u, part) && n.cfg.Sectors {
				n.sectors = part
			}
		}
		if len(n.open) == 0 || n.open[len(n.open)-1] != j {
			n.open = append(n.open, j)
			j.left++
		}
		n.mark(n.layer.Write(u))
	}
}

// complete reads the rest of a unit of which only part is written, and reports whether
// there is any.
func (n *nand) complete(u, part uint64) bool {
	r, place, ok := n.layer.Lookup(u)
	if !ok {
		return false
	}
	if n.isPending(r) {
		return true
	}
	bytes := n.unit
	if n.cfg.Sectors {
		bytes -= part
	}
	d := n.dieOf(r, u)
	d.work.push(n.newOp(opCollect, n.readTime(r, place/n.page), bytes))
	d.kick()
	return true
}

// MaxUnmap is how many mapping units one TRIM or WRITE_ZEROES gives back to
// collection where each has to be looked at. The rest keeps its place until it is
// written again: to deallocate is advice.
const MaxUnmap = 1 << 20

func (n *nand) unmap(first, end uint64) {
	if first >= end {
		return
	}
	if n.layer.Sparse(first, end) {
		n.layer.UnmapAll(first, end)
		return
	}
	for u := first; u < min(end, first+MaxUnmap); u++ {
		n.layer.Unmap(u)
	}
}

// pad has the host's open row programmed as it is.
func (n *nand) pad() {
	if len(n.open) > 0 {
		n.layer.Pad()
	}
}

// journalize programs one page of mapping in SLC mode, for job j.
func (n *nand) journalize(j *job) {
	d := &n.dies[n.journal%uint64(len(n.dies))]
	n.journal++
	o := n.newOp(opProgram, n.cfg.Journal, n.cfg.Page)
	o.jobs = append(o.jobs, j)
	j.left++
	d.work.push(o)
	d.kick()
}

// take has o wait for the die.
func (d *die) take(o *op) {
	if o.kind == opRead || o.kind == opMap {
		d.reads.push(o)
	} else {
		d.work.push(o)
	}
	d.kick()
}

// kick starts what the die does next: reads first.
func (d *die) kick() {
	if d.now != nil {
		if d.reads.head != nil && !d.halting {
			d.halt()
		}
		d.preload()
		return
	}
	if o := d.reads.pop(); o != nil {
		d.start(o)
		return
	}
	if o := d.stopped; o != nil {
		d.stopped = nil
		d.resume(o)
		return
	}
	if o := d.work.pop(); o != nil {
		d.start(o)
	}
}

// start puts o on the die: data to be programmed comes over the channel first.
func (d *die) start(o *op) {
	now := d.n.loop.Now()
	d.array = now
	switch {
	case o.ready != 0:
		d.array = max(now, o.ready)
	case o.kind == opProgram || o.kind == opSaveMap:
		_, d.array = d.channel.Reserve(now, d.n.transfer(o.bytes))
	}
	if o.read != nil && !o.read.begun {
		o.read.begun = true
		o.read.r.Charge(devices.DeviceQueue, now)
	}
	d.run(o, d.array.Add(o.array))
}

func (d *die) resume(o *op) {
	d.array = d.n.loop.Now()
	d.run(o, d.array.Add(o.left))
}

func (d *die) run(o *op, end sim.Time) {
	if d.now != nil {
		panic("ssd: a die has two operations at once")
	}
	d.now, d.end, d.began = o, end, d.n.loop.Now()
	d.n.loop.At(&d.timer, end, d)
	d.preload()
}

// preload has the data of the next program cross the channel while this one is at work:
// a die has a register for it beside the one that it programs from.
func (d *die) preload() {
	o := d.work.head
	if !d.n.cfg.CacheProgram || d.now.kind != opProgram || o == nil || o.kind != opProgram || o.ready != 0 {
		return
	}
	_, o.ready = d.channel.Reserve(max(d.n.loop.Now(), d.array), d.n.transfer(o.bytes))
}

// halt suspends what is on the die, if it can be and is worth it.
func (d *die) halt() {
	o := d.now
	var takes sim.Duration
	switch o.kind {
	case opProgram, opSaveMap:
		takes = d.n.cfg.SuspendProgram
	case opErase:
		takes = d.n.cfg.SuspendErase
	case opRead, opCollect, opMap: // short
	}
	at := max(d.n.loop.Now(), d.array).Add(takes)
	if takes == 0 || o.stops >= maxStops || at >= d.end {
		return
	}
	// What is done while it is brought to a halt does not count.
	o.left = d.end.Sub(at.Add(-takes))
	o.stops++
	d.halting = true
	d.n.loop.At(&d.timer, at, d)
}

// Fire ends what is on the die, or has brought it to a halt.
func (d *die) Fire(*sim.Timer) {
	o := d.now
	d.now = nil
	d.busy += d.n.loop.Now().Sub(d.began)
	if d.halting {
		d.halting, d.stopped = false, o
		d.kick()
		return
	}
	n := d.n
	n.finish(d, o)
	d.kick()
}

// finish notifies those that wait for o.
func (n *nand) finish(d *die, o *op) {
	switch o.kind {
	case opRead:
		_, there := d.channel.Reserve(n.loop.Now(), n.transfer(o.bytes))
		o.read.part(there)
	case opCollect:
		d.channel.Reserve(n.loop.Now(), n.transfer(o.bytes))
	case opProgram:
		n.programmed(o)
		return
	case opMap:
		o.on.take(o.then)
	case opErase, opSaveMap:
	}
	n.free(o)
}

func (n *nand) programmed(o *op) {
	switch {
	case o.host:
		n.out--
		n.unmark(o.row)
	case len(o.jobs) == 0: // a row that was moved
		n.moving--
		n.unmark(o.row)
	}
	jobs := o.jobs
	for _, j := range jobs {
		if j.left--; j.left == 0 && !j.begun {
			n.done.landed(j)
		}
	}
	n.free(o)
	n.done.programmed()
}

func (n *nand) transfer(bytes uint64) sim.Duration {
	if n.cfg.ChannelBandwidth <= 0 {
		return 0
	}
	return sim.Duration(float64(bytes) / n.cfg.ChannelBandwidth * 1e9)
}

// moved is how many bytes of unit u cross the channel for read r.
func (n *nand) moved(u uint64, r *devices.Request) uint64 {
	if !n.cfg.Sectors {
		return n.unit
	}
	return min((u+1)*n.unit, r.End()) - max(u*n.unit, r.Offset)
}

// mark says that a row is in the drive's buffer and not on the medium.
func (n *nand) mark(r ftl.Row) {
	if n.pending[r.Block] == nil {
		n.pending[r.Block] = make([]uint64, (n.cfg.rows(len(n.dies))+63)/64)
	}
	n.pending[r.Block][r.Index/64] |= 1 << (r.Index % 64)
}

func (n *nand) unmark(r ftl.Row) { n.pending[r.Block][r.Index/64] &^= 1 << (r.Index % 64) }

func (n *nand) isPending(r ftl.Row) bool {
	b := n.pending[r.Block]
	return b != nil && b[r.Index/64]&(1<<(r.Index%64)) != 0
}
