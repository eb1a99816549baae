package volume

import (
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// Gauges appends the burst credits that are left, in I/Os and in bytes, where the
// volume has any: with none it serves at its base rate.
func (c *Cloud) Gauges(dst []drive.Gauge) []drive.Gauge {
	now := c.loop.Now()
	if c.cfg.IOPS.Burst > 0 {
		dst = append(dst, c.iops.base.gauge(now, "I/O credits"))
	}
	if c.cfg.Bytes.Burst > 0 {
		dst = append(dst, c.bytes.base.gauge(now, "byte credits"))
	}
	return dst
}

// gauge is how many tokens the bucket holds.
func (b *bucket) gauge(now sim.Time, name string) drive.Gauge {
	saved := min(max(now.Sub(b.empty), 0), b.saved)
	return drive.Supply(name, "the burst", saved.Seconds()*float64(b.rate), b.saved.Seconds()*float64(b.rate))
}

// Gauges appends how full the controller's cache is, in bytes, and the gauges of
// the disk behind it.
func (d *RAID) Gauges(dst []drive.Gauge) []drive.Gauge {
	dst = append(dst, d.cache.Gauge("the controller's cache"))
	if g, ok := d.disk.(drive.Gauged); ok {
		dst = g.Gauges(dst)
	}
	return dst
}
