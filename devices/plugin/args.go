package plugin

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"nbdbench/devices/fua"
	"nbdbench/internal/units"
)

// Size reads an argument that is a size, from 512 bytes to most.
func Size(args url.Values, key string, absent, most units.Size) (uint64, error) {
	text := args.Get(key)
	if text == "" && !args.Has(key) {
		return uint64(absent), nil
	}
	n, err := units.ParseSize(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", key, err)
	case n < 512 || n > most || n%512 != 0:
		return 0, fmt.Errorf("%s: expected a multiple of 512 up to %v, got %q", key, most, text)
	}
	return uint64(n), nil
}

// FUAAnswer reads an argument that is what can_fua answers: none, emulate or native.
func FUAAnswer(args url.Values, key string, absent fua.Answer) (fua.Answer, error) {
	if !args.Has(key) {
		return absent, nil
	}
	switch text := args.Get(key); text {
	case "none":
		return fua.No, nil
	case "emulate":
		return fua.Emulate, nil
	case "native":
		return fua.Native, nil
	default:
		return fua.Absent, fmt.Errorf("%s: expected none, emulate or native, got %q", key, text)
	}
}

// Units are the keys of a set in their order: what a plugin goes through at a power
// cut, so that the same seed leaves the same.
func Units[U cmp.Ordered](set map[U]bool) []U { return slices.Sorted(maps.Keys(set)) }
