package ftl

import (
	"nbdbench/sim"
)

// balance lets collection move as much as n units of the host's need: for each
// unit that the victim gives back, its share of the valid ones.
func (f *FTL) balance(n uint64) {
	if f.free.n > f.cfg.Reserve {
		return
	}
	if f.victim < 0 && !f.choose() {
		return
	}
	// The victim has to be done with when the host has filled what it gives back,
	// so its places go by size/gain times as fast as the host's.
	f.debt += n * f.cfg.size()
	for f.victim >= 0 && f.debt >= f.gain {
		f.debt -= min(f.debt, f.gain*f.collectRow())
	}
	if f.victim < 0 {
		f.debt = 0
	}
}

// choose picks the next victim.
func (f *FTL) choose() bool {
	i := f.pick.pick()
	if i < 0 {
		return false
	}
	f.pick.remove(i)
	b := &f.blocks[i]
	b.state = stateVictim
	f.victim, f.at = i, 0
	f.gain = max(f.cfg.size()-uint64(b.valid), 1)
	f.chosen(b.valid)
	return true
}

// collectRow moves the next row of the victim that has valid units, and frees
// the victim behind its last. It returns how many places it has gone by.
func (f *FTL) collectRow() (places uint64) {
	if f.victim < 0 && !f.choose() {
		panic("ftl: nothing to collect") // Validate sees to spare space
	}
	i := f.victim
	next, moved := f.moveRow(i, f.at)
	f.stats.Moved += uint64(moved)
	places = uint64(next - f.at)
	f.at = next
	if f.blocks[i].valid == 0 || next >= f.limit(&f.blocks[i]) {
		f.victim = -1
		f.release(i, &f.free)
	}
	return places
}

// release makes superblock i free.
func (f *FTL) release(i int32, pool *ring) {
	b := &f.blocks[i]
	if b.valid != 0 {
		panic("ftl: a superblock with valid units is freed")
	}
	b.state, b.used = stateFree, 0
	f.backs.give(b.back)
	b.back = nil
	b.erases++
	f.stats.Erases++
	f.sink.Erase(i)
	pool.push(i)
}

// backs are lists of units of superblocks that are free, for the next that are opened.
type backs struct{ lists [][]uint32 }

// take is a list of n units with any content.
func (b *backs) take(n uint32) []uint32 {
	for i := len(b.lists) - 1; i >= 0; i-- {
		if list := b.lists[i]; len(list) == int(n) {
			b.lists = append(b.lists[:i], b.lists[i+1:]...)
			return list
		}
	}
	return make([]uint32, n)
}

func (b *backs) give(list []uint32) {
	if list != nil {
		b.lists = append(b.lists, list)
	}
}

// moveRow moves the valid units of the first row at or after place at of
// superblock i, and returns the place behind that row and how many it moved.
func (f *FTL) moveRow(i int32, at uint32) (next uint32, moved uint32) {
	b := &f.blocks[i]
	n, limit := f.rowUnits(b), f.limit(b)
	for at < limit && moved == 0 {
		row := at / n
		units := f.validIn(i, row*n, n)
		if moved = uint32(len(units)); moved > 0 {
			f.sink.Collect(Row{Block: i, Index: row, SLC: b.slc}, moved)
			f.moveUnits(i, units)
		}
		at = (row + 1) * n
	}
	return at, moved
}

func (f *FTL) moveUnits(i int32, units []uint32) {
	for _, u := range units {
		if f.moved.block < 0 {
			f.open(&f.moved)
		}
		f.put(&f.moved, uint64(u), i)
	}
}

// validIn lists the units that are valid at n places from from on. The list is
// good until the next one.
func (f *FTL) validIn(i int32, from, n uint32) []uint32 {
	units := f.units[:0]
	b := &f.blocks[i]
	if b.back != nil {
		for at := from; at < from+n; at++ {
			if u := b.back[at]; u != none {
				f.warm += f.table.Touch(uint64(u))
				units = append(units, u)
			}
		}
		f.units = units
		return units
	}
	// Slot s is at place s*size/count: those at [from, from+n) are from
	// ceil(from*count/size) on.
	count, size := f.fill.count(i), f.cfg.size()
	for s := (uint64(from)*count + size - 1) / size; s < count && f.spread(i, s) < from+n; s++ {
		u := uint32(f.fill.unit(i, s))
		f.warm += f.table.Touch(uint64(u))
		units = append(units, u)
	}
	f.units = units
	kept := units[:0]
	for _, u := range units {
		if _, moved := f.table.Get(uint64(u)); !moved {
			kept = append(kept, u)
		}
	}
	return kept
}

// Fold moves one row of the oldest full pSLC superblock to the medium's own mode,
// as a drive does when it has nothing else to do. It reports whether there was
// one.
func (f *FTL) Fold() bool {
	for f.free.n < 2 {
		f.collectRow()
	}
	if f.fold < 0 {
		if f.folds.n == 0 {
			return false
		}
		f.fold, f.foldAt = f.folds.pop(), 0
		f.blocks[f.fold].state = stateVictim
	}
	i := f.fold
	next, moved := f.moveRow(i, f.foldAt)
	f.stats.Folded += uint64(moved)
	f.foldAt = next
	if f.blocks[i].valid == 0 || next >= f.limit(&f.blocks[i]) {
		f.fold = -1
		f.release(i, &f.slc)
	}
	f.balance(uint64(moved))
	return true
}

// Foldable reports whether Fold has anything to do.
func (f *FTL) Foldable() bool { return f.fold >= 0 || f.folds.n > 0 }

// ring is a first-in-first-out list of superblocks, so that wear is spread.
type ring struct {
	items []int32
	head  int
	n     int
}

func (r *ring) grow(n int) { r.items = make([]int32, n) }

func (r *ring) push(i int32) {
	r.items[(r.head+r.n)%len(r.items)] = i
	r.n++
}

func (r *ring) pop() int32 {
	i := r.items[r.head]
	r.head = (r.head + 1) % len(r.items)
	r.n--
	return i
}

// picker knows the full superblocks and chooses the next victim among them.
type picker struct {
	victim  Victim
	choices int
	draw    sim.Stream
	turn    uint64
	blocks  []block
	closed  []int32 // RandomGreedy: all; FIFO: oldest first, from head on
	head    int
	heads   []int32 // Greedy: by valid units, the first of a list
	least   int     // no list below it has a superblock
}

func newPicker(cfg *Config, blocks []block) picker {
	p := picker{victim: cfg.Victim, choices: cfg.Choices, draw: cfg.Seed.Stream("ftl.victim"), blocks: blocks}
	if p.victim == Greedy {
		p.heads = make([]int32, cfg.size()+1)
		for i := range p.heads {
			p.heads[i] = -1
		}
		p.least = len(p.heads)
	}
	return p
}

func (p *picker) add(i int32) {
	if p.victim == Greedy {
		p.link(i)
		return
	}
	p.blocks[i].place = int32(len(p.closed))
	p.closed = append(p.closed, i)
}

// link puts superblock i first among those with as many valid units.
func (p *picker) link(i int32) {
	b := &p.blocks[i]
	head := &p.heads[b.valid]
	b.prev, b.next = -1, *head
	b.place = int32(b.valid)
	if *head >= 0 {
		p.blocks[*head].prev = i
	}
	*head = i
	p.least = min(p.least, int(b.valid))
}

// fell is called when superblock i has lost a valid unit.
func (p *picker) fell(i int32) {
	if p.victim == Greedy {
		p.remove(i)
		p.link(i)
	}
}

func (p *picker) remove(i int32) {
	b := &p.blocks[i]
	switch p.victim {
	case Greedy:
		if b.prev >= 0 {
			p.blocks[b.prev].next = b.next
		} else {
			p.heads[b.place] = b.next
		}
		if b.next >= 0 {
			p.blocks[b.next].prev = b.prev
		}
	case FIFO:
		p.head++ // it was the oldest
		if p.head > len(p.closed)/2 {
			p.closed = append(p.closed[:0], p.closed[p.head:]...)
			p.head = 0
		}
	case RandomGreedy:
		last := p.closed[len(p.closed)-1]
		p.closed[b.place] = last
		p.blocks[last].place = b.place
		p.closed = p.closed[:len(p.closed)-1]
	}
}

// pick is the next victim, or -1. A superblock in which all is valid gives
// nothing back and is not one.
func (p *picker) pick() int32 {
	switch p.victim {
	case Greedy:
		for p.least < len(p.heads) && p.heads[p.least] < 0 {
			p.least++
		}
		if p.least < len(p.heads) {
			return p.heads[p.least]
		}
	case FIFO:
		if p.head < len(p.closed) {
			return p.closed[p.head]
		}
	case RandomGreedy:
		return p.sample()
	}
	return -1
}

func (p *picker) sample() int32 {
	best := int32(-1)
	for k := range p.choices {
		if len(p.closed) == 0 {
			return -1
		}
		i := p.closed[p.draw.Uint64(p.turn, uint64(k))%uint64(len(p.closed))]
		if best < 0 || p.blocks[i].valid < p.blocks[best].valid {
			best = i
		}
	}
	p.turn++
	return best
}
