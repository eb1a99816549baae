package drive

// A Gauge is one slowly changing quantity of a device's state: what earlier
// commits have left behind, and what decides the cost of later ones. A device
// has settled when none of its gauges has a trend.
type Gauge struct {
	Name string // what it is: "dirty bytes"
	Of   string // what it is part of, and what Scale is the size of: "the cache"
	// Value is from 0 to Scale, in the unit of Scale. A Scale of 0 is no bound.
	Value, Scale float64
	// Ends says that the cost of a commit changes where the gauge reaches the end of
	// its scale, and that nothing slows the gauge down before.
	Ends bool
}

// Gauged is a device that shows its state. Gauges appends its gauges to dst:
// always the same ones in the same order, whatever the device has served. It
// changes nothing, and does not allocate if dst has room.
type Gauged interface {
	Gauges(dst []Gauge) []Gauge
}

// Gauges appends how full the write cache is, in bytes: what is dirty or on its
// way to the medium. Above a mark, a drive destages beside the host's work; a full
// cache takes writes at the rate of the medium. Of a protected cache it is what a
// power cut would take if the capacitors hold no charge. Without a cache there is
// no gauge.
func (d *Drive) Gauges(dst []Gauge) []Gauge {
	if c := d.newest(); c != nil {
		dst = append(dst, c.Gauge("the cache"))
	}
	return dst
}

// Gauge is how full the cache is, in bytes; of names the cache.
func (c *Cache) Gauge(of string) Gauge {
	return Level("dirty bytes", of, float64(c.dirty+c.airborne), float64(c.capacity))
}

// Level is a gauge of which the value is kept within its scale.
func Level(name, of string, value, scale float64) Gauge {
	return Gauge{Name: name, Of: of, Value: min(max(value, 0), scale), Scale: scale}
}

// Supply is a Level that Ends.
func Supply(name, of string, value, scale float64) Gauge {
	g := Level(name, of, value, scale)
	g.Ends = true
	return g
}

// MeanOffset is the mean address of the dirty extents, in bytes; 0 if there are
// none.
func (c *Cache) MeanOffset() float64 {
	sum := 0.0
	for _, l := range c.index.leaves {
		for _, off := range l.keys[:l.n] {
			sum += float64(off)
		}
	}
	return sum / float64(max(c.index.n, 1))
}

// Gauges appends nothing: memory has no state but its content.
func (m *RAM) Gauges(dst []Gauge) []Gauge { return dst }
