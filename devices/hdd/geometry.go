package hdd

import (
	"math"
	"sort"

	"nbdbench/devices"
	"nbdbench/sim"
)

// geometry maps a sector to where it is.
type geometry struct {
	zones      []zone
	cylinders  int64
	heads      int64
	revolution sim.Duration
	headSkew   sim.Duration // what a head switch adds to the angle
	cylSkew    sim.Duration
}

// zone is a run of cylinders with the same number of sectors a track.
type zone struct {
	lba        uint64 // first sector
	cylinder   int64  // first cylinder
	perTrack   uint64
	perCylindr uint64
}

// place is where a sector is.
type place struct {
	cylinder, head int64
	angle          sim.Duration // within one revolution
	perTrack       uint64
	sector         uint64 // within the track
}

// newGeometry lays size bytes out from the outer zone inwards.
func newGeometry(c *Config) *geometry {
	g := &geometry{
		heads: int64(c.Heads), revolution: c.revolution(),
		headSkew: c.HeadSwitch, cylSkew: c.CylinderSwitch,
	}
	sectors := float64(c.Size) / devices.Sector
	meanPerTrack := float64(c.OuterTrack+c.InnerTrack) / 2
	g.cylinders = int64(math.Ceil(sectors/meanPerTrack/float64(c.Heads))) + int64(c.Zones)
	perZone := g.cylinders/int64(c.Zones) + 1
	var lba uint64
	for i := 0; i < c.Zones; i++ {
		perTrack := uint64(c.OuterTrack)
		if c.Zones > 1 {
			perTrack -= uint64(c.OuterTrack-c.InnerTrack) * uint64(i) / uint64(c.Zones-1)
		}
		z := zone{lba, int64(i) * perZone, perTrack, perTrack * uint64(c.Heads)}
		g.zones = append(g.zones, z)
		lba += z.perCylindr * uint64(perZone)
	}
	g.cylinders = perZone * int64(c.Zones)
	return g
}

func (g *geometry) place(lba uint64) place {
	i := sort.Search(len(g.zones), func(i int) bool { return g.zones[i].lba > lba }) - 1
	z := &g.zones[i]
	in := lba - z.lba
	cyl := int64(in / z.perCylindr)
	in -= uint64(cyl) * z.perCylindr
	head := int64(in / z.perTrack)
	sector := in % z.perTrack
	p := place{cylinder: z.cylinder + cyl, head: head, perTrack: z.perTrack, sector: sector}
	skew := sim.Duration(p.cylinder)*(sim.Duration(g.heads-1)*g.headSkew+g.cylSkew) + sim.Duration(head)*g.headSkew
	p.angle = (skew + sim.Duration(sector)*g.revolution/sim.Duration(z.perTrack)) % g.revolution
	return p
}

// transfer is how long n sectors from p take to pass under the heads.
func (g *geometry) transfer(p place, n uint64) sim.Duration {
	d := sim.Duration(n) * g.revolution / sim.Duration(p.perTrack)
	for track := (p.sector + n - 1) / p.perTrack; track > 0; track-- {
		if p.head++; p.head == g.heads {
			p.head = 0
			d += g.cylSkew
			continue
		}
		d += g.headSkew
	}
	return d
}

// wait is the rotational delay until angle comes under a head at instant t.
func (g *geometry) wait(angle sim.Duration, t sim.Time) sim.Duration {
	d := (angle - sim.Duration(t)%g.revolution) % g.revolution
	if d < 0 {
		d += g.revolution
	}
	return d
}
