package host

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Health is what a drive says of itself. What it does not say is nil.
type Health struct {
	Celsius *float64 // temperature
	// Limit is the temperature from which on the drive protects itself, by its sensor.
	Limit *float64
	NVMe  *SMART
}

// SMART is a part of an NVMe drive's SMART log (NVM Express Base Specification, Log
// Page Identifier 02h). Counters go on for the drive's life.
type SMART struct {
	Critical        uint8   // bits; 1 is a temperature out of its bounds
	Celsius         float64 // composite temperature
	Spare, Used     uint8   // percents of the spare blocks, and of the drive's life
	Written         uint64  // thousands of 512 bytes, by the host
	MediaErrors     uint64
	UnsafeShutdowns uint64
	WarmMinutes     uint32 // above the temperature of a warning
	HotMinutes      uint32 // above the critical temperature
	Throttles       uint64 // transitions into either state of thermal management
	ThrottledFor    uint64 // seconds in them
}

// smartBytes is the log's length.
const smartBytes = 512

// parseSMART reads the log.
func parseSMART(b []byte) SMART {
	word, long := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64 // of counters of 16 bytes the low half
	return SMART{
		Critical: b[0], Celsius: float64(binary.LittleEndian.Uint16(b[1:])) - 273,
		Spare: b[3], Used: b[5], Written: long(b[48:]), UnsafeShutdowns: long(b[144:]), MediaErrors: long(b[160:]),
		WarmMinutes: word(b[192:]), HotMinutes: word(b[196:]),
		Throttles: uint64(word(b[216:])) + uint64(word(b[220:])), ThrottledFor: uint64(word(b[224:])) + uint64(word(b[228:])),
	}
}

// temperatureOut is the bit of a critical warning that says the temperature is out of
// its bounds.
const temperatureOut = 1 << 1

// Throttled says why the drive may have slowed itself down since an earlier reading;
// empty if nothing says so.
func (h Health) Throttled(before Health) string {
	var why []string
	if a, b := h.NVMe, before.NVMe; a != nil && b != nil {
		if n := a.Throttles - b.Throttles; n > 0 {
			why = append(why, fmt.Sprintf("its thermal management set in %d times", n))
		}
		if s := a.ThrottledFor - b.ThrottledFor; s > 0 {
			why = append(why, fmt.Sprintf("it spent %d s in thermal management", s))
		}
		if m := a.WarmMinutes - b.WarmMinutes + a.HotMinutes - b.HotMinutes; m > 0 {
			why = append(why, fmt.Sprintf("it was above its warning temperature for %d min", m))
		}
	}
	if h.NVMe != nil && h.NVMe.Critical&temperatureOut != 0 {
		why = append(why, "its temperature is out of its bounds")
	}
	if h.Celsius != nil && h.Limit != nil && *h.Celsius >= *h.Limit {
		why = append(why, fmt.Sprintf("it has %.0f °C, and its limit is %.0f °C", *h.Celsius, *h.Limit))
	}
	return strings.Join(why, ", ")
}
