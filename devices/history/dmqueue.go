package history

import "nbdbench/devices"

// dmEntry is an entry of a log of dm-log-writes.
type dmEntry struct {
	sector, n, flags uint64
	data             []byte // of whole sectors; nil is zeros, or none for a discard
}

// weight is how many bytes of the log the entry takes, or of memory.
func (e *dmEntry) weight() uint64 { return devices.Sector + uint64(len(e.data)) }

// The bounds of the index of what waits.
const (
	dmIndexed = 1 << 19 // sectors
	dmShort   = 1 << 11 // sectors of an entry that is indexed sector by sector
)

// dmQueue are the entries that wait for a FLUSH, in the order in which they were
// done, and numbered so: the first one ever is 1. It finds the latest that may
// touch a range, so that none is overtaken.
type dmQueue struct {
	entries []dmEntry
	head    int    // of entries: the first that waits
	last    uint64 // the number of the latest
	bytes   uint64

	index map[uint64]uint64 // sector to the latest short entry that touches it
	long  dmRange           // around all long entries that wait
	long1 uint64            // the latest of those; 0 is none
}

func newDMQueue() dmQueue { return dmQueue{index: map[uint64]uint64{}} }

// full reports whether no more may wait.
func (q *dmQueue) full() bool { return q.bytes > dmPending || len(q.index) > dmIndexed }

func (q *dmQueue) push(e dmEntry) {
	q.entries = append(q.entries, e)
	q.last++
	q.bytes += e.weight()
	end := e.sector + e.n
	if e.n > dmShort {
		if q.long1 == 0 {
			q.long = dmRange{e.sector, end}
		}
		q.long = dmRange{min(q.long.first, e.sector), max(q.long.end, end)}
		q.long1 = q.last
		return
	}
	for sector := e.sector; sector < end; sector++ {
		q.index[sector] = q.last
	}
}

// latest is the number of the latest entry that may touch the sectors from first to
// end; one that has left the queue, or 0, is none. It may name one that touches
// none of them: to emit more than is necessary is legal.
func (q *dmQueue) latest(first, end uint64) (n uint64) {
	if q.long1 != 0 && first < q.long.end && q.long.first < end {
		n = q.long1
	}
	if end-first > uint64(len(q.index)) {
		for sector, at := range q.index { // the maximum: in any order
			if first <= sector && sector < end {
				n = max(n, at)
			}
		}
		return n
	}
	for sector := first; sector < end; sector++ {
		n = max(n, q.index[sector])
	}
	return n
}

// pop takes the oldest entry if its number is at most last, or returns nil. The
// entry is good until the next push.
func (q *dmQueue) pop(last uint64) *dmEntry {
	if q.head == len(q.entries) || q.last-uint64(len(q.entries)-q.head)+1 > last {
		return nil
	}
	e := &q.entries[q.head]
	q.head++
	q.bytes -= e.weight()
	switch {
	case q.head == len(q.entries):
		q.entries, q.head, q.long1 = q.entries[:0], 0, 0
		clear(q.index)
	case q.head > 1024 && 2*q.head > len(q.entries):
		q.entries = append([]dmEntry(nil), q.entries[q.head:]...)
		q.head = 0
	}
	return e
}
