package fault

import (
	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// cuts are the faults that show in what a power cut leaves.
var cuts = map[Kind]func(d *faulty, k *drive.Cut, seed sim.Seed){
	Shorn:          func(_ *faulty, k *drive.Cut, _ sim.Seed) { k.Shear() },
	BitRot:         bitRot,
	Dead:           deadCut,
	Collateral512e: collateral,
}

// Cut is the inner device's, with what the fault adds.
func (d *faulty) Cut(seed sim.Seed) *drive.Cut {
	k := d.Device.Cut(seed)
	if f := cuts[d.fault.Kind]; f != nil {
		f(d, k, seed)
	}
	return k
}

// ruin makes garbage of the sectors that it picks.
type ruin func(sector uint64) bool

// Stamp is garbage where the sector is ruined.
func (f ruin) Stamp(sector uint64, s devices.Stamp) devices.Stamp {
	if f(sector) {
		return Garbage
	}
	return s
}

// spoilt is how much of a medium of bytes is ruined at most: no more of a
// device is looked at than its first GiB.
const spoilt = 1 << 30

// Media writes garbage over the ruined sectors that are not zeros.
func (f ruin) Media(_ *drive.Cut, m drive.Media) {
	garbage := drive.Content{Stamp: Garbage}
	buffer := make([]byte, devices.Sector)
	for s := uint64(0); s < spoilt/devices.Sector; s++ {
		if !f(s) || empty(m, s, buffer) {
			continue
		}
		if m.Mode() == drive.RealBytes {
			for i := range buffer {
				buffer[i] ^= 0xa5
			}
			garbage.Bytes = buffer
		}
		m.Write(s*devices.Sector, devices.Sector, garbage)
	}
}

// empty reports whether a sector holds nothing; its bytes are in buffer
// afterwards, where there are bytes.
func empty(m drive.Media, sector uint64, buffer []byte) bool {
	if m.Mode() == drive.Versions {
		return m.Stamp(sector) == 0
	}
	p := devices.Payload{Bytes: buffer}
	m.Read(sector*devices.Sector, devices.Sector, &p)
	for _, b := range buffer {
		if b != 0 {
			return false
		}
	}
	return true
}

func bitRot(d *faulty, k *drive.Cut, seed sim.Seed) {
	draw := seed.Stream("bit rot")
	k.Alter(ruin(func(sector uint64) bool { return draw.Float64(sector, 0) < d.fault.Probability }))
}

func deadCut(d *faulty, k *drive.Cut, _ sim.Seed) {
	if d.seen > d.fault.After {
		k.Alter(ruin(func(uint64) bool { return true }))
	}
}

// collateral ruins the rest of the physical blocks of which a part was being
// written.
func collateral(d *faulty, k *drive.Cut, _ sim.Seed) {
	const sectors = physical / devices.Sector
	written, blocks := map[uint64]bool{}, map[uint64]bool{}
	note := func(off, end uint64) {
		for s := off / devices.Sector; s < end/devices.Sector; s++ {
			written[s], blocks[s/sectors] = true, true
		}
	}
	k.InFlight(func(off, end uint64, _ devices.Stamp) { note(off, end) })
	for _, r := range d.narrow {
		note(r.Offset, r.End())
	}
	k.Alter(ruin(func(s uint64) bool { return blocks[s/sectors] && !written[s] }))
}
