// Package sparse maps the numbers of blocks to 32-bit values in little memory, however
// few or many of the blocks have one.
//
// A segment of 131,072 neighbouring keys is a hash table of 8 bytes an entry until an
// array of 4 bytes a key is no larger, and then that array. A key costs 9 to 14 bytes
// where few have a value, and 4 where all have.
package sparse

import "math/bits"

// MaxValue bounds what a Table holds.
const MaxValue = 1<<32 - 2

// MaxKey bounds the keys, which are below it: the blocks of 4 KiB of 16 PiB.
const MaxKey = 1 << 42

const (
	segmentBits = 17
	segmentKeys = 1 << segmentBits
	folderBits  = 10
	line        = 8 // entries in a row of the processor's cache
	least       = 8 // entries of a new hash table
)

// Table maps keys to values. The zero value is empty. It belongs to one loop.
type Table struct {
	folders []*[1 << folderBits]segment
	n       int
}

// segment is the values of segmentKeys keys: in entries, or in all.
type segment struct {
	entries []entry
	all     []uint32 // a value plus one; 0 is none
	used    int
}

// entry is a key's place in its segment plus one, and its value; key 0 is no entry.
type entry struct{ key, value uint32 }

// Len counts the keys that have a value.
func (t *Table) Len() int { return t.n }

// of is the segment of key, or nil if nothing near it has a value.
func (t *Table) of(key uint64) *segment {
	i := key >> (segmentBits + folderBits)
	if i >= uint64(len(t.folders)) || t.folders[i] == nil {
		return nil
	}
	return &t.folders[i][key>>segmentBits&(1<<folderBits-1)]
}

// made is the segment of key, which it makes.
func (t *Table) made(key uint64) *segment {
	if key >= MaxKey {
		panic("sparse: a key is too large")
	}
	i := int(key >> (segmentBits + folderBits))
	if i >= len(t.folders) {
		t.folders = append(t.folders, make([]*[1 << folderBits]segment, i+1-len(t.folders))...)
	}
	if t.folders[i] == nil {
		t.folders[i] = new([1 << folderBits]segment)
	}
	return &t.folders[i][key>>segmentBits&(1<<folderBits-1)]
}

// Get is the value of key, and whether it has one.
func (t *Table) Get(key uint64) (value uint32, ok bool) {
	s := t.of(key)
	if s == nil {
		return 0, false
	}
	k := uint32(key & (segmentKeys - 1))
	if s.all != nil {
		v := s.all[k]
		return v - 1, v != 0
	}
	if len(s.entries) == 0 {
		return 0, false
	}
	e := s.find(k)
	return e.value, e.key != 0
}

// Touch brings the line of key into the processor's cache. Its result means nothing.
func (t *Table) Touch(key uint64) uint32 {
	s := t.of(key)
	k := uint32(key & (segmentKeys - 1))
	switch {
	case s == nil:
		return 0
	case s.all != nil:
		return s.all[k]
	case len(s.entries) == 0:
		return 0
	}
	return s.entries[s.home(k)].key
}

// Swap gives key a value of at most MaxValue, and returns what it had before and
// whether it had any.
func (t *Table) Swap(key uint64, value uint32) (before uint32, ok bool) {
	s := t.made(key)
	k := uint32(key & (segmentKeys - 1))
	if s.all == nil && s.room(k) {
		e := s.find(k)
		before, ok = e.value, e.key != 0
		*e = entry{k + 1, value}
	}
	if s.all != nil {
		before, ok = s.all[k]-1, s.all[k] != 0
		s.all[k] = value + 1
	}
	if !ok {
		s.used++
		t.n++
	}
	return before, ok
}

// Remove takes key's value away, and returns it and whether there was one.
func (t *Table) Remove(key uint64) (before uint32, ok bool) {
	s := t.of(key)
	if s == nil || s.used == 0 {
		return 0, false
	}
	k := uint32(key & (segmentKeys - 1))
	if s.all != nil {
		before, ok = s.all[k]-1, s.all[k] != 0
		s.all[k] = 0
	} else if e := s.find(k); e.key != 0 {
		before, ok = e.value, true
		s.delete(k)
	}
	if ok {
		s.used--
		t.n--
	}
	return before, ok
}

// Each calls f with every key of [first, end) that has a value, and with that, in no
// order that means anything. f must not change the table.
func (t *Table) Each(first, end uint64, f func(key uint64, value uint32)) {
	for key := first; key < end; key = (key>>segmentBits + 1) << segmentBits {
		if i := key >> (segmentBits + folderBits); i >= uint64(len(t.folders)) {
			return
		} else if t.folders[i] == nil {
			key = (i+1)<<(segmentBits+folderBits) - 1
			continue
		}
		s, base := t.of(key), key&^(segmentKeys-1)
		if s.used == 0 {
			continue
		}
		if s.all != nil {
			for k := key - base; k < min(segmentKeys, end-base); k++ {
				if v := s.all[k]; v != 0 {
					f(base+k, v-1)
				}
			}
			continue
		}
		for _, e := range s.entries {
			if at := base + uint64(e.key) - 1; e.key != 0 && at >= first && at < end {
				f(at, e.value)
			}
		}
	}
}

// Clone returns an independent copy.
func (t *Table) Clone() Table {
	c := Table{folders: make([]*[1 << folderBits]segment, len(t.folders)), n: t.n}
	for i, folder := range t.folders {
		if folder == nil {
			continue
		}
		c.folders[i] = new([1 << folderBits]segment)
		for k := range folder {
			s := folder[k]
			s.entries, s.all = append([]entry(nil), s.entries...), append([]uint32(nil), s.all...)
			c.folders[i][k] = s
		}
	}
	return c
}

// home is where the search for k begins: neighbours share a line.
func (s *segment) home(k uint32) int {
	hash := uint64(k>>3+1) * 0x9e3779b97f4a7c15
	lines, _ := bits.Mul64(hash, uint64(len(s.entries)/line))
	return int(lines)*line + int(k&(line-1))
}

// find is the entry of k, or the empty one where it belongs. There is one.
func (s *segment) find(k uint32) *entry {
	for i := s.home(k); ; {
		if e := &s.entries[i]; e.key == k+1 || e.key == 0 {
			return e
		}
		if i++; i == len(s.entries) {
			i = 0
		}
	}
}

// room makes room for k, where it is not yet and the table is 7/8 full, and reports
// whether the segment still is a hash table.
func (s *segment) room(k uint32) bool {
	if (s.used+1)*8 <= len(s.entries)*7 || len(s.entries) > 0 && s.find(k).key != 0 {
		return true
	}
	old := s.entries
	size := max(least, len(old)*3/2/line*line)
	if len(old) == least {
		size = 2 * least
	}
	if 2*size >= segmentKeys { // 8 bytes against 4
		s.all = make([]uint32, segmentKeys)
		for _, e := range old {
			if e.key != 0 {
				s.all[e.key-1] = e.value + 1
			}
		}
		s.entries = nil
		return false
	}
	s.entries = make([]entry, size)
	for _, e := range old {
		if e.key != 0 {
			*s.find(e.key - 1) = e
		}
	}
	return true
}

// delete takes k out and closes the gap, so that no search stops short.
func (s *segment) delete(k uint32) {
	n := len(s.entries)
	gap := s.home(k)
	for s.entries[gap].key != k+1 {
		gap = (gap + 1) % n
	}
	for i := (gap + 1) % n; s.entries[i].key != 0; i = (i + 1) % n {
		home := s.home(s.entries[i].key - 1)
		if (i-home+n)%n >= (i-gap+n)%n {
			s.entries[gap] = s.entries[i]
			gap = i
		}
	}
	s.entries[gap] = entry{}
}
