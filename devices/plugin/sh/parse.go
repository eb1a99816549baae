package sh

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/internal/text"
)

// The bounds of what a script prints.
const (
	MaxAnswer  = 16 << 10 // bytes of one answer, and of stderr; more of an answer is an error, more of stderr is ignored
	MaxList    = 4 << 20  // bytes of a list of exports
	MaxExports = 10000    // nbdkit's
	MaxName    = 4096     // bytes of an export's name or description: NBD_MAX_STRING
	maxShown   = 400      // bytes of a script's text in a message, before it is escaped
)

// shown is what a script printed, in a message.
func shown[T string | []byte](b T) string {
	s := string(b)
	if len(s) > maxShown {
		s = s[:maxShown] + "..."
	}
	return text.Line(s)
}

// words are the errno names that a script may begin its stderr with, and what they are
// on the wire: plugins/sh/call.c and server/protocol.c.
var words = map[string]devices.Errno{
	"EPERM": devices.EPERM, "EROFS": devices.EPERM,
	"EIO":    devices.EIO,
	"ENOMEM": devices.ENOMEM,
	"EINVAL": devices.EINVAL, "EOVERFLOW": devices.EINVAL,
	"ENOSPC": devices.ENOSPC, "EDQUOT": devices.ENOSPC, "EFBIG": devices.ENOSPC,
	"ESHUTDOWN": devices.ESHUTDOWN,
	"ENOTSUP":   devices.ENOTSUP, "EOPNOTSUPP": devices.ENOTSUP,
}

const space = " \t\n\v\f\r"

// parseErrno reads a failed script's stderr: an errno's name, in any case, and then
// the first line of the rest. Without a name it is EIO.
func parseErrno(stderr []byte) (devices.Errno, string) {
	s, _, _ := strings.Cut(string(stderr), "\x00")
	word, rest := s, ""
	if i := strings.IndexAny(s, space); i >= 0 {
		word, rest = s[:i], strings.TrimLeft(s[i:], space)
	}
	e, known := words[strings.ToUpper(word)]
	if !known {
		e, rest = devices.EIO, s
	}
	rest, _, _ = strings.Cut(strings.TrimLeft(rest, "\n"), "\n")
	return e, rest
}

// answer is what a script printed without the newline at its end.
func answer(b []byte) []byte { return bytes.TrimSuffix(b, []byte("\n")) }

// factors are the suffixes of a size.
var factors = map[byte]uint64{'b': 1, 's': 512, 'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30, 't': 1 << 40, 'p': 1 << 50, 'e': 1 << 60}

// parseSize reads a size as nbdkit_parse_size does: a decimal number and at most one
// letter.
func parseSize(b []byte) (uint64, error) {
	s := strings.TrimPrefix(strings.TrimLeft(string(b), space), "+")
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	factor, known := uint64(1), len(s) == digits
	if len(s) == digits+1 {
		factor, known = factors[s[digits]|0x20]
	}
	n, err := strconv.ParseUint(s[:digits], 10, 63)
	if err != nil || !known || n > math.MaxInt64/factor {
		return 0, fmt.Errorf(`expected a size such as 1048576 or 1M, below 2^63, got "%s"`, shown(b))
	}
	return n * factor, nil
}

// parseFUA reads the answer of can_fua or can_cache.
func parseFUA(b []byte) (fua.Answer, error) {
	i := slices.IndexFunc([]string{"none", "emulate", "native"}, func(s string) bool { return strings.EqualFold(s, string(b)) })
	if i < 0 {
		return 0, fmt.Errorf(`expected none, emulate or native, got "%s"`, shown(b))
	}
	return fua.No + fua.Answer(i), nil
}

// parseThreadModel reads the answer of thread_model. As under nbdkit, one that it does
// not know is the default.
func parseThreadModel(b []byte) plugin.ThreadModel {
	switch strings.ReplaceAll(strings.ToLower(string(b)), "-", "_") {
	case "parallel":
		return plugin.Parallel
	case "serialize_requests":
		return plugin.SerializeRequests
	case "serialize_connections":
		return plugin.SerializeConnections
	}
	return plugin.SerializeAllRequests
}

// parseExports reads a list of exports. Its first line may say how. As under nbdkit, a
// last line without a newline does not count.
func parseExports(b []byte) ([]plugin.Export, error) {
	all := strings.Split(string(b), "\n")
	all = all[:len(all)-1]
	var names, described []string
	switch {
	case len(all) > 0 && all[0] == "INTERLEAVED":
		for i, line := range all[1:] {
			if i%2 == 0 {
				names = append(names, line)
			} else {
				described = append(described, line)
			}
		}
	case len(all) > 0 && all[0] == "NAMES+DESCRIPTIONS":
		half := len(all) / 2 // of the lines after the first, rounded up
		names, described = all[1:1+half], all[1+half:]
	case len(all) > 0 && all[0] == "NAMES":
		names = all[1:]
	default:
		names = all
	}
	if len(names) > MaxExports {
		return nil, fmt.Errorf("expected at most %d exports, got %d", MaxExports, len(names))
	}
	list := make([]plugin.Export, len(names))
	for i, name := range names {
		list[i].Name = name
		if i < len(described) {
			list[i].Description = described[i]
		}
		if err := errors.Join(checkName(name), checkName(list[i].Description)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// firstExport is the name that default_export prints, in any form of a list.
func firstExport(b []byte) string {
	s := string(b)
	for _, head := range []string{"INTERLEAVED\n", "NAMES+DESCRIPTIONS\n", "NAMES\n"} {
		if rest, ok := strings.CutPrefix(s, head); ok {
			s = rest
			break
		}
	}
	name, _, _ := strings.Cut(s, "\n")
	return name
}

// checkName checks the name or the description of an export.
func checkName(s string) error {
	switch {
	case len(s) > MaxName:
		return fmt.Errorf("expected at most %d bytes in a name or a description, got %d", MaxName, len(s))
	case strings.Contains(s, "\x00"):
		return fmt.Errorf(`expected no NUL byte in a name or a description, got "%s"`, shown(s))
	}
	return nil
}
