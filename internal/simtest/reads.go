package simtest

import (
	"fmt"

	"nbdbench/devices"
)

// readers knows, from what the application sees, which versions a read may
// return: not one that was over before a write began whose reply, or whose data
// in another read, had been seen before the read was sent. Here TRIM is a write
// of zeros, as the models have it.
type readers struct {
	base    uint64 // the first sector
	seq     uint64
	writes  []span // by stamp
	sectors []readable
}

// span is one write's range and time.
type span struct {
	first, end   uint64
	submit, done uint64 // done 0 is in progress
}

// readable is what is known of a sector.
type readable struct {
	floor  uint64 // when the newest write that has been seen began
	zeroes int    // writes of zeros in progress
	zeroed uint64 // when the last one ended
}

func newReaders(base, sectors uint64) *readers {
	return &readers{base: base, writes: make([]span, 1), sectors: make([]readable, sectors)}
}

func sectorsOf(r *devices.Request) (first, end uint64) {
	return r.Offset / devices.Sector, r.End() / devices.Sector
}

func (m *readers) of(r *devices.Request) []readable {
	first, end := sectorsOf(r)
	return m.sectors[first-m.base : end-m.base]
}

// submit takes down that write command r is sent.
func (m *readers) submit(r *devices.Request) {
	m.seq++
	r.Slot = uint32(m.seq)
	first, end := sectorsOf(r)
	if r.Op == devices.OpWrite {
		m.writes = append(m.writes, span{first, end, m.seq, 0})
		return
	}
	for i := range m.of(r) {
		m.of(r)[i].zeroes++
	}
}

// done takes down that write command r has been replied to.
func (m *readers) done(r *devices.Request) {
	m.seq++
	if r.Op == devices.OpWrite {
		m.writes[r.Stamp].done = m.seq
	}
	of := m.of(r)
	for i := range of {
		if r.Op != devices.OpWrite {
			of[i].zeroes--
			of[i].zeroed = m.seq
		}
		of[i].floor = max(of[i].floor, uint64(r.Slot))
	}
}

// floors is what a read that is sent now must not be older than.
func (m *readers) floors(r *devices.Request, to []uint64) []uint64 {
	to = to[:0]
	for _, s := range m.of(r) {
		to = append(to, s.floor)
	}
	return to
}

// check judges what read r returned, and takes down that it was seen.
func (m *readers) check(r *devices.Request, floors []uint64, versions []devices.Stamp) error {
	m.seq++
	first, _ := sectorsOf(r)
	of := m.of(r)
	for i, v := range versions {
		if !m.legal(&of[i], first+uint64(i), floors[i], v) {
			return fmt.Errorf("%v returned version %d of sector %d, which a newer write had replaced before the read was sent (write %+v)",
				r, v, first+uint64(i), m.write(v))
		}
		if v != 0 {
			of[i].floor = max(of[i].floor, m.writes[v].submit)
		}
	}
	return nil
}

func (m *readers) write(v devices.Stamp) span {
	if v < devices.Stamp(len(m.writes)) {
		return m.writes[v]
	}
	return span{}
}

func (m *readers) legal(s *readable, sector, floor uint64, v devices.Stamp) bool {
	if v == 0 {
		return floor == 0 || s.zeroes > 0 || s.zeroed > floor
	}
	w := m.write(v)
	return w.first <= sector && sector < w.end && (w.done == 0 || w.done > floor)
}
