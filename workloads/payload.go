package workloads

import (
	"encoding/binary"
	"hash/crc32"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Content is what writes carry.
type Content uint8

// The contents.
const (
	Stamps Content = iota // a version stamp in place of the bytes: fast
	Bytes                 // bytes that say what they are: for real devices
)

// Label is what a sector of content Bytes says of itself.
type Label struct {
	Seed   sim.Seed
	Offset uint64 // where it was meant to go
	Stamp  devices.Stamp
	Txn    uint64
}

// labelMagic begins each sector: "NBDBENCH", little-endian.
const labelMagic = 0x48434e454244424e

// The layout of a sector: magic, seed, offset, stamp, txn and checksum, eight
// bytes each and little-endian, then filler that follows from the label.
const (
	labelBytes = 48
	checked    = 40 // of which the checksum is taken
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Fill writes self-describing sectors to b, whose length is a whole number of
// sectors; l.Offset is that of the first. The filler differs from write to
// write and does not compress.
func (l Label) Fill(b []byte) {
	sector := l
	for i := 0; i+devices.Sector <= len(b); i += devices.Sector {
		sector.Offset = l.Offset + uint64(i)
		sector.fillSector(b[i : i+devices.Sector])
	}
}

func (l Label) fillSector(b []byte) {
	for i, word := range [...]uint64{labelMagic, uint64(l.Seed), l.Offset, uint64(l.Stamp), l.Txn} {
		binary.LittleEndian.PutUint64(b[8*i:], word)
	}
	binary.LittleEndian.PutUint64(b[checked:], uint64(crc32.Checksum(b[:checked], castagnoli)))
	x := l.filler()
	for i := labelBytes; i < devices.Sector; i += 8 {
		x = xorshift(x)
		binary.LittleEndian.PutUint64(b[i:], x)
	}
}

// ReadLabel reads what a sector says of itself. It reports false if the sector
// is not one that Fill wrote, whole and unharmed.
func ReadLabel(sector []byte) (Label, bool) {
	if len(sector) != devices.Sector || binary.LittleEndian.Uint64(sector) != labelMagic {
		return Label{}, false
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(sector[8*i:]) }
	l := Label{Seed: sim.Seed(word(1)), Offset: word(2), Stamp: devices.Stamp(word(3)), Txn: word(4)}
	if word(5) != uint64(crc32.Checksum(sector[:checked], castagnoli)) {
		return Label{}, false
	}
	x := l.filler()
	for i := labelBytes; i < devices.Sector; i += 8 {
		x = xorshift(x)
		if binary.LittleEndian.Uint64(sector[i:]) != x {
			return Label{}, false
		}
	}
	return l, true
}

// filler is the first state of the generator that fills the sector; not 0,
// which xorshift would keep.
func (l Label) filler() uint64 {
	return uint64(l.Seed)*0x9e3779b97f4a7c15 ^ uint64(l.Stamp)*0xd1b54a32d192ed03 ^ l.Offset | 1
}

// xorshift is Marsaglia's 64-bit generator (2003), shifts 13, 7 and 17.
func xorshift(x uint64) uint64 {
	x ^= x << 13
	x ^= x >> 7
	return x ^ x<<17
}
