package drive

import (
	"fmt"
	"sort"

	"nbdbench/devices"
	"nbdbench/internal/sparse"
)

// Content is what a range holds: bytes, a version stamp for all of it, or
// zeros, which are version 0.
type Content struct {
	Bytes []byte
	Stamp devices.Stamp
	// Sectors, where set, has a version stamp for each sector of a longer range, and
	// Stamp is the place of the first one in it: parity is such content.
	Sectors *[]devices.Stamp
	Zero    bool
	// Provision says of zeros that they are no hole: WRITE_ZEROES with NO_HOLE.
	Provision bool
}

// ContentOf is what a write command writes.
func ContentOf(r *devices.Request) Content {
	if r.Op == devices.OpWrite {
		if r.Versions != nil {
			return Content{Bytes: r.Bytes, Sectors: &r.Versions}
		}
		return Content{Bytes: r.Bytes, Stamp: r.Stamp}
	}
	return Content{Zero: true, Provision: r.Flags&devices.NoHole != 0}
}

// Slice is the content of n bytes from skip on.
func (c Content) Slice(skip, n uint64) Content {
	if c.Bytes != nil {
		c.Bytes = c.Bytes[skip : skip+n]
	}
	if c.Sectors != nil {
		c.Stamp += devices.Stamp(skip / devices.Sector)
	}
	return c
}

// at is the version of the sector that begins so many bytes into the range.
func (c *Content) at(skip uint64) devices.Stamp {
	if c.Sectors != nil {
		return (*c.Sectors)[uint64(c.Stamp)+skip/devices.Sector]
	}
	return c.Stamp
}

// At is the version of the sector that begins so many bytes into the range.
func (c Content) At(skip uint64) devices.Stamp { return c.at(skip) }

// Payload is the content of a range of n bytes as what a WRITE carries.
func (c Content) Payload(n uint64) devices.Payload {
	p := devices.Payload{Bytes: c.Bytes}
	if c.Sectors == nil {
		p.Stamp = c.Stamp
		return p
	}
	p.Versions = (*c.Sectors)[c.Stamp : uint64(c.Stamp)+(n+devices.Sector-1)/devices.Sector]
	return p
}

// runs visits the parts of [from, to), in bytes of the range, that are of one version.
func (c *Content) runs(from, to uint64, visit func(from, to uint64, s devices.Stamp)) {
	if c.Sectors == nil {
		visit(from, to, c.Stamp)
		return
	}
	for ; from < to; from += devices.Sector {
		visit(from, min(from+devices.Sector, to), c.at(from))
	}
}

// Kept is the content in memory of its own, for who keeps it beyond the request.
func (c Content) Kept() Content {
	if c.Bytes != nil {
		c.Bytes = append([]byte(nil), c.Bytes...)
	}
	if c.Sectors != nil {
		own := append([]devices.Stamp(nil), *c.Sectors...)
		c.Sectors = &own
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
)

// stampMedia keeps a stamp for each page in a table, those pages whose sectors
// differ in splits, stamps that the table has no bits for in wide, and long writes as
// ranges below the table. An entry of the table is always newer than a range that
// covers it.
type stampMedia struct {
	table  sparse.Table
	splits [][pageSectors]devices.Stamp
	free   []uint32 // of splits
	wide   []devices.Stamp
	gone   []uint32     // of wide
	ranges []stampRange // ascending, disjoint
	warm   uint64       // means nothing: see expect
	taken  []uint64     // pages, in clear
}

// The values of the table: a stamp below all bits, or an index.
const (
	splitBit = 1 << 31 // into splits
	wideBit  = 1 << 30 // into wide
)

type stampRange struct {
	page, end uint64
	stamp     devices.Stamp
}

func newStampMedia() *stampMedia { return &stampMedia{} }

func (m *stampMedia) Mode() Mode { return Versions }

func (m *stampMedia) Write(off, n uint64, c Content) {
	if c.Sectors != nil {
		m.writeSectors(off, n, c)
		return
	}
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
			m.put(page, m.value(c.Stamp))
		} else {
			m.setSectors(page, in, k, c.Stamp)
		}
		first += k
	}
}

// writeSectors writes content that has a stamp for each sector: as many writes as it
// has runs of one stamp.
func (m *stampMedia) writeSectors(off, n uint64, c Content) {
	for from := uint64(0); from < n; {
		s, to := c.at(from), from+devices.Sector
		for to < n && c.at(to) == s {
			to += devices.Sector
		}
		m.Write(off+from, min(to, n)-from, Content{Stamp: s})
		from = to
	}
}

// value is what the table holds for a page that is one stamp.
func (m *stampMedia) value(s devices.Stamp) uint32 {
	if s < wideBit {
		return uint32(s)
	}
	if n := len(m.gone); n > 0 {
		i := m.gone[n-1]
		m.gone = m.gone[:n-1]
		m.wide[i] = s
		return i | wideBit
	}
	m.wide = append(m.wide, s)
	return uint32(len(m.wide)-1) | wideBit
}

// put gives a page a value; what the old one was an index of is free.
func (m *stampMedia) put(page uint64, value uint32) {
	if old, ok := m.table.Swap(page, value); ok && old >= wideBit && old != value {
		m.drop(old)
	}
}

// drop frees what a value of the table was an index of.
func (m *stampMedia) drop(value uint32) {
	switch {
	case value&splitBit != 0:
		m.free = append(m.free, value&^splitBit)
	case value&wideBit != 0:
		m.gone = append(m.gone, value&^wideBit)
	}
}

// stamp is that of a value of the table which is no index of splits.
func (m *stampMedia) stamp(value uint32) devices.Stamp {
	if value&wideBit != 0 {
		return m.wide[value&^wideBit]
	}
	return devices.Stamp(value)
}

// expect says that pages will be written one after another, so that their slots
// are fetched together and not one after another as well.
func (m *stampMedia) expect(page uint64) { m.warm += uint64(m.table.Touch(page)) }

func (m *stampMedia) setSectors(page, in, k uint64, s devices.Stamp) {
	old, ok := m.table.Get(page)
	i := old &^ splitBit
	switch {
	case !ok:
		i = m.split(m.rangeStamp(page))
	case old&splitBit == 0:
		i = m.split(m.stamp(old))
	}
	for j := in; j < in+k; j++ {
		m.splits[i][j] = s
	}
	m.put(page, i|splitBit)
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
	m.clear(page, end)
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

// clear takes the entries of pages [page, end) out of the table.
func (m *stampMedia) clear(page, end uint64) {
	if m.table.Len() == 0 {
		return
	}
	m.taken = m.taken[:0]
	m.table.Each(page, end, func(p uint64, value uint32) {
		m.drop(value)
		m.taken = append(m.taken, p)
	})
	for _, p := range m.taken {
		m.table.Remove(p)
	}
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
	v, ok := m.table.Get(page)
	if !ok {
		return m.rangeStamp(page)
	}
	if v&splitBit != 0 {
		return m.splits[v&^splitBit][sector%pageSectors]
	}
	return m.stamp(v)
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
		table:  m.table.Clone(),
		splits: append([][pageSectors]devices.Stamp(nil), m.splits...),
		free:   append([]uint32(nil), m.free...),
		wide:   append([]devices.Stamp(nil), m.wide...),
		gone:   append([]uint32(nil), m.gone...),
		ranges: append([]stampRange(nil), m.ranges...),
	}
}
