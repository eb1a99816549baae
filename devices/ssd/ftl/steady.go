package ftl

import (
	"math"
	"sort"
)

// Fill is what a drive holds before its first write.
type Fill uint8

// The fills.
const (
	Empty      Fill = iota // nothing: as after a secure erase
	Sequential             // every unit, written once in order
	Random                 // every unit, in the steady state of uniform random writes
)

// fill is the computed part of the mapping: where units lie that have not been
// written or moved since the beginning.
type fill struct {
	kind  Fill
	units uint64
	start []uint64 // of the slots of each superblock, and their end; rising
	perm  permutation
}

// newFill lays units out over superblocks whose sizes count gives.
func newFill(kind Fill, units uint64, count []uint64, key uint64) fill {
	f := fill{kind: kind, units: units, perm: newPermutation(units, key)}
	if kind == Empty {
		return f
	}
	f.start = make([]uint64, len(count)+1)
	for i, n := range count {
		f.start[i+1] = f.start[i] + n
	}
	return f
}

// where is the superblock of unit u and its place among those valid there.
func (f *fill) where(u uint64) (block int32, slot uint64) {
	if f.kind == Random {
		u = f.perm.apply(u)
	}
	i := sort.Search(len(f.start)-1, func(i int) bool { return f.start[i+1] > u })
	return int32(i), u - f.start[i]
}

// unit is the inverse of where.
func (f *fill) unit(block int32, slot uint64) uint64 {
	u := f.start[block] + slot
	if f.kind == Random {
		u = f.perm.invert(u)
	}
	return u
}

// count is how many units the fill put into a superblock.
func (f *fill) count(block int32) uint64 {
	if int(block)+1 >= len(f.start) {
		return 0
	}
	return f.start[block+1] - f.start[block]
}

// Victims is the share of valid units in what greedy collection collects, x, in
// the steady state of uniform random writes to a = T/U times as much space as
// there is data, for large superblocks: the solution of x = exp(-a(1-x)) below 1.
func Victims(a float64) float64 {
	if a <= 1 {
		return 1
	}
	// From 0 the iteration rises to the smallest solution, by a factor of a*x a step.
	x := 0.0
	for range 100_000 {
		next := math.Exp(-a * (1 - x))
		if next-x < 1e-14 {
			return next
		}
		x = next
	}
	return x
}

// Amplification is the write amplification of greedy collection under uniform
// random writes, 1/(1-Victims(a)), which is a/(a+W(-a exp(-a))): see the package
// comment.
func Amplification(a float64) float64 { return 1 / (1 - Victims(a)) }

// Steady is how many units are valid in each of blocks superblocks of the given
// size that hold units in the steady state of greedy collection, oldest first.
// Between a superblock and the next one (1-x)*size host writes pass, each of
// which hits a given unit with probability 1/units.
func Steady(blocks int, size, units uint64) []uint64 {
	a := float64(blocks) * float64(size) / float64(units)
	step := (1 - Victims(a)) * float64(size) / float64(units)
	count := make([]uint64, blocks)
	shares, sum := make([]float64, blocks), 0.0
	for i := range shares {
		// The middle of the superblock's age, counted from the newest.
		shares[i] = math.Exp(-step * (float64(blocks-1-i) + 0.5))
		sum += shares[i]
	}
	left, exact, given := units, 0.0, uint64(0)
	for i := range count {
		exact += shares[i] / sum * float64(units)
		n := min(uint64(exact)-given, size, left)
		count[i] = n
		given += n
		left -= n
	}
	for i := blocks - 1; left > 0; i-- { // what rounding and full superblocks left over
		n := min(size-count[i], left)
		count[i] += n
		left -= n
	}
	return count
}

// permutation is a bijection of [0, n): a Feistel network on the next even
// number of bits, walked until it lands inside.
type permutation struct {
	n    uint64
	half uint
	keys [4]uint64
}

func newPermutation(n, key uint64) permutation {
	p := permutation{n: n, half: 1}
	for uint64(1)<<(2*p.half) < n {
		p.half++
	}
	for i := range p.keys {
		p.keys[i] = mix(key + uint64(i)*0x632be59bd9b4e019)
	}
	return p
}

func (p *permutation) apply(x uint64) uint64 {
	for {
		l, r := x>>p.half, x&(1<<p.half-1)
		for _, k := range p.keys {
			l, r = r, l^mix(r^k)&(1<<p.half-1)
		}
		if x = l<<p.half | r; x < p.n {
			return x
		}
	}
}

func (p *permutation) invert(x uint64) uint64 {
	for {
		l, r := x>>p.half, x&(1<<p.half-1)
		for i := len(p.keys) - 1; i >= 0; i-- {
			l, r = r^mix(l^p.keys[i])&(1<<p.half-1), l
		}
		if x = l<<p.half | r; x < p.n {
			return x
		}
	}
}

// mix is the finalizer of splitmix64: all bits of the result depend on all of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
