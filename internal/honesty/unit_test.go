package honesty

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

const testSession Session = 0x0123456789abcdef

func encoded(unit, version uint64) []byte {
	b := make([]byte, UnitSize)
	encode(b, testSession, unit, version)
	return b
}

// What is damaged, or is somebody else's, is of no version.
func TestOnlyWhatWasWrittenThereIsOfAVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit, version := rapid.Uint64().Draw(t, "unit"), rapid.Uint64().Draw(t, "version")
		b := encoded(unit, version)
		for i, c := range decode(b, testSession, unit) {
			if !c.valid || c.version != version {
				t.Fatalf("sector %d: got %+v", i, c)
			}
		}
		at := rapid.IntRange(0, UnitSize-1).Draw(t, "at")
		b[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		for i, c := range decode(b, testSession, unit) {
			if c.valid == (i == at/sectorSize) {
				t.Fatalf("byte %d is damaged, and sector %d is %+v", at, i, c)
			}
		}
	})
	b := encoded(7, 3)
	for name, found := range map[string][sectors]content{
		"another session": decode(b, testSession+1, 7), "another unit": decode(b, testSession, 8),
		"zeros": decode(make([]byte, UnitSize), 0, 0), "another sector": decode(append(b[sectorSize:len(b):len(b)], b[:sectorSize]...), testSession, 7),
	} {
		for i, c := range found {
			if c.valid {
				t.Errorf("%s: sector %d is %+v", name, i, c)
			}
		}
	}
}

func TestVersionsDiffer(t *testing.T) {
	if bytes.Equal(encoded(1, 1)[sectorSize-64:sectorSize], encoded(1, 2)[sectorSize-64:sectorSize]) {
		t.Error("two versions have the same filling")
	}
}
