package ssd

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
)

// Gauges appends the drive's own, how many FLUSHes of a reserve are used up, where there
// is one, and, of a drive whose dies are modelled, in bytes:
//
//   - How full a protected buffer is. Its Scale is 0 where it has no bound.
//   - The room that is left before collection begins.
//   - What is valid in a superblock that is collected, which decides what is
//     written besides the host's data.
//   - How full pSLC is, where there is any. Past it, writes take longer.
//
// Of a drive that is only its laws nothing else is slow: neither collection nor
// pSLC is modelled.
func (d *Device) Gauges(dst []drive.Gauge) []drive.Gauge {
	dst = d.Drive.Gauges(dst)
	if n := float64(d.cfg.Flush.Reserve); n > 0 {
		dst = append(dst, drive.Supply("FLUSHes that room was prepared for", "the reserve", d.flushes.used, n))
	}
	f := d.flash
	if f == nil {
		return dst
	}
	if d.Info().Cache == devices.CacheProtected {
		dst = append(dst, f.buffered())
	}
	layer, unit := f.n.layer, float64(f.n.unit)
	room, spare := layer.Room()
	valid, size := layer.Collected()
	dst = append(dst,
		drive.Supply("room before collection", "the spare space", room*unit, spare*unit),
		drive.Level("valid data in what is collected", "a superblock", valid*unit, size*unit))
	if used, all := layer.SLC(); all > 0 {
		dst = append(dst, drive.Supply("data in pSLC", "pSLC", used*unit, all*unit))
	}
	return dst
}

// buffered is what a protected buffer holds. A write longer than all of it may be
// alone in it.
func (f *flash) buffered() drive.Gauge {
	const name, of = "bytes to be programmed", "the write buffer"
	if f.capacity == 0 {
		return drive.Gauge{Name: name, Of: of, Value: float64(f.used)}
	}
	return drive.Level(name, of, float64(f.used), float64(f.capacity))
}
