package array

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
)

// rowOp is a request within one row of a RAID 5: a write of one range of one or more of
// its chunks, the same in each, or a READ of what a member that is gone has held. First
// what is needed is read, then data and parity are written together.
//
// A row is locked while this goes on, as md's stripe cache does: in bytes of a member, so
// that writes of different parts of a row do not wait for each other.
type rowOp struct {
	number        uint64 // of the row
	first, last   uint64 // data chunks
	at, n         uint64 // the range, in bytes of a member
	writing       bool
	reads         int // members that are read
	*buffers          // what they answer, one after another
	parityPayload devices.Payload
}

// buffers are what the members of a row are read into, of one of the modes.
type buffers struct {
	bytes  []byte
	stamps []devices.Stamp
}

// rowRequest has n bytes from off on, which are in one row, carried out on o's behalf.
func (a *Array) rowRequest(o *op, off, n uint64, p devices.Payload) {
	c := a.child(o)
	r := o.parent
	c.Op, c.Flags, c.Offset, c.Length, c.Payload, c.Slot = r.Op, r.Flags, off, n, p, ownRow
	row := a.newOp(c)
	row.row = true
	l := &a.layout
	d, in := l.data(), off%l.chunk
	number := off / l.chunk
	row.number, row.first, row.last = number/d, number%d, (c.End()-1)/l.chunk%d
	if row.first != row.last {
		in, n = 0, l.chunk
	}
	if a.media.Mode() == drive.Versions { // a version is that of a sector
		end := (in + n + devices.Sector - 1) / devices.Sector * devices.Sector
		in = in / devices.Sector * devices.Sector
		n = end - in
	}
	row.at, row.n = row.number*l.chunk+in, n
	a.locks.take(row, row.at, row.at+row.n)
}

// splitRows has a write carried out row by row: whole rows, and of others the whole chunks
// together and what is less than a chunk on its own.
func (a *Array) splitRows(o *op) {
	r, l := o.parent, &a.layout
	width := l.data() * l.chunk
	o.pending++ // until all parts are on their way
	for skip := uint64(0); skip < r.Length; {
		off := r.Offset + skip
		n := l.rest(off, r.Length-skip)
		if n == l.chunk {
			n = min(width-off%width, (r.Length-skip)/l.chunk*l.chunk)
		}
		a.rowRequest(o, off, n, part(&r.Payload, skip, n))
		skip += n
	}
	o.pending--
}

// beginRow reads what the row's parity, or what a member that is gone, is computed from.
func (a *Array) beginRow(o *op) {
	if a.dead() {
		a.endRow(o, devices.EIO)
		return
	}
	a.resynced(o.number)
	o.writing, o.reads, o.errno = false, 0, devices.OK
	sources := a.sources(o)
	for _, wanted := range sources[:a.layout.n] {
		if wanted {
			o.reads++
		}
	}
	o.grow(a.media.Mode(), uint64(o.reads)*o.n)
	k := uint64(0)
	for i, wanted := range sources[:a.layout.n] {
		if wanted {
			a.send(o, i, devices.OpRead, 0, o.at, o.n, o.slot(k, o.n))
			k++
		}
	}
	if o.pending == 0 {
		a.writeRow(o)
	}
}

// sources are the members to be read. For a write these are its old data and the old
// parity, or the data of the other chunks, whichever are fewer, as md chooses; with a
// member gone, those that are left. For a READ these are all the others.
func (a *Array) sources(o *op) (out [MaxMembers]bool) {
	l := &a.layout
	gone, p := a.gone(), l.parity(o.number)
	touched := o.last - o.first + 1
	modify := touched+1 < l.data()-touched
	var isGone, touches bool
	if gone >= 0 {
		off, _ := l.logical(gone, o.at)
		k := off / l.chunk % l.data()
		isGone, touches = gone != p, k >= o.first && k <= o.last
	}
	switch {
	case o.parent.Op == devices.OpRead:
		for i := range l.n {
			out[i] = int(i) != l.member(o.number, o.first)
		}
		return out
	case gone == p && !a.members[p].takesWrites():
		return out // the parity is nowhere
	case gone == p:
		modify = false // what it has may be old
	case isGone:
		modify = !touches
	}
	for k := range l.data() {
		if mine := k >= o.first && k <= o.last; mine == modify {
			out[l.member(o.number, k)] = true
		}
	}
	out[p] = modify
	return out
}

// rowStep goes on with a row of which all children are done.
func (a *Array) rowStep(o *op) {
	switch {
	case a.dead():
		a.endRow(o, devices.EIO)
	case o.writing:
		a.endRow(o, devices.OK) // what one member has failed, the others make up for
	case o.errno != devices.OK:
		a.beginRow(o)
	case o.parent.Op == devices.OpRead:
		a.deliver(o)
		a.endRow(o, devices.OK)
	default:
		a.writeRow(o)
	}
}

func (a *Array) endRow(o *op, e devices.Errno) {
	r := o.parent
	a.release(o)
	if r.Slot != ownRow {
		panic("array: a row that nobody waits for")
	}
	a.finisher.Finish(r, e)
}

// writeRow writes data and parity at the same time. What a member that is gone should
// have is noted.
func (a *Array) writeRow(o *op) {
	o.writing = true
	r, l := o.parent, &a.layout
	p := l.parity(o.number)
	if a.members[p].takesWrites() {
		a.computeParity(o)
	}
	for skip := uint64(0); skip < r.Length; {
		n := l.rest(r.Offset+skip, r.Length-skip)
		i, at := l.locate(r.Offset + skip)
		if a.members[i].takesWrites() {
			a.send(o, i, r.Op, r.Flags, at, n, part(&r.Payload, skip, n))
		} else {
			a.members[i].note(at, at+n)
		}
		skip += n
	}
	if !a.members[p].takesWrites() {
		a.members[p].note(o.at, o.at+o.n)
		return
	}
	flags := r.Flags
	if a.defect == DefectFUADataOnly {
		flags &^= devices.FUA
	}
	to := o
	if a.defect == DefectAckBeforeParity {
		to = a.newOp(&devices.Request{Completer: forget{}})
		o.parityPayload.Versions = append([]devices.Stamp(nil), o.parityPayload.Versions...)
	}
	a.send(to, p, r.Op, flags, o.at, o.n, o.parityPayload)
}

// forget is for whom nobody waits.
type forget struct{}

func (forget) Done(*devices.Request) {}

// grow makes room for n bytes of content.
func (o *rowOp) grow(mode drive.Mode, n uint64) {
	if o.buffers == nil {
		o.buffers = &buffers{}
	}
	if mode == drive.RealBytes && uint64(len(o.bytes)) < n {
		o.bytes = make([]byte, n)
	}
	if mode == drive.Versions && uint64(len(o.stamps)) < n/devices.Sector {
		o.stamps = make([]devices.Stamp, n/devices.Sector)
	}
}

// slot is the k-th piece of n bytes of what was read.
func (o *rowOp) slot(k, n uint64) (p devices.Payload) {
	if len(o.bytes) > 0 {
		p.Bytes = o.bytes[k*n : (k+1)*n]
		return p
	}
	s := n / devices.Sector
	p.Versions = o.stamps[k*s : (k+1)*s]
	return p
}

// sum adds up all that was read, into the first piece.
func (o *rowOp) sum() devices.Payload {
	to := o.slot(0, o.n)
	for k := 1; k < o.reads; k++ {
		from := o.slot(uint64(k), o.n)
		xor(&to, 0, &from)
	}
	return to
}

// computeParity is the sum of what was read and of the new data.
func (a *Array) computeParity(o *op) {
	o.grow(a.media.Mode(), o.n)
	if o.reads == 0 {
		to := o.slot(0, o.n)
		clear(to.Bytes)
		clear(to.Versions)
	}
	to := o.sum()
	r, l := o.parent, &a.layout
	for skip := uint64(0); skip < r.Length; {
		n := l.rest(r.Offset+skip, r.Length-skip)
		_, at := l.locate(r.Offset + skip)
		p := part(&r.Payload, skip, n)
		if p.Versions == nil && to.Versions != nil {
			first, end := (at-o.at)/devices.Sector, (at-o.at+n+devices.Sector-1)/devices.Sector
			for i := first; i < end; i++ {
				to.Versions[i] ^= p.Stamp
			}
		} else {
			xor(&to, at-o.at, &p)
		}
		skip += n
	}
	o.parityPayload = to
}

// xor adds p to what to has from off on.
func xor(to *devices.Payload, off uint64, p *devices.Payload) {
	for i, b := range p.Bytes {
		to.Bytes[off+uint64(i)] ^= b
	}
	if to.Versions == nil {
		return
	}
	for i, s := range p.Versions {
		to.Versions[off/devices.Sector+uint64(i)] ^= s
	}
}

// deliver answers a READ with the sum of what was read.
func (a *Array) deliver(o *op) {
	sum, r := o.sum(), o.parent
	if r.Bytes != nil && sum.Bytes != nil {
		copy(r.Bytes[:r.Length], sum.Bytes)
	}
	copy(r.Versions, sum.Versions)
	for i, v := range sum.Versions {
		r.Stamp = drive.FoldStamps(r.Stamp, v, i == 0)
	}
}

// resynced makes the parity of a row what its data makes it, before anything is written
// there: where a medium that holds data was given, nothing is known of its parity.
func (a *Array) resynced(row uint64) {
	if a.fresh {
		return
	}
	if _, done := a.rows.Swap(row, 1); done {
		return
	}
	l := &a.layout
	size := uint64(devices.Sector)
	to, from := devices.Payload{}, devices.Payload{}
	if a.media.Mode() == drive.RealBytes {
		to.Bytes, from.Bytes = make([]byte, size), make([]byte, size)
	}
	for in := uint64(0); in < l.chunk; in += size {
		to.Stamp = 0
		clear(to.Bytes)
		for k := range l.data() {
			w := a.members[l.member(row, k)].window
			w.Read(row*l.chunk+in, size, &from)
			to.Stamp ^= from.Stamp
			xor(&to, 0, &devices.Payload{Bytes: from.Bytes})
		}
		a.parity.Write(row*l.chunk+in, size, drive.Content{Bytes: to.Bytes, Stamp: to.Stamp})
	}
}

// computed is a row of which the parity is in its place.
func (a *Array) computed(row uint64) bool {
	if a.fresh {
		return true
	}
	_, done := a.rows.Get(row)
	return done
}
