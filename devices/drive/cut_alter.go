package drive

import "nbdbench/devices"

// An Alteration is what a power cut does to the medium beyond losing what was
// not durable: the mark of a faulty device.
type Alteration interface {
	// Stamp is what a sector holds in place of version s.
	Stamp(sector uint64, s devices.Stamp) devices.Stamp
	// Media does the same to a medium; c is the cut that it is a copy of.
	Media(c *Cut, m Media)
}

// Alter has the cut leave what a makes of it. Several alterations follow each
// other.
func (k *Cut) Alter(a Alteration) { k.alterations = append(k.alterations, a) }

// Shear lets single sectors of what is in flight survive, and not only whole
// atomic units.
func (k *Cut) Shear() {
	k.shorn = true
	k.members((*Cut).Shear)
}

// Altered reports whether the cut does more than lose what was not durable.
func (k *Cut) Altered() bool { return len(k.alterations) > 0 }

func (k *Cut) altered(sector uint64, s devices.Stamp) devices.Stamp {
	for _, a := range k.alterations {
		s = a.Stamp(sector, s)
	}
	return s
}

// unit is what survives whole or not at all.
func (k *Cut) unit() uint64 {
	if k.shorn {
		return devices.Sector
	}
	return k.cache.atomic
}

// InFlight visits what was on its way to the medium: each range within one
// atomic unit that lands whole or not at all, and the version that it brings,
// from the newest flight to the oldest. Of a unit in two flights, the newest
// that lands is what stays.
func (k *Cut) InFlight(visit func(off, end uint64, s devices.Stamp)) {
	if k.parts != nil {
		k.parts.InFlight(visit)
	}
	if k.cache == nil {
		return
	}
	for f := k.cache.flights; f != nil; f = f.next {
		for i := range f.pieces {
			p := &f.pieces[i]
			for off := p.off; off < p.end; {
				end := min((off/k.unit()+1)*k.unit(), p.end)
				p.content.runs(off-p.off, end-p.off, func(from, to uint64, s devices.Stamp) { visit(p.off+from, p.off+to, s) })
				off = end
			}
		}
	}
}

// Media returns the medium after the cut, independent of the drive.
func (k *Cut) Media() Media {
	m := k.media.Clone()
	k.Land(m)
	return m
}

// Land does to m, which holds what is durable, what the cut does: what was on
// its way lands there or not, and what is altered is altered.
func (k *Cut) Land(m Media) {
	if k.parts != nil {
		k.parts.Land(m)
	}
	if k.cache != nil {
		k.landAll(m, false)
		if k.random {
			k.destage(m)
		}
		k.landAll(m, true)
	}
	for _, a := range k.alterations {
		a.Media(k, m)
	}
}

// landAll lands the flights that go through the cache, or the destages, in order.
func (k *Cut) landAll(m Media, through bool) {
	for f := k.cache.oldestFlight(); f != nil; f = f.newer {
		for i := range f.pieces {
			if p := &f.pieces[i]; f.through == through {
				k.land(m, p.off, p.end, p.content, func(off uint64) bool { return k.landed(f, off) })
			}
		}
	}
}

// land writes those atomic units of [from, to) to m that are there.
func (k *Cut) land(m Media, from, to uint64, c Content, there func(off uint64) bool) {
	for off := from; off < to; {
		end := min((off/k.unit()+1)*k.unit(), to)
		if there(off) {
			m.Write(off, end-off, c.Slice(off-from, end-off))
		}
		off = end
	}
}
