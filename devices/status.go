package devices

// StatusFlags is the state of a range in the terms of NBD's metadata context
// base:allocation. No flag is always true: the range may hold anything.
type StatusFlags uint32

// The states of base:allocation.
const (
	StatusHole StatusFlags = 1 << 0 // nothing is allocated for it
	StatusZero StatusFlags = 1 << 1 // it reads as zeros
)

// StatusExtent is a run of bytes in one state.
type StatusExtent struct {
	Length uint64
	Flags  StatusFlags
}

// MaxStatusExtents is how many extents answer one BLOCK_STATUS. The protocol
// has up to 2^20 and lets a server answer for less than was asked.
const MaxStatusExtents = 1024

// BlockStatus is the answer to BLOCK_STATUS: extents one after another from the
// request's offset on. They may end before the request's range does. A device
// that adds none says nothing of what it holds.
type BlockStatus struct {
	Extents []StatusExtent
	most    int
}

// Reset empties b for another use, with room for so many extents, at most
// MaxStatusExtents.
func (b *BlockStatus) Reset(most int) {
	b.Extents, b.most = b.Extents[:0], min(most, MaxStatusExtents)
}

// Add appends n bytes in a state, to the last extent if that has the same one.
// It reports false if there was no room.
func (b *BlockStatus) Add(n uint64, f StatusFlags) bool {
	if k := len(b.Extents); k > 0 && b.Extents[k-1].Flags == f {
		b.Extents[k-1].Length += n
		return true
	}
	if len(b.Extents) >= b.most {
		return false
	}
	b.Extents = append(b.Extents, StatusExtent{n, f})
	return true
}
