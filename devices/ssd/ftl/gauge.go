package ftl

// Room is how many units can be written before collection begins, and how many
// that is at most: erased space beyond the reserve. It falls with every write
// until collection begins, and stays near 0 from then on.
func (f *FTL) Room() (units, most float64) {
	size := float64(f.cfg.size())
	most = float64(f.spare) * size
	units = float64(f.free.n-f.cfg.Reserve)*size + float64(f.rest(&f.host)+f.rest(&f.moved))
	return min(max(units, 0), most), most
}

// Collected is how many units are valid in a superblock that is collected, a mean
// over about the last 8, and how many there can be. It decides the write
// amplification. It is 0 before the first, and goes on rising until the drive has
// been written over several times.
func (f *FTL) Collected() (units, most float64) { return f.valid, float64(f.cfg.size()) }

// SLC is how many units pSLC holds, valid or not, and how many it can hold; 0 if
// there is none.
func (f *FTL) SLC() (units, most float64) {
	each := float64(f.cfg.Rows * f.cfg.SLCRowUnits)
	most = float64(f.cfg.SLCBlocks) * each
	return most - float64(f.slc.n)*each - float64(f.rest(&f.cache)), most
}

// rest is how many places of a frontier's superblock are still to be written.
func (f *FTL) rest(front *frontier) uint32 {
	if front.block < 0 {
		return 0
	}
	b := &f.blocks[front.block]
	return f.limit(b) - b.used
}

// chosen notes how many units are valid in a superblock that is to be collected.
func (f *FTL) chosen(valid uint32) {
	const weight = 1.0 / 8
	if f.victims++; f.victims == 1 {
		f.valid = float64(valid)
		return
	}
	f.valid += (float64(valid) - f.valid) * weight
}
