package drive

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// Cut is what a power cut at this moment would leave: the medium, with a seeded
// choice of those atomic units that were on their way to it. It is a view of
// the drive and is good until the drive's loop goes on; Media copies it.
type Cut struct {
	media  Media
	cache  *Cache // has what is dirty or in flight; nil where nothing can be
	parts  Parts  // of a device that is made of devices; else nil
	stream sim.Stream

	worst       bool       // see Worst
	random      bool       // see Random
	destages    sim.Stream // of a random cut
	share       float64    // of what is dirty, how much had reached the medium
	shorn       bool       // see Shear
	alterations []Alteration
}

// NewCut is the cut of a device on which nothing can be in flight: what was
// acknowledged is there.
func NewCut(media Media) *Cut { return &Cut{media: media} }

// Cut returns what a power cut would leave, chosen by seed.
func (c *Cache) Cut(seed sim.Seed) *Cut {
	return &Cut{media: c.media, cache: c, stream: seed.Stream("landed")}
}

// CutOver is Cut where what is in flight goes to another medium than the cache's.
func (c *Cache) CutOver(m Media, seed sim.Seed) *Cut {
	k := c.Cut(seed)
	k.media = m
	return k
}

// ExposedBytes is how much acknowledged data is not durable.
func (k *Cut) ExposedBytes() uint64 {
	if k.parts != nil {
		return k.parts.ExposedBytes()
	}
	if k.cache == nil {
		return 0
	}
	return k.cache.dirty + k.cache.airborne
}

// Exposed visits the ranges whose newest acknowledged version may be lost and
// that share a byte with [from, to): what is dirty, in order of address, then
// what is in flight. A range may come twice, and is not clipped.
func (k *Cut) Exposed(from, to uint64, visit func(off, end uint64)) {
	if k.parts != nil {
		k.parts.Exposed(from, to, visit)
	}
	if k.cache == nil {
		return
	}
	x := &k.cache.index
	for cur := x.seek(from); x.at(cur) != nil && x.at(cur).Off < to; cur = x.next(cur) {
		visit(x.at(cur).Off, x.at(cur).End)
	}
	for f := k.cache.flights; f != nil; f = f.next {
		for i := range f.pieces {
			if p := &f.pieces[i]; p.end > p.off && p.off < to && p.end > from {
				visit(p.off, p.end)
			}
		}
	}
}

// landed reports whether the atomic unit of byte off in flight f reached the
// medium before the power went.
func (k *Cut) landed(f *Flight, off uint64) bool {
	switch {
	case k.worst:
		return false
	case k.random && !f.through && k.destaged(off): // what is dirty in the unit came after it
		return true
	}
	return k.stream.Uint64(f.id, off/k.unit())&1 == 1
}

// Stamp is the version of a sector after the cut.
func (k *Cut) Stamp(sector uint64) devices.Stamp { return k.altered(sector, k.left(sector)) }

func (k *Cut) left(sector uint64) devices.Stamp {
	if k.parts != nil {
		return k.parts.Left(sector)
	}
	if k.cache == nil {
		return k.media.Stamp(sector)
	}
	off := sector * devices.Sector
	if s, ok := k.arrived(off, true); ok {
		return s
	}
	if x := &k.cache.index; k.random && k.destaged(off) {
		if e := x.at(x.seek(off)); e != nil && e.Off <= off {
			return e.Content.at(off - e.Off)
		}
	}
	if s, ok := k.arrived(off, false); ok {
		return s
	}
	return k.media.Stamp(sector)
}

// arrived is the version that the newest flight which landed has brought to off,
// of those that go through the cache or of the destages.
func (k *Cut) arrived(off uint64, through bool) (devices.Stamp, bool) {
	for f := k.cache.flights; f != nil; f = f.next {
		for i := range f.pieces {
			p := &f.pieces[i]
			if f.through == through && p.off <= off && off < p.end && k.landed(f, off) {
				return p.content.at(off - p.off), true
			}
		}
	}
	return 0, false
}

// Durable is the version of a sector in the worst case, in which nothing that
// was on its way arrived.
func (k *Cut) Durable(sector uint64) devices.Stamp {
	if k.parts != nil {
		return k.altered(sector, k.parts.Durable(sector))
	}
	return k.altered(sector, k.media.Stamp(sector))
}
