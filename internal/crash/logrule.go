package crash

import (
	"fmt"

	"nbdbench/devices"
)

// logRecords is InvariantCommitRecord of a history: where any sector of a FUA write is
// there, all writes are that were done since the previous FUA write was submitted. A
// sector that the record itself overwrites does not count.
type logRecords struct {
	notes
	open    []int         // plain writes that are done and that no record covers yet
	records []int         // FUA writes, in order
	covers  map[int][]int // record to the writes that it covers
	exposed []int         // the records of which fixVersions has found something undurable
	fixed   bool
	zeroes  []note // WRITE_ZEROES and TRIM, in order
}

// submit records a write. One with FUA covers all that are done.
func (l *logRecords) submit(r *devices.Request) {
	l.notes.submit(r)
	if r.Op.Modifies() && r.Op != devices.OpWrite {
		l.seq++
		l.zeroes = append(l.zeroes, note{first: r.Offset / devices.Sector, end: (r.End() + devices.Sector - 1) / devices.Sector, submit: l.seq})
	}
	if r.Op != devices.OpWrite || r.Flags&devices.FUA == 0 {
		return
	}
	id := l.byStamp[r.Stamp]
	l.records = append(l.records, id)
	l.covers[id], l.open = l.open, nil
}

// done records the end of a write. One that failed is not covered.
func (l *logRecords) done(r *devices.Request) {
	if r.Op != devices.OpWrite || r.Errno != devices.OK {
		return
	}
	l.notes.done(r)
	if r.Flags&devices.FUA == 0 {
		l.open = append(l.open, l.byStamp[r.Stamp])
	}
}

// powerCut forgets what was written before: the history goes on with what was left.
func (l *logRecords) powerCut() { l.open, l.records = nil, nil }

// fixVersions finds the records that cover something of which a version is missing.
func (l *logRecords) fixVersions(versions func(sector uint64) []devices.Stamp) {
	l.notes.fixVersions(versions)
	l.exposed, l.fixed = l.exposed[:0], versions != nil
	for _, id := range l.records {
		for _, w := range l.covers[id] {
			if l.fixed && !l.safe[w] {
				l.exposed = append(l.exposed, id)
				break
			}
		}
	}
}

// broken looks at the records that may be incomplete.
func (l *logRecords) broken(read image) *breach {
	records := l.records
	if l.fixed {
		records = l.exposed
	}
	for _, id := range records {
		record := &l.writes[id]
		at, ok := l.shows(record, read)
		if !ok {
			continue
		}
		for _, other := range l.covers[id] {
			w := &l.writes[other]
			if s, ok := l.complete(w, record, read); !ok {
				return &breach{s, read(s), w.stamp, fmt.Sprintf("the FUA write of sector %d (version %d) is there, and the write of version %d, which was done before it, is not", at, record.stamp, w.stamp)}
			}
		}
	}
	return nil
}

// complete reports whether an image has write w, or what came after it, outside a record.
func (l *logRecords) complete(w, record *note, read image) (sector uint64, ok bool) {
	if w.id < len(l.safe) && l.safe[w.id] {
		return 0, true
	}
	for s := w.first; s < w.end; s++ {
		v := read(s)
		if (s < record.first || s >= record.end) && l.until(s, v) < w.submit && !(v == 0 && l.zeroed(s, w.submit)) {
			return s, false
		}
	}
	return 0, true
}

// zeroed reports whether zeros of a sector may be newer than an instant.
func (l *logRecords) zeroed(sector, since uint64) bool {
	for i := len(l.zeroes) - 1; i >= 0 && l.zeroes[i].submit > since; i-- {
		if z := &l.zeroes[i]; z.first <= sector && sector < z.end {
			return true
		}
	}
	return false
}
