package array

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
)

// window is the medium of one member: a leg's own, or that part of the array's medium
// that a member of a stripe holds, with its share of the parity. After shut nothing is
// written any more, as its member has no power or has been dropped.
type window struct {
	layout *layout // nil is a leg, whose medium is all of data
	member int
	data   drive.Media
	parity drive.Media // a chunk for each row; nil but of RAID 5
	shut   bool
}

// Mode is how the content is kept.
func (w *window) Mode() drive.Mode { return w.data.Mode() }

// Clone copies the medium with all windows of it.
func (w *window) Clone() drive.Media {
	if w.layout == nil {
		return w.data.Clone()
	}
	q := *w
	q.shut, q.data = false, w.data.Clone()
	if w.parity != nil {
		q.parity = w.parity.Clone()
	}
	return &q
}

// place is the medium that has the member's byte at, and where; nil is past the end.
func (w *window) place(at uint64) (m drive.Media, off uint64) {
	if w.layout == nil {
		return w.data, at
	}
	off, isData := w.layout.logical(w.member, at)
	switch {
	case !isData:
		return w.parity, at
	case off >= w.layout.size:
		return nil, 0
	}
	return w.data, off
}

// piece is how many of n bytes at at are together.
func (w *window) piece(at, n uint64) uint64 {
	if w.layout == nil {
		return n
	}
	return w.layout.rest(at, n)
}

// Write writes, unless the window is shut. What is past the array's end is dropped.
func (w *window) Write(off, n uint64, c drive.Content) {
	if w.shut {
		return
	}
	for done := uint64(0); done < n; {
		part := w.piece(off+done, n-done)
		m, at := w.place(off + done)
		if m == w.data && w.layout != nil {
			part = min(part, w.layout.size-at)
		}
		if m != nil {
			m.Write(at, part, c.Slice(done, part))
			done += part
			continue
		}
		done += w.piece(off+done, n-done)
	}
}

// Read fills p.
func (w *window) Read(off, n uint64, p *devices.Payload) {
	if w.data.Mode() == drive.Versions {
		w.readVersions(off, n, p)
		return
	}
	for done := uint64(0); done < n; {
		part := w.piece(off+done, n-done)
		m, at := w.place(off + done)
		q := devices.Payload{Bytes: p.Bytes[done : done+part]}
		switch {
		case m == nil:
			clear(q.Bytes)
		case m == w.data && w.layout != nil && at+part > w.layout.size:
			clear(q.Bytes)
			m.Read(at, w.layout.size-at, &q)
		default:
			m.Read(at, part, &q)
		}
		done += part
	}
}

func (w *window) readVersions(off, n uint64, p *devices.Payload) {
	if w.layout == nil {
		w.data.Read(off, n, p)
		return
	}
	first, end := off/devices.Sector, (off+n+devices.Sector-1)/devices.Sector
	for s := first; s < end; s++ {
		v := w.Stamp(s)
		if p.Versions != nil {
			p.Versions[s-first] = v
		}
		p.Stamp = drive.FoldStamps(p.Stamp, v, s == first)
	}
}

// Stamp is the version of a sector of the member.
func (w *window) Stamp(sector uint64) devices.Stamp {
	m, off := w.place(sector * devices.Sector)
	if m == nil {
		return 0
	}
	return m.Stamp(off / devices.Sector)
}

// Status is that of the medium.
func (w *window) Status(off, n uint64) (run uint64, f devices.StatusFlags) {
	n = w.piece(off, n)
	m, at := w.place(off)
	if m == nil {
		return n, devices.StatusZero | devices.StatusHole
	}
	return drive.StatusOf(m, at, n)
}
