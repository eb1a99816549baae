package hdd

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
)

// Gauges appends the drive's own, and more:
//
//   - The mean address of the dirty data, in bytes of the disk, times how full the
//     cache is. The arm writes what is near first, so that what is far stays and
//     the cache comes to hold little else: a full cache goes on getting slower for
//     minutes.
//   - How full the media cache is, where there is one. Past it, writes go to their
//     place.
//   - How full the read cache is, in bytes.
func (d *Device) Gauges(dst []drive.Gauge) []drive.Gauge {
	dst = d.Drive.Gauges(dst)
	if c := d.Cache(); c != nil {
		full := c.Gauge("")
		dst = append(dst, drive.Level("the mean address of the dirty data", "the disk",
			c.MeanOffset()*full.Value/max(full.Scale, 1), float64(d.cfg.Size)))
	}
	if d.cfg.MediaCache > 0 {
		dst = append(dst, drive.Supply("data in the media cache", "the media cache", float64(d.kept), float64(d.cfg.MediaCache)))
	}
	if len(d.segments) > 0 {
		dst = append(dst, d.readCache())
	}
	return dst
}

// readCache is how full the segments are, as of the last request.
func (d *Device) readCache() drive.Gauge {
	sectors := uint64(0)
	for i := range d.segments {
		sectors += d.segments[i].hi - d.segments[i].lo
	}
	return drive.Level("data read ahead", "the read cache",
		float64(sectors*devices.Sector), float64(len(d.segments))*float64(d.cfg.SegmentSize))
}
