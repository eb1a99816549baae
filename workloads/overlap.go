package workloads

// Footprint is the range of bytes, [off, end), that the profile's transactions
// may write on a device of the given size, and whether what runs between them
// stays out of it. With several streams or logs it is what all of them write, and nothing is
// apart.
func (p *Profile) Footprint(size uint64) (off, end uint64, exclusive bool) {
	if len(p.Streams)+len(p.Logs) > 0 {
		off, end = p.reach(p.Steps(), size)
		return off, end, false
	}
	off, end = p.reach(p.Transaction, size)
	boff, bend := p.reach(p.Between, size)
	return off, end, bend <= off || boff >= end || boff == bend
}

// reach is the range that covers all that the steps may write.
func (p *Profile) reach(steps []Step, size uint64) (off, end uint64) {
	cover := func(region string) {
		s := p.spanOf(region, size)
		if end == 0 || s.start < off {
			off = s.start
		}
		end = max(end, s.start+s.length)
	}
	for i := range steps {
		switch s := &steps[i]; {
		case s.Op == ActionCommit:
			l := p.Logs[s.Log]
			if cover(l.Region); l.Journal != "" {
				cover(l.Journal)
			}
		case s.modifies():
			cover(s.Region)
		}
	}
	return off, end
}
