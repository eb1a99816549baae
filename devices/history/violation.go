package history

import (
	"fmt"

	"nbdbench/devices"
)

// Class is in which way a promise was broken.
type Class string

// The classes of violations, as Zheng et al. (FAST'13) name them where they do.
const (
	LostFUA     Class = "lost-fua"     // a write that its own FUA promised is not there
	LostFlushed Class = "lost-flushed" // a write that a FLUSH promised is not there
	Regressed   Class = "regressed"    // the version found is older than two promised writes: it was gone before
	WrongZero   Class = "wrong-zero"   // zeros that were written once came back
	Shorn       Class = "shorn"        // two whole versions in one atomic unit
	Misdirected Class = "misdirected"  // a version that was never written to this sector
	Corrupt     Class = "corrupt"      // a stamp that no write bore
	// StaleResurrected is an older version, only ever acknowledged, in place of
	// one that FUA made durable: the cached copy that FUA has to drop. An image
	// alone does not distinguish it from a FUA write that never arrived where the older
	// one was written back by itself.
	StaleResurrected Class = "stale-resurrected"
	// StaleRead is a version in place of which a READ had returned a newer one before a
	// FLUSH; see Judge.OrderByReads.
	StaleRead Class = "stale-read"
)

// Classes are all there are.
func Classes() []Class {
	return []Class{LostFUA, LostFlushed, Regressed, WrongZero, Shorn, Misdirected, Corrupt, StaleResurrected, StaleRead}
}

// Violation is a sector of an image that breaks a promise.
type Violation struct {
	Class  Class
	Sector uint64
	Found  devices.Stamp
	// Expected is the latest promised version of the sector, or 0 if there is
	// none; later ones would have been legal too. Of a shorn unit it is the
	// version that another of its sectors holds.
	Expected devices.Stamp
	// Covered is the number of the completion that promised Expected: the
	// write's own, or a FLUSH's.
	Covered uint64
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: sector %d holds version %d, promised was %d or later (by the completion in event %d)",
		v.Class, v.Sector, v.Found, v.Expected, v.Covered)
}

// Legal reports whether a power cut now may leave version found in sector.
func (j *Judge) Legal(sector uint64, found devices.Stamp) bool {
	_, bad := j.Check(sector, found)
	return !bad
}

// Floor is when the latest promised write to sector was received, as the number
// of that event; 0 if nothing is promised. Versions whose completion is older
// are illegal.
func (j *Judge) Floor(sector uint64) uint64 {
	c := j.state(sector)
	return c.floor
}

// state is what is known of a sector, long commands included.
func (j *Judge) state(sector uint64) cell {
	var s cell
	if c := j.cells.at(sector); c != nil {
		s = *c
	}
	for i := range j.bulks {
		if b := &j.bulks[i]; b.first <= sector && sector < b.end {
			s.merge(&b.cell)
		}
	}
	return s
}

func (c *cell) merge(d *cell) {
	z := zeroes{max(c.zeroes.ack, d.zeroes.ack), c.zeroes.open + d.zeroes.open}
	low := min(c.floor, d.floor)
	second := max(c.second, d.second, low)
	if d.floor > c.floor {
		*c = *d
	}
	c.zeroes, c.second = z, second
}

// Check judges one sector of an image.
func (j *Judge) Check(sector uint64, found devices.Stamp) (v Violation, bad bool) {
	c := j.state(sector)
	class := j.class(&c, sector, found)
	if class == "" && j.reads != nil && !j.reads.legal(sector, found) {
		class = StaleRead
	}
	return Violation{class, sector, found, c.promised, c.covered}, class != ""
}

func (j *Judge) class(c *cell, sector uint64, found devices.Stamp) Class {
	if found == 0 {
		return c.classOfZero()
	}
	if found >= devices.Stamp(len(j.versions)) || !j.versions[found].known {
		return Corrupt
	}
	v := &j.versions[found]
	switch {
	case sector < v.first || sector >= v.end:
		return Misdirected
	case v.open > 0 || v.ack > c.floor:
		return ""
	case v.ack < c.second:
		return Regressed
	case !v.promised && !c.flushed:
		return StaleResurrected
	}
	return c.lost()
}

func (c *cell) classOfZero() Class {
	switch {
	case c.floor == 0 || c.zeroes.after(c.floor):
		return ""
	case c.zeroes.ack > 0:
		return WrongZero
	}
	return c.lost()
}

func (c *cell) lost() Class {
	if c.flushed {
		return LostFlushed
	}
	return LostFUA
}

// CheckImage judges all sectors to which anything was ever written, in the
// order in which their pages were first written, and returns how many break a
// promise. A shorn atomic unit counts once more. Sectors that only commands of
// more than 32 MiB touched are not looked at.
func (j *Judge) CheckImage(read func(sector uint64) devices.Stamp, visit func(Violation)) int {
	n := 0
	for i := range j.cells.pages {
		first := j.cells.pages[i].number * pageSectors
		var image [pageSectors]devices.Stamp
		for k := range image {
			image[k] = read(first + uint64(k))
			if v, bad := j.Check(first+uint64(k), image[k]); bad {
				n++
				visit(v)
			}
		}
		n += j.checkUnits(first, &image, visit)
	}
	return n
}

// checkUnits looks for atomic units of a page that hold more than one version
// of which each was written to the whole unit: one of them would have replaced
// the other in one piece. Units longer than a page are judged page by page.
func (j *Judge) checkUnits(first uint64, image *[pageSectors]devices.Stamp, visit func(Violation)) int {
	n := 0
	for at := uint64(0); at+j.atomic <= pageSectors; at += j.atomic {
		var whole, shown devices.Stamp
		any := false
		for k := at; k < at+j.atomic; k++ {
			if shown = image[k]; !j.fills(shown, first+at) {
				continue
			}
			if any && shown != whole {
				n++
				visit(Violation{Class: Shorn, Sector: first + k, Found: shown, Expected: whole})
				break
			}
			whole, any = shown, true
		}
	}
	return n
}

// fills reports whether version s was written to the whole atomic unit at
// sector first. What the device held at first was, unless zeros came since.
func (j *Judge) fills(s devices.Stamp, first uint64) bool {
	if s == 0 {
		return !j.zeroedIn(first)
	}
	if s >= devices.Stamp(len(j.versions)) {
		return false
	}
	v := &j.versions[s]
	return v.known && !v.ragged && v.first <= first && first+j.atomic <= v.end
}

func (j *Judge) zeroedIn(first uint64) bool {
	for k := range j.atomic {
		if c := j.state(first + k); c.zeroes.ack > 0 || c.zeroes.open > 0 {
			return true
		}
	}
	return false
}
