package workloads

import (
	"math"
	"math/bits"

	"nbdbench/devices"
	"nbdbench/sim"
)

// What a request draws beyond its block is of numbers that no other draw has: the
// step's number and one of these above it.
const (
	drawSize = 1 << 32
	drawMix  = 2 << 32
	drawCoin = 3 << 32
)

// mixture draws an operation by weight.
type mixture struct {
	upTo  [4]float64 // cumulated, to 1
	draws sim.Stream
}

// mixed are the operations of a mixture, in the order of its weights.
var mixed = [4]devices.Op{devices.OpRead, devices.OpWrite, devices.OpTrim, devices.OpWriteZeroes}

func newMixture(m *Mix, draws sim.Stream) *mixture {
	out := &mixture{draws: draws}
	copy(out.upTo[:], cumulated([]float64{m.Read, m.Write, m.Trim, m.WriteZeroes}))
	return out
}

// vary draws the command. One that modifies nothing has no flags.
func (m *mixture) vary(q *devices.Request, n uint64) {
	q.Op = m.draw(n, q.Step)
	if !q.Op.Modifies() {
		q.Flags = 0
	}
}

func (m *mixture) draw(n uint64, step uint32) devices.Op {
	u := m.draws.Float64(n, drawMix+uint64(step))
	for i, p := range m.upTo {
		if u < p {
			return mixed[i]
		}
	}
	return mixed[len(mixed)-1]
}

// cumulated are weights as the parts of 1 up to and with each; the last that is
// not 0, and what follows it, is above all draws.
func cumulated(weights []float64) []float64 {
	out, sum, last := make([]float64, len(weights)), 0.0, 0
	for i, w := range weights {
		sum += w
		out[i] = sum
		if w > 0 {
			last = i
		}
	}
	for i := range out {
		if out[i] /= sum; i >= last {
			out[i] = 2
		}
	}
	return out
}

// sizes draws a request's size.
type sizes struct {
	least, most uint64
	of          []uint64 // by weight; nil is any multiple of least up to most
	upTo        []float64
	draws       sim.Stream
}

func newSizes(s *Step, draws sim.Stream) *sizes {
	out := &sizes{least: uint64(s.Size), most: s.longest(), draws: draws}
	if len(s.Split) == 0 {
		return out
	}
	weights := make([]float64, len(s.Split))
	for i, share := range s.Split {
		size := uint64(share.Size)
		weights[i] = share.Weight
		out.of = append(out.of, size)
		if i == 0 || size < out.least {
			out.least = size
		}
	}
	out.upTo = cumulated(weights)
	return out
}

func (z *sizes) draw(n, step uint64) uint64 {
	if z.of == nil {
		return z.least * (1 + z.draws.Uint64N(z.most/z.least, n, drawSize+step))
	}
	u := z.draws.Float64(n, drawSize+step)
	for i, p := range z.upTo {
		if u < p {
			return z.of[i]
		}
	}
	return z.of[len(z.of)-1]
}

// picker chooses one of a number of blocks, which it knows.
type picker interface {
	at(n uint64, step uint32) (block, _ uint64)
}

// drawn takes blocks as its picker does, of sizes that may be drawn. A size of bytes
// is rounded out to whole blocks.
type drawn struct {
	start, length uint64
	unit          uint64 // what places are multiples of
	size          uint64
	sizes         *sizes // nil where all are of one size
	block         uint64 // that bytes are rounded out to; 0 is nothing to round
	pick          picker
	draws         sim.Stream // in place of pick, evenly
}

func (d *drawn) at(n uint64, step uint32) (offset, length uint64) {
	length = d.size
	if d.sizes != nil {
		length = d.sizes.draw(n, uint64(step))
	}
	index, _ := d.pick.at(n, step)
	return d.place(index, length)
}

// place is where a request of so many bytes from block index on goes, as far as it
// fits in front of the region's end.
func (d *drawn) place(index, length uint64) (uint64, uint64) {
	begin := min(index, (d.length-length)/d.unit) * d.unit
	if d.block == 0 {
		return d.start + begin, length
	}
	first, last := begin/d.block, (begin+length-1)/d.block
	return d.start + first*d.block, (last - first + 1) * d.block
}

// scattering has a part of a sequence's requests go to any block instead.
type scattering struct {
	place
	drawn  drawn
	chance float64
	coin   sim.Stream
}

func (p *scattering) at(n uint64, step uint32) (offset, length uint64) {
	offset, length = p.place.at(n, step)
	if p.coin.Float64(n, drawCoin+uint64(step)) >= p.chance {
		return offset, length
	}
	return p.drawn.place(p.drawn.draws.Uint64N((p.drawn.length-length)/p.drawn.unit+1, n, uint64(step)), length)
}

// pareto takes the lowest ranks most often: those of a part h of all with a
// probability of 1-h, as fio's does. Which block has which rank is random.
type pareto struct {
	units          uint64
	power          float64 // log h / log (1-h)
	draws, scatter sim.Stream
}

func (p *pareto) at(n uint64, step uint32) (block, _ uint64) {
	return p.scatter.Uint64N(p.units, p.rank(p.draws.Float64(n, uint64(step))), 0), 0
}

func (p *pareto) rank(u float64) uint64 {
	return min(uint64(float64(p.units)*math.Pow(u, p.power)), p.units-1)
}

// normal is around the middle, by Box's and Muller's transform (1958). What would
// lie outside of the region is at its ends.
type normal struct {
	units        uint64
	deviation    float64 // blocks
	draws, angle sim.Stream
}

func (p *normal) at(n uint64, step uint32) (block, _ uint64) {
	radius := math.Sqrt(-2 * math.Log(1-p.draws.Float64(n, uint64(step))))
	z := radius * math.Cos(2*math.Pi*p.angle.Float64(n, uint64(step)))
	at := float64(p.units)/2 + z*p.deviation
	return uint64(min(max(at, 0), float64(p.units-1))), 0
}

// zoned takes any block of a zone that is chosen by weight.
type zoned struct {
	upTo           []float64
	first          []uint64 // block of each zone, and one behind the last
	draws, choices sim.Stream
}

func newZoned(units uint64, zones []Zone, draws, choices sim.Stream) *zoned {
	z := &zoned{first: []uint64{0}, draws: draws, choices: choices}
	weights, percent := make([]float64, len(zones)), 0.0
	for i, zone := range zones {
		weights[i] = zone.Weight
		percent += zone.Percent
		z.first = append(z.first, min(uint64(math.Round(percent/100*float64(units))), units))
	}
	z.first[len(zones)] = units
	z.upTo = cumulated(weights)
	return z
}

func (z *zoned) at(n uint64, step uint32) (block, _ uint64) {
	u := z.choices.Float64(n, uint64(step))
	i := 0
	for u >= z.upTo[i] {
		i++
	}
	first, end := z.first[i], z.first[i+1]
	if first == end { // a zone of less than a block
		return min(first, z.first[len(z.first)-1]-1), 0
	}
	return first + z.draws.Uint64N(end-first, n, uint64(step)), 0
}

// striding goes on by a stride with each request, and again from one block later.
type striding struct {
	start, size, stride uint64
	count               uint64 // requests of a transaction
	first               uint32
	lap                 uint64 // requests until it begins again
}

func (p *striding) at(n uint64, step uint32) (offset, length uint64) {
	i := n*p.count + uint64(step-p.first)
	again := i / p.lap % (p.stride / p.size)
	return p.start + i%p.lap*p.stride + again*p.size, p.size
}

// shuffled takes each block once before any again: a permutation by Luby's and
// Rackoff's construction over the next power of four, of which what lies outside is
// gone through until it lies inside.
type shuffled struct {
	units uint64
	count uint64 // requests of a transaction
	first uint32
	half  uint // bits
	draws sim.Stream
}

func newShuffled(units, count uint64, first uint32, draws sim.Stream) *shuffled {
	return &shuffled{units: units, count: count, first: first, half: uint(bits.Len64(units-1)+1) / 2, draws: draws}
}

func (p *shuffled) at(n uint64, step uint32) (block, _ uint64) {
	i := n*p.count + uint64(step-p.first)
	pass, x := i/p.units, i%p.units
	for {
		if x = p.permute(pass, x); x < p.units {
			return x, 0
		}
	}
}

func (p *shuffled) permute(pass, x uint64) uint64 {
	mask := uint64(1)<<p.half - 1
	left, right := x>>p.half, x&mask
	for round := range uint64(4) {
		left, right = right, left^p.draws.Uint64(pass*4+round, right)&mask
	}
	return left<<p.half | right
}

// runs is a sequence of requests of drawn sizes, each where the last one ended. The
// sizes are drawn once, for as many as fit into the region or maxRun, and repeat.
type runs struct {
	start, total, laps uint64
	begin              []uint64 // of each request, and of the one behind the last
	count              uint64
	first              uint32
}

// maxRun bounds the sizes of a sequence that are drawn.
const maxRun = 1 << 12

func newRuns(s *Step, draws sim.Stream, room span, first uint32) *runs {
	z := newSizes(s, draws)
	r := &runs{start: room.start, begin: []uint64{0}, count: uint64(s.count()), first: first}
	for len(r.begin) <= maxRun {
		size := z.draw(uint64(len(r.begin)), 0)
		if r.total+size > room.length {
			break
		}
		r.total += size
		r.begin = append(r.begin, r.total)
	}
	r.laps = room.length / r.total
	return r
}

func (r *runs) at(n uint64, step uint32) (offset, length uint64) {
	i, each := n*r.count+uint64(step-r.first), uint64(len(r.begin)-1)
	lap, k := i/each%r.laps, i%each
	return r.start + lap*r.total + r.begin[k], r.begin[k+1] - r.begin[k]
}
