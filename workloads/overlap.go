package workloads

// Footprint is the range of bytes, [off, end), that the profile's transactions
// may write on a device of the given size, and whether what runs between them
// stays out of it. Of several streams it is what all of them write, and nothing is
// apart.
func (p *Profile) Footprint(size uint64) (off, end uint64, alone bool) {
	if len(p.Streams) > 0 {
		off, end = p.reach(p.Steps(), size)
		return off, end, false
	}
	off, end = p.reach(p.Transaction, size)
	boff, bend := p.reach(p.Between, size)
	return off, end, bend <= off || boff >= end || boff == bend
}

// reach is the range that covers all that the steps may write.
func (p *Profile) reach(steps []Step, size uint64) (off, end uint64) {
	for i := range steps {
		if !steps[i].modifies() {
			continue
		}
		s := p.spanOf(steps[i].Region, size)
		if end == 0 || s.start < off {
			off = s.start
		}
		end = max(end, s.start+s.length)
	}
	return off, end
}
