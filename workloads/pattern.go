package workloads

import (
	"math"

	"nbdbench/sim"
)

// A place says where request step of a stream's transaction n goes. It is a
// pure function: the device's speed, the strategy and the order in which
// transactions end cannot change it.
type place interface {
	at(n uint64, step uint32) (offset, length uint64)
}

// nowhere is the place of a flush.
type nowhere struct{}

func (nowhere) at(uint64, uint32) (offset, length uint64) { return 0, 0 }

// sequential advances by whole transactions and wraps where the next would not
// fit. first is the step that is at the transaction's beginning in this region.
type sequential struct {
	start, size uint64
	advance     uint64 // bytes of one transaction
	within      uint64 // offset of first's request in the transaction
	first       uint32
	lap         uint64 // transactions until it wraps
}

func (p *sequential) at(n uint64, step uint32) (offset, length uint64) {
	return p.start + n%p.lap*p.advance + p.within + uint64(step-p.first)*p.size, p.size
}

// random takes any of the region's whole blocks.
type random struct {
	start, size, blocks uint64
	draws               sim.Stream
}

func (p *random) at(n uint64, step uint32) (offset, length uint64) {
	return p.start + p.draws.Uint64N(p.blocks, n, uint64(step))*p.size, p.size
}

// zipf takes rank k of the region's blocks with a probability near to
// proportional to k^-theta, by inverting the distribution's continuous form,
// which needs one draw and no table. Which block has which rank is random, so
// the popular ones are spread over the region; two ranks may share a block.
type zipf struct {
	random
	scatter sim.Stream
	span    float64 // (blocks+1)^(1-theta) - 1
	power   float64 // 1 / (1-theta)
}

func newZipf(r random, scatter sim.Stream, theta float64) *zipf {
	return &zipf{random: r, scatter: scatter, span: math.Pow(float64(r.blocks+1), 1-theta) - 1, power: 1 / (1 - theta)}
}

func (p *zipf) at(n uint64, step uint32) (offset, length uint64) {
	return p.start + p.scatter.Uint64N(p.blocks, p.rank(p.draws.Float64(n, uint64(step))), 0)*p.size, p.size
}

// rank is the rank, from 0, at quantile u.
func (p *zipf) rank(u float64) uint64 {
	return min(uint64(math.Pow(u*p.span+1, p.power))-1, p.blocks-1)
}

// appending writes the blocks that hold record n, and begins again where the
// next record would not fit. Of a step with several requests, each is the next
// record.
type appending struct {
	start, size uint64
	record      uint64
	count       uint64 // records of one transaction
	first       uint32
	lap         uint64 // records until it wraps
}

func (p *appending) at(n uint64, step uint32) (offset, length uint64) {
	begin := (n*p.count + uint64(step-p.first)) % p.lap * p.record
	first, last := begin/p.size, (begin+p.record-1)/p.size
	return p.start + first*p.size, (last - first + 1) * p.size
}

// recordSpan is the longest range of whole blocks that one record can touch.
func recordSpan(record, block uint64) uint64 {
	if record == 0 || block == 0 {
		return 0
	}
	if block%record == 0 || record%block == 0 {
		return max(block, record) // no record begins in the middle of a block and crosses its end
	}
	return ((record-2)/block + 2) * block
}
