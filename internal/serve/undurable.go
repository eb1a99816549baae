package serve

import (
	"bytes"
	"slices"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// MaxUndurable bounds the units of Undurable: more are not compared.
const MaxUndurable = 1 << 16

// Unit is an atomic unit of which a power cut has left something else than was
// acknowledged last.
type Unit struct {
	Off    uint64 // bytes
	Newest []byte // what a READ would have answered
}

// ImageAndUndurable is Image, and beside it the units in which the image differs from
// what was acknowledged by then, by address. Of each the image could hold either, by what
// the drive has promised. There are at most MaxUndurable, else none and false.
func (v *Live) ImageAndUndurable(seed sim.Seed, which string) (m drive.Media, exposed uint64, units []Unit, ok bool, err error) {
	if m, exposed, err = v.Image(seed, which); err != nil {
		return nil, 0, nil, false, err
	}
	units, ok = v.l.undurable(m, which)
	return m, exposed, units, ok, nil
}

// undurable are the units of an image that are not what a READ would answer now.
func (l *device) undurable(image drive.Media, which string) (units []Unit, ok bool) {
	info := l.model.Info()
	unit := uint64(max(info.AtomicUnit, devices.Sector))
	at := map[uint64]bool{}
	note := func(off, end uint64) {
		for u := off / unit; u*unit < end && len(at) <= MaxUndurable; u++ {
			at[u] = true
		}
	}
	k := l.model.Cut(0)
	k.Exposed(0, info.Size, note)
	if l.kept != nil && which != imageDevice {
		l.kept.visit(note)
	}
	if len(at) > MaxUndurable {
		return nil, false
	}
	has := make([]byte, unit)
	for u := range at {
		n := min(unit, info.Size-u*unit)
		newest := make([]byte, n)
		k.Newest(u*unit, newest)
		image.Read(u*unit, n, &devices.Payload{Bytes: has[:n]})
		if !bytes.Equal(newest, has[:n]) {
			units = append(units, Unit{u * unit, newest})
		}
	}
	slices.SortFunc(units, func(a, b Unit) int {
		if a.Off < b.Off {
			return -1
		}
		return 1
	})
	return units, true
}
