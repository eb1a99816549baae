package history

// A page is eight sectors, which nearly always share their history.
const pageSectors = 8

// bulkLength is the longest command, in bytes, that is kept sector by sector: 32
// MiB, the longest WRITE of the protocol. A longer TRIM or WRITE_ZEROES is kept
// as one range; else that of a whole device would make a page of all its pages.
const bulkLength = 32 << 20

// grid has a T for each sector that was touched: one for a page, until a part
// of the page is touched, then eight. Nothing is ever removed.
type grid[T any] struct {
	index  map[uint64]uint32 // page to its place in pages
	pages  []gridPage[T]     // in the order in which they were first touched
	splits [][pageSectors]T
}

type gridPage[T any] struct {
	number uint64
	split  uint32 // place in splits plus one; 0 is whole
	whole  [1]T
}

func newGrid[T any]() grid[T] { return grid[T]{index: make(map[uint64]uint32)} }

// cells returns the cells of the sectors from first on that lie in one page,
// and the first sector after them. It is used until it has reached end.
func (g *grid[T]) cells(first, end uint64) (cells []T, next uint64) {
	number := first / pageSectors
	next = min(end, (number+1)*pageSectors)
	i, ok := g.index[number]
	if !ok {
		i = uint32(len(g.pages))
		g.index[number] = i
		g.pages = append(g.pages, gridPage[T]{number: number})
	}
	p := &g.pages[i]
	if p.split == 0 && next-first == pageSectors {
		return p.whole[:], next
	}
	if p.split == 0 {
		g.cut(p)
	}
	in := first % pageSectors
	return g.splits[p.split-1][in : in+next-first], next
}

func (g *grid[T]) cut(p *gridPage[T]) {
	var s [pageSectors]T
	for i := range s {
		s[i] = p.whole[0]
	}
	g.splits = append(g.splits, s)
	p.split = uint32(len(g.splits))
}

// at returns the cell of a sector, or nil if its page was never touched.
func (g *grid[T]) at(sector uint64) *T {
	i, ok := g.index[sector/pageSectors]
	if !ok {
		return nil
	}
	p := &g.pages[i]
	if p.split == 0 {
		return &p.whole[0]
	}
	return &g.splits[p.split-1][sector%pageSectors]
}

// zeroes is what a sector's writes that show as stamp 0 allow: such a version
// is not before a write that was received while one of them was in progress, or
// before ack.
type zeroes struct {
	ack  uint64 // the latest completion of one
	open uint32 // how many are in progress
}

// after reports whether one of them is possible although a write that was
// received at seq is durable.
func (z *zeroes) after(seq uint64) bool { return z.open > 0 || z.ack > seq }

func (z *zeroes) done(seq uint64) {
	z.open--
	z.ack = seq
}

// end ends all that are in progress.
func (z *zeroes) end(seq uint64) {
	if z.open > 0 {
		z.open, z.ack = 0, seq
	}
}
