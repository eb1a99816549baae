package honesty

import (
	"encoding/binary"
	"hash/crc32"
)

// Sizes on the device, in bytes.
const (
	UnitSize   = 4096
	sectorSize = 512
	sectors    = UnitSize / sectorSize
)

// Session identifies one run of the writer.
type Session uint64

// magic begins each sector, as text: "nbdbhon1".
const magic = 0x6e6264_62686f6e31

// A sector is its magic, session, unit, version and index, 8 bytes each, a filling that
// they determine, and the CRC-32C of all that is before it.
const (
	headerSize = 5 * 8
	sumAt      = sectorSize - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode fills b, of UnitSize, with a version of a unit.
func encode(b []byte, s Session, unit, version uint64) {
	for i := range uint64(sectors) {
		x := b[i*sectorSize : (i+1)*sectorSize]
		for j, v := range [...]uint64{magic, uint64(s), unit, version, i} {
			binary.BigEndian.PutUint64(x[8*j:], v)
		}
		fill := uint64(s) ^ unit<<32 ^ version<<3 ^ i
		for j := headerSize; j < sumAt; j += 4 {
			fill = fill*6364136223846793005 + 1442695040888963407 // Knuth's MMIX, so that data does not compress
			binary.BigEndian.PutUint32(x[j:], uint32(fill>>32))
		}
		binary.BigEndian.PutUint32(x[sumAt:], crc32.Checksum(x[:sumAt], castagnoli))
	}
}

// content is what a sector holds.
type content struct {
	valid   bool // it is one of this session, of this place
	version uint64
}

// decode is what each sector of b holds, which is of UnitSize, or empty if it was not read.
func decode(b []byte, s Session, unit uint64) (out [sectors]content) {
	for i := range len(b) / sectorSize {
		x := b[i*sectorSize : (i+1)*sectorSize]
		if crc32.Checksum(x[:sumAt], castagnoli) != binary.BigEndian.Uint32(x[sumAt:]) {
			continue
		}
		field := func(j int) uint64 { return binary.BigEndian.Uint64(x[8*j:]) }
		out[i] = content{
			valid:   field(0) == magic && field(1) == uint64(s) && field(2) == unit && field(4) == uint64(i),
			version: field(3),
		}
	}
	return out
}
