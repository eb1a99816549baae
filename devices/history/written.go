package history

import "nbdbench/devices"

// Flushed reports whether any FLUSH has succeeded. As long as none has, only
// writes with FUA are promised.
func (j *Judge) Flushed() bool { return j.anyFlush }

// Promises counts the writes that were promised.
func (j *Judge) Promises() uint64 { return j.promises }

// PromisedOnly has the judge keep only the sectors of which something was
// promised, and no others. It says as much of those, for less memory and time,
// but CheckImage and Written leave out the others: what was written there
// without a promise, and could at worst be misdirected. Before the first event.
func (j *Judge) PromisedOnly() { j.promisedOnly = true }

// Written visits the ranges to which anybody ever wrote, page by page, in the
// order in which they first did, but for what only commands of more than 32 MiB
// touched.
func (j *Judge) Written(visit func(off, end uint64)) {
	const page = pageSectors * devices.Sector
	for i := range j.cells.pages {
		off := j.cells.pages[i].number * page
		visit(off, off+page)
	}
}
