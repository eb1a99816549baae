package array

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// Cut returns what a power cut at this moment would leave, chosen by seed: what the pool
// has, and over it what the log has of what the pool may not have.
func (p *Pool) Cut(seed sim.Seed) *drive.Cut {
	return drive.NewCutOf(p.media, &replay{
		p: p, log: p.log.Cut(seed.Sub("member", 0)), pool: p.pool.Cut(seed.Sub("member", 1)),
	})
}

// replay is what is found after a power loss.
type replay struct {
	p             *Pool
	log, pool     *drive.Cut
	left, durable map[uint64]int // by sector: the newest record that the log has
}

// Members visits the members' cuts.
func (y *replay) Members(visit func(*drive.Cut)) {
	visit(y.log)
	visit(y.pool)
}

// last is the last record that the log has, of those blocks of which all is there.
func (y *replay) last(of func(sector uint64) devices.Stamp) (last uint64) {
	if y.p.defect == DefectLogReplaysNothing {
		return 0
	}
	for _, b := range y.p.blocks {
		for s := b.at / devices.Sector; s < (b.at+b.n)/devices.Sector; s++ {
			if of(s) != devices.Stamp(b.number) {
				return last
			}
		}
		last = b.last
	}
	return last
}

// index is the newest record of each sector up to last.
func (y *replay) index(last uint64) map[uint64]int {
	out := map[uint64]int{}
	for i := range y.p.records {
		r := &y.p.records[i]
		if r.seq > last {
			break
		}
		for s := r.off / devices.Sector; s*devices.Sector < r.off+r.n; s++ {
			out[s] = i
		}
	}
	return out
}

func (y *replay) version(sector uint64, index map[uint64]int, pool func(uint64) devices.Stamp) devices.Stamp {
	i, ok := index[sector]
	if !ok {
		return pool(sector)
	}
	r := &y.p.records[i]
	return r.content.At(sector*devices.Sector - r.off/devices.Sector*devices.Sector)
}

// Left is the version of a sector after the cut.
func (y *replay) Left(sector uint64) devices.Stamp {
	if y.left == nil {
		y.left = y.index(y.last(y.log.Stamp))
	}
	return y.version(sector, y.left, y.pool.Stamp)
}

// Durable is the version of a sector if nothing that was in flight arrived.
func (y *replay) Durable(sector uint64) devices.Stamp {
	if y.durable == nil {
		y.durable = y.index(y.last(y.log.Durable))
	}
	return y.version(sector, y.durable, y.pool.Durable)
}

// ExposedBytes is how much acknowledged data is not durable.
func (y *replay) ExposedBytes() (sum uint64) {
	for i := range y.p.records {
		if r := &y.p.records[i]; r.seq > y.p.durable {
			sum += r.n
		}
	}
	return sum
}

// Exposed visits what is not in the pool yet.
func (y *replay) Exposed(from, to uint64, visit func(off, end uint64)) {
	for i := range y.p.records {
		if r := &y.p.records[i]; r.n > 0 && r.off < to && r.off+r.n > from {
			visit(r.off, r.off+r.n)
		}
	}
	y.pool.Exposed(from, to, visit)
}

// InFlight visits what is on its way to the pool, where the log has nothing that goes over
// it; and what is on its way to the log.
func (y *replay) InFlight(visit func(off, end uint64, s devices.Stamp)) {
	_ = y.Durable(0)
	y.pool.InFlight(func(off, end uint64, s devices.Stamp) {
		for at := off; at < end; at += devices.Sector {
			if _, over := y.durable[at/devices.Sector]; !over {
				visit(at, min(at+devices.Sector, end), s)
			}
		}
	})
	if !y.p.logging || len(y.p.blocks) == 0 {
		return
	}
	newest := y.index(y.p.blocks[len(y.p.blocks)-1].last)
	for i := range y.p.records {
		r := &y.p.records[i]
		for at := r.off / devices.Sector * devices.Sector; at < r.off+r.n; at += devices.Sector {
			if k, ok := newest[at/devices.Sector]; ok && k == i && r.seq > y.p.durable {
				visit(at, at+devices.Sector, y.version(at/devices.Sector, newest, nil))
			}
		}
	}
}

// Land does to m what the power loss does, and replays the log.
func (y *replay) Land(m drive.Media) {
	last := y.last(y.log.Stamp)
	y.pool.Land(m)
	for i := range y.p.records {
		if r := &y.p.records[i]; r.seq <= last && r.n > 0 {
			m.Write(r.off, r.n, r.content)
		}
	}
}

// Newest fills b with what a READ at off would answer.
func (y *replay) Newest(off uint64, b []byte) {
	y.pool.Newest(off, b)
	r := devices.Request{Offset: off, Length: uint64(len(b)), Payload: devices.Payload{Bytes: b}}
	y.p.fill(&r)
}

// Save writes to m what was acknowledged and is not durable.
func (y *replay) Save(m drive.Media) {
	y.pool.Save(m)
	for i := range y.p.records {
		if r := &y.p.records[i]; r.n > 0 {
			m.Write(r.off, r.n, r.content)
		}
	}
}
