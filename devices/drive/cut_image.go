package drive

import "nbdbench/sim"

// Worst has the cut leave what is durable and nothing else: of what was in flight,
// nothing arrived.
func (k *Cut) Worst() {
	k.worst = true
	k.members((*Cut).Worst)
}

// Random has seed choose among more of the images that are legal: a drive may
// write back what is dirty at any time, so any atomic unit of that may have reached
// the medium too. How much of it has is the seed's choice as well, so that there are
// images with nearly all of it and with nearly nothing.
func (k *Cut) Random(seed sim.Seed) {
	k.random, k.destages = true, seed.Stream("destaged")
	k.share = k.destages.Float64(0, 1)
	i := uint64(0)
	k.members(func(member *Cut) {
		member.Random(seed.Sub("member", i))
		i++
	})
}

// destaged reports whether what is dirty in the atomic unit of byte off reached the
// medium before the power went.
func (k *Cut) destaged(off uint64) bool {
	return k.destages.Float64(off/k.unit(), 0) < k.share
}

// destage writes to m what is dirty and reached the medium.
func (k *Cut) destage(m Media) {
	x := &k.cache.index
	for cur := x.seek(0); x.at(cur) != nil; cur = x.next(cur) {
		e := x.at(cur)
		k.land(m, e.Off, e.End, e.Content, k.destaged)
	}
}
