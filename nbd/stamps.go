package nbd

import (
	"encoding/binary"

	"nbdbench/devices"
)

// PutStamps fills data with sectors that each begin with the version stamp, big
// endian, and are zero after that.
func PutStamps(data []byte, s devices.Stamp) {
	clear(data)
	for ; len(data) >= devices.Sector; data = data[devices.Sector:] {
		binary.BigEndian.PutUint64(data, uint64(s))
	}
}

// GetStamps reads the stamps of the sectors that begin within data, which is
// from this offset of the device in bytes, into r.Versions.
func GetStamps(r *devices.Request, offset uint64, data []byte) {
	for i := range r.Versions {
		at := int64(r.Offset) - int64(offset) + int64(i)*devices.Sector
		if at >= 0 && at+8 <= int64(len(data)) {
			r.Versions[i] = devices.Stamp(binary.BigEndian.Uint64(data[at:]))
		}
	}
}
