package drive

import "nbdbench/devices"

// hold keeps acknowledged content in the protected cache that its capacitors will
// not save. To whoever uses the drive it is the cache that it should be, at the
// same times: what is oldest is durable as soon as newer content needs the room,
// since a protected cache is written back beside the host's work.
func (d *Drive) hold(r *devices.Request, c Content) {
	u := d.unsaved
	u.Write(r.Offset, r.Length, c, r.Txn)
	if over := u.Dirty(); over > u.capacity {
		u.destageOldest(over - u.capacity)
	}
}

// destageOldest makes what is oldest durable at the present instant, at least so many
// bytes of it.
func (c *Cache) destageOldest(bytes uint64) {
	f := c.Depart()
	c.TakeUpTo(f, ^uint64(0), bytes)
	c.Land(f)
}

// newest is the cache that has content newer than the medium's, or nil.
func (d *Drive) newest() *Cache {
	if d.unsaved != nil {
		return d.unsaved
	}
	return d.cache
}

// Unsaved reports whether the drive's cache is called protected and lost in a
// power cut.
func (d *Drive) Unsaved() bool { return d.unsaved != nil }
