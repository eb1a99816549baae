package array

import (
	"slices"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/internal/sparse"
	"nbdbench/sim"
)

// state is whether a member counts.
type state uint8

const (
	inSync  state = iota // it has all data
	dropped              // it gets no commands
	syncing              // it gets what is written, and is not read
)

// member is one device of an array.
type member struct {
	dev     Member
	medium  drive.Media // of all its lives
	window  *window
	state   state
	life    uint32       // how often its power was cut
	pending int          // requests that it has
	stale   sparse.Table // pages that it may lack, in its own bytes
}

// page is the grain in which is noted what a member lacks, in bytes.
const page = 4096

func (m *member) reads() bool       { return m.state == inSync }
func (m *member) takesWrites() bool { return m.state != dropped }

// note takes down that the member may lack [off, end).
func (m *member) note(off, end uint64) {
	for p := off / page; p*page < end; p++ {
		m.stale.Swap(p, 1)
	}
}

// first is the first member that counts; 0 if none does.
func (a *Array) first() int {
	for i := range a.members {
		if a.members[i].reads() {
			return i
		}
	}
	return 0
}

// gone is the first member that does not count, or -1.
func (a *Array) gone() int {
	for i := range a.members {
		if !a.members[i].reads() {
			return i
		}
	}
	return -1
}

// counts reports whether one of a set of members counts.
func (a *Array) counts(set uint32) bool {
	for i := range a.members {
		if set&(1<<i) != 0 && a.members[i].reads() {
			return true
		}
	}
	return false
}

// dead reports whether so many members are gone that data is missing.
func (a *Array) dead() bool {
	missing := 0
	for i := range a.members {
		if !a.members[i].reads() {
			missing++
		}
	}
	return missing > a.spare()
}

// spare is how many members the array can do without.
func (a *Array) spare() int {
	switch a.cfg.Kind {
	case Mirror:
		return len(a.members) - 1
	case RAID5:
		return 1
	}
	return 0
}

// drop takes member i out, as it has failed a command, if the array can do without it.
func (a *Array) drop(i int) {
	m := &a.members[i]
	if !m.takesWrites() {
		return
	}
	missing := 0
	for k := range a.members {
		if k != i && !a.members[k].reads() {
			missing++
		}
	}
	if missing < a.spare() || m.state == syncing {
		a.leave(i)
	}
}

// leave ends a life of member i: nothing of it reaches its medium any more, and what is
// not there is noted.
func (a *Array) leave(i int) {
	m := &a.members[i]
	m.dev.Cut(0).Exposed(0, ^uint64(0), m.note)
	m.state, m.window.shut = dropped, true
}

// CutMember is what happens when member i loses its power alone: what its cache held is
// lost and it gets no commands until Resync has brought it up to date. What it has in
// progress fails. The error is that of opening it again.
func (a *Array) CutMember(i int, seed sim.Seed) error {
	m := &a.members[i]
	k := m.dev.Cut(seed)
	if m.takesWrites() {
		a.leave(i)
	}
	m.life++
	m.pending = 0
	m.window.shut = false
	k.Land(m.window)
	m.window.shut = true
	if err := a.open(i); err != nil {
		return err
	}
	if a.defect == DefectReturnsSilently {
		m.state = inSync
	}
	return nil
}

// Failed reports whether member i does not count.
func (a *Array) Failed(i int) bool { return !a.members[i].reads() }

// Resync brings a member that was dropped up to date: what it lacks is read from the
// others and written to it, a page at a time, beside the host's requests; then it is
// flushed and counts again. done, if not nil, gets the result.
func (a *Array) Resync(i int, done func(devices.Errno)) {
	m := &a.members[i]
	s := &resync{array: a, member: i, done: done}
	if m.state == inSync || a.dead() || a.spare() == 0 {
		s.end(devices.EIO)
		return
	}
	if m.state == dropped && m.window.shut {
		if err := a.open(i); err != nil {
			s.end(devices.EIO)
			return
		}
		m.life++
		m.pending = 0
	}
	m.state = syncing
	s.next()
}

// resync copies the pages that a member lacks, one after another.
type resync struct {
	array   *Array
	member  int
	pages   []uint64 // to be copied
	at      int
	request devices.Request // the parent of what is copied
	done    func(devices.Errno)
}

// next copies the next page, or flushes the member if there is none.
func (s *resync) next() {
	a, m := s.array, &s.array.members[s.member]
	if s.at == len(s.pages) {
		s.pages, s.at = s.pages[:0], 0
		m.stale.Each(0, sparse.MaxKey, func(p uint64, _ uint32) { s.pages = append(s.pages, p) })
		slices.Sort(s.pages)
	}
	s.request = devices.Request{Op: devices.OpFlush}
	s.request.Begin(a.loop.Now())
	o := a.newOp(&s.request)
	o.copy = s
	if len(s.pages) == 0 {
		a.send(o, s.member, devices.OpFlush, 0, 0, 0, devices.Payload{})
		return
	}
	o.at = s.pages[s.at] * page
	o.n = min(page, m.dev.Info().Size-o.at)
	s.at++
	s.request.Op = devices.OpRead
	a.locks.take(o, o.at, o.at+o.n)
}

// begin reads a page of the others.
func (s *resync) begin(o *op) {
	a := s.array
	o.reads, o.errno = 0, devices.OK
	o.grow(a.media.Mode(), uint64(len(a.members))*o.n)
	for i := range a.members {
		if m := &a.members[i]; m.reads() && (a.cfg.Kind == RAID5 || o.reads == 0) {
			a.send(o, i, devices.OpRead, 0, o.at, o.n, o.slot(uint64(o.reads), o.n))
			o.reads++
		}
	}
	if o.pending == 0 {
		s.finish(o, devices.EIO)
	}
}

// step goes on once a page was read or written, or the member was flushed.
func (s *resync) step(o *op) {
	a, m := s.array, &s.array.members[s.member]
	switch {
	case a.dead() || m.state != syncing:
		s.finish(o, devices.EIO)
	case s.request.Op == devices.OpFlush && o.errno == devices.OK && m.stale.Len() == 0:
		m.state = inSync
		s.finish(o, devices.OK)
	case s.request.Op == devices.OpRead && o.errno != devices.OK:
		s.begin(o) // without the member that has failed it
	case s.request.Op == devices.OpRead:
		s.request.Op = devices.OpWrite
		a.send(o, s.member, devices.OpWrite, 0, o.at, o.n, o.sum())
	default:
		if s.request.Op == devices.OpWrite {
			m.stale.Remove(o.at / page)
		}
		a.release(o)
		s.next()
	}
}

func (s *resync) finish(o *op, e devices.Errno) {
	s.array.release(o)
	s.end(e)
}

// end says how it went.
func (s *resync) end(e devices.Errno) {
	if s.done != nil {
		s.done(e)
	}
}
