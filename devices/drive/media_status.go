package drive

import "nbdbench/devices"

// Sparse is media that reports allocation without being read.
type Sparse interface {
	// Status is the state at off, and for how many of the next n bytes, at
	// least one, it is the same.
	Status(off, n uint64) (run uint64, f devices.StatusFlags)
}

// StatusOf is m's Status at off, or data all along where m is not Sparse. It is for
// media that wrap m.
func StatusOf(m Media, off, n uint64) (run uint64, f devices.StatusFlags) {
	if s, ok := m.(Sparse); ok {
		return s.Status(off, n)
	}
	return n, 0
}

// MediaStatus adds what m holds in the n bytes from off on. It reports false if
// b has no more room. Media that is not Sparse holds data everywhere.
func MediaStatus(m Media, off, n uint64, b *devices.BlockStatus) bool {
	s, ok := m.(Sparse)
	if !ok {
		return n == 0 || b.Add(n, 0)
	}
	for n > 0 {
		run, f := s.Status(off, n)
		if !b.Add(run, f) {
			return false
		}
		off, n = off+run, n-run
	}
	return true
}

// Status adds the newest acknowledged state of the n bytes from off on, as far
// as b has room. What is on its way to the medium counts as data.
func (c *Cache) Status(off, n uint64, b *devices.BlockStatus) {
	end := off + n
	for cur := c.index.seek(off); off < end; cur = c.index.next(cur) {
		e := c.index.at(cur)
		gap := end
		if e != nil {
			gap = min(end, max(off, e.Off))
		}
		if !c.mediaStatus(off, gap, b) || e == nil || gap == end {
			return
		}
		off = min(end, e.End)
		if !b.Add(off-gap, e.Content.status()) {
			return
		}
	}
}

// mediaStatus is the state of [off, end), of which nothing is dirty.
func (c *Cache) mediaStatus(off, end uint64, b *devices.BlockStatus) bool {
	for off < end {
		from, to := c.inFlight(off, end)
		if !MediaStatus(c.media, off, from-off, b) {
			return false
		}
		if from < to && !b.Add(to-from, 0) {
			return false
		}
		off = to
	}
	return true
}

// inFlight is the first part of [off, end) that is in flight; (end, end) if
// there is none.
func (c *Cache) inFlight(off, end uint64) (from, to uint64) {
	from, to = end, end
	for f := c.flights; f != nil; f = f.next {
		for i := range f.pieces {
			if p := &f.pieces[i]; p.off < p.end && p.end > off && max(p.off, off) < from {
				from, to = max(p.off, off), min(p.end, end)
			}
		}
	}
	return from, to
}

func (c Content) status() devices.StatusFlags {
	switch {
	case c.Zero && c.Provision:
		return devices.StatusZero
	case c.Zero:
		return devices.StatusZero | devices.StatusHole
	default:
		return 0
	}
}

// maxSpans bounds a spans: what would go beyond is not noted.
const maxSpans = 4096

// spans is a set of bytes as ascending, disjoint ranges.
type spans []span

type span struct{ off, end uint64 }

// after is the index of the first span that ends after off.
func (s spans) after(off uint64) int {
	lo, hi := 0, len(s)
	for lo < hi {
		if mid := (lo + hi) / 2; s[mid].end > off {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// at reports whether off is in the set, and up to where that holds.
func (s spans) at(off uint64) (in bool, until uint64) {
	i := s.after(off)
	switch {
	case i == len(s):
		return false, ^uint64(0)
	case s[i].off > off:
		return false, s[i].off
	default:
		return true, s[i].end
	}
}

// cut takes [off, end) out.
func (s *spans) cut(off, end uint64) {
	i := s.after(off)
	var rest spans
	j := i
	for ; j < len(*s) && (*s)[j].off < end; j++ {
		if x := (*s)[j]; x.off < off {
			rest = append(rest, span{x.off, off})
		}
		if x := (*s)[j]; x.end > end {
			rest = append(rest, span{end, x.end})
		}
	}
	if len(*s) >= maxSpans && len(rest) > j-i {
		rest = rest[:1] // the part behind is forgotten
	}
	s.replace(i, j, rest)
}

// add puts [off, end) in, unless the set is full.
func (s *spans) add(off, end uint64) {
	if len(*s) >= maxSpans {
		return
	}
	i := s.after(off)
	if i > 0 && (*s)[i-1].end == off {
		i--
	}
	j := i
	for ; j < len(*s) && (*s)[j].off <= end; j++ {
		off, end = min(off, (*s)[j].off), max(end, (*s)[j].end)
	}
	s.replace(i, j, spans{{off, end}})
}

func (s *spans) replace(i, j int, with spans) {
	*s = append((*s)[:i:i], append(with, (*s)[j:]...)...)
}
