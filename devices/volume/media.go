package volume

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
)

// Blank is a Media that keeps nothing: for the disk behind a RAID, of which only
// the time counts. A read leaves the payload as it is.
type Blank struct{}

// Write forgets.
func (Blank) Write(uint64, uint64, drive.Content) {}

// Read reads nothing.
func (Blank) Read(uint64, uint64, *devices.Payload) {}

// Stamp is 0.
func (Blank) Stamp(uint64) devices.Stamp { return 0 }

// Clone is another Blank.
func (Blank) Clone() drive.Media { return Blank{} }

// Mode is Versions, the cheaper one.
func (Blank) Mode() drive.Mode { return drive.Versions }

// kept is a medium that outlives the controller, in which what a battery keeps is
// as soon as it is acknowledged: what the controller destages is there already.
type kept struct {
	drive.Media
	destaging bool
}

// Write writes what is no destage.
func (k *kept) Write(off, n uint64, c drive.Content) {
	if !k.destaging {
		k.Media.Write(off, n, c)
	}
}

// Status is that of the medium.
func (k *kept) Status(off, n uint64) (run uint64, f devices.StatusFlags) {
	return drive.StatusOf(k.Media, off, n)
}

// saved is the medium of a volume whose cache a battery keeps: what is on the
// medium, and over it what the cache holds. It is a view of the volume, good
// until its loop goes on; Clone copies it.
type saved struct {
	raid *RAID
	cut  *drive.Cut
}

// Mode is how the content is kept.
func (s *saved) Mode() drive.Mode { return s.raid.media.Mode() }

// Stamp is the version of a sector.
func (s *saved) Stamp(sector uint64) devices.Stamp {
	off, c := sector*devices.Sector, s.raid.cache
	if c.Cached(off, off+devices.Sector) {
		return c.Newest(sector)
	}
	return s.cut.Stamp(sector)
}

// Clone returns a medium with all of it: what the disk has on its way, then the
// newer versions that are still dirty.
func (s *saved) Clone() drive.Media {
	m := s.cut.Media()
	for i := range s.raid.slots {
		if j := &s.raid.slots[i]; j.flight != nil {
			s.copy(m, j.off, j.end)
		}
	}
	for w := s.raid.cache.From(0); w.Extent() != nil; w = w.Next() {
		e := w.Extent()
		m.Write(e.Off, e.Len(), e.Content)
	}
	return m
}

// copy writes the newest content of [off, end) to m.
func (s *saved) copy(m drive.Media, off, end uint64) {
	step := uint64(devices.Sector)
	var p devices.Payload
	if s.Mode() == drive.RealBytes {
		step = min(end-off, MaxRun)
		p.Bytes = make([]byte, step)
	}
	for ; off < end; off += step {
		n := min(step, end-off)
		s.raid.cache.Read(off, n, &p)
		m.Write(off, n, drive.Content{Bytes: p.Bytes[:min(n, uint64(len(p.Bytes)))], Stamp: p.Stamp})
	}
}

// Read answers with the newest content: all that was acknowledged is kept.
func (s *saved) Read(off, n uint64, p *devices.Payload) { s.raid.cache.Read(off, n, p) }

// Write panics: a cut is for looking at.
func (s *saved) Write(uint64, uint64, drive.Content) { panic(onlyView) }

const onlyView = "volume: a power cut's medium is a view, to be cloned"
