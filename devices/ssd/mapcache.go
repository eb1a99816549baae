package ssd

import "nbdbench/sim"

// mapEntry is the bytes that one entry of a mapping cache takes: a mapping unit, where
// it is, and which sectors of it are written.
const mapEntry = 9

const (
	mapWays  = 4   // entries of a set
	mapChunk = 256 // sets that are allocated together, when one of them is used
)

// mapSet holds what is cached of the units that fall on it, the last used first.
type mapSet [mapWays]mapped

// mapped is an entry: of unit-1, which has been written at since; 0 is no entry, and
// never.
type mapped struct{ unit, since uint64 }

// mapCache is the part of a drive's mapping that is in its memory. An entry that is
// not there is read from flash, and what is evicted is written back if it has changed,
// with all that has changed in its page.
type mapCache struct {
	chunks [][]mapSet
	sets   uint64
	page   uint64   // entries of a page of mapping
	saved  []uint64 // for each page of mapping, when it was written; 0 is never
	now    uint64   // counts the writes
}

// newMapCache returns a cache of size bytes for units of which a page of mapping has
// page bytes.
func newMapCache(size, page, units uint64) *mapCache {
	c := &mapCache{sets: max(size/mapEntry/mapWays, 1), page: max(page/mapEntry, 1), now: 1}
	c.chunks = make([][]mapSet, (c.sets+mapChunk-1)/mapChunk)
	c.saved = make([]uint64, units/c.page+1)
	return c
}

// use looks unit u up, and has it in the cache from now on. It reports whether it was
// there, and which page of mapping has to be written to make room, or -1.
func (c *mapCache) use(u uint64, write bool) (hit bool, evicted int64) {
	at := sim.Stream(0).Uint64N(c.sets, u, 0)
	chunk := &c.chunks[at/mapChunk]
	if *chunk == nil {
		*chunk = make([]mapSet, mapChunk)
	}
	set := &(*chunk)[at%mapChunk]
	i := 0
	for i < mapWays-1 && set[i].unit != u+1 {
		i++
	}
	e := set[i]
	hit, evicted = e.unit == u+1, -1
	if !hit {
		if e.unit != 0 {
			if page := (e.unit - 1) / c.page; e.since > c.saved[page] {
				c.now++
				c.saved[page], evicted = c.now, int64(page)
			}
		}
		e = mapped{unit: u + 1}
	}
	if write {
		c.now++
		e.since = c.now
	}
	copy(set[1:i+1], set[:i])
	set[0] = e
	return hit, evicted
}
