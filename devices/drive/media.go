package drive

import (
	"fmt"
	"sort"

	"nbdbench/devices"
)

// Content is what a range holds: bytes, a version stamp for all of it, or
// zeros, which are version 0.
type Content struct {
	Bytes []byte
	Stamp devices.Stamp
	Zero  bool
	// Provision says of zeros that they are no hole: WRITE_ZEROES with NO_HOLE.
	Provision bool
}

// ContentOf is what a write command writes.
func ContentOf(r *devices.Request) Content {
	if r.Op == devices.OpWrite {
		return Content{Bytes: r.Bytes, Stamp: r.Stamp}
	}
	return Content{Zero: true, Provision: r.Flags&devices.NoHole != 0}
}

// slice is the content of n bytes from skip on.
func (c Content) slice(skip, n uint64) Content {
	if c.Bytes != nil {
		c.Bytes = c.Bytes[skip : skip+n]
	}
	return c
}

// Mode is how a device keeps content. Both answer the same questions.
type Mode uint8

// The content modes.
const (
	Versions  Mode = iota // stamps of 512-byte sectors, for speed
	RealBytes             // the bytes themselves, for any client
)

// Media is what is durable. It knows nothing of time or caches.
type Media interface {
	// Write stores content for the range of n bytes at off.
	Write(off, n uint64, c Content)
	// Read fills p for the range of n bytes at off: p.Bytes in byte mode; in
	// version mode p.Versions, where given, and p.Stamp, which is the fold of
	// the sectors' stamps (see FoldStamps).
	Read(off, n uint64, p *devices.Payload)
	// Stamp is the version of a 512-byte sector; in byte mode always 0.
	Stamp(sector uint64) devices.Stamp
	// Clone returns an independent copy.
	Clone() Media
	// Mode is how the content is kept.
	Mode() Mode
}

// NewMedia returns media that holds zeros, version 0.
func NewMedia(m Mode) Media {
	if m == RealBytes {
		return newByteMedia()
	}
	return newStampMedia()
}

// FoldStamps makes one stamp of a range's sectors: the stamp itself if all are
// equal, else a hash in which the order counts. first is the fold so far.
func FoldStamps(fold, next devices.Stamp, first bool) devices.Stamp {
	if first || fold == next {
		return next
	}
	return devices.Stamp((uint64(fold)^uint64(next)*0x9e3779b97f4a7c15)*0xbf58476d1ce4e5b9 | 1<<63)
}

// The units in which byte media is sparse: pages, sixteen of which a chunk of
// the index holds. Pages are cut from slabs, so that a write to a new place costs
// one page and not a chunk.
const (
	chunkSize  = 64 << 10
	chunkPages = chunkSize / pageSize
	slabSize   = 256 << 10
)

// byteMedia keeps bytes in pages; a page that is not there is zeros.
type byteMedia struct {
	chunks map[uint64]*[chunkPages][]byte
	slab   []byte   // of which no page has been handed out
	free   [][]byte // pages that hold nothing any more
	// provisioned are zeros that are no hole. No memory is set aside for them:
	// what a client can ask for in 28 bytes must cost no more than that.
	provisioned spans
}

func newByteMedia() *byteMedia { return &byteMedia{chunks: map[uint64]*[chunkPages][]byte{}} }

func (m *byteMedia) Mode() Mode                 { return RealBytes }
func (m *byteMedia) Stamp(uint64) devices.Stamp { return 0 }

func (m *byteMedia) Write(off, n uint64, c Content) {
	if c.Zero {
		m.zero(off, n, c.Provision)
		return
	}
	for n > 0 {
		part := min(n, chunkSize-off%chunkSize)
		m.writeChunk(off, c.Bytes[:part])
		c.Bytes = c.Bytes[part:]
		off, n = off+part, n-part
	}
}

// writeChunk writes b, which lies within one chunk.
func (m *byteMedia) writeChunk(off uint64, b []byte) {
	chunk := m.chunks[off/chunkSize]
	if chunk == nil {
		chunk = new([chunkPages][]byte)
		m.chunks[off/chunkSize] = chunk
	}
	for len(b) > 0 {
		in := off % pageSize
		n := min(len(b), int(pageSize-in))
		page := &chunk[off/pageSize%chunkPages]
		if *page == nil {
			*page = m.newPage(n == pageSize)
		}
		copy((*page)[in:], b[:n])
		off, b = off+uint64(n), b[n:]
	}
}

// zero makes a range zeros. It takes time in proportion to what is stored there
// or to the chunks of the range, whichever is less: however long the range that
// a client names, it is no more than what was once written.
func (m *byteMedia) zero(off, n uint64, provision bool) {
	end := off + n
	if provision {
		m.provisioned.add(off, end)
	} else if len(m.provisioned) > 0 {
		m.provisioned.cut(off, end)
	}
	if first, last := off/chunkSize, (end+chunkSize-1)/chunkSize; last-first <= uint64(len(m.chunks)) {
		for i := first; i < last; i++ {
			m.zeroChunk(i, off, end)
		}
		return
	}
	for i := range m.chunks { // in any order: each chunk is on its own
		if i*chunkSize < end && off < (i+1)*chunkSize {
			m.zeroChunk(i, off, end)
		}
	}
}

// zeroChunk makes the part of [off, end) in chunk i zeros.
func (m *byteMedia) zeroChunk(i, off, end uint64) {
	chunk := m.chunks[i]
	if chunk == nil {
		return
	}
	left := 0
	for k := range chunk {
		page := &chunk[k]
		from := i*chunkSize + uint64(k)*pageSize
		a, b := max(off, from), min(end, from+pageSize)
		switch {
		case *page == nil:
			continue
		case a >= b:
		case b-a == pageSize:
			m.free = append(m.free, *page)
			*page = nil
			continue
		default:
			clear((*page)[a-from : b-from])
		}
		left++
	}
	if left == 0 {
		delete(m.chunks, i)
	}
}

// Status goes by pages: one that is there is data, even if it holds zeros.
func (m *byteMedia) Status(off, n uint64) (run uint64, f devices.StatusFlags) {
	end := off + n
	stored := m.page(off/pageSize) != nil
	if !stored {
		f = devices.StatusZero | devices.StatusHole
		in, until := m.provisioned.at(off)
		if in {
			f = devices.StatusZero
		}
		end = min(end, until)
	}
	at := off
	for at < end && (m.page(at/pageSize) != nil) == stored {
		step := uint64(pageSize)
		if m.chunks[at/chunkSize] == nil {
			step = chunkSize
		}
		at = (at/step + 1) * step
	}
	return min(at, end) - off, f
}

// newPage returns a page of zeros, or of anything if all of it will be written.
func (m *byteMedia) newPage(whole bool) []byte {
	if n := len(m.free); n > 0 {
		page := m.free[n-1]
		m.free = m.free[:n-1]
		if !whole {
			clear(page)
		}
		return page
	}
	if len(m.slab) == 0 {
		m.slab = make([]byte, slabSize)
	}
	page := m.slab[:pageSize:pageSize]
	m.slab = m.slab[pageSize:]
	return page
}

// page returns page i, or nil if it is zeros.
func (m *byteMedia) page(i uint64) []byte {
	if chunk := m.chunks[i/chunkPages]; chunk != nil {
		return chunk[i%chunkPages]
	}
	return nil
}

func (m *byteMedia) Read(off, n uint64, p *devices.Payload) {
	if uint64(len(p.Bytes)) < n {
		panic(fmt.Sprintf("devices: read of %d bytes into a buffer of %d", n, len(p.Bytes)))
	}
	for to := p.Bytes[:n]; len(to) > 0; {
		part := min(uint64(len(to)), chunkSize-off%chunkSize)
		m.readChunk(off, to[:part])
		off, to = off+part, to[part:]
	}
}

// readChunk fills to from within one chunk.
func (m *byteMedia) readChunk(off uint64, to []byte) {
	chunk := m.chunks[off/chunkSize]
	if chunk == nil {
		clear(to)
		return
	}
	for len(to) > 0 {
		in := off % pageSize
		n := min(len(to), int(pageSize-in))
		if page := chunk[off/pageSize%chunkPages]; page != nil {
			copy(to[:n], page[in:])
		} else {
			clear(to[:n])
		}
		off, to = off+uint64(n), to[n:]
	}
}

func (m *byteMedia) Clone() Media {
	c := newByteMedia()
	c.provisioned = append(spans(nil), m.provisioned...)
	for i, chunk := range m.chunks {
		copied := new([chunkPages][]byte)
		for k, page := range chunk {
			if page != nil {
				copied[k] = c.newPage(true)
				copy(copied[k], page)
			}
		}
		c.chunks[i] = copied
	}
	return c
}

// The page of version media: eight sectors, which nearly always hold one version.
const (
	pageSize    = 4096
	pageSectors = pageSize / devices.Sector
	// bulkPages is from how many pages on a write is kept as one range.
	bulkPages = 256
	splitBit  = 1 << 63 // a page's stamp with this bit is an index into splits
)

// stampMedia keeps a stamp for each page in a hash table, those pages whose
// sectors differ in splits, and long writes as ranges below the table. An entry
// of the table is always newer than a range that covers it.
type stampMedia struct {
	table  pageTable
	splits [][pageSectors]devices.Stamp
	free   []uint32
	ranges []stampRange // ascending, disjoint
	warm   uint64       // means nothing: see expect
}

type stampRange struct {
	page, end uint64
	stamp     devices.Stamp
}

func newStampMedia() *stampMedia { return &stampMedia{table: newPageTable(64)} }

func (m *stampMedia) Mode() Mode { return Versions }

func (m *stampMedia) Write(off, n uint64, c Content) {
	first, end := off/devices.Sector, (off+n+devices.Sector-1)/devices.Sector
	if off/pageSize*pageSize == off && n >= bulkPages*pageSize {
		bulkEnd := end / pageSectors
		m.writeRange(first/pageSectors, bulkEnd, c.Stamp)
		first = bulkEnd * pageSectors
	}
	for first < end {
		page, in := first/pageSectors, first%pageSectors
		k := min(end-first, pageSectors-in)
		if k == pageSectors {
			m.setPage(page, c.Stamp)
		} else {
			m.setSectors(page, in, k, c.Stamp)
		}
		first += k
	}
}

// expect says that pages will be written one after another, so that their slots
// are fetched together and not one after another as well.
func (m *stampMedia) expect(page uint64) { m.warm += m.table.touch(page) }

func (m *stampMedia) setPage(page uint64, s devices.Stamp) {
	slot := m.table.slot(page)
	if *slot&splitBit != 0 {
		m.free = append(m.free, uint32(*slot&^splitBit))
	}
	*slot = s
}

func (m *stampMedia) setSectors(page, in, k uint64, s devices.Stamp) {
	old, ok := m.table.get(page)
	if !ok {
		old = m.rangeStamp(page)
	}
	i := uint32(old &^ splitBit)
	if old&splitBit == 0 {
		i = m.split(old)
	}
	for j := in; j < in+k; j++ {
		m.splits[i][j] = s
	}
	*m.table.slot(page) = devices.Stamp(i) | splitBit
}

func (m *stampMedia) split(s devices.Stamp) uint32 {
	var i uint32
	if n := len(m.free); n > 0 {
		i = m.free[n-1]
		m.free = m.free[:n-1]
	} else {
		i = uint32(len(m.splits))
		m.splits = append(m.splits, [pageSectors]devices.Stamp{})
	}
	for j := range m.splits[i] {
		m.splits[i][j] = s
	}
	return i
}

// writeRange covers whole pages with one stamp: the pages' own entries go, and
// so do the parts of older ranges.
func (m *stampMedia) writeRange(page, end uint64, s devices.Stamp) {
	m.table.remove(page, end, func(v devices.Stamp) {
		if v&splitBit != 0 {
			m.free = append(m.free, uint32(v&^splitBit))
		}
	})
	kept := m.ranges[:0:0]
	for _, r := range m.ranges {
		if r.page < page {
			kept = append(kept, stampRange{r.page, min(r.end, page), r.stamp})
		}
		if r.end > end {
			kept = append(kept, stampRange{max(r.page, end), r.end, r.stamp})
		}
	}
	kept = append(kept, stampRange{page, end, s})
	sort.Slice(kept, func(i, j int) bool { return kept[i].page < kept[j].page })
	m.ranges = kept
}

func (m *stampMedia) rangeStamp(page uint64) devices.Stamp {
	if len(m.ranges) == 0 {
		return 0
	}
	i := sort.Search(len(m.ranges), func(i int) bool { return m.ranges[i].end > page })
	if i < len(m.ranges) && m.ranges[i].page <= page {
		return m.ranges[i].stamp
	}
	return 0
}

func (m *stampMedia) Stamp(sector uint64) devices.Stamp {
	page := sector / pageSectors
	s, ok := m.table.get(page)
	if !ok {
		return m.rangeStamp(page)
	}
	if s&splitBit != 0 {
		return m.splits[s&^splitBit][sector%pageSectors]
	}
	return s
}

func (m *stampMedia) Read(off, n uint64, p *devices.Payload) {
	first, end := off/devices.Sector, (off+n+devices.Sector-1)/devices.Sector
	for s := first; s < end; s++ {
		v := m.Stamp(s)
		if p.Versions != nil {
			p.Versions[s-first] = v
		}
		p.Stamp = FoldStamps(p.Stamp, v, s == first)
	}
}

// Status goes by sectors: version 0 is zeros, and nothing is known of holes.
func (m *stampMedia) Status(off, n uint64) (run uint64, f devices.StatusFlags) {
	zero := m.Stamp(off/devices.Sector) == 0
	if zero {
		f = devices.StatusZero | devices.StatusHole
	}
	at := (off/devices.Sector + 1) * devices.Sector
	for at < off+n && (m.Stamp(at/devices.Sector) == 0) == zero {
		at += devices.Sector
	}
	return min(at-off, n), f
}

func (m *stampMedia) Clone() Media {
	return &stampMedia{
		table:  m.table.clone(),
		splits: append([][pageSectors]devices.Stamp(nil), m.splits...),
		free:   append([]uint32(nil), m.free...),
		ranges: append([]stampRange(nil), m.ranges...),
	}
}

// pageTable is an open-addressing hash table from page number to stamp: 16
// bytes a slot, linear probing, at most 4/5 full.
type pageTable struct {
	slots []pageSlot
	used  int
	shift uint // 64 - log2(len(slots))
}

type pageSlot struct {
	key   uint64 // page number plus one; 0 is empty
	stamp devices.Stamp
}

// newPageTable returns a table of n slots, a power of two and at least 16.
func newPageTable(n int) pageTable {
	shift := uint(64)
	for m := 1; m < n; m *= 2 {
		shift--
	}
	return pageTable{slots: make([]pageSlot, 1<<(64-shift)), shift: shift}
}

// home is where the search for a page begins. Eight neighbouring pages have
// neighbouring homes, two cache lines in all.
func (t *pageTable) home(page uint64) int {
	group := (page >> 3) * 0x9e3779b97f4a7c15 >> (t.shift + 3)
	return int(group<<3 | page&7)
}

func (t *pageTable) find(page uint64) int {
	i := t.home(page)
	for t.slots[i].key != 0 && t.slots[i].key != page+1 {
		i = (i + 1) & (len(t.slots) - 1)
	}
	return i
}

func (t *pageTable) get(page uint64) (devices.Stamp, bool) {
	s := &t.slots[t.find(page)]
	return s.stamp, s.key != 0
}

// touch brings the slot of page into the processor's cache. Its result means
// nothing.
func (t *pageTable) touch(page uint64) uint64 { return t.slots[t.home(page)].key }

// slot returns the place of page's stamp, made if it was not there.
func (t *pageTable) slot(page uint64) *devices.Stamp {
	i := t.find(page)
	if t.slots[i].key == 0 {
		if 5*(t.used+1) > 4*len(t.slots) {
			t.grow()
			i = t.find(page)
		}
		t.slots[i].key = page + 1
		t.used++
	}
	return &t.slots[i].stamp
}

func (t *pageTable) grow() {
	old := t.slots
	*t = newPageTable(2 * len(old))
	for _, s := range old {
		if s.key != 0 {
			t.slots[t.find(s.key-1)] = s
			t.used++
		}
	}
}

// remove takes out the entries of pages [page, end): one by one if they are
// fewer than the table's slots, else by going through the table.
func (t *pageTable) remove(page, end uint64, gone func(devices.Stamp)) {
	if t.used == 0 {
		return
	}
	if end-page <= uint64(len(t.slots)) {
		for p := page; p < end; p++ {
			if i := t.find(p); t.slots[i].key != 0 {
				gone(t.slots[i].stamp)
				t.delete(i)
			}
		}
		return
	}
	old := t.slots
	*t = newPageTable(len(old))
	for _, s := range old {
		switch {
		case s.key == 0:
		case s.key-1 >= page && s.key-1 < end:
			gone(s.stamp)
		default:
			t.slots[t.find(s.key-1)] = s
			t.used++
		}
	}
}

// delete empties slot i and moves later entries of the probe run back.
func (t *pageTable) delete(i int) {
	mask := len(t.slots) - 1
	t.used--
	for j := (i + 1) & mask; t.slots[j].key != 0; j = (j + 1) & mask {
		home := t.home(t.slots[j].key - 1)
		if (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = pageSlot{}
}

func (t *pageTable) clone() pageTable {
	c := *t
	c.slots = append([]pageSlot(nil), t.slots...)
	return c
}
