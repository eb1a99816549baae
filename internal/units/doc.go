// Package units has the quantities in flags, plans and profiles: sizes, durations,
// rates and bandwidths. Each is a number with one spelling for output and several for
// input, so that 4k, 4KiB and 4096 are the same Size, and a printed value parses back
// to itself.
//
//	s, err := units.ParseSize("64KiB") // 65536
//	s.String()                         // "64KiB"
//
// All types implement encoding.TextMarshaler and TextUnmarshaler, and so work with JSON,
// YAML (package conf) and command-line flags.
//
// Caveat: a lone k, m, g, t or p is binary, as in fio; kB, MB, GB, TB and PB
// are decimal, as on a drive's label. So 1G is 1073741824 bytes and 1GB is
// 1000000000. The case of the letters k, m, g, t and p does not matter in a
// size; B and b are bytes and bits in a bandwidth.
package units
