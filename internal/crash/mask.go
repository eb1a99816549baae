package crash

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// mask is a Device that lets only some requests through and answers the others
// at once, so that a history can be made shorter without another one taking its
// place. The application's observer asks it first.
type mask struct {
	devices.Device
	loop *sim.Loop
	keep map[uint64]bool // nil is all
	last uint64          // of keep
	busy int             // let through and not done
	n    uint64
	ops  []devices.Op // of all requests so far
	away map[*devices.Request]bool
}

func newMask(loop *sim.Loop, d devices.Device, requests []uint64) *mask {
	m := &mask{Device: d, loop: loop}
	if requests != nil {
		m.keep, m.away = map[uint64]bool{}, map[*devices.Request]bool{}
		for _, n := range requests {
			m.keep[n] = true
			m.last = max(m.last, n)
		}
	}
	return m
}

// next counts r, which is about to be submitted, and reports whether it goes
// through.
func (m *mask) next(r *devices.Request) bool {
	m.n++
	m.ops = append(m.ops, r.Op)
	if m.keep == nil || m.keep[m.n] {
		m.busy++
		return true
	}
	m.away[r] = true
	return false
}

// masked reports whether r, which is done, did not go through.
func (m *mask) masked(r *devices.Request) bool {
	if !m.away[r] {
		m.busy--
		return false
	}
	delete(m.away, r)
	return true
}

// over reports whether all requests that go through are done. Without a choice of
// requests there is no last one.
func (m *mask) over() bool { return m.keep != nil && m.n >= m.last && m.busy == 0 }

// Submit forwards r or answers it.
func (m *mask) Submit(r *devices.Request) {
	if !m.away[r] {
		m.Device.Submit(r)
		return
	}
	r.Timer.Owner = r
	m.loop.After(&r.Timer, 0, m)
}

// Fire answers a request that did not go through.
func (m *mask) Fire(t *sim.Timer) { t.Owner.(*devices.Request).Finish(devices.OK) }
