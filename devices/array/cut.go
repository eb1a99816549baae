package array

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/internal/sparse"
	"nbdbench/sim"
)

// sparseEnd is the end of the pages that may be stale.
const sparseEnd = sparse.MaxKey

// Cut returns what a power cut at this moment would leave, chosen by seed, with the power
// of all members gone at the same instant.
func (a *Array) Cut(seed sim.Seed) *drive.Cut { return a.cut(seed, -1) }

// CutWithout is Cut where member i is lost as well: the array does without it from now on,
// as far as it can. Of a RAID 5 that is when the write hole shows.
func (a *Array) CutWithout(i int, seed sim.Seed) *drive.Cut { return a.cut(seed, i) }

func (a *Array) cut(seed sim.Seed, lost int) *drive.Cut {
	c := &cut{array: a, lost: lost}
	c.members = make([]*drive.Cut, len(a.members))
	for i := range a.members {
		c.members[i] = a.members[i].dev.Cut(seed.Sub("member", uint64(i)))
		if lost < 0 && !a.members[i].reads() {
			c.lost = i
		}
	}
	if a.cfg.Kind == Mirror {
		c.leg = c.firstLeg()
		if c.leg == 0 {
			return c.members[0]
		}
	}
	return drive.NewCutOf(a.media, c)
}

// cut is what the cuts of the members come to.
type cut struct {
	array   *Array
	members []*drive.Cut
	lost    int // the member without which there is to be done, or -1
	leg     int // of a mirror, the one that answers
}

// firstLeg is the first leg that counts and is not lost.
func (c *cut) firstLeg() int {
	for i := range c.array.members {
		if c.array.members[i].reads() && i != c.lost {
			return i
		}
	}
	return 0
}

// Members visits the members' cuts.
func (c *cut) Members(visit func(*drive.Cut)) {
	for _, k := range c.members {
		visit(k)
	}
}

// Left is the version of a sector after the cut.
func (c *cut) Left(sector uint64) devices.Stamp {
	return c.version(sector, func(k *drive.Cut, s uint64) devices.Stamp { return k.Stamp(s) })
}

// Durable is the version of a sector of which nothing that was in flight arrived.
func (c *cut) Durable(sector uint64) devices.Stamp {
	return c.version(sector, func(k *drive.Cut, s uint64) devices.Stamp { return k.Durable(s) })
}

func (c *cut) version(sector uint64, of func(k *drive.Cut, sector uint64) devices.Stamp) (v devices.Stamp) {
	if c.array.cfg.Kind == Mirror {
		return of(c.members[c.leg], sector)
	}
	l := &c.array.layout
	i, at := l.locate(sector * devices.Sector)
	if i != c.lost || l.kind == Stripe || !c.array.computed(at/l.chunk) {
		return of(c.members[i], at/devices.Sector)
	}
	for k, m := range c.members {
		if k != i {
			v ^= of(m, at/devices.Sector)
		}
	}
	return v
}

// ExposedBytes is how much acknowledged data is not durable.
func (c *cut) ExposedBytes() (sum uint64) {
	switch c.array.cfg.Kind {
	case Mirror:
		return c.members[c.leg].ExposedBytes()
	case Stripe:
		for _, k := range c.members {
			sum += k.ExposedBytes()
		}
		return sum
	}
	c.Exposed(0, ^uint64(0), func(off, end uint64) { sum += end - off })
	return sum
}

// Exposed visits the ranges whose newest acknowledged version may be lost. What may be lost
// of one member of a row is in doubt of a member that is computed from it.
func (c *cut) Exposed(from, to uint64, visit func(off, end uint64)) {
	if c.array.cfg.Kind == Mirror {
		c.members[c.leg].Exposed(from, to, visit)
		return
	}
	l := &c.array.layout
	width := l.data() * l.chunk
	first, last := from/width*l.chunk, ^uint64(0)
	if to/width < l.rows() {
		last = (to/width + 1) * l.chunk
	}
	for i, k := range c.members {
		if i == c.lost && l.kind == RAID5 {
			continue
		}
		k.Exposed(first, last, func(at, end uint64) {
			c.ranges(i, at, end, visit)
			if c.lost >= 0 && l.kind == RAID5 {
				c.ranges(c.lost, at, end, visit)
			}
		})
	}
}

// ranges visits what [at, end) of member i is of the array.
func (c *cut) ranges(i int, at, end uint64, visit func(off, end uint64)) {
	l := &c.array.layout
	for at < end {
		n := l.rest(at, end-at)
		if off, isData := l.logical(i, at); isData && off < l.size {
			visit(off, min(off+n, l.size))
		}
		at += n
	}
}

// InFlight visits what was on its way to the members.
func (c *cut) InFlight(visit func(off, end uint64, s devices.Stamp)) {
	if c.array.cfg.Kind == Mirror {
		c.members[c.leg].InFlight(visit)
		return
	}
	for i, k := range c.members {
		if i == c.lost && c.array.cfg.Kind == RAID5 {
			continue
		}
		k.InFlight(func(at, end uint64, s devices.Stamp) {
			c.ranges(i, at, end, func(off, end uint64) { visit(off, end, s) })
		})
	}
}

// Land does to m what the cut does. Of a member that is lost, what the others say of it
// goes there.
func (c *cut) Land(m drive.Media) {
	a := c.array
	if a.cfg.Kind == Mirror {
		from := c.members[c.leg].Media()
		for i := range a.members {
			a.members[i].stale.Each(0, sparseEnd, func(p uint64, _ uint32) { copySectors(m, from, p*page, min((p+1)*page, a.cfg.Size)) })
		}
		c.members[0].Exposed(0, ^uint64(0), func(off, end uint64) { copySectors(m, from, off, end) })
		c.members[c.leg].Exposed(0, ^uint64(0), func(off, end uint64) { copySectors(m, from, off, end) })
		return
	}
	parity := a.parity
	if parity != nil && c.lost >= 0 {
		parity = parity.Clone()
	}
	for i, k := range c.members {
		if i != c.lost || a.cfg.Kind == Stripe {
			k.Land(&window{layout: &a.layout, member: i, data: m, parity: parity})
		}
	}
	if parity != nil && c.lost >= 0 {
		c.compute(m, parity)
	}
}

// compute writes to m what a member that is lost held of the rows that are not what its
// medium has.
func (c *cut) compute(m drive.Media, parity drive.Media) {
	a, l := c.array, &c.array.layout
	lost := &a.members[c.lost]
	write := func(at, end uint64) {
		for at = at / devices.Sector * devices.Sector; at < end; at += devices.Sector {
			off, isData := l.logical(c.lost, at)
			if !isData || off >= l.size || !a.computed(at/l.chunk) {
				continue
			}
			m.Write(off, devices.Sector, c.sum(m, parity, at))
		}
	}
	lost.stale.Each(0, sparseEnd, func(p uint64, _ uint32) { write(p*page, (p+1)*page) })
	for _, k := range c.members {
		k.Exposed(0, ^uint64(0), write)
	}
}

// sum is a sector of the member that is lost, by what the others have on m and parity.
func (c *cut) sum(m, parity drive.Media, at uint64) (out drive.Content) {
	a := c.array
	one := devices.Payload{}
	if m.Mode() == drive.RealBytes {
		out.Bytes, one.Bytes = make([]byte, devices.Sector), make([]byte, devices.Sector)
	}
	for i := range c.members {
		if i == c.lost {
			continue
		}
		w := window{layout: &a.layout, member: i, data: m, parity: parity}
		w.Read(at, devices.Sector, &one)
		out.Stamp ^= one.Stamp
		for j, b := range one.Bytes {
			out.Bytes[j] ^= b
		}
	}
	return out
}

// copySectors copies [off, end) from one medium to another.
func copySectors(to, from drive.Media, off, end uint64) {
	p := devices.Payload{}
	if to.Mode() == drive.RealBytes {
		p.Bytes = make([]byte, devices.Sector)
	}
	for ; off < end; off += devices.Sector {
		n := min(devices.Sector, end-off)
		from.Read(off, n, &p)
		to.Write(off, n, drive.Content{Bytes: p.Bytes[:min(n, uint64(len(p.Bytes)))], Stamp: p.Stamp})
	}
}

// Newest fills b with what a READ at off would answer.
func (c *cut) Newest(off uint64, b []byte) {
	a := c.array
	if a.cfg.Kind == Mirror {
		c.members[c.leg].Newest(off, b)
		return
	}
	other := make([]byte, len(b))
	for len(b) > 0 {
		n := a.layout.rest(off, uint64(len(b)))
		i, at := a.layout.locate(off)
		if i != c.lost || a.cfg.Kind == Stripe || !a.computed(at/a.layout.chunk) {
			c.members[i].Newest(at, b[:n])
		} else {
			clear(b[:n])
			for k, m := range c.members {
				if k == i {
					continue
				}
				m.Newest(at, other[:n])
				for j := range n {
					b[j] ^= other[j]
				}
			}
		}
		off, b = off+n, b[n:]
	}
}

// Save writes to m what was acknowledged and is not durable.
func (c *cut) Save(m drive.Media) {
	a := c.array
	if a.cfg.Kind == Mirror {
		from := c.members[c.leg].Media()
		c.members[c.leg].Save(from)
		for i := range a.members {
			a.members[i].stale.Each(0, sparseEnd, func(p uint64, _ uint32) { copySectors(m, from, p*page, min((p+1)*page, a.cfg.Size)) })
		}
		for _, k := range c.members {
			k.Exposed(0, ^uint64(0), func(off, end uint64) { copySectors(m, from, off, end) })
		}
		return
	}
	parity := a.parity
	if parity != nil {
		parity = parity.Clone()
	}
	for i, k := range c.members {
		if i != c.lost || a.cfg.Kind == Stripe {
			k.Save(&window{layout: &a.layout, member: i, data: m, parity: parity})
		}
	}
	if parity != nil && c.lost >= 0 {
		c.compute(m, parity)
	}
}
