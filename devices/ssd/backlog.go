package ssd

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// backlog is what a protected buffer holds of writes, in the form that is laws alone:
// as the time that the medium takes for it.
type backlog struct {
	d     *Device
	limit sim.Duration // of the backlog; 0 is that there is no buffer to fill
	empty sim.Time     // when the medium has taken all of it
	fresh uint64       // bytes that are written before collection begins
	ends  [8]uint64    // of the writes that others may go on from
	next  int          // of these, the one that is replaced
	timer sim.Timer    // when there is room again
}

func newBacklog(d *Device, common *drive.Config) backlog {
	b := backlog{d: d, fresh: common.Info.Size}
	if c := d.cfg.Drain; c > 0 {
		b.limit = sim.Duration(float64(common.Capacity) / c * 1e9)
	}
	if d.cfg.Preconditioned {
		b.fresh = 0
	}
	return b
}

// admit takes write r if there is room for it. A write longer than the buffer is taken
// by an empty one.
func (b *backlog) admit(r *devices.Request) bool {
	if b.limit == 0 || r.Op != devices.OpWrite {
		return true
	}
	now := b.d.loop.Now()
	place := b.place(r.Offset)
	rate := b.d.cfg.Drain
	if place < 0 && b.fresh == 0 && b.d.cfg.DrainRandom > 0 {
		rate = b.d.cfg.DrainRandom
	}
	takes := sim.Duration(float64(r.Length) / rate * 1e9)
	if room := b.empty.Add(takes - b.limit); b.empty > now && room > now {
		if !b.timer.Pending() {
			b.d.loop.At(&b.timer, min(room, b.empty), b)
		}
		return false
	}
	if place < 0 {
		place = b.next
		b.next = (b.next + 1) % len(b.ends)
	}
	b.ends[place] = r.End()
	b.fresh -= min(b.fresh, r.Length)
	b.empty = max(b.empty, now).Add(takes)
	return true
}

// place is which of the ends is at off, or -1.
func (b *backlog) place(off uint64) int {
	for i, end := range b.ends {
		if end == off {
			return i
		}
	}
	return -1
}

// Fire lets in what waits for room.
func (b *backlog) Fire(*sim.Timer) { b.d.Readmit() }
