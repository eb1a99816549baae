package drive

import "sort"

// Extent is a run of bytes in a write cache that was written as one and is not
// durable yet.
type Extent struct {
	Off, End uint64
	Content  Content
	// First is the completion sequence of the oldest version in the range that
	// is not durable: a FLUSH whose snapshot is at least First has to write it.
	First uint64
	Txn   uint64 // whose write it was; 0 is not known

	// Where is for the mechanism: where on the medium the extent begins. It is
	// zero until the mechanism sets it, and again when Off changes.
	Where Where

	older, newer *Extent // in order of First
}

// Where is a place on a medium, in the mechanism's terms.
type Where struct {
	Known    bool
	Head     int32
	Cylinder int64
	Angle    int64
}

// Len is the extent's length in bytes.
func (e *Extent) Len() uint64 { return e.End - e.Off }

const leafSize = 64

// extents is an ordered index of disjoint extents: leaves of up to leafSize,
// in a sorted list. Looking up is two binary searches, inserting moves at most
// one leaf; the list of leaves only moves when one splits.
type extents struct {
	leaves []*leaf
	n      int
	spare  []*leaf
}

type leaf struct {
	n    int
	keys [leafSize]uint64 // Off of each
	ext  [leafSize]*Extent
}

// cursor is a place in the index. It is good until the index changes.
type cursor struct{ leaf, i int }

// seek finds the first extent that ends after off.
func (x *extents) seek(off uint64) cursor {
	lo, hi := 0, len(x.leaves)
	for lo < hi {
		mid := (lo + hi) / 2
		if x.leaves[mid].keys[0] <= off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return cursor{}
	}
	l := x.leaves[lo-1]
	i := l.search(off)
	if i > 0 && l.ext[i-1].End > off {
		return cursor{lo - 1, i - 1}
	}
	if i == l.n {
		return cursor{lo, 0}
	}
	return cursor{lo - 1, i}
}

// search is the index of the first key above off.
func (l *leaf) search(off uint64) int {
	lo, hi := 0, l.n
	for lo < hi {
		mid := (lo + hi) / 2
		if l.keys[mid] <= off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// at returns the extent under the cursor, or nil past the end.
func (x *extents) at(c cursor) *Extent {
	if c.leaf >= len(x.leaves) {
		return nil
	}
	return x.leaves[c.leaf].ext[c.i]
}

func (x *extents) next(c cursor) cursor {
	if c.i+1 < x.leaves[c.leaf].n {
		return cursor{c.leaf, c.i + 1}
	}
	return cursor{c.leaf + 1, 0}
}

func (x *extents) prev(c cursor) (cursor, bool) {
	if c.i > 0 {
		return cursor{c.leaf, c.i - 1}, true
	}
	if c.leaf > 0 {
		return cursor{c.leaf - 1, x.leaves[c.leaf-1].n - 1}, true
	}
	return c, false
}

// insert adds e, which must not overlap any other.
func (x *extents) insert(e *Extent) {
	x.n++
	if len(x.leaves) == 0 {
		x.leaves = append(x.leaves, x.newLeaf())
	}
	li := sort.Search(len(x.leaves), func(i int) bool { return x.leaves[i].n > 0 && x.leaves[i].keys[0] > e.Off }) - 1
	li = max(li, 0)
	l := x.leaves[li]
	if l.n == leafSize {
		l = x.splitLeaf(li, e.Off)
	}
	i := l.search(e.Off)
	copy(l.keys[i+1:l.n+1], l.keys[i:l.n])
	copy(l.ext[i+1:l.n+1], l.ext[i:l.n])
	l.keys[i], l.ext[i] = e.Off, e
	l.n++
}

func (x *extents) newLeaf() *leaf {
	if n := len(x.spare); n > 0 {
		l := x.spare[n-1]
		x.spare = x.spare[:n-1]
		return l
	}
	return new(leaf)
}

// splitLeaf makes room in full leaf li and returns the half where off belongs.
// A rising sequence of offsets leaves full leaves behind.
func (x *extents) splitLeaf(li int, off uint64) *leaf {
	l, r := x.leaves[li], x.newLeaf()
	x.leaves = append(x.leaves, nil)
	copy(x.leaves[li+2:], x.leaves[li+1:])
	x.leaves[li+1] = r
	if off > l.keys[leafSize-1] && li+2 == len(x.leaves) {
		return r
	}
	const half = leafSize / 2
	r.n = copy(r.keys[:], l.keys[half:])
	copy(r.ext[:], l.ext[half:])
	clear(l.ext[half:])
	l.n = half
	if off > r.keys[0] {
		return r
	}
	return l
}

// remove takes e out.
func (x *extents) remove(e *Extent) {
	c := x.seek(e.Off)
	l := x.leaves[c.leaf]
	if l.ext[c.i] != e {
		panic("devices: extent is not in the index")
	}
	copy(l.keys[c.i:], l.keys[c.i+1:l.n])
	copy(l.ext[c.i:], l.ext[c.i+1:l.n])
	l.n--
	l.ext[l.n] = nil
	x.n--
	if l.n == 0 {
		x.leaves = append(x.leaves[:c.leaf], x.leaves[c.leaf+1:]...)
		x.spare = append(x.spare, l)
	}
}

// shrink moves e's beginning to off, which keeps its place in the order.
func (x *extents) shrink(e *Extent, off uint64) {
	c := x.seek(e.Off)
	x.leaves[c.leaf].keys[c.i] = off
	e.Content = e.Content.Slice(off-e.Off, e.End-off)
	e.Off, e.Where = off, Where{}
}

// ageList orders extents by First, oldest at the head.
type ageList struct{ oldest, newest *Extent }

// insertBefore puts e before at; nil is the end.
func (l *ageList) insertBefore(e, at *Extent) {
	e.newer = at
	if at == nil {
		e.older, l.newest = l.newest, e
	} else {
		e.older, at.older = at.older, e
	}
	if e.older == nil {
		l.oldest = e
	} else {
		e.older.newer = e
	}
}

func (l *ageList) remove(e *Extent) {
	if e.older == nil {
		l.oldest = e.newer
	} else {
		e.older.newer = e.newer
	}
	if e.newer == nil {
		l.newest = e.older
	} else {
		e.newer.older = e.older
	}
	e.older, e.newer = nil, nil
}
