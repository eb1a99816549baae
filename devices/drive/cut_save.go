package drive

import "nbdbench/devices"

// Newest fills b with what a READ at off would answer at this moment: what was
// acknowledged, whether it is durable or not.
func (k *Cut) Newest(off uint64, b []byte) {
	if k.parts != nil {
		k.parts.Newest(off, b)
		return
	}
	p := devices.Payload{Bytes: b}
	if k.cache != nil {
		k.cache.Read(off, uint64(len(b)), &p)
		return
	}
	k.media.Read(off, uint64(len(b)), &p)
}

// Save writes to m, which holds what is durable, all that was acknowledged and is
// not durable: what a drive does when it is shut down before the power goes.
// What is on its way to the medium lands, whether it was acknowledged or not.
func (k *Cut) Save(m Media) {
	if k.parts != nil {
		k.parts.Save(m)
	}
	if k.cache == nil {
		return
	}
	for f := k.cache.oldestFlight(); f != nil; f = f.newer {
		for i := range f.pieces {
			if p := &f.pieces[i]; p.end > p.off {
				m.Write(p.off, p.end-p.off, p.content)
			}
		}
	}
	for w := k.cache.From(0); w.Extent() != nil; w = w.Next() {
		e := w.Extent()
		m.Write(e.Off, e.Len(), e.Content)
	}
}
