package layer

import (
	"fmt"
	"strings"

	"nbdbench/devices"
)

// Advertised is what an export says of its durability, true or not.
type Advertised struct{ Flush, FUA bool }

// ParseAdvertised reads a comma-separated list of "flush" and "fua"; the empty
// string advertises neither.
func ParseAdvertised(s string) (Advertised, error) {
	var a Advertised
	if s == "" {
		return a, nil
	}
	for word := range strings.SplitSeq(s, ",") {
		switch strings.TrimSpace(word) {
		case "flush":
			a.Flush = true
		case "fua":
			a.FUA = true
		default:
			return Advertised{}, fmt.Errorf("advertise %q: %q is neither flush nor fua", s, word)
		}
	}
	return a, nil
}

type advertise struct {
	devices.Device
	info devices.Info
}

// Advertise overrides what inner says of FLUSH and FUA, for experiments.
// Commands are forwarded as they are: what comes of a FUA that inner does not
// have is up to inner.
func Advertise(inner devices.Device, a Advertised) devices.Device {
	info := inner.Info()
	info.CanFlush = a.Flush
	switch {
	case !a.FUA:
		info.FUA = devices.FUANone
	case info.FUA == devices.FUANone:
		info.FUA = devices.FUANative
	}
	return &advertise{inner, info}
}

func (a *advertise) Info() devices.Info { return a.info }
