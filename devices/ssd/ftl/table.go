package ftl

// table maps logical units to physical ones: open addressing with linear
// probing, 8 bytes an entry, in segments that grow one at a time, so that no
// single insertion moves more than a segment.
type table struct {
	segments [segments]segment
	n        int
}

const (
	segmentBits = 10
	segments    = 1 << segmentBits
)

type segment struct {
	entries []entry
	used    int
	shift   uint // of the hash: its low 54 bits down to a line of eight entries
}

// entry is a logical unit plus one, and where it lies; key 0 is no entry.
type entry struct{ key, value uint32 }

// mix is the finalizer of splitmix64: all bits of the result depend on all of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// find is the segment of unit u and its entry there, or the empty one where it
// belongs; nil in a segment without entries.
func (t *table) find(u uint32) (*segment, *entry) {
	h := mix(uint64(u >> 3))
	s := &t.segments[h>>(64-segmentBits)]
	if len(s.entries) == 0 {
		return s, nil
	}
	mask := len(s.entries) - 1
	for i := s.at(h, u); ; i = (i + 1) & mask {
		if e := &s.entries[i]; e.key == u+1 || e.key == 0 {
			return s, e
		}
	}
}

func (t *table) get(u uint32) (value uint32, ok bool) {
	_, e := t.find(u)
	if e == nil || e.key == 0 {
		return 0, false
	}
	return e.value, true
}

func (t *table) put(u, value uint32) { t.swap(u, value) }

// swap puts u and returns what it had before, and whether it was there.
func (t *table) swap(u, value uint32) (before uint32, ok bool) {
	s, e := t.find(u)
	if e != nil && e.key != 0 {
		before = e.value
		e.value = value
		return before, true
	}
	if e == nil || (s.used+1)*8 > len(s.entries)*7 {
		s.grow()
		_, e = t.find(u)
	}
	*e = entry{u + 1, value}
	s.used++
	t.n++
	return 0, false
}

// remove takes u out and closes the gap, so that no probe stops short.
func (t *table) remove(u uint32) {
	s, e := t.find(u)
	if e == nil || e.key == 0 {
		return
	}
	mask := len(s.entries) - 1
	gap := s.home(u)
	for s.entries[gap].key != u+1 {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; s.entries[i].key != 0; i = (i + 1) & mask {
		home := s.home(s.entries[i].key - 1)
		if (i-home)&mask >= (i-gap)&mask {
			s.entries[gap] = s.entries[i]
			gap = i
		}
	}
	s.entries[gap] = entry{}
	s.used--
	t.n--
}

// home is where the probe for u begins.
func (s *segment) home(u uint32) int { return s.at(mix(uint64(u>>3)), u) }

// at is home, given the hash: eight neighbours share a line of the cache.
func (s *segment) at(h uint64, u uint32) int {
	return int(h<<segmentBits>>s.shift)<<3&(len(s.entries)-1) | int(u&7)
}

// touch brings the line of u into the processor's cache. Its result means nothing.
func (t *table) touch(u uint32) uint32 {
	h := mix(uint64(u >> 3))
	s := &t.segments[h>>(64-segmentBits)]
	if len(s.entries) == 0 {
		return 0
	}
	return s.entries[s.at(h, u)].key
}

func (s *segment) grow() {
	old := s.entries
	s.entries = make([]entry, max(8, 2*len(old)))
	bits := uint(3)
	for 1<<bits < len(s.entries) {
		bits++
	}
	s.shift = 64 - (bits - 3)
	mask := len(s.entries) - 1
	for _, e := range old {
		if e.key == 0 {
			continue
		}
		i := s.home(e.key - 1)
		for s.entries[i].key != 0 {
			i = (i + 1) & mask
		}
		s.entries[i] = e
	}
}

// each calls f with every unit in the table that lies in [first, end), in no
// order that means anything; f must not change the table.
func (t *table) each(first, end uint64, f func(u uint32)) {
	for i := range t.segments {
		for _, e := range t.segments[i].entries {
			if u := uint64(e.key) - 1; e.key != 0 && u >= first && u < end {
				f(e.key - 1)
			}
		}
	}
}
