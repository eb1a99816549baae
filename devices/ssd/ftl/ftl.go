package ftl

import (
	"errors"
	"fmt"

	"nbdbench/internal/sparse"
	"nbdbench/sim"
)

// Config is a translation layer. There is no useful zero value; see Validate.
type Config struct {
	Units    uint64 // logical mapping units
	Blocks   int    // superblocks that hold data in the medium's own mode
	Rows     int    // rows of a superblock
	RowUnits int    // units in a row

	SLCBlocks   int // further superblocks, used as pSLC; 0 is no pSLC
	SLCRowUnits int // units in a row of these
	// SLCFold has the host's data go through pSLC even when it is full: then as
	// much is folded as the host writes. Without it the host writes past pSLC.
	SLCFold bool

	Reserve int    // superblocks that collection keeps free, at least 2
	Victim  Victim // how collection chooses
	Choices int    // of RandomGreedy

	Fill Fill
	Seed sim.Seed // of the random fill and of RandomGreedy
}

// Victim is how garbage collection chooses the superblock to collect.
type Victim uint8

// The victims.
const (
	Greedy       Victim = iota // the fewest valid units
	RandomGreedy               // the fewest among Choices superblocks at random
	FIFO                       // the one written longest ago
)

// MaxUnits is how many physical units a drive may have: an address has 32 bits.
const MaxUnits = 1<<32 - 2

func (c *Config) size() uint64 { return uint64(c.Rows) * uint64(c.RowUnits) }

// Validate says what is wrong with c, all at once.
func (c *Config) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(c.Rows >= 1 && c.RowUnits >= 1, "a superblock has %d rows of %d units, want at least 1 of 1", c.Rows, c.RowUnits)
	want(c.Reserve >= 2 && c.Reserve < 1<<16, "reserve is %d superblocks, want 2 to 65535", c.Reserve)
	want(c.SLCBlocks == 0 || c.SLCBlocks >= 2 && c.SLCRowUnits >= 1 && c.SLCRowUnits <= c.RowUnits,
		"%d pSLC superblocks with rows of %d units, want none, or at least 2 with rows of 1 to %d", c.SLCBlocks, c.SLCRowUnits, c.RowUnits)
	want(c.Victim != RandomGreedy || c.Choices >= 1 && c.Choices <= 1<<10, "choices is %d, want 1 to 1024", c.Choices)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	total := uint64(c.Blocks+c.SLCBlocks) * c.size()
	want(total <= MaxUnits, "the drive has %d physical units, want at most %d: a larger mapping unit", total, uint64(MaxUnits))
	least := (c.Units+c.size()-1)/c.size() + uint64(c.Reserve) + 2
	want(uint64(c.Blocks) >= least, "%d superblocks of %d units for %d units of data, want at least %d: more spare space, or smaller superblocks",
		c.Blocks, c.size(), c.Units, least)
	return errors.Join(errs...)
}

// Row is one row of a superblock: what a die programs at once.
type Row struct {
	Block int32
	Index uint32 // of the row; on die Index mod dies
	SLC   bool
}

// Sink turns what the layer does into work for dies. The layer does not wait for
// it, and it must not call the layer.
type Sink interface {
	// Program says that a row is to be programmed. host says that it holds what
	// Write was given since the last such row, and not what is moved.
	Program(r Row, host bool)
	// Erase says that a superblock holds nothing valid any more and can be erased.
	// It is written again only after Reserve-1 others have been opened.
	Erase(block int32)
	// Collect says that units valid units of a row are to be read, so that they
	// can be programmed elsewhere.
	Collect(r Row, units uint32)
}

// Stats counts what has happened, in units unless it says otherwise.
type Stats struct {
	Host    uint64 // written by the host
	Padding uint64 // programmed without data
	Moved   uint64 // by garbage collection
	Folded  uint64 // from pSLC
	Erases  uint64 // superblocks
}

// Written is all that was programmed.
func (s *Stats) Written() uint64 { return s.Host + s.Padding + s.Moved + s.Folded }

// Amplification is what was programmed for each unit that the host wrote.
func (s *Stats) Amplification() float64 {
	if s.Host == 0 {
		return 0
	}
	return float64(s.Written()) / float64(s.Host)
}

// Wear is how often superblocks have been erased.
type Wear struct {
	Min, Max uint32
	Mean     float64
}

const (
	none = ^uint32(0)      // in back: no unit
	hole = sparse.MaxValue // in the table: not mapped, though the fill had it
)

type state uint8

const (
	stateFree state = iota
	stateOpen
	stateFull
	stateVictim
)

// block is a superblock.
type block struct {
	back   []uint32 // the unit at each place; nil while it holds what the fill put there
	valid  uint32
	used   uint32 // places written
	erases uint32
	place  int32 // among the closed ones
	prev   int32 // with as many valid units; -1 is none
	next   int32
	state  state
	slc    bool
}

// FTL is the translation layer. It belongs to one loop.
type FTL struct {
	cfg    Config
	sink   Sink
	table  sparse.Table
	fill   fill
	blocks []block
	free   ring
	slc    ring // free pSLC superblocks
	folds  ring // full ones, oldest first
	host   frontier
	cache  frontier // the host's, in pSLC
	moved  frontier
	pick   picker
	victim int32 // being collected, or -1
	at     uint32
	fold   int32 // being folded, or -1
	foldAt uint32
	gain   uint64   // places that the victim gives back
	units  []uint32 // of a row that is collected
	warm   uint32   // means nothing: see Expect
	backs  backs
	debt   uint64 // places of the victim that have to go by, times gain
	stats  Stats

	spare   int     // superblocks at most that the room before collection has
	victims uint64  // so far
	valid   float64 // units in a victim, a mean over the last ones
}

// frontier is where a stream of data is written.
type frontier struct {
	block int32 // -1 is none
	slc   bool
}

// New returns a translation layer that reports its work to sink. cfg must be
// valid.
func New(cfg Config, sink Sink) *FTL {
	f := &FTL{
		cfg: cfg, sink: sink, blocks: make([]block, cfg.Blocks+cfg.SLCBlocks),
		host: frontier{block: -1}, cache: frontier{block: -1, slc: true}, moved: frontier{block: -1},
		victim: -1, fold: -1,
	}
	f.free.grow(cfg.Blocks)
	f.slc.grow(cfg.SLCBlocks)
	f.folds.grow(cfg.SLCBlocks)
	f.pick = newPicker(&cfg, f.blocks)
	count := f.filled()
	f.fill = newFill(cfg.Fill, cfg.Units, count, uint64(cfg.Seed))
	for i := range f.blocks {
		f.begin(int32(i), count)
	}
	f.spare = max(f.free.n-cfg.Reserve, 3) // collection may be one ahead, with two frontiers begun
	return f
}

// filled is how many units the fill puts into each superblock that it uses.
func (f *FTL) filled() []uint64 {
	switch f.cfg.Fill {
	case Sequential:
		count := make([]uint64, (f.cfg.Units+f.cfg.size()-1)/f.cfg.size())
		for i := range count {
			count[i] = min(f.cfg.size(), f.cfg.Units-uint64(i)*f.cfg.size())
		}
		return count
	case Random:
		return Steady(f.cfg.Blocks-f.cfg.Reserve, f.cfg.size(), f.cfg.Units)
	}
	return nil
}

// begin puts superblock i where it belongs before the first write.
func (f *FTL) begin(i int32, count []uint64) {
	b := &f.blocks[i]
	b.prev, b.next = -1, -1
	switch {
	case int(i) >= f.cfg.Blocks:
		b.slc = true
		f.slc.push(i)
	case int(i) < len(count):
		b.valid, b.used, b.state = uint32(count[i]), uint32(f.cfg.size()), stateFull
		f.pick.add(i)
	default:
		f.free.push(i)
	}
}

// Free counts the superblocks that are free, without pSLC.
func (f *FTL) Free() int { return f.free.n }

// SLCFree counts the free pSLC superblocks.
func (f *FTL) SLCFree() int { return f.slc.n }

// Stats returns the counters.
func (f *FTL) Stats() Stats { return f.stats }

// Mapped counts the units that take memory: those written or moved.
func (f *FTL) Mapped() int { return f.table.Len() }

// Wear returns how often superblocks have been erased.
func (f *FTL) Wear() Wear {
	w := Wear{Min: none}
	for i := range f.blocks {
		e := f.blocks[i].erases
		w.Min, w.Max = min(w.Min, e), max(w.Max, e)
		w.Mean += float64(e) / float64(len(f.blocks))
	}
	return w
}

// limit is how many units a superblock holds.
func (f *FTL) limit(b *block) uint32 {
	if b.slc {
		return uint32(f.cfg.Rows * f.cfg.SLCRowUnits)
	}
	return uint32(f.cfg.size())
}

func (f *FTL) rowUnits(b *block) uint32 {
	if b.slc {
		return uint32(f.cfg.SLCRowUnits)
	}
	return uint32(f.cfg.RowUnits)
}

// lookup is where unit u lies.
func (f *FTL) lookup(u uint64) (block int32, at uint32, ok bool) {
	if v, ok := f.table.Get(u); ok {
		if v == hole {
			return 0, 0, false
		}
		size := uint32(f.cfg.size())
		return int32(v / size), v % size, true
	}
	if f.fill.kind == Empty {
		return 0, 0, false
	}
	block, slot := f.fill.where(u)
	return block, f.spread(block, slot), true
}

// spread is the place of a slot of the fill in its superblock: the valid units
// lie evenly over it.
func (f *FTL) spread(block int32, slot uint64) uint32 {
	return uint32(slot * f.cfg.size() / max(f.fill.count(block), 1))
}

// Lookup is the row that holds unit u, and its place in the row, or that there
// is none.
func (f *FTL) Lookup(u uint64) (r Row, place uint32, ok bool) {
	i, at, ok := f.lookup(u)
	if !ok {
		return Row{}, 0, false
	}
	b := &f.blocks[i]
	n := f.rowUnits(b)
	return Row{Block: i, Index: at / n, SLC: b.slc}, at % n, true
}

// Expect says that units will be written one after another, so that what the
// layer knows of them is fetched together and not one after another as well.
func (f *FTL) Expect(first, end uint64) {
	for u := first; u < end; u++ {
		f.warm += f.table.Touch(u)
	}
}

// Write puts unit u at the host's frontier and returns the row that it will be
// in. When a row is full, the sink programs it.
func (f *FTL) Write(u uint64) Row {
	f.stats.Host++
	front := &f.host
	if (f.cache.block >= 0 || f.slc.n > 0 || f.cfg.SLCFold && f.cfg.SLCBlocks > 0) && !f.begun(&f.host) {
		front = &f.cache
	}
	if front.block < 0 {
		f.open(front)
	}
	return f.put(front, u, -1)
}

// Pad fills the host's open row and has it programmed; it reports whether there
// was one.
func (f *FTL) Pad() bool {
	padded := f.pad(&f.host)
	return f.pad(&f.cache) || padded
}

func (f *FTL) pad(front *frontier) bool {
	if !f.begun(front) {
		return false
	}
	b := &f.blocks[front.block]
	n := f.rowUnits(b)
	row, empty := b.used/n, n-b.used%n
	for ; b.used%n != 0; b.used++ {
		b.back[b.used] = none
	}
	f.stats.Padding += uint64(empty)
	f.program(front, row)
	return true
}

// begun reports whether the frontier's row has units and room.
func (f *FTL) begun(front *frontier) bool {
	if front.block < 0 {
		return false
	}
	b := &f.blocks[front.block]
	return b.used%f.rowUnits(b) != 0
}

// open gives a frontier an empty superblock.
func (f *FTL) open(front *frontier) {
	pool := &f.free
	if front.slc {
		pool = &f.slc
		for f.slc.n == 0 {
			f.Fold()
		}
	} else if front == &f.host {
		for f.free.n < 2 { // the last one is for what collection moves
			f.collectRow()
		}
	}
	i := pool.pop()
	b := &f.blocks[i]
	b.back = f.backs.take(f.limit(b))
	b.used, b.valid, b.state = 0, 0, stateOpen
	front.block = i
}

// put writes unit u at the frontier, which has room. from is the superblock where
// the fill has it, if the caller knows, else -1.
func (f *FTL) put(front *frontier, u uint64, from int32) Row {
	i := front.block
	b := &f.blocks[i]
	at, n := b.used, f.rowUnits(b)
	if before, ok := f.table.Swap(u, uint32(i)*uint32(f.cfg.size())+at); !ok {
		f.leave(u, from)
	} else if before != hole {
		size := uint32(f.cfg.size())
		f.invalid(int32(before/size), before%size)
	}
	b.back[at] = uint32(u)
	b.used++
	b.valid++
	r := Row{Block: i, Index: at / n, SLC: b.slc}
	if b.used%n == 0 {
		f.program(front, r.Index)
	}
	return r
}

// program hands a finished row to the sink, closes the superblock with its last
// row, and lets collection keep pace with the host.
func (f *FTL) program(front *frontier, row uint32) {
	i := front.block
	b := &f.blocks[i]
	f.sink.Program(Row{Block: i, Index: row, SLC: b.slc}, front != &f.moved)
	if b.used == f.limit(b) {
		b.state = stateFull
		front.block = -1
		if b.slc {
			f.folds.push(i)
		} else {
			f.pick.add(i)
		}
	}
	switch n := uint64(f.rowUnits(b)); {
	case front == &f.host:
		f.balance(n)
	case front == &f.cache && f.cfg.SLCFold && f.slc.n <= 1:
		for before := f.stats.Folded; f.stats.Folded < before+n && f.Fold(); {
		}
	}
}

// drop makes the place where unit u lies invalid.
func (f *FTL) drop(u uint64) {
	if i, at, ok := f.lookup(u); ok {
		f.invalid(i, at)
	}
}

// leave makes the place that the fill gave unit u invalid, where there is one: in
// superblock i, or where the fill says if that is -1.
func (f *FTL) leave(u uint64, i int32) {
	if f.fill.kind == Empty {
		return
	}
	if i < 0 {
		i, _ = f.fill.where(u)
	}
	f.invalid(i, 0) // the place of the fill is not noted
}

// invalid says that what is at a place is not valid any more.
func (f *FTL) invalid(i int32, at uint32) {
	b := &f.blocks[i]
	b.valid--
	if b.back != nil {
		b.back[at] = none
	}
	if b.state == stateFull && !b.slc {
		f.pick.fell(i)
	}
}

// Unmap forgets unit u, as TRIM does.
func (f *FTL) Unmap(u uint64) {
	f.drop(u)
	if f.fill.kind != Empty {
		f.table.Swap(u, hole)
		return
	}
	f.table.Remove(u)
}

// Sparse reports whether what is mapped in [first, end) is better found in the
// table than by asking for each unit: then UnmapAll does it.
func (f *FTL) Sparse(first, end uint64) bool {
	return f.fill.kind == Empty && end-first > uint64(f.table.Len())+manyUnits
}

// manyUnits are more than are asked for one by one where few are mapped.
const manyUnits = 1024

// UnmapAll forgets what is mapped in [first, end), in time proportional to what
// is mapped at all. Only where Sparse says so.
func (f *FTL) UnmapAll(first, end uint64) {
	var units []uint64
	f.table.Each(first, end, func(u uint64, _ uint32) { units = append(units, u) })
	for _, u := range units {
		f.Unmap(u)
	}
}
