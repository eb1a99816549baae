package drive

// filter answers "surely not" or "perhaps" to the question whether any of some
// units is in a set: counters under a hash, and one for ranges too long to count
// unit by unit.
type filter struct {
	counters [filterSize]uint32
	long     int
}

const (
	filterSize = 1 << 14
	filterLong = 64 // units
)

func (f *filter) mark(first, end uint64, by int) {
	if end-first > filterLong {
		f.long += by
		return
	}
	for u := first; u < end; u++ {
		f.counters[filterAt(u)] += uint32(by)
	}
}

func (f *filter) any(first, end uint64) bool {
	if f.long > 0 || end-first > filterLong {
		return true
	}
	for u := first; u < end; u++ {
		if f.counters[filterAt(u)] > 0 {
			return true
		}
	}
	return false
}

func filterAt(u uint64) uint64 { return u * 0x9e3779b97f4a7c15 >> (64 - 14) }
