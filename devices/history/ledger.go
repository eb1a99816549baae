package history

import (
	"fmt"
	"math"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Ledger knows which transactions the application saw acknowledged as durable, and
// reports which of them an image has lost. It is above all layers and is notified
// of the application's own requests.
//
// A commit is lost if one of its writes is before the version that the image
// holds of some sector, or more exactly: if the image holds a version whose
// completion the application saw before it submitted that write. A write that
// a later one has replaced in the image is not lost. The writes of a commit are
// those with its Txn that were complete when it was acknowledged; a TRIM is not
// one of them, for it leaves the old data or zeros.
type Ledger struct {
	seq     uint64
	longest uint64 // see bulkLength
	dense   uint64 // see denseTxns

	ops     []op     // 0 is unused
	byStamp []uint32 // the latest op with a stamp
	open    []opened // in progress without a stamp
	chains  grid[chain]
	links   []link // 0 is unused
	bulks   []span
	byTxn   []uint32          // the commit of a transaction below denseTxns
	others  map[uint64]uint32 // ... of any other
	commits []commit          // 0 is unused
	acked   int
	epoch   uint32
}

// op is a write command of the application, or what it holds of one of several
// transactions.
type op struct {
	first, end  uint64 // sectors
	submit, ack uint64
	commit      uint32
	records     uint32 // ops that follow, of transactions that share the command
}

// opened finds the op of a request that has no stamp.
type opened struct {
	r  *devices.Request
	op uint32
}

// chain is what was written to a sector, or to a page's sectors alike.
type chain struct {
	head   uint32 // the latest write's link
	zeroes zeroes
}

// link is one write of a chain. A chain is never changed but at its head, so
// the sectors of a page share their past when the page is split.
type link struct{ op, prev uint32 }

// span is a command longer than bulkLength.
type span struct {
	op    uint32
	plain bool
	trim  bool
}

// commit is a transaction.
type commit struct {
	txn    uint64
	acked  sim.Time
	sealed uint64 // when it was acknowledged; 0 is not yet, or never
	epoch  uint32 // the last judgement in which it was lost
}

// Loss is what an image has lost.
type Loss struct {
	Commits int
	// OldestAck is when the lost commit that was acknowledged first was
	// acknowledged, and OldestTxn its transaction; 0 if none was lost.
	OldestAck sim.Time
	OldestTxn uint64
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{
		longest: bulkLength, dense: denseTxns,
		ops: make([]op, 1), links: make([]link, 1), commits: make([]commit, 1),
		chains: newGrid[chain](), others: make(map[uint64]uint32),
	}
}

// Acked counts the commits that were acknowledged.
func (l *Ledger) Acked() int { return l.acked }

// Submit takes down that the application submits r.
func (l *Ledger) Submit(r *devices.Request) {
	if !r.Op.Modifies() {
		return
	}
	l.seq++
	id := uint32(len(l.ops))
	first, end := sectors(r.Offset, r.Length)
	l.ops = append(l.ops, op{first: first, end: end, submit: l.seq, commit: l.commitOf(r.Txn)})
	l.name(r, id)
	if l.isBulk(r) {
		l.bulks = append(l.bulks, span{id, plain(r), r.Op == devices.OpTrim})
		return
	}
	for first < end {
		var cells []chain
		cells, first = l.chains.cells(first, end)
		for i := range cells {
			l.add(&cells[i], r, id)
		}
	}
}

// Records takes down what r, a write that was just submitted, holds of several
// transactions that share it: each is lost if its own bytes are.
func (l *Ledger) Records(r *devices.Request, records []devices.Record) {
	id := l.byStamp[r.Stamp]
	l.ops[id].records = uint32(len(records))
	for _, record := range records {
		first := record.Offset / devices.Sector
		end := (record.Offset + record.Length + devices.Sector - 1) / devices.Sector
		mine := uint32(len(l.ops))
		l.ops = append(l.ops, op{first: first, end: end, submit: l.ops[id].submit, commit: l.commitOf(record.Txn)})
		if l.isBulk(r) {
			l.bulks = append(l.bulks, span{op: mine})
			continue
		}
		for first < end {
			var cells []chain
			cells, first = l.chains.cells(first, end)
			for i := range cells {
				l.links = append(l.links, link{mine, cells[i].head})
				cells[i].head = uint32(len(l.links) - 1)
			}
		}
	}
}

// name makes the op of r findable.
func (l *Ledger) name(r *devices.Request, id uint32) {
	if r.Stamp == 0 {
		l.open = append(l.open, opened{r, id})
		return
	}
	if r.Stamp > MaxStamp {
		panic(fmt.Sprintf("history: stamp %d is above %d", r.Stamp, MaxStamp))
	}
	for uint64(len(l.byStamp)) <= uint64(r.Stamp) {
		l.byStamp = append(l.byStamp, 0)
	}
	l.byStamp[r.Stamp] = id
}

func (l *Ledger) isBulk(r *devices.Request) bool { return r.Length > l.longest }

// plain reports whether what r writes shows as stamp 0, or may.
func plain(r *devices.Request) bool { return r.Op != devices.OpWrite || r.Stamp == 0 }

func (l *Ledger) add(c *chain, r *devices.Request, id uint32) {
	if plain(r) {
		c.zeroes.open++
	}
	if r.Op == devices.OpTrim {
		return
	}
	l.links = append(l.links, link{id, c.head})
	c.head = uint32(len(l.links) - 1)
}

// denseTxns bounds the transactions that are found by a table of them all, as
// they are numbered from 1 on in a run; a map finds the others.
const denseTxns = 1 << 24

// commitOf finds or makes the commit of a transaction; that of 0 is 0.
func (l *Ledger) commitOf(txn uint64) uint32 {
	if txn == 0 {
		return 0
	}
	if txn >= l.dense {
		i, ok := l.others[txn]
		if !ok {
			i = l.newCommit(txn)
			l.others[txn] = i
		}
		return i
	}
	for uint64(len(l.byTxn)) <= txn {
		l.byTxn = append(l.byTxn, 0)
	}
	if l.byTxn[txn] == 0 {
		l.byTxn[txn] = l.newCommit(txn)
	}
	return l.byTxn[txn]
}

func (l *Ledger) newCommit(txn uint64) uint32 {
	l.commits = append(l.commits, commit{txn: txn})
	return uint32(len(l.commits) - 1)
}

// Op takes down that the application's request r is done, well or not.
func (l *Ledger) Op(r *devices.Request) {
	if !r.Op.Modifies() {
		return
	}
	l.seq++
	id := l.find(r)
	for i := range l.ops[id].records + 1 {
		l.ops[id+i].ack = l.seq
	}
	if !plain(r) || l.isBulk(r) {
		return
	}
	for first, end := sectors(r.Offset, r.Length); first < end; {
		var cells []chain
		cells, first = l.chains.cells(first, end)
		for i := range cells {
			cells[i].zeroes.done(l.seq)
		}
	}
}

func (l *Ledger) find(r *devices.Request) uint32 {
	if r.Stamp != 0 {
		return l.byStamp[r.Stamp]
	}
	for i, o := range l.open {
		if o.r == r {
			last := len(l.open) - 1
			l.open[i] = l.open[last]
			l.open = l.open[:last]
			return o.op
		}
	}
	panic(fmt.Sprintf("history: %v is done, but was never submitted", r))
}

// Commit records that the application saw the end of c. Without an error, it saw c
// acknowledged as durable.
func (l *Ledger) Commit(c *devices.Commit) {
	if c.Errno != devices.OK {
		return
	}
	l.seq++
	l.acked++
	if i := l.commitOf(c.Txn); i != 0 {
		l.commits[i].acked, l.commits[i].sealed = c.Acked, l.seq
	}
}

// Lost says what an image has lost of what was acknowledged so far. Exposed
// visits the ranges, in bytes, whose newest version may not be in the image; a
// range may come twice. Read is the image: the stamp of a sector. For a cut of
// a simulated device these are cut.Exposed and cut.Stamp, or cut.Durable for
// the worst case.
func (l *Ledger) Lost(exposed func(visit func(off, end uint64)), read func(sector uint64) devices.Stamp) Loss {
	var loss Loss
	l.epoch++
	exposed(func(off, end uint64) {
		first, last := sectors(off, end-off)
		for s := first; s < last; s++ {
			l.judge(s, read(s), &loss)
		}
	})
	return loss
}

// Written visits all ranges to which the application ever wrote, in the order
// in which it first did, but for what only commands of more than 32 MiB touched:
// with it Lost judges a whole image.
func (l *Ledger) Written(visit func(off, end uint64)) {
	const page = pageSectors * devices.Sector
	for i := range l.chains.pages {
		off := l.chains.pages[i].number * page
		visit(off, off+page)
	}
}

// judge finds the commits that are lost because sector holds version found.
func (l *Ledger) judge(sector uint64, found devices.Stamp, loss *Loss) {
	var c chain // of what only long commands touched, there is none
	if at := l.chains.at(sector); at != nil {
		c = *at
	}
	seen := l.seen(&c, sector, found)
	for at := c.head; at != 0; at = l.links[at].prev {
		w := &l.ops[l.links[at].op]
		if w.submit <= seen {
			break // and so is all that is older
		}
		l.lose(w, loss)
	}
	for i := range l.bulks {
		b := &l.bulks[i]
		if w := &l.ops[b.op]; !b.trim && w.covers(sector) && w.submit > seen {
			l.lose(w, loss)
		}
	}
}

// seen is when the application saw the completion of the version that an image
// holds: 0 for what was there at first or does not belong there, the end of
// time for what is in progress.
func (l *Ledger) seen(c *chain, sector uint64, found devices.Stamp) uint64 {
	if found == 0 {
		return l.seenZeroes(c, sector)
	}
	if found >= devices.Stamp(len(l.byStamp)) {
		return 0
	}
	w := &l.ops[l.byStamp[found]] // op 0 covers nothing
	if !w.covers(sector) {
		return 0
	}
	return w.seen()
}

func (l *Ledger) seenZeroes(c *chain, sector uint64) uint64 {
	if c.zeroes.open > 0 {
		return math.MaxUint64
	}
	seen := c.zeroes.ack
	for i := range l.bulks {
		b := &l.bulks[i]
		if w := &l.ops[b.op]; b.plain && w.covers(sector) {
			seen = max(seen, w.seen())
		}
	}
	return seen
}

func (o *op) covers(sector uint64) bool { return o.first <= sector && sector < o.end }

func (o *op) seen() uint64 {
	if o.ack == 0 {
		return math.MaxUint64
	}
	return o.ack
}

// lose counts the commit of w, once for each judgement.
func (l *Ledger) lose(w *op, loss *Loss) {
	c := &l.commits[w.commit]
	if w.commit == 0 || w.seen() > c.sealed || c.epoch == l.epoch {
		return
	}
	c.epoch = l.epoch
	if loss.Commits == 0 || c.acked < loss.OldestAck {
		loss.OldestAck, loss.OldestTxn = c.acked, c.txn
	}
	loss.Commits++
}
