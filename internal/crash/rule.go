package crash

import (
	"fmt"
	"math"

	"nbdbench/devices"
	"nbdbench/workloads"
)

// rule is a workload's invariant. It receives the transactions' own requests,
// in order, and says of an image whether it breaks.
type rule interface {
	submit(r *devices.Request)
	done(r *devices.Request)
	commit(c *devices.Commit)
	// reads reports whether the rule looks at a sector.
	reads(sector uint64) bool
	// fixVersions records which writes are there in every image of a set, given the
	// versions that a sector may have, so that broken need not look at them again;
	// nil forgets it.
	fixVersions(versions func(sector uint64) []devices.Stamp)
	// broken says what is wrong with an image, or nothing.
	broken(read image) *breach
}

// image is what a power cut may leave: the version of each sector.
type image func(sector uint64) devices.Stamp

// breach is how an image breaks a rule.
type breach struct {
	sector uint64
	found  devices.Stamp
	want   devices.Stamp
	text   string
}

func newNotes() notes {
	return notes{byStamp: map[devices.Stamp]int{}, bySector: map[uint64][]int{}, begun: map[uint64]uint64{}, sealed: map[uint64]uint64{}, writes: make([]note, 1)}
}

func newRule(p *workloads.Profile) rule {
	n := newNotes()
	switch p.Invariant {
	case workloads.InvariantPrefix:
		return &prefix{n}
	case workloads.InvariantCommitRecord:
		return &commitRecord{n, lastWrite(p)}
	case workloads.InvariantDoublewrite:
		return &doublewrite{n}
	}
	return nil
}

// note is a write of a transaction.
type note struct {
	first, end  uint64 // sectors
	submit, ack uint64 // ack 0 is in progress
	txn         uint64
	stamp       devices.Stamp
	step        uint32 // of the transaction's requests
	id          int    // its place in notes
}

// notes are all writes of transactions, by what one looks them up by.
type notes struct {
	seq      uint64
	writes   []note // 0 is unused
	byStamp  map[devices.Stamp]int
	bySector map[uint64][]int
	order    []uint64          // transactions as they began
	begun    map[uint64]uint64 // when a transaction's first write was submitted
	sealed   map[uint64]uint64 // when it was acknowledged
	byTxn    map[uint64][]int
	safe     []bool // by write; see rule.fixVersions
}

func (n *notes) submit(r *devices.Request) {
	if r.Op != devices.OpWrite {
		return
	}
	n.seq++
	if n.byTxn == nil {
		n.byTxn = map[uint64][]int{}
	}
	if n.begun[r.Txn] == 0 {
		n.begun[r.Txn] = n.seq
		n.order = append(n.order, r.Txn)
	}
	id := len(n.writes)
	w := note{first: r.Offset / devices.Sector, end: r.End() / devices.Sector, submit: n.seq, txn: r.Txn, stamp: r.Stamp, step: r.Step, id: id}
	n.writes = append(n.writes, w)
	n.byStamp[r.Stamp] = id
	n.byTxn[r.Txn] = append(n.byTxn[r.Txn], id)
	for s := w.first; s < w.end; s++ {
		n.bySector[s] = append(n.bySector[s], id)
	}
}

func (n *notes) done(r *devices.Request) {
	if id := n.byStamp[r.Stamp]; id != 0 && r.Op == devices.OpWrite {
		n.seq++
		n.writes[id].ack = n.seq
	}
}

func (n *notes) commit(c *devices.Commit) {
	n.seq++
	n.sealed[c.Txn] = n.seq
}

func (n *notes) reads(sector uint64) bool { return n.bySector[sector] != nil }

// until is when the version found in a sector was complete: before everything
// for what no transaction wrote there, after everything for what is in progress.
func (n *notes) until(sector uint64, found devices.Stamp) uint64 {
	w := &n.writes[n.byStamp[found]]
	switch {
	case sector < w.first || sector >= w.end:
		return 0
	case w.ack == 0:
		return math.MaxUint64
	}
	return w.ack
}

func (n *notes) fixVersions(versions func(sector uint64) []devices.Stamp) {
	n.safe = n.safe[:0]
	if versions == nil {
		return
	}
	for i := range n.writes {
		n.safe = append(n.safe, i > 0 && n.always(&n.writes[i], versions))
	}
}

// always reports whether every version of every sector of w is w or later.
func (n *notes) always(w *note, versions func(sector uint64) []devices.Stamp) bool {
	for s := w.first; s < w.end; s++ {
		for _, v := range versions(s) {
			if n.until(s, v) < w.submit {
				return false
			}
		}
	}
	return true
}

// whole reports whether an image has all of write w or what came after it, and
// where not, the first sector.
func (n *notes) whole(w *note, read image) (sector uint64, ok bool) {
	if w.id < len(n.safe) && n.safe[w.id] {
		return 0, true
	}
	for s := w.first; s < w.end; s++ {
		if n.until(s, read(s)) < w.submit {
			return s, false
		}
	}
	return 0, true
}

// shows reports whether an image has any of write w itself.
func (n *notes) shows(w *note, read image) (sector uint64, ok bool) {
	for s := w.first; s < w.end; s++ {
		if read(s) == w.stamp {
			return s, true
		}
	}
	return 0, false
}

// prefix is InvariantPrefix.
type prefix struct{ notes }

func (p *prefix) broken(read image) *breach {
	last, at := p.newest(read)
	if last == 0 {
		return nil
	}
	for _, txn := range p.order {
		if p.sealed[txn] == 0 || p.sealed[txn] > p.begun[last] {
			continue
		}
		for _, id := range p.byTxn[txn] {
			w := &p.writes[id]
			if s, ok := p.whole(w, read); !ok {
				return &breach{s, read(s), w.stamp, fmt.Sprintf("the log has a hole: commit %d is there (sector %d), and commit %d, acknowledged before it was begun, is not", last, at, txn)}
			}
		}
	}
	return nil
}

// newest is the latest transaction of which the image has anything.
func (p *prefix) newest(read image) (txn, sector uint64) {
	for i := len(p.order) - 1; i >= 0; i-- {
		for _, id := range p.byTxn[p.order[i]] {
			if s, ok := p.shows(&p.writes[id], read); ok {
				return p.order[i], s
			}
		}
	}
	return 0, 0
}

// commitRecord is InvariantCommitRecord.
type commitRecord struct {
	notes
	step uint32 // of a transaction's last write
}

// lastWrite is the number of a transaction's last write among its requests.
func lastWrite(p *workloads.Profile) (step uint32) {
	n := uint32(0)
	for i := range p.Transaction {
		s := &p.Transaction[i]
		n += max(s.Count, 1)
		if s.Op == workloads.ActionWrite {
			step = n - 1
		}
	}
	return step
}

func (c *commitRecord) broken(read image) *breach {
	for _, txn := range c.order {
		ids := c.byTxn[txn]
		record := &c.writes[ids[len(ids)-1]]
		at, ok := c.shows(record, read)
		if !ok || record.step != c.step {
			continue
		}
		for _, id := range ids[:len(ids)-1] {
			w := &c.writes[id]
			if s, ok := c.whole(w, read); !ok {
				return &breach{s, read(s), w.stamp, fmt.Sprintf("the commit record of transaction %d is there (sector %d), and what it wrote before is not", txn, at)}
			}
		}
	}
	return nil
}

// doublewrite is InvariantDoublewrite.
type doublewrite struct{ notes }

func (d *doublewrite) broken(read image) *breach {
	for _, txn := range d.order {
		ids := d.byTxn[txn]
		if len(ids) < 2 {
			continue
		}
		copied, page := &d.writes[ids[0]], &d.writes[ids[1]]
		at, torn := d.torn(page, read)
		if !torn {
			continue
		}
		for s := copied.first; s < copied.end; s++ {
			if read(s) != copied.stamp {
				return &breach{at, read(at), page.stamp, fmt.Sprintf("the page of transaction %d is torn, and its copy (sector %d) too", txn, s)}
			}
		}
	}
	return nil
}

// torn reports whether an image has a part of the page and an older version of
// another part, which is at a sector.
func (d *doublewrite) torn(page *note, read image) (sector uint64, ok bool) {
	_, some := d.shows(page, read)
	sector, whole := d.whole(page, read)
	return sector, some && !whole
}
