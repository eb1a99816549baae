package array

import (
	"fmt"

	"nbdbench/devices"
)

// Kind is how an array spreads data among its members.
type Kind uint8

// The kinds.
const (
	Mirror Kind = iota // every member holds all
	Stripe             // chunks go around: md's RAID 0
	RAID5              // a stripe with rotating parity, left-symmetric as md's default
	Log                // the first member is a log of the second, see Group
)

// The bounds of an array.
const (
	// MaxMembers is how many members an array may have.
	MaxMembers = 32
	// MinChunk and MaxChunk bound a chunk, in bytes. md's least is a page.
	MinChunk, MaxChunk = 4 << 10, 4 << 20
)

// layout is where the bytes of a stripe or RAID 5 are.
type layout struct {
	kind  Kind
	chunk uint64
	n     uint64 // members
	size  uint64 // of the array, in bytes
}

// data is how many members of a row hold data.
func (l *layout) data() uint64 {
	if l.kind == RAID5 {
		return l.n - 1
	}
	return l.n
}

// rows is how many rows the array has.
func (l *layout) rows() uint64 {
	width := l.data() * l.chunk
	return (l.size + width - 1) / width
}

// parity is the member that has a row's parity.
func (l *layout) parity(row uint64) int { return int(l.n - 1 - row%l.n) }

// member is the one that has data chunk k of a row.
func (l *layout) member(row, k uint64) int {
	if l.kind == Stripe {
		return int(k)
	}
	return int((uint64(l.parity(row)) + 1 + k) % l.n)
}

// locate is the member and its byte that hold byte off of the array.
func (l *layout) locate(off uint64) (member int, at uint64) {
	number, in := off/l.chunk, off%l.chunk
	row := number / l.data()
	return l.member(row, number%l.data()), row*l.chunk + in
}

// logical is the byte of the array that a member has at a place; none if that is parity.
func (l *layout) logical(member int, at uint64) (off uint64, isData bool) {
	row, in := at/l.chunk, at%l.chunk
	k := uint64(member)
	if l.kind == RAID5 {
		p := uint64(l.parity(row))
		if k == p {
			return 0, false
		}
		k = (k + l.n - p - 1) % l.n
	}
	return (row*l.data()+k)*l.chunk + in, true
}

// rest is how many of n bytes at a place of a member or of the array are in one chunk.
func (l *layout) rest(at, n uint64) uint64 { return min(n, l.chunk-at%l.chunk) }

// Capacity is the size of an array of members of these sizes, in bytes: of each member
// as much counts as the smallest one has, in whole chunks.
func (c *Config) Capacity(sizes []uint64) uint64 {
	least := sizes[0]
	for _, s := range sizes {
		least = min(least, s)
	}
	switch c.Kind {
	case Mirror:
		return least
	case Log:
		return sizes[len(sizes)-1]
	}
	l := layout{kind: c.Kind, n: uint64(len(sizes))}
	return least / c.Chunk * c.Chunk * l.data()
}

// MemberSize is how large member i of n has to be for the array's size, in bytes; 0 is
// that any size will do.
func (c *Config) MemberSize(i, n int) uint64 {
	switch {
	case c.Kind == Mirror, c.Kind == Log && i == n-1:
		return c.Size
	case c.Kind == Log:
		return 0
	}
	l := layout{kind: c.Kind, chunk: c.Chunk, n: uint64(n), size: c.Size}
	return l.rows() * c.Chunk
}

// Validate says what is wrong with an array of n members.
func (c *Config) Validate(n int) error {
	least := map[Kind]int{Mirror: 2, Stripe: 2, RAID5: 3, Log: 2}[c.Kind]
	switch {
	case n < least || n > MaxMembers:
		return fmt.Errorf("expected %d to %d members, got %d", least, MaxMembers, n)
	case c.Kind == Log && n != 2:
		return fmt.Errorf("expected 2 members, the log and the pool, got %d", n)
	}
	return c.ValidateChunk()
}

// ValidateChunk says what is wrong with the chunk.
func (c *Config) ValidateChunk() error {
	if c.Kind != Stripe && c.Kind != RAID5 {
		return nil
	}
	if c.Chunk < MinChunk || c.Chunk > MaxChunk || c.Chunk&(c.Chunk-1) != 0 {
		return fmt.Errorf("expected a chunk that is a power of two from %d to %d bytes, got %d", MinChunk, MaxChunk, c.Chunk)
	}
	return nil
}

// InfoOf is what an array says of itself whose members say so much.
func (c *Config) InfoOf(members []devices.Info) devices.Info {
	if c.Kind == Log {
		return c.logInfo(members)
	}
	i := members[0]
	i.MaxPayload = 0
	for _, m := range members[1:] {
		i.LogicalBlock = max(i.LogicalBlock, m.LogicalBlock)
		i.AtomicUnit = min(i.AtomicUnit, m.AtomicUnit)
		i.MinIO = max(i.MinIO, m.MinIO)
		i.PreferredIO = max(i.PreferredIO, m.PreferredIO)
		i.CanFlush = i.CanFlush || m.CanFlush
		i.FUA = min(i.FUA, m.FUA)
		i.CanTrim = i.CanTrim && m.CanTrim
		i.CanZero = i.CanZero && m.CanZero
		i.CanFastZero = i.CanFastZero && m.CanFastZero
		i.MultiConn = i.MultiConn && m.MultiConn
		i.Rotational = i.Rotational || m.Rotational
		i.ReadOnly = i.ReadOnly || m.ReadOnly
		i.Cache = weaker(i.Cache, m.Cache)
	}
	i.Size = c.Size
	if i.FUA != devices.FUANative {
		i.FUA = devices.FUANone
	}
	if c.Kind == Mirror {
		return i
	}
	i.AtomicUnit = uint32(min(uint64(i.AtomicUnit), c.Chunk))
	if c.Kind == RAID5 {
		i.CanTrim, i.CanZero, i.CanFastZero = false, false, false
	}
	return i
}

// weaker is the cache that keeps less over a power cut.
func weaker(a, b devices.CacheMode) devices.CacheMode {
	switch {
	case a == devices.CacheVolatile || b == devices.CacheVolatile:
		return devices.CacheVolatile
	case a == devices.CacheProtected || b == devices.CacheProtected:
		return devices.CacheProtected
	}
	return devices.CacheNone
}
