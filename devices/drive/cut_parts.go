package drive

import "nbdbench/devices"

// Parts is what the cuts of a device's members come to, of a device that is made of
// devices: what a Cut says of itself, said of all of them. The methods are those of Cut.
type Parts interface {
	Left(sector uint64) devices.Stamp // Stamp, without alterations
	Durable(sector uint64) devices.Stamp
	ExposedBytes() uint64
	Exposed(from, to uint64, visit func(off, end uint64))
	InFlight(visit func(off, end uint64, s devices.Stamp))
	Land(m Media)
	Newest(off uint64, b []byte)
	Save(m Media)
	// Members visits the members' cuts, in their order.
	Members(visit func(member *Cut))
}

// NewCutOf is the cut of a device that is made of devices, at one instant in all of
// them. media is what is durable of the device as a whole, as far as it is stored as such.
func NewCutOf(media Media, parts Parts) *Cut { return &Cut{media: media, parts: parts} }

func (k *Cut) members(visit func(member *Cut)) {
	if k.parts != nil {
		k.parts.Members(visit)
	}
}
